"""botocore clients, made once per process and kept within a bound.

Making a client is slow and not safe between threads, so that it happens under a lock; using one is safe. The client
of a call has timeouts that fit the time which is left for the action.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import field
from typing import Any, Final

from botocore.config import Config
from botocore.exceptions import ReadTimeoutError
from botocore.session import Session, get_session

from chalicelib.actions.aws_models import AwsModels
from chalicelib.data import dataclass
from chalicelib.limits import AWS_CLIENTS_MAX

_CONNECT_TIMEOUT_MAX_SEC: Final = 10
_ATTEMPTS_MAX: Final = 3
# Timeouts come in steps, so that calls share their clients; none is longer than the time that is left.
_TIMEOUT_STEPS_SEC: Final = (1, 2, 5, 10, 20, 30, 45, 60, 75, 90, 105, 120, 180, 300, 450, 600, 750, 900)


@dataclass(frozen=True, slots=True)
class Credentials:
    """Credentials for a while."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ClientKey:
    """What tells clients apart."""

    service: str
    region: str | None
    endpoint_url: str | None
    timeout_sec: int
    credentials: Credentials | None = None


class AwsClients:
    """The clients of one process; credentials come from botocore's usual chain."""

    def __init__(self, models: AwsModels) -> None:
        self._models = models
        self._lock = threading.Lock()
        self._clients: OrderedDict[ClientKey, Any] = OrderedDict()
        self._session: Session | None = None

    def client(
        self,
        service: str,
        *,
        region: str | None,
        endpoint_url: str | None,
        deadline_sec: float | None,
        credentials: Credentials | None = None,
    ) -> Any:
        """A client for a service whose calls give up before ``deadline_sec``; by default as the process itself."""
        key = ClientKey(service, region, endpoint_url, _timeout_sec(deadline_sec), credentials)
        with self._lock:
            if key not in self._clients:
                self._clients[key] = self._make(key)
                while len(self._clients) > AWS_CLIENTS_MAX:
                    self._clients.popitem(last=False)
            self._clients.move_to_end(key)
            return self._clients[key]

    def _make(self, key: ClientKey) -> Any:
        if self._session is None:
            self._session = get_session()
            self._session.register_component("data_loader", self._models.loader)
        emulated = key.endpoint_url is not None
        config = Config(
            connect_timeout=min(key.timeout_sec, _CONNECT_TIMEOUT_MAX_SEC),
            read_timeout=key.timeout_sec,
            retries={"mode": "standard", "total_max_attempts": _ATTEMPTS_MAX},
            user_agent_extra="mistral-serverless",
            # An emulator has one address: neither buckets nor services can stand before it as sub-domains.
            s3={"addressing_style": "path"} if emulated else None,
            inject_host_prefix=not emulated,
        )
        client = self._session.create_client(
            key.service, region_name=key.region, endpoint_url=key.endpoint_url, config=config, **_login(key.credentials)
        )
        client.meta.events.register_first("needs-retry", _never_repeat_after_a_read_timeout)
        return client


def _login(credentials: Credentials | None) -> dict[str, str]:
    if credentials is None:
        return {}
    return {
        "aws_access_key_id": credentials.access_key_id,
        "aws_secret_access_key": credentials.secret_access_key,
        "aws_session_token": credentials.session_token,
    }


def _timeout_sec(deadline_sec: float | None) -> int:
    if deadline_sec is None:
        return _TIMEOUT_STEPS_SEC[-1]
    return max((step for step in _TIMEOUT_STEPS_SEC if step <= deadline_sec), default=_TIMEOUT_STEPS_SEC[0])


def _never_repeat_after_a_read_timeout(caught_exception: Exception | None = None, **_: Any) -> None:
    """The call may well have happened, and no time is left: a second one would go behind the workflow's back."""
    if isinstance(caught_exception, ReadTimeoutError):
        raise caught_exception
