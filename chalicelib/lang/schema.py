"""The language as JSON Schema, for editors and for other tools: the same tables that the validator checks by."""

from __future__ import annotations

from typing import Final

from chalicelib.lang import grammar
from chalicelib.vocabulary import JsonObject

_DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
_CHILD_NAME: Final = r"^(?!version$)[\w-]+$"


def language_schema() -> JsonObject:
    """The schema of the three kinds of document; what a schema cannot say (links, joins, expressions) is not in it."""
    return {
        "$schema": _DRAFT,
        "title": "Mistral Workflow Language v2",
        "anyOf": [{"$ref": f"#/$defs/{name}"} for name in ("workbook", "workflow-list", "action-list")],
        "$defs": {
            "workbook": _workbook(),
            "workflow-list": _list_of("workflow"),
            "action-list": _list_of("action"),
            "workflow": {"oneOf": [_ref("direct-workflow"), _ref("reverse-workflow")]},
            "direct-workflow": _workflow("direct"),
            "reverse-workflow": _workflow("reverse"),
            "direct-task": {**grammar.TASKS["direct"].schema(), **_ONE_COMMAND},
            "reverse-task": {**grammar.TASKS["reverse"].schema(), **_ONE_COMMAND},
            "task-defaults": grammar.TASK_DEFAULTS.schema(),
            "action": grammar.ACTION.schema(),
        },
    }


_ONE_COMMAND: Final[JsonObject] = {"not": {"required": ["action", "workflow"]}}


def _ref(name: str) -> JsonObject:
    return {"$ref": f"#/$defs/{name}"}


def _list_of(item: str) -> JsonObject:
    return {
        "type": "object",
        "required": ["version"],
        "minProperties": 2,
        "properties": {"version": grammar.LIST_VERSION.schema()},
        "additionalProperties": _ref(item),
    }


def _workflow(kind: str) -> JsonObject:
    schema = grammar.WORKFLOW.schema()
    schema["properties"] |= {
        "type": {"const": kind},
        "description": {"type": "string"},
        "timeout": grammar.WORKFLOW_TIMEOUT.schema(),
        "task-defaults": _ref("task-defaults"),
        "tasks": {"type": "object", "minProperties": 1, "additionalProperties": _ref(f"{kind}-task")},
    }
    if kind != "direct":
        schema["required"] = [*schema["required"], "type"]
    return schema


def _workbook() -> JsonObject:
    schema = grammar.WORKBOOK.schema()
    for section, item in (("actions", "action"), ("workflows", "workflow")):
        schema["properties"][section] = {
            "type": "object",
            "minProperties": 1,
            "patternProperties": {_CHILD_NAME: _ref(item)},
            "properties": {"version": {"const": grammar.VERSION}},
            "additionalProperties": False,
        }
    return schema
