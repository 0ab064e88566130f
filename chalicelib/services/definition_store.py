"""Definitions in their table: one by name, one by id, many in order; and the snapshots that executions run on."""

from __future__ import annotations

import heapq
import json
import zlib
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from itertools import groupby
from threading import Lock
from typing import Final
from uuid import UUID

from chalicelib.engine.plan import Plan
from chalicelib.errors import NotFoundException
from chalicelib.lang.graph import WorkflowGraph
from chalicelib.lang.parser import workflow_from_data
from chalicelib.limits import PLANS_CACHED_BYTES_MAX, PLANS_CACHED_MAX, RECORD_BYTES_MAX, SORT_KEY_BYTES_MAX
from chalicelib.services.definition_records import (
    ADDRESS_KEY,
    Definition,
    Kind,
    Order,
    address_partition,
    decode,
    digest_of,
    everyones_list,
    own_list,
    partition_of,
    public_list,
    sort_value,
    sorted_name,
)
from chalicelib.services.ports import IndexEntry, Item, Payloads, Table

_SNAPSHOT_KEY: Final = "spec"
_IN_ITEM: Final = b"i"
_IN_PAYLOADS: Final = b"p"
_ENTRIES_READ: Final = 100
_RECORDS_READ: Final = 50
_ADDRESSES_KNOWN_MAX: Final = 4096
# Behind every id, which is made of digits, letters up to "f" and dashes.
_LAST: Final = "~"

Address = tuple[str, str]


def is_id(identifier: str) -> bool:
    """Whether an identifier is an id; no name may look like one."""
    try:
        UUID(identifier)
    except ValueError:
        return False
    return True


