"""Definitions as Mistral shows them: the fields of workbooks, workflows, actions and their like, and their rows."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Final

from chalicelib.actions.action import Action, ActionSummary
from chalicelib.api.fields import CREATED_AT, ID, TAGS, UPDATED_AT, Field, Kind, Resource
from chalicelib.lang.specs import InputSpec
from chalicelib.services import definition_records as records
from chalicelib.services.definition_records import (
    ActionContent,
    CodeSourceContent,
    Definition,
    DynamicActionContent,
    EnvironmentContent,
    WorkbookContent,
    WorkflowContent,
    interface_of,
    spec_of,
)
from chalicelib.vocabulary import Json, JsonObject

_NAME: Final = Field("name")
_NAMESPACE: Final = Field("namespace")
_DEFINITION: Final = Field("definition")
_SCOPE: Final = Field("scope")
_PROJECT_ID: Final = Field("project_id")

WORKBOOKS: Final = Resource(
    "workbooks",
    "Workbook",
    (ID, _NAME, _NAMESPACE, _DEFINITION, TAGS, _SCOPE, _PROJECT_ID, CREATED_AT, UPDATED_AT),
)
WORKFLOWS: Final = Resource(
    "workflows",
    "Workflow",
    (
        ID,
        _NAME,
        _NAMESPACE,
        Field("input"),
        Field("interface", Kind.JSON, stored=False),
        _DEFINITION,
        Field("checksum"),
        TAGS,
        _SCOPE,
        _PROJECT_ID,
        CREATED_AT,
        UPDATED_AT,
    ),
)
ACTIONS: Final = Resource(
    "actions",
    "Action",
    (
        ID,
        _NAME,
        Field("is_system", Kind.BOOLEAN),
        Field("input"),
        Field("description"),
        TAGS,
        _DEFINITION,
        _SCOPE,
        _PROJECT_ID,
        CREATED_AT,
        UPDATED_AT,
        _NAMESPACE,
    ),
    default_sort="name",
)
ENVIRONMENTS: Final = Resource(
    "environments",
    "Environment",
    (
        ID,
        _NAME,
        Field("description"),
        Field("variables", Kind.JSON),
        _SCOPE,
        _PROJECT_ID,
        CREATED_AT,
        UPDATED_AT,
    ),
)
# What is stored here has no tags, but a list may be asked for some.
_NO_TAGS: Final = Field("tags", Kind.TAGS, shown=False)
CODE_SOURCES: Final = Resource(
    "code_sources",
    "Code source",
    (
        ID,
        _NAME,
        _NAMESPACE,
        Field("content"),
        Field("version", Kind.INTEGER),
        _PROJECT_ID,
        _SCOPE,
        CREATED_AT,
        UPDATED_AT,
        _NO_TAGS,
    ),
)
DYNAMIC_ACTIONS: Final = Resource(
    "dynamic_actions",
    "Dynamic action",
    (
        ID,
        _NAME,
        _NAMESPACE,
        Field("code_source_id", Kind.UUID),
        Field("code_source_name"),
        Field("class_name"),
        _PROJECT_ID,
        _SCOPE,
        CREATED_AT,
        UPDATED_AT,
        _NO_TAGS,
    ),
)
RESOURCES: Final = {
    records.Kind.WORKBOOK: WORKBOOKS,
    records.Kind.WORKFLOW: WORKFLOWS,
    records.Kind.ACTION: ACTIONS,
    records.Kind.ENVIRONMENT: ENVIRONMENTS,
    records.Kind.CODE_SOURCE: CODE_SOURCES,
    records.Kind.DYNAMIC_ACTION: DYNAMIC_ACTIONS,
}


def row_of(record: Definition) -> JsonObject:
    """A record as a row."""
    row: JsonObject = {
        "id": record.id,
        "name": record.name,
        "namespace": record.namespace,
        "scope": record.scope,
        "project_id": record.project_id,
        "created_at": record.created_at,
        "updated_at": record.updated_at,
    }
    match record.content:
        case WorkflowContent() as content:
            row["definition"] = content.definition
            row["tags"] = list(content.tags)
            row["input"] = _input_text(content.input, _as_text)
            row["interface"] = interface_of(content)
            row["checksum"] = content.checksum
        case WorkbookContent() as content:
            row["definition"] = content.definition
            row["tags"] = list(content.tags)
        case ActionContent() as content:
            row["definition"] = content.definition
            row["tags"] = list(content.tags)
            row["is_system"] = False
            row["input"] = _input_text(spec_of(record).input, json.dumps)
            row["description"] = content.description
        case EnvironmentContent() as content:
            row["description"] = content.description
            row["variables"] = content.variables
        case CodeSourceContent() as content:
            row["content"] = content.content
            row["version"] = content.version
        case DynamicActionContent() as content:
            row["class_name"] = content.class_name
            row["code_source_id"] = content.code_source_id
            row["code_source_name"] = content.code_source_name
    return row


def dynamic_row(record: Definition, action: Action) -> JsonObject:
    """A dynamic action as a row among all actions."""
    row = {name: value for name, value in row_of(record).items() if name in ACTIONS.by_name}
    return {
        **row,
        "is_system": False,
        "input": action.signature_text,
        "description": action.description,
        "tags": None,
        "definition": "",
    }


def created_row(record: Definition) -> JsonObject:
    """A record as the answer to its creation shows it: what has never been given is not there."""
    row = _written(record)
    del row["updated_at"]
    if isinstance(record.content, EnvironmentContent):
        row = {name: value for name, value in row.items() if value is not None}
    return row


def updated_row(record: Definition) -> JsonObject:
    """A record as the answer to its update shows it."""
    return _written(record)


def _written(record: Definition) -> JsonObject:
    row = row_of(record)
    if isinstance(record.content, ActionContent):
        row["input"] = row["input"] or None  # "" when it is read
    return row


def registered_row(summary: ActionSummary) -> JsonObject:
    """An action that is no record but part of this installation; ``shown_action`` completes it for answers."""
    return {
        "id": summary.name,
        "name": summary.name,
        "is_system": True,
        "input": summary.input,
        "description": summary.description,
        "tags": None,
        "definition": "",
        "scope": None,
        "project_id": None,
        "created_at": None,
        "updated_at": None,
        "namespace": "",
    }


def shown_action(row: JsonObject) -> JsonObject:
    """An action's row for an answer: Mistral shows empty texts where a built-in action has no dates."""
    return {**row, "created_at": "", "updated_at": ""} if row["is_system"] else row


def _input_text(inputs: tuple[InputSpec, ...], shown: Callable[[Json], str]) -> str:
    return ", ".join(spec.name if spec.required else f"{spec.name}={shown(spec.default)}" for spec in inputs)


def _as_text(default: Json) -> str:
    return f'"{default}"'
