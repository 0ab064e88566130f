"""The fields of Mistral's resources: their order, their kinds, and the two ways in which they are written.

A *row* is what the services know of one object: a mapping from field names to plain values, moments as seconds since
the epoch. Rows become JSON here and nowhere else.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from enum import Enum
from functools import cached_property
from typing import Final

from chalicelib.data import dataclass
from chalicelib.engine.moment import timestamp
from chalicelib.vocabulary import Json, JsonObject

Row = Mapping[str, Json]


class Kind(Enum):
    """How a field is written and how a filter on it reads its value."""

    TEXT = "text"
    UUID = "uuid"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    DATE = "date"  # rows: seconds since the epoch (or ready text); answers: YYYY-MM-DD HH:MM:SS
    TAGS = "tags"
    JSON = "json"  # rows: data; typed answers: a string that holds JSON
    VALUE = "value"  # as JSON, but any value: null is a value too
    LIST = "list"  # data in both encodings, e.g. the members of a report


@dataclass(frozen=True, slots=True)
class Field:
    """One field.

    ``stored``: it may be filtered and sorted by. ``shown``: answers have it; else it is for filters and sorting only.
    """

    name: str
    kind: Kind = Kind.TEXT
    stored: bool = True
    shown: bool = True


@dataclass(frozen=True)
class Resource:
    """A kind of object: ``collection`` names it in paths and lists, ``title`` in errors.

    ``fields`` stand in the order of answers.
    """

    collection: str
    title: str
    fields: tuple[Field, ...]
    default_sort: str = "created_at"

    @cached_property
    def by_name(self) -> dict[str, Field]:
        """The fields by their names."""
        return {field.name: field for field in self.fields}

    @cached_property
    def shown(self) -> tuple[Field, ...]:
        """The fields of answers."""
        return tuple(field for field in self.fields if field.shown)

    @cached_property
    def stored(self) -> frozenset[str]:
        """The names that lists may be filtered and sorted by."""
        return frozenset(field.name for field in self.fields if field.stored)


def typed(resource: Resource, row: Row, fields: Collection[str] | None = None) -> JsonObject:
    """The row as Mistral's typed encoder writes it: data of JSON fields becomes a string. ``fields`` narrows it."""
    return {
        field.name: _as_typed(field.kind, row[field.name])
        for field in resource.shown
        if field.name in row and (fields is None or field.name in fields)
    }


def raw(resource: Resource, row: Row) -> JsonObject:
    """The row as Mistral's raw encoder writes it: data stays data."""
    return {field.name: _plain(field.kind, row[field.name]) for field in resource.shown if field.name in row}


def _as_typed(kind: Kind, value: Json) -> Json:
    if kind is Kind.VALUE or (kind is Kind.JSON and value is not None):
        return json.dumps(value)
    return _plain(kind, value)


def _plain(kind: Kind, value: Json) -> Json:
    if kind is Kind.DATE and isinstance(value, int | float):
        return timestamp(value)
    return value


ID: Final = Field("id")
CREATED_AT: Final = Field("created_at", Kind.DATE)
UPDATED_AT: Final = Field("updated_at", Kind.DATE)
TAGS: Final = Field("tags", Kind.TAGS)