class DefinitionStore:
    """Reads records and writes snapshots; who may see what is decided above."""

    def __init__(self, table: Table, payloads: Payloads) -> None:
        self.table = table
        self.payloads = payloads
        self._plans = _PlanCache()
        self._addresses: dict[str, Address] = {}

    # -- one record

    def named(
        self, kind: Kind, project_id: str, namespace: str, name: str, *, is_fresh: bool = True
    ) -> Definition | None:
        """What a project has under a name; one read."""
        if not _can_be_key(name, namespace):
            return None
        return self._read((partition_of(kind, project_id, namespace), name), is_fresh=is_fresh)

    def public_named(self, kind: Kind, namespace: str, name: str) -> Definition | None:
        """What some project has published under a name; the oldest, if several have."""
        if not _can_be_key(name, namespace):
            return None
        index, value = public_list(kind, Order.NAME)
        first = sorted_name(name) + "\0"
        entries = self.table.list_index(index, value, after=first, until=first + _LAST, limit=_ENTRIES_READ)
        found = (
            self._read((entry.partition, entry.key))
            for entry in entries
            if entry.key == name and entry.partition.split("#", 2)[2] == namespace
        )
        return min(
            (record for record in found if record is not None and record.is_public),
            key=lambda record: sort_value(record, Order.CREATED_AT),
            default=None,
        )

    def by_id(self, kind: Kind, identifier: str) -> Definition | None:
        """The record of an id; always fresh. Where it is, is remembered, so that this is mostly one read."""
        identifier = str(UUID(identifier))
        known = self._addresses.get(identifier)
        record = self._read(known) if known is not None else None
        if record is None or record.id != identifier:
            known = self._address(identifier)
            record = self._read(known) if known is not None else None
        if known is None or record is None or record.id != identifier or record.kind is not kind:
            return None
        if len(self._addresses) >= _ADDRESSES_KNOWN_MAX:
            self._addresses.clear()
        self._addresses[identifier] = known
        return record

    def by_ids(self, kind: Kind, identifiers: Iterable[str]) -> list[Definition]:
        """The records of many ids, as far as they exist; always fresh."""
        places = [(address_partition(identifier), ADDRESS_KEY) for identifier in identifiers]
        found = self.table.get_many(places, consistent=True)
        records = self.many(_address_in(item) for item in found.values())
        return [record for record in records.values() if record.kind is kind]

    def many(self, addresses: Iterable[Address]) -> dict[Address, Definition]:
        """The records that exist at these addresses; always fresh."""
        found = self.table.get_many(addresses, consistent=True)
        return {address: decode(item, self.payloads) for address, item in found.items()}

    def _read(self, address: Address, *, is_fresh: bool = True) -> Definition | None:
        item = self.table.get(address[0], [address[1]], consistent=is_fresh).get(address[1])
        return None if item is None else decode(item, self.payloads)

    def _address(self, identifier: str) -> Address | None:
        partition = address_partition(identifier)
        item = self.table.get(partition, [ADDRESS_KEY]).get(ADDRESS_KEY)
        return None if item is None else _address_in(item)

    # -- many records

    def browse(
        self,
        kind: Kind,
        project_id: str | None,
        order: Order,
        *,
        descending: bool = False,
        after: Definition | None = None,
        name: str | None = None,
    ) -> Iterator[Definition]:
        """What a project sees of a kind, in an order, ties by id: its own and what is public; ``None`` sees everything.

        ``name``: only what is called so. Reads as far as it is asked to; the indexes follow the table a little later.
        """
        if project_id is None:
            lists = [everyones_list(kind, order)]
        else:
            lists = [own_list(kind, project_id, order), public_list(kind, order)]
        start, stop = _bounds(order, descending, after, name)
        streams = [self._entries(index, value, start, stop, descending=descending) for index, value in lists]
        merged = heapq.merge(*streams, key=lambda entry: entry.sort, reverse=descending)
        entries = (next(same) for _, same in groupby(merged, key=lambda entry: entry.sort))
        last_seen = None if after is None else _split_sort(sort_value(after, order))
        for batch in _batches(_ties_by_id(entries, descending), last_seen, descending):
            addresses = [(entry.partition, entry.key) for entry in batch]
            if project_id is None:
                items = self.table.get_many(addresses, consistent=True)
                addresses = [_address_in(items[address]) for address in addresses if address in items]
            found = self.many(addresses)
            yield from (found[address] for address in addresses if address in found)

    def _entries(
        self, index: str, value: str, start: str | None, stop: str | None, *, descending: bool
    ) -> Iterator[IndexEntry]:
        while True:
            page = self.table.list_index(
                index, value, after=start, until=stop, descending=descending, limit=_ENTRIES_READ
            )
            yield from page
            if len(page) < _ENTRIES_READ:
                return
            start = page[-1].sort

    # -- snapshots

    def keep_snapshots(self, snapshots: Iterable[bytes]) -> None:
        """Store the data of workflows' specs under their hashes, never to be changed or removed: executions need it."""
        items = []
        for snapshot in snapshots:
            definition_hash = digest_of(snapshot)
            if self._plans.get(definition_hash) is not None:
                continue
            packed = zlib.compress(snapshot)
            body = _IN_ITEM + packed
            if len(body) > RECORD_BYTES_MAX:
                digest = f"snapshot-{definition_hash}"
                self.payloads.put(digest, packed)
                body = _IN_PAYLOADS + digest.encode()
            items.append(Item(_snapshot_partition(definition_hash), _SNAPSHOT_KEY, body))
        if items:
            self.table.write_bulk(items)

    def plan(self, definition_hash: str) -> Plan:
        """The compiled workflow of a snapshot; kept in memory. Raises NotFoundException."""
        plan = self._plans.get(definition_hash)
        if plan is None:
            snapshot = self._snapshot(definition_hash)
            plan = Plan(WorkflowGraph(workflow_from_data(json.loads(snapshot))))
            self._plans.keep(definition_hash, plan, len(snapshot))
        return plan

    def _snapshot(self, definition_hash: str) -> bytes:
        item = self.table.get(_snapshot_partition(definition_hash), [_SNAPSHOT_KEY]).get(_SNAPSHOT_KEY)
        if item is None:
            raise NotFoundException(f"There is no workflow definition with hash {definition_hash}.")
        if item.body.startswith(_IN_PAYLOADS):
            return zlib.decompress(self.payloads.get(item.body[1:].decode()))
        return zlib.decompress(item.body[1:])


