"""Every workflow of the corpus, with a process dying at every single call of a port: before it, and after it took effect."""

import pytest

from tests.simulation.faults import Fault, OneFault
from tests.simulation.outcomes import outcome
from tests.simulation.runs import bounds, check_redelivery, start, undisturbed
from tests.simulation.workflows import CORPUS, Case
from tests.simulation.world import Circumstances, World

CALLS_MAX = 2000


def end_after(case: Case, fault: OneFault) -> World:
    """The world of a case at its end, struck by one fault."""
    world = World(case.text, 0, Circumstances(faults=fault))
    start(world, case)
    world.run()
    return world


def difference(case: Case, fault: OneFault) -> str | None:
    """What is wrong with the end of a case that one fault has struck."""
    try:
        world = end_after(case, fault)
        expected = outcome(undisturbed(case, frozenset(world.watcher.deaths())))
        found = outcome(world)
        check_redelivery(world)
    except AssertionError as error:
        return f"{fault.fault} at call {fault.call} ({fault.struck}): {error}"
    if case.exact and found != expected:
        return f"{fault.fault} at call {fault.call} ({fault.struck}): {found} instead of {expected}"
    return None


def faults_everywhere(case: Case) -> list[OneFault]:
    """Every call that the undisturbed run makes, struck in each way."""
    calls = undisturbed(case).port_calls
    assert 0 < calls < CALLS_MAX
    kinds = (Fault.CRASH_BEFORE, Fault.CRASH_AFTER)
    return [OneFault(call, kind) for call in range(1, calls + 1) for kind in kinds]


@pytest.mark.parametrize("title", CORPUS)
def test_a_crash_at_any_call_leads_to_the_same_end(title: str):
    case = CORPUS[title]

    found = [difference(case, fault) for fault in faults_everywhere(case)]

    assert [text for text in found if text] == []


@pytest.mark.parametrize("title", CORPUS)
def test_a_crash_at_any_call_leads_to_the_same_end_also_within_small_bounds(title: str):
    case = CORPUS[title]

    with bounds(small=True):
        found = [difference(case, fault) for fault in faults_everywhere(case)]

    assert [text for text in found if text] == []
