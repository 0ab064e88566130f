"""A workflow's own life: started, paused, stopped, completed, and what it hands back.

Reference: Mistral's engine/workflows.py.
"""

from __future__ import annotations

import json
from typing import Any

from chalicelib.engine import reverse
from chalicelib.engine.agenda import CheckWorkflow, Command, Dispatch
from chalicelib.engine.contexts import deep_merge, final_context
from chalicelib.engine.direct import start_commands
from chalicelib.engine.draft import Draft
from chalicelib.engine.effects import SetTimer, Tell
from chalicelib.engine.events import ActionCompleted, ActionUpdated, PauseRequested, StopRequested
from chalicelib.engine.identity import action_id, task_id
from chalicelib.engine.plain import plain
from chalicelib.engine.records import TaskExecution, TaskType, Timer, TimerKind, is_dropped
from chalicelib.engine.scope import workflow_scope
from chalicelib.engine.sizes import check_size, cut
from chalicelib.engine.world import Engine, action_value, evaluate
from chalicelib.errors import MistralError, WorkflowException
from chalicelib.limits import STATE_INFO_CHARACTERS_MAX
from chalicelib.policies import seconds
from chalicelib.vocabulary import Json, JsonObject, Result, State, may_become


def set_state(draft: Draft, state: State, state_info: Json = None) -> None:
    """Change the workflow's state. Raises WorkflowException where the change is illegal."""
    if not may_become(draft.state, state):
        raise WorkflowException(
            f"Can't change workflow execution state from {draft.state} to {state}. "
            f"[workflow={draft.header.workflow_name}, execution_id={draft.header.public}]"
        )
    draft.change_state(state, cut(_as_text(state_info), STATE_INFO_CHARACTERS_MAX))


def _as_text(state_info: Json) -> str | None:
    if isinstance(state_info, dict):
        return json.dumps(state_info)
    return state_info if state_info is None or isinstance(state_info, str) else str(state_info)


def start(engine: Engine, draft: Draft) -> None:
    """Begin: the first commands. A start that is repeated changes nothing."""
    if draft.state is not State.IDLE:
        return
    set_state(draft, State.RUNNING)
    if engine.plan.spec.timeout is not None:
        _limit_time(engine, draft)
    commands: list[Command]
    if engine.plan.spec.type == "reverse":
        params = draft.resolve(draft.params) or {}
        draft.reverse_target = reverse.target_of(engine, params)
        commands = reverse.next_commands(engine, draft)
    else:
        commands = start_commands(engine)
    draft.then(Dispatch(tuple(commands)))
    draft.then(CheckWorkflow())


def _limit_time(engine: Engine, draft: Draft) -> None:
    value = evaluate(engine, draft, engine.plan.spec.timeout, workflow_scope(draft))
    delay_sec = seconds("workflow timeout", "timeout", value)
    if delay_sec:
        draft.stamp += 1
        timer = Timer(TimerKind.WORKFLOW_TIMEOUT, draft.stamp, draft.now + delay_sec, delay_sec)
        draft.timers = (timer,)
        draft.emit(SetTimer(0, timer.stamp, timer.due_at))


# -- pausing


def pause(draft: Draft, message: str | None = None) -> None:
    """Pause this workflow, its running sub-workflows, and through its parent task the parent.

    Raises WorkflowException.
    """
    if draft.is_paused:
        return
    set_state(draft, State.PAUSED, message)
    for child_id in running_children(draft):
        draft.emit(Tell(child_id, PauseRequested(stamp=draft.next_stamp())))
    tell_parent_state(draft)


def pause_before(draft: Draft) -> None:
    """Pause because a task says so, unless the workflow has ended in the meantime."""
    if not draft.is_completed:
        pause(draft)


def running_children(draft: Draft) -> list[str]:
    """The ids of the sub-workflow executions that have not completed. Raises MissingData."""
    children = []
    for task in draft.frontier.values():
        if task.type is TaskType.WORKFLOW:
            children += [
                a.execution_id for a in draft.shown_actions(task) if a.execution_id and not a.state.is_completed
            ]
    return children


def tell_parent_state(draft: Draft) -> None:
    """Let the parent task know that this sub-workflow is paused, or runs again."""
    parent = draft.header.parent
    if parent is not None:
        event = ActionUpdated(parent.ordinal, parent.number, draft.state, draft.next_stamp())
        draft.emit(Tell(parent.execution_id, event))


# -- stopping


def stop(engine: Engine, draft: Draft, state: State, message: Json = None) -> None:
    """End the workflow at once; what runs in it runs on, but for sub-workflows of a cancelled one.

    Raises WorkflowException.
    """
    match state:
        case State.SUCCESS:
            _succeed(engine, draft, _final_context_if_possible(draft), message)
        case State.ERROR:
            fail(engine, draft, message)
        case _:
            _cancel(draft, message)


