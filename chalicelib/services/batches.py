"""Batches: several messages at a time, each of which may fail alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from chalicelib.services.ports import Clock
from chalicelib.vocabulary import JsonObject

Record = Mapping[str, Any]

_MESSAGES_AT_ONCE: Final = 10
# What has come before is begun only if so much time is left for it.
_FOR_SECOND_TRIES_SEC: Final = 65.0


def receives_of(record: Record) -> int:
    """How often a message has been received, this time included."""
    return int(record.get("attributes", {}).get("ApproximateReceiveCount", 1))


def waited_sec_of(record: Record, body: JsonObject, now: float) -> float:
    """How long a message has waited to be received since it was due; 0 where nothing tells."""
    # A message that is delayed says when it is due (`d`); one that asks an action again (`p`) does not.
    due_at = body.get("d", int(record.get("attributes", {}).get("SentTimestamp", 0)) / 1000)
    return max(0.0, now - due_at) if due_at and "p" not in body else 0.0


def worked_on(
    records: Sequence[Record], deadline: float, clock: Clock, is_done: Callable[[Record, float], bool]
) -> list[str]:
    """Work on the records of an SQS event until a moment; the ids of the messages that are to come again.

    Those that have come before are last: what has killed its process may do so again, but takes no neighbour along that
    comes for the first time.
    """
    fresh = [record for record in records if receives_of(record) <= 1]
    again = [record for record in records if receives_of(record) > 1]
    left = _left(fresh, deadline, is_done)
    if not fresh or clock.now() + _FOR_SECOND_TRIES_SEC <= deadline:
        again = _left(again, deadline, is_done)
    return [str(record["messageId"]) for record in (*left, *again)]


def _left(records: Sequence[Record], deadline: float, is_done: Callable[[Record, float], bool]) -> list[Record]:
    """Work on records at once; those that are to come again."""
    if len(records) <= 1:
        return [record for record in records if not is_done(record, deadline)]
    with ThreadPoolExecutor(max_workers=min(len(records), _MESSAGES_AT_ONCE)) as pool:
        done = list(pool.map(lambda record: is_done(record, deadline), records))
    return [record for record, was_done in zip(records, done, strict=True) if not was_done]
