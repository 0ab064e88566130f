"""What a cron-trigger does when something of it is due: start a run, hold it back, tell of one that is missing.

The law: first the execution is started, under an id that follows from trigger and due time; then the trigger moves on,
if nobody else has moved it. A crash between the two repeats a start that finds what it started. Where the previous run
may forbid a start, the decision to start is written first: otherwise another door, which looks a moment later and
finds things changed, would decide otherwise.
"""

from __future__ import annotations

import logging
from typing import Final

from chalicelib.data import replace
from chalicelib.engine.events import StopRequested
from chalicelib.engine.identity import partition_of
from chalicelib.engine.moment import timestamp
from chalicelib.errors import ConflictException, MistralError
from chalicelib.limits import CRON_QUEUED_MAX, CRON_RETRY_SEC
from chalicelib.services import cron_rules, triggered_starts
from chalicelib.services.cron_alerts import AlertKind, AlertListener, tell
from chalicelib.services.cron_options import Overlap
from chalicelib.services.cron_rules import alert_about, cause_of, clock_text
from chalicelib.services.engine import EngineService
from chalicelib.services.ports import Clock
from chalicelib.services.schedules import next_match
from chalicelib.services.trigger_records import CronTrigger
from chalicelib.services.trigger_store import TriggerStore
from chalicelib.vocabulary import State

_LOG: Final = logging.getLogger("mistral.triggers")
_ONE_AT_A_TIME: Final = (Overlap.SKIP, Overlap.QUEUE)


