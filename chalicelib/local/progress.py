"""Follows one execution through the API and prints a line for each change of a task's state."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, TextIO

from chalicelib.local.caller import ApiError, Caller
from chalicelib.local.logs import Painter, change_line
from chalicelib.local.service import Changes
from chalicelib.vocabulary import Json, JsonObject, State

POLL_SEC: Final = 0.5
SETTLE_SEC: Final = 0.02
ENDED: Final = frozenset({State.SUCCESS, State.ERROR, State.CANCELLED})


@dataclass(slots=True)
class Reporter:
    """Remembers the states that were shown and prints those that are new."""

    stream: TextIO
    painter: Painter
    clock: Callable[[], str] = lambda: time.strftime("%H:%M:%S")
    _shown: dict[str, str] = field(default_factory=dict)

    def show(self, execution: JsonObject, tasks: list[JsonObject]) -> None:
        """Print what changed since the last time."""
        for task in sorted(tasks, key=lambda task: str(task.get("created_at") or "")):
            self._show_one(execution, str(task["id"]), task, task=str(task["name"]))

    def show_end(self, execution: JsonObject) -> None:
        """Print how the execution stands."""
        self._show_one(execution, str(execution["id"]), execution, task=None)

    def _show_one(self, execution: JsonObject, identity: str, subject: JsonObject, *, task: str | None) -> None:
        before, after = self._shown.get(identity), str(subject["state"])
        if before == after:
            return
        self._shown[identity] = after
        failed = after in (State.ERROR, State.CANCELLED)
        change = {
            "workflow": execution.get("workflow_name"),
            "execution": execution["id"],
            "task": task,
            "before": before,
            "after": after,
            "info": subject.get("state_info") if failed else None,
        }
        print(f"{self.painter.quiet(self.clock())} {change_line(change, self.painter)}", file=self.stream, flush=True)


def follow(caller: Caller, execution_id: str, *, changes: Changes, reporter: Reporter) -> JsonObject:
    """Wait until the execution has ended or stands still (PAUSED); the execution as the API shows it then."""
    while True:
        seen = changes.count
        execution: JsonObject = caller.call("GET", f"/v2/executions/{execution_id}")
        reporter.show(execution, tasks_of(caller, execution_id))
        if execution["state"] in ENDED or execution["state"] == State.PAUSED:
            reporter.show_end(execution)
            return execution
        changes.wait(seen, POLL_SEC)
        time.sleep(SETTLE_SEC)  # a burst of changes is one look


def tasks_of(caller: Caller, execution_id: str) -> list[JsonObject]:
    """The task executions of an execution."""
    tasks: list[JsonObject] = caller.call("GET", f"/v2/executions/{execution_id}/tasks")["tasks"]
    return tasks


def value_of(field_text: Any) -> Json:
    """A field that the API gives as JSON text, as data."""
    if not isinstance(field_text, str):
        return field_text
    try:
        return json.loads(field_text)
    except ValueError:
        return field_text


def cancel(caller: Caller, execution_id: str) -> None:
    """Cancel an execution; one that has ended meanwhile is left alone."""
    try:
        wish = {"state": State.CANCELLED, "state_info": "Cancelled by the user"}
        caller.call("PUT", f"/v2/executions/{execution_id}", wish)
    except ApiError:
        execution = caller.call("GET", f"/v2/executions/{execution_id}")
        if execution["state"] not in ENDED:
            raise
