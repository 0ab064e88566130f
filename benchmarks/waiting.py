"""What waiting costs: an execution that waits for a person for ninety days, every wake-up counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from benchmarks.workloads import World
from chalicelib.engine.events import ActionCompleted
from chalicelib.local import prices
from chalicelib.local.estimate import TURN_COMPUTE_SEC
from chalicelib.local.meter import Counts
from chalicelib.vocabulary import Result, State

DAYS: Final = 90
_DAY_SEC: Final = 24 * 3600
_MINUTE_SEC: Final = 60
_TEXT: Final = """version: '2.0'
work:
  tasks:
    approve:
      action: std.async_noop
"""


@dataclass(frozen=True, slots=True)
class Waited:
    """What it cost, the visits of the clock door that found it included, and how often it was woken."""

    counts: Counts
    wake_ups: int

    @property
    def dollars(self) -> float:
        """At list prices."""
        return prices.cost_of(self.counts)


def measure(days: int = DAYS) -> Waited:
    """Start, wait for so many days, be answered and end. Raises AssertionError if it does not succeed."""
    world = World()
    world.upload(_TEXT)
    before = world.meter.counts()
    header = world.start()
    world.drain()
    ends_at = world.clock.now() + days * _DAY_SEC
    wake_ups = 0
    while True:
        found = world.api.executions.header(header.id)
        assert found is not None
        assert found.wake_at is not None
        rings_at = (found.wake_at // _MINUTE_SEC + 1) * _MINUTE_SEC
        if rings_at > ends_at:
            break
        world.clock.set(rings_at)
        world.api.clock_door.tick()
        world.drain()
        wake_ups += 1
    world.clock.set(ends_at)
    world.api.engine.handle(header.id, ActionCompleted(1, 0, Result(data={"approved": True})))
    ended = world.api.executions.header(header.id)
    assert ended is not None
    assert ended.state is State.SUCCESS
    counts = world.meter.counts().minus(before)
    # The clock's visits are counted as if it had come for this one alone.
    counts.invocations = 2 + wake_ups + int(counts.messages_sent)
    counts.compute_sec = counts.invocations * TURN_COMPUTE_SEC
    return Waited(counts, wake_ups)


def table() -> str:
    """The cost of waiting as text."""
    waited = measure()
    counts = waited.counts
    lines = [
        ("wake-ups", f"{waited.wake_ups}"),
        ("messages", f"{counts.messages_sent}"),
        ("write units", f"{counts.write_units:.0f}"),
        ("read units", f"{counts.read_units:.0f}"),
        ("dollars", f"{waited.dollars:.4f}"),
    ]
    head = f"waiting {DAYS} days for a person"
    return "\n".join([head, *(f"  {name:<12}{value:>10}" for name, value in lines)])
