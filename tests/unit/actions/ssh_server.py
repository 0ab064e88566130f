"""A real SSH server on 127.0.0.1 for tests: its commands are fixed, and it remembers who came."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncssh


@dataclass
class SshServer:
    """The running server: ``user`` may enter by ``password`` or by one of the ``keys``."""

    user: str = "ann"
    password: str | None = "opensesame"
    keys: list[asyncssh.SSHKey] = field(default_factory=list)
    port: int = 0
    entered: list[str] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    tunnels: list[tuple[str, int]] = field(default_factory=list)
    passwords: list[str] = field(default_factory=list)

    @property
    def address(self) -> str:
        """As the parameter ``host`` takes it."""
        return f"127.0.0.1:{self.port}"


class _Visitor(asyncssh.SSHServer):
    def __init__(self, state: SshServer) -> None:
        self._state = state

    def begin_auth(self, username: str) -> bool:
        return True

    def password_auth_supported(self) -> bool:
        return self._state.password is not None

    def validate_password(self, username: str, password: str) -> bool:
        self._state.passwords.append(password)
        return (username, password) == (self._state.user, self._state.password)

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        known = [own.public_data for own in self._state.keys]
        return username == self._state.user and key.public_data in known

    def auth_completed(self) -> None:
        self._state.entered.append(self._state.user)

    def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> bool:
        self._state.tunnels.append((dest_host, dest_port))
        return True


async def _command(process: Any, state: SshServer) -> None:
    state.commands.append(process.command)
    word, _, rest = process.command.partition(" ")
    match word:
        case "echo":
            process.stdout.write(f"{rest}\n".encode())
        case "fail":
            process.stdout.write(b"half done")
            process.stderr.write(b"it broke")
            process.exit(int(rest))
            return
        case "noise":  # much on both streams, the second one first
            process.stderr.write(b"e" * int(rest))
            process.stdout.write(b"o" * int(rest))
        case "bytes":
            process.stdout.write(bytes.fromhex(rest))
        case "input":
            process.stdout.write(b"got " + await process.stdin.read())
        case "hang":
            await process.stdin.read()
            await asyncio.Event().wait()
        case "die":
            process.exit_with_signal("KILL")
            return
    await process.stdout.drain()
    process.exit(0)


@contextmanager
def ssh_server(state: SshServer) -> Iterator[SshServer]:
    """Serve until the block ends."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    host_key = asyncssh.generate_private_key("ssh-ed25519")

    async def begin() -> asyncssh.SSHAcceptor:
        return await asyncssh.create_server(
            lambda: _Visitor(state), "127.0.0.1", 0, server_host_keys=[host_key], encoding=None,
            process_factory=lambda process: _command(process, state),
        )  # fmt: skip

    acceptor = asyncio.run_coroutine_threadsafe(begin(), loop).result()
    state.port = acceptor.get_port()

    async def end() -> None:
        acceptor.close()
        await acceptor.wait_closed()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    try:
        yield state
    finally:
        asyncio.run_coroutine_threadsafe(end(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
