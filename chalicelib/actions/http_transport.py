"""The way out for HTTP: ``requests`` with the egress policy in the socket, bounds on bytes and time, and no memory.

Every connection, also one made for a redirect or to a proxy, resolves its host by the policy and is pinned to an
address that the policy has permitted. A response is read here, whole, within its bounds. Connections are pooled per
policy; sessions, and with them cookies and credentials, live for one call.
"""

from __future__ import annotations

import io
import logging
import socket
import time
from functools import lru_cache
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests.utils import select_proxy
from urllib3 import HTTPConnectionPool, HTTPResponse, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError
from urllib3.util import parse_url

from chalicelib.actions.egress import EgressPolicy
from chalicelib.errors import ActionException
from chalicelib.limits import HTTP_IDLE_CONNECTION_MAX_SEC, HTTP_REDIRECTS_MAX, HTTP_RESPONSE_BYTES_MAX
from chalicelib.vocabulary import Json

# At debug level the library would log the paths and queries of URLs, which may hold secrets.
logging.getLogger("urllib3.connectionpool").setLevel(logging.INFO)

_ADDRESSES_TRIED_MAX = 4
_READ_BYTES = 64 * 1024
_CREDENTIALS = ("X-Auth-Token", "X-Service-Token", "X-Subject-Token", "X-Target-Auth-Token", "X-Api-Key")
_QUICK_ACKNOWLEDGEMENT = getattr(socket, "TCP_QUICKACK", None)


def send(*, policy: EgressPolicy, deadline_sec: float, allow_redirects: bool, **request: Json) -> requests.Response:
    """Send one request and read its whole response; ``request`` is what ``requests`` takes.

    Raises ``UrlNotAllowedException`` where the policy says no, ``ActionException`` for a response beyond its bounds,
    and whatever ``requests`` raises.
    """
    with _session(_GuardedAdapter(policy, ends_at=time.monotonic() + deadline_sec)) as session:
        return session.request(allow_redirects=allow_redirects, **request)


def guarded_session(*, policy: EgressPolicy, deadline_sec: float) -> requests.Session:
    """A session for libraries that ask themselves: the same policy and bounds, all its requests within one deadline.

    Responses have been read when they are handed out; who wants a stream reads them once more.
    """
    return _session(_ReplayingAdapter(policy, ends_at=time.monotonic() + deadline_sec))


def _session(adapter: _GuardedAdapter) -> requests.Session:
    session = _Session()
    session.trust_env = False
    session.max_redirects = HTTP_REDIRECTS_MAX
    session.adapters.clear()
    # The empty prefix catches every other scheme, so that the policy refuses it.
    session.mount("", adapter)
    return session


class _Session(requests.Session):
    """Takes credentials along to another host only where the user has named it: not where a redirect leads."""

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        """The library takes ``Authorization`` away; tokens of OpenStack's kind are credentials as well."""
        here, there = response.request.url, prepared_request.url
        if self.should_strip_auth(here, there):  # type: ignore[no-untyped-call]
            for name in _CREDENTIALS:
                prepared_request.headers.pop(name, None)
        super().rebuild_auth(prepared_request, response)  # type: ignore[no-untyped-call]


class _GuardedConnection(HTTPConnection):
    """A connection that only ever connects to addresses which the policy permitted."""

    policy: EgressPolicy
    _used_at: float = 0.0

    def _new_conn(self) -> socket.socket:
        host = self.host
        try:
            addresses = self.policy.checked_addresses(host, self.port)
        except socket.gaierror as error:
            raise NameResolutionError(host, self, error) from error
        failure: Exception | None = None
        for address in addresses[:_ADDRESSES_TRIED_MAX]:
            # The parent resolves what stands in ``host``: now an address, so nothing is left to resolve differently.
            self.host = address
            try:
                return super()._new_conn()
            except (ConnectTimeoutError, NewConnectionError) as error:
                failure = error
            finally:
                self.host = host
        raise failure or NewConnectionError(self, f"{host} has no address")

    def request(self, *args: Any, **options: Any) -> None:
        self._used_at = time.monotonic()
        super().request(*args, **options)
        # A server that sends head and body apart waits for our acknowledgement between them: on a connection that is
        # used again the kernel holds it back for 40 ms, unless it is asked each time not to.
        if _QUICK_ACKNOWLEDGEMENT is not None and self.sock is not None:
            self.sock.setsockopt(socket.IPPROTO_TCP, _QUICK_ACKNOWLEDGEMENT, 1)

    @property
    def is_connected(self) -> bool:
        """Whether it may be used again; an old one may be dead unnoticed: a frozen Lambda misses farewells."""
        return super().is_connected and time.monotonic() - self._used_at < HTTP_IDLE_CONNECTION_MAX_SEC


