"""Records of executions as rows, and the fields of the resources that they become.

A row holds what is known without reading more; values that may be kept elsewhere are added where they are wanted.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from chalicelib.api.fields import CREATED_AT, ID, TAGS, UPDATED_AT, Field, Kind, Resource
from chalicelib.engine.identity import action_id, task_id
from chalicelib.engine.moment import timestamp
from chalicelib.engine.records import ActionExecution, TaskExecution, TimerKind, WorkflowExecution
from chalicelib.services.action_run_records import ActionRun
from chalicelib.services.reading import Reader
from chalicelib.services.trees import ExecutionNode, Statistics, TaskNode
from chalicelib.vocabulary import Json, JsonObject, State

EXECUTION: Final = Resource(
    "executions",
    "WorkflowExecution",
    (
        ID,
        Field("workflow_id", Kind.UUID),
        Field("workflow_name"),
        Field("workflow_namespace"),
        Field("description"),
        TAGS,
        Field("params", Kind.JSON),
        Field("task_execution_id", Kind.UUID),
        Field("root_execution_id", Kind.UUID),
        Field("source_execution_id", stored=False),
        Field("state"),
        Field("state_info"),
        Field("input", Kind.JSON),
        Field("output", Kind.JSON),
        CREATED_AT,
        UPDATED_AT,
        Field("project_id"),
        Field("published_global", Kind.JSON, stored=False),
        # The database's name for the workflow's name: web interfaces sort by it.
        Field("name", shown=False),
    ),
)

TASK: Final = Resource(
    "tasks",
    "TaskExecution",
    (
        ID,
        Field("name"),
        Field("type"),
        Field("workflow_name"),
        Field("workflow_namespace"),
        Field("workflow_id", Kind.UUID),
        Field("workflow_execution_id", Kind.UUID),
        TAGS,
        Field("state"),
        Field("state_info"),
        Field("project_id"),
        Field("runtime_context", Kind.JSON),
        Field("result", Kind.VALUE, stored=False),
        Field("published", Kind.JSON),
        Field("published_global", Kind.JSON, stored=False),
        Field("processed", Kind.BOOLEAN),
        CREATED_AT,
        UPDATED_AT,
        Field("started_at", Kind.DATE),
        Field("finished_at", Kind.DATE),
        Field("reset", Kind.BOOLEAN, stored=False),
        Field("env", Kind.JSON, stored=False),
    ),
)

ACTION_EXECUTION: Final = Resource(
    "action_executions",
    "ActionExecution",
    (
        ID,
        Field("workflow_name"),
        Field("workflow_namespace"),
        Field("task_name"),
        Field("task_execution_id", Kind.UUID),
        Field("state"),
        Field("state_info"),
        TAGS,
        Field("name"),
        Field("description"),
        Field("project_id"),
        Field("accepted", Kind.BOOLEAN),
        Field("input", Kind.JSON),
        Field("output", Kind.JSON),
        CREATED_AT,
        UPDATED_AT,
        Field("params", Kind.JSON, stored=False),
    ),
)

EXECUTION_VALUES: Final = ("params", "input", "output")


def execution_row(header: WorkflowExecution) -> JsonObject:
    """An execution without its values."""
    parent = header.parent
    return {
        "id": header.public,
        "workflow_id": header.workflow_id,
        "workflow_name": header.workflow_name,
        "workflow_namespace": header.workflow_namespace,
        "description": header.description if header.description is not None or parent is None else _CHILD,
        "tags": list(header.tags),
        "task_execution_id": task_id(parent.execution_id, parent.ordinal) if parent is not None else None,
        "root_execution_id": header.root_execution_id,
        "state": str(header.state),
        "state_info": header.state_info,
        "created_at": header.created_at,
        "updated_at": header.updated_at,
        "project_id": header.project_id,
        "name": header.workflow_name,
    }


_CHILD: Final = "sub-workflow execution"


def execution_values(reader: Reader, header: WorkflowExecution, names: Iterable[str]) -> JsonObject:
    """The values of an execution that have these names, wherever they are kept."""
    kept: dict[str, Json] = {"params": header.params, "input": header.input, "output": header.output}
    return {name: reader.value(header, kept[name]) or {} for name in names if name in kept}


def whole_execution(reader: Reader, header: WorkflowExecution) -> JsonObject:
    """An execution with all its values but the published ones."""
    return execution_row(header) | execution_values(reader, header, EXECUTION_VALUES)


def task_row(header: WorkflowExecution, task: TaskExecution, tags: Iterable[str] = ()) -> JsonObject:
    """A task without what it published and what it came to."""
    return {
        "id": task_id(header.id, task.ordinal),
        "name": task.name,
        "type": str(task.type),
        "workflow_name": header.workflow_name,
        "workflow_namespace": header.workflow_namespace,
        "workflow_id": header.workflow_id,
        "workflow_execution_id": header.public,
        "tags": list(tags),
        "state": str(task.state),
        "state_info": task.state_info,
        "project_id": header.project_id,
        "runtime_context": runtime_context(header, task),
        "processed": header.is_processed(task),
        "created_at": task.created_at,
        "updated_at": task.updated_at if task.updated_at is not None else task.created_at,
        "started_at": task.started_at,
        "finished_at": task.finished_at,
    }


def runtime_context(header: WorkflowExecution, task: TaskExecution) -> JsonObject:
    """What policies and links have left on a task, in Mistral's words."""
    shown: JsonObject = {}
    if task.triggered_by:
        shown["triggered_by"] = [
            {"task_id": task_id(header.id, trigger.ordinal), "event": trigger.event} for trigger in task.triggered_by
        ]
    if task.concurrency is not None:
        shown["concurrency"] = task.concurrency
    if task.items is not None:
        shown["with_items"] = {"count": task.items.count, "capacity": _capacity(task)}
    if task.retry_no:
        shown["retry_task_policy"] = {"retry_no": task.retry_no}
    if task.waited_before:
        shown["wait_before_policy"] = {"skip": True}
    if task.waited_after:
        shown["wait_after_policy"] = {"skip": True}
    if any(timer.kind is TimerKind.TIMEOUT for timer in task.timers):
        shown["timeout_task_policy"] = {"is_set": True}
    return shown


