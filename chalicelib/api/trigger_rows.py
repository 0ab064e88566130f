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
from chalicelib.api.listing import list_query, ordered_page, page_of, unknown_marker
from chalicelib.errors import InputException
from chalicelib.services.cron_options import CronOptions
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

# What Mistral's cron-triggers do not have is shown where it is used, and neither filtered nor sorted by.
CRON_OPTIONS: Final = ("time_zone", "overlap", "catch_up_sec", "jitter_sec", "start_within_sec", "end_within_sec")
_NUMBERS: Final = frozenset(CRON_OPTIONS) - {"time_zone", "overlap"}
_CRON_EXTRAS: Final = (
    *(Field(name, Kind.INTEGER if name in _NUMBERS else Kind.TEXT, stored=False) for name in CRON_OPTIONS),
    Field("scheduled_for", Kind.DATE, stored=False),
    Field("queued", Kind.INTEGER, stored=False),
    Field("failures", Kind.INTEGER, stored=False),
    Field("paused_at", Kind.DATE, stored=False),
    Field("paused_reason", stored=False),
    Field("missed", Kind.JSON, stored=False),
)

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
        *_CRON_EXTRAS,
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
            row["next_execution_time"] = None if trigger.course.is_over else trigger.next_execution_time
            row.update(_extras(trigger))
        case EventTrigger():
            row.update(exchange=trigger.exchange, topic=trigger.topic, event=trigger.event)
    if trigger.last_error is not None:
        row["last_error"] = trigger.last_error
    return row


def _extras(trigger: CronTrigger) -> JsonObject:
    """What a trigger has beyond Mistral's, as far as it has it."""
    course, default = trigger.course, CronOptions()
    used = {name: getattr(trigger.options, name) for name in CRON_OPTIONS}
    used = {name: value for name, value in used.items() if value != getattr(default, name)}
    told: JsonObject = {
        "scheduled_for": course.due_at,
        "queued": len(course.queued) or None,
        "failures": course.failures or None,
        "paused_at": course.paused_at,
        "paused_reason": course.paused_reason,
        "missed": course.missed,
    }
    return used | {name: value for name, value in told.items() if value is not None}


def list_triggers(triggers: Triggers, kind: TriggerKind, call: Call) -> JsonObject:
    """The answer to a list of triggers."""
    query = list_query(call, RESOURCES[kind], flags=(ALL_PROJECTS,))
    access = access_of(call)
    if [key.name for key in query.sort] != ["created_at", "id"]:
        return page_of(query, _all_rows(triggers, kind, access))
    after = None
    if query.marker is not None:
        after = triggers.find_id(kind, access, query.marker)
        if after is None:
            raise unknown_marker(query)
    browsed = triggers.browse(kind, access, after=after, descending=query.sort[0].descending)
    return ordered_page(query, map(row_of, browsed), looked_at_max=limits.TRIGGERS_SCANNED_MAX)


def _all_rows(triggers: Triggers, kind: TriggerKind, access: Access) -> Iterator[JsonObject]:
    for number, trigger in enumerate(triggers.browse(kind, access)):
        if number == limits.TRIGGERS_SCANNED_MAX:
            raise InputException(
                f"More than {limits.TRIGGERS_SCANNED_MAX} {RESOURCES[kind].collection} can be sorted by created_at "
                "only."
            )
        yield row_of(trigger)
