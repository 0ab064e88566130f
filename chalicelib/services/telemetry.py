"""What is counted and timed, as one protocol; by default nobody listens, and nothing is paid.

The names of the metrics are here, each with CloudWatch's word for its unit. None has a dimension but the service:
what differs from execution to execution is for the log.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from enum import StrEnum
from typing import Final, Protocol

from chalicelib.vocabulary import Result, State


class Metric(StrEnum):
    """Everything that is counted (``…Sec`` and ``…Msec`` are times)."""

    EXECUTIONS_STARTED = "ExecutionsStarted"
    EXECUTIONS_SUCCEEDED = "ExecutionsSucceeded"
    EXECUTIONS_FAILED = "ExecutionsFailed"
    EXECUTIONS_CANCELLED = "ExecutionsCancelled"
    EXECUTIONS_PAUSED = "ExecutionsPaused"
    TASKS_SUCCEEDED = "TasksSucceeded"
    TASKS_FAILED = "TasksFailed"
    TASKS_CANCELLED = "TasksCancelled"
    TASKS_SKIPPED = "TasksSkipped"
    TASK_RETRIES = "TaskRetries"
    ACTIONS_SUCCEEDED = "ActionsSucceeded"
    ACTIONS_FAILED = "ActionsFailed"
    ACTIONS_STARTED = "ActionsStarted"  # asynchronous ones: their results come from elsewhere
    ACTION_MSEC = "ActionMsec"
    TURN_MSEC = "TurnMsec"
    LOST_RACES = "LostRaces"
    TIMER_LATE_SEC = "TimerLateSec"
    MESSAGES_FAILED = "MessagesFailed"
    NOTIFICATIONS_TOLD = "NotificationsTold"
    NOTIFICATIONS_FAILED = "NotificationsFailed"


def unit_of(metric: Metric) -> str:
    """CloudWatch's word for the unit of a metric."""
    if metric.endswith("Msec"):
        return "Milliseconds"
    return "Seconds" if metric.endswith("Sec") else "Count"


TURN: Final = "turn"
ACTION: Final = "action"
_TIMES: Final[Mapping[str, Metric]] = {TURN: Metric.TURN_MSEC, ACTION: Metric.ACTION_MSEC}


def time_of(kind: str) -> Metric:
    """The metric of how long a turn or an action takes."""
    return _TIMES[kind]


class Telemetry(Protocol):
    """Counts, measures and times. It may be called from any thread, and never raises."""

    @property
    def is_on(self) -> bool:
        """Whether anybody listens."""

    def count(self, metric: Metric, amount: int = 1) -> None:
        """So many more."""

    def measure(self, metric: Metric, value: float) -> None:
        """One value, in the unit of the metric."""

    def timed(self, kind: str, facts: Mapping[str, str]) -> AbstractContextManager[object]:
        """Time a block, which is a ``TURN`` or an ``ACTION``; the facts say of what (ids and names, no values)."""


class NoTelemetry(Telemetry):
    """Nobody listens."""

    _NOTHING: Final = nullcontext()

    @property
    def is_on(self) -> bool:
        """See ``Telemetry``."""
        return False

    def count(self, metric: Metric, amount: int = 1) -> None:
        """See ``Telemetry``."""

    def measure(self, metric: Metric, value: float) -> None:
        """See ``Telemetry``."""

    def timed(self, kind: str, facts: Mapping[str, str]) -> AbstractContextManager[object]:  # noqa: ARG002
        """See ``Telemetry``."""
        return self._NOTHING


NO_TELEMETRY: Final = NoTelemetry()


def counted_action(telemetry: Telemetry, result: Result | None) -> None:
    """Count an action that an executor has run; without a result it was asynchronous, and is started well."""
    if result is None:
        telemetry.count(Metric.ACTIONS_STARTED)
    else:
        telemetry.count(Metric.ACTIONS_SUCCEEDED if result.state is State.SUCCESS else Metric.ACTIONS_FAILED)
