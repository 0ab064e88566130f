"""How a cron-trigger goes on: from its record and the moment follows its next record. Pure."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Final

from chalicelib.data import replace
from chalicelib.engine.moment import timestamp
from chalicelib.limits import CRON_FAILURES_MAX, CRON_QUEUED_MAX, CRON_WATCHED_MAX
from chalicelib.services.cron_alerts import AlertKind, CronAlert
from chalicelib.services.cron_options import CronOptions
from chalicelib.services.schedules import next_match, shown
from chalicelib.services.trigger_records import CronTrigger
from chalicelib.vocabulary import JsonObject

_PLAIN: Final = CronOptions()


def is_plain(trigger: CronTrigger) -> bool:
    """Whether it asks for nothing that Mistral's cron-triggers do not do."""
    return trigger.options == _PLAIN


def jitter(trigger_id: str, due_at: float, most_sec: int) -> int:
    """How many seconds a start is put off: always the same for a trigger and a due time, from 0 to the most."""
    if not most_sec:
        return 0
    digest = hashlib.blake2b(f"{trigger_id}|{due_at:.3f}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % (most_sec + 1)


def cause_of(due_at: float) -> str:
    """What the id of an execution is made of, besides its trigger: the same due time never starts a second one."""
    return f"{due_at:.3f}"


def told_to_workflow(trigger: CronTrigger, due_at: float, started_by: str) -> JsonObject:
    """What the execution finds in ``params.cron_params``."""
    zone = trigger.options.time_zone
    return {"started_by": started_by, "scheduled_for": timestamp(due_at), "local_time": shown(due_at, zone)}


def placed(trigger: CronTrigger, due_at: float) -> CronTrigger:
    """The trigger, due at a time."""
    off = jitter(trigger.id, due_at, trigger.options.jitter_sec)
    course = replace(trigger.course, due_at=due_at if trigger.options.jitter_sec else None, decided_for=None)
    return replace(trigger, next_execution_time=due_at + off, course=course)


def due_after(trigger: CronTrigger, now: float) -> float | None:
    """The due time behind the present one: the first that is not yet missed, or that is to be caught up with."""
    if trigger.remaining_executions == 0:
        return None
    # Jitter is no lateness: a time that is put off has not been missed.
    back_sec = trigger.options.catch_up_sec + trigger.options.jitter_sec
    return next_match(trigger.pattern, max(now - back_sec, trigger.due_at), trigger.options.time_zone)


def counted(trigger: CronTrigger) -> CronTrigger:
    """One execution less to go, where they are counted."""
    remaining = trigger.remaining_executions
    return trigger if remaining is None else replace(trigger, remaining_executions=remaining - 1)


def moved_on(trigger: CronTrigger, now: float) -> CronTrigger | None:
    """The trigger at its next due time; ``None`` when nothing is left for it to do."""
    due_at = due_after(trigger, now)
    if due_at is not None:
        return placed(trigger, due_at)
    if trigger.course.queued or trigger.course.watched:
        return replace(trigger, course=replace(trigger.course, is_over=True))
    return None


def written(trigger: CronTrigger, old: CronTrigger, now: float) -> CronTrigger:
    """The record that replaces another one."""
    return replace(trigger, updated_at=round(now, 3), revision=old.revision + 1)


def with_start(trigger: CronTrigger, due_at: float, execution_id: str) -> CronTrigger:
    """A run has been started: what is remembered of it, as far as the options need it."""
    course, options = trigger.course, trigger.options
    if options.overlap is not _PLAIN.overlap:
        course = replace(course, last_execution_id=execution_id)
    if options.end_within_sec is not None:
        kept = [run for run in course.watched if run[1] != execution_id]
        course = replace(course, watched=(*kept, (due_at, execution_id))[-CRON_WATCHED_MAX:])
    if course.failures:
        course = replace(course, failures=0)
    return replace(trigger, course=course, last_error=None)


def with_failure(trigger: CronTrigger, error: str, now: float, *, is_refused: bool) -> CronTrigger:
    """A start has failed; after too many refusals in a row the trigger pauses."""
    course = trigger.course
    if is_refused:
        course = replace(course, failures=course.failures + 1)
    if course.failures >= CRON_FAILURES_MAX:
        reason = f"{course.failures} starts in a row have been refused, the last one with: {error}"
        course = replace(course, paused_at=round(now, 3), paused_reason=reason)
    return replace(trigger, course=course, last_error=error)


def queued(trigger: CronTrigger, *due_times: float) -> CronTrigger | None:
    """The trigger with more due times that wait; ``None`` when there is no room for them."""
    waiting = (*trigger.course.queued, *(at for at in due_times if at not in trigger.course.queued))
    if len(waiting) > CRON_QUEUED_MAX:
        return None
    return replace(trigger, course=replace(trigger.course, queued=waiting))


def unqueued(trigger: CronTrigger) -> CronTrigger:
    """The trigger without the due time that has waited longest."""
    course = replace(trigger.course, queued=trigger.course.queued[1:], decided_for=None)
    return replace(trigger, course=course)


def is_too_late(trigger: CronTrigger, due_at: float, now: float) -> bool:
    """Whether a run that starts now starts later than it was expected to."""
    within_sec = trigger.options.start_within_sec
    return within_sec is not None and now > due_at + within_sec


def follow_up(trigger: CronTrigger) -> float | None:
    """The moment, if there is one, of which a message is to tell; what is queued waits for no certain moment."""
    return replace(trigger, course=replace(trigger.course, queued=())).wake_at


def alert_about(
    trigger: CronTrigger, kind: AlertKind, message: str, now: float, *, due_at: float, execution_id: str | None = None
) -> CronAlert:
    """An alert whose id follows from trigger, kind and due time."""
    digest = hashlib.blake2b(f"{trigger.id}|{kind}|{due_at:.3f}".encode(), digest_size=16)
    return CronAlert(
        id=digest.hexdigest(),
        kind=kind,
        project_id=trigger.project_id,
        trigger_id=trigger.id,
        trigger_name=trigger.name,
        workflow_id=trigger.workflow_id,
        message=message,
        at=round(now, 3),
        scheduled_for=due_at,
        execution_id=execution_id,
    )


def with_alert(trigger: CronTrigger, alert: CronAlert) -> CronTrigger:
    """The trigger, showing its latest alert."""
    missed = {
        "kind": alert.kind.value,
        "message": alert.message,
        "scheduled_for": timestamp(alert.scheduled_for),
        "at": timestamp(alert.at),
        "execution_id": alert.execution_id,
    }
    return replace(trigger, course=replace(trigger.course, missed=missed))


def resumed(trigger: CronTrigger, now: float, *, has_started: bool) -> CronTrigger | None:
    """A paused trigger that goes on: times that passed meanwhile are not made up for; ``None``: none is left.

    ``has_started``: the execution of its due time exists, since it was paused while it fired.
    """
    course = replace(trigger.course, paused_at=None, paused_reason=None, failures=0, alerted_for=None)
    going = replace(trigger, course=course)
    if course.is_over or going.next_execution_time > now:
        return going
    going = counted(going) if has_started else going
    due_at = None
    if going.remaining_executions != 0 and going.has_pattern:
        due_at = next_match(going.pattern, max(now, going.due_at), going.options.time_zone)
    if due_at is not None:
        return placed(going, due_at)
    if course.queued or course.watched:
        return replace(going, course=replace(course, is_over=True))
    return None


def clock_text(instant: float) -> str:
    """A moment in UTC for messages to people."""
    return datetime.fromtimestamp(instant, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
