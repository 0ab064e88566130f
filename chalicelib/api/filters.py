"""Filters of lists: ``column=value`` or ``column=<operator>:value``, as in SQL: what is absent matches nothing."""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Mapping
from typing import Any, Final

from chalicelib.api.fields import Field, Kind, Row
from chalicelib.api.values import to_boolean, to_integer, to_object, to_seconds, to_uuid
from chalicelib.data import dataclass
from chalicelib.vocabulary import Json

_COMPARE: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "eq": operator.eq,
    "neq": operator.ne,
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}
_MEMBERSHIP: Final = ("in", "nin")
_OPERATORS: Final = (*_COMPARE, *_MEMBERSHIP, "has")


@dataclass(frozen=True, slots=True)
class Filter:
    """A condition on one column.

    ``operand`` is a value of the column's kind, for in and nin a tuple of them; ``text`` repeats it in links.
    """

    name: str
    kind: Kind
    operator: str
    operand: Json
    text: str

    def matches(self, row: Row) -> bool:
        """Whether the row fulfils it."""
        value = row.get(self.name)
        if value is None:
            return False
        if self.kind is Kind.TAGS:
            return set(self.operand) <= set(value)
        if self.kind is Kind.JSON:
            return bool(value == self.operand)
        if self.operator == "has":
            return str(self.operand) in plain_value(value)
        value = _comparable(self.kind, value)
        if self.operator in _MEMBERSHIP:
            return (value in self.operand) is (self.operator == "in")
        return _COMPARE[self.operator](value, self.operand)


def parse_filter(column: Field, text: str) -> Filter:
    """The filter that a query argument stands for. Raises InputException for a value the column cannot hold."""
    if column.kind is Kind.TAGS:
        tags = tuple(tag.strip() for tag in text.split(",") if tag.strip())
        return Filter(column.name, column.kind, "has", tags, text)
    if column.kind is Kind.JSON:
        return Filter(column.name, column.kind, "eq", to_object(column.name, text), text)
    name, operand = _split(text)
    if column.kind in (Kind.UUID, Kind.BOOLEAN):
        value = _value(column, operand)
        return Filter(column.name, column.kind, "eq", value, f"eq:{operand}")
    if name in _MEMBERSHIP:
        values = tuple(_value(column, one) for one in operand.split(","))
        return Filter(column.name, column.kind, name, values, f"{name}:{operand}")
    value = operand if name == "has" else _value(column, operand)
    return Filter(column.name, column.kind, name, value, f"{name}:{operand}")


def plain_value(value: Json) -> str:
    """A value as a text column would hold it."""
    return value if isinstance(value, str) else json.dumps(value)


def _split(text: str) -> tuple[str, str]:
    name, colon, operand = text.partition(":")
    return (name, operand) if colon and name in _OPERATORS else ("eq", text)


def _value(column: Field, text: str) -> Json:
    match column.kind:
        case Kind.UUID:
            return to_uuid(column.name, text)
        case Kind.BOOLEAN:
            return to_boolean(column.name, text)
        case Kind.INTEGER:
            return to_integer(column.name, text)
        case Kind.DATE:
            return to_seconds(column.name, text)
        case _:
            return text


def _comparable(kind: Kind, value: Json) -> Json:
    """A row's value as operands are held: moments as whole seconds, since that is what answers show."""
    match kind:
        case Kind.DATE:
            return int(value) if isinstance(value, int | float) else to_seconds("date", value)
        case Kind.BOOLEAN | Kind.INTEGER:
            return value
        case _:
            return plain_value(value)
