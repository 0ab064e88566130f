"""The routes of workbooks, workflows, actions and environments."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

from chalicelib.actions.action import ActionSummary
from chalicelib.actions.registry import Registry
from chalicelib.api.about import changes, creates, lists, removes, shows, tells, writes_text
from chalicelib.api.action_lists import list_actions
from chalicelib.api.bodies import Attributes, read_attributes
from chalicelib.api.definition_lists import ALL_PROJECTS, access_of, list_definitions
from chalicelib.api.definition_rows import (
    ACTIONS,
    ENVIRONMENTS,
    RESOURCES,
    created_row,
    dynamic_row,
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
_PLACEMENT: Final = ("namespace", "scope", "skip_validation")
_ENVIRONMENT_ATTRIBUTES: Final = ("name", "description", "variables", "scope")
_VERDICT_SCHEMA: Final[JsonObject] = {
    "type": "object",
    "required": ["valid"],
    "properties": {
        "valid": {"type": "boolean"},
        "error": {"type": "string", "description": "why it is not valid"},
        "warnings": {"type": "array", "items": {"type": "string"}, "description": "what may surprise"},
    },
    "additionalProperties": False,
}


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
        _update_route(services, Kind.WORKFLOW, "/v2/workflows/{identifier}"),
        *_document_routes(services, Kind.ACTION, "/v2/actions", "/v2/actions/{identifier}"),
        _update_route(services, Kind.ACTION, "/v2/actions/{identifier}"),
        Route(
            "GET",
            "/v2/actions/{identifier}/{namespace}",
            partial(_get_action, services),
            _ONE,
            about=shows(ACTIONS, "One action of a namespace."),
        ),
        Route(
            "DELETE",
            "/v2/actions/{identifier}/{namespace}",
            partial(_delete, services, Kind.ACTION),
            ("namespace",),
            about=removes("Delete one action of a namespace."),
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
    resource, title = RESOURCES[kind], RESOURCES[kind].title.lower()
    known = arguments_of(resource, flags)
    about = writes_text(
        resource,
        f"Create what a text defines: {title}s.",
        status=201,
        is_list=kind is not Kind.WORKBOOK,
        arguments=_PLACEMENT,
    )
    checks = tells(f"Whether a text defines {title}s, without storing it.", _VERDICT_SCHEMA)
    return (
        Route("GET", collection, listing, known, about=lists(resource, f"All {title}s.")),
        Route("POST", collection, partial(_create, services, kind), None, Body.TEXT, Style.RAW, about),
        _update_route(services, kind, collection),
        Route("POST", f"{collection}/validate", partial(_validate, services, kind), None, Body.TEXT, Style.RAW, checks),
        Route("GET", one, get, _ONE, about=shows(resource, f"One {title}.")),
        Route("DELETE", one, partial(_delete, services, kind), ("namespace",), about=removes(f"Delete one {title}.")),
    )


def _update_route(services: Provider, kind: Kind, path: str) -> Route:
    one_workflow = kind is Kind.WORKFLOW and path.endswith("}")
    about = writes_text(
        RESOURCES[kind],
        f"Change what a text defines: {RESOURCES[kind].title.lower()}s.",
        status=200,
        is_list=kind is not Kind.WORKBOOK and not one_workflow,
        arguments=_PLACEMENT,
    )
    return Route("PUT", path, partial(_update, services, kind), None, Body.TEXT, Style.RAW, about)


def _environment_routes(services: Provider) -> tuple[Route, ...]:
    kind, every, one = Kind.ENVIRONMENT, "/v2/environments", "/v2/environments/{name}"
    create = creates(ENVIRONMENTS, "Create an environment.", _ENVIRONMENT_ATTRIBUTES, ("name",))
    update = changes(ENVIRONMENTS, "Change what is given of an environment.", _ENVIRONMENT_ATTRIBUTES, ("name",))
    known = arguments_of(ENVIRONMENTS)
    return (
        Route("GET", every, partial(_list, services, kind), known, about=lists(ENVIRONMENTS, "All environments.")),
        Route("POST", every, partial(_create_environment, services), body=Body.JSON, about=create),
        Route("PUT", every, partial(_update_environment, services), body=Body.JSON, about=update),
        Route("GET", one, partial(_get, services, kind), ("fields",), about=shows(ENVIRONMENTS, "One environment.")),
        Route("DELETE", one, partial(_delete, services, kind), about=removes("Delete an environment.")),
    )


# -- documents


def _list(services: Provider, kind: Kind, call: Call) -> Answer:
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
    """An ad-hoc action of the namespace, else of the default one; else a dynamic one; else one of this installation."""
    found, name, namespace = services(), _identifier(call), _namespace(call)
    fields = wanted_fields(call, ACTIONS)
    for place in dict.fromkeys((namespace, "")):
        try:
            record = found.definitions.get(Kind.ACTION, access_of(call), name, place)
            return Answer(typed(ACTIONS, row_of(record), fields))
        except NotFoundException:
            continue
    dynamic = found.definitions.code_sources.usable_action(access_of(call), name, namespace)
    if dynamic is not None:
        return Answer(typed(ACTIONS, dynamic_row(*dynamic), fields))
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
