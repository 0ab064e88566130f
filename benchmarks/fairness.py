"""Fairness: what a tenant with a very large with-items does to the times of another tenant's workflows.

The engine, the dispatcher and the executor are the real ones; time, table and queue are simulated. A few executors
share one queue. It hands out messages either in order of arrival, or as SQS documents it of its fair queues: a tenant
with more than a tenth of the messages in hands (30 at least), or of the time that was lately worked, is noisy, and
comes after those who are not; among the noisy ones, whoever has the fewest messages in hands comes first.
"""

from __future__ import annotations

import heapq
import json
import statistics
import sys
import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import count
from random import Random
from typing import Any, Final

from benchmarks.workloads import chain, items
from chalicelib.actions.registry import FunctionAction, Registry, action
from chalicelib.adapters.memory import ManualClock, MemoryPayloads, MemoryTable, SeededEntropy
from chalicelib.engine.records import WorkflowExecution
from chalicelib.services.definition_records import Kind
from chalicelib.services.definitions import Access, Placement
from chalicelib.services.engine import StartRequest
from chalicelib.services.ports import Message, Queue
from chalicelib.settings import Settings
from chalicelib.vocabulary import JsonObject, State
from chalicelib.wiring import Container, Ports, assemble

NOISY: Final = "noisy"
QUIET: Final = "quiet"
# From sending to receiving, and a request to DynamoDB: what was measured on AWS, as medians.
HOP_SEC: Final = 0.016
REQUEST_SEC: Final = 0.005
LAMBDA_SEC: Final = 110.0
_WORK: Final = "bench.work"
# The documented thresholds of fair queues; what "lately" is, is not told.
_NOISY_SHARE: Final = 0.1
_NOISY_IN_HANDS_MIN: Final = 30
_LATELY_SEC: Final = 60.0


class _Over(BaseException):
    """The simulation is over: whoever sleeps does not wake up."""


class Stage:
    """Processes that take turns: one runs, until it sleeps."""

    def __init__(self) -> None:
        self.clock = _Clock(self)
        self._numbers = count()
        self._due: list[tuple[float, int, threading.Semaphore]] = []
        self._parked: list[threading.Semaphore] = []
        self._baton = threading.Semaphore(0)
        self._threads: list[threading.Thread] = []
        self._is_over = False
        self._error: BaseException | None = None

    def add(self, act: Callable[[], None]) -> None:
        """A process that begins now."""
        mine = threading.Semaphore(0)

        def main() -> None:
            mine.acquire()
            try:
                if not self._is_over:
                    act()
            except _Over:
                pass
            except BaseException as error:  # noqa: BLE001 - raised again by run
                self._error = error
            self._baton.release()

        self._threads.append(threading.Thread(target=main, daemon=True))
        self._threads[-1].start()
        heapq.heappush(self._due, (self.clock.now(), next(self._numbers), mine))

    def sleep(self, seconds: float) -> None:
        """Let the others run for so long."""
        mine = threading.Semaphore(0)
        heapq.heappush(self._due, (self.clock.now() + seconds, next(self._numbers), mine))
        self._wait(mine)

    def park(self) -> None:
        """Let the others run until one of them calls."""
        mine = threading.Semaphore(0)
        self._parked.append(mine)
        self._wait(mine)

    def call(self, after_sec: float) -> None:
        """Have one of those who are parked go on in so many seconds."""
        if self._parked:
            heapq.heappush(self._due, (self.clock.now() + after_sec, next(self._numbers), self._parked.pop(0)))

    def _wait(self, mine: threading.Semaphore) -> None:
        self._baton.release()
        mine.acquire()
        if self._is_over:
            raise _Over

    def run(self, until: Callable[[], bool]) -> None:
        """Let time pass until all is done that was to be done. Raises what a process raised."""
        while self._due and self._error is None and not until():
            self._next()
        self._is_over = True
        while self._parked:
            self.call(0)
        while self._due:
            self._next()
        if self._error is not None:
            raise self._error

    def _next(self) -> None:
        due_at, _, mine = heapq.heappop(self._due)
        self.clock.set(max(self.clock.now(), due_at))
        mine.release()
        self._baton.acquire()


class _Clock(ManualClock):
    """The stage's time; those who lost a race wait in it as well."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(1_800_000_000.0)
        self._stage = stage

    def pause(self, seconds: float) -> None:
        """Wait."""
        self._stage.sleep(seconds)


class SlowTable(MemoryTable):
    """A table in memory whose requests take their time."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self._stage = stage

    def get(self, *arguments: Any, **options: Any) -> Any:
        """See ``Table``."""
        self._stage.sleep(REQUEST_SEC)
        return super().get(*arguments, **options)

    def query(self, *arguments: Any, **options: Any) -> Any:
        """See ``Table``."""
        self._stage.sleep(REQUEST_SEC)
        return super().query(*arguments, **options)

    def write(self, *arguments: Any, **options: Any) -> None:
        """See ``Table``."""
        self._stage.sleep(REQUEST_SEC)
        super().write(*arguments, **options)


