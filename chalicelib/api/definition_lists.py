"""Lists of definitions, read no further than a page needs.

By creation and by name, which is what clients ask for, the table itself lists; any other order is made in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from chalicelib import limits
from chalicelib.api.definition_rows import RESOURCES, row_of
from chalicelib.api.http import Call
from chalicelib.api.listing import ListQuery, collection, list_query, page_of, unknown_marker
from chalicelib.data import replace
from chalicelib.errors import InputException
from chalicelib.services.definition_records import Definition, Kind, Order
from chalicelib.services.definitions import Access, Definitions
from chalicelib.vocabulary import JsonObject

ALL_PROJECTS: Final = "all_projects"
_OF_ALL_PROJECTS: Final = (Kind.WORKFLOW, Kind.CODE_SOURCE, Kind.DYNAMIC_ACTION)
# Fields that hold whole texts.
_TEXTS: Final = ("definition", "content")


def access_of(call: Call) -> Access:
    """The caller, as the services know it."""
    return Access(call.caller.project_id, call.caller.is_admin)


def flags_of(kind: Kind) -> tuple[str, ...]:
    """The arguments of a list that are no columns."""
    return (ALL_PROJECTS,) if kind in _OF_ALL_PROJECTS else ()


def list_definitions(definitions: Definitions, kind: Kind, call: Call) -> JsonObject:
    """The answer to a list of anything but actions."""
    query = list_query(call, RESOURCES[kind], flags=flags_of(kind))
    if query.fields is not None and "input" in query.fields and kind is Kind.WORKFLOW:
        query = replace(query, fields=query.fields | {"interface"})
    access = access_of(call)
    order = _stored_order(query)
    if order is None:
        found = (_light(query, row_of(record)) for record in all_definitions(definitions, kind, access, query))
        return page_of(query, found)
    after = None if query.marker is None else _marked(definitions, kind, access, query)
    name = exact_name(query) if order is Order.NAME else None
    browsed = definitions.browse(kind, access, order, descending=query.sort[0].descending, after=after, name=name)
    page, last = _page(query, browsed)
    return collection(query, page, more=last is not None, last=last)


def _page(query: ListQuery, browsed: Iterator[Definition]) -> tuple[list[JsonObject], str | None]:
    """The rows of one page, and the id to go on from, unless everything has been looked at.

    Ends early where an answer would be too large, or the search too long.
    """
    page: list[JsonObject] = []
    characters = 0
    for looked_at, record in enumerate(browsed, start=1):
        row = row_of(record)
        if query.matches(row):
            page.append(_light(query, row))
            characters += sum(len(page[-1].get(name, "")) for name in _TEXTS)
        is_full = len(page) == query.limit or characters > limits.RESPONSE_BYTES_MAX
        if is_full or looked_at == limits.DEFINITIONS_SCANNED_MAX:
            return page, record.id
    return page, None


def _light(query: ListQuery, row: JsonObject) -> JsonObject:
    """The row without its text, where nobody looks at that: a thousand texts would fill the memory."""
    unseen = [name for name in _TEXTS if not (query.wants(name) or query.filter_on(name) or query.sort[0].name == name)]
    return {name: value for name, value in row.items() if name not in unseen} if unseen else row


def _stored_order(query: ListQuery) -> Order | None:
    """The order of the table that is the one asked for, if it is one."""
    ties = [(key.name, key.descending) for key in query.sort[1:]]
    if query.sort[0].name in tuple(Order) and ties == [("id", False)]:
        return Order(query.sort[0].name)
    return None


def _marked(definitions: Definitions, kind: Kind, access: Access, query: ListQuery) -> Definition:
    if query.marker is not None:
        found = definitions.find_id(kind, access, query.marker)
        if found is not None:
            return found
    raise unknown_marker(query)


def exact_name(query: ListQuery) -> str | None:
    """The name that alone is asked for, if there is such a filter."""
    asked = query.filter_on("name")
    return str(asked.operand) if asked is not None and asked.operator == "eq" else None


def all_definitions(definitions: Definitions, kind: Kind, access: Access, query: ListQuery) -> Iterator[Definition]:
    """Everything that may be on the list. Raises InputException when that is too much to be sorted."""
    # A marker may be a row that the filter drops, but it must be found among all.
    name = exact_name(query) if query.marker is None else None
    browsed = definitions.browse(kind, access, Order.CREATED_AT if name is None else Order.NAME, name=name)
    for number, record in enumerate(browsed):
        if number == limits.DEFINITIONS_SCANNED_MAX:
            raise InputException(
                f"More than {limits.DEFINITIONS_SCANNED_MAX} {query.resource.collection} can be sorted by created_at "
                "or by name only; or filter by an exact name."
            )
        yield record
