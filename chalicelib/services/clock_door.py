"""The clock door: every minute, what is due.

Executions whose alarm rings are looked after by the executor; here they are only found.
"""

from __future__ import annotations

from typing import Final

from chalicelib.services import messages
from chalicelib.services.execution_store import ALARM_SHARDS, ExecutionStore, alarm_value
from chalicelib.services.ports import INDEX_ALARM, Clock, Queue

_PAGE: Final = 200
_PAGES_MAX: Final = 50


class ClockDoor:
    """What happens once a minute."""

    def __init__(self, store: ExecutionStore, queue: Queue, clock: Clock) -> None:
        self._store = store
        self._queue = queue
        self._clock = clock

    def tick(self) -> int:
        """Send a message for every execution whose alarm is due; how many there were."""
        until = f"{self._clock.now():017.3f}|~"
        return sum(self._ring(alarm_value(shard), until) for shard in range(ALARM_SHARDS))

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
