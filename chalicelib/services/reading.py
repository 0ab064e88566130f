"""What the API reads of executions: one by its id, lists through the indexes, trees of sub-workflows, results of tasks.

A foreign object is *not found*. ``Sight`` says whose objects a caller sees.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Final, TypeVar

from chalicelib.data import dataclass
from chalicelib.engine.draft import Draft, Loaded, effective_action
from chalicelib.engine.identity import Kind, address_of, child_execution_id, partition_of
from chalicelib.engine.moment import Moment
from chalicelib.engine.needs import MissingData
from chalicelib.engine.records import ActionExecution, TaskExecution, WorkflowExecution
from chalicelib.engine.scope import publish_scope
from chalicelib.engine.world import Engine, evaluate, task_result
from chalicelib.errors import MistralError, NotFoundException
from chalicelib.expressions.options import DEFAULT, Options
from chalicelib.limits import EXECUTIONS_LOOKED_INTO_MAX, EXECUTIONS_SCANNED_MAX, TASKS_GATHERED_MAX
from chalicelib.services.definitions import Definitions
from chalicelib.services.execution_listing import ExecutionListing, ExecutionSelection
from chalicelib.services.execution_store import ExecutionStore
from chalicelib.vocabulary import Json, JsonObject, State

_EARLIER_LOOKED_AT_MAX: Final = 100
_CHILDREN_READ: Final = 50
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


class Reader:
    """Reads executions, tasks and action executions for a caller."""

    def __init__(self, store: ExecutionStore, definitions: Definitions, expressions: Options = DEFAULT) -> None:
        self.store = store
        self.listing = ExecutionListing(store)
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
                    return header, task, effective_action(task, action)
        raise NotFoundException(f"ActionExecution not found [id={identifier}]")

    # -- lists of executions

    def executions(self, selection: ExecutionSelection) -> Iterator[WorkflowExecution]:
        """Executions in order, read as far as they are asked for; EXECUTIONS_SCANNED_MAX are looked at, at most."""
        looks = islice(self.listing.look(selection), EXECUTIONS_SCANNED_MAX)
        return (looked.header for looked in looks if looked.header is not None)

    def children_in_order(
        self, header: WorkflowExecution, task: TaskExecution, *, after: int | None = None, descending: bool = False
    ) -> Iterator[WorkflowExecution]:
        """The sub-workflow executions of a task by their numbers, which is as they were started, read page by page."""
        numbers = range(task.next_number)
        if after is not None:
            numbers = numbers[:after] if descending else numbers[after + 1 :]
        ids = (child_execution_id(header.id, task.ordinal, at) for at in (reversed(numbers) if descending else numbers))
        while batch := list(islice(ids, _CHILDREN_READ)):
            found = self.store.headers(batch)
            yield from (found[execution_id] for execution_id in batch if execution_id in found)

    def children(self, header: WorkflowExecution, tasks: Iterable[TaskExecution]) -> list[WorkflowExecution]:
        """The sub-workflow executions that these tasks of an execution have started, in order."""
        ids = [action.execution_id for task in tasks for action in self.store.actions(header, task)]
        wanted = [execution_id for execution_id in ids if execution_id]
        found = self.store.headers(wanted)
        return [found[execution_id] for execution_id in wanted if execution_id in found]

    def earlier_runs(self, header: WorkflowExecution, *, count: int) -> list[WorkflowExecution]:
        """The newest successful executions of the same workflow, found among the newest of that name."""
        selection = ExecutionSelection(header.project_id, workflow_names=(header.workflow_name,), descending=True)
        found: list[WorkflowExecution] = []
        for looked_at, other in enumerate(self.executions(selection)):
            if other.state is State.SUCCESS and other.workflow_id == header.workflow_id:
                found.append(other)
            if len(found) >= count or looked_at >= _EARLIER_LOOKED_AT_MAX:
                break
        return found

    # -- lists of tasks and actions

    def recent_tasks(
        self, project_id: str | None, workflow_name: str | None = None
    ) -> Iterator[tuple[WorkflowExecution, TaskExecution]]:
        """The tasks of the newest EXECUTIONS_LOOKED_INTO_MAX executions, TASKS_GATHERED_MAX at most."""
        names = None if workflow_name is None else (workflow_name,)
        selection = ExecutionSelection(
            project_id, workflow_names=names, descending=True, page=EXECUTIONS_LOOKED_INTO_MAX
        )
        gathered = 0
        for looked_into, header in enumerate(self.executions(selection), start=1):
            for task in self.store.tasks_in_order(header):
                yield header, task
                gathered += 1
                if gathered >= TASKS_GATHERED_MAX:
                    return
            if looked_into >= EXECUTIONS_LOOKED_INTO_MAX:
                return

    def actions(self, header: WorkflowExecution, task: TaskExecution) -> list[ActionExecution]:
        """The action executions of a task; its sub-workflows are none."""
        return [action for action in self.store.actions(header, task) if action.execution_id is None]

    def actions_in_order(
        self, header: WorkflowExecution, task: TaskExecution, *, after: int | None = None, descending: bool = False
    ) -> Iterator[ActionExecution]:
        """The same by their numbers, which is as they were started; of items, read as far as they are asked for."""
        if task.has_items:
            found = self.store.items_in_order(header, task, after=after, descending=descending)
            return (action for action in found if action.execution_id is None)
        actions = [
            action
            for action in self.actions(header, task)
            if after is None or (action.number < after if descending else action.number > after)
        ]
        return iter(actions[::-1] if descending else actions)

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
