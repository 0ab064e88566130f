"""The routes of workbooks, workflows, actions and environments."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

from chalicelib.actions.action import ActionSummary
from chalicelib.actions.registry import Registry
from chalicelib.api.action_lists import list_actions
from chalicelib.api.bodies import Attributes, read_attributes
from chalicelib.api.definition_lists import ALL_PROJECTS, access_of, list_definitions
from chalicelib.api.definition_rows import (
    ACTIONS,
    ENVIRONMENTS,
    RESOURCES,
    created_row,
    registered_row,
    row_of,
    shown_action,
    updated_row,
)
from chalicelib.api.fields import raw, typed
from chalicelib.api.http import CREATED, NO_CONTENT, Answer, Body, Call, Handler, Route, Style
from chalicelib.api.listing import arguments_of, wanted_fields
from chalicelib.api.values import refuse, to_boolean
from chalicelib.errors import InputException, NotFoundException
from chalicelib.services.definition_records import EnvironmentContent, Kind
from chalicelib.services.definitions import Definitions, Placement
from chalicelib.vocabulary import JsonObject

_ONE: Final = ("namespace", "fields")
_ENVIRONMENT_ATTRIBUTES: Final = ("name", "description", "variables", "scope")


class HasDefinitions(Protocol):
    """What these routes need of the services."""

    @property
    def definitions(self) -> Definitions:
        """Workbooks, workflows, ad-hoc actions and environments."""

    @property
    def registry(self) -> Registry:
        """All other actions."""


Provider = Callable[[], HasDefinitions]


def routes(services: Provider) -> tuple[Route, ...]:
    """All routes of this module; ``services`` is called when a request comes, not before."""
    return (
        *_document_routes(services, Kind.WORKBOOK, "/v2/workbooks", "/v2/workbooks/{name}"),
        *_document_routes(services, Kind.WORKFLOW, "/v2/workflows", "/v2/workflows/{identifier}"),
        Route(
            "PUT", "/v2/workflows/{identifier}", partial(_update, services, Kind.WORKFLOW), None, Body.TEXT, Style.RAW
        ),
        *_document_routes(services, Kind.ACTION, "/v2/actions", "/v2/actions/{identifier}"),
        Route("PUT", "/v2/actions/{identifier}", partial(_update, services, Kind.ACTION), None, Body.TEXT, Style.RAW),
        Route("GET", "/v2/actions/{identifier}/{namespace}", partial(_get_action, services), ("namespace", "fields")),
        Route(
            "DELETE", "/v2/actions/{identifier}/{namespace}", partial(_delete, services, Kind.ACTION), ("namespace",)
        ),
        *_environment_routes(services),
    )


def _document_routes(services: Provider, kind: Kind, collection: str, one: str) -> tuple[Route, ...]:
    if kind is Kind.ACTION:
        listing: Handler = partial(_list_actions, services)
        get: Handler = partial(_get_action, services)
    else:
        listing, get = partial(_list, services, kind), partial(_get, services, kind)
    flags = (ALL_PROJECTS,) if kind is Kind.WORKFLOW else ()
    return (
        Route("GET", collection, listing, arguments_of(RESOURCES[kind], flags)),
        Route("POST", collection, partial(_create, services, kind), None, Body.TEXT, Style.RAW),
        Route("PUT", collection, partial(_update, services, kind), None, Body.TEXT, Style.RAW),
        Route("POST", f"{collection}/validate", partial(_validate, services, kind), None, Body.TEXT, Style.RAW),
        Route("GET", one, get, _ONE),
        Route("DELETE", one, partial(_delete, services, kind), ("namespace",)),
    )


def _environment_routes(services: Provider) -> tuple[Route, ...]:
    kind = Kind.ENVIRONMENT
    return (
        Route("GET", "/v2/environments", partial(_list, services, kind), arguments_of(ENVIRONMENTS)),
        Route("POST", "/v2/environments", partial(_create_environment, services), body=Body.JSON),
        Route("PUT", "/v2/environments", partial(_update_environment, services), body=Body.JSON),
        Route("GET", "/v2/environments/{name}", partial(_get, services, kind), ("fields",)),
        Route("DELETE", "/v2/environments/{name}", partial(_delete, services, kind)),
    )


# -- documents


def _list(services: Provider, kind: Kind, call: Call) -> Answer:
    if to_boolean(ALL_PROJECTS, call.query.get(ALL_PROJECTS, "")):
        call.caller.demand_admin()
    return Answer(list_definitions(services().definitions, kind, call))


def _get(services: Provider, kind: Kind, call: Call) -> Answer:
    resource = RESOURCES[kind]
    fields = wanted_fields(call, resource)
    record = services().definitions.get(kind, access_of(call), _identifier(call), _namespace(call))
    return Answer(typed(resource, row_of(record), fields))


def _create(services: Provider, kind: Kind, call: Call) -> Answer:
    records = services().definitions.create(kind, access_of(call), call.body, _placement(call))
    return Answer(_written(kind, [created_row(record) for record in records], one=False), CREATED)


def _update(services: Provider, kind: Kind, call: Call) -> Answer:
    identifier = call.parameters.get("identifier")
    records = services().definitions.update(kind, access_of(call), call.body, _placement(call), identifier)
    rows = [updated_row(record) for record in records]
    return Answer(_written(kind, rows, one=identifier is not None and kind is Kind.WORKFLOW))


def _delete(services: Provider, kind: Kind, call: Call) -> Answer:
    services().definitions.delete(kind, access_of(call), _identifier(call), _namespace(call))
    return NO_CONTENT


def _validate(services: Provider, kind: Kind, call: Call) -> Answer:
    verdict = services().definitions.judge(kind, call.body)
    if verdict.error is not None:
        return Answer({"valid": False, "error": verdict.error})
    said: JsonObject = {"warnings": [str(warning) for warning in verdict.warnings]} if verdict.warnings else {}
    return Answer({"valid": True, **said})


def _written(kind: Kind, rows: list[JsonObject], *, one: bool) -> JsonObject:
    """A workbook is answered alone, without what it contains; of one workflow updated by its identifier so is this."""
    resource = RESOURCES[kind]
    if one or kind is Kind.WORKBOOK:
        return raw(resource, rows[0])
    return {resource.collection: [raw(resource, row) for row in rows]}


def _identifier(call: Call) -> str:
    return call.parameters.get("identifier") or call.parameters["name"]


def _namespace(call: Call) -> str:
    return call.parameters.get("namespace") or call.query.get("namespace") or ""


def _placement(call: Call) -> Placement:
    flag = call.query.get("skip_validation")
    return Placement(
        # Clients send an empty namespace when they mean none in particular.
        namespace=call.query.get("namespace") or None,
        scope=call.query.get("scope") or "private",
        skip_validation=flag is not None and (flag == "" or to_boolean("skip_validation", flag)),
    )


# -- actions


def _list_actions(services: Provider, call: Call) -> Answer:
    found = services()
    return Answer(list_actions(found.definitions, found.registry, call))


def _get_action(services: Provider, call: Call) -> Answer:
    """An ad-hoc action of the namespace, else of the default one, else an action of this installation."""
    found, name, namespace = services(), _identifier(call), _namespace(call)
    fields = wanted_fields(call, ACTIONS)
    for place in dict.fromkeys((namespace, "")):
        try:
            record = found.definitions.get(Kind.ACTION, access_of(call), name, place)
            return Answer(typed(ACTIONS, row_of(record), fields))
        except NotFoundException:
            continue
    action = found.registry.find(name)
    if action is None:
        near = found.registry.names_like(name)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise NotFoundException(f"Action not found [name={name}, namespace={namespace}]{hint}")
    return Answer(typed(ACTIONS, shown_action(registered_row(ActionSummary.of(action))), fields))


# -- environments


def _create_environment(services: Provider, call: Call) -> Answer:
    attributes = read_attributes(call, "env", _ENVIRONMENT_ATTRIBUTES)
    record = services().definitions.create_environment(
        access_of(call), _environment_name(attributes), _environment(attributes), _scope(attributes) or "private"
    )
    return Answer(typed(ENVIRONMENTS, created_row(record)), CREATED)


def _update_environment(services: Provider, call: Call) -> Answer:
    attributes = read_attributes(call, "env", _ENVIRONMENT_ATTRIBUTES)
    record = services().definitions.update_environment(
        access_of(call), _environment_name(attributes), _environment(attributes), _scope(attributes)
    )
    return Answer(typed(ENVIRONMENTS, updated_row(record)))


def _environment_name(attributes: Attributes) -> str:
    name = attributes.text("name")
    if not name:
        raise InputException("Name of the environment is not provided.")
    return name


def _environment(attributes: Attributes) -> EnvironmentContent:
    return EnvironmentContent(attributes.text("description"), attributes.object("variables"))


def _scope(attributes: Attributes) -> str | None:
    scope = attributes.text("scope")
    if scope not in (None, "public", "private"):
        refuse("scope", scope, "Value should be one of: public, private")
    return scope
