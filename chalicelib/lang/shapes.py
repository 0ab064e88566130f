"""What a value may look like: the words in which ``grammar`` writes the language's tables.

A shape does two things: it checks a value, telling every fault with its path, and it says itself as JSON Schema. Tables
made of shapes are therefore at once the checker and the published schema. Nothing here knows a key of the language.
"""

# ruff: noqa: D102 - the protocol says once what admits, check and schema mean

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import field
from difflib import get_close_matches
from typing import Final, Protocol, TypeGuard

from chalicelib.data import dataclass
from chalicelib.lang.inline import is_expression
from chalicelib.lang.loader import CoercedText, Path
from chalicelib.vocabulary import Json, JsonObject

Report = Callable[[Path, str], None]

_SHOWN_CHARACTERS_MAX: Final = 60
_WORD: Final = re.compile(r"\w+")


class Shape(Protocol):
    """Something a value can fit."""

    def admits(self, value: Json) -> bool:
        """Whether the value is of the JSON type that this shape is about."""

    def check(self, value: Json, path: Path, report: Report) -> None:
        """Tell every fault of the value."""

    def schema(self) -> JsonObject:
        """The shape as JSON Schema, draft 2020-12."""


def did_you_mean(word: str, known: Iterable[str], opening: str = "; did") -> str:
    """A suggestion to append to a message, or nothing if no known word is close."""
    close = get_close_matches(word, [name for name in known if name != word], n=1, cutoff=0.7)
    return f"{opening} you mean '{close[0]}'?" if close else ""


def shown(value: Json) -> str:
    """A value as a message shows it: short, and as JSON spells it."""
    text = json.dumps(value, default=str, ensure_ascii=False) if not isinstance(value, str) else f"'{value}'"
    return text if len(text) <= _SHOWN_CHARACTERS_MAX else text[: _SHOWN_CHARACTERS_MAX - 1] + "…"


def is_text(value: Json) -> TypeGuard[str]:
    """Whether the author wrote text (and not a date or a number that YAML took for something else)."""
    return isinstance(value, str) and not isinstance(value, CoercedText)


@dataclass(frozen=True, slots=True)
class Anything:
    """Any JSON value, null included."""

    def admits(self, value: Json) -> bool:
        return not isinstance(value, CoercedText)

    def check(self, value: Json, path: Path, report: Report) -> None:
        if not self.admits(value):
            report(path, f"{value.written} is a YAML date; quote it")

    def schema(self) -> JsonObject:
        return {}


@dataclass(frozen=True, slots=True)
class Text:
    """Non-empty text."""

    def admits(self, value: Json) -> bool:
        return is_text(value)

    def check(self, value: Json, path: Path, report: Report) -> None:
        if not is_text(value):
            report(path, f"{shown(value)} is not of type 'string'{_quote_hint(value)}")
        elif not value:
            report(path, "'' should be non-empty")

    def schema(self) -> JsonObject:
        return {"type": "string", "minLength": 1}


@dataclass(frozen=True, slots=True)
class Words:
    """One of a few words."""

    words: tuple[str, ...]

    def admits(self, value: Json) -> bool:
        return is_text(value)

    def check(self, value: Json, path: Path, report: Report) -> None:
        if value not in self.words or not is_text(value):
            hint = did_you_mean(value, self.words) if isinstance(value, str) else ""
            report(path, f"{shown(value)} is not one of {list(self.words)}{hint}")

    def schema(self) -> JsonObject:
        return {"enum": list(self.words)}


@dataclass(frozen=True, slots=True)
class Number:
    """A number within bounds; ``whole`` asks for an integer, as which ``1.0`` counts too."""

    minimum: float = 0
    maximum: float | None = None
    whole: bool = False

    def admits(self, value: Json) -> bool:
        return isinstance(value, (int, float)) and not isinstance(value, bool)

    def check(self, value: Json, path: Path, report: Report) -> None:
        kind = "integer" if self.whole else "number"
        if not self.admits(value) or (self.whole and value != int(value)):
            report(path, f"{shown(value)} is not of type '{kind}'")
        elif value < self.minimum:
            report(path, f"{shown(value)} is less than the minimum of {self.minimum}")
        elif self.maximum is not None and value > self.maximum:
            report(path, f"{shown(value)} is greater than the maximum of {self.maximum}")

    def schema(self) -> JsonObject:
        schema: JsonObject = {"type": "integer" if self.whole else "number", "minimum": self.minimum}
        return schema if self.maximum is None else {**schema, "maximum": self.maximum}


@dataclass(frozen=True, slots=True)
class Boolean:
    """A YAML boolean."""

    def admits(self, value: Json) -> bool:
        return isinstance(value, bool)

    def check(self, value: Json, path: Path, report: Report) -> None:
        if not self.admits(value):
            report(path, f"{shown(value)} is not of type 'boolean'")

    def schema(self) -> JsonObject:
        return {"type": "boolean"}


@dataclass(frozen=True, slots=True)
class Expression:
    """Text that begins with the delimiter of an expression and ends with it."""

    def admits(self, value: Json) -> bool:
        return is_text(value)

    def check(self, value: Json, path: Path, report: Report) -> None:
        if not is_expression(value):
            report(
                path, f"{shown(value)} is not an expression; write <% ... %> or {{{{ ... }}}}{_expression_hint(value)}"
            )

    def schema(self) -> JsonObject:
        return {"type": "string", "pattern": r"^(<%.*?%>|\{\{.*?\}\})\s*$"}


