"""Texts of a request become values: numbers, words for yes and no, ids, moments, JSON. Faults name field and value."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Final, NoReturn
from uuid import UUID

from chalicelib.errors import InputException
from chalicelib.vocabulary import Json, JsonObject

_TRUE: Final = frozenset({"true", "1", "yes", "on", "t", "y"})
_FALSE: Final = frozenset({"", "false", "0", "no", "off", "f", "n"})
_SHOWN_CHARACTERS_MAX: Final = 200


def refuse(name: str, value: Json, why: str) -> NoReturn:
    """Raises InputException: the value given for a field cannot be used."""
    shown = str(value)
    shown = shown if len(shown) <= _SHOWN_CHARACTERS_MAX else shown[:_SHOWN_CHARACTERS_MAX] + "…"
    raise InputException(f"Invalid input for field/attribute {name}. Value: '{shown}'. {why}")


def to_boolean(name: str, value: Json) -> bool:
    """A flag of a query or of a body; the empty text is false."""
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower() if isinstance(value, str | int) else None
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    refuse(name, value, "Expected true or false.")


def to_integer(name: str, value: Json) -> int:
    """A whole number, or text that holds one."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    try:
        return int(value) if isinstance(value, str) else refuse(name, value, "unable to convert to int.")
    except ValueError:
        refuse(name, value, "unable to convert to int.")


def to_uuid(name: str, value: str) -> str:
    """UUID text, as it was given. Raises InputException."""
    try:
        UUID(value)
    except ValueError:
        refuse(name, value, f"unable to convert to uuid. Error: Expected a uuid but received {value[:64]}.")
    return value


def to_seconds(name: str, value: str) -> int:
    """A moment of a filter (``YYYY-MM-DD HH:MM:SS``, or with a ``T``; UTC) as whole seconds since the epoch."""
    try:
        moment = datetime.fromisoformat(value.strip())
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError):
        refuse(name, value, "Expected a moment as YYYY-MM-DD HH:MM:SS.")


def parse_json(text: str | bytes) -> Json:
    """JSON text as data. Raises ValueError, also for what Python lets pass: NaN, Infinity, boundless nesting."""
    try:
        return json.loads(text, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("the JSON is nested too deeply") from None


def to_object(name: str, value: Json) -> JsonObject:
    """A JSON object, or text that holds one; text that holds anything empty, as ``null``, is an empty one to Mistral.

    Raises InputException.
    """
    if isinstance(value, str):
        try:
            value = parse_json(value) or {}
        except ValueError as error:
            refuse(name, value, f"unable to convert to json. Error: {error}")
    if not isinstance(value, dict):
        refuse(name, value, "Expected a JSON object.")
    found: JsonObject = value
    return found


def _no_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is not JSON")
