"""The list of all actions in three parts: what people wrote, the methods of OpenStack's clients, the ``aws.*``.

A list begins with the ad-hoc, dynamic, built-in and plugged-in actions, whatever it is sorted by: people look for
these. Then come OpenStack's, sorted likewise; a page that is full before does not import their clients. The ``aws.*``
are some twenty thousand, and reading them all takes longer than a request may: they come last, in the order of their
names. Without ``limit`` all others are listed, and as many of these as make a thousand; the link ``next`` leads on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Final

from chalicelib import limits
from chalicelib.actions.action import ActionSummary
from chalicelib.actions.registry import AWS_PREFIX, OPENSTACK_NAMESPACES, Registry
from chalicelib.api.definition_lists import access_of, all_definitions, exact_name
from chalicelib.api.definition_rows import ACTIONS, dynamic_row, registered_row, row_of, shown_action
from chalicelib.api.http import Call
from chalicelib.api.listing import ListQuery, collection, in_order, list_query
from chalicelib.errors import NotFoundException
from chalicelib.services.definition_records import Kind
from chalicelib.services.definitions import Definitions
from chalicelib.vocabulary import JsonObject

# Of a generated action everything but these two is known without reading the model of its service.
_IN_MODEL: Final = ("input", "description")
# And so many of these are looked at that it is done by itself.
_NAMES: Final = ("name", "id")
_READ_MIN: Final = 20
_READ_MAX: Final = 200


def list_actions(definitions: Definitions, registry: Registry, call: Call) -> JsonObject:
    """The answer to a list of actions. Raises InputException, NotFoundException for an unknown marker."""
    query = list_query(call, ACTIONS, defaults={"namespace": ""}, bounded=False)
    rows, generated_marker = _others(definitions, registry, call, query)
    if query.limit is not None and len(rows) >= query.limit:
        return collection(query, rows[: query.limit], more=True)
    room = (limits.LIST_ITEMS_MAX if query.limit is None else query.limit) - len(rows)
    if room <= 0:
        return collection(query, rows, more=True)
    generated, last = _generated(registry, query, generated_marker, room)
    return collection(query, rows + generated, more=last is not None, last=last)


def _others(
    definitions: Definitions, registry: Registry, call: Call, query: ListQuery
) -> tuple[list[JsonObject], str | None]:
    """The rows behind the marker but the ``aws.*``, as far as a page needs them; the marker if it is one of those."""
    written = _behind(query.marker, query, _written(definitions, registry, call, query))
    if written is not None:
        is_full = query.limit is not None and len(written) >= query.limit
        follow = () if is_full or not _may_match(query) else _openstack(registry, exact_name(query))
        return written + (_behind(None, query, follow) or []), None
    others = _behind(query.marker, query, _openstack(registry, query.marker))
    if others is not None:
        return others, None
    if query.marker is not None and query.marker.startswith(AWS_PREFIX) and registry.find(query.marker) is not None:
        return [], query.marker
    raise NotFoundException(f"Action not found [name={query.marker}]; a marker is the name or id of an action.")


def _written(definitions: Definitions, registry: Registry, call: Call, query: ListQuery) -> Iterator[JsonObject]:
    """The actions that somebody wrote as such: users, developers of packages, and we."""
    for record in all_definitions(definitions, Kind.ACTION, access_of(call), query):
        yield row_of(record)
    for record, action in definitions.code_sources.usable_actions(access_of(call)):
        yield dynamic_row(record, action)
    yield from map(registered_row, registry.hand_made())


def _openstack(registry: Registry, sought: str | None) -> Iterable[JsonObject]:
    """The methods of OpenStack's clients; none, and no import of a client, when the one name sought is no such name."""
    if sought is not None and sought.partition(".")[0] not in OPENSTACK_NAMESPACES:
        return ()
    return map(registered_row, registry.of_openstack())


def _behind(marker: str | None, query: ListQuery, unordered: Iterable[JsonObject]) -> list[JsonObject] | None:
    """The rows of one part behind its marker, as many as a page has; ``None`` if the marker is not among them."""
    ordered = in_order(query.sort, unordered)
    if marker is not None:
        places = [at for at, row in enumerate(ordered) if marker in (row["id"], row["name"])]
        if not places:
            return None
        ordered = ordered[places[-1] + 1 :]
    return list(islice((shown_action(dict(row)) for row in ordered if query.matches(row)), query.limit))


def _generated(
    registry: Registry, query: ListQuery, after: str | None, room: int
) -> tuple[list[JsonObject], str | None]:
    """Up to ``room`` rows behind a name, and from where to go on, unless all have been looked at."""
    rows: list[JsonObject] = []
    walk = islice(_walk(registry, query, after, room), limits.AWS_ACTIONS_LISTED_MAX)
    for looked_at, summary in enumerate(walk, start=1):
        row = registered_row(summary)
        if query.matches(row):
            rows.append(shown_action(row))
        if len(rows) == room or looked_at == limits.AWS_ACTIONS_LISTED_MAX:
            return rows, summary.name
    return rows, None


def _walk(registry: Registry, query: ListQuery, after: str | None, room: int) -> Iterator[ActionSummary]:
    """The generated actions behind a name, as far as their names can match, read when they are asked for."""
    if not _may_match(query):
        return
    if query.sort[0].name == "name" and query.sort[0].descending:
        yield from _walk_back(registry, query, after)
        return
    prefix = exact_name(query) or AWS_PREFIX
    count = min(max(room, _READ_MIN), _READ_MAX)
    by_name = _by_name(query)
    while prefix.startswith(AWS_PREFIX):
        page = registry.page(after=after, limit=count, prefix=prefix, matches=by_name)
        yield from page
        if len(page) < count:
            return
        after = page[-1].name


def _walk_back(registry: Registry, query: ListQuery, before: str | None) -> Iterator[ActionSummary]:
    names: list[str] = []

    def note(name: str) -> bool:
        names.append(name)
        return False

    registry.page(prefix=AWS_PREFIX, matches=note)
    by_name = _by_name(query)
    for name in reversed(names):
        if (before is None or name < before) and by_name(name):
            found = registry.find(name)
            if found is not None:
                yield ActionSummary.of(found)


def _may_match(query: ListQuery) -> bool:
    """Whether any generated action can pass the filters on what is the same for all of them."""
    row = registered_row(ActionSummary("", "", ""))
    return all(one.matches(row) for one in query.filters if one.name not in (*_IN_MODEL, *_NAMES))


def _by_name(query: ListQuery) -> Callable[[str], bool]:
    """Whether a name passes the filters on it: asked of all names, so that it does nothing else."""
    filters = [one for one in query.filters if one.name in _NAMES]
    return lambda name: all(one.matches({"id": name, "name": name}) for one in filters)
