"""Every workflow of the corpus, with a process dying at each single call of a port: before it, and after it."""

import logging
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from tests.simulation.faults import Fault, OneFault
from tests.simulation.outcomes import outcome
from tests.simulation.runs import bounds, check_redelivery, start, undisturbed
from tests.simulation.workflows import CORPUS, Case
from tests.simulation.world import Circumstances, World

CALLS_MAX = 2000
# Within small bounds there are many more calls: every so-manyth is struck, each workflow beginning at another one.
STRIDE_WITHIN_SMALL_BOUNDS = 7


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Failing actions are the daily bread here; nobody reads of them."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def world_struck_by(case: Case, fault: OneFault) -> World:
    """The world of a case, not yet set going."""
    world = World(case.text, 0, Circumstances(faults=fault, clocks=1))
    start(world, case)
    return world


@cache
def expected_end(title: str, doomed: frozenset[tuple[str, str]], *, small: bool) -> dict[str, Any]:
    """How a case ends where nothing, or just the executors of these actions, die."""
    with bounds(small=small):
        return outcome(undisturbed(CORPUS[title], doomed))


def fault_found(title: str, fault: OneFault, *, small: bool) -> str | None:
    """What is wrong with the end of a case that one fault has struck."""
    case = CORPUS[title]
    where = f"{fault.fault} at call {fault.call}"
    world = world_struck_by(case, fault)
    try:
        world.run()
        found = outcome(world)
        expected = expected_end(title, frozenset(world.watcher.deaths()), small=small)
        check_redelivery(world)
    except AssertionError as error:
        return f"{where} ({fault.struck}): {error}"
    assert fault.struck, f"there is no call {fault.call}"
    return f"{where} ({fault.struck}): {found} instead of {expected}" if case.exact and found != expected else None


def faults_found(title: str, *, small: bool, first: int = 1, stride: int = 1) -> list[str]:
    """What goes wrong where the calls of the undisturbed run are struck, each in both ways."""
    with bounds(small=small):
        whole = world_struck_by(CORPUS[title], OneFault(-1, Fault.NONE))
        whole.run()
        assert 0 < whole.port_calls < CALLS_MAX
        struck = [
            fault_found(title, OneFault(call, kind), small=small)
            for call in range(first, whole.port_calls + 1, stride)
            for kind in (Fault.CRASH_BEFORE, Fault.CRASH_AFTER)
        ]
    return [text for text in struck if text]


@pytest.mark.parametrize("title", CORPUS)
def test_a_crash_at_any_call_leads_to_the_same_end(title: str):
    assert faults_found(title, small=False) == []


@pytest.mark.parametrize("title", CORPUS)
def test_a_crash_leads_to_the_same_end_also_where_turns_come_in_waves_and_values_lie_elsewhere(title: str):
    first = 1 + list(CORPUS).index(title) % STRIDE_WITHIN_SMALL_BOUNDS

    assert faults_found(title, small=True, first=first, stride=STRIDE_WITHIN_SMALL_BOUNDS) == []
