"""Values as they will be read again: plain JSON, before they enter a record.

Expressions and actions may give dates, sets, tuples, iterators or numbers as keys. Stored and read again they are text,
lists and text, so they are made so at once: a process that remembers and one that has read see the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from chalicelib.errors import SizeLimitExceededException
from chalicelib.expressions.plain import to_plain
from chalicelib.limits import VALUE_DEPTH_MAX
from chalicelib.vocabulary import Json, Result

_SCALARS: Final = frozenset({str, int, float, bool, type(None)})


def plain(value: Json) -> Json:
    """The value as plain JSON data; the very same object if it is that already.

    Raises SizeLimitExceededException if nested too deep.
    """
    return value if _is_plain(value, 0) else _made_plain(value, 0)


def plain_result(result: Result) -> Result:
    """The result of an action with its value as plain JSON data. Raises SizeLimitExceededException."""
    data, error = plain(result.data), plain(result.error)
    if data is result.data and error is result.error:
        return result
    return Result(data=data, error=error, cancel=result.cancel)


def _is_plain(value: Json, depth: int) -> bool:
    kind = type(value)
    if kind in _SCALARS:
        return True
    if depth >= VALUE_DEPTH_MAX:
        raise SizeLimitExceededException(f"A value is nested deeper than {VALUE_DEPTH_MAX} levels.")
    if kind is dict:
        return all(type(key) is str for key in value) and _is_plain(list(value.values()), depth)
    # Members are told apart here: most are scalars, and a call for each would cost more than the look.
    return kind is list and all(type(member) in _SCALARS or _is_plain(member, depth + 1) for member in value)


def _made_plain(value: Json, depth: int) -> Json:
    if depth >= VALUE_DEPTH_MAX:
        raise SizeLimitExceededException(f"A value is nested deeper than {VALUE_DEPTH_MAX} levels.")
    if isinstance(value, Mapping):
        return {_key_text(key): _made_plain(member, depth + 1) for key, member in value.items()}
    if not isinstance(value, (list, tuple)):
        value = to_plain(value)
    if isinstance(value, list | tuple):
        return [_made_plain(member, depth + 1) for member in value]
    return value


def _key_text(key: Any) -> str:
    """A key as JSON writes it."""
    if isinstance(key, str):
        return str(key)
    return json.dumps(key) if isinstance(key, (bool, int, float, type(None))) else str(to_plain(key))
