"""The invariants of ``docs/architecture.md``, looked at with every record that is written, and at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from chalicelib.engine import codec
from chalicelib.engine.contexts import outbound_of
from chalicelib.engine.decider import executor_died
from chalicelib.engine.history import HISTORY_PREFIX
from chalicelib.engine.identity import action_id, address_of
from chalicelib.engine.notices import wants
from chalicelib.engine.plan import Plan
from chalicelib.engine.reconcile import is_at_work
from chalicelib.engine.records import ActionExecution, Notice, TaskExecution, Timer, TimerKind, WorkflowExecution
from chalicelib.engine.sealing import ACTION_PREFIX, HEADER_KEY, TASK_PREFIX
from chalicelib.services.notifier import announcement_for
from chalicelib.services.ports import Item, Put, Write
from chalicelib.vocabulary import State, may_become

if TYPE_CHECKING:
    from tests.simulation.world import World

HEADER_BYTES_MAX = 24 * 1024
# Timers are kept to the millisecond.
TOLERANCE_SEC = 0.002
# A lost message is made good at the next alarm; the message which that one sends may be lost or late too.
CANCEL_REACHES_WITHIN_SEC = 4 * 3600.0


# What an execution is born with, and the counters that only go up.
_FOR_LIFE = (
    "id",
    "public_id",
    "project_id",
    "workflow_id",
    "definition_hash",
    "created_at",
    "parent",
    "root_execution_id",
    "depth",
)
_GROWING = ("next_ordinal", "stamp", "heard", "noticed", "turns_paged")

# What goes on in a task with this state, even if its workflow has ended.
_MOVING = (State.RUNNING, State.DELAYED, State.PAUSED)


class Broken(AssertionError):
    """An invariant does not hold."""


@dataclass
class Mirror:
    """What the watcher knows of one execution."""

    header: WorkflowExecution
    pages: dict[int, TaskExecution] = field(default_factory=dict)
    items: dict[tuple[int, int], ActionExecution] = field(default_factory=dict)
    cancelled_at: float | None = None
    ended_at: float | None = None

    def tasks(self) -> dict[int, TaskExecution]:
        return {**self.pages, **self.header.tail, **self.header.frontier}

    def actions(self) -> Iterable[tuple[TaskExecution, ActionExecution]]:
        for task in self.tasks().values():
            if task.has_items:
                for (ordinal, number), action in self.items.items():
                    if ordinal == task.ordinal and number < task.next_number:
                        yield task, action
            else:
                yield from ((task, action) for action in task.actions)


class Watcher:
    """Sees every write. What is wrong stops the world at its next step."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.mirrors: dict[str, Mirror] = {}
        self._early: dict[str, list[Item]] = {}
        self.revives = False  # an operator may rerun or skip tasks
        self.ends_by_hand = False  # an operator has ended a workflow with SUCCESS
        self.header_bytes_max = 0

    @property
    def partitions(self) -> list[str]:
        return list(self.mirrors)

    # -- writes

    def saw(self, writes: Sequence[Write]) -> None:
        puts = [write.item for write in writes if isinstance(write, Put)]
        header = next((item for item in puts if item.key == HEADER_KEY), None)
        before: dict[int, TaskExecution] = {}
        mirror = self.mirrors.get(header.partition) if header is not None else None
        old = mirror.header if mirror is not None else None
        if mirror is not None:
            before = mirror.tasks()
        if header is not None:
            found = codec.unpack_header(self._body(header))
            if mirror is None:
                mirror = self.mirrors[header.partition] = Mirror(found)
                for item in self._early.pop(header.partition, ()):
                    self._take(item)
            mirror.header = found
            self.header_bytes_max = max(self.header_bytes_max, len(header.body))
        for item in puts:
            self._take(item)
        if header is not None and mirror is not None:
            self._check(header, mirror, old, before)

    def _body(self, item: Item) -> bytes:
        return self._world.payloads.get(item.body[1:].decode()) if item.body[:1] == b"@" else item.body

    def _take(self, item: Item) -> None:
        mirror = self.mirrors.get(item.partition)
        if mirror is None:
            # Items are written before the header that counts them, also before the first one.
            self._early.setdefault(item.partition, []).append(item)
            return
        if item.key.startswith(TASK_PREFIX):
            for task in codec.unpack_tasks(self._body(item)):
                mirror.pages[task.ordinal] = task
                self._need(
                    task.state.is_completed, mirror, f"task {task.name} is {task.state} on a page of finished tasks"
                )
        elif item.key.startswith(ACTION_PREFIX):
            action = codec.unpack_action(self._body(item))
            ordinal = int(item.key.split("#")[1], 16)
            known = mirror.items.get((ordinal, action.number))
            if known is not None:
                self._check_action(mirror, str(ordinal), known, action)
            mirror.items[ordinal, action.number] = action

    # -- one transition

    def _check(
        self, item: Item, mirror: Mirror, old: WorkflowExecution | None, before: dict[int, TaskExecution]
    ) -> None:
        new, now = mirror.header, self._world.clock.now()
        self._need(len(item.body) <= HEADER_BYTES_MAX, mirror, f"the header has {len(item.body)} bytes")
        self._check_alarm(mirror, now)
        self._check_books(mirror)
        if new.state is State.CANCELLED and mirror.cancelled_at is None:
            mirror.cancelled_at = now
        if not new.state.is_completed:
            mirror.cancelled_at = mirror.ended_at = None
        elif mirror.ended_at is None:
            mirror.ended_at = now
        if old is None:
            return
        self._need(new.revision == old.revision + 1, mirror, f"revision {new.revision} follows {old.revision}")
        self._check_workflow(mirror, old, new)
        self._check_course(mirror, old, new)
        for ordinal, task in mirror.tasks().items():
            earlier = before.get(ordinal)
            if earlier is not None and earlier is not task:
                self._check_task(mirror, earlier, task, now)
            if old.state is State.PAUSED and new.state is State.PAUSED and not self._world.may_resume():
                released = task.next_number - (earlier.next_number if earlier else 0)
                self._need(released == 0, mirror, f"task {task.name} released an action while the workflow was paused")
        missing = set(before) - set(mirror.tasks())
        self._need(not missing, mirror, f"the tasks {missing} are lost")

    def _check_course(self, mirror: Mirror, old: WorkflowExecution, new: WorkflowExecution) -> None:
        """What an execution was born with stays, and what only grows does not go back."""
        for name in _FOR_LIFE:
            self._need(getattr(new, name) == getattr(old, name), mirror, f"its {name} changed")
        for name in () if self._world.circumstances.old_share else _GROWING:
            self._need(getattr(new, name) >= getattr(old, name), mirror, f"its {name} went back")
        longer = (
            self._world.circumstances.old_share > 0
            or new.turns_paged > old.turns_paged
            or new.turns[: len(old.turns)] == old.turns
        )
        self._need(longer, mirror, "its history was changed")

    def _check_workflow(self, mirror: Mirror, old: WorkflowExecution, new: WorkflowExecution) -> None:
        legal = may_become(old.state, new.state) and (not old.state.is_completed or old.state is new.state)
        # What was run again may end in the same turn.
        legal = legal or (self.revives and old.state in (State.ERROR, State.CANCELLED))
        legal = legal or (old.state is State.IDLE and not old.state.is_completed)
        # One turn may see a workflow resumed, run and ended.
        legal = legal or (old.state is State.PAUSED and new.state.is_completed)
        self._need(legal, mirror, f"the workflow went from {old.state} to {new.state}")
        # Whoever ends what has succeeded has its output evaluated anew, as on Mistral.
        if old.state.is_completed and new.state is old.state and not (self.revives or self.ends_by_hand):
            self._need(old.output == new.output, mirror, "the output changed after the end")
        timed_out = new.state is State.ERROR and old.state is not new.state and "timed out" in (new.state_info or "")
        if timed_out and old.timers and (new.state_info or "").startswith("Workflow"):
            self._need_time(mirror, old.timers[0], "the workflow's time limit")

    def _check_task(self, mirror: Mirror, old: TaskExecution, new: TaskExecution, now: float) -> None:
        same = (old.name, old.type, old.created_at, old.has_items) == (
            new.name,
            new.type,
            new.created_at,
            new.has_items,
        )
        self._need(same, mirror, f"task {old.name} became another one")
        grows = old.next_number <= new.next_number and old.stamp <= new.stamp
        self._need(grows, mirror, f"task {new.name} counted back")
        is_join = self._plan(mirror).spec.tasks[new.name].join is not None
        ran_again = is_join or self.revives
        if old.state.is_completed and not ran_again:
            self._need(new.state is old.state, mirror, f"task {new.name} went from {old.state} to {new.state}")
            self._need(new.published == old.published, mirror, f"task {new.name} published again")
        known = {action.number: action for action in old.actions}
        for action in new.actions:
            if action.number in known:
                self._check_action(mirror, new.name, known[action.number], action)
        started = new.next_number > old.next_number
        # On Mistral, too, a result that arrives while a task waits for its end ends the task at once.
        answered = old.items != new.items or any(
            action.state.is_completed and not known[action.number].state.is_completed
            for action in new.actions
            if action.number in known
        )
        for timer in old.timers:
            fired = {
                # A join that waits before it runs again runs when it is reached once more.
                TimerKind.WAIT_BEFORE: started and old.state is State.DELAYED and not is_join,
                TimerKind.RETRY: started and old.state in (State.DELAYED, State.WAITING) and not self.revives,
                TimerKind.WAIT_AFTER: new.state in (State.SUCCESS, State.ERROR)
                and old.state is State.DELAYED
                and not answered
                and not started
                and not is_join
                and not (new.state_info or "").startswith("Task timed out"),
                TimerKind.TIMEOUT: old.state is not State.ERROR and (new.state_info or "").startswith("Task timed out"),
            }
            if fired.get(timer.kind, False):
                self._need_time(mirror, timer, f"task {new.name}: {timer.kind}")
        # Reruns come on top of what runs already: so it is on Mistral.
        if new.items is not None and new.items.concurrency is not None and not self.revives:
            running = (new.items.started & ~new.items.finished).bit_count()
            self._need(running <= new.items.concurrency, mirror, f"task {new.name} runs {running} items at once")

    def _need_time(self, mirror: Mirror, timer: Timer, what: str) -> None:
        early_sec = timer.due_at - self._world.clock.now()
        tolerance_sec = TOLERANCE_SEC + 2 * self._world.circumstances.skew_sec
        self._need(early_sec <= tolerance_sec, mirror, f"{what} came {early_sec:.3f} s too early")

    def _check_action(self, mirror: Mirror, where: str, old: ActionExecution, new: ActionExecution) -> None:
        # An asynchronous action may be set running again by a client, as on Mistral.
        if not old.state.is_completed or (self.revives and (new.execution_id is not None or not new.is_sync)):
            return
        what = f"action {new.name} {new.number} of task {where}"
        self._need(new.state is old.state, mirror, f"{what} went from {old.state} to {new.state}")
        kept = new.result == old.result or new.result is None
        self._need(kept, mirror, f"{what} got another result: {old.result} became {new.result}")

    # -- one header

    def _check_alarm(self, mirror: Mirror, now: float) -> None:
        header = mirror.header
        moves = any(
            task.state in _MOVING
            or (task.state is State.IDLE and task.started_at is None)
            or task.timers
            or is_at_work(task)
            for task in header.frontier.values()
        )
        owes = any(subscription.is_owed for subscription in header.subscriptions)
        if header.state.is_completed and owes:
            self._need(header.wake_at is not None, mirror, "it owes notices, and no alarm rings")
        elif header.state.is_completed and not moves:
            self._need(header.wake_at is None, mirror, "an execution that has ended keeps an alarm")
        else:
            wakes = (
                header.wake_at is not None
                and header.wake_at <= now + 6 * 3600 + 60 + self._world.circumstances.skew_sec
            )
            self._need(wakes, mirror, f"with something unfinished in it, it wakes at {header.wake_at}, now is {now}")

    def _check_books(self, mirror: Mirror) -> None:
        """What the header keeps in short must be what all the tasks say."""
        header, plan = mirror.header, self._plan(mirror)
        tasks = mirror.tasks()
        done = {ordinal: task for ordinal, task in tasks.items() if task.state.is_completed}
        unfinished = {task.ordinal for task in header.frontier.values() if not task.state.is_completed}
        self._need(unfinished == set(header.frontier), mirror, "the frontier holds finished tasks")
        failures = {o for o, task in done.items() if task.state is State.ERROR and not task.error_handled}
        self._need_same(mirror, "failures", set(header.failures), failures)
        cancelled = {o for o, task in done.items() if task.state is State.CANCELLED}
        self._need_same(mirror, "cancellations", set(header.cancellations), cancelled)
        if plan.spec.type == "direct":
            ends = {o: outbound_of(task) for o, task in done.items() if not task.has_next_tasks}
            self._need_same(mirror, "ends", dict(header.ends), ends)
            if plan.has_joins:
                self._check_join_books(mirror, plan, tasks)
        waiting = set(header.unprocessed) - set(done)
        self._need(not waiting, mirror, f"the unfinished tasks {waiting} are booked as not gone on from")

    def _check_join_books(self, mirror: Mirror, plan: Plan, tasks: dict[int, TaskExecution]) -> None:
        # Of several executions of one name, the one that ended last is booked, which the records do not say.
        names = Counter(task.name for task in tasks.values())
        for name, task in ((task.name, task) for task in tasks.values() if names[task.name] == 1):
            if not task.state.is_completed or not task.went_on:
                continue
            seen = bool(mirror.header.seen & plan.task_bit[name]) or task.next_tasks is None
            self._need(seen, mirror, f"the finished task {name} is not booked as seen")
            fired = {edge for edge, bit in plan.edge_bit.items() if edge[0] == name and mirror.header.fired & bit}
            taken = {(name, target) for target, _ in task.next_tasks or () if (name, target) in plan.edge_bit}
            self._need_same(mirror, f"transitions of {name}", fired, taken)

    def _plan(self, mirror: Mirror) -> Plan:
        return self._world.library.plan(mirror.header.definition_hash)

    # -- actions at work

    def begins(self, identifier: str) -> None:
        address = address_of(identifier)
        assert address is not None
        mirror = self.mirrors[address.execution_id]
        task = mirror.tasks().get(address.ordinal)
        found = self._action(mirror, address.ordinal, address.number)
        if task is None or found is None:
            self._need(False, mirror, f"action {identifier} runs and has no record")
            return
        again = found.safe_rerun or self._world.runs[identifier] <= 1
        self._need(again, mirror, f"action {found.name} of task {task.name} runs twice and is not safe-rerun")
        bounded = task.items is not None and not found.safe_rerun and not self.revives
        if bounded and task.items is not None and task.items.concurrency is not None:
            # What began in an attempt that is over works on to its own end, and is nobody's any more.
            running = sum(
                self._world.running[action_id(address.execution_id, address.ordinal, number)]
                for number in range(task.accepted_from, task.next_number)
            )
            self._need(running <= task.items.concurrency, mirror, f"{running} items of {task.name} run at once")

    def _action(self, mirror: Mirror, ordinal: int, number: int) -> ActionExecution | None:
        task = mirror.tasks().get(ordinal)
        if task is not None and task.has_items:
            return mirror.items.get((ordinal, number))
        return next((a for a in task.actions if a.number == number), None) if task is not None else None

    # -- the whole

    def rest(self) -> None:
        """Between two steps of the world: what was found wrong is said."""
        if self._world.problems:
            raise Broken("; ".join(self._world.problems[:5]))

    def at_the_end(self) -> None:
        self.rest()
        for mirror in self.mirrors.values():
            header = mirror.header
            self._need(header.state.is_completed, mirror, f"it never ended: {self._world.describe()}")
            active = [t.name for t in header.frontier.values() if t.state in _MOVING]
            self._need(not active, mirror, f"its tasks {active} never ended")
            self._check_told(mirror)
        self._need_few_deaths()
        if not self.revives:
            self._check_cancelled()
        self.rest()

    def _check_told(self, mirror: Mirror) -> None:
        """Every publisher heard of every event that it wants, in order but for repetitions."""
        header, world = mirror.header, self._world
        publishers = (world.store.value(header.id, header.params) or {}).get("notify", ())
        for subscription in header.subscriptions:
            name = publishers[int(subscription.source)]["name"]
            wanted = [
                announcement_for(header, notice).id
                for notice in self._notices(header.id)
                if wants(subscription, notice.event)
            ]
            heard = list(dict.fromkeys(world.told.get((name, header.public), [])))
            self._need(heard == wanted, mirror, f"publisher {name} heard {heard} of {wanted}")

    def _notices(self, execution_id: str) -> list[Notice]:
        found: list[Notice] = []
        while more := self._world.store.notices(execution_id, found[-1].number if found else 0):
            found += more
        return found

    def deaths(self) -> list[tuple[str, str]]:
        """The paths of the actions that ended because their executor died, and their errors."""
        found = []
        died_rarely = self._world.crashes + self._world.given_up < 3 and not self._world.queue.dead
        for partition, mirror in self.mirrors.items():
            for task, action in mirror.actions():
                error = None if action.result is None else self._world.store.value(partition, action.result.error)
                given_up = executor_died(action.name, is_given_up=True)
                if error in (executor_died(action.name), given_up):
                    found.append((self.path(partition, task.ordinal, action.number), str(error)))
                    if action.safe_rerun and error != given_up:
                        self._need(False, mirror, f"the safe-rerun action of {task.name} is told to be none")
                    if action.safe_rerun and died_rarely:
                        self._need(False, mirror, f"the safe-rerun action of {task.name} was given up")
        return found

    def _need_few_deaths(self) -> None:
        deaths, world = self.deaths(), self._world
        died = world.crashes + world.given_up
        if len(deaths) > died + len(world.circumstances.doomed):
            world.problems.append(f"{died} processes died, or gave up, but the actions {deaths} failed of it")

    def _check_cancelled(self) -> None:
        for mirror in self.mirrors.values():
            parent = self.mirrors.get(mirror.header.parent.execution_id) if mirror.header.parent else None
            if parent is None or parent.cancelled_at is None or mirror.ended_at is None:
                continue
            late_sec = mirror.ended_at - parent.cancelled_at
            self._need(
                late_sec <= CANCEL_REACHES_WITHIN_SEC, mirror, f"its parent was cancelled {late_sec:.0f} s before"
            )

    def counts(self, partition: str, key: str) -> bool:
        """Whether a record is one that its header or its task knows of: a lost turn may have left others."""
        if key.startswith(HISTORY_PREFIX):
            return int(key.removeprefix(HISTORY_PREFIX), 16) < self.mirrors[partition].header.turns_paged
        if not key.startswith(ACTION_PREFIX):
            return True
        _, ordinal, number = key.split("#")
        task = self.mirrors[partition].tasks().get(int(ordinal, 16))
        return task is not None and task.has_items and int(number, 16) < task.next_number

    def settled(self) -> list[str]:
        """The executions to which nothing more can come.

        Where a task ended before its action, such as by its time limit, a result that was lost may still come.
        """
        return [
            partition
            for partition, mirror in self.mirrors.items()
            if all(action.state.is_completed or not task.state.is_completed for task, action in mirror.actions())
        ]

    def path(self, partition: str, ordinal: int, number: int) -> str:
        """Where an action stands, in names that are the same in every run of the same workflow."""
        return f"{self.task_path(partition, ordinal)}/{number}"

    def task_path(self, partition: str, ordinal: int) -> str:
        mirror = self.mirrors[partition]
        tasks = mirror.tasks()
        name = tasks[ordinal].name if ordinal in tasks else "?"
        occurrence = sum(1 for o, task in tasks.items() if task.name == name and o < ordinal)
        return f"{self.execution_path(partition)}/{name}#{occurrence}"

    def execution_path(self, partition: str) -> str:
        header = self.mirrors[partition].header
        parent = header.parent
        return header.public if parent is None else self.path(parent.execution_id, parent.ordinal, parent.number)

    def action_ids(self) -> Counter[str]:
        """How often each action has run, by path."""
        return Counter({self._world.path_of(identifier): amount for identifier, amount in self._world.runs.items()})

    def _need_same(self, mirror: Mirror, what: str, booked: object, found: object) -> None:
        self._need(booked == found, mirror, f"{what} are booked as {booked}, but the tasks say {found}")

    def _need(self, holds: bool, mirror: Mirror, what: str) -> None:
        if not holds:
            self._world.problems.append(f"{mirror.header.workflow_name} {mirror.header.id[:8]}: {what}")
