"""decide(): the only way into the core.

One event is applied to a draft of one execution, and everything that follows at once from it: tasks created and
started, joins refreshed, the workflow completed. The answer is a new draft with the effects it owes, or ``NeedsData``
when a record is missing; the draft handed in is never changed. Pure: no clock, no randomness, no I/O.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_never

from chalicelib.data import replace
from chalicelib.engine import dispatch, items, operator, tasks, workflow
from chalicelib.engine.agenda import (
    CheckWorkflow,
    CompleteTask,
    ContinueTask,
    Dispatch,
    FailTask,
    PauseWorkflow,
    RefreshJoins,
    Step,
    StopWorkflow,
)
from chalicelib.engine.draft import Draft, is_counted
from chalicelib.engine.effects import Continue, RunAction, SetTimer
from chalicelib.engine.events import (
    ActionCompleted,
    ActionUpdated,
    ClaimExpired,
    Continued,
    DescriptionChanged,
    Event,
    NoticesTold,
    PauseRequested,
    RerunRequested,
    ResumeRequested,
    Revived,
    Settled,
    SkipRequested,
    StartRequested,
    StopRequested,
    TimerFired,
)
from chalicelib.engine.invocations import TaskFailure, transform
from chalicelib.engine.needs import MissingData, NeedsData
from chalicelib.engine.plain import plain_result
from chalicelib.engine.records import ActionExecution, TaskExecution, Timer, TimerKind, is_news, is_superseded
from chalicelib.engine.sizes import check_size
from chalicelib.engine.world import Engine
from chalicelib.errors import MistralError
from chalicelib.limits import TURN_RECORDS_MAX
from chalicelib.vocabulary import Result, State, may_become


def decide(draft: Draft, event: Event, engine: Engine) -> Draft | NeedsData:
    """Apply one event. Raises MistralError when the event is an operator's and asks for what is not allowed."""
    draft = draft.fork()
    draft.now = engine.moment.now
    try:
        _apply(engine, draft, event)
        _drain(engine, draft)
    except MissingData as missing:
        return NeedsData(missing.needs)
    return draft


def _apply(engine: Engine, draft: Draft, event: Event) -> None:
    match event:
        case StartRequested():
            workflow.start(engine, draft)
        case ActionCompleted():
            _action_completed(engine, draft, event)
        case ActionUpdated():
            _action_updated(engine, draft, event)
        case ClaimExpired():
            _claim_expired(engine, draft, event)
        case TimerFired():
            _timer_fired(draft, event)
        case Continued():
            _continue(engine, draft)
        case PauseRequested() | ResumeRequested() | StopRequested():
            _change_state(engine, draft, event)
        case RerunRequested():
            operator.rerun(draft, event)
        case SkipRequested():
            operator.skip(draft, event)
        case Revived():
            operator.revive_parent(draft, event)
        case DescriptionChanged() | NoticesTold():
            _take_note(draft, event)
        case _:
            assert_never(event)


def _take_note(draft: Draft, event: DescriptionChanged | NoticesTold) -> None:
    """What is only remembered: nothing follows from it."""
    match event:
        case DescriptionChanged():
            operator.describe(draft, event)
        case NoticesTold():
            draft.told(event.publisher, event.number)
        case _:
            assert_never(event)


def _change_state(engine: Engine, draft: Draft, event: PauseRequested | ResumeRequested | StopRequested) -> None:
    if not draft.hears(event.stamp):
        return
    match event:
        case PauseRequested():
            workflow.pause(draft, event.message)
        case ResumeRequested():
            operator.resume(engine, draft, event.env)
        case StopRequested():
            workflow.stop(engine, draft, event.state, event.message)
        case _:
            assert_never(event)


def _drain(engine: Engine, draft: Draft) -> None:
    """Do what is left to do, then start what waits to start, until nothing is left or a turn is full."""
    while True:
        while draft.agenda:
            _perform(engine, draft, draft.agenda.popleft())
        if not draft.starts:
            return
        if draft.touched >= TURN_RECORDS_MAX:
            draft.starts.clear()
            draft.emit(Continue())
            return
        _start(engine, draft, draft.starts.popleft())


