"""Messages between doors: ids and small facts only.

What a message is about is read from the records when it arrives.
"""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Final

from chalicelib.engine.effects import RunAction
from chalicelib.engine.events import (
    ActionCompleted,
    ActionUpdated,
    Continued,
    Event,
    PauseRequested,
    ResumeRequested,
    Revived,
    StopRequested,
    TimerFired,
)
from chalicelib.limits import EXECUTOR_TIMEOUT_SEC
from chalicelib.services.ports import Message
from chalicelib.vocabulary import JsonObject, Result, State

TASKS: Final = "tasks"
TASKS_LONG: Final = "tasks-long"
NOTIFICATIONS: Final = "notifications"

_TARGET: Final = re.compile(r"[A-Za-z0-9_-]{1,60}")
_TAKEN: Final = frozenset({TASKS, TASKS_LONG, NOTIFICATIONS})

# What a message says of itself: `kind`; `x` is the execution that it is for.
ACTION: Final = "action"
TIMER: Final = "timer"
START: Final = "start"
TELL: Final = "tell"
RECONCILE: Final = "reconcile"
AD_HOC: Final = "ad-hoc"
# Here `x` is a cron-trigger.
CRON: Final = "cron"
CRON_RUN: Final = "cron-run"
# Here `x` means nothing.
MAINTENANCE: Final = "maintenance"


# To the queue of notifications: notices for one publisher of an execution, or an alert for one of the service's own.
NOTICES: Final = "notices"
ALERT: Final = "alert"


def target_fault(name: str) -> str | None:
    """Why a name can be no target; ``None`` if it can: a queue of that name, behind the prefix, is then its own."""
    if _TARGET.fullmatch(name) is None:
        return f"{name!r} is no name of a target: letters, digits, - and _, 60 at most"
    if name in _TAKEN or name.endswith("-dead"):
        return f"{name!r} is no name of a target: a queue of the service has it"
    return None


def notices_message(execution_id: str, publisher: int, delay_sec: int = 0) -> Message:
    """There are notices of this execution for the publisher of this number."""
    body = {"kind": NOTICES, "x": execution_id, "p": publisher}
    return Message(body, queue=NOTIFICATIONS, delay_sec=delay_sec)


def alert_message(publisher: str, facts: JsonObject, tries: int = 0, delay_sec: int = 0) -> Message:
    """An alert for one of the service's own publishers, which has been tried so often."""
    body = {"kind": ALERT, "p": publisher, "facts": facts, "n": tries}
    return Message(body, queue=NOTIFICATIONS, delay_sec=delay_sec)


def action_message(execution_id: str, effect: RunAction, targets: frozenset[str]) -> Message:
    """Run this action; to the long queue when it may take longer than the short executor lives, or to its target's own.

    A target that has no queue is served by the common executors: the task then runs, instead of waiting for ever.
    """
    body = {"kind": ACTION, "x": execution_id, "o": effect.ordinal, "n": effect.number}
    if effect.target in targets:
        return Message(body, queue=str(effect.target))
    is_long = effect.timeout_sec is not None and effect.timeout_sec > EXECUTOR_TIMEOUT_SEC - 20
    return Message(body, queue=TASKS_LONG if is_long else TASKS)


def poll_message(execution_id: str, effect: RunAction, number: int, delay_sec: int, targets: frozenset[str]) -> Message:
    """Ask an action again whether it is done; ``number`` counts. Asking is short, whatever the action's time-out is."""
    body = {"kind": ACTION, "x": execution_id, "o": effect.ordinal, "n": effect.number, "p": number}
    return Message(body, queue=str(effect.target) if effect.target in targets else TASKS, delay_sec=delay_sec)


def timer_message(execution_id: str, ordinal: int, stamp: int, due_at: float, delay_sec: int) -> Message:
    """A timer that is due after a delay."""
    return Message({"kind": TIMER, "x": execution_id, "o": ordinal, "s": stamp, "d": due_at}, delay_sec=delay_sec)


def start_message(execution_id: str, ordinal: int, number: int) -> Message:
    """Start the sub-workflow that stands for this action execution."""
    return Message({"kind": START, "x": execution_id, "o": ordinal, "n": number})


def reconcile_message(execution_id: str) -> Message:
    """Look after an execution: carry out whatever it still owes."""
    return Message({"kind": RECONCILE, "x": execution_id})


def cron_message(trigger_id: str, due_at: float, delay_sec: int = 0) -> Message:
    """Look after a cron-trigger, which is due at this moment."""
    return Message({"kind": CRON, "x": trigger_id, "d": due_at}, delay_sec=delay_sec)


def cron_run_message(trigger_id: str, due_at: float, delay_sec: int = 0) -> Message:
    """Start the run that a cron-trigger had, or should have had, at a past due time."""
    return Message({"kind": CRON_RUN, "x": trigger_id, "d": due_at}, delay_sec=delay_sec)


def tell_message(execution_id: str, event: Event, *, told_by: str) -> Message:
    """An event for another execution. A result stays where it is: the receiver reads it from the one that tells."""
    if isinstance(event, ActionCompleted):
        facts: JsonObject = {"name": "ActionCompleted", "by": told_by}
    else:
        facts = {"name": type(event).__name__, **{k: v for k, v in asdict(event).items() if v is not None}}
    return Message({"kind": TELL, "x": execution_id, "event": facts})


def told_event(facts: JsonObject) -> Event | None:
    """The event in a message; ``None`` for a result, which has to be read from its execution first."""
    stamp = facts.get("stamp", 0)
    match facts["name"]:
        case "ActionCompleted":
            return None
        case "ActionUpdated":
            return ActionUpdated(facts["ordinal"], facts["number"], State(facts["state"]), stamp)
        case "PauseRequested":
            return PauseRequested(facts.get("message"), stamp)
        case "ResumeRequested":
            return ResumeRequested(facts.get("env"), stamp)
        case "StopRequested":
            return StopRequested(State(facts["state"]), facts.get("message"), stamp)
        case "Revived":
            return Revived(facts["ordinal"], facts["number"], stamp)
        case "TimerFired":
            return TimerFired(facts["ordinal"], stamp)
        case "Continued":
            return Continued()
        case name:
            raise ValueError(f"unknown event {name!r}")


def outcome(ordinal: int, number: int, *, data: object = None, error: object = None) -> ActionCompleted:
    """The event of an action that succeeded, or failed if there is an error."""
    return ActionCompleted(ordinal, number, Result(data=data, error=error))
