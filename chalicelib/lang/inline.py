"""Inline syntax: ``std.echo output='x'``, ``fail msg='no'``, ``count=3 delay=1`` and ``item in <% $.items %>``.

Mistral reads parameters by searching a string for ``key=value`` with a short list of what a value may look like, and
passes over whatever does not match in silence. That is kept, since definitions rely on it; ``leftovers`` finds what was
passed over, so that an author can be told.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Final

from chalicelib import limits
from chalicelib.errors import InvalidModelException
from chalicelib.vocabulary import Json, JsonObject

YAQL: Final = r"<%.*?%>"
JINJA: Final = r"{{.*?}}"

_NAME: Final = re.compile(rf"[\w\.]+[^=\(\s\"]*|{YAQL}|{{{{.*}}}}|{{%.*%}}")
# What a value may look like, in the order in which Mistral tries: brackets are greedy, numbers are digits only.
_VALUES: Final = (r'"[^"]*"', r"'[^']*'", JINJA, YAQL, r"\[.*\]", "true", "false", "null", r"\d+")
# A word that is no parameter is consumed too: searching for a parameter from each of its letters would be quadratic.
_WORD: Final = re.compile(rf"([-_\w]++)(?:=({'|'.join(_VALUES)}))?")
_LEFTOVER: Final = re.compile(r"(?<![-_\w.])[-_\w.]++\s*=(?!=)\s*\S*")
_WITH_ITEMS: Final = re.compile(rf"\s*([\w\d_\-]+)\s*in\s*(\[.+\]|{JINJA}|{YAQL})")
_EXPRESSION: Final = re.compile(rf"^(?:{YAQL}|{JINJA})\s*$")


def is_expression(value: Json) -> bool:
    """Whether a value is text that begins and ends as an expression does; so ``<% a %> and <% b %>`` passes."""
    return isinstance(value, str) and _EXPRESSION.search(value) is not None


def has_expression(text: str) -> bool:
    """Whether an expression may be anywhere in a text: cheap, and never wrong when it says no."""
    return "<%" in text or "{{" in text or "{%" in text


def parse_command(text: str) -> tuple[str, JsonObject]:
    """The name and the inline parameters of ``name key=value ...``; a text without a space is a name.

    Raises InvalidModelException if no name can be read at the beginning.
    """
    if " " not in text:
        return text, {}
    if len(text) > limits.INLINE_CHARACTERS_MAX:
        raise InvalidModelException(
            f"an inline text may have {limits.INLINE_CHARACTERS_MAX} characters, this one has {len(text)}; use 'input'"
        )
    name = _NAME.match(text)
    if name is None:
        raise InvalidModelException(
            f"Invalid action/workflow task property: {text!r} does not begin with a name or an expression"
        )
    return name.group(), {match[1]: _value(match[2]) for match in _parameters(text)}


def leftovers(text: str) -> tuple[str, ...]:
    """The pieces of an inline text that look like parameters but are dropped, or cut short, when it is read."""
    if " " not in text or len(text) > limits.INLINE_CHARACTERS_MAX:
        return ()
    lost: list[str] = []
    rest: list[str] = []
    begin = 0
    for match in _parameters(text):
        follows = re.match(r"[^\s,;)]\S*", text[match.end() :])
        precedes = text[: match.start()].endswith(".")
        if follows is not None or precedes or _swallows(match[2]):
            lost.append(match.group() + (follows.group() if follows else ""))
        rest.append(text[begin : match.start()])
        begin = match.end()
    rest.append(text[begin:])
    for piece in rest:
        lost.extend(found.group() for found in _LEFTOVER.finditer(re.sub(YAQL, "", piece)))
    return tuple(lost)


def parse_with_items(element: str) -> tuple[str, Json]:
    """The variable and the items (a list, or an expression) of ``var in items``.

    Raises InvalidModelException if the element does not read so, or if a literal list is not JSON.
    """
    match = _WITH_ITEMS.match(element)
    if match is None:
        raise InvalidModelException(
            f"Wrong format of 'with-items' property: {element!r}; write `var in <% $.items %>` or `var in [1, 2]`"
        )
    variable, items = match[1], match[2]
    if not items.startswith("["):
        return variable, items
    try:
        return variable, _json(items)
    except (ValueError, RecursionError) as error:
        raise InvalidModelException(
            f"Invalid array in 'with-items' clause: {items}, error: {error}; a literal list is JSON, with double quotes"
        ) from error


def with_items_source(element: str) -> str:
    """The text after ``in``, whose expressions are checked as they stand; empty if it does not read so."""
    match = _WITH_ITEMS.match(element)
    return match[2] if match is not None else ""


def deep_merge(left: JsonObject, right: JsonObject) -> JsonObject:
    """``right`` over ``left``, dictionary by dictionary; neither is changed."""
    merged = dict(left)
    for key, value in right.items():
        present = merged.get(key)
        merged[key] = deep_merge(present, value) if isinstance(present, dict) and isinstance(value, dict) else value
    return merged


def _value(raw: str) -> Json:
    text = raw.strip()
    if text[0] in "\"'":
        return text[1:-1]
    try:
        return _json(text)
    except (ValueError, RecursionError):
        return text


def _json(text: str) -> Json:
    return json.loads(text, parse_constant=_refuse_constant)


def _refuse_constant(name: str) -> Json:
    raise ValueError(f"{name} has no place in JSON")


def _parameters(text: str) -> Iterator[re.Match[str]]:
    return (match for match in _WORD.finditer(text) if match[2] is not None)


def _swallows(value: str) -> bool:
    """Whether a bracketed value reaches over further parameters (``[1] b=[2]`` is one value)."""
    return value.startswith("[") and re.search(r"\]\s+[-_\w]+=", value) is not None
