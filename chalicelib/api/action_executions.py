"""Endpoints of action executions: those of tasks, and those that run on their own.

A list that names no task shows the action executions of the newest executions' tasks, and the newest of those on their
own; both are bounded as lists of tasks are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain, islice
from typing import Final

from chalicelib.api.about import changes, creates, lists, removes, shows
from chalicelib.api.bodies import READ_ONLY, Attributes, read_attributes
from chalicelib.api.fields import Row, typed
from chalicelib.api.http import CREATED, NO_CONTENT, Answer, Body, Call, Route
from chalicelib.api.listing import ListQuery, arguments_of, list_query, page_of, wanted_fields
from chalicelib.api.record_lists import list_records
from chalicelib.api.services import Provider, Services, listed_project, sight_of
from chalicelib.api.values import refuse, to_boolean, to_uuid
from chalicelib.api.views import ACTION_EXECUTION, action_row, action_values, run_row
from chalicelib.engine.events import ActionCompleted, ActionUpdated
from chalicelib.engine.records import ActionExecution, TaskExecution, WorkflowExecution
from chalicelib.errors import (
    InputException,
    InvalidResultException,
    InvalidStateTransitionException,
    NotAllowedException,
    NotFoundException,
)
from chalicelib.limits import LIST_ITEMS_MAX, TASKS_GATHERED_MAX
from chalicelib.services.action_run_records import ActionRun, RunRequest
from chalicelib.services.reading import Reader
from chalicelib.vocabulary import Json, JsonObject, Result, State

_FLAGS: Final = ("include_output",)
_VALUES: Final = ("input", "output")
_BODY: Final = frozenset(ACTION_EXECUTION.by_name)
_REQUESTABLE: Final = (State.SUCCESS, State.ERROR, State.CANCELLED, State.PAUSED, State.RUNNING)
_ABOUT: Final = {
    "list": lists(ACTION_EXECUTION, "Action executions of a task, or the newest of the project."),
    "create": creates(ACTION_EXECUTION, "Run an action on its own.", _BODY - READ_ONLY, ("name",)),
    "show": shows(ACTION_EXECUTION, "One action execution with its output."),
    "update": changes(
        ACTION_EXECUTION,
        "Give an action execution its result, pause it or set it running.",
        _BODY - READ_ONLY,
        ("state",),
    ),
    "delete": removes("Delete an action execution that ran on its own, where the deployment allows it."),
    "list of": lists(ACTION_EXECUTION, "Action executions of a task."),
}
# Where a row of this module keeps its records; no field has such a name.
_RECORDS: Final = "@"


def routes(services: Provider) -> tuple[Route, ...]:
    """The routes of action executions."""
    api = ActionExecutions(services)
    known = arguments_of(ACTION_EXECUTION, (*_FLAGS, "params"))
    one = "/v2/action_executions/{identifier}"
    of_task = "/v2/tasks/{identifier}/action_executions"
    return (
        Route("GET", "/v2/action_executions", api.list, known, about=_ABOUT["list"]),
        Route("POST", "/v2/action_executions", api.create, body=Body.JSON, about=_ABOUT["create"]),
        Route("GET", one, api.show, ("fields",), about=_ABOUT["show"]),
        Route("PUT", one, api.update, body=Body.JSON, about=_ABOUT["update"]),
        Route("DELETE", one, api.delete, about=_ABOUT["delete"]),
        Route("GET", of_task, api.list_of_task, known - {"task_execution_id"}, about=_ABOUT["list of"]),
        Route("GET", f"{of_task}/{{action_identifier}}", api.show_of_task, ("fields",), about=_ABOUT["show"]),
    )


class ActionExecutions:
    """The endpoints of action executions."""

    def __init__(self, services: Provider) -> None:
        self._services = services

    def list(self, call: Call) -> Answer:
        """Action executions of one task, or the newest of the project."""
        services = self._services()
        query = _query(call)
        task = query.filter_on("task_execution_id")
        if task is not None:
            return Answer(_list_of_task(services.reader, call, query, str(task.operand)))
        project_id = listed_project(call)
        name = query.filter_on("workflow_name")
        workflow_name = str(name.operand) if name is not None and name.operator == "eq" else None
        of_tasks = (
            _bare(header, task, action)
            for header, task in services.reader.recent_tasks(project_id, workflow_name)
            for action in services.reader.actions_in_order(header, task)
        )
        on_their_own = (run_row(run) for run in services.action_runs.newest(project_id, LIST_ITEMS_MAX))
        rows = chain(on_their_own, islice(of_tasks, TASKS_GATHERED_MAX))
        filtered, complete = _values(services.reader, query)
        return Answer(page_of(query, map(filtered, rows), complete=complete))

    def list_of_task(self, call: Call) -> Answer:
        """Action executions of one task; of an unknown task there are none."""
        reader = self._services().reader
        identifier = to_uuid("task_execution_id", call.parameters["identifier"])
        query = _query(call, {"task_execution_id": identifier})
        return Answer(_list_of_task(reader, call, query, identifier))

    def show(self, call: Call) -> Answer:
        """One action execution with its output."""
        return Answer(self._view(call, call.parameters["identifier"]))

    def show_of_task(self, call: Call) -> Answer:
        """One action execution of a task."""
        return Answer(self._view(call, call.parameters["action_identifier"]))

    def _view(self, call: Call, identifier: str) -> JsonObject:
        services = self._services()
        fields = wanted_fields(call, ACTION_EXECUTION)
        run = _run_of(services, call, identifier)
        if run is not None:
            return typed(ACTION_EXECUTION, run_row(run), fields)
        row = _whole(services.reader, *services.reader.action(identifier, sight_of(call)))
        return typed(ACTION_EXECUTION, row, fields)

    def create(self, call: Call) -> Answer:
        """Run an action on its own."""
        given = read_attributes(call, "action_ex", _BODY)
        run = self._services().action_runs.start(_run_request(call, given))
        return Answer(typed(ACTION_EXECUTION, run_row(run)), CREATED)

    def update(self, call: Call) -> Answer:
        """Give an action execution its result, pause it or set it running: what asynchronous actions call back with."""
        services = self._services()
        identifier = call.parameters["identifier"]
        given = read_attributes(call, "action_ex", _BODY)
        state, output = _requested(given)
        run = _run_of(services, call, identifier)
        if run is not None:
            check_change(run.action, state, identifier)
            return Answer(typed(ACTION_EXECUTION, run_row(_change_run(services, run, state, output))))
        header, task, action = services.reader.action(identifier, sight_of(call))
        check_change(action, state, identifier)
        if state is not action.state:
            event: ActionCompleted | ActionUpdated
            if state.is_completed:
                event = ActionCompleted(task.ordinal, action.number, result_for(state, output))
            else:
                event = ActionUpdated(task.ordinal, action.number, state)
            services.engine.handle(header.id, event)
            header, task, action = services.reader.action(identifier, sight_of(call))
        return Answer(typed(ACTION_EXECUTION, _whole(services.reader, header, task, action)))

    def delete(self, call: Call) -> Answer:
        """Delete an action execution that ran on its own, where the deployment allows it."""
        services = self._services()
        if not call.settings.allow_action_execution_deletion:
            raise NotAllowedException("Action execution deletion is not allowed.")
        identifier = call.parameters["identifier"]
        run = _run_of(services, call, identifier)
        if run is None:
            services.reader.action(identifier, sight_of(call))
            raise NotAllowedException("Only ad-hoc action execution can be deleted.")
        if not run.action.state.is_completed:
            raise NotAllowedException("Only completed action execution can be deleted.")
        services.action_runs.delete(run)
        return NO_CONTENT


def check_change(action: ActionExecution, wanted: State, identifier: str) -> None:
    """Refuse what an action execution may not become.

    Raises InvalidResultException for a second result, InvalidStateTransitionException for anything else.
    """
    current = action.state
    if wanted.is_completed and current.is_completed:
        raise InvalidResultException(f"Action execution already completed [id={identifier}, state={current}].")
    is_refused = (
        (current is State.SUCCESS)
        or (current.is_completed and wanted is State.PAUSED)
        or (current is State.RUNNING and wanted is State.PAUSED and action.is_sync)
    )
    if is_refused:
        why = " Only asynchronous actions can be paused." if current is State.RUNNING else ""
        raise InvalidStateTransitionException(
            f"Can't change action execution state from {current} to {wanted} [id={identifier}].{why}"
        )


def result_for(state: State, output: JsonObject | None) -> Result:
    """The result that a request stands for."""
    match state:
        case State.SUCCESS:
            return Result(data=output)
        case State.ERROR:
            return Result(error=output or "Unknown error")
        case _:
            return Result(cancel=True)


def _requested(given: Attributes) -> tuple[State, JsonObject | None]:
    state = given.text("state")
    if state not in _REQUESTABLE:
        expected = ", ".join(_REQUESTABLE)
        raise InvalidResultException(f"Error. Expected one of {expected}, actual: {state}")
    # Nothing at all is an empty result, and null is null.
    return State(state), given.object("output") if given.is_given("output") else {}


def _change_run(services: Services, run: ActionRun, state: State, output: JsonObject | None) -> ActionRun:
    if state.is_completed:
        return services.action_runs.complete(run, result_for(state, output))
    return services.action_runs.change_state(run, state)


def _run_of(services: Services, call: Call, identifier: str) -> ActionRun | None:
    """The action execution on its own that has this id. Raises NotFoundException for another project's."""
    run = services.action_runs.find(identifier)
    if run is not None and not sight_of(call).sees(run.project_id):
        raise NotFoundException(f"ActionExecution not found [id={identifier}]")
    return run


