"""What the API reads of executions: one by its id, lists through the indexes, trees of sub-workflows, results of tasks.

A foreign object is *not found*. ``Sight`` says whose objects a caller sees.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from chalicelib.engine.draft import Draft, Loaded
from chalicelib.engine.identity import Kind, address_of, partition_of
from chalicelib.engine.moment import Moment
from chalicelib.engine.needs import MissingData
from chalicelib.engine.records import ActionExecution, TaskExecution, WorkflowExecution
from chalicelib.engine.scope import publish_scope
from chalicelib.engine.world import Engine, evaluate, task_result
from chalicelib.errors import MistralError, NotFoundException
from chalicelib.expressions.options import DEFAULT, Options
from chalicelib.limits import EXECUTIONS_LOOKED_INTO_MAX, TASKS_GATHERED_MAX
from chalicelib.services.definitions import Definitions
from chalicelib.services.execution_store import ExecutionStore, listing_value, sort_of, workflow_value
from chalicelib.services.ports import INDEX_LISTING, INDEX_ROOT, INDEX_WORKFLOW, IndexEntry
from chalicelib.vocabulary import Json, JsonObject, State

EXECUTION_STATES: Final = (State.IDLE, State.RUNNING, State.PAUSED, State.SUCCESS, State.ERROR, State.CANCELLED)
_PAGE_ENTRIES_MAX: Final = 100
# What an execution's variables hold beside those that tasks published.
_INTERNAL_VARIABLES: Final = frozenset({"__execution", "openstack"})
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Sight:
    """Whose objects are seen: those of one project, by an admin those of any project when asked for by id."""

    project_id: str
    is_admin: bool = False

    def sees(self, project_id: str) -> bool:
        """Whether an object of that project exists for the caller."""
        return self.is_admin or project_id == self.project_id


@dataclass(frozen=True, slots=True)
class ExecutionSelection:
    """Which executions a list reads: all of a project in some states, of one workflow, or under one root.

    ``since`` and ``until`` bound the moment of creation, in whole seconds, both inclusive. ``after`` is the last one of
    the page before.
    """

    project_id: str
    states: tuple[State, ...] = EXECUTION_STATES
    workflow_name: str | None = None
    root_execution_id: str | None = None
    descending: bool = False
    since: int | None = None
    until: int | None = None
    after: WorkflowExecution | None = None


class Reader:
    """Reads executions, tasks and action executions for a caller."""

    def __init__(self, store: ExecutionStore, definitions: Definitions, expressions: Options = DEFAULT) -> None:
        self.store = store
        self._definitions = definitions
        self._expressions = expressions

    # -- one object

    def execution(self, identifier: str, sight: Sight) -> WorkflowExecution:
        """The execution with this id. Raises NotFoundException."""
        header = self.store.header(partition_of(identifier))
        if header is None or not sight.sees(header.project_id):
            raise NotFoundException(f"WorkflowExecution not found [id={identifier}]")
        return header

    def task(self, identifier: str, sight: Sight) -> tuple[WorkflowExecution, TaskExecution]:
        """The task execution with this id, and its execution. Raises NotFoundException."""
        address = address_of(identifier)
        if address is not None and address.kind is Kind.TASK:
            header = self.store.header(address.execution_id)
            if header is not None and sight.sees(header.project_id):
                task = self.store.task(header, address.ordinal)
                if task is not None:
                    return header, task
        raise NotFoundException(f"Task execution not found [id={identifier}]")

    def action(self, identifier: str, sight: Sight) -> tuple[WorkflowExecution, TaskExecution, ActionExecution]:
        """The action execution of a task with this id, and where it belongs. Raises NotFoundException."""
        address = address_of(identifier)
        if address is not None and address.kind is Kind.ACTION and address.ordinal:
            header = self.store.header(address.execution_id)
            if header is not None and sight.sees(header.project_id):
                task = self.store.task(header, address.ordinal)
                action = self.store.action(header, task, address.number) if task is not None else None
                if task is not None and action is not None and action.execution_id is None:
                    return header, task, action
        raise NotFoundException(f"ActionExecution not found [id={identifier}]")

    # -- lists of executions

    def executions(self, selection: ExecutionSelection) -> Iterator[WorkflowExecution]:
        """Executions in order of creation, read page by page as they are asked for; the caller knows when to stop."""
        seen: set[str] = set()
        for page in _pages(self._entries(selection), _PAGE_ENTRIES_MAX):
            fresh = [entry.partition for entry in page if entry.partition not in seen]
            seen.update(fresh)
            headers = self.store.headers(fresh)
            for execution_id in fresh:
                header = headers.get(execution_id)
                if header is not None and header.project_id == selection.project_id:
                    yield header

    def _entries(self, selection: ExecutionSelection) -> Iterator[IndexEntry]:
        if selection.root_execution_id is not None:
            sources = [(INDEX_ROOT, selection.root_execution_id)]
        elif selection.workflow_name is not None:
            sources = [(INDEX_WORKFLOW, workflow_value(selection.project_id, selection.workflow_name))]
        else:
            sources = [(INDEX_LISTING, listing_value(selection.project_id, state)) for state in selection.states]
        streams = [self._stream(index, value, selection) for index, value in sources]
        return heapq.merge(*streams, key=lambda entry: entry.sort, reverse=selection.descending)

    def _stream(self, index: str, value: str, selection: ExecutionSelection) -> Iterator[IndexEntry]:
        after, until = _bounds(selection)
        # A small first page: of most states there are few executions, or none is wanted.
        limit = 20
        while True:
            entries = self.store.list_index(
                index, value, after=after, until=until, descending=selection.descending, limit=limit
            )
            yield from entries
            if len(entries) < limit:
                return
            after = entries[-1].sort
            limit = _PAGE_ENTRIES_MAX

    def children(self, header: WorkflowExecution, tasks: Iterable[TaskExecution]) -> list[WorkflowExecution]:
        """The sub-workflow executions that these tasks of an execution have started, in order."""
        ids = [action.execution_id for task in tasks for action in self.store.actions(header, task)]
        wanted = [execution_id for execution_id in ids if execution_id]
        found = self.store.headers(wanted)
        return [found[execution_id] for execution_id in wanted if execution_id in found]

    def earlier_runs(self, header: WorkflowExecution, *, count: int) -> list[WorkflowExecution]:
        """The newest successful executions of the same workflow, found among the newest of that name."""
        selection = ExecutionSelection(header.project_id, workflow_name=header.workflow_name, descending=True)
        found: list[WorkflowExecution] = []
        for looked_at, other in enumerate(self.executions(selection)):
            if other.state is State.SUCCESS and other.workflow_id == header.workflow_id:
                found.append(other)
            if len(found) >= count or looked_at >= _PAGE_ENTRIES_MAX:
                break
        return found

    # -- lists of tasks and actions

    def recent_tasks(
        self, project_id: str, workflow_name: str | None = None
    ) -> Iterator[tuple[WorkflowExecution, TaskExecution]]:
        """The tasks of the newest EXECUTIONS_LOOKED_INTO_MAX executions, TASKS_GATHERED_MAX at most."""
        selection = ExecutionSelection(project_id, workflow_name=workflow_name, descending=True)
        gathered = 0
        for looked_into, header in enumerate(self.executions(selection), start=1):
            for task in self.store.tasks(header):
                yield header, task
                gathered += 1
                if gathered >= TASKS_GATHERED_MAX:
                    return
            if looked_into >= EXECUTIONS_LOOKED_INTO_MAX:
                return

    def actions(self, header: WorkflowExecution, task: TaskExecution) -> list[ActionExecution]:
        """The action executions of a task; its sub-workflows are none."""
        return [action for action in self.store.actions(header, task) if action.execution_id is None]

    # -- values

    def value(self, header: WorkflowExecution, value: Json) -> Json:
        """The data behind a value of an execution's records, wherever it is kept."""
        return self.store.value(header.id, value)

    def result_of(self, header: WorkflowExecution, task: TaskExecution) -> Json:
        """The result of a task, as ``task().result`` gives it."""
        return self._ask(header, task, lambda draft: task_result(draft, task))

    def tags_of(self, header: WorkflowExecution, task: TaskExecution) -> tuple[str, ...]:
        """The tags that the workflow gives a task."""
        spec = self._definitions.plan(header.definition_hash).spec.tasks.get(task.name)
        return spec.tags if spec is not None else ()

    def published_global(self, header: WorkflowExecution) -> JsonObject:
        """What the tasks of an execution have published to all: its variables but for its own."""
        plan = self._definitions.plan(header.definition_hash)
        variables = self.value(header, header.variables) or {}
        own = _INTERNAL_VARIABLES | set(plan.spec.vars or {})
        return {name: self.value(header, value) for name, value in variables.items() if name not in own}

    def task_published_global(self, header: WorkflowExecution, task: TaskExecution) -> JsonObject | None:
        """What a task has published to all; ``None`` when it has not ended so, or publishes nothing of the kind.

        Evaluated again from the task's context, since it is kept with the execution's variables only.
        """
        if task.state not in (State.SUCCESS, State.ERROR):
            return None
        plan = self._definitions.plan(header.definition_hash)
        spec = plan.graph.publish(task.name, task.state) if task.name in plan.spec.tasks else None
        if spec is None or not spec.global_:
            return None
        shared = dict(spec.global_)
        engine = Engine(plan, Moment(task.finished_at or header.updated_at, header.id), self._expressions, -1)

        def published(draft: Draft) -> JsonObject:
            found: JsonObject = evaluate(engine, draft, shared, publish_scope(draft, task), task)
            return found

        try:
            return self._ask(header, task, published)
        except MistralError:
            return None

    def _ask(self, header: WorkflowExecution, task: TaskExecution, question: Callable[[Draft], _T]) -> _T:
        """Ask until nothing is missing. Raises NotFoundException for what cannot be loaded."""
        loaded = Loaded()
        loaded.tasks[task.ordinal] = task
        while True:
            try:
                return question(Draft(header, loaded))
            except MissingData as missing:
                others = self.store.load(header, loaded, missing.needs)
                if others:
                    raise NotFoundException(f"Not known to a reader: {others[0]}") from None


def _bounds(selection: ExecutionSelection) -> tuple[str | None, str | None]:
    """Where an index is read from (exclusive) and up to, in the direction of the selection."""
    low = None if selection.since is None else f"{selection.since:017.3f}"
    # Sort values go on with a separator, which orders behind the digits of the next second's text.
    high = None if selection.until is None else f"{selection.until + 1:017.3f}"
    after, until = (high, low) if selection.descending else (low, high)
    if selection.after is not None:
        marker = sort_of(selection.after.created_at, selection.after.id)
        if after is None or (marker < after if selection.descending else marker > after):
            after = marker
    return after, until


def _pages(entries: Iterator[_T], size: int) -> Iterator[Sequence[_T]]:
    """Pages that grow: whoever wants few is not made to wait for many."""
    page: list[_T] = []
    wanted = 20
    for entry in entries:
        page.append(entry)
        if len(page) >= wanted:
            yield page
            page, wanted = [], size
    if page:
        yield page
