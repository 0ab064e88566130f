"""Counting what commits say: executions and tasks by what became of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from chalicelib.engine.records import TaskExecution, WorkflowExecution
from chalicelib.engine.sealing import Transition
from chalicelib.services.journal import touched_tasks
from chalicelib.services.telemetry import Metric, Telemetry
from chalicelib.services.turns import Observer
from chalicelib.vocabulary import State

_EXECUTIONS: Final[Mapping[State, Metric]] = {
    State.SUCCESS: Metric.EXECUTIONS_SUCCEEDED,
    State.ERROR: Metric.EXECUTIONS_FAILED,
    State.CANCELLED: Metric.EXECUTIONS_CANCELLED,
    State.PAUSED: Metric.EXECUTIONS_PAUSED,
}
_TASKS: Final[Mapping[State, Metric]] = {
    State.SUCCESS: Metric.TASKS_SUCCEEDED,
    State.ERROR: Metric.TASKS_FAILED,
    State.CANCELLED: Metric.TASKS_CANCELLED,
    State.SKIPPED: Metric.TASKS_SKIPPED,
}


def counting(observe: Observer, telemetry: Telemetry) -> Observer:
    """An observer of commits that counts what they say, and hands them on; the given one where nobody listens."""
    if not telemetry.is_on:
        return observe

    def observe_and_count(before: WorkflowExecution, after: WorkflowExecution, transition: Transition) -> None:
        observe(before, after, transition)
        for metric in _counted(before, after, transition):
            telemetry.count(metric)

    return observe_and_count


def _counted(before: WorkflowExecution, after: WorkflowExecution, transition: Transition) -> Iterable[Metric]:
    if before.revision == 0:
        yield Metric.EXECUTIONS_STARTED
    if after.state is not before.state and after.state in _EXECUTIONS:
        yield _EXECUTIONS[after.state]
    for task, earlier in touched_tasks(before, after, transition):
        if task.state in _TASKS and _has_ended_now(task, earlier, before):
            yield _TASKS[task.state]
        yield from [Metric.TASK_RETRIES] * _retries(task, earlier)


def _has_ended_now(task: TaskExecution, earlier: TaskExecution | None, before: WorkflowExecution) -> bool:
    """Whether a completed task was not completed before; one that is written again, as after a pause, was."""
    if earlier is not None:
        return task.state is not earlier.state
    known = before.tail.get(task.ordinal)
    if known is not None:
        return known.state is not task.state
    return task.ordinal >= before.next_ordinal


def _retries(task: TaskExecution, earlier: TaskExecution | None) -> int:
    return max(0, task.retry_no - (earlier.retry_no if earlier is not None else 0))
