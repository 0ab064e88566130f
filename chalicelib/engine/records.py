"""The records of a workflow execution: frozen facts, with Mistral's names.

``WorkflowExecution`` is the header: state, frontier (the unfinished tasks) and the bookkeeping that lets a decision be
made without reading finished tasks. A finished ``TaskExecution`` lives in its own record. Times are seconds since the
epoch. A value may be a ``ValueRef`` or a ``PayloadRef`` instead of data: it then lives elsewhere, and is loaded when an
expression touches it.

Contexts are shared, not copied. A context reference is a number: 0 is the empty context, ``2 n + 1`` is what the task
with ordinal n hands on (kept in its record), ``2 n`` is what a join or a reverse task n received (kept in a record of
its own).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum
from typing import Final

from chalicelib.data import dataclass
from chalicelib.vocabulary import Json, Result, State

EMPTY_CONTEXT: Final = 0


def outbound_context(ordinal: int) -> int:
    """The reference of the context that a task hands on when it has published something."""
    return 2 * ordinal + 1


def inbound_context(ordinal: int) -> int:
    """The reference of the context merged for a join or a reverse task."""
    return 2 * ordinal


@dataclass(frozen=True, slots=True)
class ValueRef:
    """A value kept in a record of its own, in the partition of its execution."""

    key: str


@dataclass(frozen=True, slots=True)
class PayloadRef:
    """A large value kept outside the table, under its content hash; ``size`` in bytes."""

    digest: str
    size: int


class TaskType(StrEnum):
    """What a task runs."""

    ACTION = "ACTION"
    WORKFLOW = "WORKFLOW"


@dataclass(frozen=True, slots=True)
class TriggeredBy:
    """The task, and its event, that led to a task."""

    ordinal: int
    event: str


@dataclass(frozen=True, slots=True)
class Poll:
    """An action that is not done yet, and when it is to be asked again.

    ``memo`` is its own note on what it has begun, ``number`` counts how often it has said so.
    """

    number: int
    due_at: float
    memo: Json = None


@dataclass(frozen=True, slots=True)
class Claim:
    """Who runs an action, and when that one is dead for certain; nobody, with deadline 0, between two polls."""

    claimer: str
    deadline: float
    poll: Poll | None = None


@dataclass(frozen=True, slots=True)
class Invocation:
    """An action to call: the innermost base of an ad-hoc action."""

    name: str
    input: Json


@dataclass(frozen=True, slots=True)
class ActionExecution:
    """One run of an action, or of a sub-workflow (then ``execution_id`` names it).

    ``number`` counts runs within the task, ``index`` is the item's. ``heard`` is the stamp of the last that its
    sub-workflow told.
    """

    number: int
    name: str
    state: State
    created_at: float
    updated_at: float
    input: Json = None
    result: Result | None = None
    accepted: bool = False
    index: int = 0
    is_sync: bool = True
    is_pure: bool = False
    base: Invocation | None = None
    target: str | None = None
    timeout_sec: float | None = None
    safe_rerun: bool = False
    claim: Claim | None = None
    execution_id: str | None = None
    revision: int = 0
    heard: int = 0


class TimerKind(StrEnum):
    """What happens when a timer fires."""

    WAIT_BEFORE = "wait-before"
    WAIT_AFTER = "wait-after"
    RETRY = "retry"
    TIMEOUT = "timeout"
    ATTEMPT_TIMEOUT = "attempt-timeout"
    WORKFLOW_TIMEOUT = "workflow-timeout"


@dataclass(frozen=True, slots=True)
class Timer:
    """A moment that a task waits for.

    A fired timer whose stamp is not the task's present one is stale and changes nothing.
    """

    kind: TimerKind
    stamp: int
    due_at: float
    delay_sec: float = 0


@dataclass(frozen=True, slots=True)
class ItemsProgress:
    """How far a with-items task is.

    Which items have started, which have finished, which failed: bit sets over item indexes.

    ``repeated`` are the items that a rerun started anew, with numbers from ``first_number`` on: an older run of them no
    longer counts.
    """

    count: int
    concurrency: int | None = None
    started: int = 0
    finished: int = 0
    failed: int = 0
    cancelled: int = 0
    tolerated_percentage: float | None = None
    repeated: int = 0
    first_number: int = 0


@dataclass(frozen=True, slots=True)
class ContextNode:
    """A context: ``base`` overlaid with ``variables``.

    ``versions`` counts, per leaf path, how often it was published (merging needs it).
    """

    base: int = EMPTY_CONTEXT
    variables: Mapping[str, Json] = field(default_factory=dict)
    versions: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TaskExecution:
    """One task of an execution.

    ``stamp`` counts the timers it set. ``context`` is what it hands on, if it published anything; ``out_context``
    overrides that when the task has run again after others had received the first one. ``page`` is the page of finished
    tasks on which its record stands. Results of action executions numbered below ``accepted_from`` no longer count.
    ``results_dropped`` says that no result is kept, ``dropped_below`` below which number none was when the task ran
    again. ``cut_off_from`` is the first number of the first attempt that ended while its items were at work: they may
    end at any time. ``timeout_sec`` is the time limit of the task, once it counts. ``item_values`` are the lists that
    a with-items task goes through, by variable, while some of its items have not started.
    """

    ordinal: int
    name: str
    type: TaskType
    state: State
    created_at: float
    state_info: str | None = None
    updated_at: float | None = None
    started_at: float | None = None
    finished_at: float | None = None
    in_context: int = EMPTY_CONTEXT
    triggered_by: tuple[TriggeredBy, ...] = ()
    published: Json = field(default_factory=dict)
    context: ContextNode | None = None
    processed: bool = False
    next_tasks: tuple[tuple[str, str], ...] | None = None
    error_handled: bool = False
    actions: tuple[ActionExecution, ...] = ()
    next_number: int = 0
    has_items: bool = False
    item_values: Json = None
    concurrency: int | None = None
    items: ItemsProgress | None = None
    stamp: int = 0
    timers: tuple[Timer, ...] = ()
    timeout_sec: int | None = None
    retry_no: int = 0
    waited_before: bool = False
    waited_after: bool = False
    result_after_wait: tuple[State, str | None] | None = None
    results_dropped: bool = False
    dropped_below: int = 0
    accepted_from: int = 0
    cut_off_from: int | None = None
    went_on: bool = False
    out_context: int | None = None
    page: int | None = None

    @property
    def has_next_tasks(self) -> bool:
        """Whether finishing it started any task (engine commands do not count)."""
        return bool(self.next_tasks)


@dataclass(frozen=True, slots=True)
class Arrival:
    """An inbound task that reached a join, with the context it brought.

    ``edge`` is the number of the transition that it took.
    """

    ordinal: int
    event: str
    context: int
    edge: int = 0


@dataclass(frozen=True, slots=True)
class JoinProgress:
    """The bookkeeping of one join.

    The ordinal of its one task execution, and who has arrived: the last by each transition.
    """

    ordinal: int
    arrivals: tuple[Arrival, ...] = ()


def is_dropped(task: TaskExecution, action: ActionExecution) -> bool:
    """Whether the result of an action execution is not kept, as its task demands."""
    return task.results_dropped or action.number < task.dropped_below


def is_superseded(task: TaskExecution, action: ActionExecution) -> bool:
    """Whether the task has been tried again since: what an earlier attempt comes to no longer matters to it."""
    return action.number < task.accepted_from


def is_news(action: ActionExecution, stamp: int) -> bool:
    """Whether a word of a sub-workflow is later than the last that was heard of it. Words of others have no stamp."""
    return not stamp or stamp > action.heard


@dataclass(frozen=True, slots=True)
class BackloggedCommand:
    """A command that waits because the workflow was paused when it was issued."""

    name: str
    ordinal: int
    event: str
    params: Mapping[str, Json] = field(default_factory=dict)
    context: int = EMPTY_CONTEXT
    is_command: bool = False


@dataclass(frozen=True, slots=True)
class Parent:
    """The task of another execution that runs this one as its sub-workflow."""

    execution_id: str
    ordinal: int
    number: int
    index: int = 0


@dataclass(frozen=True, slots=True)
class Subscription:
    """A publisher that is told what becomes of an execution.

    ``source`` is its place in the parameter ``notify``, or the name of one of the service's own publishers. ``events``
    are bits, one for each event that it wants (``notices.py``). ``last`` is the number of the last notice for it,
    ``told`` the last that it was told when the execution had come to its end.
    """

    source: str
    events: int
    last: int = 0
    told: int = 0

    @property
    def is_owed(self) -> bool:
        """Whether there may be something that it was not told yet."""
        return self.told < self.last


@dataclass(frozen=True, slots=True)
class Notice:
    """A change to be told: of the workflow (``ordinal`` 0) or of a task, as it was then."""

    number: int
    event: str | None
    state: State
    name: str
    created_at: float
    updated_at: float
    state_info: str | None = None
    ordinal: int = 0
    type: TaskType = TaskType.ACTION
    started_at: float | None = None
    finished_at: float | None = None


@dataclass(frozen=True, slots=True)
class WorkflowExecution:
    """The header.

    Sets of tasks are tuples of ordinals or bit sets, so that a wide fork stays small when stored. ``tail`` holds the
    tasks that finished last, until there are enough of them for a page: so most turns write one item, without a
    transaction. ``fronts`` are the pages on which a wide frontier is stored (``fronts.py``). ``stamp`` counts the
    timers that the workflow set and what it told its relatives; ``heard`` is the stamp of the last that the parent
    told. ``noticed`` is the number of the last notice for the publishers in ``subscriptions``. ``turns`` are the last
    entries of the history, after ``turns_paged`` on pages; ``findings`` and ``kept`` say what else it holds
    (``history.py``).
    """

    id: str
    project_id: str
    workflow_name: str
    workflow_id: str
    definition_hash: str
    state: State
    created_at: float
    updated_at: float
    public_id: str = ""
    workflow_namespace: str = ""
    workbook_name: str | None = None
    revision: int = 0
    state_info: str | None = None
    description: str | None = None
    tags: tuple[str, ...] = ()
    root_execution_id: str | None = None
    parent: Parent | None = None
    depth: int = 0
    input: Json = field(default_factory=dict)
    params: Json = field(default_factory=dict)
    output: Json = None
    variables: Json = field(default_factory=dict)
    next_ordinal: int = 1
    frontier: Mapping[int, TaskExecution] = field(default_factory=dict)
    tail: Mapping[int, TaskExecution] = field(default_factory=dict)
    fronts: tuple[int, ...] = ()
    front_tasks: int = 0
    seen: int = 0
    fired: int = 0
    joins: Mapping[str, JoinProgress] = field(default_factory=dict)
    named: Mapping[str, int] = field(default_factory=dict)
    ends: Mapping[int, int] = field(default_factory=dict)
    failures: tuple[int, ...] = ()
    cancellations: tuple[int, ...] = ()
    unprocessed: tuple[int, ...] = ()
    backlog: tuple[BackloggedCommand, ...] = ()
    timers: tuple[Timer, ...] = ()
    stamp: int = 0
    heard: int = 0
    wake_at: float | None = None
    reverse_target: str | None = None
    subscriptions: tuple[Subscription, ...] = ()
    noticed: int = 0
    turns: tuple[Json, ...] = ()
    turns_paged: int = 0
    findings: Mapping[str, str] = field(default_factory=dict)
    kept: str = ""

    @property
    def public(self) -> str:
        """The id that the API shows: the client's own, if it chose one."""
        return self.public_id or self.id

    def is_processed(self, task: TaskExecution) -> bool:
        """Whether what follows a completed task has been started; while the workflow is paused it is not."""
        return task.processed and task.ordinal not in self.unprocessed
