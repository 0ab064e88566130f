"""Lists of workflow executions.

In order of creation (the default, either way) a list is read through an index: a page costs about its own size,
whatever the project holds. Filters that no index knows are applied while reading, up to EXECUTIONS_SCANNED_MAX
executions a request; a page that ends there is short and has a ``next`` link all the same. Any other order needs all
executions at once: that many at most, else the request is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from chalicelib.api.fields import Kind, Row
from chalicelib.api.filters import Filter
from chalicelib.api.http import Call
from chalicelib.api.listing import ListQuery, collection, list_query, page_of, unknown_marker
from chalicelib.api.services import Services, sight_of
from chalicelib.api.values import to_boolean
from chalicelib.api.views import EXECUTION, EXECUTION_VALUES, execution_row, execution_values
from chalicelib.engine.records import WorkflowExecution
from chalicelib.errors import InputException, NotFoundException
from chalicelib.limits import EXECUTIONS_SCANNED_MAX
from chalicelib.services.reading import EXECUTION_STATES, ExecutionSelection, Reader
from chalicelib.vocabulary import JsonObject

_FLAGS: Final = ("include_output", "all_projects", "nulls")


def list_executions(services: Services, call: Call) -> JsonObject:
    """The answer to a list of executions. Raises InputException, NotAllowedException, NotFoundException."""
    query = list_query(call, EXECUTION, flags=_FLAGS)
    project = query.filter_on("project_id")
    if project is not None or to_boolean("all_projects", call.query.get("all_projects", "")):
        call.caller.demand_admin()
    project_id = str(project.operand) if project is not None else call.caller.project_id
    columns = value_names(query, include_output=to_boolean("include_output", call.query.get("include_output", "")))
    nulls = _nulls(call.query.get("nulls", ""))
    page = _ListedExecutions(services.reader, query, columns, nulls)
    parent = query.filter_on("task_execution_id")
    if parent is not None:
        return page.of_these(_children(services.reader, call, str(parent.operand)))
    marker = _marker(services.reader, call, query)
    selection = _selection(query, project_id)
    if query.sort[0].name == "created_at":
        return page.in_order_of_creation(selection, marker)
    return page.in_another_order(selection)


class _ListedExecutions:
    """One list being answered: ``columns`` are the values that are shown, ``nulls`` the columns that must be null."""

    def __init__(self, reader: Reader, query: ListQuery, columns: list[str], nulls: tuple[str, ...]) -> None:
        self._reader = reader
        self._query = query
        self._columns = columns
        self._nulls = nulls
        self._filtered = [one.name for one in query.filters if one.name in EXECUTION_VALUES]

    def in_order_of_creation(self, selection: ExecutionSelection, marker: WorkflowExecution | None) -> JsonObject:
        """Read until the page is full."""
        limit = self._query.limit
        assert limit is not None
        rows: list[Row] = []
        last: str | None = None
        selection = replace(selection, after=marker, descending=self._query.sort[0].descending)
        for scanned, header in enumerate(self._reader.executions(selection), start=1):
            row = self._bare(header)
            if self._query.matches(row) and self._is_null(row):
                rows.append(row)
            if len(rows) >= limit:
                return collection(self._query, map(self._complete, rows), more=True)
            if scanned >= EXECUTIONS_SCANNED_MAX:
                last = header.public
                break
        return collection(self._query, map(self._complete, rows), more=last is not None, last=last)

    def in_another_order(self, selection: ExecutionSelection) -> JsonObject:
        """Read them all, and sort them. Raises InputException when there are too many."""
        rows = []
        for scanned, header in enumerate(self._reader.executions(selection), start=1):
            if scanned > EXECUTIONS_SCANNED_MAX:
                raise InputException(
                    f"There are more than {EXECUTIONS_SCANNED_MAX} executions to sort by {self._query.sort[0].name}; "
                    "narrow them by state or workflow_name, or sort by created_at."
                )
            rows.append(self._bare(header))
        return page_of(self._query, rows, keep=self._is_null, complete=self._complete)

    def of_these(self, headers: Iterable[WorkflowExecution]) -> JsonObject:
        """These executions only."""
        return page_of(self._query, map(self._bare, headers), keep=self._is_null, complete=self._complete)

    def _bare(self, header: WorkflowExecution) -> JsonObject:
        return execution_row(header) | execution_values(self._reader, header, self._filtered) | {_HEADER: header}

    def _is_null(self, row: Row) -> bool:
        return all(row.get(name) is None for name in self._nulls)

    def _complete(self, row: Row) -> Row:
        """The values that are shown are read for the rows of the page only."""
        values = execution_values(self._reader, row[_HEADER], self._columns)
        return {**row, **values}


# Where a row of this module keeps its record; no field has such a name.
_HEADER: Final = "@"


def value_names(query: ListQuery, *, include_output: bool) -> list[str]:
    """The values that a list shows: input and params unless others are asked for, output when it is."""
    if query.fields is not None:
        return [name for name in EXECUTION_VALUES if name in query.fields]
    return ["params", "input", "output"] if include_output else ["params", "input"]


def rows_of(reader: Reader, headers: Iterable[WorkflowExecution], names: list[str]) -> Iterator[Row]:
    """Executions as rows with these values."""
    return (execution_row(header) | execution_values(reader, header, names) for header in headers)


def _children(reader: Reader, call: Call, task_id: str) -> list[WorkflowExecution]:
    try:
        header, task = reader.task(task_id, sight_of(call))
    except NotFoundException:
        return []
    return reader.children(header, [task])


def _marker(reader: Reader, call: Call, query: ListQuery) -> WorkflowExecution | None:
    if query.marker is None:
        return None
    try:
        return reader.execution(query.marker, sight_of(call))
    except NotFoundException:
        raise unknown_marker(query) from None


def _nulls(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    unknown = [name for name in names if name not in EXECUTION.stored]
    if unknown:
        raise InputException(f"nulls: {', '.join(unknown)} is not a valid field name.")
    return names


def _selection(query: ListQuery, project_id: str) -> ExecutionSelection:
    """What the indexes can do for the filters."""
    name, root = query.filter_on("workflow_name"), query.filter_on("root_execution_id")
    states = query.filter_on("state")
    since, until = _moments(query.filter_on("created_at"))
    return ExecutionSelection(
        project_id=project_id,
        states=tuple(s for s in EXECUTION_STATES if states is None or states.matches({"state": str(s)})),
        workflow_name=str(name.operand) if name is not None and name.operator == "eq" else None,
        root_execution_id=str(root.operand) if root is not None else None,
        since=since,
        until=until,
    )


def _moments(created: Filter | None) -> tuple[int | None, int | None]:
    if created is None or created.kind is not Kind.DATE:
        return None, None
    match created.operator:
        case "gt":
            return created.operand + 1, None
        case "gte":
            return created.operand, None
        case "lt":
            return None, created.operand - 1
        case "lte":
            return None, created.operand
        case "eq":
            return created.operand, created.operand
        case _:
            return None, None
