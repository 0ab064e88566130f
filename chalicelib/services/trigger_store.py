"""Triggers in their table: one by id or name, those of an event, those that are due, many in order; and writes."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice
from typing import Final

from chalicelib.data import dataclass
from chalicelib.services.ports import Check, Delete, IndexEntry, Item, Payloads, Put, Table, Write
from chalicelib.services.trigger_records import (
    LATEST_KEY,
    RECORD_KEY,
    EventTrigger,
    Trigger,
    TriggerKind,
    claims_of,
    decode,
    due_list,
    encode,
    event_partition,
    everyones_list,
    name_partition,
    own_list,
    public_list,
    public_names,
    record_partition,
    sort_value,
    user_items,
    users_partition,
)

_ENTRIES_READ: Final = 100
_RECORDS_READ: Final = 50
# Behind every id, which is made of digits, letters up to "f" and dashes.
_LAST: Final = "~"


@dataclass(frozen=True, slots=True)
class User:
    """A trigger that uses a workflow."""

    kind: TriggerKind
    trigger_id: str
    project_id: str


class TriggerStore:
    """Reads and writes triggers; who may see what is decided above."""

    def __init__(self, table: Table, payloads: Payloads) -> None:
        self._table = table
        self._payloads = payloads

    # -- reading

    def get(self, identifier: str) -> Trigger | None:
        """The trigger of an id, as it is now."""
        return self.get_many([identifier]).get(identifier)

    def get_many(self, identifiers: Iterable[str]) -> dict[str, Trigger]:
        """The triggers that exist, as they are now, by id."""
        addresses = [(record_partition(identifier), RECORD_KEY) for identifier in identifiers]
        found = self._table.get_many(addresses, consistent=True)
        triggers = (decode(found[address], self._payloads) for address in addresses if address in found)
        return {trigger.id: trigger for trigger in triggers}

    def named(self, project_id: str, name: str) -> Trigger | None:
        """The cron-trigger that a project has under a name."""
        item = self._table.get(name_partition(project_id), [name]).get(name)
        return None if item is None else self.get(item.body.decode())

    def public_named(self, name: str) -> Trigger | None:
        """A cron-trigger that some project has published under a name; the oldest, if several have."""
        index, value = public_names()
        entries = self._table.list_index(index, value, after=f"{name}\0", until=f"{name}\0{_LAST}", limit=_ENTRIES_READ)
        found = self.get_many(entry.sort.rpartition("\0")[2] for entry in entries if entry.key == name)
        return min(found.values(), key=lambda trigger: (trigger.created_at, trigger.id), default=None)

    def browse(
        self, kind: TriggerKind, project_id: str | None, *, after: Trigger | None = None, descending: bool = False
    ) -> Iterator[Trigger]:
        """What a project sees of a kind, by creation: its own and what is public; ``None`` sees everything.

        Reads as far as it is asked to; the indexes follow the table a little later.
        """
        lists = [everyones_list(kind)] if project_id is None else [own_list(kind, project_id), public_list(kind)]
        start = None if after is None else sort_value(after.created_at, after.id)
        streams = [self._entries(index, value, start, descending) for index, value in lists]
        merged = heapq.merge(*streams, key=lambda entry: entry.sort, reverse=descending)
        # What is both the project's own and public comes twice, one behind the other.
        identifiers = (_id_in(next(same)) for _, same in groupby(merged, key=lambda entry: entry.sort))
        while batch := list(islice(identifiers, _RECORDS_READ)):
            yield from self.get_many(batch).values()

    def _entries(self, index: str, value: str, start: str | None, descending: bool) -> Iterator[IndexEntry]:
        while True:
            page = self._table.list_index(index, value, after=start, descending=descending, limit=_ENTRIES_READ)
            yield from page
            if len(page) < _ENTRIES_READ:
                return
            start = page[-1].sort

    def awaiting(self, exchange: str, topic: str, event: str) -> Iterator[EventTrigger]:
        """The event-triggers, of whatever project, that wait for an event."""
        items = self._table.query(event_partition(exchange, topic, event))
        for begin in range(0, len(items), _ENTRIES_READ):
            found = self.get_many(item.body.decode() for item in items[begin : begin + _ENTRIES_READ])
            yield from (trigger for trigger in found.values() if isinstance(trigger, EventTrigger))

    def due(self, shard: int, until: float, *, after: str | None, limit: int) -> list[tuple[str, float, str]]:
        """Id, time and place of the cron-triggers of a shard that are due until some moment, earliest first."""
        index, value = due_list(shard)
        last = sort_value(until, _LAST)
        entries = self._table.list_index(index, value, after=after, until=last, limit=limit)
        return [(_id_in(entry), float(entry.sort.partition("|")[0]), entry.sort) for entry in entries]

    # -- the triggers of a workflow

    def version_of_users(self, workflow_id: str) -> int:
        """A number that changes with every new user of a workflow."""
        item = self._table.get(users_partition(workflow_id), [LATEST_KEY]).get(LATEST_KEY)
        return 0 if item is None else item.revision

    def same_users(self, workflow_id: str, version: int) -> Check:
        """Demands that no trigger has begun to use a workflow since its users had this version."""
        return Check(users_partition(workflow_id), LATEST_KEY, version)

    def users_of(self, workflow_id: str) -> list[User]:
        """The triggers, of whatever project, that use a workflow."""
        items = self._table.query(users_partition(workflow_id))
        return [_user_in(item) for item in items if item.key != LATEST_KEY]

    # -- writing

    def create(self, trigger: Trigger, demands: Sequence[Check]) -> None:
        """Write a new trigger. Raises ConflictException if what it claims is taken, or a demand does not hold."""
        writes: list[Write] = [Put(encode(trigger, self._payloads), expected=0)]
        writes += [Put(claim, expected=0) for claim in claims_of(trigger)]
        writes += [Put(item) for item in user_items(trigger)]
        self._table.write([*writes, *demands])

    def replace(self, new: Trigger, old: Trigger, demands: Sequence[Check] = ()) -> None:
        """Write a trigger in place of the one that was read; its revision must be the next one.

        Raises ConflictException if it was changed meanwhile, if a new claim is taken, or a demand does not hold.
        """
        writes: list[Write] = [Put(encode(new, self._payloads), expected=old.revision)]
        if new.workflow_id != old.workflow_id:
            writes += [Put(claim, expected=0) for claim in claims_of(new)]
            writes += [Put(item) for item in user_items(new)]
            writes += self._releases(old)
        self._table.write([*writes, *demands])

    def remove(self, trigger: Trigger) -> None:
        """Remove a trigger as it was read. Raises ConflictException if it was changed or removed meanwhile."""
        record = Delete(record_partition(trigger.id), RECORD_KEY, expected=trigger.revision)
        self._table.write([record, *self._releases(trigger)])

    def _releases(self, trigger: Trigger) -> list[Delete]:
        items = [*claims_of(trigger), *user_items(trigger)]
        return [Delete(item.partition, item.key) for item in items if item.key != LATEST_KEY]

    def taken_claims(self, trigger: Trigger) -> list[int]:
        """The positions, among its claims, of those that another trigger has."""
        claims = claims_of(trigger)
        found = self._table.get_many([(claim.partition, claim.key) for claim in claims], consistent=True)
        holders = [found.get((claim.partition, claim.key)) for claim in claims]
        return [at for at, holder in enumerate(holders) if holder is not None and holder.body != trigger.id.encode()]


def _id_in(entry: IndexEntry) -> str:
    return entry.sort.rpartition("|")[2]


def _user_in(item: Item) -> User:
    kind, _, identifier = item.key.partition("#")
    return User(TriggerKind(kind), identifier, item.body.decode())