@dataclass(slots=True)
class Letter:
    """A message in the queue or in somebody's hands."""

    number: int
    tenant: str
    body: JsonObject
    sent_at: float
    taken_at: float = 0.0


class FairQueue(Queue):
    """A queue that is fair between tenants as SQS's are; not ``is_fair``: in order of arrival."""

    def __init__(self, stage: Stage, *, is_fair: bool) -> None:
        self._stage, self._clock = stage, stage.clock
        self._is_fair = is_fair
        self._numbers = count(1)
        self._delayed: list[tuple[float, int, Letter]] = []
        self._visible: dict[str, deque[Letter]] = {}
        self._in_hands: Counter[str] = Counter()
        self._worked: deque[tuple[float, str, float]] = deque()
        self._worked_sec: dict[str, float] = {}

    def send(self, messages: Any) -> None:
        """See ``Queue``."""
        for message in messages:
            assert isinstance(message, Message)
            number, now = next(self._numbers), self._clock.now()
            letter = Letter(number, message.tenant or str(number), json.loads(json.dumps(message.body)), now)
            heapq.heappush(self._delayed, (now + message.delay_sec + HOP_SEC, number, letter))
            self._stage.call(message.delay_sec + HOP_SEC)

    def wait(self) -> None:
        """Until there may be something to receive."""
        if self._delayed:
            self._stage.sleep(max(0.0, self._delayed[0][0] - self._clock.now()))
        else:
            self._stage.park()

    def receive(self) -> Letter | None:
        """The message whose turn it is."""
        now = self._clock.now()
        while self._delayed and self._delayed[0][0] <= now:
            letter = heapq.heappop(self._delayed)[2]
            self._visible.setdefault(letter.tenant, deque()).append(letter)
        tenant = self._next_tenant()
        if tenant is None:
            return None
        letter = self._visible[tenant].popleft()
        if not self._visible[tenant]:
            del self._visible[tenant]
        self._in_hands[tenant] += 1
        letter.taken_at = now
        return letter

    def has_handed_out(self, tenant: str) -> bool:
        """Whether work for a tenant has begun."""
        return tenant in self._in_hands

    def delete(self, letter: Letter) -> None:
        """Done with a message."""
        now = self._clock.now()
        self._in_hands[letter.tenant] -= 1
        self._worked.append((now, letter.tenant, now - letter.taken_at))
        self._worked_sec[letter.tenant] = self._worked_sec.get(letter.tenant, 0.0) + now - letter.taken_at
        while self._worked and self._worked[0][0] < now - _LATELY_SEC:
            _, tenant, seconds = self._worked.popleft()
            self._worked_sec[tenant] -= seconds

    def _next_tenant(self) -> str | None:
        oldest = {tenant: letters[0].number for tenant, letters in self._visible.items()}
        if not oldest:
            return None
        if self._is_fair:
            quiet = [tenant for tenant in oldest if not self._is_noisy(tenant)]
            if not quiet:
                return min(oldest, key=lambda tenant: (self._in_hands[tenant], oldest[tenant]))
            return min(quiet, key=lambda tenant: oldest[tenant])
        return min(oldest, key=lambda tenant: oldest[tenant])

    def _is_noisy(self, tenant: str) -> bool:
        in_hands, all_in_hands = self._in_hands[tenant], self._in_hands.total()
        if in_hands >= _NOISY_IN_HANDS_MIN and in_hands > _NOISY_SHARE * all_in_hands:
            return True
        worked_sec = sum(self._worked_sec.values())
        return worked_sec > 0 and self._worked_sec.get(tenant, 0.0) > _NOISY_SHARE * worked_sec


class _Working(Registry):
    """The standard actions, and one that takes its time."""

    def __init__(self, stage: Stage, seconds: float, random: Random) -> None:
        super().__init__()

        @action(_WORK)
        def work() -> None:
            """Take some time, half of it more or less."""
            stage.sleep(seconds * (0.5 + random.random()))

        assert isinstance(work, FunctionAction)
        self._built_in[_WORK] = work


@dataclass(frozen=True, slots=True)
class Case:
    """Who is noisy and how, and what all work with. ``items_count`` 0: nobody is noisy."""

    items_count: int
    concurrency: int = 0
    executors: int = 10
    action_sec: float = 0.2
    is_fair: bool = True
    quiet_runs: int = 60
    period_sec: float = 0.5
    seed: int = 1


@dataclass(slots=True)
class Played:
    """The workflows of the quiet tenant, from start to end in seconds, in order; was the noisy one busy all along."""

    seconds: list[float] = field(default_factory=list)
    noisy_was_at_work: bool = False

    @property
    def mean_sec(self) -> float:
        """On average."""
        return statistics.fmean(self.seconds)

    @property
    def tail_sec(self) -> float:
        """Nine in ten take no longer."""
        return sorted(self.seconds)[int(len(self.seconds) * 0.9)]


