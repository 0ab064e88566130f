"""Carrying out commands in Mistral's order.

What stands before a ``fail``, ``succeed`` or ``pause`` is done, what follows a pause waits in the backlog.
"""

from __future__ import annotations

from chalicelib.engine import tasks, workflow
from chalicelib.engine.agenda import Command, Dispatch, Noop, RunTask, SetWorkflowState
from chalicelib.engine.draft import Draft
from chalicelib.engine.records import BackloggedCommand, TriggeredBy
from chalicelib.engine.world import Engine
from chalicelib.vocabulary import State

_Deed = RunTask | SetWorkflowState


def dispatch(engine: Engine, draft: Draft, step: Dispatch) -> None:
    """Carry out the backlog, then these commands. Raises MistralError, MissingData."""
    backlog, draft.backlog = draft.backlog, ()
    _carry_out(engine, draft, [_restored(waiting) for waiting in backlog])
    _carry_out(engine, draft, list(step.commands))


def _carry_out(engine: Engine, draft: Draft, commands: list[Command]) -> None:
    for command in _in_order(engine, commands):
        if draft.is_completed:
            break
        if draft.is_paused:
            draft.backlog = (*draft.backlog, _stored(command))
            continue
        if isinstance(command, RunTask):
            tasks.create(engine, draft, command)
        elif command.state is State.PAUSED:
            workflow.pause(draft, command.message)
        else:
            workflow.stop(engine, draft, command.state, command.message)


def _in_order(engine: Engine, commands: list[Command]) -> list[_Deed]:
    deeds = [command for command in commands if not isinstance(command, Noop)]
    before: list[RunTask] = []
    for at, command in enumerate(deeds):
        if isinstance(command, SetWorkflowState):
            tail = deeds[at + 1 :] if command.state is State.PAUSED else []
            return [*_joins_last(engine, before), command, *tail]
        before.append(command)
    return [*_joins_last(engine, before)]


def _joins_last(engine: Engine, commands: list[RunTask]) -> list[RunTask]:
    def is_join(command: RunTask) -> bool:
        return engine.plan.spec.tasks[command.name].join is not None

    others = [command for command in commands if not is_join(command)]
    joins = [command for command in commands if is_join(command)]
    return others + sorted(joins, key=lambda command: command.name)


def _stored(command: _Deed) -> BackloggedCommand:
    if isinstance(command, RunTask):
        ordinal = command.triggered_by[0].ordinal if command.triggered_by else 0
        return BackloggedCommand(command.name, ordinal, command.event or "", {}, command.context)
    return BackloggedCommand(command.name, command.ordinal, command.event, {"msg": command.message}, is_command=True)


def _restored(waiting: BackloggedCommand) -> Command:
    if waiting.is_command:
        states = {"fail": State.ERROR, "succeed": State.SUCCESS, "pause": State.PAUSED}
        return SetWorkflowState(
            waiting.name, states[waiting.name], waiting.params.get("msg"), waiting.ordinal, waiting.event
        )
    triggered_by = (TriggeredBy(waiting.ordinal, waiting.event),) if waiting.ordinal else ()
    return RunTask(waiting.name, waiting.context, triggered_by)
