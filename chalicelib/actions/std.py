"""The small actions of ``std``: nothing, echo, failure, sleep, waiting for an outside answer, a test dictionary."""

from __future__ import annotations

import time

from chalicelib.actions.action import ActionContext, action
from chalicelib.errors import ActionException
from chalicelib.limits import TEST_DICT_INLINE_ITEMS_MAX, TEST_DICT_ITEMS_MAX
from chalicelib.vocabulary import Json, JsonObject, Result


@action("std.noop", pure=True)
def noop() -> Json:
    """Do nothing. The result is null."""
    return None


@action("std.async_noop", sync=False)
def async_noop() -> Json:
    """Do nothing and wait until the action execution is completed through the API."""
    return None


def _delay_sec(delay: Json) -> float:
    """Mistral's reading: text that is no number, and anything negative, is 0. ``TypeError`` for lists and objects."""
    try:
        return max(float(delay), 0.0)
    except ValueError:
        return 0.0


def _echo_delay_sec(input: JsonObject) -> float:
    try:
        return _delay_sec(input.get("delay", 0))
    except TypeError:
        return 0.0


@action(
    "std.echo",
    pure=lambda input: _echo_delay_sec(input) == 0,
    duration=_echo_delay_sec,
    construct=lambda input: _delay_sec(input.get("delay", 0)),
)
def echo(context: ActionContext, output: Json, delay: Json = 0) -> Json:
    """Return a value unchanged.

    :param output: The value.
    :param delay: Seconds to wait before; negative or not a number means 0.
    """
    _sleep(_delay_sec(delay), context)
    return output


@action("std.fail", pure=True, label="Fail action")
def fail(error_data: Json = None) -> Json:
    """Fail, always.

    :param error_data: The error value; when empty, a fixed text is raised instead.
    """
    if error_data:
        return Result(error=error_data)
    raise ActionException("Fail action expected exception.")


def _whole_seconds(seconds: Json) -> int:
    """Mistral's reading: text that is no whole number, and anything negative, is 0. ``TypeError`` for lists, null."""
    try:
        return max(int(seconds), 0)
    except ValueError:
        return 0


def _sleep_sec(input: JsonObject) -> float:
    try:
        return _whole_seconds(input.get("seconds", 1))
    except (TypeError, OverflowError):
        return 0.0


@action("std.sleep", duration=_sleep_sec, construct=lambda input: _whole_seconds(input.get("seconds", 1)))
def sleep(context: ActionContext, seconds: Json = 1) -> Json:
    """Sleep in the executor. The policies ``wait-before`` and ``wait-after`` wait without occupying one.

    :param seconds: Whole seconds; negative or not a number means 0.
    """
    _sleep(_whole_seconds(seconds), context)


@action("std.test_dict", pure=lambda input: _is_small(input.get("size", 0)))
def make_test_dict(size: int = 0, key_prefix: str = "", val: Json = "") -> Json:
    """Make a dictionary of a given size, for tests.

    :param size: How many entries.
    :param key_prefix: What the keys begin with; their number follows, from 0.
    :param val: The value of each entry.
    """
    numbers = range(size)
    if len(numbers) > TEST_DICT_ITEMS_MAX:
        raise ActionException(f"size may be {TEST_DICT_ITEMS_MAX} at most, {size} was asked for")
    return {f"{key_prefix}{number}": val for number in numbers}


def _is_small(size: Json) -> bool:
    return not isinstance(size, int) or size <= TEST_DICT_INLINE_ITEMS_MAX


def _sleep(duration_sec: float, context: ActionContext) -> None:
    """Sleep, unless the executor would be gone before the end: then fail at once and with advice."""
    if context.deadline_sec is not None and duration_sec > context.deadline_sec:
        raise ActionException(
            f"cannot sleep {duration_sec:g} s: the executor has {context.deadline_sec:g} s left. "
            "Use the policy wait-before or wait-after for long waits"
        )
    if duration_sec > 0:
        time.sleep(duration_sec)
