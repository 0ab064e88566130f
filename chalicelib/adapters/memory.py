"""The ports in memory: for the simulation, for ``mistral-local --storage memory`` and for users' own tests.

The same promises as on AWS, and the same refusals; nothing is shared with the caller but immutable bytes. Reads are
always consistent here, also where DynamoDB may lag behind.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Sequence
from dataclasses import field
from itertools import islice
from random import Random
from threading import Lock

from chalicelib.adapters.bounds import (
    address_of,
    bulk_plan,
    check_address,
    check_index,
    check_range,
    check_writes,
)
from chalicelib.adapters.clock import SystemClock
from chalicelib.adapters.memory_queues import MemoryQueue, Received
from chalicelib.adapters.payloads import NOT_SHARED, SHARED_PATH
from chalicelib.data import dataclass
from chalicelib.errors import ConflictException, NotFoundException
from chalicelib.services.ports import (
    Clock,
    Delete,
    Entropy,
    IndexEntry,
    Item,
    Payloads,
    Put,
    Table,
    Write,
)

__all__ = ["ManualClock", "MemoryPayloads", "MemoryQueue", "MemoryTable", "Received", "SeededEntropy"]

Place = tuple[str, str, str]  # sort, partition, key


@dataclass(slots=True)
class _Partition:
    """Items by key, and the keys in order: Python's order of code points is DynamoDB's order of UTF-8 bytes."""

    items: dict[str, Item] = field(default_factory=dict)
    keys: list[str] = field(default_factory=list)


class MemoryTable(Table):
    """A table in memory; every operation is atomic."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._partitions: dict[str, _Partition] = {}
        self._indexes: dict[tuple[str, str], list[Place]] = {}

    def get(self, partition: str, keys: Sequence[str], *, consistent: bool = True) -> dict[str, Item]:
        """See ``Table``."""
        found = self.get_many(((partition, key) for key in keys), consistent=consistent)
        return {key: item for (_, key), item in found.items()}

    def get_many(
        self,
        addresses: Iterable[tuple[str, str]],
        *,
        consistent: bool = False,  # noqa: ARG002 - reads are always consistent here
    ) -> dict[tuple[str, str], Item]:
        """See ``Table``."""
        wanted = list(addresses)
        for address in wanted:
            check_address(*address)
        with self._lock:
            found = {address: self._find(*address) for address in wanted}
        return {address: _own(item) for address, item in found.items() if item is not None}

    def query(
        self,
        partition: str,
        *,
        prefix: str = "",
        start: str | None = None,
        end: str | None = None,
        descending: bool = False,
        limit: int | None = None,
        consistent: bool = True,  # noqa: ARG002 - reads are always consistent here
    ) -> list[Item]:
        """See ``Table``; the cost grows with the answer, not with the partition."""
        check_range(prefix, start, end)
        check_address(partition, "-")
        with self._lock:
            stored = self._partitions.get(partition)
            if stored is None:
                return []
            keys = stored.keys
            if prefix:
                begin, stop = bisect_left(keys, prefix), bisect_left(keys, _behind_prefix(prefix))
            else:
                begin = 0 if start is None else bisect_left(keys, start)
                stop = len(keys) if end is None else bisect_right(keys, end)
            found = [stored.items[keys[at]] for at in _page(begin, stop, descending=descending, limit=limit)]
        return [_own(item) for item in found]

    def write(self, writes: Sequence[Write]) -> None:
        """See ``Table``."""
        check_writes(writes)
        with self._lock:
            for write in writes:
                if write.expected is not None:
                    found = self._find(*address_of(write))
                    if not _holds(write.expected, found):
                        raise ConflictException(
                            f"Another writer was faster at item {address_of(write)!r}: read again, then decide again."
                        )
            for write in writes:
                if isinstance(write, Put):
                    self._replace(address_of(write), _own(write.item))
                elif isinstance(write, Delete):
                    self._replace(address_of(write), None)

    def write_bulk(self, items: Iterable[Item], deletes: Iterable[tuple[str, str]] = ()) -> None:
        """See ``Table``."""
        plan = bulk_plan(items, deletes)
        with self._lock:
            for address, item in plan.items():
                self._replace(address, None if item is None else _own(item))

    def list_index(
        self,
        index: str,
        value: str,
        *,
        after: str | None = None,
        until: str | None = None,
        descending: bool = False,
        limit: int,
    ) -> list[IndexEntry]:
        """See ``Table``; the cost grows with the answer, not with the index."""
        check_index(index)
        check_address(value, "-")
        with self._lock:
            places = self._indexes.get((index, value), [])
            begin, stop = 0, len(places)
            if descending:
                stop = stop if after is None else bisect_left(places, after, key=_sort_of)
                begin = begin if until is None else bisect_left(places, until, key=_sort_of)
            else:
                begin = begin if after is None else bisect_right(places, after, key=_sort_of)
                stop = stop if until is None else bisect_right(places, until, key=_sort_of)
            found = [places[at] for at in _page(begin, stop, descending=descending, limit=limit)]
        return [IndexEntry(partition, key, sort) for sort, partition, key in found]

    def remove_expired(self, now_sec: float) -> int:
        """Delete what expired before now, as DynamoDB does in its own time; give how many items went."""
        with self._lock:
            gone = [
                (item.partition, item.key)
                for stored in self._partitions.values()
                for item in stored.items.values()
                if item.expires_at_sec is not None and item.expires_at_sec < now_sec
            ]
            for address in gone:
                self._replace(address, None)
        return len(gone)

    def _find(self, partition: str, key: str) -> Item | None:
        stored = self._partitions.get(partition)
        return stored.items.get(key) if stored else None

    def _replace(self, address: tuple[str, str], item: Item | None) -> None:
        partition, key = address
        stored = self._partitions.setdefault(partition, _Partition())
        before = stored.items.pop(key, None)
        if item is not None:
            stored.items[key] = item
            if before is None:
                insort(stored.keys, key)
        elif before is not None:
            del stored.keys[bisect_left(stored.keys, key)]
        if not stored.items:
            del self._partitions[partition]
        self._reindex(before, item)

    def _reindex(self, before: Item | None, after: Item | None) -> None:
        old, new = before.indexes if before else {}, after.indexes if after else {}
        if old == new:
            return
        for item, leaving in ((before, True), (after, False)):
            for index, at in item.indexes.items() if item else ():
                place = (at.sort, item.partition, item.key) if item else ("", "", "")
                places = self._indexes.setdefault((index, at.value), [])
                if leaving:
                    del places[bisect_left(places, place)]
                else:
                    insort(places, place)
                if not places:
                    del self._indexes[index, at.value]


