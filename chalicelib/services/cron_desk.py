"""What people do with a cron-trigger besides creating and deleting it: look ahead, pause, resume, run, backfill."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol
from uuid import UUID

from chalicelib.data import dataclass, replace
from chalicelib.engine.identity import partition_of
from chalicelib.errors import ConflictException, InputException, InvalidModelException, WorkflowException
from chalicelib.limits import CRON_BACKFILL_MAX, CRON_PREVIEW_MAX, CRON_QUEUED_MAX
from chalicelib.services import cron_rules, messages, triggered_starts
from chalicelib.services.cron_firing import CronFiring
from chalicelib.services.cron_options import Overlap
from chalicelib.services.cron_plans import CronTimes, planned
from chalicelib.services.definition_rules import Access
from chalicelib.services.engine import EngineService
from chalicelib.services.ports import Clock, Entropy, Queue
from chalicelib.services.schedules import NO_PATTERN, moment_of, next_match, shown
from chalicelib.services.trigger_records import CronTrigger, TriggerKind
from chalicelib.services.trigger_store import TriggerStore
from chalicelib.services.triggers import Triggers
from chalicelib.vocabulary import State

_ATTEMPTS_MAX: Final = 10
_SENT_AT_ONCE: Final = 100
_KEY_CHARACTERS_MAX: Final = 200


@dataclass(frozen=True, slots=True)
class Time:
    """A due time, and when the run starts that it is for; seconds since the epoch."""

    due_at: float
    starts_at: float


@dataclass(frozen=True, slots=True)
class Started:
    """A run that was asked for: its due time (``None``: just now), its execution, the state if it has begun."""

    due_at: float | None
    execution_id: str
    state: State | None = None


class World(Protocol):
    """The ports that it needs."""

    @property
    def queue(self) -> Queue:
        """The task queues."""

    @property
    def clock(self) -> Clock:
        """The time."""

    @property
    def entropy(self) -> Entropy:
        """Where fresh identity comes from."""


class CronDesk:
    """Serves people."""

    def __init__(
        self, triggers: Triggers, store: TriggerStore, engine: EngineService, cron: CronFiring, *, world: World
    ) -> None:
        self._triggers = triggers
        self._store = store
        self._engine = engine
        self._queue = world.queue
        self._clock = world.clock
        self._entropy = world.entropy
        self._announce = cron.announce

    # -- looking ahead

    def preview(self, times: CronTimes, count: int) -> list[Time]:
        """When a trigger would fire, that need not exist. Raises what its creation would."""
        _check_count(count)
        plan = planned(times, self._clock.now())
        pattern = None if plan.pattern == NO_PATTERN else plan.pattern
        most = count if plan.count is None else min(count, plan.count)
        found = _times_from(plan.due_at, pattern, plan.options.time_zone, most)
        return [Time(due_at, due_at) for due_at in found]

    def upcoming(self, access: Access, identifier: str, count: int) -> list[Time]:
        """When a trigger fires next; nothing while it is paused. Raises NotFoundException, InputException."""
        _check_count(count)
        trigger = self._found(access, identifier)
        if not trigger.is_waiting:
            return []
        pattern = trigger.pattern if trigger.has_pattern else None
        remaining = trigger.remaining_executions
        most = count if remaining is None else min(count, remaining)
        options = trigger.options
        found = _times_from(trigger.due_at, pattern, options.time_zone, most)
        return [Time(at, at + cron_rules.jitter(trigger.id, at, options.jitter_sec)) for at in found]

    def zone_of(self, access: Access, identifier: str) -> str | None:
        """The time zone of a trigger. Raises NotFoundException."""
        return self._found(access, identifier).options.time_zone

    # -- changing

    def pause(self, access: Access, identifier: str) -> CronTrigger:
        """Let a trigger not fire until it is resumed; one that is paused stays so, with the older reason."""
        now = self._clock.now()

        def paused(trigger: CronTrigger) -> CronTrigger:
            if trigger.course.paused_at is not None:
                return trigger
            course = replace(trigger.course, paused_at=round(now, 3), paused_reason="Paused by request.")
            return replace(trigger, course=course)

        return self._changed(access, identifier, paused)

    def resume(self, access: Access, identifier: str) -> CronTrigger:
        """Let a paused trigger fire again, from its next time on. Raises InvalidModelException if there is none."""
        now = self._clock.now()

        def resumed(trigger: CronTrigger) -> CronTrigger:
            if trigger.course.paused_at is None:
                return trigger
            going = cron_rules.resumed(trigger, now, has_started=self._has_begun(trigger))
            if going is None:
                last = shown(trigger.due_at, trigger.options.time_zone)
                raise InvalidModelException(
                    f"The cron trigger '{trigger.name}' has no time left: its last one, {last}, passed while it was "
                    "paused. Run it now, or delete it."
                )
            return going

        trigger = self._changed(access, identifier, resumed)
        self._announce(trigger)
        return trigger

    def _has_begun(self, trigger: CronTrigger) -> bool:
        execution_id = triggered_starts.execution_id_for(trigger, cron_rules.cause_of(trigger.due_at))
        return self._engine.turns.header(partition_of(execution_id)) is not None

    def _changed(self, access: Access, identifier: str, change: Callable[[CronTrigger], CronTrigger]) -> CronTrigger:
        for _ in range(_ATTEMPTS_MAX):
            old = self._found(access, identifier, to_change=True)
            new = change(old)
            if new == old:
                return old
            new = cron_rules.written(new, old, self._clock.now())
            try:
                self._store.replace(new, old)
            except ConflictException:
                continue
            return new
        raise ConflictException(
            f"The cron trigger '{identifier}' is being changed by others at this moment; try again."
        )

    # -- running

    def run(self, access: Access, identifier: str, key: str | None = None) -> Started:
        """Start its workflow now, whatever its times, its overlap policy and its count say, and paused or not.

        The same key never starts a second one. Raises NotFoundException, NotAllowedException, WorkflowException.
        """
        if key is not None and not 0 < len(key) <= _KEY_CHARACTERS_MAX:
            raise InputException(f"key has {len(key)} characters; it must have 1 to {_KEY_CHARACTERS_MAX}.")
        trigger = self._found(access, identifier, to_change=True)
        cause = f"run {key or UUID(bytes=self._entropy.token())}"
        told = cron_rules.told_to_workflow(trigger, self._clock.now(), "request")
        refused = triggered_starts.start(self._engine, trigger, cause, cron_params=told)
        if refused is not None:
            raise WorkflowException(refused)
        execution_id = triggered_starts.execution_id_for(trigger, cause)
        header = self._engine.turns.header(partition_of(execution_id))
        return Started(None, execution_id, None if header is None else header.state)

    def backfill(
        self, access: Access, identifier: str, *, first: str, last: str, dry_run: bool = False
    ) -> list[Started]:
        """Start a run for every due time of a past range, both ends included, that has none yet.

        Runs of a trigger that allows no overlap are queued; the others start as soon as they can.
        Raises NotFoundException, NotAllowedException, InvalidModelException, ConflictException.
        """
        trigger = self._found(access, identifier, to_change=not dry_run)
        due_times = self._past_times(trigger, first, last)
        ids = [triggered_starts.execution_id_for(trigger, cron_rules.cause_of(at)) for at in due_times]
        begun = [self._engine.turns.header(partition_of(execution_id)) for execution_id in ids]
        missing = [at for at, header in zip(due_times, begun, strict=True) if header is None]
        if missing and not dry_run:
            self._start_past(access, trigger, missing)
        return [
            Started(at, execution_id, None if header is None else header.state)
            for at, execution_id, header in zip(due_times, ids, begun, strict=True)
        ]

    def _start_past(self, access: Access, trigger: CronTrigger, due_times: list[float]) -> None:
        if trigger.options.overlap is Overlap.ALLOW:
            out = [messages.cron_run_message(trigger.id, due_at) for due_at in due_times]
            for begin in range(0, len(out), _SENT_AT_ONCE):
                self._queue.send(out[begin : begin + _SENT_AT_ONCE])
            return

        def waiting(current: CronTrigger) -> CronTrigger:
            more = cron_rules.queued(current, *due_times)
            if more is None:
                room = CRON_QUEUED_MAX - len(current.course.queued)
                raise InvalidModelException(
                    f"{len(due_times)} runs would have to be queued, since they may not overlap, and there is room "
                    f"for {room}; choose a shorter range."
                )
            return more

        self._announce(self._changed(access, trigger.id, waiting))

    def _past_times(self, trigger: CronTrigger, first: str, last: str) -> list[float]:
        zone, now = trigger.options.time_zone, self._clock.now()
        begin, end = moment_of("from", first, zone), moment_of("to", last, zone)
        if not trigger.has_pattern:
            raise InvalidModelException(f"The cron trigger '{trigger.name}' has no pattern, hence no past times.")
        if begin > end:
            raise InvalidModelException(f"from ({shown(begin, zone)}) is later than to ({shown(end, zone)}).")
        if end > now:
            raise InvalidModelException(f"to ({shown(end, zone)}) is in the future: it is {shown(now, zone)}.")
        found: list[float] = []
        due_at = next_match(trigger.pattern, begin - 0.5, zone)
        while due_at is not None and due_at <= end:
            if len(found) == CRON_BACKFILL_MAX:
                raise InvalidModelException(
                    f"There are more than {CRON_BACKFILL_MAX} times in this range, the last of them at "
                    f"{shown(found[-1], zone)}; choose a shorter one."
                )
            found.append(due_at)
            due_at = next_match(trigger.pattern, due_at, zone)
        return found

    def _found(self, access: Access, identifier: str, *, to_change: bool = False) -> CronTrigger:
        trigger = self._triggers.get(TriggerKind.CRON, access, identifier)
        assert isinstance(trigger, CronTrigger)
        if to_change:
            self._triggers.check_change(access, trigger)
        return trigger


def _check_count(count: int) -> None:
    if not 1 <= count <= CRON_PREVIEW_MAX:
        raise InputException(f"count is {count}; it must be from 1 to {CRON_PREVIEW_MAX}.")


def _times_from(first: float, pattern: str | None, zone: str | None, count: int) -> list[float]:
    found = [first]
    while pattern and len(found) < count and (due_at := next_match(pattern, found[-1], zone)) is not None:
        found.append(due_at)
    return found
