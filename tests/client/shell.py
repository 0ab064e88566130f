"""The command ``mistral`` of python-mistralclient, as released, called in this process.

What it prints, its exit status and the requests it made are kept; nothing of it is replaced.
"""

import io
import json
import logging
import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import requests
from mistralclient import shell

WAIT_SEC = 60.0
COMPLETED = ("SUCCESS", "ERROR", "CANCELLED")

Request = tuple[str, str]


@dataclass(frozen=True)
class Ended:
    """A command that has ended: its exit status, what it printed, and the method and path of what it asked for."""

    status: int
    output: str
    errors: str
    requests: tuple[Request, ...] = ()

    @property
    def told(self) -> str:
        """Everything that the user sees."""
        return self.output + self.errors


@dataclass(frozen=True)
class Mistral:
    """A user at a shell, who has told the client where the service is and keeps files in a directory.

    ``options``: what the client is told instead of the address, such as how to log in.
    """

    url: str
    home: Path
    options: tuple[str, ...] = ()

    def run(self, *arguments: str) -> Ended:
        """Run a command to its end, well or badly."""
        who = self.options or ("--os-mistral-url", self.url)
        return ended_with(lambda: shell.main([*who, *arguments]))

    def text(self, *arguments: str) -> str:
        """What a command prints that ends well."""
        ended = self.run(*arguments)
        assert ended.status == 0, f"{' '.join(arguments)}\n{ended.told}"
        return ended.output

    def json(self, *arguments: str) -> Any:
        """What a command prints as JSON, when it does so without being asked to."""
        return json.loads(self.text(*arguments))

    def one(self, command: str, *arguments: str) -> dict[str, Any]:
        """The object that a command shows, by the names of its columns."""
        shown: dict[str, Any] = self.json(command, *arguments, "-f", "json")
        return shown

    def rows(self, command: str, *arguments: str) -> list[dict[str, Any]]:
        """The objects that a command lists; the client shows no object as one without values."""
        listed = self.json(command, *arguments, "-f", "json")
        return [row for row in listed if any(value != "" for value in row.values())]

    def column(self, name: str, command: str, *arguments: str) -> list[Any]:
        """One column of what a command lists."""
        return [row[name] for row in self.rows(command, *arguments)]

    def refused(self, *arguments: str) -> str:
        """What the user sees of a command that fails."""
        ended = self.run(*arguments)
        assert ended.status != 0, f"{' '.join(arguments)} worked:\n{ended.output}"
        return ended.told

    def file(self, name: str, content: str | dict[str, Any]) -> str:
        """Write a file; its path."""
        path = self.home / name
        path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
        return str(path)

    # -- what tests do again and again

    def upload(self, text: str, *options: str) -> list[dict[str, Any]]:
        """Create workflows; their rows."""
        return self.rows("workflow-create", self.file("workflows.yaml", f"version: '2.0'\n{text}"), *options)

    def start(self, *arguments: str) -> str:
        """Start an execution; its id."""
        identifier = self.one("execution-create", *arguments)["ID"]
        assert isinstance(identifier, str)
        return identifier

    def state_of(self, execution_id: str, *expected: str) -> str:
        """The state of an execution when it has become one of those expected; without them, a final one."""
        return eventually(lambda: self.one("execution-get", execution_id)["State"], *(expected or COMPLETED))

    def finished(self, *arguments: str) -> str:
        """Start an execution and wait for its end; its id."""
        identifier = self.start(*arguments)
        self.state_of(identifier)
        return identifier

    def task(self, execution_id: str, name: str) -> dict[str, Any]:
        """The row of an execution's task."""
        (found,) = (row for row in self.rows("task-list", execution_id) if row["Name"] == name)
        return found

    def action(self, execution_id: str, task_name: str) -> dict[str, Any]:
        """The row of the only action execution of a task."""
        (found,) = self.rows("action-execution-list", self.task(execution_id, task_name)["ID"])
        return found


def ended_with(main: Callable[[], int]) -> Ended:
    """What came of a command's main function; it thinks that the process is its own."""
    output, errors = io.StringIO(), io.StringIO()
    with redirect_stdout(output), redirect_stderr(errors), _surroundings(), _watching() as made:
        try:
            status = main()
        except SystemExit as ended:  # argparse, about arguments
            status = ended.code if isinstance(ended.code, int) else 1
    return Ended(status, output.getvalue(), errors.getvalue(), tuple(made))


def eventually(look: Callable[[], str], *expected: str) -> str:
    """What ``look`` says when it is as expected; every look is a request, which is pause enough."""
    deadline_sec = time.monotonic() + WAIT_SEC
    while (seen := look()) not in expected:
        assert time.monotonic() < deadline_sec, f"still {seen}, not {expected}"
    return seen


@contextmanager
def _surroundings() -> Iterator[None]:
    """As in a process of its own: nothing of ``OS_*`` is set, nobody else listens to the log.

    The client leaves files open that it reads; when its process ends, nobody minds.
    """
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OS_", "MISTRAL"))}
    root.handlers = []
    try:
        with patch.dict(os.environ, environment, clear=True), warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            yield
    finally:
        root.handlers = handlers
        root.setLevel(level)


@contextmanager
def _watching() -> Iterator[list[Request]]:
    """The method and path of every request that is sent meanwhile."""
    made: list[Request] = []
    send = requests.Session.send

    def noting(session: requests.Session, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        made.append((str(request.method), request.path_url.partition("?")[0]))
        return send(session, request, **options)

    with patch.object(requests.Session, "send", noting):
        yield made