@dataclass(frozen=True, slots=True)
class Either:
    """One of several shapes, told apart by the JSON type of the value."""

    shapes: tuple[Shape, ...]
    expected: str

    def admits(self, value: Json) -> bool:
        return any(shape.admits(value) for shape in self.shapes)

    def check(self, value: Json, path: Path, report: Report) -> None:
        for shape in self.shapes:
            if shape.admits(value) and not (isinstance(shape, Expression) and not is_expression(value)):
                shape.check(value, path, report)
                return
        report(path, f"{shown(value)} is not valid here; expected {self.expected}{_quote_hint(value)}")

    def schema(self) -> JsonObject:
        return {"anyOf": [shape.schema() for shape in self.shapes]}


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list with at least one item, all different."""

    item: Shape

    def admits(self, value: Json) -> bool:
        return isinstance(value, list)

    def check(self, value: Json, path: Path, report: Report) -> None:
        if not isinstance(value, list):
            report(path, f"{shown(value)} is not of type 'array'")
            return
        if not value:
            report(path, "[] should be non-empty")
        seen: set[str] = set()
        for index, item in enumerate(value):
            self.item.check(item, (*path, index), report)
            key = json.dumps(_canonical(item), sort_keys=True)
            if key in seen:
                report((*path, index), f"{shown(item)} has non-unique elements: it is listed twice")
            seen.add(key)

    def schema(self) -> JsonObject:
        return {"type": "array", "items": self.item.schema(), "minItems": 1, "uniqueItems": True}


@dataclass(frozen=True, slots=True)
class MapOf:
    """A dictionary with at least one key, whose keys the author chooses.

    Such keys are texts, and so are the values of a YAML date's place. ``exactly_one`` asks for a single key.
    """

    value: Shape = field(default_factory=Anything)
    exactly_one: bool = False

    def admits(self, value: Json) -> bool:
        return isinstance(value, dict)

    def check(self, value: Json, path: Path, report: Report) -> None:
        if not isinstance(value, dict):
            report(path, f"{shown(value)} is not of type 'object'; write `key: value` lines below it")
            return
        if not value:
            report(path, "{} should be non-empty")
        if self.exactly_one and len(value) > 1:
            report(path, f"{shown(value)} has too many keys; write one `key: value` for each item of the list")
        for key, item in value.items():
            check_key(key, (*path, key), report)
            if _WORD.fullmatch(key):
                self.value.check(item, (*path, key), report)

    def schema(self) -> JsonObject:
        schema: JsonObject = {"type": "object", "minProperties": 1}
        if self.exactly_one:
            schema["maxProperties"] = 1
        item = self.value.schema()
        return {**schema, "patternProperties": {r"^\w+$": item}} if item else schema


@dataclass(frozen=True, slots=True)
class Keyed:
    """A dictionary whose keys the language chooses.

    ``is_open`` lets unknown keys pass, ``elsewhere`` says of known keys why they have no place here, and ``injected``
    keys are overwritten by the parser and therefore never looked at.
    """

    keys: Mapping[str, Shape]
    required: tuple[str, ...] = ()
    is_open: bool = False
    injected: frozenset[str] = frozenset()
    elsewhere: Mapping[str, str] = field(default_factory=dict)

    def admits(self, value: Json) -> bool:
        return isinstance(value, dict)

    def check(self, value: Json, path: Path, report: Report) -> None:
        if not isinstance(value, dict):
            report(path, f"{shown(value)} is not of type 'object'; write `key: value` lines below it")
            return
        for key, item in value.items():
            if key in self.injected:
                continue
            if isinstance(key, CoercedText):
                check_key(key, (*path, key), report)
            elif key in self.keys:
                self.keys[key].check(item, (*path, key), report)
            elif not self.is_open:
                report((*path, key), self._unknown(key))
        for key in self.required:
            if key not in value:
                close = [name for name in get_close_matches(key, list(value), n=1) if name not in self.keys]
                hint = f"; '{close[0]}' is unknown, did you mean '{key}'?" if close else ""
                report(path, f"'{key}' is a required property{hint}")

    def schema(self) -> JsonObject:
        schema: JsonObject = {
            "type": "object",
            "properties": {key: shape.schema() for key, shape in self.keys.items()},
        }
        for name in sorted(self.injected - self.keys.keys()):
            schema["properties"][name] = {}
        if self.required:
            schema["required"] = list(self.required)
        if not self.is_open:
            schema["additionalProperties"] = False
        return schema

    def _unknown(self, key: str) -> str:
        reason = self.elsewhere.get(key)
        if reason is not None:
            return f"Additional properties are not allowed ('{key}' was unexpected): {reason}"
        return f"Additional properties are not allowed ('{key}' was unexpected){did_you_mean(key, self.keys)}"


def check_key(key: str, path: Path, report: Report) -> None:
    """Tell that a key is not text: YAML reads ``1``, ``yes`` and ``on`` as something else."""
    if isinstance(key, CoercedText):
        report(path, f"the key {key.written} is not of type 'string' in YAML; quote it")


def _canonical(value: Json) -> Json:
    """The same for numbers that are equal in JSON, and still different for 1 and true."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: _canonical(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    return value


def _quote_hint(value: Json) -> str:
    return "; quote it" if isinstance(value, (bool, int, float, CoercedText)) else ""


def _expression_hint(value: Json) -> str:
    return " from the first character on" if is_text(value) and ("<%" in value or "{{" in value) else ""
