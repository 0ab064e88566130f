"""The routes of cron-triggers and event-triggers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

from chalicelib.api import cron_triggers
from chalicelib.api.about import changes, creates, lists, removes, shows
from chalicelib.api.bodies import Attributes, read_attributes
from chalicelib.api.definition_lists import ALL_PROJECTS, access_of
from chalicelib.api.fields import typed
from chalicelib.api.http import CREATED, NO_CONTENT, Answer, Body, Call, Route
from chalicelib.api.listing import arguments_of, wanted_fields
from chalicelib.api.trigger_rows import CRON_TRIGGERS, EVENT_TRIGGERS, RESOURCES, list_triggers, row_of
from chalicelib.api.values import refuse, to_uuid
from chalicelib.errors import InputException
from chalicelib.services.cron_desk import CronDesk
from chalicelib.services.trigger_records import TriggerKind
from chalicelib.services.triggers import CronRequest, EventChanges, EventRequest, Triggers

_SELECTORS: Final = ("exchange", "topic", "event")
_EVENT_ATTRIBUTES: Final = ("name", "workflow_id", "workflow_input", "workflow_params", "scope", *_SELECTORS)
_EVENT_READ_ONLY: Final = ("id", "created_at", "updated_at", "project_id")
_CRON_ATTRIBUTES: Final = (
    *(field.name for field in CRON_TRIGGERS.fields if field.stored and field.name != "project_id"),
    *cron_triggers.ATTRIBUTES,
)
_ABOUT: Final = {
    "cron": creates(CRON_TRIGGERS, "Create a cron trigger.", _CRON_ATTRIBUTES, ("name",)),
    "event": creates(
        EVENT_TRIGGERS,
        "Create an event trigger.",
        frozenset(_EVENT_ATTRIBUTES) - frozenset(_EVENT_READ_ONLY),
        (*_SELECTORS, "workflow_id"),
    ),
    "update": changes(
        EVENT_TRIGGERS, "Change an event trigger, but not what it listens to.", frozenset(_EVENT_ATTRIBUTES)
    ),
}


class HasTriggers(Protocol):
    """What these routes need of the services."""

    @property
    def triggers(self) -> Triggers:
        """Cron-triggers and event-triggers."""

    @property
    def cron(self) -> CronDesk:
        """Cron-triggers, beyond Mistral."""


Provider = Callable[[], HasTriggers]


def routes(services: Provider) -> tuple[Route, ...]:
    """All routes of this module; ``services`` is called when a request comes, not before."""
    return (
        *_common_routes(services, TriggerKind.CRON, "/v2/cron_triggers", "/v2/cron_triggers/{identifier}"),
        Route("POST", "/v2/cron_triggers", partial(_create_cron, services), body=Body.JSON, about=_ABOUT["cron"]),
        *cron_triggers.routes(services),
        *_common_routes(services, TriggerKind.EVENT, "/v2/event_triggers", "/v2/event_triggers/{identifier}"),
        Route("POST", "/v2/event_triggers", partial(_create_event, services), body=Body.JSON, about=_ABOUT["event"]),
        Route(
            "PUT",
            "/v2/event_triggers/{identifier}",
            partial(_update_event, services),
            body=Body.JSON,
            about=_ABOUT["update"],
        ),
    )


def _common_routes(services: Provider, kind: TriggerKind, collection: str, one: str) -> tuple[Route, ...]:
    resource = RESOURCES[kind]
    known, title = arguments_of(resource, (ALL_PROJECTS,)), resource.title.lower()
    return (
        Route("GET", collection, partial(_list, services, kind), known, about=lists(resource, f"All {title}s.")),
        Route("GET", one, partial(_get, services, kind), ("fields",), about=shows(resource, f"One {title}.")),
        Route("DELETE", one, partial(_delete, services, kind), about=removes(f"Delete one {title}.")),
    )


def _list(services: Provider, kind: TriggerKind, call: Call) -> Answer:
    return Answer(list_triggers(services().triggers, kind, call))


def _get(services: Provider, kind: TriggerKind, call: Call) -> Answer:
    fields = wanted_fields(call, RESOURCES[kind])
    trigger = services().triggers.get(kind, access_of(call), _identifier(kind, call))
    return Answer(typed(RESOURCES[kind], row_of(trigger), fields))


def _delete(services: Provider, kind: TriggerKind, call: Call) -> Answer:
    services().triggers.delete(kind, access_of(call), _identifier(kind, call))
    return NO_CONTENT


def _identifier(kind: TriggerKind, call: Call) -> str:
    identifier = call.parameters["identifier"]
    return to_uuid("id", identifier) if kind is TriggerKind.EVENT else identifier


# -- cron-triggers


def _create_cron(services: Provider, call: Call) -> Answer:
    attributes = read_attributes(call, "cron_trigger", _CRON_ATTRIBUTES)
    trigger = services().triggers.create_cron(
        access_of(call),
        CronRequest(
            name=attributes.required_text("name"),
            workflow=attributes.text("workflow_id") or attributes.text("workflow_name"),
            workflow_input=attributes.object("workflow_input") or {},
            workflow_params=attributes.object("workflow_params") or {},
            pattern=attributes.text("pattern"),
            first_execution_time=attributes.text("first_execution_time"),
            remaining_executions=attributes.integer("remaining_executions"),
            scope=_scope(attributes) or "private",
            run_at=attributes.text("run_at"),
            options=cron_triggers.options_of(attributes),
        ),
    )
    row = row_of(trigger)
    del row["updated_at"]
    return Answer(typed(CRON_TRIGGERS, row), CREATED)


# -- event-triggers


def _create_event(services: Provider, call: Call) -> Answer:
    attributes = read_attributes(call, "event_trigger", _EVENT_ATTRIBUTES, _EVENT_READ_ONLY)
    missing = [name for name in (*_SELECTORS, "workflow_id") if not attributes.text(name)]
    if missing:
        raise InputException(f"Params {', '.join(missing)} must be provided for creating event trigger.")
    trigger = services().triggers.create_event(
        access_of(call),
        EventRequest(
            name=attributes.text("name") or "",
            workflow_id=to_uuid("workflow_id", attributes.required_text("workflow_id")),
            exchange=attributes.required_text("exchange"),
            topic=attributes.required_text("topic"),
            event=attributes.required_text("event"),
            workflow_input=attributes.object("workflow_input") or {},
            workflow_params=attributes.object("workflow_params") or {},
            scope=_scope(attributes) or "private",
        ),
    )
    return Answer(typed(EVENT_TRIGGERS, row_of(trigger)), CREATED)


def _update_event(services: Provider, call: Call) -> Answer:
    identifier = _identifier(TriggerKind.EVENT, call)
    attributes = read_attributes(call, "event_trigger", _EVENT_ATTRIBUTES, _EVENT_READ_ONLY)
    if any(attributes.text(name) is not None for name in _SELECTORS):
        raise InputException(f"Can not update fields {list(_SELECTORS)} of event trigger.")
    workflow_id = attributes.text("workflow_id")
    trigger = services().triggers.update_event(
        access_of(call),
        identifier,
        EventChanges(
            name=attributes.text("name"),
            workflow_id=None if workflow_id is None else to_uuid("workflow_id", workflow_id),
            workflow_input=attributes.object("workflow_input"),
            workflow_params=attributes.object("workflow_params"),
            scope=_scope(attributes),
        ),
    )
    return Answer(typed(EVENT_TRIGGERS, row_of(trigger)))


def _scope(attributes: Attributes) -> str | None:
    scope = attributes.text("scope")
    if scope not in (None, "public", "private"):
        refuse("scope", scope, "Value should be one of: public, private")
    return scope
