"""Finding the cron-triggers that are due, and seeing to it that each fires in its second, whatever crashes.

The clock door comes every minute. What is due it attends to itself, the earliest first, and leaves to messages what
it has no time for. For what falls due before it comes again it sends messages delayed until then, so that a trigger
fires within a second or two of its time, wherever in the minute the door comes. What is due again in less than
``CRON_FOLLOW_UP_SEC`` (patterns with a column for seconds) might be missed by that: whoever moves such a trigger on
sends the message for its next time. A message that was lost is made up for by the next minute. Times that were missed
are one, unless the trigger asks to catch up. What a trigger does when it is due stands in ``cron_runs.py``.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import Final

from chalicelib.errors import ConflictException
from chalicelib.limits import (
    CRON_FOLLOW_UP_SEC,
    CRON_LOOKAHEAD_SEC,
    CRON_QUEUE_LOOK_SEC,
    DELAYED_MESSAGE_MAX_SEC,
)
from chalicelib.services import cron_rules, messages, triggered_starts
from chalicelib.services.cron_alerts import AlertListener, LoggedAlerts
from chalicelib.services.cron_runs import CronRuns
from chalicelib.services.engine import EngineService
from chalicelib.services.ports import Clock, Queue
from chalicelib.services.trigger_records import DUE_SHARDS, CronTrigger
from chalicelib.services.trigger_store import TriggerStore

_LOG: Final = logging.getLogger("mistral.triggers")
_PAGE: Final = 200
_PAGES_MAX: Final = 50
_FIRED_AT_ONCE: Final = 25
_SENT_AT_ONCE: Final = 100

Due = tuple[float, str]


class CronFiring:
    """Finds the cron-triggers that are due, and fires them."""

    def __init__(
        self,
        store: TriggerStore,
        engine: EngineService,
        queue: Queue,
        clock: Clock,
        *,
        alerts: AlertListener | None = None,
    ) -> None:
        self._store = store
        self._engine = engine
        self._queue = queue
        self._clock = clock
        self._runs = CronRuns(store, engine, clock, alerts or LoggedAlerts())

    def tick(self, until: float) -> int:
        """Fire what is due, and see to what is due soon; how much was due. ``until``: when to stop firing."""
        now = self._clock.now()
        found = sorted(due for shard in range(DUE_SHARDS) for due in self._due(shard, now + CRON_LOOKAHEAD_SEC))
        self._leave_to_messages([due for due in found if due[0] > now])
        due_now = [due for due in found if due[0] <= now]
        for begin in range(0, len(due_now), _FIRED_AT_ONCE):
            if self._clock.now() >= until:
                self._leave_to_messages(due_now[begin:])
                break
            triggers = self._store.get_many(identifier for _, identifier in due_now[begin : begin + _FIRED_AT_ONCE])
            for trigger in triggers.values():
                if isinstance(trigger, CronTrigger):
                    self._fire(trigger)
        return len(due_now)

    def announce(self, trigger: CronTrigger) -> None:
        """See to a new trigger that may be due before the clock door comes again."""
        wake_at = trigger.wake_at
        if wake_at is not None and wake_at - self._clock.now() <= CRON_LOOKAHEAD_SEC:
            self._leave_to_messages([(wake_at, trigger.id)])

    def ring(self, trigger_id: str, due_at: float) -> None:
        """Fire a trigger of which a message says that it is due; one that has moved on is left alone."""
        trigger = self._store.get(trigger_id)
        if not isinstance(trigger, CronTrigger):
            return
        if trigger.wake_at == due_at and due_at > self._clock.now():
            self._leave_to_messages([(due_at, trigger_id)])  # the sender's clock is ahead
        else:
            self._fire(trigger)

    def put_off(self, trigger_id: str, due_at: float) -> None:
        """Let the message that asks for a past run come again later: nothing may start now."""
        self._queue.send([messages.cron_run_message(trigger_id, due_at, DELAYED_MESSAGE_MAX_SEC)])

    def run_past(self, trigger_id: str, due_at: float) -> None:
        """Start the run of a past due time, unless it has been started before; the trigger itself does not move.

        Raises what is no fault of the trigger or its workflow: then the message is to come again.
        """
        trigger = self._store.get(trigger_id)
        if isinstance(trigger, CronTrigger):
            told = cron_rules.told_to_workflow(trigger, due_at, "backfill")
            triggered_starts.start(self._engine, trigger, cron_rules.cause_of(due_at), cron_params=told)

    def _due(self, shard: int, until: float) -> list[Due]:
        found: list[Due] = []
        after = None
        for _ in range(_PAGES_MAX):
            page = self._store.due(shard, until, after=after, limit=_PAGE)
            found += [(moment, identifier) for identifier, moment, _ in page]
            if len(page) < _PAGE:
                break
            after = page[-1][2]
        return found

    def _leave_to_messages(self, due: Sequence[Due]) -> None:
        now = self._clock.now()
        out = [
            messages.cron_message(identifier, moment, min(max(0, math.ceil(moment - now)), DELAYED_MESSAGE_MAX_SEC))
            for moment, identifier in due
        ]
        for begin in range(0, len(out), _SENT_AT_ONCE):
            self._queue.send(out[begin : begin + _SENT_AT_ONCE])

    def _fire(self, trigger: CronTrigger) -> None:
        """Do what is due, and see to what is due again before the clock door may notice."""
        try:
            moved = self._runs.attend(trigger)
        except ConflictException:
            return  # another door was faster, or the trigger has been deleted
        except Exception:  # noqa: BLE001 - it stays due, and the clock comes again; the other triggers go on
            _LOG.exception("cron_trigger %s could not be fired", trigger.id)
            return
        if moved is None:
            return
        now = self._clock.now()
        at = cron_rules.follow_up(moved)
        if at is not None and at - now < CRON_FOLLOW_UP_SEC:
            self._leave_to_messages([(at, trigger.id)])
        if moved.course.queued and moved.course.last_execution_id != trigger.course.last_execution_id:
            self._leave_to_messages([(now + CRON_QUEUE_LOOK_SEC, trigger.id)])
