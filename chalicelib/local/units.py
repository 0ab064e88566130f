"""DynamoDB's arithmetic of write and read units, from the sizes of items; pure.

Checked against the ConsumedCapacity of AWS's DynamoDB Local 3.3.0, which agrees, but for three things: it does not
charge for an item of a batch that does not exist (AWS's text does) nor for a query that finds nothing, and of several
items in a transaction that cost the same it counts one only, which is its fault. Here all of them are paid.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import ceil
from typing import Final

from chalicelib.adapters.schema import index_entry_bytes, item_bytes
from chalicelib.services.ports import IndexEntry, IndexKey, Item

WRITE_UNIT_BYTES: Final = 1024
READ_UNIT_BYTES: Final = 4 * 1024
PAGE_BYTES: Final = 1024 * 1024
# Everything in a transaction is paid twice, the index entries that it writes included.
TRANSACTION_FACTOR: Final = 2

NO_INDEXES: Final[Mapping[str, IndexKey]] = {}


def started(size: int, unit: int) -> int:
    """How many units a size has begun; the smallest thing costs one."""
    return max(1, ceil(size / unit))


def write_units(before: Item | None, after: Item | None, *, in_transaction: bool = False) -> int:
    """Putting ``after`` (``None``: deleting) where ``before`` stood: the larger counts, and what changes in indexes."""
    sizes = [item_bytes(item) for item in (before, after) if item is not None]
    units = started(max(sizes, default=0), WRITE_UNIT_BYTES) + index_write_units(before, after)
    return units * (TRANSACTION_FACTOR if in_transaction else 1)


def index_write_units(before: Item | None, after: Item | None) -> int:
    """One entry put where an item gains its place in an index, one deleted where it loses it, both where it moves."""
    old, new = (item.indexes if item else NO_INDEXES for item in (before, after))
    units = 0
    for index in {*old, *new}:
        if old.get(index) != new.get(index):
            units += sum(
                started(_entry_bytes(index, places[index], item), WRITE_UNIT_BYTES)
                for places, item in ((old, before), (new, after))
                if item is not None and index in places
            )
    return units


def failed_write_units(before: Item | None, *, in_transaction: bool = False) -> int:
    """A write whose condition did not hold: the item that stood there is paid, indexes are not."""
    size = item_bytes(before) if before else 0
    return started(size, WRITE_UNIT_BYTES) * (TRANSACTION_FACTOR if in_transaction else 1)


def check_units(found: Item | None) -> int:
    """A condition check in a transaction: paid as a transactional read, here at the price of a write."""
    return TRANSACTION_FACTOR * started(item_bytes(found) if found else 0, READ_UNIT_BYTES)


def get_units(found: Item | None, *, consistent: bool) -> float:
    """Reading one item by its key, alone or in a batch."""
    return _read_units(item_bytes(found) if found else 0, consistent=consistent)


def query_units(sizes: Iterable[int], *, consistent: bool) -> tuple[int, float]:
    """How many requests it takes to read things of these sizes in a row, and how many units."""
    pages = [0]
    for size in sizes:
        if pages[-1] >= PAGE_BYTES:
            pages.append(0)
        pages[-1] += size
    return len(pages), sum(_read_units(page, consistent=consistent) for page in pages)


def entry_sizes(index: str, value: str, entries: Iterable[IndexEntry]) -> list[int]:
    """The sizes of the entries of a keys-only index."""
    return [
        index_entry_bytes(index, value, sort=entry.sort, partition=entry.partition, key=entry.key) for entry in entries
    ]


def _entry_bytes(index: str, place: IndexKey, item: Item) -> int:
    return index_entry_bytes(index, place.value, sort=place.sort, partition=item.partition, key=item.key)


def _read_units(size: int, *, consistent: bool) -> float:
    return started(size, READ_UNIT_BYTES) * (1.0 if consistent else 0.5)
