"""A world for executions: time, tables and queues of its own, processes that die, doors that overtake each other.

One seed decides everything. Time passes only here. The world goes on until nothing is left to happen: no message, no
appointment, no alarm.
"""

from __future__ import annotations

import heapq
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from random import Random
from threading import Semaphore

from chalicelib.actions.publishers import Announcement, NotDelivered
from chalicelib.adapters.memory import ManualClock, MemoryPayloads, MemoryTable, SeededEntropy
from chalicelib.engine.events import ActionCompleted, Event, ResumeRequested
from chalicelib.engine.identity import address_of
from chalicelib.engine.records import WorkflowExecution
from chalicelib.errors import ConflictException, MistralError
from chalicelib.services.carriers import LeaveMessage, Thread
from chalicelib.services.engine import StartRequest
from chalicelib.services.execution_places import ALARM_SHARDS, alarm_value
from chalicelib.services.execution_store import ExecutionStore
from chalicelib.services.ports import INDEX_ALARM
from chalicelib.vocabulary import JsonObject, Result, State
from tests.simulation.actions import SimulatedRegistry
from tests.simulation.doors import Door, Process
from tests.simulation.faults import CRASHES, PROMPT, REFUSALS, Crash, Delivery, Fault, Faults, NoFaults
from tests.simulation.library import Library
from tests.simulation.oracles import Watcher
from tests.simulation.ports import UNAVAILABLE, Letter, SimulatedQueue

BEGINNING = 1_700_000_000.123
STEPS_MAX = 30_000
TIME_MAX_SEC = 10 * 24 * 3600.0
RESUMES_MAX = 400
EXECUTOR_SEC = {"tasks": 120.0, "tasks-long": 900.0, "notifications": 60.0}
REFUSALS_MAX = 3
PROJECT = "project"


class NeverEnds(AssertionError):
    """Nothing more happens, or too much, and an execution has not come to its end."""


@dataclass(frozen=True)
class Circumstances:
    """In what way the world is unkind. ``doors`` is how many invocations run at once.

    ``skew_sec`` is how far the clocks of processes are off at most, ``old_share`` how many run the former version.
    ``deaf`` is how often a publisher does not take an event, though never too often in a row.
    """

    faults: Faults = field(default_factory=NoFaults)
    delivery: Delivery = PROMPT
    doors: int = 1
    stalls: float = 0.0
    executors: int = 3
    clocks: int = 2
    doomed: frozenset[tuple[str, str]] = frozenset()
    deaf: float = 0.0
    skew_sec: float = 0.0
    old_share: float = 0.0
    verbose: bool = False


