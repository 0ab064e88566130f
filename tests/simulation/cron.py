"""Cron-triggers through a thousand days: two clock doors at once, crashes, lost and doubled messages, days of outage.

One seed decides everything. Time passes only here, and jumps over the minutes in which nothing is due.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

from chalicelib.actions.registry import Registry
from chalicelib.adapters.memory import ManualClock, MemoryPayloads, MemoryQueue, MemoryTable, SeededEntropy
from chalicelib.engine.identity import derived_execution_id
from chalicelib.services.cron_options import CronOptions, Overlap
from chalicelib.services.definition_records import Kind
from chalicelib.services.definition_rules import Access, Placement
from chalicelib.services.ports import Put, Write
from chalicelib.services.time_zones import local_time
from chalicelib.services.trigger_records import CronTrigger, TriggerKind
from chalicelib.services.triggers import CronRequest
from chalicelib.settings import Settings
from chalicelib.vocabulary import State
from chalicelib.wiring import Container, Ports, assemble
from tests.unit.services.baton import Baton, Crash, Runner, Turns

# At a time of day at which nothing is due in the half hour that follows.
BEGIN = datetime(2024, 1, 1, 13, 35, tzinfo=UTC).timestamp()
DAY = 86_400.0
PROJECT = Access("mine")
EXECUTOR_SEC = 110.0
OUTAGE_MAX_SEC = 1.5 * DAY
LATE_MAX_SEC = 12 * 60


@dataclass(frozen=True)
class Case:
    """A trigger, and what its pattern means in other words: minutes, hours, and days that fit."""

    name: str
    pattern: str
    minute: int
    hours: tuple[int, ...] | None  # None: every hour, whenever the clock shows it
    is_day: Callable[[datetime], bool]
    options: CronOptions = field(default_factory=CronOptions)

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.options.time_zone or "UTC")

    @property
    def loses_nothing(self) -> bool:
        return self.options.catch_up_sec > 0


def caught_up(zone: str, **others: Any) -> CronOptions:
    return CronOptions(time_zone=zone, catch_up_sec=int(2 * OUTAGE_MAX_SEC), **others)


CASES = (
    Case("plain", "0 9 * * 1,4", 0, (9,), lambda day: day.weekday() in (0, 3)),
    Case("berlin", "30 2 * * *", 30, (2,), lambda _: True, caught_up("Europe/Berlin")),
    Case("new_york", "30 1,2 * * 0", 30, (1, 2), lambda day: day.weekday() == 6, caught_up("America/New_York")),
    Case("lord_howe", "15 2 * * 0", 15, (2,), lambda day: day.weekday() == 6, caught_up("Australia/Lord_Howe")),
    Case(
        "sundays",
        "30 * * 3,10 0",
        30,
        None,
        lambda day: day.weekday() == 6 and day.month in (3, 10),
        caught_up("Europe/Berlin"),
    ),
    Case(
        "spread",
        "0 6 * * 3",
        0,
        (6,),
        lambda day: day.weekday() == 2,
        caught_up("Asia/Kolkata", jitter_sec=600),
    ),
    Case("queued", "0 */6 1 * *", 0, (0, 6, 12, 18), lambda day: day.day == 1, caught_up("UTC", overlap=Overlap.QUEUE)),
    Case("leap", "0 0 29 2 *", 0, (0,), lambda day: (day.month, day.day) == (2, 29)),
)


def due_times(case: Case, begin: float, end: float) -> list[float]:
    """When a case is due, by looking at its clock on every day."""
    found: set[float] = set()
    day = datetime.fromtimestamp(begin - DAY, UTC).replace(tzinfo=None, hour=0, minute=0, second=0)
    last = datetime.fromtimestamp(end + DAY, UTC).replace(tzinfo=None)
    while day <= last:
        if case.is_day(day):
            for hour in range(24) if case.hours is None else case.hours:
                found.update(_instants(case, day + timedelta(hours=hour, minutes=case.minute)))
        day += timedelta(days=1)
    return sorted(at for at in found if begin < at <= end)


def _instants(case: Case, wall: datetime) -> Iterator[float]:
    first, second = (wall.replace(tzinfo=case.zone, fold=fold).timestamp() for fold in (0, 1))
    if _shows(case, first) == wall:
        yield first
        if case.hours is None:
            yield second
    elif case.hours is not None:
        # Skipped: the first minute at which the clock is beyond it.
        at = min(first, second) - 60
        while _shows(case, at) < wall:
            at += 60
        yield at


def _shows(case: Case, instant: float) -> datetime:
    return local_time(instant, case.options.time_zone).replace(tzinfo=None)


class Alone(Turns):
    """Nobody else is there to wait for."""

    def wait(self, number: int) -> None:
        """Go on."""


class Executions(MemoryTable):
    """The table of executions, which remembers all that there ever were."""

    def __init__(self) -> None:
        super().__init__()
        self.ever: set[str] = set()

    def write(self, writes: Sequence[Write]) -> None:
        super().write(writes)
        self.ever.update(write.item.partition for write in writes if isinstance(write, Put))


class Lambda:
    """A process that may be called again until it has died."""

    def __init__(self, world: "CronWorld", number: int) -> None:
        self.runner = Runner(number, Alone(), world.random)
        guard = self.runner.guard
        ports = world.ports
        guarded = replace(
            ports,
            executions=guard(ports.executions),
            definitions=guard(ports.definitions),
            queue=guard(ports.queue),
            entropy=SeededEntropy(world.random.randrange(2**32)),
        )
        self.container: Container = assemble(world.settings, guarded, world.registry)


class PatientClock(ManualClock):
    def pause(self, seconds: float) -> None:
        """No time passes."""


class CronWorld:
    """The triggers, their doors, and everything that goes wrong."""

    def __init__(self, seed: int, days: int) -> None:
        self.random = Random(seed)
        self.end = BEGIN + days * DAY
        self.clock = PatientClock(BEGIN)
        self.queue = MemoryQueue(self.clock)
        self.executions = Executions()
        self.ports = Ports(
            self.executions,
            MemoryTable(),
            self.queue,
            MemoryPayloads(),
            self.clock,
            SeededEntropy(seed),
        )
        self.settings = Settings(storage="memory")
        self.registry = Registry()
        self.quiet = assemble(self.settings, self.ports, self.registry)
        self.doors = [Lambda(self, 0), Lambda(self, 1)]
        self.triggers = {case.name: self._made(case) for case in CASES}
        self.outages: list[tuple[float, float]] = []
        self.crashes = self.lost = self.doubled = 0

    def _made(self, case: Case) -> CronTrigger:
        body = f"version: '2.0'\n{case.name}: {{tasks: {{t: {{action: std.noop}}}}}}\n".encode()
        self.quiet.definitions.create(Kind.WORKFLOW, PROJECT, body, Placement())
        request = CronRequest(
            name=case.name,
            workflow=case.name,
            workflow_input={},
            workflow_params={},
            pattern=case.pattern,
            options=case.options,
        )
        return self.quiet.triggers.create_cron(PROJECT, request)

    # -- time

    def run(self) -> None:
        """Live through all the days."""
        while (wake_at := self._next_wake()) is not None and wake_at <= self.end:
            if self.random.random() < 0.004:
                length = self.random.random() * OUTAGE_MAX_SEC
                self.outages.append((self.clock.now(), wake_at + length))
                self.clock.set(max(self.clock.now(), wake_at + length))
            else:
                self.clock.set(max(self.clock.now(), wake_at - self.random.random() * 60))
            self._minutes_around(wake_at)
        self.clock.set(max(self.clock.now(), self.end))
        self._settle()

    def _next_wake(self) -> float | None:
        found = self.quiet.triggers.browse(TriggerKind.CRON, PROJECT)
        moments = [trigger.wake_at for trigger in found if isinstance(trigger, CronTrigger)]
        return min((moment for moment in moments if moment is not None), default=None)

    def _minutes_around(self, wake_at: float) -> None:
        """The clock comes every minute, in two Lambdas, until the time has passed."""
        for _ in range(3):
            self._tick()
            self._deliver_until(self.clock.now() + 60)
            if self.clock.now() > wake_at + 60:
                break

    def _settle(self) -> None:
        """What crashes have left undone, the alarms of executions find; nothing crashes any more."""
        for _ in range(3):
            self.clock.advance(700)
            self.quiet.clock_door.tick()
            for received in self.queue.receive(messages_max=10_000):
                self._handle(received, self.quiet)

    # -- doors

    def _tick(self) -> None:
        both = self.random.random() < 0.1
        works = [self._work(door, lambda made: made.clock_door.tick()) for door in self.doors]
        if both:
            baton = Baton(self.random)
            baton.run(*(self._in_turns(door, work) for door, work in zip(self.doors, works, strict=True)))
        else:
            for work in works:
                work()
        self._replace_the_dead()

    def _work(self, door: Lambda, act: Callable[[Container], Any]) -> Callable[[], None]:
        def work() -> None:
            door.runner.calls_left = self.random.randrange(60) if self.random.random() < 0.08 else None
            try:
                act(door.container)
            except Crash:
                self.crashes += 1
                door.runner.calls_left = -1

        return work

    @staticmethod
    def _in_turns(door: Lambda, work: Callable[[], None]) -> Callable[[Runner], None]:
        def run(runner: Runner) -> None:
            door.runner.joins(runner)
            try:
                work()
            finally:
                door.runner.leaves()

        return run

    def _replace_the_dead(self) -> None:
        self.doors = [
            Lambda(self, number) if door.runner.calls_left == -1 else door for number, door in enumerate(self.doors)
        ]

    def _deliver_until(self, until: float) -> None:
        while (at := self.queue.next_visible_at("tasks")) is not None and at <= until:
            self.clock.set(max(at, self.clock.now()))
            for received in self.queue.receive(messages_max=5, visibility_sec=30):
                luck = self.random.random()
                if luck < 0.08:
                    self.lost += 1
                    self.queue.delete(received)
                    continue
                door = self.random.choice(self.doors)
                self._work(door, partial(self._handle, received, keep=luck > 0.92))()
                self._replace_the_dead()
        self.clock.set(max(until, self.clock.now()))

    def _handle(self, received: Any, container: Container, *, keep: bool = False) -> None:
        record = {"messageId": received.message_id, "body": json.dumps(received.body), "attributes": {}}
        failed = container.executor.handle_batch([record], EXECUTOR_SEC)
        if keep and received.receive_count < 3:
            self.doubled += 1
        elif not failed:
            self.queue.delete(received)

    # -- what has come of it

    def started(self, case: Case) -> dict[str, float]:
        """The executions of a case, with the moments when they started."""
        found = (self.quiet.executions.header(identifier) for identifier in sorted(self.executions.ever))
        headers = [header for header in found if header is not None and header.workflow_name == case.name]
        assert all(header.state is State.SUCCESS for header in headers)
        return {header.id: header.created_at for header in headers}

    def check(self, case: Case) -> int:
        """Each due time has its one execution, in time; nothing else has. How many there were."""
        trigger = self.triggers[case.name]
        expected = due_times(case, BEGIN, self.end)
        ids = {derived_execution_id("cron_trigger", trigger.id, f"{at:.3f}"): at for at in expected}
        started = self.started(case)
        assert started.keys() <= ids.keys(), f"{case.name} started what was not due"
        missing = [at for identifier, at in ids.items() if identifier not in started]
        if case.loses_nothing:
            assert missing == [], f"{case.name} lost {[local_time(at, None) for at in missing[:3]]}"
        assert all(self._is_excused(case, at) for at in missing), f"{case.name} lost {missing[:3]} without an outage"
        for identifier, created_at in started.items():
            late_sec = created_at - ids[identifier]
            assert late_sec >= 0, f"{case.name} fired early"
            slack_sec = LATE_MAX_SEC + case.options.jitter_sec
            assert late_sec <= slack_sec or self._is_excused(case, ids[identifier]), (
                f"{case.name} was {late_sec} s late"
            )
        return len(started)

    def _is_excused(self, case: Case, due_at: float) -> bool:
        put_off = due_at + case.options.jitter_sec
        return any(begin <= put_off and due_at <= end for begin, end in self.outages)