class _GuardedSecureConnection(_GuardedConnection, HTTPSConnection):
    pass


@lru_cache(maxsize=4)
def _pool_classes(policy: EgressPolicy) -> dict[str, type[HTTPConnectionPool]]:
    connection = type("Connection", (_GuardedConnection,), {"policy": policy})
    secure_connection = type("SecureConnection", (_GuardedSecureConnection,), {"policy": policy})
    return {
        "http": type("Pool", (HTTPConnectionPool,), {"ConnectionCls": connection}),
        "https": type("SecurePool", (HTTPSConnectionPool,), {"ConnectionCls": secure_connection}),
    }


@lru_cache(maxsize=4)
def _pools(policy: EgressPolicy) -> PoolManager:
    manager = PoolManager(num_pools=10, maxsize=10)
    manager.pool_classes_by_scheme = _pool_classes(policy)
    return manager


class _GuardedAdapter(HTTPAdapter):
    """Serves one call: shared connections, the call's own deadline."""

    def __init__(self, policy: EgressPolicy, *, ends_at: float) -> None:
        self._policy = policy
        self._ends_at = ends_at
        super().__init__()

    def init_poolmanager(self, *_args: Any, **_options: Any) -> None:
        self.poolmanager = _pools(self._policy)

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        parts = parse_url(proxy)
        self._policy.check_host(parts.scheme, parts.host)
        manager = super().proxy_manager_for(proxy, **options)
        manager.pool_classes_by_scheme = _pool_classes(self._policy)
        return manager

    def close(self) -> None:
        """Leave the shared connections open; only those to proxies go."""
        for manager in self.proxy_manager.values():
            manager.clear()

    def send(  # noqa: PLR0917 - the signature is that of requests
        self,
        request: requests.PreparedRequest,
        stream: bool = False,  # noqa: ARG002 - it is always read here
        timeout: Any = None,
        verify: Any = True,
        cert: Any = None,
        proxies: Any = None,
    ) -> requests.Response:
        url = request.url or ""
        target = parse_url(url)
        self._policy.check_host(target.scheme, target.host)
        if select_proxy(url, proxies):
            # The proxy will resolve the name, out of sight: look at least once ourselves.
            self._policy.check_url(url)
        response = super().send(
            request, stream=True, timeout=self._within_deadline(timeout), verify=verify, cert=cert, proxies=proxies
        )
        try:
            # ``requests`` has no public way to hand a body over, and would read a redirect's body without any bound.
            response._content = self._read(response)
        except BaseException:
            response.close()
            raise
        return response

    def _within_deadline(self, timeout: Any) -> Any:
        left = self._ends_at - time.monotonic()
        if left <= 0:
            raise ActionException("HTTP request was given up: the time of the action is over.")
        # Anything but a number goes through, for the library to refuse in its own words.
        return min(timeout, left) if isinstance(timeout, (int, float)) else timeout

    def _read(self, response: requests.Response) -> bytes:
        declared = response.headers.get("Content-Length", "")
        if declared.isdigit() and int(declared) > HTTP_RESPONSE_BYTES_MAX and response.request.method != "HEAD":
            raise ActionException(
                f"HTTP response is too large (Content-Length={declared}, limit={HTTP_RESPONSE_BYTES_MAX} bytes)."
            )
        body = bytearray()
        while chunk := response.raw.read1(_READ_BYTES, decode_content=True):
            body += chunk
            if len(body) > HTTP_RESPONSE_BYTES_MAX:
                raise ActionException(f"HTTP response is too large (limit={HTTP_RESPONSE_BYTES_MAX} bytes).")
            if time.monotonic() > self._ends_at:
                raise ActionException("HTTP response was given up: the time of the action is over.")
        return bytes(body)


class _ReplayingAdapter(_GuardedAdapter):
    """Leaves a stream behind, over what was read."""

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        response = super().send(request, *args, **options)
        # What was read is decoded already.
        headers = {name: value for name, value in response.headers.items() if name.lower() != "content-encoding"}
        response.raw = HTTPResponse(
            io.BytesIO(response.content), headers, response.status_code, preload_content=False, reason=response.reason
        )
        # The library would take a body that it has not read itself from the stream, or from here.
        response._content_consumed = True  # type: ignore[attr-defined]
        return response
