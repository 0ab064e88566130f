"""Expiration: root executions that ended long ago, or that are too many, are deleted with all that is below them.

The settings are Mistral's (``execution_expiration_policy``). While there is a policy, executions that have ended stand
in the alarm index in the order of their end, so looking for those that are due reads those that are due. Executions
that ended while there was no policy are brought into that index at its first evaluation.

The clock door does it, a step each minute until nothing is due any more, then again after the interval. One item of the
table says how far it is; two clocks at once do not work on it both, and doing it twice would change nothing.
"""

from __future__ import annotations

import heapq
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from itertools import islice
from typing import Final

from chalicelib.data import dataclass, replace
from chalicelib.engine.records import WorkflowExecution
from chalicelib.errors import ConflictException, MistralError
from chalicelib.limits import EXPIRATION_BATCH_MAX, EXPIRATION_STEP_SEC
from chalicelib.services.execution_places import ALARM_SHARDS, ended_value, everyone_values, sort_of
from chalicelib.services.execution_store import ExecutionStore
from chalicelib.services.ports import INDEX_ALARM, INDEX_EVERYONE, Clock, IndexEntry, Item, Put
from chalicelib.services.trees import Trees
from chalicelib.vocabulary import State

_LOG: Final = logging.getLogger("mistral.expiration")
_ENDED: Final = (State.SUCCESS, State.ERROR, State.CANCELLED)
_PARTITION: Final = "expiration"
_KEY: Final = "progress"
_PAGE: Final = 100
_MINUTE_SEC: Final = 60.0
# A policy that was not evaluated for so many intervals was switched off meanwhile, and what ended then is not listed.
_INTERVALS_MISSED_MAX: Final = 3


@dataclass(frozen=True, slots=True)
class ExpirationPolicy:
    """Mistral's options of the same names; times in minutes, 0 for none."""

    evaluation_interval: int = 0
    older_than: int = 0
    max_finished_executions: int = 0
    batch_size: int = 0
    ignored_states: frozenset[State] = frozenset()

    @property
    def is_on(self) -> bool:
        """Whether there is anything to do, ever."""
        return self.evaluation_interval >= 1 and (self.older_than >= 1 or self.max_finished_executions >= 1)

    @property
    def states(self) -> tuple[State, ...]:
        """The states in which an execution may expire."""
        return tuple(state for state in _ENDED if state not in self.ignored_states)

    @staticmethod
    def from_environment(environment: Mapping[str, str]) -> ExpirationPolicy:
        """Read the settings. Raises MistralError naming one that makes no sense."""
        names = [name.strip() for name in environment.get("MISTRAL_EXPIRATION_IGNORED_STATES", "").split(",")]
        unknown = sorted(set(names) - {"", *_ENDED})
        if unknown:
            raise MistralError(
                f"MISTRAL_EXPIRATION_IGNORED_STATES may name {', '.join(_ENDED)}, not {', '.join(unknown)}."
            )
        return ExpirationPolicy(
            evaluation_interval=_whole(environment, "MISTRAL_EXPIRATION_INTERVAL_MIN"),
            older_than=_whole(environment, "MISTRAL_EXPIRATION_OLDER_THAN_MIN"),
            max_finished_executions=_whole(environment, "MISTRAL_EXPIRATION_FINISHED_MAX"),
            batch_size=_whole(environment, "MISTRAL_EXPIRATION_BATCH"),
            ignored_states=frozenset(State(name) for name in names if name),
        )


