"""A rehearsal: one workflow played in memory on metered ports, every request, unit and message counted.

Time jumps to whatever is due next. Each message meets an executor that knows the definition but has not seen the
execution, which is the dearest way to run; what the clock door does in a minute without work is not counted.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Final

from chalicelib.actions.registry import Registry
from chalicelib.adapters.memory import ManualClock, MemoryPayloads, MemoryQueue, MemoryTable, SeededEntropy
from chalicelib.engine.events import ActionCompleted
from chalicelib.engine.records import WorkflowExecution
from chalicelib.lang import loader
from chalicelib.local.answers import AnsweringRegistry, Later, NoSecrets, Script, task_names
from chalicelib.local.meter import Counts, Meter, MeteredPayloads, MeteredQueue, MeteredTable
from chalicelib.local.problems import LocalError
from chalicelib.services.definition_records import Kind
from chalicelib.services.definitions import Access, Placement
from chalicelib.services.engine import StartRequest
from chalicelib.services.execution_places import ALARM_SHARDS, alarm_value
from chalicelib.services.execution_store import ExecutionStore
from chalicelib.services.messages import NOTIFICATIONS, TASKS, TASKS_LONG
from chalicelib.services.ports import INDEX_ALARM, Payloads, Queue, Table
from chalicelib.services.reading import Reader, Sight
from chalicelib.settings import Settings
from chalicelib.vocabulary import JsonObject, State
from chalicelib.wiring import Container, Ports, assemble

PROJECT: Final = "cost"
BEGINS_AT: Final = 1_800_000_000.0
STEPS_MAX: Final = 200_000
DAYS_MAX: Final = 400
_DAY_SEC: Final = 24 * 3600
_MINUTE_SEC: Final = 60
_EXECUTOR_SEC: Final = 110.0
# A message that its receiver has not deleted comes again after so long.
_VISIBILITY_SEC: Final = 720


@dataclass(frozen=True, slots=True)
class World:
    """Where a rehearsal takes place: ports without a meter, the queue with its receiving side."""

    executions: Table
    definitions: Table
    payloads: Payloads
    queue: MemoryQueue
    clock: ManualClock


def in_memory() -> World:
    """A world of its own."""
    clock = ManualClock(BEGINS_AT)
    return World(MemoryTable(), MemoryTable(), MemoryPayloads(clock), MemoryQueue(clock), clock)


@dataclass(slots=True)
class Played:
    """What a run came to. ``counts`` are all requests, of which the API's own turns wrote ``api_turns`` times."""

    execution: WorkflowExecution
    counts: Counts
    api_calls: int = 0
    api_turns: int = 0
    executor_runs: int = 0
    executor_turns: int = 0
    alarms: int = 0
    executions: int = 0
    tasks: int = 0
    steps: int = 0
    waited_sec: float = 0.0
    waits_for_answers: bool = False


