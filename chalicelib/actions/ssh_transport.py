"""SSH connections for ``ssh``: made where the egress policy permits, bounded in time and output.

Each call has an event loop of its own, so that any thread may make one.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from chalicelib.actions.egress import EgressPolicy
from chalicelib.actions.extras import missing_extra
from chalicelib.data import dataclass
from chalicelib.errors import ActionException
from chalicelib.limits import SSH_CONNECT_TIMEOUT_SEC, SSH_OUTPUT_BYTES_MAX

try:
    import asyncssh
except ModuleNotFoundError as error:
    raise ActionException(missing_extra("ssh", "asyncssh")) from error

_KEEPALIVE_SEC: Final = 30
_READ_BYTES: Final = 64 * 1024


class Failure(Exception):
    """A command that could not be run; the text says why and holds nothing that is not to be shown."""


@dataclass(frozen=True, slots=True)
class Login:
    """Who logs in, and with what."""

    username: str
    password: str | None
    key: asyncssh.SSHKey | None


@dataclass(frozen=True, slots=True)
class Gateway:
    """The machine in between."""

    host: str
    port: int
    username: str


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command came to; ``exit_code`` is -1 for one that a signal ended."""

    stdout: str
    stderr: str
    exit_code: int


def login(username: str, password: str | None, key: str) -> Login:
    """A login by the text of a private key, if there is one, else by password. Raises Failure for what is no key."""
    if not key:
        return Login(username, password, None)
    try:
        return Login(username, password, asyncssh.import_private_key(key, passphrase=password))
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError, ValueError) as error:
        raise Failure("it is no private key, or its password is another") from error


def run_on_each(
    places: Sequence[tuple[str, int]],
    command: str,
    login: Login,
    *,
    gateway: Gateway | None,
    policy: EgressPolicy,
    deadline_sec: float,
) -> Iterator[Ran]:
    """Run a command on one host after the other. Raises Failure and UrlNotAllowedException at the first that fails."""
    ends_at = time.monotonic() + deadline_sec
    for place in places:
        try:
            yield asyncio.run(_run(place, command, login, gateway, policy=policy, ends_at=ends_at))
        except TimeoutError as error:
            raise Failure("the time is over") from error
        except asyncssh.PermissionDenied as error:
            raise Failure("permission denied") from error
        except (OSError, asyncssh.Error) as error:
            raise Failure("no connection") from error


async def _run(
    place: tuple[str, int],
    command: str,
    login: Login,
    gateway: Gateway | None,
    *,
    policy: EgressPolicy,
    ends_at: float,
) -> Ran:
    async with asyncio.timeout(max(ends_at - time.monotonic(), 0.0)):
        async with _connected(place, login, gateway, policy=policy, ends_at=ends_at) as connection:
            return await _ran(connection, command)


@asynccontextmanager
async def _connected(
    place: tuple[str, int], login: Login, gateway: Gateway | None, *, policy: EgressPolicy, ends_at: float
) -> AsyncIterator[asyncssh.SSHClientConnection]:
    """A connection by way of the gateway, if there is one; only that one is then subject to the egress policy."""
    if gateway is None:
        sock = _socket(*place, policy=policy, ends_at=ends_at)
        async with asyncssh.connect(*place, sock=sock, **_options(login, login.username)) as connection:
            yield connection
        return
    sock = _socket(gateway.host, gateway.port, policy=policy, ends_at=ends_at)
    # The gateway is not entered by password: it would learn the one of the host behind it.
    options = _options(Login(gateway.username, None, login.key), gateway.username)
    async with asyncssh.connect(gateway.host, gateway.port, sock=sock, **options) as tunnel:
        behind = _options(Login(login.username, None, login.key), login.username)
        async with asyncssh.connect(*place, tunnel=tunnel, **behind) as connection:
            yield connection


def _socket(host: str, port: int, *, policy: EgressPolicy, ends_at: float) -> socket.socket:
    """A connection; this loop serves nobody else, so that it may wait."""
    timeout_sec = min(SSH_CONNECT_TIMEOUT_SEC, max(ends_at - time.monotonic(), 0.001))
    return policy.connect(host, port, timeout_sec=timeout_sec)


def _options(login: Login, username: str) -> dict[str, Any]:
    """Nothing of the executor's own: no configuration, agent, keys or lists of known hosts."""
    return {
        "username": username,
        "password": login.password if login.key is None else None,
        "client_keys": [login.key] if login.key is not None else None,
        "config": None,
        "agent_path": None,
        "known_hosts": None,
        "login_timeout": SSH_CONNECT_TIMEOUT_SEC,
        "keepalive_interval": _KEEPALIVE_SEC,
    }


async def _ran(connection: asyncssh.SSHClientConnection, command: str) -> Ran:
    async with connection.create_process(command, encoding=None) as process:
        process.stdin.write_eof()
        stdout, stderr = await asyncio.gather(_read(process.stdout), _read(process.stderr))
        await process.wait_closed()
        status = process.exit_status
    if status is None:
        raise Failure("the connection was lost")
    return Ran(stdout, stderr, status)


async def _read(stream: asyncssh.SSHReader[bytes]) -> str:
    """All of a stream, both being read at once: a command that fills the one is not held up by the other."""
    read = bytearray()
    while chunk := await stream.read(_READ_BYTES):
        read += chunk
        if len(read) > SSH_OUTPUT_BYTES_MAX:
            raise Failure(f"the output exceeds {SSH_OUTPUT_BYTES_MAX} bytes")
    return read.decode("utf-8", "replace")
