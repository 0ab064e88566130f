"""Speed over HTTP: our local service, and any other Mistral v2 service beside it, in one run and in turns.

Every figure is the median of some rounds. Both services share the machine, so what counts is the ratio of two columns.
"""

from __future__ import annotations

import json
import statistics
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import requests

from benchmarks.local_service import running
from benchmarks.workloads import chain, fork, items

_DONE = frozenset({"SUCCESS", "ERROR", "CANCELLED"})
_TIMEOUT_SEC = 600.0
_CLIENTS = 16
_NOOPS = 20


Row = Callable[["Service"], float]


class Service:
    """A Mistral v2 service under its URL."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._local = threading.local()
        self._sessions: list[requests.Session] = []

    def close(self) -> None:
        """Close the connections of all threads."""
        for session in self._sessions:
            session.close()

    def call(self, method: str, path: str, **options: Any) -> requests.Response:
        """One request. Raises requests.HTTPError for an error status."""
        session = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = requests.Session()
            session.trust_env = False
            self._sessions.append(session)
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
        server.server_close()


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


def _latency(service: Service) -> float:
    name = service.upload(chain(1, "std.noop"))
    taken = []
    for _ in range(_NOOPS):
        started = time.perf_counter()
        service.wait(service.start(name), 0.005)
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def _listing(service: Service) -> float:
    started = time.perf_counter()
    for _ in range(20):
        service.call("GET", "/workflows?limit=50")
    return time.perf_counter() - started


def rows(url: str) -> dict[str, Row]:
    """What is timed, by title; ``url`` is what the workflows with real actions call."""
    http = f"std.http url='{url}'"

    def one(text: str) -> Row:
        return lambda service: _seconds(service, text)

    return {
        "one std.noop, start to SUCCESS, median of 20": _latency,
        "100 executions x 10 pure tasks, 16 clients": lambda service: _many(service, 100, chain(10, "std.noop")),
        "chain of 200 pure tasks": one(chain(200, "std.noop")),
        "fork of 100 pure tasks and join": one(fork(100, "std.noop")),
        "with-items, 1,000 pure": one(items(1000, "std.noop")),
        "with-items, 1,000 pure, concurrency 10": one(items(1000, "std.noop", 10)),
        "chain of 40 std.http": one(chain(40, http)),
        "fork of 100 std.http and join": one(fork(100, http)),
        "with-items, 100 std.http": one(items(100, http)),
        "with-items, 100 std.http, concurrency 10": one(items(100, http, 10)),
        "GET /workflows?limit=50, 20 times": _listing,
    }


@contextmanager
def table_services(against: str | None, storage: str) -> Iterator[tuple[dict[str, Service], dict[str, Row]]]:
    """Our service, the other one beside it, and what is timed on them."""
    with _target() as target, running(storage, "--quiet") as local:
        services = {"ours": Service(local.url)} | ({"other": Service(against)} if against else {})
        try:
            yield services, rows(target)
        finally:
            for service in services.values():
                service.close()


def table(against: str | None, *, storage: str, rounds: int, wanted: Sequence[str] = ()) -> str:
    """Seconds per row; with another service beside ours, also how many times faster ours is.

    Of the rows those whose title begins with one of the ``wanted``, or all. Each is printed as soon as it is known.
    """
    with table_services(against, storage) as (services, timed):
        lines = [f"{'seconds, median of ' + str(rounds):<46}" + "".join(f"{name:>10}" for name in services)]
        for title, run in timed.items():
            if wanted and not title.startswith(tuple(wanted)):
                continue
            medians: dict[str, list[float]] = {name: [] for name in services}
            for _ in range(rounds):
                for name, service in services.items():
                    medians[name].append(run(service))
            figures = [statistics.median(values) for values in medians.values()]
            ratio = f"{figures[1] / figures[0]:>9.1f}x" if len(figures) > 1 else ""
            lines.append(f"{title:<46}" + "".join(f"{figure:>10.3f}" for figure in figures) + ratio)
            print(lines[-1], file=sys.stderr, flush=True)
    return "\n".join(lines)
