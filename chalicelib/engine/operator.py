"""What operators ask for: resume, rerun, skip, a new description or environment.

Reference: Mistral's engine/workflows.py, services/workflows.py.
"""

from __future__ import annotations

from chalicelib.data import replace
from chalicelib.engine import hooks, items, tasks, workflow
from chalicelib.engine.agenda import (
    CheckWorkflow,
    Command,
    CompleteTask,
    ContinueTask,
    Dispatch,
    RefreshJoins,
    SetWorkflowState,
)
from chalicelib.engine.contexts import deep_merge
from chalicelib.engine.draft import Draft
from chalicelib.engine.effects import RunAction, SetTimer, Tell
from chalicelib.engine.events import DescriptionChanged, RerunRequested, ResumeRequested, Revived, SkipRequested
from chalicelib.engine.reconcile import unfinished_actions
from chalicelib.engine.records import TaskExecution, is_news, is_superseded
from chalicelib.engine.world import Engine
from chalicelib.errors import InputException, NotAllowedException
from chalicelib.vocabulary import JsonObject, State


def merge_env(draft: Draft, env: JsonObject | None) -> None:
    """Merge an environment into the workflow's own. Raises NotAllowedException unless it is idle, paused or failed."""
    if not env:
        return
    if draft.state not in (State.IDLE, State.PAUSED, State.ERROR):
        raise NotAllowedException(
            "Updating env to workflow execution is only permitted if it is in IDLE, PAUSED, or ERROR state; "
            f"this one is {draft.state}."
        )
    params = dict(draft.resolve(draft.params) or {})
    params["env"] = deep_merge(draft.resolve(params.get("env")) or {}, env)
    draft.params = params


def describe(draft: Draft, event: DescriptionChanged) -> None:
    """Take a new description and environment. Raises NotAllowedException."""
    merge_env(draft, event.env)
    if event.description is not None:
        draft.description = event.description


def resume(engine: Engine, draft: Draft, env: JsonObject | None) -> None:
    """Go on after a pause: sub-workflows first, then what waited.

    In any other state nothing happens. Raises MissingData.
    """
    if draft.state not in (State.PAUSED, State.IDLE):
        return
    for child_id in workflow.running_children(draft):
        draft.emit(Tell(child_id, ResumeRequested(stamp=draft.next_stamp())))
    merge_env(draft, env)
    workflow.set_state(draft, State.RUNNING)
    commands: list[Command] = []
    for task in draft.tasks(draft.unprocessed):
        commands += tasks.find_next_commands(engine, draft, task)
    draft.unprocessed = ()
    # A pause command found among what follows is what has just been resumed from.
    commands = [c for c in commands if not (isinstance(c, SetWorkflowState) and c.state is State.PAUSED)]
    _wake_tasks(draft)
    _set_timers_again(draft)
    draft.then(Dispatch(tuple(commands)))
    # After the arrivals that waited for this: a join that ran before one of them would run again.
    _refresh_waiting(draft)
    draft.then(CheckWorkflow())
    workflow.tell_parent_state(draft)


def wake(draft: Draft) -> None:
    """Go on with what may not start while paused, or did not fit into a turn.

    Tasks not started yet or stopped by pause-before, joins that became ready, items, pure actions. Raises MissingData.
    """
    _wake_tasks(draft)
    _refresh_waiting(draft)


def _wake_tasks(draft: Draft) -> None:
    for waiting in list(draft.frontier.values()):
        task = _unpaused(draft, waiting)
        if task.state is State.IDLE and task.started_at is not None:
            # Stopped by pause-before; a workflow that has ended does not come back to it.
            if not draft.is_completed:
                draft.then(ContinueTask(task.ordinal))
        elif task.state is State.IDLE or (task.items is not None and task.state is State.RUNNING):
            draft.starts.append(task.ordinal)
        for action in unfinished_actions(draft, task):
            if action.is_pure:
                draft.emit(RunAction(task.ordinal, action.number, is_pure=True))


def _unpaused(draft: Draft, task: TaskExecution) -> TaskExecution:
    """A with-items task runs on when the sub-workflow that paused it has ended since, without having run on."""
    if task.items is None or task.state is not State.PAUSED:
        return task
    if has_paused_children(draft, task):
        return task
    return draft.put(task, state=State.RUNNING, state_info=None)


