"""What is left to do within one decision.

Steps keep the engine's modules apart: one finishes a task, another starts the next, neither calls the other.
"""

from __future__ import annotations

from chalicelib.data import dataclass
from chalicelib.engine.records import TriggeredBy
from chalicelib.vocabulary import Json, State


@dataclass(frozen=True, slots=True)
class RunTask:
    """Command: create and start a task. ``context`` is what it receives."""

    name: str
    context: int
    triggered_by: tuple[TriggeredBy, ...] = ()
    handles_error: bool = False

    @property
    def event(self) -> str | None:
        """The event of the task that led here."""
        return self.triggered_by[0].event if self.triggered_by else None


@dataclass(frozen=True, slots=True)
class SetWorkflowState:
    """Command: ``fail``, ``succeed`` or ``pause``."""

    name: str
    state: State
    message: Json
    ordinal: int
    event: str
    handles_error: bool = False


@dataclass(frozen=True, slots=True)
class Noop:
    """Command: nothing, though it may handle an error."""

    handles_error: bool = False


Command = RunTask | SetWorkflowState | Noop


@dataclass(frozen=True, slots=True)
class Dispatch:
    """Carry out commands, in Mistral's order.

    They come from the task ``ordinal``; from none when a workflow starts or resumes.
    """

    commands: tuple[Command, ...]
    ordinal: int = 0
    action_name: str = ""


@dataclass(frozen=True, slots=True)
class ContinueTask:
    """An existing task runs.

    After a delay, a retry, a resume, a join that is satisfied, or a rerun; only from ``expected``, if given.
    """

    ordinal: int
    expected: State | None = None
    is_rerun: bool = False
    reset: bool = False


@dataclass(frozen=True, slots=True)
class CompleteTask:
    """A task comes to its end, with everything that follows from it. ``action_name``: by the result of this action."""

    ordinal: int
    state: State
    state_info: str | None = None
    skip: bool = False
    action_name: str = ""


@dataclass(frozen=True, slots=True)
class FailTask:
    """Forced failure: task and workflow end in ERROR, no clause is consulted."""

    ordinal: int
    message: str


@dataclass(frozen=True, slots=True)
class RefreshJoins:
    """Look again at the joins that this task can influence."""

    task_name: str


@dataclass(frozen=True, slots=True)
class PauseWorkflow:
    """Pause the workflow and its running sub-workflows before a task."""


@dataclass(frozen=True, slots=True)
class StopWorkflow:
    """End the workflow."""

    state: State
    message: Json = None


@dataclass(frozen=True, slots=True)
class CheckWorkflow:
    """See whether the workflow has come to its end."""


Step = Dispatch | ContinueTask | CompleteTask | FailTask | RefreshJoins | PauseWorkflow | StopWorkflow | CheckWorkflow
