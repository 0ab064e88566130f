"""ReverseWorkflowController: a target task and what it requires, each started when all its requirements have succeeded.

The books of a reverse workflow: ``seen`` is the set of tasks that were created, ``fired`` the set of those that
succeeded.
"""

from __future__ import annotations

from chalicelib.engine.agenda import Command, RunTask
from chalicelib.engine.contexts import outbound_of
from chalicelib.engine.draft import Draft
from chalicelib.engine.records import EMPTY_CONTEXT, TaskExecution
from chalicelib.engine.world import Engine
from chalicelib.errors import WorkflowException
from chalicelib.vocabulary import State


def target_of(engine: Engine, params: dict[str, object]) -> str:
    """The task that a start asks for. Raises WorkflowException when it is missing or unknown."""
    name = params.get("task_name")
    if not name:
        raise WorkflowException("A reverse workflow needs the start parameter 'task_name': the task to be reached.")
    if name not in engine.plan.spec.tasks:
        known = ", ".join(engine.plan.spec.tasks)
        raise WorkflowException(f"Invalid start parameter 'task_name': there is no task '{name}'. Tasks: {known}.")
    return str(name)


def next_commands(engine: Engine, draft: Draft) -> list[Command]:
    """A command for each task of the target's closure that does not exist yet and whose requirements succeeded."""
    plan = engine.plan
    commands: list[Command] = []
    for name in plan.graph.requirements_closure(draft.reverse_target or ""):
        if draft.seen & plan.task_bit[name]:
            continue
        if all(draft.fired & plan.task_bit[required] for required in plan.graph.requires(name)):
            commands.append(RunTask(name, EMPTY_CONTEXT))
    return commands


def is_first(engine: Engine, draft: Draft, name: str) -> bool:
    """Whether a task is created for the first time: of several tasks that end together, each may lead to it."""
    bit = engine.plan.task_bit[name]
    is_new = not draft.seen & bit
    draft.seen |= bit
    return is_new


def upstream_contexts(engine: Engine, draft: Draft, name: str) -> list[int]:
    """The contexts that a task's succeeded requirements hand on."""
    required = [draft.task(draft.named[source]) for source in engine.plan.graph.requires(name) if source in draft.named]
    return [outbound_of(task) for task in required if task.state is State.SUCCESS]


def note_success(engine: Engine, draft: Draft, task: TaskExecution) -> None:
    """Note whether a task has succeeded, for those that require it."""
    bit = engine.plan.task_bit[task.name]
    draft.fired = draft.fired | bit if task.state is State.SUCCESS else draft.fired & ~bit


def keep_books(draft: Draft, task: TaskExecution) -> None:
    """The target's context is what the workflow ends with, and no other's."""
    draft.ends.clear()
    if task.name == draft.reverse_target:
        draft.ends[task.ordinal] = outbound_of(task)
