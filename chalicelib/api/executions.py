"""Endpoints of workflow executions: start, read, list, change, delete, and what lies below one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from chalicelib.api.about import changes, creates, lists, removes, shows, tells
from chalicelib.api.bodies import READ_ONLY, Attributes, read_attributes
from chalicelib.api.execution_changes import change_execution
from chalicelib.api.execution_lists import list_executions, rows_of
from chalicelib.api.fields import Row, typed
from chalicelib.api.http import CREATED, NO_CONTENT, Answer, Body, Call, Route
from chalicelib.api.listing import arguments_of, wanted_fields
from chalicelib.api.services import Provider, sight_of
from chalicelib.api.values import to_boolean, to_integer, to_uuid
from chalicelib.api.views import (
    EXECUTION,
    EXECUTION_VALUES,
    REPORT_SCHEMA,
    execution_row,
    execution_values,
    report_view,
    whole_execution,
)
from chalicelib.engine.records import WorkflowExecution
from chalicelib.errors import NotAllowedException, NotFoundException, WorkflowException
from chalicelib.services.engine import StartRequest
from chalicelib.services.reading import Reader
from chalicelib.services.trees import Statistics
from chalicelib.vocabulary import JsonObject

LIST_FLAGS: Final = ("include_output", "all_projects", "nulls")
_BODY: Final = frozenset(EXECUTION.by_name) - {"name"}
TREE_ARGUMENTS: Final = ("errors_only", "max_depth", "include_output")
_REPORT_ARGUMENTS: Final = ("errors_only", "max_depth", "statistics_only")
_ABOUT: Final = {
    "list": lists(EXECUTION, "Workflow executions of the project."),
    "create": creates(
        EXECUTION, "Start a workflow; an execution whose `id` exists already is given back as it is.", _BODY - READ_ONLY
    ),
    "show": shows(EXECUTION, "One workflow execution."),
    "update": changes(
        EXECUTION, "Pause, resume or end an execution, or change its description or environment.", _BODY - READ_ONLY
    ),
    "delete": removes("Delete an execution and everything below it; one that is not completed needs `force`."),
    "below": lists(EXECUTION, "An execution and its sub-workflow executions, depth first."),
    "report": tells("Statistics of an execution, and the tree of everything below it.", REPORT_SCHEMA),
}


def routes(services: Provider) -> tuple[Route, ...]:
    """The routes of workflow executions."""
    api = Executions(services)
    one = "/v2/executions/{identifier}"
    return (
        Route("GET", "/v2/executions", api.list, arguments_of(EXECUTION, LIST_FLAGS), about=_ABOUT["list"]),
        Route("POST", "/v2/executions", api.create, body=Body.JSON, about=_ABOUT["create"]),
        Route("GET", one, api.show, ("fields",), about=_ABOUT["show"]),
        Route("PUT", one, api.update, body=Body.JSON, about=_ABOUT["update"]),
        Route("DELETE", one, api.delete, ("force",), about=_ABOUT["delete"]),
        Route("GET", f"{one}/executions", api.list_below, TREE_ARGUMENTS, about=_ABOUT["below"]),
        Route("GET", f"{one}/report", api.report, _REPORT_ARGUMENTS, about=_ABOUT["report"]),
    )


class Executions:
    """The endpoints of workflow executions."""

    def __init__(self, services: Provider) -> None:
        self._services = services

    def list(self, call: Call) -> Answer:
        """Executions of the caller's project."""
        return Answer(list_executions(self._services(), call))

    def show(self, call: Call) -> Answer:
        """One execution."""
        reader = self._services().reader
        header = reader.execution(call.parameters["identifier"], sight_of(call))
        fields = wanted_fields(call, EXECUTION)
        wanted = EXECUTION_VALUES if fields is None else [name for name in EXECUTION_VALUES if name in fields]
        row = execution_row(header) | execution_values(reader, header, wanted)
        if fields is None:
            row["published_global"] = reader.published_global(header)
        return Answer(typed(EXECUTION, row, fields))

    def create(self, call: Call) -> Answer:
        """Start an execution; one whose id exists already is given back as it is."""
        services = self._services()
        request = self._start_request(call, read_attributes(call, "wf_ex", _BODY))
        header = services.engine.start(request)
        return Answer(typed(EXECUTION, whole_execution(services.reader, header)), CREATED)

    def _start_request(self, call: Call, given: Attributes) -> StartRequest:
        reader = self._services().reader
        identifier = given.text("workflow_id") or given.text("workflow_name")
        namespace = given.text("workflow_namespace")
        value, params = given.object("input") or {}, given.object("params") or {}
        description = given.text("description") or ""
        source_id = given.text("source_execution_id")
        if source_id:
            source = reader.execution(source_id, sight_of(call))
            # As on Mistral, only the workflow is taken over: input and environment are given anew.
            description = f"{description} Based on the execution '{source_id}'".strip()
            identifier = identifier or source.workflow_id
            namespace = source.workflow_namespace if namespace is None else namespace
        if not identifier:
            raise WorkflowException("Workflow ID or workflow name must be provided. Workflow ID is recommended.")
        return StartRequest(
            project_id=call.caller.project_id,
            workflow_identifier=identifier,
            namespace=namespace or "",
            input=value,
            params=params,
            description=description,
            execution_id=given.text("id") or None,
        )

    def update(self, call: Call) -> Answer:
        """Pause, resume or end an execution, or change its description or environment."""
        services = self._services()
        given = read_attributes(call, "wf_ex", _BODY)
        header = services.reader.execution(call.parameters["identifier"], sight_of(call))
        return Answer(typed(EXECUTION, change_execution(services, header, given)))

    def delete(self, call: Call) -> Answer:
        """Delete an execution with everything below it."""
        services = self._services()
        is_forced = to_boolean("force", call.query.get("force", ""))
        header = services.reader.execution(call.parameters["identifier"], sight_of(call))
        if not header.state.is_completed and not is_forced:
            raise NotAllowedException(
                "Only completed executions can be deleted. Use --force to override this. "
                f"Execution {header.public} is in {header.state} state"
            )
        services.trees.delete(header)
        return NO_CONTENT

    def list_below(self, call: Call) -> Answer:
        """The execution and its sub-workflow executions, depth first."""
        services = self._services()
        errors_only, max_depth = tree_options(call)
        header = execution_by_uuid(services.reader, call, "id")
        found = services.trees.below_execution(header, errors_only=errors_only, max_depth=max_depth)
        return Answer(below(services.reader, call, found))

    def report(self, call: Call) -> Answer:
        """Statistics of an execution and everything below it, and the tree itself."""
        services = self._services()
        errors_only, max_depth = tree_options(call)
        statistics_only = to_boolean("statistics_only", call.query.get("statistics_only", ""))
        header = execution_by_uuid(services.reader, call, "id")
        statistics = Statistics()
        root = services.trees.report(header, statistics, errors_only=errors_only, max_depth=max_depth)
        estimated_sec = services.trees.estimated_sec(header, services.clock.now())
        return Answer(report_view(None if statistics_only else root, statistics, estimated_sec))


def execution_by_uuid(reader: Reader, call: Call, name: str) -> WorkflowExecution:
    """The execution that the path names. Raises NotFoundException, InputException for what cannot be an id."""
    identifier = call.parameters["identifier"]
    try:
        return reader.execution(identifier, sight_of(call))
    except NotFoundException:
        to_uuid(name, identifier)
        raise


def tree_options(call: Call) -> tuple[bool, int]:
    """Whether only errors are followed, and how deep; less than 0 is no bound."""
    errors_only = to_boolean("errors_only", call.query.get("errors_only", ""))
    return errors_only, to_integer("max_depth", call.query.get("max_depth") or -1)


def below(reader: Reader, call: Call, found: Iterator[WorkflowExecution]) -> JsonObject:
    """The answer made of executions found in a tree."""
    names = ["params", "input"]
    if to_boolean("include_output", call.query.get("include_output", "")):
        names.append("output")
    rows: Iterator[Row] = rows_of(reader, found, names)
    return {EXECUTION.collection: [typed(EXECUTION, row) for row in rows]}
