"""Some of the crashes at the requests of the real adapters; ``python -m tests.simulation.moto`` knows more."""

import logging
from collections.abc import Iterator

import pytest

from tests.simulation.moto import Trouble, emulator, problem_with

CHAIN = "a chain of real actions"


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """What goes wrong is meant to."""
    logging.disable(logging.CRITICAL)
    with emulator():
        yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("at", range(1, 8))
def test_a_request_that_took_effect_though_its_answer_got_lost_is_no_lost_race(at: int):
    assert problem_with(CHAIN, Trouble.TIMEOUT_AFTER, at, small=False) is None


@pytest.mark.parametrize("trouble", [Trouble.CRASH_BEFORE, Trouble.CRASH_AFTER, Trouble.THROTTLE])
def test_trouble_with_a_request_leads_to_the_same_end(trouble: Trouble):
    assert problem_with("items, three at most at once", trouble, 9, small=True) is None
