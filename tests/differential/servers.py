"""Where a case is played: a server that is reached over HTTP, or the service in memory with a clock of its own."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from typing import Any, Protocol
from unittest import mock

import requests

from chalicelib.actions import std
from chalicelib.services.messages import TASKS, TASKS_LONG
from tests.api.service_client import EXECUTOR_SEC, Client, Service

_IDLE_SECONDS_MAX = 200


class Server(Protocol):
    """A Mistral v2 API, and its time."""

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Send a request; a text goes as it is, everything else as JSON. Status and the JSON that came."""
        ...

    def wait(self) -> bool:
        """Let some time pass. Whether anything may still happen."""
        ...

    def now(self) -> float:
        """Seconds since some moment."""
        ...


class HttpServer:
    """A server behind a URL that ends in ``/v2``."""

    poll_sec = 0.4
    timeout_sec = 60.0

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/").removesuffix("/v2")
        self._local = threading.local()

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Send a request; 60 seconds at most."""
        session = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = requests.Session()
            session.trust_env = False
        data = body if isinstance(body, str) or body is None else json.dumps(body)
        kind = "text/plain" if isinstance(body, str) else "application/json"
        reply = session.request(
            method,
            self._url + path,
            data=None if data is None else data.encode(),
            headers={} if data is None else {"Content-Type": kind},
            timeout=self.timeout_sec,
        )
        try:
            return reply.status_code, reply.json() if reply.content else None
        except ValueError:
            return reply.status_code, None

    def wait(self) -> bool:
        """Sleep a little."""
        time.sleep(self.poll_sec)
        return True

    def now(self) -> float:
        """The monotonic clock."""
        return time.monotonic()


class MemoryServer:
    """The whole service in this process. Its clock jumps to what is due next; an action that sleeps moves it too."""

    def __init__(self) -> None:
        self._service = Service()
        self._client = Client(self._service)
        self._idle = 0
        self._began = self._service.clock.now()

    @classmethod
    @contextlib.contextmanager
    def running(cls) -> Iterator[MemoryServer]:
        """A new service; while it is there, the actions of ``std`` sleep on its clock."""
        server = cls()
        with mock.patch.object(std, "time", server):
            yield server

    def sleep(self, seconds: float) -> None:
        """What ``time.sleep`` is to the actions."""
        self._service.pass_time(seconds)

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Send a request through the gateway."""
        self._idle = 0 if method != "GET" else self._idle
        headers = {"content_type": "text/plain" if isinstance(body, str) else "application/json"}
        data = body if isinstance(body, str) else json.dumps(body).encode() if body is not None else b""
        reply = self._client.ask(method, path, data, **(headers if data or isinstance(body, str) else {}))
        return reply.status, reply.json

    def wait(self) -> bool:
        """Do one piece of work, or let a second pass."""
        service = self._service
        due = [(at, name) for name in (TASKS, TASKS_LONG) if (at := service.queue.next_visible_at(name)) is not None]
        at, name = min(due, default=(None, ""))
        if at is None or at > service.clock.now() + 1:
            self._idle = self._idle + 1 if at is None else 0
            service.pass_time(1)
            if service.container.clock_door.tick():
                self._idle = 0
            return self._idle < _IDLE_SECONDS_MAX
        self._idle = 0
        service.clock.set(max(at, service.clock.now()))
        for received in service.queue.receive(name, messages_max=1):
            attributes = {"ApproximateReceiveCount": str(received.receive_count)}
            record = {"messageId": received.message_id, "body": json.dumps(received.body), "attributes": attributes}
            if not service.container.executor.handle_batch([record], EXECUTOR_SEC):
                service.queue.delete(received)
        return True

    def now(self) -> float:
        """The clock of the service."""
        return self._service.clock.now() - self._began
