"""Patient ports: calls that AWS refused, or did not answer, are made again for as long as their caller has patience.

The clients try a few times themselves, within seconds. What is here begins where they give up, and only for those who
have said until when they are patient (``services.patience``).
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterable, Sequence
from itertools import count
from typing import Final, TypeVar

from botocore.exceptions import ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as AwsConnectionError
from pynamodb.exceptions import GetError, PutError, PynamoDBException, TransactWriteError

from chalicelib.limits import PATIENCE_MAX_SEC
from chalicelib.services.patience import patience_ends_at
from chalicelib.services.ports import Clock, IndexEntry, Item, Message, Payloads, Queue, Table, Write

PAUSE_FIRST_SEC: Final = 0.2
PAUSE_MAX_SEC: Final = 5.0

_LOG: Final = logging.getLogger("mistral.patience")
_SERVER_ERROR: Final = 500
_REFUSALS: Final = frozenset(
    {
        "InternalError",
        "InternalServerError",
        "ProvisionedThroughputExceeded",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestTimeout",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "ThrottlingError",
        "ThrottlingException",
        "TransactionInProgressException",
    }
)

T = TypeVar("T")


def is_passing(error: BaseException | None) -> bool:
    """Whether what an adapter raised says that AWS is busy, or that nothing was heard of it."""
    if isinstance(error, TransactWriteError) and any(
        reason is not None and reason.code in _REFUSALS for reason in error.cancellation_reasons
    ):
        return True
    if isinstance(error, PynamoDBException):
        # Without a cause: a batch of which DynamoDB left something undone.
        return isinstance(error, (GetError, PutError)) if error.cause is None else is_passing(error.cause)
    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return status >= _SERVER_ERROR or error.response.get("Error", {}).get("Code") in _REFUSALS
    return isinstance(error, (AwsConnectionError, HTTPClientError))


class Patience:
    """Makes calls again. ``jitter`` is between 0 and 1."""

    def __init__(
        self, clock: Clock, pause: Callable[[float], object], jitter: Callable[[], float] = random.random
    ) -> None:
        self._clock = clock
        self._pause = pause
        self._jitter = jitter

    def call(self, what: str, act: Callable[[], T]) -> T:
        """The answer to a call. Raises what it raised last, when the caller's patience is at its end."""
        ends_at = 0.0
        for attempt in count():
            try:
                return act()
            except Exception as error:
                now = self._clock.now()
                ends_at = ends_at or min(patience_ends_at(), now + PATIENCE_MAX_SEC)
                pause_sec = min(PAUSE_MAX_SEC, PAUSE_FIRST_SEC * 2 ** min(attempt, 8)) * (0.5 + self._jitter() / 2)
                if now + pause_sec >= ends_at or not is_passing(error):
                    raise
                _LOG.warning("%s is made again in %.1f s: %s", what, pause_sec, error)
            self._pause(pause_sec)
        raise AssertionError("unreachable")


class PatientTable(Table):
    """A table whose calls are made again.

    A write that took effect unanswered fails when it is made again, as where a client does so: see ``are_written``.
    """

    def __init__(self, inner: Table, patience: Patience) -> None:
        self._inner = inner
        self._patience = patience

    def get(self, partition: str, keys: Sequence[str], *, consistent: bool = True) -> dict[str, Item]:
        """See ``Table``."""
        return self._patience.call("get", lambda: self._inner.get(partition, keys, consistent=consistent))

    def get_many(
        self, addresses: Iterable[tuple[str, str]], *, consistent: bool = False
    ) -> dict[tuple[str, str], Item]:
        """See ``Table``."""
        wanted = list(addresses)
        return self._patience.call("get_many", lambda: self._inner.get_many(wanted, consistent=consistent))

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
        return self._patience.call(
            "query",
            lambda: self._inner.query(
                partition,
                prefix=prefix,
                start=start,
                end=end,
                descending=descending,
                limit=limit,
                consistent=consistent,
            ),
        )

    def write(self, writes: Sequence[Write]) -> None:
        """See ``Table``."""
        self._patience.call("write", lambda: self._inner.write(writes))

    def write_bulk(self, items: Iterable[Item], deletes: Iterable[tuple[str, str]] = ()) -> None:
        """See ``Table``."""
        listed, unwanted = list(items), list(deletes)
        self._patience.call("write_bulk", lambda: self._inner.write_bulk(listed, unwanted))

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
        """See ``Table``."""
        return self._patience.call(
            "list_index",
            lambda: self._inner.list_index(index, value, after=after, until=until, descending=descending, limit=limit),
        )


class PatientQueue(Queue):
    """A queue whose sendings are made again: a message may come twice by it, as it may anyway."""

    def __init__(self, inner: Queue, patience: Patience) -> None:
        self._inner = inner
        self._patience = patience

    def send(self, messages: Sequence[Message]) -> None:
        """See ``Queue``."""
        listed = list(messages)
        self._patience.call("send", lambda: self._inner.send(listed))


class PatientPayloads(Payloads):
    """Payloads whose calls are made again."""

    def __init__(self, inner: Payloads, patience: Patience) -> None:
        self._inner = inner
        self._patience = patience

    def put(self, digest: str, data: bytes) -> None:
        """See ``Payloads``."""
        self._patience.call("put", lambda: self._inner.put(digest, data))

    def get(self, digest: str) -> bytes:
        """See ``Payloads``."""
        return self._patience.call("get", lambda: self._inner.get(digest))

    def delete(self, digests: Iterable[str]) -> None:
        """See ``Payloads``."""
        unwanted = list(digests)
        self._patience.call("delete", lambda: self._inner.delete(unwanted))

    def delete_all(self, owner: str) -> None:
        """See ``Payloads``."""
        self._patience.call("delete_all", lambda: self._inner.delete_all(owner))

    def share(self, token: str, data: bytes, lifetime_sec: int) -> str:
        """See ``Payloads``."""
        return self._patience.call("share", lambda: self._inner.share(token, data, lifetime_sec))

    def shared(self, token: str) -> bytes:
        """See ``Payloads``."""
        return self._patience.call("shared", lambda: self._inner.shared(token))