def _capacity(task: TaskExecution) -> int | None:
    if task.items is None or task.items.concurrency is None:
        return None
    running = (task.items.started & ~task.items.finished).bit_count()
    return max(0, task.items.concurrency - running)


def action_row(header: WorkflowExecution, task: TaskExecution, action: ActionExecution) -> JsonObject:
    """An action execution of a task, without its values."""
    return {
        "id": action_id(header.id, task.ordinal, action.number),
        "workflow_name": header.workflow_name,
        "workflow_namespace": header.workflow_namespace,
        "task_name": task.name,
        "task_execution_id": task_id(header.id, task.ordinal),
        "state": str(action.state),
        "state_info": None,
        "tags": None,
        "name": action.name,
        "description": "",
        "project_id": header.project_id,
        "accepted": action.accepted,
        "created_at": action.created_at,
        "updated_at": action.updated_at,
    }


def action_values(
    reader: Reader, header: WorkflowExecution, action: ActionExecution, names: Iterable[str]
) -> JsonObject:
    """The values of an action execution that have these names."""
    values: JsonObject = {}
    if "input" in names:
        values["input"] = reader.value(header, action.input) or {}
    if "output" in names:
        result = action.result
        if result is not None:
            values["output"] = {"result": reader.value(header, result.value)}
        else:
            # A completed action without a result is one whose task does not keep results.
            values["output"] = {} if action.state.is_completed else None
    return values


def run_row(run: ActionRun) -> JsonObject:
    """An action execution without a task. One that was not stored has neither id nor dates."""
    action, is_stored = run.action, run.id is not None
    return {
        "id": run.id,
        "workflow_name": None,
        "workflow_namespace": run.namespace,
        "task_name": None,
        "task_execution_id": None,
        "state": str(action.state),
        "state_info": None,
        "tags": None,
        "name": action.name,
        "description": run.description,
        "project_id": run.project_id if is_stored else None,
        "accepted": action.accepted if is_stored else None,
        "input": action.input,
        "output": None if action.result is None else {"result": action.result.value},
        "created_at": action.created_at if is_stored else None,
        "updated_at": action.updated_at if is_stored else None,
    }


# -- reports


def report_view(root: ExecutionNode | None, statistics: Statistics, estimated_sec: float) -> JsonObject:
    """The report of an execution; without a root only its statistics."""
    counts = {f"{state.lower()}_tasks_count": statistics.counts[state] for state in _REPORTED}
    shown: JsonObject = {
        "statistics": {"total_tasks_count": statistics.total, **counts, "estimated_time": estimated_sec}
    }
    if root is not None:
        shown["root_workflow_execution"] = _execution_entry(root)
    return shown


_REPORTED: Final = (State.RUNNING, State.SUCCESS, State.ERROR, State.IDLE, State.PAUSED)

REPORT_SCHEMA: Final[JsonObject] = {
    "type": "object",
    "required": ["statistics"],
    "properties": {
        "statistics": {
            "type": "object",
            "required": ["total_tasks_count", "estimated_time"],
            "properties": {
                "total_tasks_count": {"type": "integer"},
                **{f"{state.lower()}_tasks_count": {"type": "integer"} for state in _REPORTED},
                "estimated_time": {"type": "number", "description": "seconds; -1 when nothing is known"},
            },
            "additionalProperties": False,
        },
        "root_workflow_execution": {"type": "object", "description": "its tasks, their actions and sub-workflows"},
    },
    "additionalProperties": False,
}


def _execution_entry(node: ExecutionNode) -> JsonObject:
    header = node.header
    entry = _entry(header.public, header.workflow_name, header)
    if node.tasks is not None:
        entry["task_executions"] = [_task_entry(header, task) for task in node.tasks]
    return entry


def _task_entry(header: WorkflowExecution, node: TaskNode) -> JsonObject:
    task = node.task
    entry: JsonObject = {
        "action_executions": [
            {
                "accepted": action.accepted,
                "last_heartbeat": None,
                **_entry(action_id(header.id, task.ordinal, action.number), action.name, action),
            }
            for action in node.actions
        ],
        "workflow_executions": [_execution_entry(child) for child in node.executions],
    }
    if task.retry_no:
        entry["retry_count"] = task.retry_no
    return entry | _entry(task_id(header.id, task.ordinal), task.name, task)


def _entry(identifier: str, name: str, record: Any) -> JsonObject:
    return {
        "id": identifier,
        "name": name,
        "created_at": timestamp(record.created_at),
        "updated_at": timestamp(record.updated_at),
        "state": str(record.state),
        "state_info": getattr(record, "state_info", None),
    }
