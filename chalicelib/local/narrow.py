"""Which items of an emulated table one query has to look at: those of its partition or index value, up to its limit.

moto's own query then runs on this small view, so its results, its paging and its errors stay its own. Works on moto's
tables by their attributes alone; whatever it does not know (keys that are not text, legacy filters) it leaves whole.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

_INDEX: Final = "_entries_by_index_value"

_COMPARISONS: Final[dict[str, Callable[[str, list[str]], bool]]] = {
    "=": lambda value, operands: value == operands[0],
    "<": lambda value, operands: value < operands[0],
    "<=": lambda value, operands: value <= operands[0],
    ">": lambda value, operands: value > operands[0],
    ">=": lambda value, operands: value >= operands[0],
    "BETWEEN": lambda value, operands: operands[0] <= value <= operands[1],
    "BEGINS_WITH": lambda value, operands: value.startswith(operands[0]),
}


class _Entries:
    """Items by the value of each index's hash attribute; made at the first query of an index, then kept up to date."""

    def __init__(self, table: Any) -> None:
        self.attributes = {
            key["AttributeName"] for index in table.all_indexes() for key in index.schema if key["KeyType"] == "HASH"
        }
        self.items: dict[tuple[str, Any], dict[tuple[Any, Any], Any]] = {}
        self.places: dict[tuple[Any, Any], list[tuple[str, Any]]] = {}
        for item in table.all_items():
            self.record(item)

    def record(self, item: Any) -> None:
        address = (item.hash_key, item.range_key)
        self.forget(address)
        places = [(name, item.attrs[name].value) for name in self.attributes if name in item.attrs]
        for place in places:
            self.items.setdefault(place, {})[address] = item
        if places:
            self.places[address] = places

    def forget(self, address: tuple[Any, Any]) -> None:
        for place in self.places.pop(address, ()):
            del self.items[place][address]
            if not self.items[place]:
                del self.items[place]


def record_entry(table: Any, item: Any) -> None:
    """An item was written."""
    if _INDEX in table.__dict__:
        table.__dict__[_INDEX].record(item)


def forget_entry(table: Any, hash_key: Any, range_key: Any) -> None:
    """An item was, or is about to be, removed."""
    if _INDEX in table.__dict__:
        table.__dict__[_INDEX].forget((hash_key, range_key))


@dataclass(frozen=True, slots=True)
class Asked:
    """One query as moto has parsed it; ``conditions`` are what its method takes by name."""

    hash_key: Any
    comparison: str | None
    operands: list[Any]
    limit: int | None
    start: dict[str, Any] | None
    forward: bool
    index_name: str | None
    conditions: dict[str, Any]

    @property
    def is_plain(self) -> bool:
        """Whether everything asked is understood here."""
        known = {"hash_key_conditions", "range_key_conditions"}
        return set(self.conditions) <= known and (self.comparison is None or self.comparison in _COMPARISONS)


def narrowed_items(table: Any, asked: Asked) -> dict[Any, Any]:
    """A substitute for ``table.items`` that gives the same answer to this query, ending one item beyond the limit."""
    index = next((index for index in table.all_indexes() if index.name == asked.index_name), None)
    if asked.index_name and (index is None or len(index.schema) > 2 or not asked.conditions.get("hash_key_conditions")):
        return dict(table.items)
    candidates = list(_of_index(table, index, asked) if index else _of_partition(table, asked.hash_key))
    range_attribute = _range_attribute(table, index)
    order = [name for name in (range_attribute, *(table.table_key_attrs if index else ())) if name]
    if not asked.is_plain or not order or not all(_is_text(item, name) for item in candidates for name in order):
        return _by_key(candidates)

    def place(item: Any) -> tuple[str, ...]:
        return tuple(item.attrs[name].value for name in order)

    if asked.comparison:
        compare, operands = _COMPARISONS[asked.comparison], [operand.value for operand in asked.operands]
        candidates = [item for item in candidates if compare(item.attrs[range_attribute].value, operands)]
    if asked.start:
        start = tuple(asked.start.get(name, {}).get("S", "") for name in order)
        candidates = [item for item in candidates if (place(item) > start) is asked.forward and place(item) != start]
    if asked.limit and len(candidates) > asked.limit + 1:
        first = heapq.nsmallest if asked.forward else heapq.nlargest
        candidates = first(asked.limit + 1, candidates, key=place)
    return _by_key(candidates)


def _is_text(item: Any, name: str) -> bool:
    return name in item.attrs and item.attrs[name].type == "S"


def _of_partition(table: Any, hash_key: Any) -> Iterable[Any]:
    if hash_key not in table.items:
        return ()
    found = table.items[hash_key]
    return found.values() if table.has_range_key else (found,)


def _of_index(table: Any, index: Any, asked: Asked) -> Iterable[Any]:
    if _INDEX not in table.__dict__:
        table.__dict__[_INDEX] = _Entries(table)
    name, value = asked.conditions["hash_key_conditions"][0]
    entries: dict[Any, Any] = table.__dict__[_INDEX].items.get((name, value.value), {})
    needed = index.schema_key_attrs
    return (item for item in entries.values() if all(attribute in item.attrs for attribute in needed))


def _range_attribute(table: Any, index: Any) -> str | None:
    if index is None:
        name: str | None = table.range_key_attr
        return name
    return next((key["AttributeName"] for key in index.schema if key["KeyType"] == "RANGE"), None)


def _by_key(items: Iterable[Any]) -> dict[Any, Any]:
    result: dict[Any, Any] = {}
    for item in items:
        if item.range_key is None:
            result[item.hash_key] = item
        else:
            result.setdefault(item.hash_key, {})[item.range_key] = item
    return result
