"""Our local service as a process of its own, and what the system tells of its memory."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

_TIMEOUT_SEC = 300.0
_MB = 1024 * 1024


@dataclass(slots=True)
class LocalService:
    """A running service: where it answers, and its process."""

    url: str
    pid: int
    _local: threading.local = field(default_factory=threading.local)
    _connections: list[http.client.HTTPConnection] = field(default_factory=list)

    def call(self, method: str, path: str, body: object = None, *, accepted: tuple[int, ...] = (200, 201, 204)) -> Any:
        """The JSON that a request is answered with; text is sent as it is. Raises RuntimeError for another status."""
        parts = urlsplit(self.url)
        connection: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = http.client.HTTPConnection(parts.netloc, timeout=_TIMEOUT_SEC)
            self._local.connection = connection
            self._connections.append(connection)
        is_text = isinstance(body, str)
        data = None if body is None else (str(body) if is_text else json.dumps(body)).encode()
        kind = "text/plain" if is_text else "application/json"
        connection.request(method, parts.path + path, body=data, headers={"Content-Type": kind} if data else {})
        response = connection.getresponse()
        text = response.read()
        if response.status not in accepted:
            raise RuntimeError(f"{method} {path}: {response.status} {text[:300]!r}")
        return json.loads(text) if text else None

    def close(self) -> None:
        """Close the connections of all threads."""
        for connection in self._connections:
            connection.close()

    def rss_mb(self) -> float:
        """How much memory the process has now."""
        return self._status_mb("VmRSS")

    def peak_mb(self) -> float:
        """How much memory the process has ever had."""
        return self._status_mb("VmHWM")

    def _status_mb(self, name: str) -> float:
        for line in Path(f"/proc/{self.pid}/status").read_text("ascii").splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1]) * 1024 / _MB
        raise RuntimeError(f"the system does not tell {name} of process {self.pid}")


@contextmanager
def running(storage: str, *options: str) -> Iterator[LocalService]:
    """`mistral-local serve` with this storage for the time of the block."""
    command = [sys.executable, "-m", "chalicelib.local", "serve", "--port", "0", "--storage", storage, *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        ready = next(line for line in process.stdout if line.startswith("ready at "))
        service = LocalService(ready.split()[2], process.pid)
        with closing(service):
            yield service
    finally:
        process.terminate()
        process.wait(timeout=30)
        if process.stdout is not None:
            process.stdout.close()


class MemoryWatch:
    """The memory of a service, second by second, for the time of the block."""

    def __init__(self, service: LocalService) -> None:
        self.seen_mb: list[float] = [service.rss_mb()]
        self._service = service
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> MemoryWatch:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Look once more."""
        self._ended.set()
        self._thread.join()
        self.seen_mb.append(self._service.rss_mb())

    def _watch(self) -> None:
        began_at = time.monotonic()
        while not self._ended.wait(max(0.0, began_at + len(self.seen_mb) - time.monotonic())):
            self.seen_mb.append(self._service.rss_mb())
