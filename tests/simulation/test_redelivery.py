"""A message that comes again brings back what its dead process owed: nobody waits for an alarm."""

import logging
from collections.abc import Iterator
from unittest.mock import patch

import pytest

from tests.simulation import ports
from tests.simulation.faults import Fault, OneFault
from tests.simulation.runs import start
from tests.simulation.workflows import CORPUS
from tests.simulation.world import Circumstances, World

# Longer than an executor lives, and shorter than it takes to an alarm.
VISIBILITY_SEC = 150.0
TITLES = ["a chain of real actions", "a fork and its join", "items, three at most at once", "sub-workflows"]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Failing actions are the daily bread here; nobody reads of them."""
    logging.disable(logging.CRITICAL)
    with patch.dict(ports.VISIBILITY_SEC, tasks=VISIBILITY_SEC):
        yield
    logging.disable(logging.NOTSET)


class DeadExecutors(OneFault):
    """One fault, if it strikes an executor: the API has no message that comes again, and its client asks again."""

    world: World

    def at(self, call: int, operation: str) -> Fault:
        """See ``Faults``."""
        door = self.world._current
        assert door is not None
        return super().at(call, operation) if door.process.kind == "executor" else Fault.NONE


def alarms(title: str, fault: DeadExecutors) -> tuple[int, int]:
    """How many alarms, and how many calls, it takes until a case with one fault stands still."""
    rung = 0

    def tick(world: World, alarm_at: float, act=World._tick) -> None:
        nonlocal rung
        rung += 1
        act(world, alarm_at)

    with patch.object(World, "_tick", tick):
        world = World(CORPUS[title].text, 0, Circumstances(faults=fault, clocks=1))
        fault.world = world
        start(world, CORPUS[title])
        world.run()
    return rung, world.port_calls


@pytest.mark.parametrize("title", TITLES)
def test_what_a_dead_executor_owed_is_found_when_its_message_comes_again(title: str):
    rung, calls = alarms(title, DeadExecutors(-1, Fault.NONE))
    assert rung == 0

    needed = [
        (call, fault.struck)
        for call in range(1, calls + 1)
        for fault in [DeadExecutors(call, Fault.CRASH_AFTER)]
        if alarms(title, fault)[0]
    ]

    assert needed == []
