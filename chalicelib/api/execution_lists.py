"""Lists of workflow executions.

In order of creation (the default, either way) a list is read through an index: a page costs about its own size,
whatever the project holds. Filters that no index knows are applied while reading, up to EXECUTIONS_SCANNED_MAX
executions a request; a page that ends there is short and has a ``next`` link all the same. Of EXECUTIONS_SORTED_MAX
executions and fewer every order is made in memory; of more, those by workflow name and by state are read from an index
too, equals in order of creation. Any other order needs all executions at once: EXECUTIONS_SCANNED_MAX at most, else the
request is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from chalicelib.api.fields import Kind, Row
from chalicelib.api.filters import Filter
from chalicelib.api.http import Call
from chalicelib.api.listing import ListQuery, collection, list_query, page_of, unknown_marker
from chalicelib.api.record_lists import list_records
from chalicelib.api.services import Services, listed_project, sight_of
from chalicelib.api.values import to_boolean
from chalicelib.api.views import EXECUTION, EXECUTION_VALUES, execution_row, execution_values
from chalicelib.data import replace
from chalicelib.engine.records import TaskExecution, WorkflowExecution
from chalicelib.errors import InputException, NotFoundException
from chalicelib.limits import EXECUTIONS_SCANNED_MAX, EXECUTIONS_SORTED_MAX, LIST_ITEMS_MAX
from chalicelib.services.execution_listing import EXECUTION_STATES, ExecutionSelection, Order
from chalicelib.services.reading import Reader
from chalicelib.vocabulary import JsonObject

_FLAGS: Final = ("include_output", "all_projects", "nulls")


def list_executions(services: Services, call: Call) -> JsonObject:
    """The answer to a list of executions. Raises InputException, NotAllowedException, NotFoundException."""
    query = list_query(call, EXECUTION, flags=_FLAGS)
    columns = value_names(query, include_output=to_boolean("include_output", call.query.get("include_output", "")))
    nulls = _nulls(call.query.get("nulls", ""))
    page = _ListedExecutions(services.reader, query, columns, nulls)
    parent = query.filter_on("task_execution_id")
    if parent is not None:
        try:
            header, task = services.reader.task(str(parent.operand), sight_of(call))
        except NotFoundException:
            return page_of(query, [])
        return page.of_task(call, header, task)
    project = query.filter_on("project_id")
    if project is not None and project.operand == "":
        return page_of(query, [])  # no project has this name, and no index knows it
    marker = _marker(services.reader, call, query)
    selection = replace(_selection(services, call, query, nulls), after=marker)
    order = _order_of(query, selection)
    if order is Order.CREATED_AT or (
        order is not None and services.reader.listing.has_more_than(EXECUTIONS_SORTED_MAX, selection)
    ):
        return page.in_order_of_an_index(replace(selection, order=order))
    return page.in_another_order(replace(selection, after=None))


class _ListedExecutions:
    """One list being answered: ``columns`` are the values that are shown, ``nulls`` the columns that must be null."""

    def __init__(self, reader: Reader, query: ListQuery, columns: list[str], nulls: tuple[str, ...]) -> None:
        self._reader = reader
        self._query = query
        self._columns = columns
        self._nulls = nulls
        self._filtered = [one.name for one in query.filters if one.name in EXECUTION_VALUES]

    def in_order_of_an_index(self, selection: ExecutionSelection) -> JsonObject:
        """Read until the page is full."""
        limit = self._query.limit
        assert limit is not None
        rows: list[Row] = []
        last: str | None = None
        selection = replace(selection, descending=self._query.sort[0].descending, page=limit)
        for scanned, looked in enumerate(self._reader.listing.look(selection), start=1):
            if looked.header is not None:
                row = self._bare(looked.header)
                if self._query.matches(row) and self._is_null(row):
                    rows.append(row)
            if len(rows) >= limit:
                return collection(self._query, map(self._complete, rows), more=True)
            if scanned >= EXECUTIONS_SCANNED_MAX:
                last = looked.execution_id if looked.header is None else looked.header.public
                break
        return collection(self._query, map(self._complete, rows), more=last is not None, last=last)

    def in_another_order(self, selection: ExecutionSelection) -> JsonObject:
        """Read them all, and sort them. Raises InputException when there are too many."""
        listing = self._reader.listing
        # The indexes tell at little cost what many headers would; of all projects they do not tell it exactly.
        if selection.project_id is not None and listing.has_more_than(EXECUTIONS_SCANNED_MAX, selection):
            raise self._too_many()
        rows = []
        for scanned, looked in enumerate(listing.look(replace(selection, page=LIST_ITEMS_MAX)), start=1):
            if scanned > EXECUTIONS_SCANNED_MAX:
                raise self._too_many()
            if looked.header is not None:
                rows.append(self._bare(looked.header))
        return page_of(self._query, rows, keep=self._is_null, complete=self._complete)

    def _too_many(self) -> Exception:
        return InputException(
            f"There are more than {EXECUTIONS_SCANNED_MAX} executions to sort by {self._query.sort[0].name}; "
            "narrow them by state or workflow_name, or sort by created_at."
        )

    def of_task(self, call: Call, header: WorkflowExecution, task: TaskExecution) -> JsonObject:
        """The sub-workflow executions of a task."""
        reader = self._reader

        def rows(*, after: int | None, descending: bool) -> Iterator[Row]:
            children = reader.children_in_order(header, task, after=after, descending=descending)
            return filter(self._is_null, map(self._bare, children))

        def number_of(marker: str) -> int | None:
            parent = reader.execution(marker, sight_of(call)).parent
            is_here = parent is not None and (parent.execution_id, parent.ordinal) == (header.id, task.ordinal)
            return parent.number if parent is not None and is_here else None

        return list_records(self._query, rows, count=task.next_number, number_of=number_of, complete=self._complete)

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


def list_children(
    reader: Reader, call: Call, query: ListQuery, header: WorkflowExecution, task: TaskExecution
) -> JsonObject:
    """The answer to a list of the sub-workflow executions of a task, without their values."""
    return _ListedExecutions(reader, query, [], ()).of_task(call, header, task)


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


def _selection(services: Services, call: Call, query: ListQuery, nulls: tuple[str, ...]) -> ExecutionSelection:
    """What the indexes can do for the filters."""
    project, root = query.filter_on("project_id"), query.filter_on("root_execution_id")
    states = query.filter_on("state")
    since, until = _moments(query.filter_on("created_at"))
    project_id = str(project.operand) if project is not None and project.operator == "eq" else listed_project(call)
    return ExecutionSelection(
        project_id=project_id,
        states=tuple(s for s in EXECUTION_STATES if states is None or states.matches({"state": str(s)})),
        workflow_names=_workflow_names(services, query),
        root_execution_id=str(root.operand) if root is not None else None,
        is_root="root_execution_id" in nulls or "task_execution_id" in nulls,
        since=since,
        until=until,
    )


def _workflow_names(services: Services, query: ListQuery) -> tuple[str, ...] | None:
    """The names that the filters leave; ``None`` where they leave any."""
    for column in ("workflow_name", "name"):
        asked = query.filter_on(column)
        if asked is not None and asked.operator == "eq":
            return (str(asked.operand),)
        if asked is not None and asked.operator == "in":
            return tuple(dict.fromkeys(str(one) for one in asked.operand))
    workflow = query.filter_on("workflow_id")
    return None if workflow is None else services.definitions.names_of_workflow(str(workflow.operand))


def _order_of(query: ListQuery, selection: ExecutionSelection) -> Order | None:
    """The order of an index that comes to what is asked for, if there is one."""
    match query.sort[0].name:
        case "created_at":
            return Order.CREATED_AT
        case "workflow_name" | "name" if selection.project_id is not None:
            return Order.NAME
        case "state" if selection.project_id is not None:
            return Order.STATE
        case _:
            return None


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
