"""Mistral's list protocol: what a collection's query string asks for, and the answer with its ``next`` link.

``list_query`` parses and checks; ``page_of`` answers from rows in memory; a list that is read through an index uses the
parts: ``query.matches``, ``query.sort``, ``collection``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import field
from typing import Final
from urllib.parse import quote

from chalicelib import limits
from chalicelib.api.fields import Resource, Row, typed
from chalicelib.api.filters import Filter, parse_filter, plain_value
from chalicelib.api.http import Call
from chalicelib.api.sizes import wire_bytes
from chalicelib.api.values import to_integer, to_uuid
from chalicelib.data import dataclass
from chalicelib.errors import InputException, NotFoundException
from chalicelib.services.masking import covered
from chalicelib.vocabulary import Json, JsonObject

COMMON_ARGUMENTS: Final = frozenset({"marker", "limit", "sort_keys", "sort_dirs", "fields"})
_DIRECTIONS: Final = ("asc", "desc")
# Fields with values that somebody has given.
_GIVEN: Final = ("input", "params", "workflow_input", "workflow_params")


@dataclass(frozen=True, slots=True)
class SortKey:
    """One column to sort by."""

    name: str
    descending: bool = False


@dataclass(frozen=True, slots=True)
class ListQuery:
    """A list as it was asked for.

    ``fields`` ``None`` means all, ``limit`` ``None`` no limit; ``flags`` are query arguments that are no columns.
    """

    resource: Resource
    base_url: str
    sort: tuple[SortKey, ...]
    limit: int | None
    marker: str | None = None
    fields: frozenset[str] | None = None
    filters: tuple[Filter, ...] = ()
    flags: Mapping[str, str] = field(default_factory=dict)

    def matches(self, row: Row) -> bool:
        """Whether a row passes every filter."""
        return all(one.matches(row) for one in self.filters)

    def wants(self, name: str) -> bool:
        """Whether a field is to be in the answer."""
        return self.fields is None or name in self.fields

    def filter_on(self, name: str) -> Filter | None:
        """The filter on a column, if there is one."""
        return next((one for one in self.filters if one.name == name), None)


def arguments_of(resource: Resource, flags: Iterable[str] = ()) -> frozenset[str]:
    """The query arguments that a list of this resource knows: for ``Route.arguments``."""
    return COMMON_ARGUMENTS | resource.stored | frozenset(flags)


def list_query(
    call: Call, resource: Resource, *, flags: Collection[str] = (), defaults: Mapping[str, str] | None = None,
    fixed: Mapping[str, str] | None = None,
    bounded: bool = True,
) -> ListQuery:  # fmt: skip
    """Parse the query string of a collection. Raises InputException.

    ``flags``: arguments that are no filters. ``defaults``: filters that hold when the query does not say otherwise.
    ``fixed``: columns that the path of the request settles, and the value that they have then.
    ``bounded``: the limit is clamped to the deployment's greatest, which also holds when none is asked for.
    """
    given = {**(defaults or {}), **call.query}
    filters = tuple(
        parse_filter(resource.by_name[name], value)
        for name, value in given.items()
        if name not in COMMON_ARGUMENTS and name not in flags and name in resource.stored
    )
    filters += tuple(
        Filter(name, resource.by_name[name].kind, "eq", value, f"eq:{value}") for name, value in (fixed or {}).items()
    )
    return ListQuery(
        resource=resource,
        base_url=call.base_url,
        sort=_sort(resource, call.query),
        limit=_limit(call.query, call.settings.list_items_max if bounded else None),
        marker=call.query.get("marker") or None,
        fields=wanted_fields(call, resource),
        filters=filters,
        flags={name: value for name, value in call.query.items() if name in flags},
    )


def wanted_fields(call: Call, resource: Resource) -> frozenset[str] | None:
    """The fields that the ``fields`` argument names, and ``id``; ``None`` when it is absent. Raises InputException."""
    names = _words(call.query.get("fields"))
    if not names:
        return None
    known = [one.name for one in resource.shown]
    unknown = [name for name in names if name not in known]
    if unknown:
        listed, choice = ", ".join(unknown), ", ".join(known)
        raise InputException(f"Some fields do not exist  [{listed}], please choose from [{choice}]")
    return frozenset(names) | {"id"}


def page_of(
    query: ListQuery,
    rows: Iterable[Row],
    *,
    keep: Callable[[Row], bool] | None = None,
    complete: Callable[[Row], Row] | None = None,
) -> JsonObject:
    """The answer from all rows of a collection in memory (unfiltered: a marker may be a row that the filters drop).

    ``keep`` is a filter beside the query's own; ``complete`` adds to a row what only those need that are shown.
    Raises NotFoundException for an unknown marker.
    """
    everything = list(rows)
    chosen = (row for row in everything if query.matches(row) and (keep is None or keep(row)))
    found = in_order(query.sort, chosen)
    if query.marker is not None:
        marker = next((row for row in everything if row.get("id") == query.marker), None)
        if marker is None:
            raise unknown_marker(query)
        compare = _Comparison(query.sort)
        found = [row for row in found if compare(row, marker) > 0]
    page = found if query.limit is None else found[: query.limit]
    is_full = query.limit is not None and len(page) == query.limit
    return collection(query, page if complete is None else map(complete, page), more=is_full)


def ordered_page(
    query: ListQuery,
    rows: Iterable[Row],
    *,
    looked_at_max: int,
    complete: Callable[[Row], Row] | None = None,
) -> JsonObject:
    """The answer from rows that come in the order asked for, read no further than the page needs.

    A page ends early where ``looked_at_max`` rows have been looked at, and has a ``next`` link from there. ``complete``
    as in ``page_of``.
    """
    page: list[Row] = []
    last: str | None = None
    for looked_at, row in enumerate(rows, start=1):
        if query.matches(row):
            page.append(row)
        if len(page) == query.limit or looked_at == looked_at_max:
            last = row["id"]
            break
    return collection(query, page if complete is None else map(complete, page), more=last is not None, last=last)


def unknown_marker(query: ListQuery) -> Exception:
    """What a marker that names nothing deserves: 404, or 400 when it is no id at all."""
    marker = query.marker or ""
    if query.resource.default_sort == "created_at":
        to_uuid("marker", marker)
    return NotFoundException(f"{query.resource.title} not found [id={marker}]")


def collection(query: ListQuery, page: Iterable[Row], *, more: bool, last: str | None = None) -> JsonObject:
    """The answer made of one page of rows. ``more``: a ``next`` link follows, from the last row, or from ``last``.

    A page that would be too large for an answer ends early, and has a ``next`` link; rows behind its end are not made.
    """
    written: list[JsonObject] = []
    size = 0
    end: str | None = None
    for row in page:
        shown = typed(query.resource, _covered(row), query.fields)
        size += wire_bytes(json.dumps(shown))
        if written and size > limits.RESPONSE_BYTES_MAX * 3 // 4:
            more, last = True, None
            break
        written.append(shown)
        end = row["id"]
    answer: JsonObject = {query.resource.collection: written}
    end = last or end
    if more and end is not None:
        answer["next"] = next_link(query, end)
    return answer


def _covered(row: Row) -> Row:
    """A row without the secrets that somebody has given in clear; an object that is read by itself has them."""
    given = {name: covered(row[name]) for name in _GIVEN if row.get(name)}
    return {**row, **given} if given else row


def next_link(query: ListQuery, last: str) -> str:
    """The address of the page after the item ``last``."""
    arguments = [
        ("sort_keys", ",".join(key.name for key in query.sort)),
        ("sort_dirs", ",".join(_DIRECTIONS[key.descending] for key in query.sort)),
        *((one.name, one.text) for one in query.filters),
        *query.flags.items(),
        *([("limit", str(query.limit))] if query.limit is not None else []),
        ("marker", last),
    ]
    if query.fields is not None:
        arguments.append(("fields", ",".join(one.name for one in query.resource.shown if one.name in query.fields)))
    text = "&".join(f"{name}={quote(value, safe=',: ').replace(' ', '%20')}" for name, value in arguments)
    return f"{query.base_url}/v2/{query.resource.collection}?{text}"


def in_order(sort: Sequence[SortKey], rows: Iterable[Row]) -> list[Row]:
    """The rows in the order asked for. As in a database, what is absent comes first, and last when descending."""
    ordered = list(rows)
    # Sorting is stable, so the last key comes first.
    for key in reversed(sort):
        ordered.sort(key=lambda row, name=key.name: _sortable(row.get(name)), reverse=key.descending)  # type: ignore[misc]
    return ordered


class _Comparison:
    """Compares two rows by all sort keys: negative, zero or positive."""

    def __init__(self, sort: Sequence[SortKey]) -> None:
        self._sort = sort

    def __call__(self, one: Row, other: Row) -> int:
        for key in self._sort:
            left, right = _sortable(one.get(key.name)), _sortable(other.get(key.name))
            if left != right:
                return (1 if left > right else -1) * (-1 if key.descending else 1)
        return 0


def _sortable(value: Json) -> tuple[int, Json]:
    if value is None:
        return (0, "")
    if isinstance(value, bool | int | float):
        return (1, value)
    return (2, plain_value(value))


def _sort(resource: Resource, query: Mapping[str, str]) -> tuple[SortKey, ...]:
    keys = _words(query.get("sort_keys")) or [resource.default_sort]
    directions = _words(query.get("sort_dirs"), unique=False)
    if any(direction not in _DIRECTIONS for direction in directions):
        raise InputException("Unknown sort direction, must be 'desc' or 'asc'.")
    if len(directions) > len(keys):
        raise InputException("Length of sort_keys must be equal or greater than sort_dirs.")
    unknown = [key for key in keys if key not in resource.stored]
    if unknown:
        choice = ", ".join(sorted(resource.stored))
        raise InputException(f"Cannot sort by {', '.join(unknown)}; please choose from [{choice}]")
    directions += ["asc"] * (len(keys) - len(directions))
    sort = [SortKey(key, direction == "desc") for key, direction in zip(keys, directions, strict=True)]
    if "id" not in keys:
        sort.append(SortKey("id"))
    return tuple(sort)


def _limit(query: Mapping[str, str], greatest: int | None) -> int | None:
    if not query.get("limit"):
        return greatest
    limit = to_integer("limit", query["limit"])
    if limit <= 0:
        raise InputException("Limit must be positive.")
    return limit if greatest is None else min(limit, greatest)


def _words(text: str | None, *, unique: bool = True) -> list[str]:
    words = [word.strip().lower() for word in (text or "").split(",") if word.strip()]
    return list(dict.fromkeys(words)) if unique else words
