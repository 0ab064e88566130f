"""What the services need of the world, as protocols.

Each has a twin in memory and an adapter for AWS; one test suite runs on both. The shape of ``Table`` is DynamoDB's on
purpose (partition, sort key, conditional writes, transactions, keys-only indexes), so that the twin can be small and
exact, and what is counted on it is what AWS would bill.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field
from typing import Final, Protocol, runtime_checkable

from chalicelib.data import dataclass
from chalicelib.vocabulary import Json, JsonObject

# The keys-only indexes of the `executions` table and of the `definitions` table.
# What the names say is of executions (`execution_places`); definitions and triggers say themselves how they use them.
INDEX_LISTING: Final = "listing"  # by project and state
INDEX_WORKFLOW: Final = "workflow"  # by project and workflow name
INDEX_ROOT: Final = "root"  # by root execution; the roots of a project
INDEX_ALARM: Final = "alarm"  # unfinished ones by shard and wake-up time
INDEX_EVERYONE: Final = "everyone"  # of all projects, by shard
INDEXES: Final = (INDEX_LISTING, INDEX_WORKFLOW, INDEX_ROOT, INDEX_ALARM, INDEX_EVERYONE)


@dataclass(frozen=True, slots=True)
class IndexKey:
    """Where an item stands in one index: hash value, and sort value (unique enough to page by)."""

    value: str
    sort: str


@dataclass(frozen=True, slots=True)
class Item:
    """One stored item. ``revision`` is 0 for items that are never updated under a condition."""

    partition: str
    key: str
    body: bytes
    revision: int = 0
    indexes: Mapping[str, IndexKey] = field(default_factory=dict)
    expires_at_sec: int | None = None


@dataclass(frozen=True, slots=True)
class Put:
    """Write an item whole.

    ``expected``: ``None`` writes whatever is there, 0 demands that nothing is there, n demands revision n.
    """

    item: Item
    expected: int | None = None


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove an item; ``expected`` as in ``Put`` (but 0 makes no sense).

    Removing what is absent is no error when it is unconditional.
    """

    partition: str
    key: str
    expected: int | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """Demand, inside a transaction, that an item has this revision (0: that it is absent)."""

    partition: str
    key: str
    expected: int


Write = Put | Delete | Check


def are_written(table: Table, items: Sequence[Item]) -> bool:
    """Whether items of a partition are just as a write of this process was to make them, although it lost its race.

    Then it has lost to itself: it took effect, but its answer got lost, and the client asked again. The first one is
    looked at before the others. All that tells this write from another's must be among them.
    """
    for part in (items[:1], items[1:]):
        found = table.get(part[0].partition, [item.key for item in part]) if part else {}
        for item in part:
            present = found.get(item.key)
            if present is None or (present.revision, present.body) != (item.revision, item.body):
                return False
    return True


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """What a keys-only index gives: the address of an item, and its place in the index."""

    partition: str
    key: str
    sort: str


@runtime_checkable
class Table(Protocol):
    """One DynamoDB table, or its twin.

    Keys, index values and sort values are never empty; they order by code point. What no table could hold is refused
    before it is sent: SizeLimitExceededException for an item over 400 KB or a transaction over 4 MB, ValueError for a
    request that makes no sense (an empty key, an unknown index, more than 100 writes, one item twice in a transaction).
    """

    def get(self, partition: str, keys: Sequence[str], *, consistent: bool = True) -> dict[str, Item]:
        """The items that exist, by key; any number of keys. ``consistent``: what was written before is seen."""

    def get_many(
        self, addresses: Iterable[tuple[str, str]], *, consistent: bool = False
    ) -> dict[tuple[str, str], Item]:
        """The items that exist, by (partition, key); any number of addresses in any partitions."""

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
        """Items of one partition in key order, all of them unless there is a ``limit``.

        Those with ``prefix``, or those with ``start <= key <= end`` (either may be absent); not both.
        """

    def write(self, writes: Sequence[Write]) -> None:
        """All or nothing; one write is a plain conditional request, several (up to 100) are one transaction.

        Raises ConflictException when a condition does not hold or another writer was faster. A put replaces the whole
        item, its places in the indexes included.
        """

    def write_bulk(self, items: Iterable[Item], deletes: Iterable[tuple[str, str]] = ()) -> None:
        """Unconditional puts and deletes, each for itself, in any order and number.

        Of an address that is named more than once the last mention counts, and deletes come last.
        """

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
        """The first ``limit`` entries of one index value in sort order.

        Beginning beyond ``after`` (exclusive, in the given direction) and not beyond ``until`` (inclusive). An index
        follows its table a little later; sort values are unique within a value, or ``after`` may jump over some.
        """


@dataclass(frozen=True, slots=True)
class Message:
    """A message to a task queue: ids only, never payloads.

    ``tenant``: whose work it is, so that a queue can be fair between tenants; without one it is a tenant of its own.
    """

    body: JsonObject
    queue: str = "tasks"
    delay_sec: int = 0
    tenant: str = ""


class Queue(Protocol):
    """The task queues."""

    def send(self, messages: Sequence[Message]) -> None:
        """Send all of them; delays are 0..900 whole seconds, bodies are JSON.

        Raises ValueError for an unknown queue or an impossible delay before anything is sent, and what the transport
        raises if any could not be sent (the others may have been).
        """


class Payloads(Protocol):
    """Large values by content hash; immutable, so writing one twice is harmless."""

    def put(self, digest: str, data: bytes) -> None:
        """Store compressed bytes under their digest."""

    def get(self, digest: str) -> bytes:
        """The stored bytes. Raises NotFoundException."""

    def delete(self, digests: Iterable[str]) -> None:
        """Forget these; forgetting what is not there is no error."""

    def delete_all(self, owner: str) -> None:
        """Forget everything whose digest begins with ``owner/``."""

    def share(self, token: str, data: bytes, lifetime_sec: int) -> str:
        """Keep JSON apart under a token nobody can guess; the address where it can be read for so many seconds.

        Whoever knows the address may read. It is absolute, or begins with a slash and is meant from the service's own
        root.
        """

    def shared(self, token: str) -> bytes:
        """What is kept apart under a token. Raises NotFoundException, also when its time is over."""


# The JSON at an address of an issuer of tokens.
# Raises NotFoundException when there is none, IdentityUnavailableException for all that may pass.
FetchJson = Callable[[str], Json]

# The text of a secret by its name. Raises IdentityUnavailableException.
ReadSecret = Callable[[str], str]


class Clock(Protocol):
    """Time as seconds since the epoch."""

    def now(self) -> float:
        """The present moment."""


class Entropy(Protocol):
    """Where fresh identity comes from."""

    def token(self) -> bytes:
        """Sixteen fresh random bytes."""
