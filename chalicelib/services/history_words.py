"""The history of an execution in words: what happened, to which task, and what followed.

Values are never told, only what they belong to: a result stands with its action, of an environment the names are told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from chalicelib.data import dataclass
from chalicelib.engine.draft import Loaded
from chalicelib.engine.events import (
    ActionCompleted,
    ActionUpdated,
    ClaimExpired,
    Continued,
    DescriptionChanged,
    Event,
    PauseRequested,
    RerunRequested,
    ResumeRequested,
    Revived,
    Settled,
    SkipRequested,
    StartRequested,
    StopRequested,
    TimerFired,
)
from chalicelib.engine.history_turns import Happened, Turn
from chalicelib.engine.needs import NeedTask
from chalicelib.engine.records import TaskExecution, WorkflowExecution
from chalicelib.errors import NotFoundException
from chalicelib.services.execution_history import turns
from chalicelib.services.execution_store import ExecutionStore
from chalicelib.vocabulary import Json, State

_NAMES_TOLD_MAX: Final = 10


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened. ``ordinal`` and ``number`` are 0 and ``None`` where it was no task's, no action's."""

    turn: int
    step: int
    moment: float
    event: str
    what: str
    task_name: str | None = None
    ordinal: int = 0
    number: int | None = None


class Teller:
    """Tells the history of one execution."""

    def __init__(self, store: ExecutionStore, header: WorkflowExecution) -> None:
        self._store = store
        self._header = header
        self._loaded = Loaded()

    def entries(self, *, turn: int = 0, step: int = 0) -> Iterator[Entry]:
        """What happened from a step of a turn on, in order, read as far as it is asked for."""
        for each in turns(self._store, self._header, first=turn):
            for place in range(step if each.number == turn else 0, len(each.steps)):
                yield self._entry(each, place)

    def _entry(self, turn: Turn, place: int) -> Entry:
        step = turn.steps[place]
        ordinal, number = 0, None
        if isinstance(step, int):
            event = "actions_completed"
            what = f"{step} action{'s' if step > 1 else ''} without side effects ended within the turn"
        else:
            ordinal = getattr(step.event, "ordinal", 0)
            number = getattr(step.event, "number", None)
            event, what = self._told(step)
        if place == len(turn.steps) - 1:
            what += self._followed(turn)
        task = self._task(ordinal)
        return Entry(turn.number, place, turn.moment, event, what, task.name if task else None, ordinal, number)

    def _followed(self, turn: Turn) -> str:
        """What a turn came to, told with its last step."""
        names = [task.name for ordinal in turn.created[:_NAMES_TOLD_MAX] if (task := self._task(ordinal))]
        more = len(turn.created) - _NAMES_TOLD_MAX
        followed = f"; new: {', '.join(names)}" if names else ""
        if more > 0:
            followed += f" and {more} more"
        return followed + (f"; the execution is {turn.state}" if turn.state else "")

    def _task(self, ordinal: int) -> TaskExecution | None:
        if not ordinal:
            return None
        known = self._header.frontier.get(ordinal) or self._header.tail.get(ordinal) or self._loaded.tasks.get(ordinal)
        if known is None:
            try:
                self._store.load(self._header, self._loaded, [NeedTask(ordinal)])
            except NotFoundException:
                # An ordinal may have gone to a context that was merged, or to one that a task handed on anew.
                return None
            known = self._loaded.tasks[ordinal]
        return known

    def _told(self, step: Happened) -> tuple[str, str]:
        match step.event:
            case StartRequested():
                return "execution_started", "the execution was started"
            case Continued():
                return "continued", "the execution went on where its records said"
            case ActionCompleted() as event:
                return "action_completed", self._completed(event)
            case ActionUpdated() as event:
                return "action_updated", f"{self._action(event.ordinal, event.number)} is {event.state}"
            case ClaimExpired() as event:
                return "executor_lost", f"the executor of {self._action(event.ordinal, event.number)} died"
            case TimerFired():
                return "timer_fired", f"the time of '{step.timer or 'timer'}' had come"
            case event:
                return _told_request(event, self._action)

    def _completed(self, event: ActionCompleted) -> str:
        told = self._action(event.ordinal, event.number)
        if event.settled is Settled.FORCED:
            return f"{told} came to a result that could not be taken"
        task = self._task(event.ordinal)
        action = self._store.action(self._header, task, event.number, is_fresh=False) if task else None
        if action is None or not action.state.is_completed:
            return f"{told} ended"
        return f"{told} ended in {State(action.state)}"

    def _action(self, ordinal: int, number: int) -> str:
        task = self._task(ordinal)
        action = self._store.action(self._header, task, number, is_fresh=False) if task else None
        if action is None:
            return f"action {number}"
        kind = "the sub-workflow" if action.execution_id else "the action"
        item = f" of item {action.index}" if task is not None and task.has_items else ""
        return f"{kind} {action.name}{item}"


def _quoted(message: str | None) -> str:
    return f": {message}" if message else ""


def _env(env: Json) -> str:
    """The names in an environment; its values may be large, or nobody's business."""
    return f", with {', '.join(sorted(env))} in its environment" if isinstance(env, dict) and env else ""


def _told_request(event: Event, action: Callable[[int, int], str]) -> tuple[str, str]:
    """What an operator, a parent or a child asked for."""
    match event:
        case PauseRequested() as event:
            return "pause_requested", "a pause was asked for" + _quoted(event.message)
        case ResumeRequested() as event:
            return "resume_requested", "it was resumed" + _env(event.env)
        case StopRequested() as event:
            return "stop_requested", f"it was to end in {event.state}" + _quoted(event.message)
        case RerunRequested() as event:
            what = "the task was to run again" if event.reset else "the failed items were to run again"
            return "rerun_requested", what + _env(event.env)
        case SkipRequested() as event:
            return "skip_requested", "the task was to be skipped" + _env(event.env)
        case Revived() as event:
            return "sub_workflow_revived", f"{action(event.ordinal, event.number)} runs again"
        case DescriptionChanged() as event:
            what = "the description was changed" if event.description is not None else "the environment was changed"
            return "execution_changed", what + _env(event.env)
        case event:
            raise AssertionError(event)
