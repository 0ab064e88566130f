"""The world of an expression that belongs to no execution: an ad-hoc action run on its own."""

from __future__ import annotations

from dataclasses import field
from datetime import datetime
from typing import NoReturn

from chalicelib.data import dataclass
from chalicelib.engine.moment import Moment
from chalicelib.errors import EvaluationException
from chalicelib.vocabulary import Json, JsonObject


@dataclass(slots=True)
class DetachedWorld:
    """Answers nothing about executions; time and chance come from the moment."""

    moment: Moment
    _drawn: int = field(default=0)

    @property
    def has_current_task(self) -> bool:
        """There is none."""
        return False

    def execution(self) -> JsonObject:
        """Raises EvaluationException: there is none."""
        _refuse("execution()")

    def task(self, name: str | None) -> JsonObject | None:
        """No task has that name."""
        return None if name else _refuse("task()")

    def tasks(
        self, workflow_execution_id: str | None, recursive: bool, state: str | None, flat: bool
    ) -> list[JsonObject]:
        """Raises EvaluationException: tasks are seen from a workflow only."""
        _refuse(f"tasks() {(workflow_execution_id, recursive, state, flat)}")

    def executions(
        self,
        id: str | None,
        root_execution_id: str | None,
        state: str | None,
        from_time: str | None,
        to_time: str | None,
    ) -> list[JsonObject]:
        """Raises EvaluationException: executions are seen from a workflow only."""
        _refuse(f"executions() {(id, root_execution_id, state, from_time, to_time)}")

    def webhook_url(self, task_name: str, expires_sec: int) -> str:
        """Raises EvaluationException: there are no tasks."""
        _refuse(f"webhook_url{(task_name, expires_sec)}")

    def global_(self, name: str) -> Json:
        """Raises EvaluationException: there are none."""
        _refuse(f"global({name})")

    def uuid(self) -> str:
        """An id that follows from the moment."""
        return self.moment.uuid("uuid", str(self._next()))

    def now(self) -> datetime:
        """The moment, with its time zone."""
        return self.moment.as_datetime()

    def random(self) -> float:
        """A number that follows from the moment."""
        return self.moment.fraction("random", str(self._next()))

    def _next(self) -> int:
        self._drawn += 1
        return self._drawn


def _refuse(what: str) -> NoReturn:
    raise EvaluationException(f"{what} means nothing here: the action does not run within a workflow.")
