"""The state is the outbox: what an execution still owes the world, derived from its records alone.

Used when a message is delivered again and when the alarm rings. Every effect may have been carried out already; doing
it again is harmless.
"""

from __future__ import annotations

from chalicelib.engine.draft import Draft
from chalicelib.engine.effects import Continue, Effect, Notify, RunAction, SetTimer, StartSubworkflow
from chalicelib.engine.records import ActionExecution, TaskExecution, WorkflowExecution
from chalicelib.vocabulary import State


def owed_effects(draft: Draft) -> list[Effect]:
    """Actions released but perhaps never sent, timers perhaps lost, tasks not started.

    Raises MissingData for the items of with-items tasks.
    """
    effects: list[Effect] = [SetTimer(0, timer.stamp, timer.due_at) for timer in draft.timers]
    for task in draft.frontier.values():
        effects += [SetTimer(task.ordinal, timer.stamp, timer.due_at) for timer in task.timers]
        effects += [_owed_for(task, action) for action in unfinished_actions(draft, task, paused=True)]
    effects += owed_notices(draft.header)
    effects.append(Continue())
    return effects


def owed_notices(header: WorkflowExecution) -> list[Effect]:
    """The publishers that may not have been told everything yet."""
    return [Notify(number) for number, subscription in enumerate(header.subscriptions) if subscription.is_owed]


def _owed_for(task: TaskExecution, action: ActionExecution) -> Effect:
    if action.execution_id is not None:
        return StartSubworkflow(task.ordinal, action.number, action.execution_id)
    return RunAction(task.ordinal, action.number, action.is_pure, action.target, action.timeout_sec)


def is_at_work(task: TaskExecution) -> bool:
    """Whether an action execution of a task has not ended, as far as the task knows."""
    if task.has_items:
        return task.items is not None and task.items.started != task.items.finished
    return any(not action.state.is_completed for action in task.actions)


def unfinished_actions(draft: Draft, task: TaskExecution, *, paused: bool = False) -> list[ActionExecution]:
    """The action executions of a task that run now, and the sub-workflows that are paused, if asked for.

    Raises MissingData.
    """
    if task.state not in (State.RUNNING, State.PAUSED, State.WAITING) or not is_at_work(task):
        return []
    return [
        action
        for action in draft.actions(task)
        if action.state is State.RUNNING
        or (paused and action.state is State.PAUSED and action.execution_id is not None)
    ]