def _whole(environment: Mapping[str, str], name: str) -> int:
    text = environment.get(name) or "0"
    if not text.isdecimal():
        raise MistralError(f"{name} is a whole number from 0, not {text!r}.")
    return int(text)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it is: last done ``at``, due again at ``next_at``.

    ``is_listed``: what ended before there was a policy is in the index; before that, ``value`` and ``after`` say up to
    where it is.
    """

    at: float = 0.0
    next_at: float = 0.0
    is_listed: bool = False
    value: int = 0
    after: str | None = None


class Expiration:
    """Deletes what has expired."""

    def __init__(self, store: ExecutionStore, trees: Trees, clock: Clock, policy: ExpirationPolicy) -> None:
        self._store = store
        self._trees = trees
        self._clock = clock
        self._policy = policy

    def tick(self, until: float) -> int:
        """Take a step if one is due, until a moment at most; how many trees were deleted."""
        if not self._policy.is_on:
            return 0
        now = self._clock.now()
        progress, revision = self._progress()
        if progress.next_at > now:
            return 0
        interval_sec = self._policy.evaluation_interval * _MINUTE_SEC
        if now - progress.at > _INTERVALS_MISSED_MAX * interval_sec + EXPIRATION_STEP_SEC:
            progress = Progress()
        # Another clock that rings meanwhile finds nothing due. If this one dies, it is due again in a minute.
        progress = replace(progress, at=now, next_at=now + _MINUTE_SEC - 1)
        try:
            revision = self._save(progress, revision)
        except ConflictException:
            return 0
        until = min(until, now + EXPIRATION_STEP_SEC)

        def has_time() -> bool:
            return self._clock.now() < until

        deleted, progress = self._step(progress, has_time)
        try:
            self._save(progress, revision)
        except ConflictException:
            _LOG.info("another clock went on meanwhile")
        return deleted

    def _step(self, progress: Progress, has_time: Callable[[], bool]) -> tuple[int, Progress]:
        now = progress.at
        if not progress.is_listed:
            progress = self._list_older(progress, has_time)
        deleted = 0
        batch = min(self._policy.batch_size or EXPIRATION_BATCH_MAX, EXPIRATION_BATCH_MAX)
        for candidates in (self._too_old(now), self._too_many()):
            while has_time() and (entries := list(islice(candidates, batch))):
                deleted += sum(has_time() and self._delete(entry, has_time) for entry in entries)
        if progress.is_listed and has_time():
            return deleted, replace(progress, next_at=now + self._policy.evaluation_interval * _MINUTE_SEC)
        return deleted, replace(progress, next_at=now)

    # -- what has expired

    def _too_old(self, now: float) -> Iterator[IndexEntry]:
        if self._policy.older_than < 1:
            return iter(())
        until = f"{now - self._policy.older_than * _MINUTE_SEC:017.3f}"
        return self._ended(until=until)

    def _too_many(self) -> Iterator[IndexEntry]:
        if self._policy.max_finished_executions < 1:
            return iter(())
        return islice(self._ended(descending=True), self._policy.max_finished_executions, None)

    def _ended(self, *, until: str | None = None, descending: bool = False) -> Iterator[IndexEntry]:
        """Root executions that have ended, by the time of their end."""
        values = [ended_value(state, shard) for state in self._policy.states for shard in range(ALARM_SHARDS)]
        streams = [self._entries(INDEX_ALARM, value, until=until, descending=descending) for value in values]
        return heapq.merge(*streams, key=lambda entry: entry.sort, reverse=descending)

    def _entries(
        self, index: str, value: str, *, after: str | None = None, until: str | None = None, descending: bool = False
    ) -> Iterator[IndexEntry]:
        while True:
            page = self._store.list_index(index, value, after=after, until=until, descending=descending, limit=_PAGE)
            yield from page
            if len(page) < _PAGE:
                return
            after = page[-1].sort

    def _delete(self, entry: IndexEntry, has_time: Callable[[], bool]) -> bool:
        """Delete a tree, unless its root has come back to life since; whether it is gone."""
        header = self._store.header(entry.partition)
        if header is None or header.parent is not None or header.state not in self._policy.states:
            return False
        # An index follows its table a little later: the place of the header counts.
        if sort_of(header.updated_at, header.id) != entry.sort:
            return False
        if not self._trees.delete(header, has_time):
            return False
        _LOG.info("execution %s has expired", header.public, extra={"mistral": {"execution": header.public}})
        return True

    # -- what ended while there was no policy

    def _list_older(self, progress: Progress, has_time: Callable[[], bool]) -> Progress:
        values = everyone_values(_ENDED)
        while progress.value < len(values):
            if not has_time():
                return progress
            page = self._store.list_index(INDEX_EVERYONE, values[progress.value], after=progress.after, limit=_PAGE)
            headers = self._store.headers(entry.partition for entry in page)
            for header in headers.values():
                if _has_ended(header):
                    self._store.place_anew(header.id)
            if len(page) < _PAGE:
                progress = replace(progress, value=progress.value + 1, after=None)
            else:
                progress = replace(progress, after=page[-1].sort)
        return replace(progress, is_listed=True)

    # -- progress

    def _progress(self) -> tuple[Progress, int]:
        item = self._store.table.get(_PARTITION, [_KEY]).get(_KEY)
        return (Progress(), 0) if item is None else (Progress(**json.loads(item.body)), item.revision)

    def _save(self, progress: Progress, revision: int) -> int:
        body = json.dumps(asdict(progress), separators=(",", ":")).encode()
        self._store.table.write([Put(Item(_PARTITION, _KEY, body, revision=revision + 1), expected=revision)])
        return revision + 1


def _has_ended(header: WorkflowExecution) -> bool:
    return header.parent is None and header.state.is_completed and header.wake_at is None
