"""What can happen to an execution. Every event may come twice, late or out of order: then it changes nothing more.

What one execution tells another carries the teller's ``stamp``, which only grows: who has heard of a later one ignores
an earlier one. An event that comes from elsewhere (an operator, an executor) has the stamp 0 and is always heard.
"""

from __future__ import annotations

from enum import StrEnum

from chalicelib.data import dataclass
from chalicelib.vocabulary import JsonObject, Result, State


@dataclass(frozen=True, slots=True)
class StartRequested:
    """Begin: the execution has been created in IDLE by ``creation.create`` and now runs."""


class Settled(StrEnum):
    """How a result was taken that is applied again from a history: as it is stored, or as a fault of the definition."""

    KEPT = "kept"
    FORCED = "forced"


@dataclass(frozen=True, slots=True)
class ActionCompleted:
    """An action execution (or the sub-workflow it stands for) has come to a result.

    ``settled``: the result is what was made of it already; only who replays a history says so.
    """

    ordinal: int
    number: int
    result: Result
    stamp: int = 0
    settled: Settled | None = None


@dataclass(frozen=True, slots=True)
class ClaimExpired:
    """Whoever claimed this action in the header may be dead. While the claim lives, nothing happens."""

    ordinal: int
    number: int


@dataclass(frozen=True, slots=True)
class ActionUpdated:
    """An asynchronous action, or a sub-workflow, was paused or set running again."""

    ordinal: int
    number: int
    state: State
    stamp: int = 0


@dataclass(frozen=True, slots=True)
class TimerFired:
    """A timer's moment has come. ``ordinal`` 0 is the workflow itself."""

    ordinal: int
    stamp: int


@dataclass(frozen=True, slots=True)
class PauseRequested:
    """Pause the workflow and its unfinished sub-workflows."""

    message: str | None = None
    stamp: int = 0


@dataclass(frozen=True, slots=True)
class ResumeRequested:
    """Resume the workflow and its sub-workflows, with an environment to merge in."""

    env: JsonObject | None = None
    stamp: int = 0


@dataclass(frozen=True, slots=True)
class StopRequested:
    """End the workflow in SUCCESS, ERROR or CANCELLED."""

    state: State
    message: str | None = None
    stamp: int = 0


@dataclass(frozen=True, slots=True)
class RerunRequested:
    """Run a failed task again; ``reset`` starts all items of a with-items task anew."""

    ordinal: int
    reset: bool = True
    env: JsonObject | None = None


@dataclass(frozen=True, slots=True)
class SkipRequested:
    """Leave a failed task as SKIPPED and go on."""

    ordinal: int
    env: JsonObject | None = None


@dataclass(frozen=True, slots=True)
class Revived:
    """A sub-workflow of this task runs again (rerun below): the task and this workflow become RUNNING."""

    ordinal: int
    number: int
    stamp: int = 0


@dataclass(frozen=True, slots=True)
class DescriptionChanged:
    """New description and/or environment, nothing else."""

    description: str | None = None
    env: JsonObject | None = None


@dataclass(frozen=True, slots=True)
class NoticesTold:
    """A publisher was told everything up to this notice."""

    publisher: int
    number: int


@dataclass(frozen=True, slots=True)
class Continued:
    """Go on where the records say: after a wave, after a redelivery, when the alarm rang."""


Event = (
    StartRequested
    | ActionCompleted
    | ActionUpdated
    | ClaimExpired
    | TimerFired
    | PauseRequested
    | ResumeRequested
    | StopRequested
    | RerunRequested
    | SkipRequested
    | Revived
    | DescriptionChanged
    | NoticesTold
    | Continued
)