def _run_request(call: Call, given: Attributes) -> RunRequest:
    name = given.text("name")
    if not name:
        raise InputException("Please provide at least action name to run action.")
    params = given.object("params") or {}
    return RunRequest(
        project_id=call.caller.project_id,
        name=name,
        input=given.object("input") or {},
        namespace=given.text("workflow_namespace") or "",
        description=given.text("description") or "",
        run_sync=to_boolean("run_sync", params.get("run_sync") or False),
        save_result=to_boolean("save_result", params.get("save_result") or False),
        target=Attributes(params).text("target") or None,
        timeout_sec=_timeout_sec(params.get("timeout")),
    )


def _timeout_sec(value: Json) -> float | None:
    if value is None:
        return None
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        refuse("timeout", value, "Expected a number of seconds.")
    if not 0 < seconds < float("inf"):
        refuse("timeout", value, "Expected a positive number of seconds.")
    return seconds


def _query(call: Call, fixed: dict[str, str] | None = None) -> ListQuery:
    if "params" in call.query:
        raise InputException("Action executions cannot be filtered by params, which are not kept.")
    return list_query(call, ACTION_EXECUTION, flags=_FLAGS, fixed=fixed)


def _list_of_task(reader: Reader, call: Call, query: ListQuery, task_id: str) -> JsonObject:
    """The answer to a list of the action executions of a task; of an unknown task there are none."""
    try:
        header, task = reader.task(task_id, sight_of(call))
    except NotFoundException:
        return page_of(query, [])
    filtered, complete = _values(reader, query)

    def rows(*, after: int | None, descending: bool) -> Iterator[Row]:
        actions = reader.actions_in_order(header, task, after=after, descending=descending)
        return (filtered(_bare(header, task, action)) for action in actions)

    def number_of(marker: str) -> int | None:
        found, its_task, action = reader.action(marker, sight_of(call))
        return action.number if (found.id, its_task.ordinal) == (header.id, task.ordinal) else None

    return list_records(query, rows, count=task.next_number, number_of=number_of, complete=complete)


