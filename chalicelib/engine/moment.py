"""The moment of a decision: time and identity are arguments, so the same input gives the same output, ids included."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from uuid import UUID

from chalicelib.data import dataclass


def timestamp(seconds: float | None) -> str | None:
    """Mistral's text form of a moment: UTC, to the second, a space between date and time."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%d %H:%M:%S")


@dataclass(frozen=True, slots=True)
class Moment:
    """``now`` in seconds since the epoch, and a seed from which all that looks random in this decision follows."""

    now: float
    seed: str = ""

    def digest(self, *parts: str) -> bytes:
        """Sixteen bytes that always follow from the seed and these parts."""
        return hashlib.blake2b("\0".join((self.seed, *parts)).encode(), digest_size=16).digest()

    def uuid(self, *parts: str) -> str:
        """A version 4 UUID that always follows from the seed and these parts."""
        return str(UUID(bytes=self.digest(*parts), version=4))

    def fraction(self, *parts: str) -> float:
        """A number in [0, 1) that always follows from the seed and these parts."""
        return int.from_bytes(self.digest(*parts)[:7], "big") / (1 << 56)

    def as_datetime(self) -> datetime:
        """The moment with its zone, as YAQL's ``now()`` gives it."""
        return datetime.fromtimestamp(self.now, UTC)
