"""Every command of the client once, in an order in which it can work, and the page of the documentation about it."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from chalicelib.local.gateway import Router, Routes
from tests.client.openstack import words
from tests.client.shell import Ended, Mistral
from tests.docs_service import serving_projects
from tests.markdown import ROOT

PAGE = ROOT / "docs" / "client.md"
TOUR_SEC = 300.0
# Commands that ask for nothing.
SILENT = frozenset({"bash-completion"})

WORKBOOK = """
version: '2.0'
name: toured_book
workflows:
  inside: {tasks: {only: {action: std.noop}}}
"""
WORKFLOW = """
version: '2.0'
toured:
  input: [way: good]
  tasks:
    each:
      with-items: way in <% [$.way] %>
      action: std.async_noop
      publish: {way: <% $.way %>}
      on-success: below
    below:
      workflow: toured_below
toured_below:
  tasks: {only: {action: std.noop}}
"""
ACTION = """
version: '2.0'
toured_echo:
  base: std.echo output=1
"""

SOURCE = """
from mistral_lib import actions

class Double(actions.Action):
    def __init__(self, number):
        self.number = number

    def run(self, context):
        return 2 * self.number
"""


@dataclass(frozen=True)
class Stop:
    """What came of one command."""

    command: str
    ended: Ended

    @property
    def works(self) -> bool:
        """Whether it ended well."""
        return self.ended.status == 0

    @property
    def error(self) -> str:
        """The first line of what the user sees when it did not."""
        lines = [line for line in self.ended.told.splitlines() if line.strip()]
        return lines[0].removeprefix("ERROR (app) ")


class Tour:
    """Runs all commands and keeps what came of them. ``other`` is a user of another project."""

    def __init__(self, mistral: Mistral, other: Mistral, other_project: str) -> None:
        self.admin = self._mistral = mistral
        self.other = other
        self._other_project = other_project
        self.stops: list[Stop] = []

    @cached_property
    def _files(self) -> dict[str, str]:
        file = self._mistral.file
        return {
            "workbook": file("workbook.yaml", WORKBOOK),
            "workflow": file("workflow.yaml", WORKFLOW),
            "action": file("action.yaml", ACTION),
            "environment": file("environment.json", {"name": "toured_env", "variables": {"colour": "blue"}}),
            "source": file("source.py", SOURCE),
        }

    def visit(self, command: str, *arguments: str, by: Mistral | None = None) -> None:
        """Run a command."""
        self.stops.append(Stop(command, (by or self._mistral).run(command, *arguments)))

    def run(self) -> list[Stop]:
        """The whole tour."""
        self.visit("bash-completion")
        self._documents()
        self._environments()
        self._executions()
        self._actions_alone()
        self._triggers()
        self._sharing()
        self._deletions()
        self._python_sources()
        return self.stops

    def _documents(self) -> None:
        for kind, name in (("workbook", "toured_book"), ("workflow", "toured"), ("action", "toured_echo")):
            path = self._files[kind]
            self.visit(f"{kind}-validate", path)
            self.visit(f"{kind}-create", path)
            self.visit(f"{kind}-list", "--limit", "5")
            self.visit(f"{kind}-get", name)
            self.visit(f"{kind}-get-definition", name)
            self.visit(f"{kind}-update", path)

    def _environments(self) -> None:
        self.visit("environment-create", self._files["environment"])
        self.visit("environment-list")
        self.visit("environment-get", "toured_env")
        self.visit("environment-update", self._files["environment"])

    def _executions(self) -> None:
        mistral = self._mistral
        failing = mistral.start("toured")
        self._complete(failing, "ERROR")
        mistral.state_of(failing, "ERROR")
        self.visit("execution-create", "toured", '{"way": "better"}')
        self.visit("execution-list", "--limit", "5")
        task = mistral.task(failing, "each")["ID"]
        action = mistral.action(failing, "each")["ID"]
        for command in ("get", "get-input", "get-output", "get-published", "get-report"):
            self.visit(f"execution-{command}", failing)
        for command in ("get", "get-result", "get-published"):
            self.visit(f"task-{command}", task)
        for command in ("get", "get-input", "get-output"):
            self.visit(f"action-execution-{command}", action)
        self.visit("task-list", failing)
        self.visit("action-execution-list", task)
        self.visit("task-rerun", task)
        self._complete(failing, "SUCCESS", visited=True)
        mistral.state_of(failing, "SUCCESS")
        self.visit("execution-get-sub-executions", failing)
        self.visit("task-get-sub-executions", mistral.task(failing, "below")["ID"])
        self.visit("execution-update", failing, "--description", "toured")
        self.visit("execution-delete", failing)

    def _complete(self, execution_id: str, state: str, *, visited: bool = False) -> None:
        mistral = self._mistral
        task = mistral.task(execution_id, "each")["ID"]
        (running,) = (row for row in mistral.rows("action-execution-list", task) if row["State"] == "RUNNING")
        arguments = (running["ID"], "--state", state, "--output", '{"said": "so"}')
        if visited:
            self.visit("action-execution-update", *arguments)
        else:
            mistral.text("action-execution-update", *arguments)

    def _actions_alone(self) -> None:
        self.visit("run-action", "std.echo", '{"output": 1}')
        saved = self._mistral.one("run-action", "std.async_noop", "{}", "--save-result")
        self._mistral.text("action-execution-update", saved["ID"], "--state", "SUCCESS")
        self.visit("action-execution-delete", saved["ID"])

    def _triggers(self) -> None:
        self.visit("cron-trigger-create", "toured_cron", "toured", "--pattern", "0 0 1 1 *")
        self.visit("cron-trigger-list")
        self.visit("cron-trigger-get", "toured_cron")
        self.visit("cron-trigger-delete", "toured_cron")
        workflow_id = self._mistral.one("workflow-get", "toured")["ID"]
        self.visit("event-trigger-create", "toured_event", workflow_id, "exchange", "topic", "event")
        (row,) = (row for row in self._mistral.rows("event-trigger-list") if row["Name"] == "toured_event")
        self.visit("event-trigger-list")
        self.visit("event-trigger-get", row["ID"])
        self.visit("event-trigger-delete", row["ID"])

    def _sharing(self) -> None:
        workflow_id = self._mistral.one("workflow-get", "toured")["ID"]
        other = self._other_project
        self.visit("member-create", workflow_id, "workflow", other)
        self.visit("member-list", workflow_id, "workflow")
        self.visit("member-get", workflow_id, "workflow", "-m", other)
        self.visit("member-update", workflow_id, "workflow", "-m", other, by=self.other)
        self.visit("member-delete", workflow_id, "workflow", other)

    def _deletions(self) -> None:
        for command, name in (("workbook", "toured_book"), ("workflow", "toured"), ("action", "toured_echo")):
            self.visit(f"{command}-delete", name)
        self.visit("environment-delete", "toured_env")

    def _python_sources(self) -> None:
        source = self._files["source"]
        self.visit("code-source-create", "toured_source", source)
        self.visit("code-source-list")
        self.visit("code-source-get", "toured_source")
        self.visit("code-source-get-content", "toured_source")
        self.visit("code-source-update", "toured_source", source)
        self.visit("dynamic-action-create", "toured_dynamic", "Double", "toured_source")
        self.visit("dynamic-action-list")
        self.visit("dynamic-action-get", "toured_dynamic")
        self.visit("dynamic-action-update", "toured_dynamic", "--class-name", "Double")
        self.visit("dynamic-action-delete", "toured_dynamic")
        self.visit("code-source-delete", "toured_source")


@contextmanager
def touring(home: Path, user: type[Mistral] = Mistral) -> Iterator[Tour]:
    """A tour by an admin of a service that tells projects apart and where action executions may be deleted."""
    settings = {"MISTRAL_ALLOW_ACTION_EXECUTION_DELETION": "true"}
    with serving_projects("--storage", "memory", within_sec=TOUR_SEC, settings=settings) as urls:
        yield Tour(user(urls["admin"], home), user(urls["demo"], home), "demo")


# -- the page


def table(stops: list[Stop], routes: Routes) -> list[list[str]]:
    """The rows of the page: a command, the route that it asks, its name in ``openstack``, and what comes of it."""
    router = Router(routes)
    return [[f"`{stop.command}`", *_told(stop, router)] for stop in stops]


def _told(stop: Stop, router: Router) -> tuple[str, str, str]:
    alias = words().get(stop.command)
    other = f"`{alias}`" if alias else ""
    result = "works" if stop.works else f"refused: {stop.error}"
    if stop.command in SILENT:
        return "", other, result
    ((method, path),) = stop.ended.requests
    match = router.match(path)
    return f"`{method} {match.resource if match else path}`", other, result


def page_with(rows: list[list[str]]) -> str:
    """The page of the documentation, with these rows in its table."""
    lines = PAGE.read_text("utf-8").splitlines()
    (head,) = (number for number, line in enumerate(lines) if line == "| `mistral` | asks | `openstack` | result |")
    end = next((number for number in range(head, len(lines)) if not lines[number].startswith("|")), len(lines))
    told = [re.sub(r"\|  (?=\|)", "| ", f"| {' | '.join(row)} |") for row in rows]
    return "\n".join([*lines[: head + 2], *told, *lines[end:], ""])