def _page(begin: int, stop: int, *, descending: bool, limit: int | None) -> Iterable[int]:
    positions = range(stop - 1, begin - 1, -1) if descending else range(begin, stop)
    return islice(positions, None if limit is None else max(limit, 0))


def _behind_prefix(prefix: str) -> str:
    """The least text behind all that begin with the prefix."""
    head = prefix.rstrip(chr(0x10FFFF))
    return head[:-1] + chr(ord(head[-1]) + 1) if head else prefix + chr(0x10FFFF) * 1024


def _sort_of(place: Place) -> str:
    return place[0]


def _holds(expected: int, found: Item | None) -> bool:
    return (found is None) if expected == 0 else (found is not None and found.revision == expected)


def _own(item: Item) -> Item:
    """The same item, sharing no mapping with anyone who could change it."""
    return Item(item.partition, item.key, item.body, item.revision, dict(item.indexes), item.expires_at_sec)


class MemoryPayloads(Payloads):
    """Payloads in a dictionary; what is shared is read from the service itself, under ``shared_path``."""

    def __init__(self, clock: Clock | None = None, *, shared_path: str = SHARED_PATH) -> None:
        self._data: dict[str, bytes] = {}
        self._shared: dict[str, tuple[float, bytes]] = {}
        self._clock = clock or SystemClock()
        self._shared_path = shared_path

    def put(self, digest: str, data: bytes) -> None:
        """See ``Payloads``."""
        self._data[digest] = bytes(data)

    def get(self, digest: str) -> bytes:
        """See ``Payloads``."""
        try:
            return self._data[digest]
        except KeyError:
            raise NotFoundException(f"There is no payload {digest}; it has been deleted or was never stored.") from None

    def delete(self, digests: Iterable[str]) -> None:
        """See ``Payloads``."""
        for digest in digests:
            self._data.pop(digest, None)

    def delete_all(self, owner: str) -> None:
        """See ``Payloads``."""
        self.delete([digest for digest in list(self._data) if digest.startswith(f"{owner}/")])

    def share(self, token: str, data: bytes, lifetime_sec: int) -> str:
        """See ``Payloads``."""
        now = self._clock.now()
        self._shared = {other: kept for other, kept in self._shared.items() if kept[0] > now}
        self._shared[token] = (now + lifetime_sec, bytes(data))
        return self._shared_path + token

    def shared(self, token: str) -> bytes:
        """See ``Payloads``."""
        until_sec, data = self._shared.get(token, (0.0, b""))
        if until_sec <= self._clock.now():
            raise NotFoundException(NOT_SHARED)
        return data


class ManualClock(Clock):
    """A clock that stands until it is moved."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self._now = now

    def now(self) -> float:
        """The moment it was set to."""
        return self._now

    def advance(self, seconds: float) -> float:
        """Move on by so many seconds; give the new moment. Raises ValueError when asked to go back."""
        if seconds < 0:
            raise ValueError(f"A clock does not go back, but was moved by {seconds} s.")
        self._now += seconds
        return self._now

    def set(self, now: float) -> None:
        """Move on to a moment; raises ValueError when it lies in the past."""
        self.advance(now - self._now)


class SeededEntropy(Entropy):
    """Identity that a seed decides: the same seed, the same tokens in the same order."""

    def __init__(self, seed: int = 0) -> None:
        self._random = Random(seed)  # noqa: S311 - meant to be foreseen
        self._lock = Lock()

    def token(self) -> bytes:
        """The next sixteen bytes."""
        with self._lock:
            return self._random.randbytes(16)
