"""What a decision may lack: the engine names it, the shell fetches it, and the decision is taken again.

A need is a key into ``Loaded``. Inside the engine a missing record is an ``Interrupt`` (``MissingData``), so that it
passes through expression evaluators unharmed; ``decide`` turns it into the value ``NeedsData``.
"""

from __future__ import annotations

from chalicelib.data import dataclass
from chalicelib.errors import Interrupt


@dataclass(frozen=True, slots=True)
class NeedTask:
    """The record of a finished task."""

    ordinal: int


@dataclass(frozen=True, slots=True)
class NeedAllTasks:
    """Every task record of this execution: only ``tasks()`` with this execution's id asks for it."""


@dataclass(frozen=True, slots=True)
class NeedContext:
    """The context merged for a join or reverse task."""

    ordinal: int


@dataclass(frozen=True, slots=True)
class NeedValue:
    """A value kept in a record of its own."""

    key: str


@dataclass(frozen=True, slots=True)
class NeedPayload:
    """A large value, by content hash."""

    digest: str


@dataclass(frozen=True, slots=True)
class NeedItems:
    """Every action execution of a with-items task."""

    ordinal: int


@dataclass(frozen=True, slots=True)
class NeedItem:
    """One action execution of a with-items task."""

    ordinal: int
    number: int


@dataclass(frozen=True, slots=True)
class NeedRootEnvironment:
    """The environment of the root execution."""

    root_execution_id: str


@dataclass(frozen=True, slots=True)
class NeedAction:
    """An action by name: a descriptor, or ``None`` when there is no such action."""

    name: str
    namespace: str


@dataclass(frozen=True, slots=True)
class NeedWorkflow:
    """A workflow definition by name: what is needed to start it, or ``None`` when there is no such workflow."""

    name: str
    namespace: str


@dataclass(frozen=True, slots=True)
class NeedTasks:
    """The answer of ``tasks(...)`` for another execution, or for the whole project."""

    workflow_execution_id: str | None
    recursive: bool
    state: str | None
    flat: bool


@dataclass(frozen=True, slots=True)
class NeedExecutions:
    """The answer of ``executions(...)``."""

    id: str | None
    root_execution_id: str | None
    state: str | None
    from_time: str | None
    to_time: str | None


Need = (
    NeedTask
    | NeedAllTasks
    | NeedContext
    | NeedValue
    | NeedPayload
    | NeedItems
    | NeedItem
    | NeedRootEnvironment
    | NeedAction
    | NeedWorkflow
    | NeedTasks
    | NeedExecutions
)


class MissingData(Interrupt):
    """Raised inside the engine where a record is not at hand."""

    def __init__(self, *needs: Need) -> None:
        super().__init__(", ".join(map(repr, needs)))
        self.needs = needs


@dataclass(frozen=True, slots=True)
class NeedsData:
    """A decision that could not be taken yet, and what it lacks."""

    needs: tuple[Need, ...]
