"""The clock door: every minute, what is due.

Executions whose alarm rings are looked after by the executor; here they are only found. Cron-triggers are fired here.
"""

from __future__ import annotations

from typing import Final

from chalicelib.services import messages
from chalicelib.services.cron_firing import CronFiring
from chalicelib.services.execution_places import ALARM_SHARDS, alarm_value
from chalicelib.services.execution_store import ExecutionStore
from chalicelib.services.expiration import Expiration
from chalicelib.services.maintenance import Maintenance
from chalicelib.services.ports import INDEX_ALARM, Clock, Queue

_PAGE: Final = 200
_PAGES_MAX: Final = 50
# For how long a visit goes on firing triggers itself, if nobody says.
_FIRING_SEC: Final = 40.0
# When a visit ends in any case.
_VISIT_SEC: Final = 48.0


class ClockDoor:
    """What happens once a minute."""

    def __init__(
        self,
        store: ExecutionStore,
        queue: Queue,
        clock: Clock,
        cron: CronFiring | None = None,
        *,
        maintenance: Maintenance | None = None,
        expiration: Expiration | None = None,
    ) -> None:
        self._store = store
        self._queue = queue
        self._clock = clock
        self._cron = cron
        self._maintenance = maintenance
        self._expiration = expiration

    def tick(self, until: float | None = None) -> int:
        """Send a message for every execution whose alarm is due, then fire the cron-triggers; how much was due.

        What has expired is deleted in the time that is left.

        ``until`` is the moment when firing stops, and messages take over. In maintenance, triggers stay due.
        """
        now = self._clock.now()
        last = f"{now:017.3f}|~"
        rung = sum(self._ring(alarm_value(shard), last) for shard in range(ALARM_SHARDS))
        if self._maintenance is not None:
            self._maintenance.tick()
        if self._cron is not None and (self._maintenance is None or self._maintenance.lets_start):
            rung += self._cron.tick(now + _FIRING_SEC if until is None else until)
        if self._expiration is not None:
            rung += self._expiration.tick(now + _VISIT_SEC)
        return rung

    def _ring(self, value: str, until: str) -> int:
        rung = 0
        after = None
        for _ in range(_PAGES_MAX):
            entries = self._store.list_index(INDEX_ALARM, value, after=after, until=until, limit=_PAGE)
            if entries:
                self._queue.send([messages.reconcile_message(entry.partition) for entry in entries])
                after = entries[-1].sort
                rung += len(entries)
            if len(entries) < _PAGE:
                break
        return rung
