"""Endpoints of task executions: read, list, rerun and skip, and the sub-workflow executions below one.

A list that names no execution shows the tasks of the newest executions only (EXECUTIONS_LOOKED_INTO_MAX executions,
TASKS_GATHERED_MAX tasks): tasks have no index of their own, so that running one costs no index entry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from chalicelib.api.about import changes, lists, shows
from chalicelib.api.bodies import READ_ONLY, Attributes, read_attributes
from chalicelib.api.execution_lists import list_children
from chalicelib.api.executions import TREE_ARGUMENTS, below, execution_by_uuid, tree_options
from chalicelib.api.fields import Row, typed
from chalicelib.api.http import Answer, Body, Call, Route
from chalicelib.api.listing import ListQuery, arguments_of, list_query, page_of, wanted_fields
from chalicelib.api.record_lists import list_records
from chalicelib.api.services import Provider, listed_project, sight_of
from chalicelib.api.values import to_uuid
from chalicelib.api.views import EXECUTION, TASK, task_row
from chalicelib.engine.events import Event, RerunRequested, SkipRequested
from chalicelib.engine.records import TaskExecution, WorkflowExecution
from chalicelib.errors import NotAllowedException, NotFoundException, WorkflowException
from chalicelib.services.reading import Reader
from chalicelib.vocabulary import JsonObject, State

_BODY: Final = frozenset(TASK.by_name)
_ENV_MAY_CHANGE: Final = frozenset({State.IDLE, State.PAUSED, State.ERROR})
_ABOUT: Final = {
    "list": lists(TASK, "Task executions of one execution, or of the newest ones of the project."),
    "list of": lists(TASK, "Task executions of an execution."),
    "show": shows(TASK, "One task execution with its result."),
    "update": changes(TASK, "Run a failed task again (state RUNNING), or skip it (SKIPPED).", _BODY - READ_ONLY),
    "children": lists(EXECUTION, "The sub-workflow executions of a task, without their values."),
    "below": lists(EXECUTION, "The sub-workflow executions below a task, depth first."),
}
# Where a row of this module keeps its records; no field has such a name.
_RECORDS: Final = "@"


def routes(services: Provider) -> tuple[Route, ...]:
    """The routes of task executions."""
    api = Tasks(services)
    one = "/v2/tasks/{identifier}"
    below_execution = arguments_of(TASK) - {"workflow_execution_id"}
    return (
        Route("GET", "/v2/tasks", api.list, arguments_of(TASK), about=_ABOUT["list"]),
        Route(
            "GET", "/v2/executions/{identifier}/tasks", api.list_of_execution, below_execution, about=_ABOUT["list of"]
        ),
        Route("GET", one, api.show, ("fields",), about=_ABOUT["show"]),
        Route("PUT", one, api.update, body=Body.JSON, about=_ABOUT["update"]),
        Route(
            "GET",
            f"{one}/workflow_executions",
            api.list_workflow_executions,
            arguments_of(EXECUTION),
            about=_ABOUT["children"],
        ),
        Route("GET", f"{one}/executions", api.list_below, TREE_ARGUMENTS, about=_ABOUT["below"]),
    )


class Tasks:
    """The endpoints of task executions."""

    def __init__(self, services: Provider) -> None:
        self._services = services

    def list(self, call: Call) -> Answer:
        """Tasks of one execution, or of the newest ones of the project."""
        reader = self._services().reader
        query = list_query(call, TASK)
        execution = query.filter_on("workflow_execution_id")
        if execution is None:
            name = query.filter_on("workflow_name")
            workflow_name = str(name.operand) if name is not None and name.operator == "eq" else None
            rows, complete = _rows(reader, query, reader.recent_tasks(listed_project(call), workflow_name))
            return Answer(page_of(query, rows, complete=complete))
        try:
            header = reader.execution(str(execution.operand), sight_of(call))
        except NotFoundException:
            return Answer(page_of(query, []))
        return Answer(_tasks_of(reader, call, query, header))

    def list_of_execution(self, call: Call) -> Answer:
        """Tasks of one execution, which must exist."""
        reader = self._services().reader
        header = execution_by_uuid(reader, call, "workflow_execution_id")
        query = list_query(call, TASK, fixed={"workflow_execution_id": header.public})
        return Answer(_tasks_of(reader, call, query, header))

    def show(self, call: Call) -> Answer:
        """One task with its result."""
        reader = self._services().reader
        fields = wanted_fields(call, TASK)
        header, task = reader.task(call.parameters["identifier"], sight_of(call))
        row = _whole_task(reader, header, task)
        if fields is None or "published_global" in fields:
            shared = reader.task_published_global(header, task)
            row |= {"published_global": shared} if shared else {}
        return Answer(typed(TASK, row, fields))

    def update(self, call: Call) -> Answer:
        """Run a failed task again, or skip it."""
        services = self._services()
        given = read_attributes(call, "task", _BODY)
        header, task = services.reader.task(call.parameters["identifier"], sight_of(call))
        services.engine.handle(header.id, _event_for(header, task, given))
        header, task = services.reader.task(call.parameters["identifier"], sight_of(call))
        return Answer(typed(TASK, _whole_task(services.reader, header, task)))

    def list_workflow_executions(self, call: Call) -> Answer:
        """The sub-workflow executions of one task, without their values."""
        reader = self._services().reader
        identifier = to_uuid("task_execution_id", call.parameters["identifier"])
        query = list_query(call, EXECUTION, fixed={"task_execution_id": identifier})
        try:
            header, task = reader.task(identifier, sight_of(call))
        except NotFoundException:
            return Answer(page_of(query, []))
        return Answer(list_children(reader, call, query, header, task))

    def list_below(self, call: Call) -> Answer:
        """The sub-workflow executions below one task, depth first."""
        services = self._services()
        errors_only, max_depth = tree_options(call)
        identifier = to_uuid("id", call.parameters["identifier"])
        header, task = services.reader.task(identifier, sight_of(call))
        found = services.trees.below_task(header, task, errors_only=errors_only, max_depth=max_depth)
        return Answer(below(services.reader, call, found))


def _whole_task(reader: Reader, header: WorkflowExecution, task: TaskExecution) -> JsonObject:
    return task_row(header, task, reader.tags_of(header, task)) | {
        "result": reader.result_of(header, task),
        "published": reader.value(header, task.published),
    }


def _tasks_of(reader: Reader, call: Call, query: ListQuery, header: WorkflowExecution) -> JsonObject:
    """The answer to a list of the tasks of one execution."""
    _, complete = _rows(reader, query, ())

    def rows(*, after: int | None, descending: bool) -> Iterator[Row]:
        tasks = reader.store.tasks_in_order(header, after=after, descending=descending)
        return _rows(reader, query, ((header, task) for task in tasks))[0]

    def number_of(marker: str) -> int | None:
        found, task = reader.task(marker, sight_of(call))
        return task.ordinal if found.id == header.id else None

    return list_records(query, rows, count=header.next_ordinal, number_of=number_of, complete=complete)


def _rows(
    reader: Reader, query: ListQuery, found: Iterable[tuple[WorkflowExecution, TaskExecution]]
) -> tuple[Iterator[Row], Callable[[Row], Row]]:
    """Tasks as rows; what they published is read to filter by it, or by what completes a row that is shown."""
    by_published = query.filter_on("published") is not None

    def bare(header: WorkflowExecution, task: TaskExecution) -> JsonObject:
        row = task_row(header, task, reader.tags_of(header, task))
        if by_published:
            row["published"] = reader.value(header, task.published)
        return row | {_RECORDS: (header, task)}

    def complete(row: Row) -> Row:
        if by_published or not query.wants("published"):
            return row
        header, task = row[_RECORDS]
        return {**row, "published": reader.value(header, task.published)}

    return (bare(header, task) for header, task in found), complete


def _event_for(header: WorkflowExecution, task: TaskExecution, given: Attributes) -> Event:
    """Rerun or skip, after Mistral's checks in Mistral's order. Raises WorkflowException, NotAllowedException."""
    name, workflow_name, state = given.text("name"), given.text("workflow_name"), given.text("state")
    if name and name != task.name:
        raise WorkflowException("Task name does not match.")
    if workflow_name and workflow_name != header.workflow_name:
        raise WorkflowException("Workflow name does not match.")
    if state not in (State.RUNNING, State.SKIPPED):
        raise WorkflowException("Invalid task state. Only updating task to RUNNING or SKIPPED is supported.")
    if task.state is not State.ERROR:
        raise WorkflowException(
            "The current task execution must be in ERROR for rerun. Only updating task to rerun is supported."
        )
    env = given.object("env")
    if state == State.RUNNING:
        reset = given.boolean("reset")
        if reset is None:
            raise WorkflowException("Reset field is mandatory to rerun task.")
        if not reset and not task.has_items:
            raise WorkflowException("Only with-items task has the option to not reset.")
        _check_env(header, env)
        return RerunRequested(task.ordinal, reset, env)
    _check_env(header, env)
    return SkipRequested(task.ordinal, env)


def _check_env(header: WorkflowExecution, env: JsonObject | None) -> None:
    if env and header.state not in _ENV_MAY_CHANGE:
        raise NotAllowedException(
            "Updating env to workflow execution is only permitted if it is in IDLE, PAUSED, or ERROR state."
        )