def _perform(engine: Engine, draft: Draft, step: Step) -> None:
    match step:
        case Dispatch(ordinal=0):
            _dispatch(engine, draft, step)
        case Dispatch():
            _guarded(draft, step.ordinal, "complete", lambda: dispatch.dispatch(engine, draft, step), step.action_name)
        case ContinueTask():
            _guarded(draft, step.ordinal, "run", lambda: tasks.continue_task(engine, draft, step))
        case CompleteTask():
            _guarded(draft, step.ordinal, "complete", lambda: tasks.complete(engine, draft, step), step.action_name)
        case FailTask():
            tasks.fail(engine, draft, step.ordinal, step.message)
            workflow.fail(engine, draft, step.message)
        case RefreshJoins():
            tasks.refresh_joins(engine, draft, step.task_name)
        case PauseWorkflow():
            workflow.pause_before(draft)
        case StopWorkflow():
            workflow.stop(engine, draft, step.state, step.message)
        case CheckWorkflow():
            _check(engine, draft, step)
        case _:
            assert_never(step)


def _check(engine: Engine, draft: Draft, step: CheckWorkflow) -> None:
    if any(not isinstance(later, CheckWorkflow) for later in draft.agenda):
        # What is still to be done may create tasks: with them, nothing has ended.
        draft.then(step)
    elif not draft.starts:
        workflow.check(engine, draft)


def _dispatch(engine: Engine, draft: Draft, step: Dispatch) -> None:
    """Carry out commands that belong to no single task; what is wrong with them fails the workflow."""
    try:
        dispatch.dispatch(engine, draft, step)
    except MistralError as error:
        workflow.fail(engine, draft, f"Failed to go on [error={error.message}, wf={draft.header.workflow_name}]")


def _start(engine: Engine, draft: Draft, ordinal: int) -> None:
    task = draft.frontier.get(ordinal)
    if task is None:
        # It has ended meanwhile, perhaps as the last one: the look for that waited for what was to start.
        draft.then(CheckWorkflow())
        return
    if task.state is State.IDLE and task.started_at is None:
        _guarded(draft, ordinal, "run", lambda: tasks.start(engine, draft, task))
    elif task.state is State.RUNNING and task.items is not None and not draft.is_paused:
        _guarded(draft, ordinal, "run", lambda: items.run(engine, draft, task))


def _guarded(draft: Draft, ordinal: int, verb: str, act: Callable[[], None], action_name: str = "") -> None:
    """Run a step of a task; a failure of the definition in it forces task and workflow to fail."""
    try:
        act()
    except TaskFailure as failure:
        draft.then(CompleteTask(ordinal, State.ERROR, failure.message))
    except MistralError as error:
        draft.at_once(FailTask(ordinal, _forced_failure_text(draft, draft.task(ordinal), error, verb, action_name)))


def _forced_failure_text(draft: Draft, task: TaskExecution, error: MistralError, verb: str, action_name: str) -> str:
    """Mistral's words for a forced failure.

    They tell whether the result of an action was handled, or the task was run or completed otherwise.
    """
    names = f"error={error.message}, wf={draft.header.workflow_name}, task={task.name}"
    if action_name:
        return f"Failed to handle action completion [{names}, action={action_name}]"
    return f"Failed to {verb} task [{names}]"


# -- events of actions


