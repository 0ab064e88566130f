"""Firing cron-triggers: each due time starts exactly one execution, whatever crashes and however many doors are open.

The law: first the execution is started, under an id that follows from trigger and due time; then the trigger moves on,
if nobody else has moved it. A crash between the two repeats a start that finds what it started.

When: the clock door comes every minute. What is due it fires itself, the earliest first, and leaves to messages what
it has no time for. For what falls due before it comes again it sends messages delayed until then, so that a trigger
fires within a second or two of its time, wherever in the minute the door comes. What is due again in less than
``CRON_FOLLOW_UP_SEC`` (patterns with a column for seconds) might be missed by that: whoever moves such a trigger on
sends the message for its next time. A message that was lost is made up for by the next minute. Times that were missed
are one.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from chalicelib.engine.moment import timestamp
from chalicelib.errors import ConflictException
from chalicelib.limits import CRON_FOLLOW_UP_SEC, CRON_LOOKAHEAD_SEC, CRON_RETRY_SEC, DELAYED_MESSAGE_MAX_SEC
from chalicelib.services import messages, triggered_starts
from chalicelib.services.engine import EngineService
from chalicelib.services.ports import Clock, Queue
from chalicelib.services.schedules import next_match
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

    def __init__(self, store: TriggerStore, engine: EngineService, queue: Queue, clock: Clock) -> None:
        self._store = store
        self._engine = engine
        self._queue = queue
        self._clock = clock

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
        if trigger.next_execution_time - self._clock.now() <= CRON_LOOKAHEAD_SEC:
            self._leave_to_messages([(trigger.next_execution_time, trigger.id)])

    def ring(self, trigger_id: str, due_at: float) -> None:
        """Fire a trigger of which a message says that it is due; one that has moved on is left alone."""
        trigger = self._store.get(trigger_id)
        if not isinstance(trigger, CronTrigger):
            return
        if trigger.next_execution_time == due_at and due_at > self._clock.now():
            self._leave_to_messages([(due_at, trigger_id)])  # the sender's clock is ahead
        else:
            self._fire(trigger)

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
        """Start what is due, and move the trigger on."""
        if trigger.next_execution_time > self._clock.now():
            return
        try:
            self._move_on(trigger, self._start(trigger))
        except ConflictException:
            return  # another door was faster, or the trigger has been deleted
        except Exception:  # noqa: BLE001 - it stays due, and the clock comes again; the other triggers go on
            _LOG.exception("cron_trigger %s could not be fired", trigger.id)

    def _start(self, trigger: CronTrigger) -> str | None:
        """Start the workflow; what refuses it. After a while a failure of ours is such a reason, too."""
        due_at = trigger.next_execution_time
        try:
            return triggered_starts.start(self._engine, trigger, f"{due_at:.3f}")
        except Exception as failure:
            if self._clock.now() < due_at + CRON_RETRY_SEC:
                raise
            _LOG.exception("cron_trigger %s gives up the start of %s", trigger.id, timestamp(due_at))
            return f"The workflow could not be started within {CRON_RETRY_SEC} seconds: {failure}"

    def _move_on(self, trigger: CronTrigger, error: str | None) -> None:
        now = self._clock.now()
        remaining = trigger.remaining_executions
        remaining = None if remaining is None else remaining - 1
        due_at = None if remaining == 0 else next_match(trigger.pattern, max(now, trigger.next_execution_time))
        if due_at is None:
            self._store.remove(trigger)
            _LOG.info("cron_trigger %s is done", trigger.id)
            return
        moved = replace(
            trigger,
            next_execution_time=due_at,
            remaining_executions=remaining,
            last_error=error,
            updated_at=round(now, 3),
            revision=trigger.revision + 1,
        )
        self._store.replace(moved, trigger)
        if due_at - now < CRON_FOLLOW_UP_SEC:
            self._leave_to_messages([(due_at, trigger.id)])