class World:
    """See the module. ``doomed``: actions whose executor died in the run to compare with, by path, and their errors."""

    def __init__(self, text: str, seed: int = 0, circumstances: Circumstances | None = None) -> None:
        self.circumstances = circumstances or Circumstances()
        self.random = Random(seed)
        self.library = Library(text)
        # What processes keep of it does not change: they share it, and are made the faster.
        self.registry = SimulatedRegistry(self)
        self.clock = ManualClock(BEGINNING)
        self.entropy = SeededEntropy(seed)
        self.table = MemoryTable()
        self.payloads = MemoryPayloads()
        self.queue = SimulatedQueue(self.clock, self.random, self.circumstances.delivery)
        self.store = ExecutionStore(self.table, self.payloads)
        self.watcher = Watcher(self)
        self.runs: Counter[str] = Counter()
        self.running: Counter[str] = Counter()
        self.asking: Counter[str] = Counter()
        self.polls: Counter[str] = Counter()
        self.told: dict[tuple[str, str], list[str]] = {}
        self._refusals: Counter[tuple[str, str]] = Counter()
        self.crashes = 0
        self.refusals = 0
        # How many executors' patience was at its end.
        self.given_up = 0
        self.port_calls = 0
        self.trace: list[str] = []
        self.problems: list[str] = []
        # What `rebuilding` found, by execution and revision.
        self.differences: dict[tuple[str, int], list[str]] = {}
        self.roots: list[str] = []
        self._steps = 0
        self._resumes = 0
        self._order = count()
        self._appointments: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count(1)
        self._pools = {
            "executor": [self._process("executor") for _ in range(self.circumstances.executors)],
            "api": [self._process("api") for _ in range(2)],
            "clock": [self._process("clock") for _ in range(self.circumstances.clocks)],
        }
        self._doors: list[Door] = []
        self._current: Door | None = None
        self._baton = Semaphore(0)

    # -- what people do

    def start(self, workflow: str, input: JsonObject | None = None, params: JsonObject | None = None) -> None:
        """A client starts an execution under an id of its own, again and again until it is answered."""
        chosen = f"client-{len(self.roots)}"
        self.roots.append(chosen)
        request = StartRequest(PROJECT, workflow, input=input or {}, params=params or {}, execution_id=chosen)
        self.asks(f"start {workflow}", lambda process: process.engine.start(request), insists=True)

    def asks(
        self, title: str, act: Callable[[Process], object], *, after_sec: float = 0.0, insists: bool = False
    ) -> None:
        """A request to the API; with ``insists`` it is repeated while the service does not answer."""

        def ended(error: BaseException | None) -> None:
            if insists and isinstance(error, (Crash, ConflictException, *UNAVAILABLE)):
                self.asks(title, act, after_sec=1.0, insists=True)
            elif error and not isinstance(error, (Crash, MistralError, *UNAVAILABLE)):
                self.problems.append(f"{title}: {error!r}")

        self._appoint(after_sec, lambda: self._open("api", title, act, 30.0, ended))

    def sends(self, execution_id: str, event: Event, *, after_sec: float = 0.0, insists: bool = False) -> None:
        """An operator's or outside worker's event for an execution."""
        self.asks(
            f"{type(event).__name__} for {execution_id[:8]}",
            lambda process: process.engine.handle(execution_id, event),
            after_sec=after_sec,
            insists=insists,
        )

    def _appoint(self, after_sec: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._appointments, (self.clock.now() + after_sec, next(self._order), act))

    def appoint(self, after_sec: float, act: Callable[[], None]) -> None:
        """Something that happens in the world by itself."""
        self._appoint(after_sec, act)

    # -- the run

    def run(self) -> None:
        """Go on until nothing is left to happen. Raises NeverEnds."""
        try:
            while self._step():
                self._steps += 1
                if self._steps > STEPS_MAX or self.clock.now() > BEGINNING + TIME_MAX_SEC:
                    raise NeverEnds(f"It goes on and on: {self.describe()}")
        finally:
            for door in list(self._doors):
                self._kill(door)
        self.watcher.at_the_end()

    def deliver_again(self) -> None:
        """Deliver every message that was ever sent once more, in any order, as it came first or as a redelivery."""
        self.queue.delivery = PROMPT
        messages = list(self.queue.ever_sent)
        self.random.shuffle(messages)
        for message in messages:
            letter = Letter(
                -next(self._numbers),
                message.queue,
                json.loads(json.dumps(message.body)),
                0.0,
                self.random.choice((1, 2)),
            )
            self._deliver(letter)
            while self._doors:
                self._step()

    def _step(self) -> bool:
        self.watcher.rest()
        self._end_those_out_of_time()
        ready = [door for door in self._doors if door.free_at <= self.clock.now()]
        if ready and (len(self._doors) >= self.circumstances.doors or self.random.random() < 0.7):
            self._resume(self.random.choice(ready))
            return True
        if len(self._doors) < self.circumstances.doors and self._begin():
            return True
        if ready:
            self._resume(self.random.choice(ready))
            return True
        return self._pass_time()

    def _begin(self) -> bool:
        """Something new happens now, if there is anything."""
        if self._appointments and self._appointments[0][0] <= self.clock.now():
            heapq.heappop(self._appointments)[2]()
            return True
        letter = self.queue.receive()
        if letter is None:
            return False
        self._deliver(letter)
        return True

    def _pass_time(self) -> bool:
        """On to the next moment at which something happens; to the alarms, where nothing else is left."""
        moments = [min(door.free_at, door.deadline) for door in self._doors]
        if len(self._doors) < self.circumstances.doors:
            moments += [self._appointments[0][0]] if self._appointments else []
            visible_at = self.queue.next_visible_at()
            moments += [] if visible_at is None else [visible_at]
        alarm_at = self._next_alarm()
        if alarm_at is not None and not self._doors and alarm_at < min(moments, default=alarm_at + 1):
            if not moments and self._someone_resumes():
                return True
            self._tick(alarm_at)
            return True
        if not moments:
            return self._someone_resumes()
        self.clock.set(max(self.clock.now(), min(moments)))
        return True

    def _next_alarm(self) -> float | None:
        firsts = [self.table.list_index(INDEX_ALARM, alarm_value(shard), limit=1) for shard in range(ALARM_SHARDS)]
        return min((float(entry.sort.partition("|")[0]) for entries in firsts for entry in entries), default=None)

    def _tick(self, alarm_at: float) -> None:
        """The minute in which the alarm is due; both clocks ring."""
        minute = (max(alarm_at, self.clock.now()) // 60 + 1) * 60
        self.clock.set(minute)
        for _ in range(self.circumstances.clocks):
            self._appoint(0.0, lambda: self._open("clock", "tick", lambda p: p.clock_door.tick(), 60.0))

    def _someone_resumes(self) -> bool:
        """When all stands still and something is paused, its operator comes back: to the root first."""
        paused = [header for header in self.headers() if header.state is State.PAUSED]
        if not paused or self._resumes >= RESUMES_MAX:
            return False
        self._resumes += 1
        roots = [header for header in paused if header.parent is None]
        self.sends((roots or paused)[0].id, ResumeRequested(), insists=True)
        return True

    # -- doors

    def _process(self, kind: str) -> Process:
        return Process(self, kind, next(self._numbers))

    def _open(
        self,
        kind: str,
        title: str,
        act: Callable[[Process], object],
        limit_sec: float,
        ended: Callable[[BaseException | None], None] = lambda error: None,
    ) -> None:
        idle = [process for process in self._pools[kind] if not process.is_busy]
        if not idle:
            idle = [self._process(kind)]
            self._pools[kind] += idle
        process = self.random.choice(idle)
        process.is_busy = True

        def run() -> None:
            act(process)

        door = Door(process, title, run, self.clock.now() + limit_sec, ended)
        self._note(f"{process.name}: {title}")
        if self.circumstances.doors == 1:
            before, self._current = self._current, door
            door.run()
            self._current = before
            self._close(door)
        else:
            self._doors.append(door)
            self._resume(door)

    def _resume(self, door: Door) -> None:
        before, self._current = self._current, door
        door.resume(self._baton)
        self._current = before
        if door.is_done:
            self._doors.remove(door)
            self._close(door)

    def _end_those_out_of_time(self) -> None:
        """A Lambda ends when its time is up, also in the middle of a stall: from then on its claims are nobody's."""
        for door in [door for door in self._doors if door.deadline <= self.clock.now()]:
            self._kill(door)

    def _kill(self, door: Door) -> None:
        while not door.is_done:
            door.is_killed = True
            self._resume(door)

    def _close(self, door: Door) -> None:
        door.process.is_busy = False
        if isinstance(door.error, Crash):
            self.crashes += 1
            self._note(f"{door.process.name}: died at {door.error}")
            pool = self._pools[door.process.kind]
            pool[pool.index(door.process)] = self._process(door.process.kind)
        elif door.error is not None:
            self.given_up += door.process.kind == "executor" and isinstance(door.error, UNAVAILABLE)
            self._note(f"{door.process.name}: {door.error!r}")
        door.ended(door.error)

    def _deliver(self, letter: Letter) -> None:
        limit_sec = EXECUTOR_SEC[letter.queue]
        thread = Thread(f"message-{letter.number}", self.clock.now() + limit_sec, self.clock)

        def act(process: Process) -> None:
            if letter.queue == "notifications":
                process.notifier.handle(letter.body, thread.claimer, thread.deadline)
            else:
                process.executor.handle(letter.body, thread, letter.receive_count)

        def ended(error: BaseException | None) -> None:
            if error is None:
                self.queue.delete(letter)
            elif not isinstance(error, (Crash, LeaveMessage, ConflictException, *UNAVAILABLE)):
                self.problems.append(f"message {letter.body} failed with {error!r}")

        self._open("executor", f"message {letter.number}/{letter.receive_count} {letter.body}", act, limit_sec, ended)

    # -- what processes and actions meet

    def calls(self, process: Process, operation: str) -> Fault:
        """A port is called: others may run first, and something may go wrong."""
        if self.circumstances.doors > 1:
            stalls = self.random.random() < self.circumstances.stalls
            self._hand_back(self.random.choice((1.0, 20.0, 90.0, 200.0)) if stalls else 0.0)
        else:
            self.clock.advance(0.003)
        self.port_calls += 1
        fault = self.circumstances.faults.at(self.port_calls, operation)
        if fault is not Fault.NONE:
            self._note(f"{process.name}: {fault} at {operation} (call {self.port_calls})")
        if fault in CRASHES:
            process.has_died = True
        self.refusals += fault in REFUSALS
        return fault

    def tells(self, publisher: str, announcement: Announcement) -> None:
        """A publisher hears of an event, if it does not turn a deaf ear to it."""
        event = publisher, announcement.id
        if self._refusals[event] < REFUSALS_MAX and self.random.random() < self.circumstances.deaf:
            self._refusals[event] += 1
            raise NotDelivered("The simulation does not listen.")
        self.told.setdefault((publisher, announcement.group), []).append(announcement.id)

    def _hand_back(self, seconds: float) -> None:
        door = self._current
        assert door is not None, "only doors wait"
        door.hand_back(self._baton, self.clock.now() + seconds)

    def waits(self, seconds: float) -> None:
        """A process waits a moment before it tries again."""
        if self.circumstances.doors > 1:
            self._hand_back(self.random.random() * 0.3)

    def sleeps(self, seconds: float) -> None:
        """A process waits before it makes a call again that was refused."""
        if self.circumstances.doors > 1:
            self._hand_back(seconds)
        else:
            self.clock.advance(seconds)

    def takes(self, seconds: float) -> None:
        """An action takes its time; its process may die in it."""
        door = self._current
        assert door is not None, "actions run behind doors"
        self.calls(door.process, "action")
        if door.process.has_died:
            raise Crash("action")
        if self.circumstances.doors > 1:
            self._hand_back(seconds)
        else:
            self.clock.advance(seconds)

    def begins(self, action_execution_id: str) -> None:
        self.runs[action_execution_id] += 1
        self.running[action_execution_id] += 1
        self.watcher.begins(action_execution_id)

    def ends(self, action_execution_id: str) -> None:
        self.running[action_execution_id] -= 1

    def now(self) -> float:
        return self.clock.now()

    def poll_begins(self, action_execution_id: str, due_at: float) -> None:
        now = self.clock.now()
        self.asking[action_execution_id] += 1
        if self.asking[action_execution_id] > 1:
            self.problems.append(f"{action_execution_id} is asked twice at once")
        # Due times are rounded to milliseconds.
        if now < due_at - 0.001 - 2 * self.circumstances.skew_sec:
            self.problems.append(f"{action_execution_id} is asked {due_at - now:g} s too early")
        self.polls[action_execution_id] += 1

    def poll_ends(self, action_execution_id: str) -> None:
        self.asking[action_execution_id] -= 1

    def doom_of(self, action_execution_id: str) -> str | None:
        doomed = self.circumstances.doomed
        return dict(doomed).get(self.path_of(action_execution_id)) if doomed else None

    def answers_later(self, action_execution_id: str, result: Result, seconds: float) -> None:
        address = address_of(action_execution_id)
        assert address is not None
        event = ActionCompleted(address.ordinal, address.number, result)
        self.sends(address.execution_id, event, after_sec=seconds, insists=True)

    # -- looking

    def may_resume(self) -> bool:
        """Whether the door that is open may bring a workflow back from its pause, perhaps into the next one."""
        return self._current is not None and any(word in self._current.title for word in ("Resume", "ActionUpdated"))

    def headers(self) -> list[WorkflowExecution]:
        """Every execution, roots first."""
        found = (self.store.header(partition) for partition in self.watcher.partitions)
        return sorted((h for h in found if h is not None), key=lambda h: (h.depth, h.created_at, h.id))

    def path_of(self, action_execution_id: str) -> str:
        """Where an action stands, in names that are the same in every run."""
        address = address_of(action_execution_id)
        assert address is not None
        return self.watcher.path(address.execution_id, address.ordinal, address.number)

    def describe(self) -> str:
        """The unfinished executions, for a message."""
        lines = []
        for header in self.headers():
            if not header.state.is_completed or header.frontier:
                tasks = ", ".join(
                    f"{t.name} {t.state} {[str(a.state) for a in t.actions]}" for t in header.frontier.values()
                )
                lines.append(
                    f"{header.workflow_name} {header.id[:8]} {header.state} wake_at={header.wake_at} [{tasks}]"
                )
        return "; ".join(lines) or "all executions have ended"

    def _note(self, text: str) -> None:
        if self.circumstances.verbose:
            print(f"{self.clock.now() - BEGINNING:12.3f}  {text}")
