"""Policies as rules over values."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.errors import InvalidModelException
from chalicelib.limits import DELAY_MAX_SEC
from chalicelib.policies import RetryRules, boolean, number, retry_delay_sec, seconds, whole_number
from chalicelib.vocabulary import State


@pytest.mark.parametrize(("value", "expected"), [(0, 0), (7, 7), (3.0, 3)])
def test_whole_numbers_from_0_on_are_accepted(value, expected):
    assert whole_number("P", "field", value) == expected


@pytest.mark.parametrize("value", [-1, 1.5, True, "1", None, [1], float("nan"), float("inf")])
def test_anything_else_is_no_whole_number(value):
    with pytest.raises(InvalidModelException, match="Invalid data type in P"):
        whole_number("P", "field", value)


def test_delays_are_bounded():
    assert seconds("P", "delay", 10**12) == DELAY_MAX_SEC


def test_only_booleans_are_booleans():
    assert boolean("P", "expr", True) is True
    with pytest.raises(InvalidModelException, match="is not true or false"):
        boolean("P", "expr", "false")


@pytest.mark.parametrize("value", [0.5, 11, True, "1", None])
def test_a_number_stays_within_its_bounds(value):
    with pytest.raises(InvalidModelException, match="from 1 to 10"):
        number("P", "backoff", value, minimum=1, maximum=10)


def test_a_number_is_a_float():
    assert number("P", "backoff", 2, minimum=1, maximum=10) == 2.0


def delay(state=State.ERROR, retry_no=0, chance=0.0, **rules):
    return retry_delay_sec(RetryRules(**{"count": 3, "delay_sec": 4, **rules}), state, retry_no, chance=chance)


@pytest.mark.parametrize("state", [State.RUNNING, State.DELAYED, State.WAITING, State.CANCELLED])
def test_only_a_success_or_an_error_is_retried(state):
    assert delay(state, continue_on=True) is None


def test_without_count_or_with_all_retries_made_there_is_none():
    assert delay(count=0) is None
    assert delay(retry_no=3) is None
    assert delay(retry_no=2) == 4


def test_break_on_stops_errors_only():
    assert delay(break_on=True) is None
    assert delay(State.SUCCESS, break_on=True, continue_on=True) == 4


def test_continue_on_decides_for_both():
    assert delay(State.SUCCESS) is None
    assert delay(State.SUCCESS, continue_on=True) == 4
    assert delay(State.SUCCESS, continue_on=False) is None
    assert delay(State.ERROR, continue_on=False) is None


@given(
    st.integers(0, 10**7), st.floats(1, 100), st.integers(0, 10**6), st.floats(0, 1), st.floats(0, 1, exclude_max=True)
)
def test_a_delay_is_never_negative_nor_longer_than_its_bound(delay_sec, backoff, retry_no, jitter, chance):
    wait = delay(
        count=10**7,
        delay_sec=delay_sec,
        backoff=backoff,
        retry_no=retry_no,
        jitter=jitter,
        chance=chance,
        delay_max_sec=900,
    )
    assert wait is not None
    assert 0 <= wait <= 900


def test_backoff_multiplies_and_jitter_shortens():
    assert [delay(backoff=2.0, retry_no=n) for n in range(3)] == [4, 8, 16]
    assert delay(jitter=0.5, chance=0.5) == 3
