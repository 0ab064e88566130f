"""How AWS is called: as whom, with which client, and with how much patience when it asks for some."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

from botocore.exceptions import ClientError

from chalicelib.actions.action import ActionContext
from chalicelib.actions.aws_clients import AwsClients
from chalicelib.actions.aws_models import AwsModels
from chalicelib.actions.aws_roles import AssumedRoles

T = TypeVar("T")

# What AWS answers instead of acting. botocore tries such a call again a few times within seconds; more is done here.
# `LimitExceededException` is not among them: mostly it means a quota, which waiting does not change.
THROTTLED: Final = frozenset(
    {
        "BandwidthLimitExceeded",
        "EC2ThrottledException",
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "Throttling",
        "ThrottledException",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
_BACKOFF_FIRST_SEC: Final = 1.0
_BACKOFF_MAX_SEC: Final = 20.0
_PATIENCE_SEC: Final = 60.0
# What a call itself may take once it is let through.
_CALL_SEC: Final = 2.0


def fault_text(error: ClientError) -> str:
    """AWS's error code and message."""
    fault = error.response.get("Error", {})
    return f"[{fault.get('Code', 'Unknown')}] {fault.get('Message', '')}"


class Patience:
    """Repeats what AWS throttles until the time of an action is over, waiting longer each time."""

    def __init__(self, deadline_sec: float | None, pause: Callable[[float], None]) -> None:
        self._ends_at = time.monotonic() + (_PATIENCE_SEC if deadline_sec is None else deadline_sec)
        self._pause = pause

    @property
    def is_over(self) -> bool:
        """Whether no time is left."""
        return time.monotonic() > self._ends_at

    def with_call(self, call: Callable[[], T]) -> T:
        """What the call gives. Raises what it raises, the throttling error too when no time is left."""
        longest = _BACKOFF_FIRST_SEC
        while True:
            try:
                return call()
            except ClientError as error:
                delay_sec = longest * random.uniform(0.5, 1.0)  # noqa: S311 - that callers do not come back at once
                no_time_left = time.monotonic() + delay_sec + _CALL_SEC > self._ends_at
                if error.response.get("Error", {}).get("Code") not in THROTTLED or no_time_left:
                    raise
            self._pause(delay_sec)
            longest = min(2 * longest, _BACKOFF_MAX_SEC)


class AwsCalls:
    """What all actions of a process share for calling AWS."""

    def __init__(self, models: AwsModels, pause: Callable[[float], None] = time.sleep) -> None:
        self.models = models
        self._clients = AwsClients(models)
        self._roles = AssumedRoles(self._clients)
        self._pause = pause

    def client(self, service: str, context: ActionContext, *, region: str | None, role_arn: str | None) -> Any:
        """A client for an action, as a role: the given one, else the installation's if it has one for actions.

        Raises ActionException if that is refused.
        """
        role_arn = role_arn or context.aws.role_arn
        return self._clients.client(
            service,
            region=region or context.aws.region,
            endpoint_url=context.aws.endpoint_url,
            deadline_sec=context.deadline_sec,
            credentials=self._roles.credentials(role_arn, context) if role_arn else None,
        )

    def patience(self, context: ActionContext) -> Patience:
        """Patience for the time that is left to an action."""
        return Patience(context.deadline_sec, self._pause)