class CronRuns:
    """Attends to one cron-trigger at a time."""

    def __init__(self, store: TriggerStore, engine: EngineService, clock: Clock, alerts: AlertListener) -> None:
        self._store = store
        self._engine = engine
        self._clock = clock
        self._alerts = alerts

    def attend(self, trigger: CronTrigger) -> CronTrigger | None:
        """Do what is due; the trigger as it has been written, ``None`` if it is as it was, or gone.

        Raises ConflictException when somebody else was faster, and what is no fault of the trigger or its workflow.
        """
        now = self._clock.now()
        if trigger.wake_at is None or trigger.wake_at > now:
            return None
        old = self._decided(trigger, now)
        new = self._looked_after(old, now)
        going: CronTrigger | None = new
        if new.course.queued and new.course.paused_at is None and not self._is_running(new.course.last_execution_id):
            going = self._started(cron_rules.unqueued(new), new.course.queued[0], now, since=new.updated_at or now)
        elif _is_at_its_time(new, now):
            going = self._at_its_time(new, now)
        if going is not None and going.course.is_over and not (going.course.queued or going.course.watched):
            going = None
        return self._written(going, old, now)

    def _written(self, new: CronTrigger | None, old: CronTrigger, now: float) -> CronTrigger | None:
        if new is old:
            return None
        if new is None:
            self._store.remove(old)
            _LOG.info("cron_trigger %s is done", old.id)
            return None
        if new.course.paused_at is not None and old.course.paused_at is None:
            new = self._tell(new, AlertKind.PAUSED, f"It has paused: {new.course.paused_reason}", now, old.due_at)
        written = cron_rules.written(new, old, now)
        self._store.replace(written, old)
        return written

    def _decided(self, trigger: CronTrigger, now: float) -> CronTrigger:
        """The trigger with the decision to start what is due, if that needs to be written and the way is free."""
        course = trigger.course
        if trigger.options.overlap not in _ONE_AT_A_TIME or not _is_at_its_time(trigger, now):
            return trigger
        if course.queued or course.decided_for == trigger.due_at or self._is_running(course.last_execution_id):
            return trigger
        decided = replace(trigger, course=replace(course, decided_for=trigger.due_at))
        decided = cron_rules.written(decided, trigger, now)
        self._store.replace(decided, trigger)
        return decided

    def _at_its_time(self, trigger: CronTrigger, now: float) -> CronTrigger | None:
        due_at = trigger.due_at
        if trigger.options.overlap in _ONE_AT_A_TIME and trigger.course.decided_for != due_at:
            going = self._held_back(trigger, due_at, now)
        else:
            if trigger.options.overlap is Overlap.CANCEL_PREVIOUS:
                self._cancel(trigger.course.last_execution_id, trigger)
            started = self._started(trigger, due_at, now, since=trigger.next_execution_time)
            going = cron_rules.counted(started)
        if going.options.start_within_sec is not None:
            going = self._with_times_missed(going, now)
        return cron_rules.moved_on(going, now)

    # -- starting

    def _started(self, trigger: CronTrigger, due_at: float, now: float, *, since: float) -> CronTrigger:
        """The trigger after the start of a run, or after what refused it.

        A failure of ours is raised, to be tried again; when that has gone on for a while, it counts as a refusal.
        """
        told = None if cron_rules.is_plain(trigger) else cron_rules.told_to_workflow(trigger, due_at, "schedule")
        try:
            error = triggered_starts.start(self._engine, trigger, cause_of(due_at), cron_params=told)
        except Exception as failure:
            if now < since + CRON_RETRY_SEC:
                self._tell_of_delay(trigger, due_at, now, f"it could not be started yet: {failure}")
                raise
            _LOG.exception("cron_trigger %s gives up the start of %s", trigger.id, timestamp(due_at))
            error = f"The workflow could not be started within {CRON_RETRY_SEC} seconds: {failure}"
            return self._failed(trigger, due_at, now, error, is_refused=False)
        if error is not None:
            return self._failed(trigger, due_at, now, error, is_refused=True)
        execution_id = triggered_starts.execution_id_for(trigger, cause_of(due_at))
        going = cron_rules.with_start(trigger, due_at, execution_id)
        if cron_rules.is_too_late(trigger, due_at, now) and trigger.course.alerted_for != due_at:
            message = f"The run of {clock_text(due_at)} started {now - due_at:.0f} seconds after its time."
            going = self._tell(going, AlertKind.STARTED_LATE, message, now, due_at, execution_id=execution_id)
        return going

    def _failed(self, trigger: CronTrigger, due_at: float, now: float, error: str, *, is_refused: bool) -> CronTrigger:
        going = cron_rules.with_failure(trigger, error, now, is_refused=is_refused)
        if trigger.options.start_within_sec is not None:
            message = f"The run of {clock_text(due_at)} could not be started: {error}"
            going = self._tell(going, AlertKind.NOT_STARTED, message, now, due_at)
        return going

    def _held_back(self, trigger: CronTrigger, due_at: float, now: float) -> CronTrigger:
        """The trigger without a start, since its previous run has not ended."""
        message = f"The run of {clock_text(due_at)} was not started: the one before it had not ended"
        if trigger.options.overlap is Overlap.QUEUE:
            waiting = cron_rules.queued(trigger, due_at)
            if waiting is not None:
                return cron_rules.counted(waiting)
            message += f", and {CRON_QUEUED_MAX} more were waiting"
        elif trigger.options.start_within_sec is None:
            _LOG.info("%s: %s", trigger.name, message, extra={"mistral": {"trigger": trigger.id}})
            return trigger
        return self._tell(trigger, AlertKind.NOT_STARTED, f"{message}.", now, due_at)

    def _is_running(self, execution_id: str | None) -> bool:
        header = None if execution_id is None else self._engine.turns.header(partition_of(execution_id))
        return header is not None and not header.state.is_completed

    def _cancel(self, execution_id: str | None, trigger: CronTrigger) -> None:
        if execution_id is None or not self._is_running(execution_id):
            return
        reason = f"The next run of the cron trigger '{trigger.name}' has begun."
        try:
            self._engine.handle(execution_id, StopRequested(State.CANCELLED, reason))
        except ConflictException:
            raise
        except MistralError as error:
            if error.http_code >= 500:
                raise
            _LOG.info("%s has ended before it could be cancelled: %s", execution_id, error.message)

    # -- telling

    def _looked_after(self, trigger: CronTrigger, now: float) -> CronTrigger:
        """The trigger, after it has been told of runs that have not ended in time, or wait for too long."""
        going = trigger
        within_sec = trigger.options.end_within_sec or 0
        for due_at, execution_id in trigger.course.watched:
            if due_at + within_sec > now:
                continue
            if self._is_running(execution_id):
                message = f"The run of {clock_text(due_at)} has not ended within {within_sec} seconds."
                going = self._tell(going, AlertKind.NOT_ENDED, message, now, due_at, execution_id=execution_id)
            left = tuple(run for run in going.course.watched if run[1] != execution_id)
            going = replace(going, course=replace(going.course, watched=left))
        if going.course.queued and going.course.paused_at is None:
            first = going.course.queued[0]
            if cron_rules.is_too_late(going, first, now) and going.course.alerted_for != first:
                message = f"The run of {clock_text(first)} still waits for the one before it to end."
                going = self._tell(going, AlertKind.NOT_STARTED, message, now, first)
                going = replace(going, course=replace(going.course, alerted_for=first))
        return going

    def _with_times_missed(self, trigger: CronTrigger, now: float) -> CronTrigger:
        """The trigger, after it has been told of times that passed while nobody came, and are not made up for."""
        following = cron_rules.due_after(trigger, now)
        first = next_match(trigger.pattern, trigger.due_at, trigger.options.time_zone)
        if following is None or first is None or first >= following:
            return trigger
        message = f"The times from {clock_text(first)} until {clock_text(now)} have passed without a run."
        return self._tell(trigger, AlertKind.TIMES_MISSED, message, now, first)

    def _tell_of_delay(self, trigger: CronTrigger, due_at: float, now: float, why: str) -> None:
        """Tell once of a run that is late and is still being tried."""
        if not cron_rules.is_too_late(trigger, due_at, now) or trigger.course.alerted_for == due_at:
            return
        current = self._store.get(trigger.id)
        if not isinstance(current, CronTrigger) or current.revision != trigger.revision:
            return
        message = f"The run of {clock_text(due_at)} has not started: {why}"
        going = self._tell(current, AlertKind.NOT_STARTED, message, now, due_at)
        going = replace(going, course=replace(going.course, alerted_for=due_at))
        self._store.replace(cron_rules.written(going, current, now), current)

    def _tell(
        self,
        trigger: CronTrigger,
        kind: AlertKind,
        message: str,
        now: float,
        due_at: float,
        *,
        execution_id: str | None = None,
    ) -> CronTrigger:
        alert = alert_about(trigger, kind, message, now, due_at=due_at, execution_id=execution_id)
        tell(self._alerts, alert)
        return cron_rules.with_alert(trigger, alert)


def _is_at_its_time(trigger: CronTrigger, now: float) -> bool:
    return trigger.is_waiting and trigger.next_execution_time <= now
