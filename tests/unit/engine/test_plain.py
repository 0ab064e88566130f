"""Values become plain JSON before they are kept."""

import datetime
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.engine.plain import plain, plain_result
from chalicelib.errors import SizeLimitExceededException
from chalicelib.limits import VALUE_DEPTH_MAX
from chalicelib.vocabulary import Json, Result, State

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON)
def test_plain_json_is_not_even_copied(value):
    assert plain(value) is value
    result = Result(data=value)
    assert plain_result(result) is result


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ((1, (2,)), [1, [2]]),
        ({1: "a", None: "b", 2.5: "c", (1, 2): "d"}, {"1": "a", "null": "b", "2.5": "c", "[1, 2]": "d"}),
        ({True: "a"}, {"true": "a"}),
        ([datetime.datetime(2020, 1, 2, tzinfo=datetime.UTC)], ["2020-01-02T00:00:00.000000"]),
        ({"d": datetime.date(2020, 1, 2)}, {"d": "2020-01-02"}),
        ([{3, 1, 2}], [[1, 2, 3]]),
        (iter([1, {2: 3}]), [1, {"2": 3}]),
        (State.ERROR, "ERROR"),
        ([b"text"], ["text"]),
        ({State.ERROR: 1}, {"ERROR": 1}),
    ],
)
def test_what_is_not_json_becomes_json(value, expected):
    made = plain(value)
    assert made == expected
    assert json.loads(json.dumps(made)) == made


def test_the_kind_of_a_result_stays():
    assert plain_result(Result(error=(1,))) == Result(error=[1])
    assert plain_result(Result(error=(1,), cancel=True)) == Result(error=[1], cancel=True)
    assert plain_result(Result(data=(1,))) == Result(data=[1])


@pytest.mark.parametrize("leaf", [1, (1,)])
def test_what_is_nested_too_deep_is_refused(leaf):
    value = leaf
    for _ in range(VALUE_DEPTH_MAX - 2):
        value = [value]
    plain(value)
    with pytest.raises(SizeLimitExceededException, match="nested deeper"):
        plain([[[value]]])


def test_what_only_turns_out_to_be_nested_too_deep_is_refused_too():
    value: Json = (1,)
    for _ in range(VALUE_DEPTH_MAX):
        value = (value,)
    with pytest.raises(SizeLimitExceededException, match="nested deeper"):
        plain(value)
