"""When the alarm of an unfinished execution rings.

It moves only when it must, since moving it costs two index writes.
"""

from __future__ import annotations

from typing import Final

from chalicelib.engine.draft import Draft
from chalicelib.engine.records import TaskExecution
from chalicelib.limits import ALARM_INTERVAL_MAX_SEC, DELAYED_MESSAGE_MAX_SEC
from chalicelib.vocabulary import State

# A timer that is further away than a message can be delayed: the alarm rings so long before it.
_FAR_TIMER_LEAD_SEC: Final = DELAYED_MESSAGE_MAX_SEC - 300


def wake_at(draft: Draft, *, now: float, interval_sec: float) -> float | None:
    """The moment of the next alarm in seconds; ``None`` when nothing in the execution moves any more."""
    if draft.is_completed and not any(_moves(task) for task in draft.frontier.values()):
        return None
    due = [timer.due_at for task in draft.frontier.values() for timer in task.timers]
    due += [timer.due_at for timer in draft.timers]
    far = [moment - _FAR_TIMER_LEAD_SEC for moment in due if moment - now > DELAYED_MESSAGE_MAX_SEC]
    current = draft.header.wake_at
    if current is None or current <= now:
        current = now + _interval_sec(draft, now, interval_sec)
    return min([current, *far])


def _interval_sec(draft: Draft, now: float, interval_sec: float) -> float:
    """The longer an execution only waits for others, the more rarely it is looked at."""
    waits_for_us = any(
        action.is_sync and action.state is State.RUNNING and action.execution_id is None
        for task in draft.frontier.values()
        for action in task.actions
    )
    if waits_for_us or not draft.header.revision:
        return interval_sec
    return min(max(interval_sec, now - draft.header.created_at), ALARM_INTERVAL_MAX_SEC)


def _moves(task: TaskExecution) -> bool:
    """Whether an unfinished task goes on although its workflow has ended: a waiting join or a paused task does not."""
    return task.state in (State.RUNNING, State.DELAYED) or (task.state is State.IDLE and task.started_at is None)
