"""Trees of executions: the sub-workflows of an execution or of a task, walked, reported on and deleted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import field
from typing import Final

from chalicelib.data import dataclass
from chalicelib.engine.records import ActionExecution, TaskExecution, WorkflowExecution
from chalicelib.errors import SizeLimitExceededException
from chalicelib.limits import EXECUTIONS_IN_TREE_MAX, SUBWORKFLOW_DEPTH_MAX, TASKS_GATHERED_MAX
from chalicelib.services.execution_places import root_value
from chalicelib.services.ports import INDEX_ROOT
from chalicelib.services.reading import Reader
from chalicelib.vocabulary import State

COUNTED: Final = (State.RUNNING, State.SUCCESS, State.ERROR, State.IDLE, State.PAUSED)
_EARLIER_RUNS_MAX: Final = 20
_LEFT_BEHIND_PAGE: Final = 100


@dataclass(frozen=True, slots=True)
class TaskNode:
    """A task in a tree, with what it ran."""

    task: TaskExecution
    actions: tuple[ActionExecution, ...] = ()
    executions: tuple[ExecutionNode, ...] = ()


@dataclass(frozen=True, slots=True)
class ExecutionNode:
    """An execution in a tree; ``tasks`` is ``None`` where the walk was not to go deeper."""

    header: WorkflowExecution
    tasks: tuple[TaskNode, ...] | None = None


@dataclass(slots=True)
class Statistics:
    """How many tasks of a tree are in which state."""

    counts: dict[State, int] = field(default_factory=lambda: dict.fromkeys(COUNTED, 0))

    def count(self, task: TaskExecution) -> None:
        """Take a task into account; of other states than the counted there is no account."""
        if task.state in self.counts:
            self.counts[task.state] += 1

    @property
    def total(self) -> int:
        """All counted tasks."""
        return sum(self.counts.values())


class Trees:
    """Walks from an execution to its sub-workflows."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def below_execution(
        self, header: WorkflowExecution, *, errors_only: bool = False, max_depth: int = -1
    ) -> Iterator[WorkflowExecution]:
        """The execution itself and everything below it, depth first. ``max_depth`` below 0 is no bound."""
        yield from _bounded(self._walk(header, errors_only, max_depth, 0))

    def below_task(
        self, header: WorkflowExecution, task: TaskExecution, *, errors_only: bool = False, max_depth: int = -1
    ) -> Iterator[WorkflowExecution]:
        """Everything below a task, depth first; its sub-workflows are at depth 0."""
        if errors_only and task.state is not State.ERROR:
            return
        children = self._reader.children(header, [task])
        yield from _bounded(found for child in children for found in self._walk(child, errors_only, max_depth, 0))

    def _walk(
        self, header: WorkflowExecution, errors_only: bool, max_depth: int, depth: int
    ) -> Iterator[WorkflowExecution]:
        if 0 <= max_depth < depth:
            return
        yield header
        if depth == max_depth or depth > SUBWORKFLOW_DEPTH_MAX:
            return
        for child in self._reader.children(header, self._parents(header, errors_only)):
            yield from self._walk(child, errors_only, max_depth, depth + 1)

    def _parents(self, header: WorkflowExecution, errors_only: bool) -> list[TaskExecution]:
        return [
            task
            for task in self._reader.store.tasks(header)
            if task.type == "WORKFLOW" and not (errors_only and task.state is not State.ERROR)
        ]

    def delete(self, header: WorkflowExecution, has_time: Callable[[], bool] = lambda: True) -> bool:
        """Delete an execution and everything below it, the deepest first: what is interrupted can be repeated.

        Whether all of it is gone; if not, the time was over.
        """
        children = self._reader.children(header, self._parents(header, errors_only=False))
        if not all(self.delete(child, has_time) for child in children):
            return False
        if header.parent is None and not self._delete_left_behind(header, has_time):
            return False
        return has_time() and self._reader.store.delete(header, has_time)

    def _delete_left_behind(self, root: WorkflowExecution, has_time: Callable[[], bool]) -> bool:
        """Delete what is below a root by its own word, though no task of the root leads to it."""
        store = self._reader.store
        after = None
        while page := store.list_index(INDEX_ROOT, root_value(root.public), after=after, limit=_LEFT_BEHIND_PAGE):
            for header in store.headers(entry.partition for entry in page).values():
                if not has_time() or not store.delete(header, has_time):
                    return False
            after = page[-1].sort
        return True

    # -- reports

    def report(
        self, header: WorkflowExecution, statistics: Statistics, *, errors_only: bool = False, max_depth: int = -1
    ) -> ExecutionNode:
        """The whole tree with its tasks and actions; the tasks are counted on the way.

        Raises SizeLimitExceededException when it has more than TASKS_GATHERED_MAX tasks.
        """
        return self._node(header, statistics, errors_only, max_depth, 0)

    def _node(
        self, header: WorkflowExecution, statistics: Statistics, errors_only: bool, max_depth: int, depth: int
    ) -> ExecutionNode:
        if 0 <= max_depth < depth or depth > SUBWORKFLOW_DEPTH_MAX:
            return ExecutionNode(header)
        nodes = []
        for task in self._reader.store.tasks(header):
            if errors_only and task.state is not State.ERROR:
                continue
            statistics.count(task)
            if statistics.total > TASKS_GATHERED_MAX:
                raise SizeLimitExceededException(
                    f"The report covers more than {TASKS_GATHERED_MAX} tasks; narrow it with errors_only or max_depth."
                )
            children = self._reader.children(header, [task]) if task.type == "WORKFLOW" else []
            below = [self._node(child, statistics, errors_only, max_depth, depth + 1) for child in children]
            nodes.append(TaskNode(task, tuple(self._reader.actions(header, task)), tuple(below)))
        return ExecutionNode(header, tuple(nodes))

    def estimated_sec(self, header: WorkflowExecution, now: float) -> float:
        """How long it may still take, by earlier runs: 0 if it does not run, -1 if there were none, else 1 at least."""
        if header.state is not State.RUNNING:
            return 0
        earlier = self._reader.earlier_runs(header, count=_EARLIER_RUNS_MAX)
        if not earlier:
            return -1
        average = sum(int(other.updated_at - other.created_at) for other in earlier) / len(earlier)
        return max(1.0, average - int(now - header.created_at))


def _bounded(executions: Iterable[WorkflowExecution]) -> Iterator[WorkflowExecution]:
    for count, header in enumerate(executions, start=1):
        if count > EXECUTIONS_IN_TREE_MAX:
            raise SizeLimitExceededException(
                f"There are more than {EXECUTIONS_IN_TREE_MAX} executions below; narrow them with max_depth."
            )
        yield header
