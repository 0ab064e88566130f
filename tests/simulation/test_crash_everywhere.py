"""Every workflow of the corpus, struck at each single call of a port.

A process dies there, before the call or after it took effect; or AWS refuses the call, or does not answer it although
it took effect. Then the process lives on: an executor makes the call again until its patience is at its end, and then
its message comes again; a client of the API asks again.
"""

import logging
from collections.abc import Iterator
from functools import cache
from random import Random
from typing import Any

import pytest
import yaml

from tests.simulation.examples import EXAMPLES
from tests.simulation.faults import REFUSALS, Fault, OneFault
from tests.simulation.outcomes import outcome
from tests.simulation.runs import bounds, check_redelivery, start, undisturbed
from tests.simulation.widening import FEATURES, features_of
from tests.simulation.workflows import CORPUS, Case, random_case
from tests.simulation.world import Circumstances, World

CALLS_MAX = 2000
# Longer workflows are struck at every so-manyth call, each beginning at another one, so that none is struck more often.
CALLS_STRUCK_MAX = 64
# Within small bounds there are many more calls.
STRIDE_WITHIN_SMALL_BOUNDS = 7
# After a refusal that outlasts an executor's patience, so many calls are refused as well.
REFUSED_AFTER = 40
CRASHES = (Fault.CRASH_BEFORE, Fault.CRASH_AFTER)
UNANSWERED = (Fault.THROTTLED, Fault.TIMED_OUT)
# Seeds of random workflows that have what no other case here has; the ends of the exact ones are compared.
EXACT_SEEDS = (121, 94, 157)
OTHER_SEEDS = (122, 102, 165)
RANDOM_CASES = {
    f"the random workflow {seed}": random_case(seed, exact=exact, is_wide=True)
    for seeds, exact in ((EXACT_SEEDS, True), (OTHER_SEEDS, False))
    for seed in seeds
}
CALLS_OF_RANDOM_CASES = 12
CASES = {**CORPUS, **EXAMPLES, **RANDOM_CASES}


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Failing actions are the daily bread here; nobody reads of them."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


class Listener(OneFault):
    """No fault: it just hears which ports are called."""

    def __init__(self) -> None:
        super().__init__(-1, Fault.NONE)
        self.heard: list[str] = []

    def at(self, call: int, operation: str) -> Fault:
        """See ``Faults``."""
        self.heard.append(operation)
        return Fault.NONE


def world_struck_by(case: Case, fault: OneFault) -> World:
    """The world of a case, not yet set going."""
    world = World(case.text, 0, Circumstances(faults=fault, clocks=1))
    start(world, case)
    return world


@cache
def expected_end(title: str, doomed: frozenset[tuple[str, str]], *, small: bool) -> dict[str, Any]:
    """How a case ends where nothing, or just the executors of these actions, die."""
    with bounds(small=small):
        return outcome(undisturbed(CASES[title], doomed))


def fault_found(title: str, fault: OneFault, *, small: bool) -> str | None:
    """What is wrong with the end of a case that one fault has struck."""
    case = CASES[title]
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
    if fault.fault in REFUSALS and not fault.refused_after and world.given_up:
        return f"{where} ({fault.struck}): an executor gave up"
    return f"{where} ({fault.struck}): {found} instead of {expected}" if case.exact and found != expected else None


@cache
def calls_of(title: str, *, small: bool) -> tuple[str, ...]:
    """The calls of the undisturbed run, the first of which is number 1."""
    listener = Listener()
    with bounds(small=small):
        world_struck_by(CASES[title], listener).run()
    assert 0 < len(listener.heard) < CALLS_MAX
    return tuple(listener.heard)


def faults_found(
    title: str,
    kinds: tuple[Fault, ...],
    *,
    small: bool = False,
    stride: int = 1,
    calls: list[int] | None = None,
    refused_after: int = 0,
) -> list[str]:
    """What goes wrong where calls of the undisturbed run are struck in each of these ways.

    An action is no call: a process may die in it, and AWS has no part in it.
    """
    heard = calls_of(title, small=small)
    stride = max(stride, -(-len(heard) // CALLS_STRUCK_MAX))
    first = 1 + list(CASES).index(title) % min(stride, len(heard))
    with bounds(small=small):
        struck = [
            fault_found(title, OneFault(call, kind, refused_after=refused_after), small=small)
            for call in calls or range(first, len(heard) + 1, stride)
            for kind in kinds
            if kind in CRASHES or heard[call - 1] != "action"
        ]
    return [text for text in struck if text]


@pytest.mark.parametrize("title", [*CORPUS, *EXAMPLES])
def test_a_crash_at_any_call_leads_to_the_same_end(title: str):
    assert faults_found(title, CRASHES) == []


@pytest.mark.parametrize("title", [*CORPUS, *EXAMPLES])
def test_a_call_that_is_refused_or_not_answered_changes_nothing(title: str):
    assert faults_found(title, UNANSWERED) == []


@pytest.mark.parametrize("title", [*CORPUS, *EXAMPLES])
def test_where_aws_refuses_for_longer_than_executors_are_patient_the_end_is_that_of_a_crash(title: str):
    assert faults_found(title, UNANSWERED, stride=5, refused_after=REFUSED_AFTER) == []


@pytest.mark.parametrize("title", [*CORPUS, *EXAMPLES])
def test_all_this_is_so_too_where_turns_come_in_waves_and_values_lie_elsewhere(title: str):
    assert faults_found(title, CRASHES + UNANSWERED, small=True, stride=STRIDE_WITHIN_SMALL_BOUNDS) == []


@pytest.mark.parametrize("title", RANDOM_CASES)
def test_it_is_so_in_workflows_that_use_the_rest_of_the_language(title: str):
    count = len(calls_of(title, small=False))
    calls = sorted(Random(title).sample(range(1, count + 1), min(count, CALLS_OF_RANDOM_CASES)))

    assert faults_found(title, CRASHES + UNANSWERED, calls=calls) == []


def test_what_is_struck_uses_every_feature_of_the_language():
    used = {feature for case in CASES.values() for feature in features_of(yaml.safe_load(case.text))}

    assert FEATURES - used == set()
