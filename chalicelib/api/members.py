"""The routes of members: sharing private workflows with other projects."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

from chalicelib.api.about import About, changes, creates, lists, removes, shows
from chalicelib.api.bodies import read_attributes
from chalicelib.api.definition_lists import access_of
from chalicelib.api.fields import CREATED_AT, ID, UPDATED_AT, Field, Kind, Resource, typed
from chalicelib.api.http import CREATED, NO_CONTENT, Answer, Body, Call, Handler, Route
from chalicelib.api.values import refuse, to_uuid
from chalicelib.errors import WorkflowException
from chalicelib.services.members import Member, Members, MemberStatus
from chalicelib.vocabulary import JsonObject

MEMBERS: Final = Resource(
    "members",
    "Resource member",
    (
        ID,
        Field("resource_id", Kind.UUID),
        Field("resource_type"),
        Field("project_id"),
        Field("member_id"),
        Field("status"),
        CREATED_AT,
        UPDATED_AT,
    ),
)
_ATTRIBUTES: Final = tuple(field.name for field in MEMBERS.fields)


class HasMembers(Protocol):
    """What these routes need of the services."""

    @property
    def members(self) -> Members:
        """The members of all workflows."""


Provider = Callable[[], HasMembers]


def routes(services: Provider) -> tuple[Route, ...]:
    """All routes of this module; ``services`` is called when a request comes, not before."""
    members, one = "/v2/workflows/{identifier}/members", "/v2/workflows/{identifier}/members/{member_id}"

    def route(method: str, path: str, handler: Callable[[Provider, Call], Answer], about: About) -> Route:
        body = Body.NONE if about.accepts is None else Body.JSON
        return Route(method, path, partial(_demand_identity, partial(handler, services)), body=body, about=about)

    return (
        route("GET", members, _list, lists(MEMBERS, "The projects that a workflow is shared with.")),
        route("POST", members, _add, creates(MEMBERS, "Offer a workflow to a project.", _ATTRIBUTES, ("member_id",))),
        route("GET", one, _get, shows(MEMBERS, "One member of a workflow.")),
        route("PUT", one, _answer, changes(MEMBERS, "Accept or reject an offered workflow.", _ATTRIBUTES, ("status",))),
        route("DELETE", one, _remove, removes("Share a workflow with a project no longer.")),
    )


def _demand_identity(handler: Handler, call: Call) -> Answer:
    if call.settings.auth == "none":
        raise WorkflowException("Resource sharing feature can only be supported with authentication enabled.")
    return handler(call)


def _list(services: Provider, call: Call) -> Answer:
    found = services().members.all_of(access_of(call), _workflow_id(call))
    return Answer({"members": [typed(MEMBERS, _row(member)) for member in found]})


def _add(services: Provider, call: Call) -> Answer:
    member_id = read_attributes(call, "member_info", _ATTRIBUTES, ()).text("member_id")
    if not member_id:
        raise WorkflowException("Member id must be provided.")
    row = _row(services().members.add(access_of(call), _workflow_id(call), member_id))
    del row["updated_at"]
    return Answer(typed(MEMBERS, row), CREATED)


def _get(services: Provider, call: Call) -> Answer:
    member = services().members.get(access_of(call), _workflow_id(call), call.parameters["member_id"])
    return Answer(typed(MEMBERS, _row(member)))


def _answer(services: Provider, call: Call) -> Answer:
    status = read_attributes(call, "member_info", _ATTRIBUTES, ()).text("status")
    if not status:
        raise WorkflowException("Status must be provided.")
    if status not in tuple(MemberStatus):
        refuse("status", status, f"Value should be one of: {', '.join(MemberStatus)}")
    access, member_id = access_of(call), call.parameters["member_id"]
    member = services().members.answer(access, _workflow_id(call), member_id, MemberStatus(status))
    return Answer(typed(MEMBERS, _row(member)))


def _remove(services: Provider, call: Call) -> Answer:
    services().members.remove(access_of(call), _workflow_id(call), call.parameters["member_id"])
    return NO_CONTENT


def _workflow_id(call: Call) -> str:
    return to_uuid("identifier", call.parameters["identifier"]).lower()


def _row(member: Member) -> JsonObject:
    return {
        "id": member.id,
        "resource_id": member.resource_id,
        "resource_type": member.resource_type,
        "project_id": member.project_id,
        "member_id": member.member_id,
        "status": str(member.status),
        "created_at": member.created_at,
        "updated_at": member.updated_at,
    }