def _final_context_if_possible(draft: Draft) -> JsonObject:
    try:
        return final_context(draft)
    except MistralError:
        return {}


def _succeed(engine: Engine, draft: Draft, context: JsonObject, message: Json = None) -> None:
    output = _evaluated_output(engine, draft, engine.plan.spec.output, context)
    check_size(output, "output", engine.field_bytes_max)
    set_state(draft, State.SUCCESS, message)
    draft.output = output
    _end(draft, Result(data=output))


def _evaluated_output(engine: Engine, draft: Draft, spec: Any, context: JsonObject) -> JsonObject:
    output: JsonObject = plain(evaluate(engine, draft, dict(spec), workflow_scope(draft, context))) if spec else {}
    return output or context


def fail(engine: Engine, draft: Draft, message: Json) -> None:
    """End in ERROR; nothing happens if the workflow is paused or has completed."""
    if draft.is_paused or draft.is_completed:
        return
    spec = engine.plan.spec.output_on_error
    output: JsonObject = {}
    try:
        output = _evaluated_output(engine, draft, spec, _final_context_if_possible(draft))
        check_size(output, "output", engine.field_bytes_max)
    except MistralError as error:
        output = {}
        message = (
            f"Failed to evaluate expression in output-on-error! "
            f"(output-on-error: '{spec}', exception: '{error.message}' Cause: '{message}'"
        )
    set_state(draft, State.ERROR, message)
    shown = cut(str(message), engine.field_bytes_max) if message else message
    draft.output = deep_merge({"result": shown}, output)
    _end(draft, Result(error=draft.output))


def _cancel(draft: Draft, message: Json) -> None:
    if draft.is_completed:
        return
    children = running_children(draft)
    set_state(draft, State.CANCELLED, message)
    draft.output = {"result": message}
    for child_id in children:
        told = message if isinstance(message, str) else None
        draft.emit(Tell(child_id, StopRequested(State.CANCELLED, told, draft.next_stamp())))
    _end(draft, Result(error=draft.output, cancel=True))


def _end(draft: Draft, result: Result) -> None:
    draft.timers = ()
    parent = draft.header.parent
    if parent is not None:
        event = ActionCompleted(parent.ordinal, parent.number, result, draft.next_stamp())
        draft.emit(Tell(parent.execution_id, event))


def outcome_of(draft: Draft) -> Result | None:
    """What a completed sub-workflow hands to its parent; ``None`` while it has not completed. Raises MissingData."""
    if not draft.is_completed:
        return None
    output = draft.resolve_object(draft.output)
    if draft.state is State.SUCCESS:
        return Result(data=output)
    return Result(error=output, cancel=draft.state is State.CANCELLED)


# -- completing


def check(engine: Engine, draft: Draft) -> None:
    """Complete the workflow if nothing in it is unfinished.

    Cancelled, failed or successful, in this order of precedence.
    """
    if draft.is_paused or draft.is_completed or draft.frontier or draft.backlog:
        return
    if draft.cancellations:
        names = sorted(task.name for task in draft.tasks(draft.cancellations))
        _cancel(draft, f"Cancelled tasks: {', '.join(names)}")
    elif draft.failures:
        fail(engine, draft, _failure_text(engine, draft))
    else:
        _complete_successfully(engine, draft)


def _complete_successfully(engine: Engine, draft: Draft) -> None:
    try:
        _succeed(engine, draft, final_context(draft))
    except MistralError as error:
        header = draft.header
        fail(
            engine,
            draft,
            f"Failed to check and complete [wf_ex_id={header.public}, wf_name={header.workflow_name}]: {error.message}",
        )


def _failure_text(engine: Engine, draft: Draft) -> str:
    """Names the failed tasks and their causes, in Mistral's form; tasks that have an on-error clause are not named."""
    failed = draft.tasks(draft.failures)
    if engine.plan.spec.type == "direct":
        failed = [task for task in failed if not engine.plan.graph.clause(task.name, "on-error")]
    failed.sort(key=lambda task: task.name)
    text = f"Failure caused by error in tasks: {', '.join(task.name for task in failed)}\n"
    for task in failed:
        text += f"\n  {task.name} [task_ex_id={task_id(draft.header.id, task.ordinal)}] -> {task.state_info}\n"
        text += _action_failures(draft, task)
    return text


def _action_failures(draft: Draft, task: TaskExecution) -> str:
    lines = []
    for index, action in enumerate(draft.shown_actions(task)):
        if action.state is not State.ERROR:
            continue
        value = "Unknown" if is_dropped(task, action) else action_value(draft, task, action)
        if action.execution_id is not None:
            shown = value.get("result", "Unknown") if isinstance(value, dict) else value
            lines.append(f"    [wf_ex_id={action.execution_id}, idx={index}]: {shown}\n")
        else:
            lines.append(
                f"    [action_ex_id={action_id(draft.header.id, task.ordinal, action.number)}, idx={index}]: {value}\n"
            )
    return "".join(lines)
