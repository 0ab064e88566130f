"""Executions in an order, read through the indexes no further than they are asked for.

A selection has one or more *dimensions* (states, a workflow's name, a root): each is read from an index of its own. Two
of them are met by reading the narrower one and looking at the headers; where few of those fit, the indexes are joined
by their places instead, so that whatever lies between two hits is jumped over and never read.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from enum import Enum
from itertools import chain, islice
from typing import Final

from chalicelib.data import dataclass, replace
from chalicelib.engine.records import WorkflowExecution
from chalicelib.errors import InputException
from chalicelib.limits import EXECUTIONS_SCANNED_MAX
from chalicelib.services.execution_places import (
    ALARM_SHARDS,
    alarm_value,
    everyone_values,
    listing_value,
    name_prefix,
    root_value,
    roots_value,
    sort_of,
)
from chalicelib.services.execution_store import ExecutionStore
from chalicelib.services.index_streams import PAGE_ENTRIES_MAX, IndexStream, IndexUnion, drained, furthest
from chalicelib.services.ports import (
    INDEX_ALARM,
    INDEX_EVERYONE,
    INDEX_LISTING,
    INDEX_ROOT,
    INDEX_WORKFLOW,
    IndexEntry,
)
from chalicelib.vocabulary import State

EXECUTION_STATES: Final = (State.IDLE, State.RUNNING, State.PAUSED, State.SUCCESS, State.ERROR, State.CANCELLED)
UNFINISHED: Final = frozenset({State.IDLE, State.RUNNING, State.PAUSED})
# So many headers are looked at before the indexes are joined, if fewer than one in ten of them fits.
_HEADERS_TRIED: Final = 100
# Of so few entries the headers are read, rather than jumping from one to the other.
_FEW: Final = 200


class Order(Enum):
    """The orders that the indexes have; ties in order of creation. All projects together have the first only."""

    CREATED_AT = "created_at"
    NAME = "workflow_name"
    STATE = "state"


@dataclass(frozen=True, slots=True)
class ExecutionSelection:
    """Which executions a list reads: of one project or (``None``) of all, in some states, of a workflow, of a root.

    ``workflow_names``: of any of these; ``None`` of all. ``since`` and ``until`` bound the moment of creation, in whole
    seconds, both inclusive. ``after`` is the last one of the page before, ``behind`` a place in the order of creation
    to go on from; ``page`` is how many are likely to be wanted.
    """

    project_id: str | None
    states: tuple[State, ...] = EXECUTION_STATES
    workflow_names: tuple[str, ...] | None = None
    root_execution_id: str | None = None
    is_root: bool = False
    order: Order = Order.CREATED_AT
    descending: bool = False
    since: int | None = None
    until: int | None = None
    after: WorkflowExecution | None = None
    behind: str | None = None
    page: int = 20

    def fits(self, header: WorkflowExecution) -> bool:
        """Whether an execution is selected, whatever index it was found in."""
        return (
            (self.project_id is None or header.project_id == self.project_id)
            and header.state in self.states
            and (self.workflow_names is None or header.workflow_name in self.workflow_names)
            and (self.root_execution_id is None or header.root_execution_id == self.root_execution_id)
            and not (self.is_root and header.root_execution_id is not None)
        )


@dataclass(frozen=True, slots=True)
class Looked:
    """An execution that was looked at; ``header`` is ``None`` where it is not selected. ``place``: by creation."""

    execution_id: str
    place: str
    header: WorkflowExecution | None = None


class ExecutionListing:
    """Reads lists of executions."""

    def __init__(self, store: ExecutionStore) -> None:
        self._store = store

    def look(self, selection: ExecutionSelection) -> Iterator[Looked]:
        """What is looked at, in order, each selected execution once; whoever asks knows when to stop.

        Raises InputException where the unfinished executions of all projects are too many.
        """
        seen: set[str] = set()
        for looked in self._look(selection):
            # One that changes its state meanwhile may be met under both.
            if looked.execution_id in seen:
                continue
            if looked.header is not None:
                seen.add(looked.execution_id)
            yield looked

    def has_more_than(self, count: int, selection: ExecutionSelection) -> bool:
        """Whether a selection may have more executions than this, told from the indexes alone."""
        places = self._joined(replace(selection, order=Order.CREATED_AT, after=None, page=PAGE_ENTRIES_MAX))
        found = 0
        for looked_at, (_, is_hit) in enumerate(places, start=1):
            found += is_hit
            if found > count or looked_at > EXECUTIONS_SCANNED_MAX:
                return True
        return False

    def _look(self, selection: ExecutionSelection) -> Iterator[Looked]:
        match selection.order:
            case Order.NAME:
                return self._loaded(selection, ((entry, True) for entry in self._by_name(selection)))
            case Order.STATE:
                return self._by_state(selection)
            case Order.CREATED_AT:
                return self._by_creation(selection)

    # -- by creation

    def _by_creation(self, selection: ExecutionSelection) -> Iterator[Looked]:
        is_of_all = selection.project_id is None and selection.root_execution_id is None
        if is_of_all and State.SUCCESS not in selection.states:
            ended = tuple(state for state in selection.states if state not in UNFINISHED)
            found = [self._loaded(selection, self._joined(replace(selection, states=ended)))] if ended else []
            if len(ended) < len(selection.states):
                found.append(self._unfinished(selection))
            yield from heapq.merge(*found, key=lambda looked: looked.place, reverse=selection.descending)
            return
        dimensions = self._dimensions(selection)
        if len(dimensions) > 1:
            hits, tried = 0, 0
            for looked in self._loaded(selection, ((entry, True) for entry in drained(dimensions[0]))):
                yield looked
                hits, tried = hits + (looked.header is not None), tried + 1
                if tried >= _HEADERS_TRIED and hits * 10 < tried:
                    selection = replace(selection, behind=looked.place)
                    break
            else:
                return
            for dimension in self._dimensions(selection)[1:]:
                few = [(entry, True) for entry in islice(drained(dimension), _FEW + 1)]
                if len(few) <= _FEW:
                    yield from self._loaded(selection, few)
                    return
        yield from self._loaded(selection, self._joined(selection))

    def _joined(self, selection: ExecutionSelection) -> Iterator[tuple[IndexEntry, bool]]:
        """The entries that are in all dimensions (True), and where the search jumped to in between (False)."""
        dimensions = self._dimensions(selection)
        while (head := furthest(dimensions, descending=selection.descending)) is not None:
            entry, place = head
            for dimension in dimensions:
                dimension.seek(place)
            is_hit = all(dimension.head is not None and dimension.place == place for dimension in dimensions)
            yield entry, is_hit
            if is_hit:
                for dimension in dimensions:
                    dimension.pop()

    def _dimensions(self, selection: ExecutionSelection) -> list[IndexUnion]:
        """The narrowest first."""
        found: list[list[tuple[str, str, str]]] = []
        project_id = selection.project_id
        if selection.root_execution_id is not None:
            found.append([(INDEX_ROOT, root_value(selection.root_execution_id), "")])
        if project_id is not None and selection.workflow_names is not None:
            found.append([(INDEX_WORKFLOW, project_id, name_prefix(name)) for name in selection.workflow_names])
        if project_id is not None and selection.is_root and selection.root_execution_id is None:
            found.append([(INDEX_ROOT, roots_value(project_id), "")])
        if project_id is not None and (not found or set(selection.states) < set(EXECUTION_STATES)):
            found.append([(INDEX_LISTING, listing_value(project_id, state), "") for state in selection.states])
        if not found:
            found.append([(INDEX_EVERYONE, value, "") for value in everyone_values(selection.states)])
        down = selection.descending
        return [IndexUnion([self._stream(selection, *at) for at in sources], descending=down) for sources in found]

    def _stream(self, selection: ExecutionSelection, index: str, value: str, prefix: str) -> IndexStream:
        start, stop = _bounds(selection)
        return IndexStream(self._store, index, value, prefix, start, stop, selection.descending, selection.page)

    def _unfinished(self, selection: ExecutionSelection) -> Iterator[Looked]:
        """Those of all projects: found by their alarms, since no index has them in order of creation."""
        streams = [
            IndexStream(self._store, INDEX_ALARM, alarm_value(shard), "", None, None, False, PAGE_ENTRIES_MAX)
            for shard in range(ALARM_SHARDS)
        ]
        entries: list[IndexEntry] = []
        for entry in chain.from_iterable(map(drained, streams)):
            if len(entries) == EXECUTIONS_SCANNED_MAX:
                raise InputException(
                    f"There are more than {EXECUTIONS_SCANNED_MAX} unfinished executions in all projects; "
                    "choose one with project_id."
                )
            entries.append(entry)
        headers = self._store.headers(entry.partition for entry in entries).values()
        start, stop = _bounds(selection)
        down = selection.descending
        placed = sorted(((sort_of(header.created_at, header.id), header) for header in headers), reverse=down)
        for place, header in placed:
            if _is_between(place, start, stop, descending=down):
                yield Looked(header.id, place, header if selection.fits(header) else None)

    # -- by other columns

    def _by_state(self, selection: ExecutionSelection) -> Iterator[Looked]:
        after, project_id = selection.after, selection.project_id
        assert project_id is not None, "only the executions of one project are kept by state, all of them"
        for state in sorted(selection.states, reverse=selection.descending):
            if after is not None and (after.state < state if selection.descending else after.state > state):
                continue
            # Nothing but the state's own list: whatever is looked at there marks the place in this order.
            one = replace(
                selection, descending=False, after=after if after is not None and after.state is state else None
            )
            stream = self._stream(one, INDEX_LISTING, listing_value(project_id, state), "")
            yield from self._loaded(replace(one, states=(state,)), ((entry, True) for entry in drained(stream)))

    def _by_name(self, selection: ExecutionSelection) -> Iterator[IndexEntry]:
        assert selection.project_id is not None, "only the executions of one project are kept by name"
        after = selection.after
        start = None
        if after is not None:
            start = name_prefix(after.workflow_name) + sort_of(after.created_at, after.id)
        stream = IndexStream(
            self._store, INDEX_WORKFLOW, selection.project_id, "", start, None, selection.descending, selection.page
        )
        return drained(stream)

    # -- headers

    def _loaded(self, selection: ExecutionSelection, places: Iterable[tuple[IndexEntry, bool]]) -> Iterator[Looked]:
        """The headers of what was found, read some at a time: about as many as are wanted."""
        size = min(max(selection.page, 1), PAGE_ENTRIES_MAX)
        for batch in _batches(places, size):
            headers = self._store.headers(entry.partition for entry, is_hit in batch if is_hit)
            for entry, is_hit in batch:
                header = headers.get(entry.partition) if is_hit else None
                fitting = header if header is not None and selection.fits(header) else None
                yield Looked(entry.partition, entry.sort.rpartition("\0")[2], fitting)


def _bounds(selection: ExecutionSelection) -> tuple[str | None, str | None]:
    """Where the order of creation is read from (exclusive) and up to, in the direction of the selection."""
    low = None if selection.since is None else f"{selection.since:017.3f}"
    # Places go on with a separator, which orders behind the digits of the next second's text.
    high = None if selection.until is None else f"{selection.until + 1:017.3f}"
    start, stop = (high, low) if selection.descending else (low, high)
    places = [selection.behind] if selection.behind is not None else []
    if selection.after is not None:
        places.append(sort_of(selection.after.created_at, selection.after.id))
    for place in places:
        if start is None or (place < start if selection.descending else place > start):
            start = place
    return start, stop


def _is_between(place: str, start: str | None, stop: str | None, *, descending: bool) -> bool:
    if descending:
        return (start is None or place < start) and (stop is None or place >= stop)
    return (start is None or place > start) and (stop is None or place <= stop)


def _batches(places: Iterable[tuple[IndexEntry, bool]], size: int) -> Iterator[list[tuple[IndexEntry, bool]]]:
    """Batches of so many, growing: whoever wants few is not made to wait for many."""
    batch: list[tuple[IndexEntry, bool]] = []
    for place in places:
        batch.append(place)
        if len(batch) >= size:
            yield batch
            batch, size = [], min(2 * size, PAGE_ENTRIES_MAX)
    if batch:
        yield batch