def _bare(header: WorkflowExecution, task: TaskExecution, action: ActionExecution) -> JsonObject:
    return action_row(header, task, action) | {_RECORDS: (header, action)}


def _whole(reader: Reader, header: WorkflowExecution, task: TaskExecution, action: ActionExecution) -> JsonObject:
    return action_row(header, task, action) | action_values(reader, header, action, _VALUES)


def _values(reader: Reader, query: ListQuery) -> tuple[Callable[[Row], Row], Callable[[Row], Row]]:
    """What adds to a row the values that filters need, and what adds those that are shown to the rows of a page."""
    by = [one.name for one in query.filters if one.name in _VALUES]
    with_output = to_boolean("include_output", query.flags.get("include_output", ""))
    shown = [name for name in _VALUES if query.wants(name) and (name == "input" or with_output or query.fields)]
    hidden = [name for name in _VALUES if name not in shown]

    def with_values(row: Row, names: list[str]) -> Row:
        if _RECORDS not in row:
            return row
        header, action = row[_RECORDS]
        return {**row, **action_values(reader, header, action, names)}

    def filtered(row: Row) -> Row:
        return with_values(row, by) if by else row

    def complete(row: Row) -> Row:
        return {name: value for name, value in with_values(row, shown).items() if name not in hidden}

    return filtered, complete
