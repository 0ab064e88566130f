"""How often: token buckets in this process, and one bucket for each project that all processes share.

The shared bucket lies in a table. A process takes a handful of tokens from it at a time and spends them by itself, so
that most requests cost no write; what it does not spend soon is lost to everybody, which errs on the strict side.

====================  ===========  =============================================
partition             key          item (table ``definitions``)
====================  ===========  =============================================
rate#project          ``bucket``   how many tokens there were, and when
====================  ===========  =============================================
"""

from __future__ import annotations

import json
from collections import OrderedDict
from math import ceil
from threading import Lock
from typing import Final

from chalicelib import limits
from chalicelib.data import dataclass
from chalicelib.errors import ConflictException
from chalicelib.services.definition_records import escaped
from chalicelib.services.ports import Clock, Item, Put, Table

_BUCKET: Final = "bucket"
_ATTEMPTS_MAX: Final = 5


@dataclass(frozen=True, slots=True)
class Rate:
    """So many a second in the long run, and so many at once after a rest."""

    per_sec: float
    burst: int

    def refilled(self, tokens: float, elapsed_sec: float) -> float:
        """What a bucket holds when time has passed."""
        return min(float(self.burst), tokens + max(0.0, elapsed_sec) * self.per_sec)

    def wait_sec(self, tokens: float) -> float:
        """Until there is a whole token again."""
        return max(0.0, 1.0 - tokens) / self.per_sec


class Buckets:
    """Token buckets by name, in this process; of too many, those used longest ago are forgotten."""

    def __init__(self, rate: Rate, clock: Clock) -> None:
        self._rate = rate
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = Lock()

    def take(self, name: str) -> float:
        """Take a token; 0, or in how many seconds there will be one."""
        now = self._clock.now()
        with self._lock:
            tokens, at = self._buckets.pop(name, (float(self._rate.burst), now))
            tokens = self._rate.refilled(tokens, now - at)
            taken = tokens >= 1.0
            self._buckets[name] = (tokens - 1.0 if taken else tokens), now
            while len(self._buckets) > limits.RATE_BUCKETS_MAX:
                self._buckets.popitem(last=False)
        return 0.0 if taken else self._rate.wait_sec(tokens)

    def wait_sec(self, name: str) -> float:
        """How long until there is a token: 0 if there is one; none is taken."""
        now = self._clock.now()
        with self._lock:
            tokens, at = self._buckets.get(name, (float(self._rate.burst), now))
        tokens = self._rate.refilled(tokens, now - at)
        return 0.0 if tokens >= 1.0 else self._rate.wait_sec(tokens)


@dataclass(slots=True)
class _Lease:
    """What a process may still spend of a project's tokens, and from when on it may ask for more."""

    tokens: int = 0
    until: float = 0.0
    asks_again_at: float = 0.0


class ProjectRates:
    """The rate of each project, over all processes."""

    def __init__(self, rate: Rate, table: Table, clock: Clock) -> None:
        self._rate = rate
        self._table = table
        self._clock = clock
        self._leases: OrderedDict[str, _Lease] = OrderedDict()
        self._lock = Lock()
        self._lease_tokens = max(1, min(rate.burst // 8, limits.RATE_LEASE_TOKENS_MAX))

    def take(self, project_id: str) -> float:
        """Take a token of a project; 0, or in how many seconds it is worth asking again."""
        with self._lock:
            lease = self._leases.setdefault(project_id, _Lease())
            self._leases.move_to_end(project_id)
            while len(self._leases) > limits.RATE_BUCKETS_MAX:
                self._leases.popitem(last=False)
            now = self._clock.now()
            if lease.tokens and now < lease.until:
                lease.tokens -= 1
                return 0.0
            if now < lease.asks_again_at:
                return lease.asks_again_at - now
        granted, wait_sec = self._borrow(project_id, now)
        with self._lock:
            if not granted:
                lease.tokens, lease.asks_again_at = 0, now + wait_sec
                return wait_sec
            # Another thread may have borrowed meanwhile: what it has left is added to, not replaced.
            left = lease.tokens if now < lease.until else 0
            lease.tokens, lease.until = left + granted - 1, now + limits.RATE_LEASE_SEC
        return 0.0

    def _borrow(self, project_id: str, now: float) -> tuple[int, float]:
        """Tokens out of the shared bucket, or how long it takes until there is one."""
        partition = f"rate#{escaped(project_id)}"
        for _ in range(_ATTEMPTS_MAX):
            item = self._table.get(partition, [_BUCKET]).get(_BUCKET)
            tokens, revision = float(self._rate.burst), 0
            if item is not None:
                stored = json.loads(item.body)
                tokens, revision = self._rate.refilled(stored["tokens"], now - stored["at"]), item.revision
                now = max(now, stored["at"])
            granted = min(self._lease_tokens, int(tokens))
            if not granted:
                return 0, self._rate.wait_sec(tokens)
            body = json.dumps({"tokens": tokens - granted, "at": now}).encode()
            # A bucket that has had time to fill is as good as none.
            full_at_sec = ceil(now + self._rate.burst / self._rate.per_sec + limits.RATE_LEASE_SEC)
            changed = Item(partition, _BUCKET, body, revision=revision + 1, expires_at_sec=full_at_sec)
            try:
                self._table.write([Put(changed, expected=revision)])
            except ConflictException:
                continue
            return granted, 0.0
        # Many processes borrow at this moment; one of them got through each time, so the wait is short.
        return 0, 1.0 / self._rate.per_sec