class _World:
    def __init__(self, case: Case) -> None:
        self.case = case
        self.stage = Stage()
        self.queue = FairQueue(self.stage, is_fair=case.is_fair)
        self.random = Random(case.seed)
        self.played = Played()
        self._started_at: dict[str, float] = {}
        self.noisy_is_at_work = case.items_count > 0
        table, payloads = SlowTable(self.stage), MemoryPayloads()
        definitions = MemoryTable()
        entropy = SeededEntropy(case.seed)
        self._ports = Ports(
            executions=table,
            definitions=definitions,
            queue=self.queue,
            payloads=payloads,
            clock=self.stage.clock,
            entropy=entropy,
        )

    def process(self) -> Container:
        """One more process of the service."""
        registry = _Working(self.stage, self.case.action_sec, self.random)
        return assemble(Settings(storage="memory"), self._ports, registry, observe=self._saw)

    def _saw(self, _before: object, header: WorkflowExecution, _transition: object) -> None:
        if not header.state.is_completed:
            return
        assert header.state is State.SUCCESS, header.state_info
        if header.project_id == NOISY:
            self.noisy_is_at_work = False
        elif header.id in self._started_at:
            self.played.seconds.append(self.stage.clock.now() - self._started_at.pop(header.id))

    def executor(self) -> None:
        """One that takes a message, works on it, and takes the next."""
        executor = self.process().executor
        while True:
            letter = self.queue.receive()
            if letter is None:
                self.queue.wait()
                continue
            record = {
                "messageId": str(letter.number),
                "body": json.dumps(letter.body),
                "attributes": {"SentTimestamp": str(int(letter.sent_at * 1000))},
            }
            left = executor.handle_batch([record], LAMBDA_SEC)
            assert not left, letter
            self.queue.delete(letter)

    def noisy(self) -> None:
        """Somebody who starts one very large workflow."""
        if self.case.items_count:
            self._upload(NOISY, items(self.case.items_count, _WORK, self.case.concurrency)).engine.start(
                StartRequest(NOISY, "work")
            )

    def quiet(self) -> None:
        """Somebody who starts a small workflow now and then."""
        process = self._upload(QUIET, chain(1, _WORK))
        while self.case.items_count and not self.queue.has_handed_out(NOISY):
            self.stage.sleep(self.case.period_sec)
        for _ in range(self.case.quiet_runs):
            started_at = self.stage.clock.now()
            self._started_at[process.engine.start(StartRequest(QUIET, "work")).id] = started_at
            self.stage.sleep(max(0.0, started_at + self.case.period_sec - self.stage.clock.now()))

    def _upload(self, project_id: str, text: str) -> Container:
        process = self.process()
        process.definitions.create(Kind.WORKFLOW, Access(project_id), text.encode(), Placement())
        return process

    def is_over(self) -> bool:
        """Whether the quiet one has all that it wanted."""
        return len(self.played.seconds) >= self.case.quiet_runs


def play(case: Case) -> Played:
    """What the quiet tenant had to wait."""
    world = _World(case)
    for _ in range(case.executors):
        world.stage.add(world.executor)
    world.stage.add(world.noisy)
    world.stage.add(world.quiet)
    world.stage.run(world.is_over)
    world.played.noisy_was_at_work = world.noisy_is_at_work
    return world.played


def table(items_count: int, *, executors: int = 10, quiet_runs: int = 50) -> str:
    """The times of the quiet tenant's workflows, alone and beside the noisy tenant, as text."""
    alone = Case(0, executors=executors, quiet_runs=quiet_runs)
    cases = [
        ("alone", alone),
        ("beside it", replace(alone, items_count=items_count)),
        ("beside it, concurrency 1,000", replace(alone, items_count=items_count, concurrency=1000)),
        (f"beside it, concurrency {executors}", replace(alone, items_count=items_count, concurrency=executors)),
        ("in order of arrival, 1,000 items", replace(alone, items_count=1000, is_fair=False, quiet_runs=20)),
    ]
    lines = [
        f"one task of {alone.action_sec:g} s, {executors} executors; the other tenant: {items_count:,} items",
        f"{'seconds from start to end':<42}{'mean':>8}{'9 of 10':>9}{'longest':>9}{'ratio':>8}",
    ]
    mean_sec = 0.0
    for name, case in cases:
        played = play(case)
        mean_sec = mean_sec or played.mean_sec
        assert played.noisy_was_at_work or not case.is_fair or not case.items_count, "it ended too soon"
        lines.append(
            f"{name:<42}{played.mean_sec:>8.3f}{played.tail_sec:>9.3f}{max(played.seconds):>9.3f}"
            f"{played.mean_sec / mean_sec:>8.2f}"
        )
        print(lines[-1], file=sys.stderr, flush=True)
    return "\n".join(lines)