def _action_completed(engine: Engine, draft: Draft, event: ActionCompleted) -> None:
    if not draft.exists(event.ordinal):
        return
    task = draft.task(event.ordinal)
    action = draft.action(task, event.number)
    if action is None or _is_old(task, action):
        return
    if action.state.is_completed and action.result is not None:
        # An item whose record was written by a turn that was lost, or just before its process died.
        _finish_item(engine, draft, task, action)
        return
    if not is_news(action, event.stamp):
        return
    if action.result is not None:
        # It had ended, and was set running again.
        draft.log.lost.append((task.ordinal, action.number, action.result))
    if event.settled is Settled.FORCED:
        _fail_action(draft, task, action, str(event.result.error))
        return
    try:
        result = event.result if event.settled else plain_result(transform(engine, draft, action, event.result))
        check_size(result.value, "output", engine.field_bytes_max)
    except MistralError as error:
        _fail_action(draft, task, action, _forced_failure_text(draft, task, error, "", action.name))
        return
    action = replace(
        action,
        state=result.state,
        result=result,
        accepted=not is_superseded(task, action),
        updated_at=draft.now,
        claim=None,
        heard=max(action.heard, event.stamp),
    )
    task = draft.put_action(task, action)
    if task.state.is_completed or not action.accepted:
        return
    if task.has_items:
        _finish_item(engine, draft, task, action)
    else:
        draft.then(CompleteTask(task.ordinal, result.state, _state_info(action, result), action_name=action.name))


def _is_old(task: TaskExecution, action: ActionExecution) -> bool:
    """Whether the end of an action is known. That of an item may stand in its record, and not be counted yet."""
    if not task.has_items or is_superseded(task, action):
        return action.state.is_completed
    return is_counted(task, action)


def _finish_item(engine: Engine, draft: Draft, task: TaskExecution, action: ActionExecution) -> None:
    if not task.state.is_completed:
        ordinal = task.ordinal
        _guarded(draft, ordinal, "", lambda: items.finish(engine, draft, draft.task(ordinal), action), action.name)


def _fail_action(draft: Draft, task: TaskExecution, action: ActionExecution, message: str) -> None:
    draft.log.is_forced = True
    failed = replace(
        action, state=State.ERROR, result=Result(error=message), accepted=False, updated_at=draft.now, claim=None
    )
    task = draft.put_action(task, failed)
    if not task.state.is_completed:
        draft.at_once(FailTask(task.ordinal, message))


def _claim_expired(engine: Engine, draft: Draft, event: ClaimExpired) -> None:
    """The executor died with the action.

    Run it again if it is safe-rerun, otherwise end it in ERROR, which happens once.
    """
    task = draft.frontier.get(event.ordinal)
    action = draft.action(task, event.number) if task is not None else None
    if task is None or action is None or action.claim is None or action.claim.deadline > draft.now:
        return
    # What polls has begun already, and asking is repeated at will: the executor does so.
    if action.state is not State.RUNNING or action.claim.poll is not None:
        return
    if action.safe_rerun:
        draft.put_action(task, replace(action, claim=None))
        draft.emit(RunAction(task.ordinal, action.number, action.is_pure, action.target, action.timeout_sec))
        return
    died = Result(error=executor_died(action.name))
    _action_completed(engine, draft, ActionCompleted(event.ordinal, event.number, died))


def executor_died(action_name: str, *, is_given_up: bool = False) -> str:
    """Why an action ends in ERROR when its executor dies: it may not be run twice, or it was, and is given up."""
    why = (
        "it is given up, as this has happened each time it was run"
        if is_given_up
        else "the action cannot be re-run safely because its task is not 'safe-rerun'"
    )
    return f"The executor that ran the action '{action_name}' died before it reported a result, and {why}."


def _state_info(action: ActionExecution, result: Result) -> str | None:
    if result.state is State.SUCCESS:
        return None
    value = result.error
    if action.execution_id is not None and isinstance(value, dict):
        value = value.get("result")
    return str(value) if value else None


