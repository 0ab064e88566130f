"""What ``PUT /v2/executions/{id}`` may ask for, and what comes of it in every state."""

from __future__ import annotations

from typing import Final

from chalicelib.api.bodies import Attributes
from chalicelib.api.services import Services
from chalicelib.api.views import execution_row, execution_values, whole_execution
from chalicelib.engine.events import DescriptionChanged, Event, PauseRequested, ResumeRequested, StopRequested
from chalicelib.engine.records import WorkflowExecution
from chalicelib.errors import InputException, NotAllowedException, WorkflowException
from chalicelib.vocabulary import JsonObject, State

_S: Final = State
REQUESTABLE: Final = (_S.RUNNING, _S.PAUSED, _S.SUCCESS, _S.ERROR, _S.CANCELLED)
# By present state: the states that may be asked for, with an effect; then those that are granted without one.
# Everything else is refused.
CHANGES: Final[dict[State, tuple[frozenset[State], frozenset[State]]]] = {
    _S.IDLE: (frozenset({_S.RUNNING, _S.ERROR, _S.CANCELLED}), frozenset({_S.SKIPPED})),
    _S.RUNNING: (frozenset({_S.PAUSED, _S.SUCCESS, _S.ERROR, _S.CANCELLED}), frozenset({_S.RUNNING, _S.SKIPPED})),
    _S.PAUSED: (frozenset({_S.RUNNING, _S.CANCELLED}), frozenset({_S.PAUSED, _S.ERROR, _S.SKIPPED})),
    _S.SUCCESS: (
        frozenset(),
        frozenset({_S.RUNNING, _S.SUCCESS, _S.ERROR, _S.CANCELLED, _S.SKIPPED}),
    ),
    _S.ERROR: (frozenset(), frozenset({_S.RUNNING, _S.ERROR, _S.CANCELLED, _S.SKIPPED})),
    _S.CANCELLED: (frozenset(), frozenset({_S.RUNNING, _S.ERROR, _S.CANCELLED, _S.SKIPPED})),
}
_ENV_MAY_CHANGE: Final = frozenset({State.IDLE, State.PAUSED, State.ERROR})


def change_execution(services: Services, header: WorkflowExecution, given: Attributes) -> JsonObject:
    """Carry out what was asked for; the row to answer with.

    Raises InputException, WorkflowException, NotAllowedException.
    """
    state, description = given.text("state"), given.text("description")
    env = _environment(given)
    if not (state or description or env):
        raise InputException("The property state, description, or env is not provided for update.")
    if description and state:
        raise InputException("The property description must be updated separately from state.")
    if env and state and state != State.RUNNING:
        raise InputException(
            "The property env can only be updated when workflow execution is not running or on resume from pause."
        )
    if state:
        event = event_for(header, _requested(state), env, given.text("state_info"))
        if event is not None:
            header = services.engine.handle(header.id, event)
        return whole_execution(services.reader, header)
    if env and header.state not in _ENV_MAY_CHANGE:
        raise NotAllowedException(
            "Updating env to workflow execution is only permitted if it is in IDLE, PAUSED, or ERROR state."
        )
    header = services.engine.handle(header.id, DescriptionChanged(description or None, env or None))
    shown = ("params",) if env else ()
    return execution_row(header) | execution_values(services.reader, header, shown)


def event_for(header: WorkflowExecution, wanted: State, env: JsonObject | None, message: str | None) -> Event | None:
    """The event that brings an execution to a state; ``None`` when nothing is to change. Raises WorkflowException."""
    effective, granted = CHANGES[header.state]
    if wanted in granted:
        return None
    if wanted not in effective:
        raise WorkflowException(
            f"Can't change workflow execution state from {header.state} to {wanted}. "
            f"[workflow={header.workflow_name}, execution_id={header.public}]"
        )
    match wanted:
        case State.PAUSED:
            return PauseRequested()
        case State.RUNNING:
            return ResumeRequested(env or None)
        case _:
            return StopRequested(wanted, message or None)


def _requested(text: str) -> State:
    if text not in (*REQUESTABLE, State.SKIPPED):
        allowed = ", ".join(REQUESTABLE)
        raise InputException(f"Cannot change state to {text}. Allowed states are: {allowed}")
    return State(text)


def _environment(given: Attributes) -> JsonObject | None:
    params = given.object("params") or {}
    env = params.get("env")
    return Attributes({"env": env}).object("env")
