"""What DynamoDB refuses, refused before it is sent, and by the twin in memory in the same words.

A value that is too large is the user's (SizeLimitExceededException), an impossible request the caller's (ValueError).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from chalicelib.adapters.schema import item_bytes
from chalicelib.errors import SizeLimitExceededException
from chalicelib.limits import (
    DELAYED_MESSAGE_MAX_SEC,
    ITEM_BYTES_MAX,
    PARTITION_KEY_BYTES_MAX,
    SORT_KEY_BYTES_MAX,
    TRANSACTION_BYTES_MAX,
    TRANSACTION_WRITES_MAX,
)
from chalicelib.services.ports import INDEXES, Check, Delete, Item, Message, Put, Write

T = TypeVar("T")


def check_writes(writes: Sequence[Write]) -> None:
    """Refuse what one conditional request or one transaction cannot hold."""
    if len(writes) > TRANSACTION_WRITES_MAX:
        raise ValueError(
            f"A transaction of {len(writes)} writes; the most is {TRANSACTION_WRITES_MAX}: write in several waves."
        )
    seen: set[tuple[str, str]] = set()
    total = 0
    for write in writes:
        address = address_of(write)
        if address in seen:
            raise ValueError(f"A transaction that names item {address!r} twice: merge the two writes.")
        seen.add(address)
        _check_expected(write)
        if isinstance(write, Put):
            total += check_item(write.item)
        else:
            check_address(*address)
    if total > TRANSACTION_BYTES_MAX and len(writes) > 1:
        raise SizeLimitExceededException(
            f"A transaction of {total} bytes; the most is {TRANSACTION_BYTES_MAX}: write in several waves."
        )


def check_item(item: Item) -> int:
    """Refuse an item that cannot be stored; give its size in bytes."""
    check_address(item.partition, item.key)
    for index, place in item.indexes.items():
        if index not in INDEXES:
            raise ValueError(f"Item {item.partition}/{item.key} names index {index!r}; there are {', '.join(INDEXES)}.")
        check_address(place.value, place.sort)
    size = item_bytes(item)
    if size > ITEM_BYTES_MAX:
        raise SizeLimitExceededException(
            f"Item {item.partition}/{item.key} has {size} bytes; the most is {ITEM_BYTES_MAX}:"
            " move its large values to the payload store."
        )
    return size


def check_address(partition: str, key: str) -> None:
    """Refuse empty and overlong keys."""
    for text, name, most in ((partition, "partition", PARTITION_KEY_BYTES_MAX), (key, "sort", SORT_KEY_BYTES_MAX)):
        if not 0 < len(text) <= most or (not text.isascii() and len(text.encode()) > most):
            raise ValueError(f"The {name} key {text[:80]!r} must have 1 to {most} bytes.")


def check_range(prefix: str, start: str | None, end: str | None) -> None:
    """Refuse a query by prefix and by bounds at once."""
    if prefix and (start is not None or end is not None):
        raise ValueError("A query is either by prefix or by start and end, not by both.")


def check_index(index: str) -> None:
    """Refuse an index that no table has."""
    if index not in INDEXES:
        raise ValueError(f"There is no index {index!r}; there are {', '.join(INDEXES)}.")


def check_message(message: Message, queues: Mapping[str, object]) -> None:
    """Refuse a queue that is not known, and a delay that SQS cannot hold."""
    if message.queue not in queues:
        raise ValueError(f"There is no queue {message.queue!r}; there are {', '.join(sorted(queues))}.")
    if not 0 <= message.delay_sec <= DELAYED_MESSAGE_MAX_SEC or message.delay_sec != int(message.delay_sec):
        raise ValueError(f"A delay of {message.delay_sec} s; SQS takes 0 to {DELAYED_MESSAGE_MAX_SEC} whole seconds.")


def address_of(write: Write) -> tuple[str, str]:
    """Which item a write is about."""
    return (write.item.partition, write.item.key) if isinstance(write, Put) else (write.partition, write.key)


def bulk_plan(items: Iterable[Item], deletes: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Item | None]:
    """What a bulk write comes to, by address (``None``: delete): its last mention counts, deletes come last."""
    plan: dict[tuple[str, str], Item | None] = {}
    for item in items:
        check_item(item)
        plan[item.partition, item.key] = item
    for address in deletes:
        check_address(*address)
        plan[address] = None
    return plan


def chunks(things: Sequence[T], size: int) -> list[Sequence[T]]:
    """The things in runs of at most ``size``."""
    return [things[begin : begin + size] for begin in range(0, len(things), size)]


def _check_expected(write: Put | Delete | Check) -> None:
    least = 1 if isinstance(write, Delete) else 0
    if write.expected is not None and write.expected < least:
        raise ValueError(
            f"{type(write).__name__} of {address_of(write)!r} expects revision {write.expected}, which no item has."
        )
