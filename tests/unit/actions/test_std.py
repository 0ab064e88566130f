"""The small actions of ``std`` do what OpenStack Mistral's do."""

from __future__ import annotations

import pytest

from chalicelib.actions.registry import ActionContext, Registry, perform
from chalicelib.errors import ActionConstructionError, InvalidActionException
from chalicelib.vocabulary import JsonObject, Result

REGISTRY = Registry()
CONTEXT = ActionContext(action_execution_id="an-id")


def run(name: str, input: JsonObject, context: ActionContext = CONTEXT) -> Result:
    action = REGISTRY.find(name)
    assert action is not None
    return perform(action, input, context)


def pure(name: str, input: JsonObject) -> bool:
    action = REGISTRY.find(name)
    assert action is not None
    return action.is_pure(input)


def construct(name: str, input: JsonObject) -> None:
    action = REGISTRY.find(name)
    assert action is not None
    action.check(input)
    action.check_values(input)


def test_noop_returns_null_and_is_pure():
    assert run("std.noop", {}) == Result(data=None)
    assert pure("std.noop", {})


def test_echo_returns_its_output_unchanged():
    value = {"a": [1, None, {"b": "ü"}]}
    assert run("std.echo", {"output": value}).data is value


@pytest.mark.parametrize("delay", [0, -5, "0", "soon", "-1", 0.0, False])
def test_echo_with_a_delay_that_comes_to_nothing_is_pure(delay):
    assert pure("std.echo", {"output": 1, "delay": delay})
    assert run("std.echo", {"output": 1, "delay": delay}) == Result(data=1)


@pytest.mark.parametrize("delay", [3, "3", 0.1, True])
def test_echo_with_a_delay_is_not_pure(delay):
    assert not pure("std.echo", {"output": 1, "delay": delay})


@pytest.fixture
def slept(monkeypatch):
    """How long the actions have slept, in seconds; nobody really does."""
    durations: list[float] = []
    monkeypatch.setattr("chalicelib.actions.std.time.sleep", durations.append)
    return durations


def test_echo_waits_for_its_delay(slept):
    run("std.echo", {"output": 1, "delay": "0.05"})
    assert slept == [0.05]


@pytest.mark.parametrize("delay", [[1], {}, None])
def test_a_delay_that_is_no_scalar_cannot_be_constructed(delay):
    with pytest.raises(ActionConstructionError, match="float") as caught:
        construct("std.echo", {"output": 1, "delay": delay})
    assert caught.value.task_message.startswith("Failed to instantiate an action [action_desc=Action [name=std.echo]]")


def test_fail_without_data_raises_mistrals_text():
    expected = (
        "The action raised an exception [action=Fail action, action_ex_id=an-id, msg='Fail action expected exception.']"
    )
    assert run("std.fail", {}) == Result(error=expected)
    assert run("std.fail", {"error_data": {}}) == Result(error=expected)
    assert run("std.fail", {"error_data": 0}) == Result(error=expected)


def test_fail_with_data_has_that_data_as_its_error():
    assert run("std.fail", {"error_data": {"code": 7}}) == Result(error={"code": 7})
    assert pure("std.fail", {"error_data": {"code": 7}})


def test_an_exception_outside_an_execution_shows_no_id_as_none():
    error = run("std.fail", {}, ActionContext()).error
    assert "action_ex_id=None" in error


def test_async_noop_waits_for_the_outside():
    action = REGISTRY.find("std.async_noop")
    assert action is not None
    assert not action.is_sync
    assert not action.is_pure({})


@pytest.mark.parametrize("seconds", [0, -1, "x", "0.2", 0.9])
def test_sleep_takes_what_is_no_whole_number_for_nothing(slept, seconds):
    assert run("std.sleep", {"seconds": seconds}) == Result(data=None)
    assert sum(slept) == 0


def test_sleep_sleeps_whole_seconds(slept):
    assert run("std.sleep", {"seconds": "7"}) == Result(data=None)
    assert slept == [7]


def test_sleep_is_never_pure_and_says_how_long_it_takes():
    action = REGISTRY.find("std.sleep")
    assert action is not None
    assert not action.is_pure({"seconds": 0})
    assert action.duration_sec({"seconds": "7"}) == 7
    assert action.duration_sec({}) == 1


def test_a_sleep_beyond_the_executors_time_fails_at_once(slept):
    result = run("std.sleep", {"seconds": 30}, ActionContext(deadline_sec=1.0))
    assert "wait-before" in result.error
    assert slept == []


@pytest.mark.parametrize("seconds", [[1], None])
def test_seconds_that_are_no_scalar_cannot_be_constructed(seconds):
    with pytest.raises(ActionConstructionError, match="int"):
        construct("std.sleep", {"seconds": seconds})


def test_test_dict_numbers_its_keys_from_zero():
    assert run("std.test_dict", {"size": 2, "key_prefix": "k", "val": 5}) == Result(data={"k0": 5, "k1": 5})
    assert run("std.test_dict", {}) == Result(data={})
    assert run("std.test_dict", {"size": -3}) == Result(data={})


def test_test_dict_with_a_size_that_is_no_number_fails():
    error = run("std.test_dict", {"size": "2"}).error
    assert "'str' object cannot be interpreted as an integer" in error


def test_a_large_test_dict_is_not_pure_and_a_huge_one_is_refused():
    assert pure("std.test_dict", {"size": 1000})
    assert not pure("std.test_dict", {"size": 1001})
    assert "200000 at most" in run("std.test_dict", {"size": 10**12}).error


def test_wrong_names_are_all_named():
    with pytest.raises(InvalidActionException) as caught:
        construct("std.echo", {"outptu": 1, "b": 2})
    assert str(caught.value) == (
        "Invalid input [name=std.echo, class=chalicelib.actions.std.echo, "
        "missing=['output'], unexpected=['outptu', 'b']]"
    )


def test_a_null_counts_as_given():
    construct("std.echo", {"output": None})