def _action_updated(engine: Engine, draft: Draft, event: ActionUpdated) -> None:
    """An action or sub-workflow was paused or set running: its task and its workflow follow."""
    if not draft.exists(event.ordinal):
        return
    task = draft.task(event.ordinal)
    action = draft.action(task, event.number)
    if action is None or not is_news(action, event.stamp):
        return
    if event.stamp and action.state.is_completed:
        # A sub-workflow that has ended runs again when it is said to be revived, together with the task that has it.
        return
    if action.state is event.state or not may_become(action.state, event.state):
        return
    heard = max(action.heard, event.stamp)
    task = draft.put_action(task, replace(action, state=event.state, updated_at=draft.now, heard=heard))
    if is_superseded(task, action):
        # What becomes of an earlier attempt is no longer the task's.
        return
    children_paused = operator.has_paused_children(draft, task)
    follows = not task.state.is_completed and may_become(task.state, event.state)
    if follows and not (event.state is State.RUNNING and children_paused):
        draft.put(task, state=event.state, state_info=None)
    if draft.is_completed:
        return
    if event.state is State.PAUSED:
        workflow.pause(draft)
    elif event.state is State.RUNNING and not any(t.state is State.PAUSED for t in draft.frontier.values()):
        operator.resume(engine, draft, None)


# -- time


def _timer_fired(draft: Draft, event: TimerFired) -> None:
    if event.ordinal == 0:
        _workflow_timer_fired(draft, event)
        return
    task = draft.frontier.get(event.ordinal)
    timer = next((t for t in task.timers if t.stamp == event.stamp), None) if task else None
    if task is None or timer is None:
        return
    if draft.now < timer.due_at:
        draft.emit(SetTimer(task.ordinal, timer.stamp, timer.due_at))
        return
    if draft.is_paused and timer.kind in (TimerKind.WAIT_BEFORE, TimerKind.RETRY):
        # While paused nothing new starts; resuming sets the timer again.
        return
    _act_on_timer(draft, draft.put(task, timers=tuple(t for t in task.timers if t is not timer)), timer)


def _act_on_timer(draft: Draft, task: TaskExecution, timer: Timer) -> None:
    match timer.kind:
        case TimerKind.WAIT_BEFORE:
            draft.then(ContinueTask(task.ordinal))
        case TimerKind.RETRY if task.state is State.WAITING:
            draft.then(RefreshJoins(task.name))
        case TimerKind.RETRY:
            draft.then(ContinueTask(task.ordinal))
        case TimerKind.WAIT_AFTER:
            state, state_info = task.result_after_wait or (State.SUCCESS, None)
            draft.then(CompleteTask(task.ordinal, state, state_info))
        case TimerKind.TIMEOUT | TimerKind.WORKFLOW_TIMEOUT:
            # A task has no timer of the second kind.
            message = f"Task timed out [timeout(s)={int(timer.delay_sec)}]."
            draft.then(CompleteTask(task.ordinal, State.ERROR, message))
        case TimerKind.ATTEMPT_TIMEOUT:
            message = f"Attempt timed out [attempt-timeout(s)={int(timer.delay_sec)}]."
            draft.then(CompleteTask(task.ordinal, State.ERROR, message))
        case _:
            assert_never(timer.kind)


def _workflow_timer_fired(draft: Draft, event: TimerFired) -> None:
    timer = next((t for t in draft.timers if t.stamp == event.stamp), None)
    if timer is None or draft.is_completed:
        return
    if draft.now < timer.due_at:
        draft.emit(SetTimer(0, timer.stamp, timer.due_at))
        return
    draft.timers = ()
    if draft.is_paused:
        # Stopping a paused workflow with ERROR is ignored, as Mistral does; the limit holds all the same.
        draft.state = State.RUNNING
    draft.then(StopWorkflow(State.ERROR, f"Workflow timed out [timeout(s)={int(timer.delay_sec)}]."))


def _continue(engine: Engine, draft: Draft) -> None:
    """Go on where the records say.

    Items not counted yet, tasks and items not started yet, joins that are ready, an end not noticed.
    """
    for task in list(draft.frontier.values()):
        for action in items.uncounted(draft, task):
            _finish_item(engine, draft, draft.task(task.ordinal), action)
    if draft.is_paused:
        return
    operator.wake(draft)
    draft.then(CheckWorkflow())