def has_paused_children(draft: Draft, task: TaskExecution) -> bool:
    """Whether a sub-workflow that the task waits for is paused. Raises MissingData."""
    return any(action.state is State.PAUSED and not is_superseded(task, action) for action in draft.actions(task))


def _refresh_waiting(draft: Draft) -> None:
    for task in draft.frontier.values():
        if task.state is State.WAITING:
            draft.then(RefreshJoins(task.name))


def _set_timers_again(draft: Draft) -> None:
    """A timer that fired while the workflow was paused changed nothing: it fires again."""
    for task in draft.frontier.values():
        for timer in task.timers:
            draft.emit(SetTimer(task.ordinal, timer.stamp, timer.due_at))


def rerun(draft: Draft, event: RerunRequested) -> None:
    """Run a failed task again, in the same record; ancestors come back to life.

    Raises InputException, WorkflowException, MissingData.
    """
    task = _failed_task(draft, event.ordinal)
    if draft.is_paused:
        return
    if not event.reset and not task.has_items:
        raise InputException("Only with-items task has the option to not reset.")
    merge_env(draft, event.env)
    _revive(draft)
    tasks.forget_outcome(draft, task)
    progress = None if event.reset else items.reset_failed(task)
    task = hooks.drop_results(draft, task, only_failed=not event.reset)
    draft.put(
        task,
        # A place in the frontier from here on: the task is unfinished.
        state=State.RUNNING,
        state_info=None,
        items=progress,
        item_values=None,
        retry_no=0,
        waited_before=False,
        waited_after=False,
        result_after_wait=None,
        **tasks.results_anew(task),
        timers=(),
        timeout_sec=None,
        triggered_by=(),
        processed=False,
        finished_at=None,
        next_tasks=None,
        error_handled=False,
    )
    draft.then(ContinueTask(task.ordinal, is_rerun=True, reset=event.reset))


def skip(draft: Draft, event: SkipRequested) -> None:
    """Leave a failed task as SKIPPED and go on with what follows.

    Raises InputException, WorkflowException, MissingData.
    """
    task = _failed_task(draft, event.ordinal)
    if draft.is_paused:
        return
    merge_env(draft, event.env)
    _revive(draft)
    draft.then(CompleteTask(task.ordinal, State.SKIPPED, "Task was skipped.", skip=True))


def _failed_task(draft: Draft, ordinal: int) -> TaskExecution:
    task = draft.task(ordinal)
    if task.state is not State.ERROR:
        raise InputException(
            f"The current task execution must be in ERROR for rerun or skip. Task '{task.name}' is {task.state}."
        )
    return task


def _revive(draft: Draft) -> None:
    was_completed = draft.is_completed
    workflow.set_state(draft, State.RUNNING)
    draft.unprocessed = ()
    if was_completed:
        wake(draft)
        _set_timers_again(draft)
    parent = draft.header.parent
    if parent is not None:
        draft.emit(Tell(parent.execution_id, Revived(parent.ordinal, parent.number, draft.next_stamp())))


def revive_parent(draft: Draft, event: Revived) -> None:
    """A sub-workflow runs again: so do the task that stands for it and this workflow, and so on upwards.

    Raises MissingData.
    """
    task = draft.task(event.ordinal)
    action = draft.action(task, event.number)
    if action is None or not is_news(action, event.stamp) or is_superseded(task, action):
        return
    if not action.state.is_completed or task.state is State.SUCCESS:
        return
    if draft.is_completed:
        _revive(draft)
    tasks.forget_outcome(draft, task)
    if action.result is not None:
        draft.log.lost.append((task.ordinal, action.number, action.result))
    revived = replace(
        action,
        state=State.RUNNING,
        accepted=False,
        result=None,
        heard=max(action.heard, event.stamp),
        updated_at=draft.now,
    )
    task = draft.put_action(task, revived)
    progress = task.items
    if progress is not None:
        bit = ~(1 << action.index)
        progress = replace(
            progress, finished=progress.finished & bit, failed=progress.failed & bit, cancelled=progress.cancelled & bit
        )
    draft.put(task, state=State.RUNNING, state_info=None, processed=False, items=progress, finished_at=None)
