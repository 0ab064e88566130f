"""Maintenance mode: while it lasts nothing starts, and every execution stands still.

One item in the table ``definitions`` holds the status of the whole service. Pausing and resuming all executions is done
by messages, a page of executions each: the alarm index knows every unfinished one. The clock begins anew what is not
done after a minute; doing it twice does no harm.
"""

from __future__ import annotations

import json
import logging
from enum import StrEnum
from threading import Lock
from typing import Final

from chalicelib import limits
from chalicelib.data import dataclass, replace
from chalicelib.engine.events import Event, PauseRequested, ResumeRequested
from chalicelib.engine.records import WorkflowExecution
from chalicelib.errors import ConflictException, InputException, MistralError
from chalicelib.services.engine import EngineService
from chalicelib.services.execution_places import ALARM_SHARDS, alarm_value
from chalicelib.services.messages import MAINTENANCE
from chalicelib.services.ports import INDEX_ALARM, Clock, Item, Message, Put, Queue, Table
from chalicelib.vocabulary import JsonObject, State

_LOG: Final = logging.getLogger("mistral.maintenance")
_PARTITION: Final = "#maintenance"
_KEY: Final = "status"
_ATTEMPTS_MAX: Final = 10
# After so many rounds, each twice as far from the one before, only the clock begins another.
_ROUNDS_MAX: Final = 6


class MaintenanceStatus(StrEnum):
    """What the service does: its work, coming to a stop, or nothing."""

    RUNNING = "RUNNING"
    PAUSING = "PAUSING"
    PAUSED = "PAUSED"


@dataclass(frozen=True, slots=True)
class _Record:
    """The stored status. ``is_resuming``: there may be executions that are still to be resumed."""

    status: MaintenanceStatus = MaintenanceStatus.RUNNING
    is_resuming: bool = False
    revision: int = 0

    @property
    def is_at_work(self) -> bool:
        """Whether executions are to be looked at."""
        return self.is_resuming or self.status is MaintenanceStatus.PAUSING


@dataclass(frozen=True, slots=True)
class Walk:
    """How far one way through all executions has come. ``is_clean``: nothing was found that still runs."""

    revision: int
    shard: int = 0
    after: str | None = None
    round: int = 0
    is_clean: bool = True


