"""The routes of maintenance mode and of the health check; and what maintenance keeps from happening."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final, Protocol

from chalicelib.api.about import About, Accepted, tells
from chalicelib.api.bodies import read_attributes
from chalicelib.api.fields import Field, Resource
from chalicelib.api.http import Answer, Body, Call, Route, fault_body
from chalicelib.data import replace
from chalicelib.errors import NotFoundException
from chalicelib.services.maintenance import Maintenance, MaintenanceStatus
from chalicelib.vocabulary import JsonObject, State

PATH: Final = "/maintenance"
MAINTENANCE: Final = Resource("maintenance", "Maintenance", (Field("status"),))
_SCHEMA: Final[JsonObject] = {
    "type": "object",
    "required": ["status"],
    "properties": {"status": {"type": "string", "enum": list(MaintenanceStatus)}},
    "additionalProperties": False,
}
_HEALTH_SCHEMA: Final[JsonObject] = {
    "type": "object",
    "required": ["detailed", "reasons"],
    "properties": {"detailed": {"type": "boolean"}, "reasons": {"type": "array"}},
}
_LOCKED: Final = 423


class HasMaintenance(Protocol):
    """What these routes need of the services."""

    @property
    def maintenance(self) -> Maintenance:
        """The status of the service."""


Provider = Callable[[], HasMaintenance]


def routes(services: Provider) -> tuple[Route, ...]:
    """All routes of this module; ``services`` is called when a request comes, not before."""
    changed = About(
        "Stop or resume all executions of the service.",
        _SCHEMA,
        accepts=Accepted(MAINTENANCE, frozenset({"status"}), ("status",)),
    )
    healthy = tells(
        "Whether the service answers; where this is switched on.", _HEALTH_SCHEMA, {404: "It is switched off."}
    )
    return (
        Route("GET", PATH, partial(_show, services), about=tells("The status of the service.", _SCHEMA)),
        Route("PUT", PATH, partial(_change, services), body=Body.JSON, about=changed),
        Route("GET", "/healthcheck", _health, None, about=healthy),
    )


def _show(services: Provider, _call: Call) -> Answer:
    return Answer({"status": services().maintenance.status(is_fresh=True)})


def _change(services: Provider, call: Call) -> Answer:
    wanted = read_attributes(call, "new_maintenance_status", ("status",)).required_text("status")
    return Answer({"status": services().maintenance.change(wanted)})


def _health(call: Call) -> Answer:
    if not call.settings.healthcheck:
        raise NotFoundException("The health check is switched off; MISTRAL_HEALTHCHECK=true switches it on.")
    return Answer({"detailed": False, "reasons": []})


# -- what maintenance keeps from happening


def guarded(routes: Iterable[Route], services: Provider) -> tuple[Route, ...]:
    """These routes, of which those that change anything answer 423 while the service is in maintenance.

    Its own route and those by which one logs in stand beside ``/v2`` and stay open.
    """
    return tuple(
        route
        if route.method == "GET" or not route.path.startswith("/v2/")
        else replace(route, handler=partial(_unless_in_maintenance, route, services))
        for route in routes
    )


def _unless_in_maintenance(route: Route, services: Provider, call: Call) -> Answer:
    status = services().maintenance.status()
    if status is MaintenanceStatus.RUNNING or _is_let_through(route, call, status):
        return route.handler(call)
    text = f"The service is in maintenance (status {status}): nothing can be changed now; try again later."
    return Answer(fault_body(_LOCKED, text, route.style), _LOCKED, {"Server-Error-Message": text})


def _is_let_through(route: Route, call: Call, status: MaintenanceStatus) -> bool:
    """Results of actions that run still come in until all is paused; executions can be cancelled all the time."""
    if route.method != "PUT":
        return False
    if route.path.startswith("/v2/action_executions"):
        return status is MaintenanceStatus.PAUSING
    return route.path.startswith("/v2/executions") and _cancels(call.body)


def _cancels(body: bytes) -> bool:
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError):
        return False
    return isinstance(asked, dict) and asked.get("state") == State.CANCELLED