class _PlanCache:
    """The plans used last, bounded in number and in the bytes of their snapshots; shared between threads."""

    def __init__(self) -> None:
        self._plans: OrderedDict[str, tuple[Plan, int]] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()

    def get(self, definition_hash: str) -> Plan | None:
        with self._lock:
            if definition_hash not in self._plans:
                return None
            self._plans.move_to_end(definition_hash)
            return self._plans[definition_hash][0]

    def keep(self, definition_hash: str, plan: Plan, size: int) -> None:
        with self._lock:
            self._bytes += size - self._plans.pop(definition_hash, (plan, 0))[1]
            self._plans[definition_hash] = plan, size
            while len(self._plans) > 1 and (
                len(self._plans) > PLANS_CACHED_MAX or self._bytes > PLANS_CACHED_BYTES_MAX
            ):
                self._bytes -= self._plans.popitem(last=False)[1][1]


def _snapshot_partition(definition_hash: str) -> str:
    return f"snapshot#{definition_hash}"


def _address_in(item: Item) -> Address:
    found = json.loads(item.body)
    return found["partition"], found["key"]


def _can_be_key(name: str, namespace: str) -> bool:
    """Whether anything can be stored so: what comes from expressions and from paths may be no possible key."""
    try:
        return 0 < len(name.encode()) <= SORT_KEY_BYTES_MAX and len(namespace.encode()) <= SORT_KEY_BYTES_MAX
    except UnicodeEncodeError:
        return False


# -- the order of a list: what is sorted by, then the id, which ascends in both directions


def _split_sort(sort: str) -> tuple[str, str]:
    return sort[:-36], sort[-36:]


def _bounds(
    order: Order, descending: bool, after: Definition | None, name: str | None
) -> tuple[str | None, str | None]:
    """Where reading an index begins (exclusive) and ends; it begins with all of the marker's ties."""
    start, stop = None, None
    if name is not None:
        assert order is Order.NAME
        start, stop = sorted_name(name) + "\0", sorted_name(name) + "\0" + _LAST
        if descending:
            start, stop = stop, start
    if after is not None:
        tied = _split_sort(sort_value(after, order))[0]
        begin = tied + _LAST if descending else tied
        start = begin if start is None else (min if descending else max)(start, begin)
    return start, stop


def _ties_by_id(entries: Iterable[IndexEntry], descending: bool) -> Iterator[IndexEntry]:
    if not descending:
        yield from entries
        return
    for _, tied in groupby(entries, key=lambda entry: _split_sort(entry.sort)[0]):
        yield from reversed(list(tied))


def _batches(
    entries: Iterable[IndexEntry], last_seen: tuple[str, str] | None, descending: bool
) -> Iterator[list[IndexEntry]]:
    """The entries behind the last one seen, in runs that grow, so that a short page reads little."""
    batch: list[IndexEntry] = []
    for entry in entries:
        if last_seen is not None:
            tied, identifier = _split_sort(entry.sort)
            if (tied == last_seen[0] and identifier <= last_seen[1]) or (
                tied != last_seen[0] and (tied > last_seen[0]) is descending
            ):
                continue
        batch.append(entry)
        if len(batch) == _RECORDS_READ:
            yield batch
            batch = []
    if batch:
        yield batch


def merged(
    found: Iterable[Definition],
    others: Iterable[Definition],
    order: Order,
    *,
    descending: bool,
    after: Definition | None,
) -> Iterator[Definition]:
    """A list in an order, and others in their places among it, as far as they stand behind ``after``."""

    def place(record: Definition) -> tuple[str, str]:
        return _split_sort(sort_value(record, order))

    def is_before(one: Definition, other: Definition) -> bool:
        (tied, identifier), (other_tied, other_identifier) = place(one), place(other)
        return identifier < other_identifier if tied == other_tied else (tied > other_tied) is descending

    behind = [record for record in others if after is None or is_before(after, record)]
    behind.sort(key=lambda record: record.id)
    behind.sort(key=lambda record: place(record)[0], reverse=descending)
    waiting = deque(behind)
    for record in found:
        while waiting and is_before(waiting[0], record):
            yield waiting.popleft()
        yield record
    yield from waiting
