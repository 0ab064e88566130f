"""What happened, as log lines: one for each change of state that a turn committed. Facts only, never values."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Final

from chalicelib.engine.identity import task_id
from chalicelib.engine.records import TaskExecution, WorkflowExecution
from chalicelib.engine.sealing import Transition
from chalicelib.vocabulary import State

_LOG: Final = logging.getLogger("mistral.engine")


def log_changes(before: WorkflowExecution, after: WorkflowExecution, transition: Transition) -> None:
    """One line for the workflow, if its state changed, and one for each task whose state changed."""
    if not _LOG.isEnabledFor(logging.INFO):
        return
    for task, earlier in changed_tasks(before, after, transition):
        facts = {
            "workflow": after.workflow_name,
            "execution": after.public,
            "project": after.project_id,
            "task": task.name,
            "task_id": task_id(after.id, task.ordinal),
            "before": str(earlier) if earlier else None,
            "after": str(task.state),
        }
        _LOG.info("task %s is %s", task.name, task.state, extra={"mistral": facts})
    if before.state is not after.state or before.revision == 0:
        facts = {
            "workflow": after.workflow_name,
            "execution": after.public,
            "project": after.project_id,
            "before": str(before.state),
            "after": str(after.state),
        }
        _LOG.info("workflow %s is %s", after.workflow_name, after.state, extra={"mistral": facts})


def log_action(identifier: str | None, name: str, project_id: str, before: State | None, after: State) -> None:
    """A change of state of an action that runs on its own; one that is not stored has no identifier."""
    facts = {
        "action": name,
        "action_execution": identifier,
        "project": project_id,
        "before": str(before) if before else None,
        "after": str(after),
    }
    _LOG.info("action %s is %s", name, after, extra={"mistral": facts})


def touched_tasks(
    before: WorkflowExecution, after: WorkflowExecution, transition: Transition
) -> Iterator[tuple[TaskExecution, TaskExecution | None]]:
    """The tasks that a commit wrote, in their order, each as it was before if it was unfinished."""
    tasks = {**transition.tasks, **{o: t for o, t in after.frontier.items() if before.frontier.get(o) is not t}}
    for ordinal in sorted(tasks):
        yield tasks[ordinal], before.frontier.get(ordinal)


def changed_tasks(
    before: WorkflowExecution, after: WorkflowExecution, transition: Transition
) -> Iterator[tuple[TaskExecution, str | None]]:
    """The tasks whose states a commit has changed, in their order, each with its state before."""
    for task, earlier in touched_tasks(before, after, transition):
        state = earlier.state if earlier is not None else None
        if task.state is not state:
            yield task, state
