"""The working copy of one turn: the only mutable object of the core.

A ``Draft`` starts from a stored header and whatever records were loaded, takes the changes of one decision after
another, and is sealed into a ``Transition``: the records to write, in one transaction, on condition of the header's
revision.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import field
from typing import Any, Final

from chalicelib.data import dataclass, replace
from chalicelib.engine.agenda import Step
from chalicelib.engine.effects import Effect, Notify, SetTimer
from chalicelib.engine.history_log import Log
from chalicelib.engine.needs import (
    MissingData,
    Need,
    NeedAllTasks,
    NeedContext,
    NeedItem,
    NeedItems,
    NeedPayload,
    NeedTask,
    NeedValue,
)
from chalicelib.engine.notices import task_event, task_notice, wanting, workflow_event, workflow_notice
from chalicelib.engine.records import (
    ActionExecution,
    BackloggedCommand,
    ContextNode,
    JoinProgress,
    Notice,
    PayloadRef,
    Subscription,
    TaskExecution,
    Timer,
    TimerKind,
    ValueRef,
    WorkflowExecution,
    is_dropped,
)
from chalicelib.errors import ConflictException
from chalicelib.limits import FRONT_PAGES_NEW_MAX, FRONTIER_INLINE_MAX
from chalicelib.vocabulary import Json, State

_COMPARED: Final = (
    "frontier",
    "state_info",
    "description",
    "params",
    "output",
    "variables",
    "backlog",
    "timers",
    "stamp",
    "joins",
    "unprocessed",
)


@dataclass(slots=True)
class Loaded:
    """Records at hand. Grows as needs are met; nothing in it is ever changed."""

    tasks: dict[int, TaskExecution] = field(default_factory=dict)
    pages: dict[int, tuple[int, ...]] = field(default_factory=dict)
    contexts: dict[int, ContextNode] = field(default_factory=dict)
    items: dict[int, dict[int, ActionExecution]] = field(default_factory=dict)
    all_items: set[int] = field(default_factory=set)
    values: dict[str, Json] = field(default_factory=dict)
    payloads: dict[str, Json] = field(default_factory=dict)
    found: dict[Need, Any] = field(default_factory=dict)
    has_all_tasks: bool = False


def effective_actions(task: TaskExecution, actions: list[ActionExecution]) -> list[ActionExecution]:
    """The action executions of a with-items task with their acceptance as it now is.

    Taking back a thousand results is not written into a thousand records: results of earlier passes are below
    ``accepted_from``, and of several runs of one item the last one counts.
    """
    last = {action.index: action.number for action in actions}
    effective = []
    for action in actions:
        is_superseded = action.number < task.accepted_from or action.number < last[action.index]
        if action.accepted and is_superseded:
            action = replace(action, accepted=False)  # noqa: PLW2901 - the same action, as it now is
        if action.result is not None and is_dropped(task, action):
            action = replace(action, result=None)  # noqa: PLW2901
        effective.append(action)
    return effective


def effective_action(task: TaskExecution, action: ActionExecution) -> ActionExecution:
    """As ``effective_actions`` for one of them, without looking at the others."""
    (action,) = effective_actions(task, [action])
    return replace(action, accepted=False) if action.accepted and _is_repeated(task, action) else action


def _is_repeated(task: TaskExecution, action: ActionExecution) -> bool:
    """Whether a rerun has started the item of a failed action again."""
    items = task.items
    if items is None or action.state not in (State.ERROR, State.CANCELLED):
        return False
    return action.number < items.first_number and bool(items.repeated >> action.index & 1)


def is_counted(task: TaskExecution, action: ActionExecution) -> bool:
    """Whether the result of an item's run is counted already, or no longer wanted.

    A finished record alone does not count it: a process may have died between writing it and the header.
    """
    progress = task.items
    if progress is None or action.number < task.accepted_from:
        return True
    bit = 1 << action.index
    if progress.finished & bit:
        return True
    return action.state.is_completed and bool(progress.repeated & bit) and action.number < progress.first_number


class Draft:
    """One execution being decided about."""

    def __init__(self, header: WorkflowExecution, loaded: Loaded) -> None:
        self.header = header
        self.loaded = loaded
        self.now = header.updated_at
        self.state = header.state
        self.state_info = header.state_info
        self.description = header.description
        self.params: Json = header.params
        self.output: Json = header.output
        self.variables: Json = header.variables
        self.next_ordinal = header.next_ordinal
        self.frontier: dict[int, TaskExecution] = dict(header.frontier)
        self.tail: dict[int, TaskExecution] = dict(header.tail)
        self.seen = header.seen
        self.fired = header.fired
        self.joins: dict[str, JoinProgress] = dict(header.joins)
        self.named: dict[str, int] = dict(header.named)
        self.ends: dict[int, int] = dict(header.ends)
        self.failures: tuple[int, ...] = header.failures
        self.cancellations: tuple[int, ...] = header.cancellations
        self.unprocessed: tuple[int, ...] = header.unprocessed
        self.backlog: tuple[BackloggedCommand, ...] = header.backlog
        self.timers: tuple[Timer, ...] = header.timers
        self.stamp = header.stamp
        self.heard = header.heard
        self.reverse_target = header.reverse_target
        self.subscriptions: tuple[Subscription, ...] = header.subscriptions
        self.noticed = header.noticed
        self.notices: list[Notice] = []
        self.finished: dict[int, TaskExecution] = {}
        self.contexts: dict[int, ContextNode] = {}
        self.items: dict[int, dict[int, ActionExecution]] = {}
        self.effects: list[Effect] = []
        self.agenda: deque[Step] = deque()
        self.starts: deque[int] = deque()
        self.kept_apart: dict[int, int] = {}
        self.fresh_random = 0
        # The ordinal of the task that ``task()`` without a name has shown last.
        self.shown = 0
        self.log = Log()

    def fork(self) -> Draft:
        """A copy that can be thrown away; records are shared, containers are not."""
        twin = object.__new__(Draft)
        twin.__dict__.update(self.__dict__)
        for name in ("frontier", "tail", "joins", "named", "ends", "finished", "contexts", "kept_apart"):
            setattr(twin, name, dict(getattr(self, name)))
        twin.items = {ordinal: dict(items) for ordinal, items in self.items.items()}
        twin.effects = list(self.effects)
        twin.notices = list(self.notices)
        twin.agenda = deque(self.agenda)
        twin.starts = deque(self.starts)
        twin.log = self.log.fork()
        return twin

    # -- tasks

    def task(self, ordinal: int) -> TaskExecution:
        """The task execution with this ordinal, as it now is.

        Raises MissingData, and ConflictException for a record that is newer than the header.
        """
        task = self.frontier.get(ordinal) or self.finished.get(ordinal) or self.tail.get(ordinal)
        if task is not None:
            return task
        task = self.loaded.tasks.get(ordinal)
        if task is None:
            raise MissingData(NeedTask(ordinal))
        if max(ordinal, task.in_context >> 1, (task.out_context or 0) >> 1) >= self.header.next_ordinal:
            # What it refers to does not exist for this header: its numbers would be given away again.
            raise ConflictException(f"Task execution {ordinal} is newer than the state of its execution.")
        return task

    def take_ordinal(self) -> int:
        """A number that no task or context of this execution has had."""
        self.next_ordinal += 1
        return self.next_ordinal - 1

    def exists(self, ordinal: int) -> bool:
        """Whether a task with this ordinal was ever created."""
        return 0 < ordinal < self.next_ordinal

    def tasks(self, ordinals: Iterable[int]) -> list[TaskExecution]:
        """Several task executions; what is missing is asked for at once. Raises MissingData."""
        wanted = list(ordinals)
        missing = [NeedTask(ordinal) for ordinal in wanted if not self._knows(ordinal)]
        if missing:
            raise MissingData(*missing)
        return [self.task(ordinal) for ordinal in wanted]

    def _knows(self, ordinal: int) -> bool:
        return any(ordinal in known for known in (self.frontier, self.finished, self.tail, self.loaded.tasks))

    def all_tasks(self) -> list[TaskExecution]:
        """Every task execution, in order of creation. Raises MissingData."""
        if not self.loaded.has_all_tasks:
            raise MissingData(NeedAllTasks())
        known = {**self.loaded.tasks, **self.tail, **self.finished, **self.frontier}
        return [known[ordinal] for ordinal in sorted(known)]

    def put(self, task: TaskExecution, **changes: Any) -> TaskExecution:
        """Change a task; it moves into or out of the frontier as its state demands."""
        changes.setdefault("updated_at", self.now)
        before, task = task, replace(task, **changes)
        if self.subscriptions and (task.state is not before.state or task.state_info != before.state_info):
            self._note(task_event(before, task.state), task)
        if task.state.is_completed:
            self.frontier.pop(task.ordinal, None)
            self.finished[task.ordinal] = task
        else:
            self.finished.pop(task.ordinal, None)
            self.tail.pop(task.ordinal, None)
            self.frontier[task.ordinal] = task
        return task

    def put_action(self, task: TaskExecution, action: ActionExecution) -> TaskExecution:
        """Store an action execution of a task, new or changed."""
        if task.has_items:
            self.items.setdefault(task.ordinal, {})[action.number] = action
            return task
        others = tuple(a for a in task.actions if a.number != action.number)
        return self.put(task, actions=(*others, action))

    def action(self, task: TaskExecution, number: int) -> ActionExecution | None:
        """An action execution of a task, or ``None`` if there is none of this number. Raises MissingData."""
        if not task.has_items:
            return next((action for action in task.actions if action.number == number), None)
        if number >= task.next_number:
            return None
        for source in (self.items, self.loaded.items):
            action = source.get(task.ordinal, {}).get(number)
            if action is not None:
                return action
        raise MissingData(NeedItem(task.ordinal, number))

    def actions(self, task: TaskExecution) -> list[ActionExecution]:
        """All action executions of a task, in order of their numbers. Raises MissingData.

        How items of an earlier attempt have ended is not to be decided by: the history need not know.
        """
        if not task.has_items:
            return sorted(task.actions, key=lambda action: action.number)
        known = {**self.loaded.items.get(task.ordinal, {}), **self.items.get(task.ordinal, {})}
        # A lost turn may have left records of items that the task does not know of: they were never released.
        known = {number: action for number, action in known.items() if number < task.next_number}
        if task.ordinal not in self.loaded.all_items and len(known) < task.next_number:
            raise MissingData(NeedItems(task.ordinal))
        if task.items is not None and task.items.started != task.items.finished:
            self._look_at(task, [action for action in known.values() if not is_counted(task, action)])
        return effective_actions(task, [known[number] for number in sorted(known)])

    def shown_actions(self, task: TaskExecution) -> list[ActionExecution]:
        """As ``actions``, where it also matters how items of an earlier attempt have ended. Raises MissingData."""
        actions = self.actions(task)
        if task.cut_off_from is not None:
            # Nobody was told of the end of one that was at work when its attempt ended.
            self._look_at(task, [a for a in actions if task.cut_off_from <= a.number < task.accepted_from])
        return actions

    def _look_at(self, task: TaskExecution, actions: Iterable[ActionExecution]) -> None:
        """Remember which ends of items a decision has seen before an event told of them."""
        changed = self.items.get(task.ordinal, {})
        self.log.seen.update(
            (task.ordinal, action.number)
            for action in actions
            if action.state.is_completed and action.number not in changed
        )

    # -- values

    def resolve(self, value: Json) -> Json:
        """The data behind a reference, or the value itself. Raises MissingData."""
        if isinstance(value, PayloadRef):
            if value.digest not in self.loaded.payloads:
                raise MissingData(NeedPayload(value.digest))
            return self.loaded.payloads[value.digest]
        if isinstance(value, ValueRef):
            if value.key not in self.loaded.values:
                raise MissingData(NeedValue(value.key))
            return self.resolve(self.loaded.values[value.key])
        return value

    def resolve_object(self, value: Json) -> dict[str, Json]:
        """As ``resolve`` for an object whose members may be references themselves."""
        data = self.resolve(value) or {}
        return {key: self.resolve(member) for key, member in data.items()}

    def context_node(self, reference: int) -> ContextNode:
        """The context behind a reference other than 0. Raises MissingData."""
        ordinal = reference >> 1
        if reference & 1:
            node = self.task(ordinal).context
            return node if node is not None else ContextNode(base=self.task(ordinal).in_context)
        node = self.contexts.get(ordinal) or self.loaded.contexts.get(ordinal)
        if node is None:
            raise MissingData(NeedContext(ordinal))
        return node

    def ask(self, need: Need) -> Any:
        """What the shell found for a need. Raises MissingData until it was asked."""
        if need not in self.loaded.found:
            raise MissingData(need)
        self.log.asked[need] = self.loaded.found[need]
        return self.loaded.found[need]

    # -- effects

    def emit(self, effect: Effect) -> None:
        """Ask something of the world, once the records are safe."""
        self.effects.append(effect)

    def change_state(self, state: State, state_info: str | None) -> None:
        """The workflow is in this state from now on; whoever wants to know is told."""
        before, self.state, self.state_info = self.state, state, state_info
        if self.subscriptions:
            self._note(workflow_event(before, state))
        if state.is_completed:
            # Whoever is not told of the end still has to learn that nothing more will come.
            self._remind(number for number, each in enumerate(self.subscriptions) if each.is_owed)

    def _note(self, event: str | None, task: TaskExecution | None = None) -> None:
        wanted_by = wanting(self.subscriptions, event)
        if not wanted_by:
            return
        self.noticed += 1
        if task is not None:
            notice = task_notice(self.noticed, task, event, self.now)
        else:
            notice = workflow_notice(self.noticed, self.header, self.state, self.state_info, event=event, now=self.now)
        self.notices.append(notice)
        self.subscriptions = tuple(
            replace(each, last=self.noticed) if number in wanted_by else each
            for number, each in enumerate(self.subscriptions)
        )
        self._remind(wanted_by)

    def _remind(self, publishers: Iterable[int]) -> None:
        owed = [Notify(number) for number in publishers]
        self.effects += [effect for effect in owed if effect not in self.effects]

    def told(self, publisher: int, number: int) -> None:
        """A publisher was told everything up to this notice."""
        self.subscriptions = tuple(
            replace(each, told=max(each.told, min(number, each.last))) if place == publisher else each
            for place, each in enumerate(self.subscriptions)
        )

    def then(self, step: Step) -> None:
        """Do this later in the same decision."""
        self.agenda.append(step)

    def at_once(self, step: Step) -> None:
        """Do this before anything else that is left to do in this decision."""
        self.agenda.appendleft(step)

    def set_timer(self, task: TaskExecution, kind: TimerKind, delay_sec: float) -> TaskExecution:
        """Give a task a timer ``delay_sec`` from now; a timer of the same kind that it had is stale from now on."""
        stamp = task.stamp + 1
        timer = Timer(kind, stamp, self.now + delay_sec, delay_sec)
        timers = (*(t for t in task.timers if t.kind is not kind), timer)
        self.emit(SetTimer(task.ordinal, stamp, timer.due_at))
        return self.put(task, stamp=stamp, timers=timers)

    @property
    def is_completed(self) -> bool:
        """Whether the workflow itself is in a completed state."""
        return self.state.is_completed

    @property
    def is_paused(self) -> bool:
        """Whether the workflow is paused."""
        return self.state is State.PAUSED

    def is_changed(self) -> bool:
        """Whether there is anything to write."""
        return self.is_news() or self.subscriptions != self.header.subscriptions

    def is_news(self) -> bool:
        """Whether the execution itself has changed, and not only what others know of it."""
        header = self.header
        return bool(
            self.finished
            or self.contexts
            or self.items
            or self.state is not header.state
            or any(getattr(self, name) != getattr(header, name) for name in _COMPARED)
            # What is told to an execution that has ended, and changes nothing there, needs no writing down.
            or (self.heard != header.heard and not self.is_completed)
        )

    @property
    def touched(self) -> int:
        """How many records, other than the header, sealing may have to write: never too few."""
        values = sum(count for ordinal, count in self.kept_apart.items() if ordinal in self.frontier)
        records = len(self.finished) + len(self.tail) + len(self.contexts) + sum(map(len, self.items.values())) + values
        records += bool(self.notices)
        if len(self.frontier) <= FRONTIER_INLINE_MAX and not self.header.fronts:
            return records
        # Of a wide frontier each task that finished is on a page that is written again, and new pages may be needed.
        return records + len(self.finished) + FRONT_PAGES_NEW_MAX

    # -- relatives

    def next_stamp(self) -> int:
        """What the next word to a relative is stamped with."""
        self.stamp += 1
        return self.stamp

    def hears(self, stamp: int) -> bool:
        """Whether a word of the parent is news; one that is older than what was heard last is not.

        Words of others have no stamp.
        """
        if stamp and stamp <= self.heard:
            return False
        self.heard = max(self.heard, stamp)
        return True