class Maintenance:
    """The status of the service, and what it takes to change it. Shared by the threads of a process."""

    def __init__(self, table: Table, engine: EngineService, queue: Queue, clock: Clock) -> None:
        self._table = table
        self._engine = engine
        self._queue = queue
        self._clock = clock
        self._known: tuple[float, MaintenanceStatus] | None = None
        self._lock = Lock()

    def status(self, *, is_fresh: bool = False) -> MaintenanceStatus:
        """The present status; as it was a few seconds ago, if it need not be fresh."""
        with self._lock:
            known = self._known
        if not is_fresh and known is not None and 0 <= self._clock.now() - known[0] < limits.MAINTENANCE_CACHED_SEC:
            return known[1]
        return self._note(self._read(is_fresh=is_fresh)).status

    @property
    def lets_start(self) -> bool:
        """Whether workflows may be started by triggers."""
        return self.status() is MaintenanceStatus.RUNNING

    def change(self, wanted: str) -> MaintenanceStatus:
        """Ask for PAUSED or RUNNING: what the status is now. Raises InputException for any other, ConflictException."""
        if wanted not in (MaintenanceStatus.PAUSED, MaintenanceStatus.RUNNING):
            raise InputException(f"Cannot change maintenance status to '{wanted[:40]}'; ask for PAUSED or RUNNING.")
        for _ in range(_ATTEMPTS_MAX):
            record = self._read()
            if record.status == wanted:
                return self._note(record).status
            pauses = wanted == MaintenanceStatus.PAUSED
            status = MaintenanceStatus.PAUSING if pauses else MaintenanceStatus.RUNNING
            changed = self._written(_Record(status, not pauses, record.revision))
            if changed is not None:
                self._send(Walk(changed.revision))
                return changed.status
        raise ConflictException("The maintenance status is being changed by others at this moment; try again.")

    def tick(self) -> None:
        """Once a minute: begin again what is not done."""
        record = self._note(self._read())
        if record.is_at_work:
            self._send(Walk(record.revision, round=_ROUNDS_MAX))

    # -- the way through all executions

    def step(self, body: JsonObject, until: float) -> None:
        """See to one page of executions, for a message; and send the next one."""
        walk = Walk(**body["walk"])
        record = self._note(self._read())
        if record.revision != walk.revision or not record.is_at_work:
            return  # the status has changed since: another way was begun
        page = limits.MAINTENANCE_PAGE_EXECUTIONS
        entries = self._engine.turns.store.list_index(
            INDEX_ALARM, alarm_value(walk.shard), after=walk.after, limit=page
        )
        is_clean = walk.is_clean
        for entry in entries:
            is_clean = self._see_to(entry.partition, record, until) and is_clean
        walk = replace(walk, is_clean=is_clean, after=entries[-1].sort if entries else None)
        if len(entries) < page:
            walk = replace(walk, shard=walk.shard + 1, after=None)
        if walk.shard < ALARM_SHARDS:
            self._send(walk)
        else:
            self._arrived(record, walk)

    def _arrived(self, record: _Record, walk: Walk) -> None:
        """All have been looked at: the status is reached, or there is another round."""
        if walk.is_clean:
            reached = MaintenanceStatus.RUNNING if record.is_resuming else MaintenanceStatus.PAUSED
            self._written(_Record(reached, False, record.revision))
        elif walk.round < _ROUNDS_MAX:
            self._send(Walk(record.revision, round=walk.round + 1), delay_sec=2**walk.round)

    def _see_to(self, execution_id: str, record: _Record, until: float) -> bool:
        """Bring one execution to where it is to be; whether it was there already."""
        try:
            header = self._engine.turns.store.header(execution_id)
            if header is None:
                return True
            event = _event_for(header, record)
            if event is not None:
                self._engine.proceed(execution_id, event, until=until)
        except MistralError:
            # It has ended meanwhile, or changes too fast: the next round sees it again.
            _LOG.info("execution %s could not be paused or resumed yet", execution_id)
            return False
        return event is None and (record.is_resuming or not _has_running_task(header))

    # -- the record

    def _read(self, *, is_fresh: bool = True) -> _Record:
        item = self._table.get(_PARTITION, [_KEY], consistent=is_fresh).get(_KEY)
        if item is None:
            return _Record()
        data = json.loads(item.body)
        return _Record(MaintenanceStatus(data["status"]), data["is_resuming"], item.revision)

    def _written(self, record: _Record) -> _Record | None:
        """The record as it is stored now; ``None`` if somebody else was faster."""
        new = replace(record, revision=record.revision + 1)
        body = json.dumps({"status": new.status, "is_resuming": new.is_resuming}).encode()
        try:
            self._table.write([Put(Item(_PARTITION, _KEY, body, revision=new.revision), expected=record.revision)])
        except ConflictException:
            return None
        _LOG.info("maintenance status is %s", new.status)
        return self._note(new)

    def _note(self, record: _Record) -> _Record:
        with self._lock:
            self._known = self._clock.now(), record.status
        return record

    def _send(self, walk: Walk, delay_sec: int = 0) -> None:
        facts = {
            "revision": walk.revision,
            "shard": walk.shard,
            "after": walk.after,
            "round": walk.round,
            "is_clean": walk.is_clean,
        }
        self._queue.send([Message({"kind": MAINTENANCE, "x": _KEY, "walk": facts}, delay_sec=delay_sec)])


def _event_for(header: WorkflowExecution, record: _Record) -> Event | None:
    if record.is_resuming:
        return ResumeRequested() if header.state is State.PAUSED else None
    return PauseRequested() if header.state is State.RUNNING else None


def _has_running_task(header: WorkflowExecution) -> bool:
    """What an execution left behind when it was stopped does not count: nobody waits for it."""
    return not header.state.is_completed and any(task.state is State.RUNNING for task in header.frontier.values())
