"""Thousands of cron-triggers due in the same minute: what the clock door and the executors do about it, counted."""

from __future__ import annotations

import time
from dataclasses import dataclass
from math import ceil

from benchmarks.workloads import PROJECT, World, chain
from chalicelib.engine.identity import derived_execution_id
from chalicelib.local.meter import Counts
from chalicelib.services.cron_options import CronOptions
from chalicelib.services.definitions import Access
from chalicelib.services.trigger_records import CronTrigger
from chalicelib.services.triggers import CronRequest

TRIGGERS = 5000
PATTERN = "0 * * * *"
# How long before the hour the clock comes; anything under a minute is the same.
LEAD_SEC = 30.0
# A request to DynamoDB or SQS inside a region, on average; for the estimate of how many executors are needed.
REQUEST_SEC = 0.010
MINUTE_SEC = 60.0


@dataclass(frozen=True, slots=True)
class Result:
    """What such a minute cost; ``seconds`` is how long one process took to fire all of them, in memory."""

    triggers: int
    started: int
    ahead: Counts
    firing: Counts
    seconds: float

    @property
    def requests_each(self) -> float:
        """Requests of the executors per trigger."""
        return self.firing.requests.total() / self.triggers

    @property
    def executors(self) -> int:
        """How many executors, one message at a time each, start all of them within the minute."""
        return ceil(self.triggers * self.requests_each * REQUEST_SEC / MINUTE_SEC)


def measure(count: int, options: CronOptions | None = None) -> Result:
    """Let so many triggers fall due at once, and count until all have fired."""
    world = World()
    world.upload(chain(1, "std.noop"))
    triggers = [_created(world, number, options or CronOptions()) for number in range(count)]
    due_at = triggers[0].due_at
    world.clock.set(due_at - LEAD_SEC)
    before = world.meter.counts()
    world.executor.clock_door.tick()
    ahead = world.meter.counts().minus(before)
    world.clock.set(due_at)
    before, began = world.meter.counts(), time.perf_counter()
    world.drain()
    seconds = time.perf_counter() - began
    firing = world.meter.counts().minus(before)
    ids = (derived_execution_id("cron_trigger", trigger.id, f"{due_at:.3f}") for trigger in triggers)
    started = sum(world.api.executions.header(identifier) is not None for identifier in ids)
    return Result(count, started, ahead, firing, seconds)


def _created(world: World, number: int, options: CronOptions) -> CronTrigger:
    request = CronRequest(
        name=f"c{number}",
        workflow="work",
        workflow_input={},
        workflow_params={},
        pattern=PATTERN,
        options=options,
    )
    return world.api.triggers.create_cron(Access(PROJECT), request)


def table(count: int = TRIGGERS) -> str:
    """The lines of docs/benchmarks.md."""
    found = measure(count)
    ahead, firing = found.ahead, found.firing
    rows = [
        ("started", f"{found.started:,} of {found.triggers:,}", ""),
        ("clock: messages", f"{ahead.messages_sent:,}", f"{ahead.messages_sent / count:.2f}"),
        ("clock: requests", f"{ahead.requests.total():,}", f"{ahead.requests.total() / count:.2f}"),
        ("executors: requests", f"{firing.requests.total():,}", f"{found.requests_each:.2f}"),
        ("executors: write units", f"{firing.write_units:,.0f}", f"{firing.write_units / count:.2f}"),
        ("executors: read units", f"{firing.read_units:,.0f}", f"{firing.read_units / count:.2f}"),
        (f"executors needed at {REQUEST_SEC * 1000:.0f} ms a request", f"{found.executors}", ""),
        ("one process in memory, seconds", f"{found.seconds:.1f}", f"{found.seconds / count:.4f}"),
    ]
    head = f"{f'{count:,} cron triggers due at once':42}{'all':>16}{'each':>10}"
    return "\n".join([head, *(f"{name:42}{whole:>16}{each:>10}" for name, whole, each in rows)])
