"""An AWS service that speaks JSON, on 127.0.0.1: answers are given by the test, calls are written down."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

# By operation: a status and a body for the values of a call.
Answers = dict[str, Callable[[dict[str, Any]], tuple[int, dict[str, Any]]]]


@dataclass
class Service:
    """What was called, in order."""

    url: str
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    credentials: list[str] = field(default_factory=list)

    def named(self, operation: str) -> list[dict[str, Any]]:
        """The values of all calls of one operation."""
        return [values for name, values in self.calls if name == operation]


@contextmanager
def json_service(answers: Answers) -> Iterator[Service]:
    """A service while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            operation = self.headers["X-Amz-Target"].rpartition(".")[2]
            values = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            service.calls.append((operation, values))
            service.credentials.append(self.headers["Authorization"])
            status, body = answers[operation](values)
            text = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    service = Service(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield service
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
