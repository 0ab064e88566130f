"""Patience: who may hold what nobody else can do again does not give up because the world refuses for a while.

An executor that has run an action and cannot store the result would lose it, and the action would end as if its
executor had died. So for as long as it works on a message, its calls of tables, queues and payloads that were refused,
or not answered, are made again until its time is over. A client of the API rather hears of it soon, and asks again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

_UNTIL: Final[ContextVar[float]] = ContextVar("patient_until", default=0.0)


@contextmanager
def patient_until(moment: float) -> Iterator[None]:
    """Let the calls in the block be made again until this moment, in seconds since the epoch."""
    token = _UNTIL.set(moment)
    try:
        yield
    finally:
        _UNTIL.reset(token)


def patience_ends_at() -> float:
    """Until when a call that failed is worth another one; 0 where nobody is patient."""
    return _UNTIL.get()
