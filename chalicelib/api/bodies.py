"""JSON bodies of requests: checked attribute by attribute, once, at the edge."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from chalicelib.api.http import Call
from chalicelib.api.values import parse_json, refuse, to_boolean, to_integer, to_object
from chalicelib.data import dataclass
from chalicelib.errors import InputException
from chalicelib.vocabulary import Json, JsonObject

# What a body may not set, unless an endpoint says otherwise.
READ_ONLY: Final = frozenset({"project_id"})


@dataclass(frozen=True, slots=True)
class Attributes:
    """The attributes of a JSON object. ``null`` counts as not given, except for ``is_given``."""

    values: Mapping[str, Json]

    def is_given(self, name: str) -> bool:
        """Whether the attribute is in the body at all, be it ``null``."""
        return name in self.values

    def text(self, name: str) -> str | None:
        """A text, or ``None`` when it is not given. Raises InputException for anything but text."""
        value = self.values.get(name)
        if value is not None and not isinstance(value, str):
            refuse(name, value, "Expected text.")
        return value

    def required_text(self, name: str) -> str:
        """A text that must be there and not be empty. Raises InputException."""
        value = self.text(name)
        if not value:
            raise InputException(f"Mandatory field missing: {name}")
        return value

    def object(self, name: str) -> JsonObject | None:
        """A JSON object, or text that holds one; ``None`` when it is not given. Raises InputException."""
        value = self.values.get(name)
        is_null = value is None or (isinstance(value, str) and value.strip() == "null")
        return None if is_null else to_object(name, value)

    def boolean(self, name: str) -> bool | None:
        """A flag, or ``None`` when it is not given. Raises InputException."""
        value = self.values.get(name)
        return None if value is None else to_boolean(name, value)

    def integer(self, name: str) -> int | None:
        """A whole number, or ``None`` when it is not given. Raises InputException."""
        value = self.values.get(name)
        return None if value is None else to_integer(name, value)


def read_attributes(
    call: Call, argument: str, known: Collection[str], read_only: Collection[str] = READ_ONLY
) -> Attributes:
    """The JSON object in the body of a request; ``argument`` names it in errors.

    Raises InputException when there is none, when it is no JSON, and for attributes that are unknown or read-only.
    """
    if not call.body.strip():
        raise InputException(f'Missing argument: "{argument}"')
    try:
        values = parse_json(call.body)
    except ValueError as error:
        raise InputException(f"Request is not in valid JSON format: {error}") from error
    if not isinstance(values, dict):
        raise InputException(f"The request body is not a JSON object but {type(values).__name__}.")
    for name, value in values.items():
        if name in read_only:
            refuse(name, value, "Cannot set read only field.")
        if name not in known:
            raise InputException(f"Unknown attribute for argument {argument}: {name}")
    return Attributes(values)
