"""When the alarm of an unfinished execution rings.

It moves only when it must, since moving it costs two index writes. Whatever this turn hands out may be lost on its way:
so it rings within the alarm interval after a turn that released work, and after the time of every timer. Where nothing
but others can move an execution it rings ever more rarely.
"""

from __future__ import annotations

from typing import Final

from chalicelib.engine.draft import Draft
from chalicelib.engine.effects import Continue, Notify, RunAction, StartSubworkflow
from chalicelib.engine.reconcile import is_at_work
from chalicelib.engine.records import TaskExecution
from chalicelib.limits import ALARM_INTERVAL_MAX_SEC, DELAYED_MESSAGE_MAX_SEC
from chalicelib.vocabulary import State

# A timer that is further away than a message can be delayed: the alarm rings so long before it.
_FAR_TIMER_LEAD_SEC: Final = DELAYED_MESSAGE_MAX_SEC - 300


def wake_at(draft: Draft, *, now: float, interval_sec: float) -> float | None:
    """The moment of the next alarm in seconds; ``None`` when nothing in the execution moves any more."""
    owes_notices = any(subscription.is_owed for subscription in draft.subscriptions)
    if draft.is_completed and not owes_notices and not any(_moves(task) for task in draft.frontier.values()):
        return None
    due = [timer.due_at for task in draft.frontier.values() for timer in task.timers]
    due += [timer.due_at for timer in draft.timers]
    far = [moment - _FAR_TIMER_LEAD_SEC for moment in due if moment - now > DELAYED_MESSAGE_MAX_SEC]
    # That the message of a timer was lost shows when the timer is overdue; but while paused, timers just stand.
    near = [max(moment, now) + interval_sec for moment in due if moment - now <= DELAYED_MESSAGE_MAX_SEC]
    if draft.is_paused:
        near = [moment for moment in near if moment > now + interval_sec]
    released = [now + interval_sec] if _releases(draft) else []
    current = draft.header.wake_at
    if current is None or current <= now:
        current = now + _interval_sec(draft, now, interval_sec)
    return min([current, *far, *near, *released])


def _releases(draft: Draft) -> bool:
    """Whether this turn hands out work, which is lost if its process dies before the work is sent."""
    return any(isinstance(effect, RunAction | StartSubworkflow | Continue | Notify) for effect in draft.effects)


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
    """Whether an unfinished task goes on although its workflow has ended.

    A paused one does: its sub-workflows may be resumed without this workflow, and what they tell may be lost. A join
    that waits does not, nor does a task that a pause holds back, unless time is limited for them, or something of an
    earlier run is still under way.
    """
    if task.timers or is_at_work(task):
        return True
    if task.state is State.IDLE:
        return task.started_at is None
    return task.state in (State.RUNNING, State.DELAYED, State.PAUSED)
