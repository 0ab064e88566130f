"""How large an answer is for Lambda, and what is done with one that is too large.

Lambda gives out JSON in which the body is a string, so every quote and backslash of the body counts twice.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

from chalicelib import limits
from chalicelib.vocabulary import Json, JsonObject

# What tells which object it is; short, and never left out.
_KEPT: Final = frozenset({"id", "name", "state", "next"})


def wire_bytes(text: str) -> int:
    """The bytes of a text of JSON (hence ASCII) inside another JSON string."""
    return len(text) + text.count('"') + text.count("\\")


def fits(text: str) -> bool:
    """Whether an answer can be given directly."""
    return wire_bytes(text) <= limits.RESPONSE_BYTES_MAX


def shortened(body: Json) -> tuple[Json, list[str]]:
    """An object, or a list of them, without the longest fields, as few as make the rest fit; and their names."""
    sizes = [(wire_bytes(json.dumps(one[name])), at, name) for at, one in enumerate(_objects(body)) for name in one]
    excess = sum(size for size, _, _ in sizes) - limits.RESPONSE_BYTES_MAX * 3 // 4
    left_out: dict[int, set[str]] = {}
    for size, at, name in sorted(sizes, reverse=True):
        if excess > 0 and name not in _KEPT:
            left_out.setdefault(at, set()).add(name)
            excess -= size
    remaining = [
        {name: value for name, value in one.items() if name not in left_out.get(at, ())}
        for at, one in enumerate(_objects(body))
    ]
    names = sorted(set().union(*left_out.values()))
    return _with_objects(body, remaining), names


def _collection(body: Json) -> str | None:
    """Under which name a body lists objects, if it does."""
    if isinstance(body, dict):
        return next((name for name, value in body.items() if isinstance(value, list) and name not in _SINGLE), None)
    return None


_SINGLE: Final = frozenset({"tags"})


def _objects(body: Json) -> Iterator[JsonObject]:
    name = _collection(body)
    if name is not None:
        yield from body[name]
    elif isinstance(body, dict):
        yield body


def _with_objects(body: Json, objects: list[JsonObject]) -> Json:
    name = _collection(body)
    if name is not None:
        return {**body, name: objects}
    return objects[0] if objects else body
