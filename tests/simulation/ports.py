"""The ports of a process in an unkind world.

At every call the process may die before, within or after the effect, or lose a race; or AWS refuses the call, or does
not answer it, for longer than the clients of the real adapters try.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Protocol, TypeVar

from botocore.exceptions import BotoCoreError, ClientError, ReadTimeoutError
from pynamodb.exceptions import GetError, PutError, PynamoDBException, QueryError

from chalicelib.adapters.bounds import bulk_plan
from chalicelib.adapters.memory import MemoryPayloads, MemoryTable
from chalicelib.engine import codec
from chalicelib.engine.sealing import HEADER_KEY
from chalicelib.errors import ConflictException
from chalicelib.services.ports import Clock, IndexEntry, Item, Message, Payloads, Put, Queue, Table, Write
from chalicelib.vocabulary import JsonObject
from tests.simulation.faults import Crash, Delivery, Fault

T = TypeVar("T")
# What the real adapters raise when AWS refuses or does not answer.
UNAVAILABLE = (PynamoDBException, ClientError, BotoCoreError)
RECEIVES_MAX = 5
# The fields of the header that the former version does not know: those of the history.
NEW_KEYS = frozenset("HxjK")
# What PynamoDB makes of errors of botocore.
_TABLE_ERRORS: dict[str, type[PynamoDBException]] = {
    "table.get": GetError,
    "table.get_many": GetError,
    "table.query": QueryError,
    "table.write": PutError,
    "table.write_bulk": PutError,
    "table.list_index": QueryError,
}
VISIBILITY_SEC = {"tasks": 720.0, "tasks-long": 5400.0, "notifications": 360.0}


class Mortal(Protocol):
    """The process behind the ports; ``is_old``: it runs the former version of the code."""

    is_old: bool

    def meets(self, operation: str) -> Fault:
        """What happens at the call that begins now; other doors may run before it answers."""

    def saw(self, writes: Sequence[Write]) -> None:
        """What has just been written."""


def call(process: Mortal, operation: str, act: Callable[[], T], within: Callable[[], object] | None = None) -> T:
    """One call of a port, with whatever the process meets there."""
    fault = process.meets(operation)
    if fault is Fault.TIMED_OUT and process.is_old and operation == "table.write":
        # What it wrote it would not know again: here fields are taken away behind its back.
        fault = Fault.THROTTLED
    if fault is Fault.CRASH_WITHIN and within is not None:
        within()
        raise Crash(operation)
    if fault in (Fault.CRASH_BEFORE, Fault.CRASH_WITHIN):
        raise Crash(operation)
    if fault is Fault.LOST_RACE:
        raise ConflictException("Another writer was faster, says the simulation.")
    if fault is Fault.THROTTLED_WITHIN and within is not None:
        within()
    if fault in (Fault.THROTTLED, Fault.THROTTLED_WITHIN):
        raise _refusal(operation)
    result = act()
    if fault is Fault.CRASH_AFTER:
        raise Crash(operation)
    if fault is Fault.TIMED_OUT:
        raise _silence(operation)
    return result


def _refusal(operation: str) -> Exception:
    """What an adapter raises when AWS goes on refusing."""
    return _as_raised(
        ClientError({"Error": {"Code": "ThrottlingException", "Message": "slower"}}, operation), operation
    )


def _silence(operation: str) -> Exception:
    """What an adapter raises when there is no answer."""
    return _as_raised(ReadTimeoutError(endpoint_url=operation), operation)


def _as_raised(error: Exception, operation: str) -> Exception:
    return _TABLE_ERRORS[operation](str(error), error) if operation in _TABLE_ERRORS else error


def former(write: Write) -> Write:
    """A write as the former version makes it: of the header, it knows fewer fields and writes the others no more."""
    if not isinstance(write, Put) or write.item.key != HEADER_KEY or write.item.body[:1] == b"@":
        return write
    known = {key: value for key, value in codec.unpack_json(write.item.body).items() if key not in NEW_KEYS}
    return replace(write, item=replace(write.item, body=codec.pack_json(known)))


class MortalTable(Table):
    def __init__(self, inner: MemoryTable, process: Mortal) -> None:
        self._inner = inner
        self._process = process

    def get(self, partition: str, keys: Sequence[str], *, consistent: bool = True) -> dict[str, Item]:
        return call(self._process, "table.get", lambda: self._inner.get(partition, keys, consistent=consistent))

    def get_many(
        self, addresses: Iterable[tuple[str, str]], *, consistent: bool = False
    ) -> dict[tuple[str, str], Item]:
        wanted = list(addresses)
        return call(self._process, "table.get_many", lambda: self._inner.get_many(wanted, consistent=consistent))

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
        return call(
            self._process,
            "table.query",
            lambda: self._inner.query(
                partition, prefix=prefix, start=start, end=end, descending=descending, limit=limit
            ),
        )

    def write(self, writes: Sequence[Write]) -> None:
        if self._process.is_old:
            writes = [former(write) for write in writes]

        def act() -> None:
            self._inner.write(writes)
            self._process.saw(writes)

        call(self._process, "table.write", act)

    def write_bulk(self, items: Iterable[Item], deletes: Iterable[tuple[str, str]] = ()) -> None:
        plan = list(bulk_plan(items, deletes).items())

        def act(share: int) -> None:
            done = plan[: len(plan) // share]
            items = [item for _, item in done if item is not None]
            self._inner.write_bulk(items, [at for at, item in done if item is None])
            if items:
                self._process.saw([Put(item) for item in items])

        call(self._process, "table.write_bulk", lambda: act(1), lambda: act(2))

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
        return call(
            self._process,
            "table.list_index",
            lambda: self._inner.list_index(index, value, after=after, until=until, descending=descending, limit=limit),
        )


class MortalPayloads(Payloads):
    def __init__(self, inner: MemoryPayloads, process: Mortal) -> None:
        self._inner = inner
        self._process = process

    def put(self, digest: str, data: bytes) -> None:
        call(self._process, "payloads.put", lambda: self._inner.put(digest, data))

    def get(self, digest: str) -> bytes:
        return call(self._process, "payloads.get", lambda: self._inner.get(digest))

    def delete(self, digests: Iterable[str]) -> None:
        unwanted = list(digests)
        call(self._process, "payloads.delete", lambda: self._inner.delete(unwanted))

    def delete_all(self, owner: str) -> None:
        call(self._process, "payloads.delete", lambda: self._inner.delete_all(owner))

    def share(self, token: str, data: bytes, lifetime_sec: int) -> str:
        return self._inner.share(token, data, lifetime_sec)

    def shared(self, token: str) -> bytes:
        return self._inner.shared(token)


class MortalQueue(Queue):
    def __init__(self, inner: "SimulatedQueue", process: Mortal) -> None:
        self._inner = inner
        self._process = process

    def send(self, messages: Sequence[Message]) -> None:
        listed = list(messages)
        half = listed[: len(listed) // 2]
        call(self._process, "queue.send", lambda: self._inner.send(listed), lambda: self._inner.send(half))


@dataclass
class Letter:
    """A message under way. ``sent`` numbers the sendings, so that a trace can name it."""

    number: int
    queue: str
    body: JsonObject
    visible_at: float
    receive_count: int = 0


class SimulatedQueue(Queue):
    """SQS standard queues: messages come late, twice, in any order; lost ones only where a seed says so."""

    def __init__(self, clock: Clock, random: Random, delivery: Delivery) -> None:
        self.letters: dict[int, Letter] = {}
        self.dead: list[Letter] = []
        self.ever_sent: list[Message] = []
        self.lost: list[Message] = []
        self.delivery = delivery
        self._clock = clock
        self._random = random
        self._count = 0

    def send(self, messages: Sequence[Message]) -> None:
        for message in messages:
            self.ever_sent.append(message)
            if self._happens(self.delivery.lost):
                self.lost.append(message)
                continue
            self._put(message)
            if self._happens(self.delivery.duplicated):
                self._put(message)

    def _happens(self, share: float) -> bool:
        return bool(share) and self._random.random() < share

    def _put(self, message: Message) -> None:
        self._count += 1
        visible_at = self._clock.now() + message.delay_sec
        if self._happens(self.delivery.late):
            visible_at += self._random.random() * self.delivery.late_max_sec
        self.letters[self._count] = Letter(self._count, message.queue, json.loads(json.dumps(message.body)), visible_at)

    def receive(self) -> Letter | None:
        """A visible message, hidden from now on; those that came too often go to the dead letters."""
        now = self._clock.now()
        while True:
            visible = [letter for letter in self.letters.values() if letter.visible_at <= now]
            if not visible:
                return None
            letter = visible[0] if self.delivery.in_order else self._random.choice(visible)
            if letter.receive_count < RECEIVES_MAX:
                letter.receive_count += 1
                letter.visible_at = now + VISIBILITY_SEC[letter.queue]
                return letter
            self.dead.append(self.letters.pop(letter.number))

    def delete(self, letter: Letter) -> None:
        self.letters.pop(letter.number, None)

    def next_visible_at(self) -> float | None:
        return min((letter.visible_at for letter in self.letters.values()), default=None)
