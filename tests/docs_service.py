"""What the documentation's commands talk to: the local service in a process of its own, and a small web server."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.markdown import ROOT

BIN = Path(sys.executable).parent
USUAL_URL = "http://127.0.0.1:8989/v2"
SCRIPT_SEC = 240


@contextmanager
def serving(*options: str, within_sec: float = SCRIPT_SEC) -> Iterator[str]:
    """``mistral-local serve`` on a free port; its URL. It has to end well, and after that time it ends anyway."""
    with _process(options, {}, within_sec) as (ready, _):
        yield ready.split()[2]


@contextmanager
def serving_projects(
    *options: str, within_sec: float = SCRIPT_SEC, settings: Mapping[str, str] | None = None
) -> Iterator[dict[str, str]]:
    """As ``serving``, with API keys: for each project that the service makes a key for, the URL that has it."""
    with _process(("--auth", "api-key", *options), settings or {}, within_sec) as (_, lines):
        told = [next(lines) for _ in range(4)]
        yield {
            project.removeprefix("# project ").rstrip(":\n"): login.partition("OS_MISTRAL_URL=")[2].strip()
            for project, login in zip(told[::2], told[1::2], strict=True)
        }


@contextmanager
def _process(
    options: tuple[str, ...], settings: Mapping[str, str], within_sec: float
) -> Iterator[tuple[str, Iterator[str]]]:
    """The service; the line that says that it is ready, and those that follow."""
    command = [str(BIN / "mistral-local"), "serve", "--port", "0", "--quiet", *options]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **settings}
    ) as process:
        watchdog = threading.Timer(within_sec, process.kill)
        watchdog.start()
        try:
            assert process.stdout is not None
            ready = process.stdout.readline()
            assert ready.startswith("ready at http://"), process.communicate()[1]
            yield ready, iter(process.stdout)
        finally:
            process.terminate()
            errors = process.communicate()[1]
            watchdog.cancel()
    assert process.returncode == 0, errors


@dataclass(frozen=True)
class Ended:
    """A script that has ended."""

    status: int
    output: str
    errors: str


def bash(script: str, *, url: str = "") -> Ended:
    """Run a script in the repository, with this environment's programs; the client goes to ``url``."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("OS_", "AWS_", "MISTRAL_"))
    }
    environment["PATH"] = f"{BIN}{os.pathsep}{environment['PATH']}"
    if url:
        environment["OS_MISTRAL_URL"] = url
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=SCRIPT_SEC, check=False,
    )  # fmt: skip
    return Ended(done.returncode, done.stdout, done.stderr)


ANSWERS: dict[str, Any] = {
    "/profile": {"name": "Ada"},
    "/orders": [{"state": "open", "total": 30}, {"state": "sent", "total": 12}],
    "/news": [{"title": "It rains"}],
}


class _Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD: 404 for ``/missing``, 500 for ``/broken``, else what ``ANSWERS`` has."""

    def do_GET(self) -> None:
        body = json.dumps(ANSWERS.get(self.path, "fine")).encode()
        self.send_response({"/missing": 404, "/broken": 500}.get(self.path, 200))
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, *_arguments: Any) -> None:
        """Say nothing."""


@contextmanager
def web_server() -> Iterator[str]:
    """A web server on a free port; its URL without a slash at the end."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
