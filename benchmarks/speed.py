"""Speed over HTTP: our local service, and any other Mistral v2 service beside it, in one run and in turns.

Every figure is the median of some rounds. Both services share the machine, so what counts is the ratio of two columns.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import requests

from benchmarks.workloads import chain, fork

_DONE = frozenset({"SUCCESS", "ERROR", "CANCELLED"})
_TIMEOUT_SEC = 300.0
_CLIENTS = 16


class Service:
    """A Mistral v2 service under its URL."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._local = threading.local()

    def call(self, method: str, path: str, **options: Any) -> requests.Response:
        """One request. Raises requests.HTTPError for an error status."""
        session = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = requests.Session()
            session.trust_env = False
        response: requests.Response = session.request(method, self._url + path, timeout=_TIMEOUT_SEC, **options)
        response.raise_for_status()
        return response

    def upload(self, text: str) -> str:
        """Store a workflow under a name of its own; the name."""
        name = f"bench_{uuid.uuid4().hex[:12]}"
        body = text.replace("\nwork:\n", f"\n{name}:\n", 1).encode()
        self.call("POST", "/workflows", data=body, headers={"Content-Type": "text/plain"})
        return name

    def start(self, name: str) -> str:
        """Start a workflow; the id of the execution."""
        identifier: str = self.call("POST", "/executions", json={"workflow_name": name}).json()["id"]
        return identifier

    def wait(self, execution_id: str, poll_sec: float) -> None:
        """Wait for an execution to succeed. Raises RuntimeError if it does not."""
        ends = time.monotonic() + _TIMEOUT_SEC
        while time.monotonic() < ends:
            execution = self.call("GET", f"/executions/{execution_id}").json()
            if execution["state"] in _DONE:
                if execution["state"] != "SUCCESS":
                    raise RuntimeError(f"{execution['state']}: {execution['state_info']}")
                return
            time.sleep(poll_sec)
        raise RuntimeError(f"execution {execution_id} did not end within {_TIMEOUT_SEC:.0f} s")


class _Target(BaseHTTPRequestHandler):
    """What the workflows call: a small JSON answer to any GET."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = json.dumps({"id": "x1", "status": "ACTIVE"}).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        self.wfile.write(head + body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


@contextmanager
def _target() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Target)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/x"
    finally:
        server.shutdown()


@contextmanager
def _ours(storage: str) -> Iterator[str]:
    command = [sys.executable, "-m", "chalicelib.local", "serve", "--port", "0", "--storage", storage]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        ready = next(line for line in process.stdout if line.startswith("ready at "))
        yield ready.split()[2]
    finally:
        process.terminate()
        process.wait(timeout=30)


def _seconds(service: Service, text: str, poll_sec: float = 0.01) -> float:
    name = service.upload(text)
    started = time.perf_counter()
    service.wait(service.start(name), poll_sec)
    return time.perf_counter() - started


def _many(service: Service, executions: int, text: str) -> float:
    name = service.upload(text)
    started = time.perf_counter()
    with ThreadPoolExecutor(_CLIENTS) as pool:
        identifiers = list(pool.map(lambda _: service.start(name), range(executions)))
        list(pool.map(lambda identifier: service.wait(identifier, 0.1), identifiers))
    return time.perf_counter() - started


def _rows(url: str) -> list[tuple[str, Callable[[Service], float]]]:
    http = f"std.http url='{url}'"
    return [
        ("one std.noop, start to SUCCESS", lambda service: _seconds(service, chain(1, "std.noop"))),
        ("100 executions x 10 pure tasks, 16 clients", lambda service: _many(service, 100, chain(10, "std.noop"))),
        ("chain of 200 pure tasks", lambda service: _seconds(service, chain(200, "std.noop"))),
        ("fork of 100 pure tasks and join", lambda service: _seconds(service, fork(100, "std.noop"))),
        ("chain of 40 std.http", lambda service: _seconds(service, chain(40, http))),
        ("fork of 100 std.http and join", lambda service: _seconds(service, fork(100, http))),
        ("GET /workflows?limit=50, 20 times", _listing),
    ]


def _listing(service: Service) -> float:
    started = time.perf_counter()
    for _ in range(20):
        service.call("GET", "/workflows?limit=50")
    return time.perf_counter() - started


def table(against: str | None, *, storage: str, rounds: int) -> str:
    """Seconds per row; with another service beside ours, also how many times faster ours is."""
    with _target() as target, _ours(storage) as url:
        services = {"ours": Service(url)} | ({"other": Service(against)} if against else {})
        lines = [f"{'seconds, median of ' + str(rounds):<46}" + "".join(f"{name:>10}" for name in services)]
        for title, run in _rows(target):
            medians: dict[str, list[float]] = {name: [] for name in services}
            for _ in range(rounds):
                for name, service in services.items():
                    medians[name].append(run(service))
            figures = [statistics.median(values) for values in medians.values()]
            ratio = f"{figures[1] / figures[0]:>9.0f}x" if len(figures) > 1 else ""
            lines.append(f"{title:<46}" + "".join(f"{figure:>10.3f}" for figure in figures) + ratio)
    return "\n".join(lines)
