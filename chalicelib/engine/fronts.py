"""A wide frontier leaves the header.

Unfinished tasks are stored in pages by their ordinals, and a turn rewrites only the pages it touched.

So a branch of a fork of a thousand costs what a branch of a fork of a hundred costs. In memory nothing changes: the
frontier is one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field
from typing import Final

from chalicelib.data import dataclass
from chalicelib.engine import codec
from chalicelib.engine.records import TaskExecution, WorkflowExecution
from chalicelib.limits import FRONT_PAGES_NEW_MAX, FRONTIER_INLINE_MAX

FRONT_PREFIX: Final = "front#"
_BUCKET_BITS: Final = 5


def front_key(bucket: int) -> str:
    """The sort key of the page that holds the unfinished tasks of a bucket of ordinals."""
    return f"{FRONT_PREFIX}{bucket:05x}"


def bucket_key(ordinal: int) -> str:
    """The sort key of the page on which an unfinished task would be."""
    return front_key(ordinal >> _BUCKET_BITS)


@dataclass(frozen=True, slots=True)
class Fronts:
    """How a frontier is stored.

    What stays in the header, which buckets have pages, which of these to write or remove now.
    """

    inline: Mapping[int, TaskExecution]
    buckets: tuple[int, ...] = ()
    records: Mapping[str, bytes] = field(default_factory=dict)
    removed: tuple[str, ...] = ()


def divided(before: WorkflowExecution, frontier: Mapping[int, TaskExecution]) -> Fronts:
    """Divide a frontier for storing, given how it was stored before."""
    if len(frontier) <= FRONTIER_INLINE_MAX:
        return Fronts(frontier, removed=tuple(front_key(bucket) for bucket in before.fronts))
    now, then = _by_bucket(frontier), _by_bucket(before.frontier)
    stored = set(before.fronts)
    inline: dict[int, TaskExecution] = {}
    records: dict[str, bytes] = {}
    buckets = []
    new_ones = 0
    for bucket in sorted(now):
        tasks = now[bucket]
        if bucket not in stored:
            new_ones += 1
            if new_ones > FRONT_PAGES_NEW_MAX:
                # More than a transaction should hold: they get their pages in later turns.
                inline.update(tasks)
                continue
        buckets.append(bucket)
        if bucket not in stored or _differ(tasks, then.get(bucket, {})):
            records[front_key(bucket)] = codec.pack_tasks(list(tasks.values()))
    removed = tuple(front_key(bucket) for bucket in before.fronts if bucket not in now)
    return Fronts(inline, tuple(buckets), records, removed)


def united(header_frontier: Mapping[int, TaskExecution], pages: Iterable[bytes]) -> dict[int, TaskExecution]:
    """The whole frontier, in order of ordinals, from what the header and the pages hold."""
    frontier = dict(header_frontier)
    for body in pages:
        frontier.update((task.ordinal, task) for task in codec.unpack_tasks(body))
    return {ordinal: frontier[ordinal] for ordinal in sorted(frontier)}


def _by_bucket(frontier: Mapping[int, TaskExecution]) -> dict[int, dict[int, TaskExecution]]:
    buckets: dict[int, dict[int, TaskExecution]] = {}
    for ordinal, task in frontier.items():
        buckets.setdefault(ordinal >> _BUCKET_BITS, {})[ordinal] = task
    return buckets


def _differ(now: Mapping[int, TaskExecution], then: Mapping[int, TaskExecution]) -> bool:
    return now.keys() != then.keys() or any(task is not then[ordinal] for ordinal, task in now.items())
