"""Cron-triggers and event-triggers as Mistral shows them, and their lists, read no further than a page needs.

``last_error``, why the latest start failed, is ours; it is shown where there is one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from chalicelib import limits
from chalicelib.api.definition_lists import ALL_PROJECTS, access_of
from chalicelib.api.fields import CREATED_AT, ID, UPDATED_AT, Field, Kind, Resource
from chalicelib.api.http import Call
from chalicelib.api.listing import ListQuery, collection, list_query, page_of, unknown_marker
from chalicelib.errors import InputException
from chalicelib.services.definition_rules import Access
from chalicelib.services.trigger_records import CronTrigger, EventTrigger, Trigger, TriggerKind
from chalicelib.services.triggers import Triggers
from chalicelib.vocabulary import JsonObject

_NAME: Final = Field("name")
_WORKFLOW_ID: Final = Field("workflow_id", Kind.UUID)
_WORKFLOW_INPUT: Final = Field("workflow_input", Kind.JSON)
_WORKFLOW_PARAMS: Final = Field("workflow_params", Kind.JSON)
_PROJECT_ID: Final = Field("project_id")
_SCOPE: Final = Field("scope")
_LAST_ERROR: Final = Field("last_error", stored=False)

CRON_TRIGGERS: Final = Resource(
    "cron_triggers",
    "Cron trigger",
    (
        ID,
        _NAME,
        Field("workflow_name"),
        _WORKFLOW_ID,
        _WORKFLOW_INPUT,
        _WORKFLOW_PARAMS,
        _PROJECT_ID,
        _SCOPE,
        Field("pattern"),
        Field("remaining_executions", Kind.INTEGER),
        Field("first_execution_time", Kind.DATE),
        Field("next_execution_time", Kind.DATE),
        CREATED_AT,
        UPDATED_AT,
        _LAST_ERROR,
    ),
)
EVENT_TRIGGERS: Final = Resource(
    "event_triggers",
    "Event trigger",
    (
        ID,
        CREATED_AT,
        UPDATED_AT,
        _PROJECT_ID,
        _NAME,
        _WORKFLOW_ID,
        _WORKFLOW_INPUT,
        _WORKFLOW_PARAMS,
        Field("exchange"),
        Field("topic"),
        Field("event"),
        _SCOPE,
        _LAST_ERROR,
    ),
)
RESOURCES: Final = {TriggerKind.CRON: CRON_TRIGGERS, TriggerKind.EVENT: EVENT_TRIGGERS}


def row_of(trigger: Trigger) -> JsonObject:
    """A trigger as a row."""
    row: JsonObject = {
        "id": trigger.id,
        "name": trigger.name,
        "workflow_id": trigger.workflow_id,
        "workflow_input": trigger.workflow_input,
        "workflow_params": trigger.workflow_params,
        "project_id": trigger.project_id,
        "scope": trigger.scope,
        "created_at": trigger.created_at,
        "updated_at": trigger.updated_at,
    }
    match trigger:
        case CronTrigger():
            row["workflow_name"] = trigger.workflow_name
            row["pattern"] = trigger.pattern
            row["remaining_executions"] = trigger.remaining_executions
            row["first_execution_time"] = trigger.first_execution_time
            row["next_execution_time"] = trigger.next_execution_time
        case EventTrigger():
            row.update(exchange=trigger.exchange, topic=trigger.topic, event=trigger.event)
    if trigger.last_error is not None:
        row["last_error"] = trigger.last_error
    return row


def list_triggers(triggers: Triggers, kind: TriggerKind, call: Call) -> JsonObject:
    """The answer to a list of triggers."""
    query = list_query(call, RESOURCES[kind], flags=(ALL_PROJECTS,))
    access = access_of(call)
    if [(key.name, key.descending) for key in query.sort] != [("created_at", False), ("id", False)]:
        return page_of(query, _all_rows(triggers, kind, access))
    after = None
    if query.marker is not None:
        after = triggers.find_id(kind, access, query.marker)
        if after is None:
            raise unknown_marker(query)
    page, last = _page(query, triggers.browse(kind, access, after=after))
    return collection(query, page, more=last is not None, last=last)


def _page(query: ListQuery, browsed: Iterator[Trigger]) -> tuple[list[JsonObject], str | None]:
    """The rows of one page, and the id to go on from, unless everything has been looked at."""
    page: list[JsonObject] = []
    for looked_at, trigger in enumerate(browsed, start=1):
        row = row_of(trigger)
        if query.matches(row):
            page.append(row)
        if len(page) == query.limit or looked_at == limits.TRIGGERS_SCANNED_MAX:
            return page, trigger.id
    return page, None


def _all_rows(triggers: Triggers, kind: TriggerKind, access: Access) -> Iterator[JsonObject]:
    for number, trigger in enumerate(triggers.browse(kind, access)):
        if number == limits.TRIGGERS_SCANNED_MAX:
            raise InputException(
                f"More than {limits.TRIGGERS_SCANNED_MAX} {RESOURCES[kind].collection} can be sorted by created_at, "
                "ascending, only."
            )
        yield row_of(trigger)
