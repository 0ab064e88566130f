"""What a run costs: requests, units, messages and payloads, counted at the ports.

Wrap any backend (``MeteredTable(MemoryTable(), meter)`` …) and ask the meter; it knows every item before and after, so
the units are exact also where an emulator's ConsumedCapacity is not. Requests are those that the AWS adapters would
send; a test holds them against botocore's own events (``count_requests``). A table's previous items are read past the
meter.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from math import ceil
from threading import Lock
from typing import Any

from chalicelib.adapters.bounds import address_of, bulk_plan
from chalicelib.adapters.queues import BATCH_MESSAGES_MAX
from chalicelib.adapters.schema import item_bytes
from chalicelib.adapters.tables import GET_BATCH_MAX, WRITE_BATCH_MAX
from chalicelib.errors import ConflictException
from chalicelib.local import units
from chalicelib.services.ports import (
    Check,
    Delete,
    IndexEntry,
    Item,
    Message,
    Payloads,
    Put,
    Queue,
    Table,
    Write,
)


@dataclass(slots=True)
class Counts:
    """The sums of a run, or of a part of it."""

    requests: Counter[str] = field(default_factory=Counter)  # by AWS operation
    units_by_kind: Counter[str] = field(default_factory=Counter)  # write units by the first part of the item's key
    write_units: float = 0
    read_units: float = 0
    items_written: int = 0
    items_read: int = 0
    bytes_written: int = 0
    conflicts: int = 0
    messages_sent: int = 0
    payload_puts: int = 0
    payload_gets: int = 0
    payload_bytes: int = 0
    invocations: int = 0
    compute_sec: float = 0

    def minus(self, earlier: Counts) -> Counts:
        """What came since an earlier reading."""
        difference = Counts()
        for each in fields(Counts):
            now, then = getattr(self, each.name), getattr(earlier, each.name)
            setattr(difference, each.name, now - then)
        return difference

    def copy(self) -> Counts:
        """The same sums, standing still."""
        return self.minus(Counts())


class Meter:
    """Adds up, from any thread."""

    def __init__(self) -> None:
        self._counts = Counts()
        self._lock = Lock()

    def counts(self) -> Counts:
        """The sums so far."""
        with self._lock:
            return self._counts.copy()

    @contextmanager
    def measure(self) -> Iterator[Counts]:
        """The sums of a block; complete when the block has ended."""
        before, result = self.counts(), Counts()
        yield result
        found = self.counts().minus(before)
        for each in fields(Counts):
            setattr(result, each.name, getattr(found, each.name))

    def invoked(self, duration_sec: float) -> None:
        """Count one run of a Lambda, without the time of the actions themselves."""
        self.add(invocations=1, compute_sec=duration_sec)

    def requested(self, operation: str, times: int = 1) -> None:
        """Count requests of an AWS operation."""
        with self._lock:
            self._counts.requests[operation] += times

    def wrote(self, key: str, write_units: int, size: int) -> None:
        """Count one item written or deleted."""
        with self._lock:
            self._counts.units_by_kind[key.partition("#")[0]] += write_units
            self._counts.write_units += write_units
            self._counts.items_written += 1
            self._counts.bytes_written += size

    def add(self, **amounts: float) -> None:
        """Add to the plain sums, by name."""
        with self._lock:
            for name, amount in amounts.items():
                setattr(self._counts, name, getattr(self._counts, name) + amount)


class MeteredTable(Table):
    """A table whose every operation is counted."""

    def __init__(self, inner: Table, meter: Meter) -> None:
        self._inner = inner
        self._meter = meter

    def get(self, partition: str, keys: Sequence[str], *, consistent: bool = True) -> dict[str, Item]:
        """See ``Table``."""
        found = self._inner.get(partition, keys, consistent=consistent)
        self._count_gets([found.get(key) for key in dict.fromkeys(keys)], consistent=consistent)
        return found

    def get_many(
        self, addresses: Iterable[tuple[str, str]], *, consistent: bool = False
    ) -> dict[tuple[str, str], Item]:
        """See ``Table``."""
        wanted = list(dict.fromkeys(addresses))
        found = self._inner.get_many(wanted, consistent=consistent)
        self._count_gets([found.get(address) for address in wanted], consistent=consistent)
        return found

    def query(
        self,
        partition: str,
        *,
        prefix: str = "",
        start: str | None = None,
        end: str | None = None,
        descending: bool = False,
        limit: int | None = None,
        consistent: bool = True,
    ) -> list[Item]:
        """See ``Table``."""
        found = self._inner.query(
            partition,
            prefix=prefix,
            start=start,
            end=end,
            descending=descending,
            limit=limit,
            consistent=consistent,
        )
        if (limit is None or limit > 0) and not _is_backwards(start, end):
            self._count_query([item_bytes(item) for item in found], consistent=consistent)
        return found

    def write(self, writes: Sequence[Write]) -> None:
        """See ``Table``; a lost race costs too."""
        before = self._inner.get_many([address_of(write) for write in writes], consistent=True)
        in_transaction = len(writes) > 1 or any(isinstance(write, Check) for write in writes)
        try:
            self._inner.write(writes)
        except ConflictException:
            lost = (units.failed_write_units(before.get(address_of(w)), in_transaction=in_transaction) for w in writes)
            self._meter.add(conflicts=1, write_units=sum(lost))
            self._meter.requested(_operation(writes, in_transaction=in_transaction))
            raise
        if not writes:
            return
        self._meter.requested(_operation(writes, in_transaction=in_transaction))
        for write in writes:
            found = before.get(address_of(write))
            if isinstance(write, Check):
                self._meter.add(write_units=units.check_units(found))
                continue
            after = write.item if isinstance(write, Put) else None
            self._count_write(address_of(write), found, after, in_transaction=in_transaction)

    def write_bulk(self, items: Iterable[Item], deletes: Iterable[tuple[str, str]] = ()) -> None:
        """See ``Table``."""
        plan = bulk_plan(items, deletes)
        before = self._inner.get_many(plan, consistent=True)
        self._inner.write_bulk(
            [item for item in plan.values() if item is not None], [at for at, item in plan.items() if item is None]
        )
        for address, item in plan.items():
            self._count_write(address, before.get(address), item, in_transaction=False)
        self._meter.requested("BatchWriteItem", ceil(len(plan) / WRITE_BATCH_MAX))

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
        """See ``Table``; with both ``after`` and ``until``, the entry at ``after`` is read along and counted."""
        found = self._inner.list_index(index, value, after=after, until=until, descending=descending, limit=limit)
        lowest, highest = (until, after) if descending else (after, until)
        if limit > 0 and not _is_backwards(lowest, highest):
            sizes = units.entry_sizes(index, value, found)
            along = sizes[:1] if after is not None and until is not None else []
            self._count_query(sizes + along, consistent=False)
        return found

    def _count_gets(self, found: list[Item | None], *, consistent: bool) -> None:
        if not found:
            return
        read_units = sum(units.get_units(item, consistent=consistent) for item in found)
        self._meter.add(read_units=read_units, items_read=sum(item is not None for item in found))
        if len(found) == 1:
            self._meter.requested("GetItem")
        else:
            self._meter.requested("BatchGetItem", ceil(len(found) / GET_BATCH_MAX))

    def _count_query(self, sizes: list[int], *, consistent: bool) -> None:
        requests, read_units = units.query_units(sizes, consistent=consistent)
        self._meter.requested("Query", requests)
        self._meter.add(read_units=read_units, items_read=len(sizes))

    def _count_write(
        self, address: tuple[str, str], before: Item | None, after: Item | None, *, in_transaction: bool
    ) -> None:
        write_units = units.write_units(before, after, in_transaction=in_transaction)
        self._meter.wrote(address[1], write_units, item_bytes(after) if after else 0)


class MeteredQueue(Queue):
    """A queue whose messages are counted."""

    def __init__(self, inner: Queue, meter: Meter) -> None:
        self._inner = inner
        self._meter = meter

    def send(self, messages: Sequence[Message]) -> None:
        """See ``Queue``."""
        self._inner.send(messages)
        self._meter.add(messages_sent=len(messages))
        for amount in Counter(message.queue for message in messages).values():
            self._meter.requested("SendMessageBatch", ceil(amount / BATCH_MESSAGES_MAX))


class MeteredPayloads(Payloads):
    """Payloads whose transfers are counted; stands between the cache and the bucket.

    A payload that was stored or read before does not count as stored again: the bucket's adapter would not send it.
    """

    def __init__(self, inner: Payloads, meter: Meter) -> None:
        self._inner = inner
        self._meter = meter
        self._known: set[str] = set()

    def put(self, digest: str, data: bytes) -> None:
        """See ``Payloads``."""
        self._inner.put(digest, data)
        if digest not in self._known:
            self._known.add(digest)
            self._meter.add(payload_puts=1, payload_bytes=len(data))
            self._meter.requested("PutObject")

    def get(self, digest: str) -> bytes:
        """See ``Payloads``."""
        self._meter.add(payload_gets=1)
        self._meter.requested("GetObject")
        data = self._inner.get(digest)
        self._known.add(digest)
        return data

    def delete(self, digests: Iterable[str]) -> None:
        """See ``Payloads``."""
        unwanted = list(dict.fromkeys(digests))
        self._inner.delete(unwanted)
        self._known.difference_update(unwanted)
        self._meter.requested("DeleteObjects", ceil(len(unwanted) / 1000))

    def delete_all(self, owner: str) -> None:
        """See ``Payloads``."""
        self._inner.delete_all(owner)
        self._known = {digest for digest in self._known if not digest.startswith(f"{owner}/")}
        self._meter.requested("ListObjectsV2")

    def share(self, token: str, data: bytes, lifetime_sec: int) -> str:
        """See ``Payloads``."""
        self._meter.requested("PutObject")
        return self._inner.share(token, data, lifetime_sec)

    def shared(self, token: str) -> bytes:
        """See ``Payloads``."""
        self._meter.requested("GetObject")
        return self._inner.shared(token)


def count_requests(client: Any) -> Counter[str]:
    """The calls that a botocore client makes from now on, by operation; botocore's own repetitions are not seen."""
    seen: Counter[str] = Counter()

    def count(model: Any, **_event: object) -> None:
        seen[model.name] += 1

    client.meta.events.register("provide-client-params", count)
    return seen


def _operation(writes: Sequence[Write], *, in_transaction: bool) -> str:
    if in_transaction:
        return "TransactWriteItems"
    return "DeleteItem" if isinstance(writes[0], Delete) else "PutItem"


def _is_backwards(lowest: str | None, highest: str | None) -> bool:
    return lowest is not None and highest is not None and lowest > highest