@dataclass(slots=True)
class Rehearsal:
    """One run. With a script, actions that are not pure are answered by it; without, all are really run."""

    script: Script | None = None
    world: World = field(default_factory=in_memory)
    meter: Meter = field(init=False)
    _api: Container = field(init=False)
    _executor: Container = field(init=False)
    _clock_door: Container = field(init=False)
    _raw: ExecutionStore = field(init=False)
    _idle: Counts = field(init=False)
    _later: list[tuple[float, int, Later]] = field(default_factory=list)
    _numbers: count[int] = field(default_factory=count)
    _seen: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Put the meter between the services and the world."""
        self.meter = Meter()
        self._raw = ExecutionStore(self.world.executions, self.world.payloads)
        queue: Queue = MeteredQueue(self.world.queue, self.meter)
        ports = Ports(
            executions=MeteredTable(self.world.executions, self.meter),
            definitions=MeteredTable(self.world.definitions, self.meter),
            queue=queue,
            payloads=MeteredPayloads(self.world.payloads, self.meter),
            clock=self.world.clock,
            entropy=SeededEntropy(1),
            secrets=None if self.script is None else NoSecrets(),
        )
        self._api, self._executor, self._clock_door = (self._container(ports) for _ in range(3))
        self._clock_door.clock_door.tick()  # what it does for the first time only is not counted either
        with self.meter.measure() as idle:
            self._clock_door.clock_door.tick()
        self._idle = idle

    @property
    def idle_tick(self) -> Counts:
        """What one visit of the clock door costs where nothing is due."""
        return self._idle

    def upload(self, text: str) -> list[str]:
        """Store what a document defines; the names of its workflows. Raises DefinitionError."""
        data = loader.load(text).data
        is_book = isinstance(data.get("name"), str) and ("workflows" in data or "actions" in data)
        kind = Kind.WORKBOOK if is_book else Kind.WORKFLOW
        self._api.definitions.create(kind, Access(PROJECT), text.encode(), Placement())
        if not is_book:
            return [name for name in data if name != "version"]
        return [f"{data['name']}.{name}" for name in data.get("workflows") or {} if name != "version"]

    def play(self, workflow: str, given: JsonObject, params: JsonObject) -> Played:
        """Run a workflow until it stands still.

        Raises MistralError for one that cannot start, LocalError for one without an end.
        """
        before, began = self.meter.counts(), self.world.clock.now()
        with self.meter.measure() as start:
            header = self._api.engine.start(StartRequest(PROJECT, workflow, input=given, params=params))
        played = Played(header, Counts(), api_calls=1, api_turns=_turns(start))
        for _ in range(STEPS_MAX):
            self._note_answers(played)
            if not self._step(played, began + DAYS_MAX * _DAY_SEC):
                break
        else:
            raise LocalError(f"{workflow} has not ended after {STEPS_MAX:,} steps; give it a smaller input")
        ended = self._raw.header(header.id)
        assert ended is not None
        played.execution = ended
        played.counts = self.meter.counts().minus(before)
        self._take_away_idle(played)
        self._count_work(played)
        return played

    def _container(self, ports: Ports) -> Container:
        if self.script is None:
            return assemble(Settings(storage="memory", egress_local=True), ports, Registry(), observe=self._notice)
        registry = AnsweringRegistry(self.script)
        return assemble(Settings(storage="memory"), ports, registry, observe=self._notice)

    def _notice(self, _before: WorkflowExecution, after: WorkflowExecution, _transition: object) -> None:
        self._seen.add(after.id)

    def _note_answers(self, played: Played) -> None:
        """Asynchronous actions that have been started are answered when their time has come."""
        if self.script is None:
            return
        for later in self.script.later:
            heapq.heappush(self._later, (self.world.clock.now() + later.after_sec, next(self._numbers), later))
            played.waits_for_answers = True
        self.script.later.clear()

    def _step(self, played: Played, ends_at: float) -> bool:
        """Do what is due next; whether there was anything."""
        due: list[tuple[float, int, Callable[[], None]]] = [
            (at, number, lambda queue=queue: self._deliver(queue, played))  # type: ignore[misc]
            for number, queue in enumerate((TASKS, TASKS_LONG, NOTIFICATIONS))
            if (at := self.world.queue.next_visible_at(queue)) is not None
        ]
        if self._later:
            due.append((self._later[0][0], 10, lambda: self._complete(played)))
        alarm = self._next_alarm()
        if alarm is not None and (due or not self._is_paused(played)):
            due.append(((alarm // _MINUTE_SEC + 1) * _MINUTE_SEC, 20, lambda: self._ring(played)))
        if not due:
            return False
        at, _, act = min(due, key=lambda each: each[:2])
        if at > ends_at:
            return False
        now = self.world.clock.now()
        if at > now:
            self.world.clock.set(at)
            played.waited_sec += at - now
        act()
        return True

    def _deliver(self, queue: str, played: Played) -> None:
        [received] = self.world.queue.receive(queue, messages_max=1, visibility_sec=_VISIBILITY_SEC)
        attributes = {"ApproximateReceiveCount": str(received.receive_count)}
        record = {"messageId": received.message_id, "body": json.dumps(received.body), "attributes": attributes}
        failed: list[str] = []
        with self.meter.measure() as spent:
            if queue != NOTIFICATIONS:
                self._executor.engine.turns.forget()
                failed = self._executor.executor.handle_batch([record], _EXECUTOR_SEC)
            elif self.script is None:
                failed = self._executor.notifier.handle_batch([record], _EXECUTOR_SEC)
        played.executor_runs += 1
        played.executor_turns += max(1, _turns(spent))
        if not failed:
            self.world.queue.delete(received)

    def _complete(self, played: Played) -> None:
        """Bring the result of an asynchronous action as the API does."""
        _, _, later = heapq.heappop(self._later)
        reader, sight = Reader(self._api.executions, self._api.definitions), Sight(PROJECT)
        with self.meter.measure() as spent:
            header, task, action = reader.action(later.action_execution_id, sight)
            if action.state is State.RUNNING:
                self._api.engine.turns.forget()
                self._api.engine.handle(header.id, ActionCompleted(task.ordinal, action.number, later.result))
                reader.action(later.action_execution_id, sight)
        played.api_calls += 1
        played.api_turns += max(1, _turns(spent))

    def _ring(self, played: Played) -> None:
        self._clock_door.clock_door.tick()
        played.alarms += 1

    def _next_alarm(self) -> float | None:
        table = self.world.executions
        firsts = (table.list_index(INDEX_ALARM, alarm_value(shard), limit=1) for shard in range(ALARM_SHARDS))
        return min((float(entry.sort.partition("|")[0]) for entries in firsts for entry in entries), default=None)

    def _is_paused(self, played: Played) -> bool:
        header = self._raw.header(played.execution.id)
        return header is not None and header.state is State.PAUSED

    def _take_away_idle(self, played: Played) -> None:
        for _ in range(played.alarms):
            played.counts = played.counts.minus(self._idle)

    def _count_work(self, played: Played) -> None:
        """Executions, tasks, and steps: each run of an action, and each task that only leads on."""
        headers = [header for each in self._seen if (header := self._raw.header(each)) is not None]
        tasks = [task for header in headers for task in self._raw.tasks(header)]
        played.executions, played.tasks = len(headers), len(tasks)
        played.steps = sum(max(1, task.next_number) + task.has_items for task in tasks)


def scripted(script_of: Callable[[Callable[..., str | None]], Script]) -> Rehearsal:
    """A rehearsal whose script is told the names of tasks by its records."""
    world = in_memory()
    script = script_of(task_names(ExecutionStore(world.executions, world.payloads)))
    return Rehearsal(script, world)


def _turns(counts: Counts) -> int:
    """How often a turn was stored."""
    return counts.requests["PutItem"] + counts.requests["TransactWriteItems"]
