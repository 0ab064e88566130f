"""The routes of code sources and of dynamic actions; the policies open them to admins only."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

from chalicelib.api.about import About, changes, creates, lists, removes, shows, writes_text
from chalicelib.api.bodies import Attributes, read_attributes
from chalicelib.api.definition_lists import access_of, flags_of, list_definitions
from chalicelib.api.definition_rows import CODE_SOURCES, DYNAMIC_ACTIONS, RESOURCES, created_row, row_of, updated_row
from chalicelib.api.fields import raw, typed
from chalicelib.api.http import CREATED, NO_CONTENT, Answer, Body, Call, Route, Style
from chalicelib.api.listing import arguments_of, wanted_fields
from chalicelib.api.values import refuse
from chalicelib.errors import InputException
from chalicelib.services.code_sources import ActionChange, CodeSources
from chalicelib.services.definition_records import Kind
from chalicelib.services.definitions import Definitions, Placement

_ATTRIBUTES: Final = tuple(field.name for field in DYNAMIC_ACTIONS.shown)
_ONE: Final = ("namespace", "fields")
_READ_ONLY: Final = ("project_id", "created_at", "updated_at")
_GIVEN: Final = frozenset(_ATTRIBUTES) - frozenset(_READ_ONLY)


class HasCodeSources(Protocol):
    """What these routes need of the services."""

    @property
    def definitions(self) -> Definitions:
        """All definitions, the code sources among them."""


Provider = Callable[[], HasCodeSources]


def routes(services: Provider) -> tuple[Route, ...]:
    """All routes of this module; ``services`` is called when a request comes, not before."""
    return (*_source_routes(services), *_action_routes(services))


def _source_routes(services: Provider) -> tuple[Route, ...]:
    kind, every, one = Kind.CODE_SOURCE, "/v2/code_sources", "/v2/code_sources/{identifier}"

    def written(summary: str, status: int, named: str) -> About:
        return writes_text(CODE_SOURCES, summary, status=status, is_list=False, arguments=(named, "scope", "namespace"))

    create = written("Keep a Python text as a code source.", 201, "name")
    update = written("Give a code source another text.", 200, "identifier")
    known = arguments_of(CODE_SOURCES, flags_of(kind))
    return (
        Route("GET", every, partial(_list, services, kind), known, about=lists(CODE_SOURCES, "All code sources.")),
        Route("POST", every, partial(_create_source, services), None, Body.TEXT, Style.RAW, create),
        Route("PUT", every, partial(_update_source, services), None, Body.TEXT, Style.RAW, update),
        Route("PUT", one, partial(_update_source, services), None, Body.TEXT, Style.RAW, update),
        Route("GET", one, partial(_get, services, kind), _ONE, about=shows(CODE_SOURCES, "One code source.")),
        Route(
            "DELETE",
            one,
            partial(_delete_source, services),
            ("namespace",),
            about=removes("Delete a code source, and the dynamic actions made of it."),
        ),
    )


def _action_routes(services: Provider) -> tuple[Route, ...]:
    kind, every, one = Kind.DYNAMIC_ACTION, "/v2/dynamic_actions", "/v2/dynamic_actions/{identifier}"
    create = creates(DYNAMIC_ACTIONS, "Make an action of a class.", _GIVEN, ("name", "class_name"))
    update = changes(DYNAMIC_ACTIONS, "Change what is given of a dynamic action.", _GIVEN)
    known = arguments_of(DYNAMIC_ACTIONS, flags_of(kind))
    listed, shown = lists(DYNAMIC_ACTIONS, "All dynamic actions."), shows(DYNAMIC_ACTIONS, "One dynamic action.")
    return (
        Route("GET", every, partial(_list, services, kind), known, about=listed),
        Route("POST", every, partial(_create_action, services), body=Body.JSON, about=create),
        Route("PUT", every, partial(_update_action, services), body=Body.JSON, about=update),
        Route("GET", one, partial(_get, services, kind), _ONE, about=shown),
        Route(
            "DELETE",
            one,
            partial(_delete_action, services),
            ("namespace",),
            about=removes("Delete a dynamic action; its code source stays."),
        ),
    )


def _list(services: Provider, kind: Kind, call: Call) -> Answer:
    return Answer(list_definitions(services().definitions, kind, call))


def _get(services: Provider, kind: Kind, call: Call) -> Answer:
    resource = RESOURCES[kind]
    fields = wanted_fields(call, resource)
    record = services().definitions.get(kind, access_of(call), call.parameters["identifier"], _namespace(call))
    return Answer(typed(resource, row_of(record), fields))


def _namespace(call: Call) -> str:
    return call.query.get("namespace") or ""


# -- code sources


def _create_source(services: Provider, call: Call) -> Answer:
    name = call.query.get("name")
    if not name:
        raise InputException("Name of the code source is not provided; give it as the query argument `name`.")
    record = _sources(services).create_source(access_of(call), name, call.body, _placement(call))
    return Answer(raw(CODE_SOURCES, created_row(record)), CREATED)


def _update_source(services: Provider, call: Call) -> Answer:
    identifier = call.parameters.get("identifier") or call.query.get("identifier")
    if not identifier:
        raise InputException("Give the name or the id of the code source as the query argument `identifier`.")
    record = _sources(services).update_source(access_of(call), identifier, call.body, _placement(call))
    return Answer(raw(CODE_SOURCES, updated_row(record)))


def _delete_source(services: Provider, call: Call) -> Answer:
    _sources(services).delete_source(access_of(call), call.parameters["identifier"], _namespace(call))
    return NO_CONTENT


def _placement(call: Call) -> Placement:
    return Placement(namespace=_namespace(call), scope=call.query.get("scope") or "private")


def _sources(services: Provider) -> CodeSources:
    return services().definitions.code_sources


# -- dynamic actions


def _create_action(services: Provider, call: Call) -> Answer:
    attributes = _attributes(call)
    name, class_name = attributes.required_text("name"), attributes.required_text("class_name")
    source = _source(attributes)
    if not source:
        raise InputException("Either 'code_source_id' or 'code_source_name' must be provided.")
    placement = Placement(attributes.text("namespace") or "", _scope(attributes) or "private")
    record = _sources(services).create_action(access_of(call), name, class_name, source, placement)
    return Answer(typed(DYNAMIC_ACTIONS, created_row(record)), CREATED)


def _update_action(services: Provider, call: Call) -> Answer:
    attributes = _attributes(call)
    identifier = attributes.text("id") or attributes.text("name")
    if not identifier:
        raise InputException("Either 'name' or 'id' must be provided.")
    change = ActionChange(attributes.text("class_name") or None, _source(attributes), _scope(attributes))
    namespace = attributes.text("namespace") or ""
    record = _sources(services).update_action(access_of(call), identifier, change, namespace)
    return Answer(typed(DYNAMIC_ACTIONS, updated_row(record)))


def _delete_action(services: Provider, call: Call) -> Answer:
    _sources(services).delete_action(access_of(call), call.parameters["identifier"], _namespace(call))
    return NO_CONTENT


def _attributes(call: Call) -> Attributes:
    return read_attributes(call, "dyn_action", _ATTRIBUTES, _READ_ONLY)


def _source(attributes: Attributes) -> str | None:
    return attributes.text("code_source_id") or attributes.text("code_source_name") or None


def _scope(attributes: Attributes) -> str | None:
    scope = attributes.text("scope")
    if scope not in (None, "public", "private"):
        refuse("scope", scope, "Value should be one of: public, private")
    return scope
