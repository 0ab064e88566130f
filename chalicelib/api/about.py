"""What the description of the API says of a route beyond its method, path, arguments and body.

Every ``Route`` carries an ``About``, most of them made by one of the functions here; ``openapi`` reads them, and a test
asks for them. A new route of a resource needs one line: ``about=lists(RESOURCE, "What it lists.")``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import field

from chalicelib.api.fields import Resource
from chalicelib.data import dataclass
from chalicelib.vocabulary import JsonObject


@dataclass(frozen=True, slots=True)
class Shown:
    """An answer made of a resource: one, or a collection of them.

    ``is_list``: under the name of the collection, perhaps with a ``next`` link. ``is_raw``: JSON fields are data, not
    strings that hold JSON.
    """

    resource: Resource
    is_list: bool = False
    is_raw: bool = False


@dataclass(frozen=True, slots=True)
class Accepted:
    """A JSON body made of attributes of a resource: ``names`` are all that are known."""

    resource: Resource
    names: frozenset[str]
    required: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class About:
    """What a client may expect of a route.

    ``answer`` is the body that comes with ``status`` (a schema, where it is no resource), ``accepts`` the JSON body
    that is read. ``arguments`` names the query arguments of a route that ignores unknown ones. ``statuses`` has
    statuses that no other route of its kind has, and what they mean.
    """

    summary: str
    answer: Shown | JsonObject | None = None
    status: int = 200
    accepts: Accepted | JsonObject | None = None
    arguments: tuple[str, ...] = ()
    statuses: Mapping[int, str] = field(default_factory=dict)


def lists(resource: Resource, summary: str) -> About:
    """A collection."""
    return About(summary, Shown(resource, is_list=True))


def shows(resource: Resource, summary: str) -> About:
    """One object."""
    return About(summary, Shown(resource))


def creates(resource: Resource, summary: str, names: Collection[str], required: tuple[str, ...] = ()) -> About:
    """A JSON body becomes a new object."""
    return About(summary, Shown(resource), 201, Accepted(resource, frozenset(names), required))


def changes(resource: Resource, summary: str, names: Collection[str], required: tuple[str, ...] = ()) -> About:
    """A JSON body changes an object."""
    return About(summary, Shown(resource), 200, Accepted(resource, frozenset(names), required))


def writes_text(
    resource: Resource, summary: str, *, status: int, is_list: bool = True, arguments: tuple[str, ...] = ()
) -> About:
    """A text in the body becomes objects, answered by the raw encoder."""
    return About(summary, Shown(resource, is_list=is_list, is_raw=True), status, arguments=arguments)


def removes(summary: str) -> About:
    """An object is gone afterwards; nothing is answered."""
    return About(summary, None, 204)


def tells(summary: str, schema: JsonObject, statuses: Mapping[int, str] | None = None) -> About:
    """An answer that is no resource, by its schema."""
    return About(summary, schema, statuses=statuses or {})
