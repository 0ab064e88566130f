"""Who works on a message: until when, and by what claim its action is known to be in hands.

A Lambda's claim lasts as long as the Lambda itself. A worker outside Lambda may work for hours: its claims are short
and renewed by heartbeats, so that a worker which dies is noticed as soon as a Lambda's death would be.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import contextmanager
from dataclasses import field
from typing import Final

from chalicelib.data import dataclass
from chalicelib.engine.effects import RunAction
from chalicelib.engine.records import Claim
from chalicelib.limits import CARRIED_ITEMS_MAX_SEC, CARRIED_WHILE_OTHERS_WAIT_MAX_SEC, QUEUE_BUSY_AFTER_SEC
from chalicelib.services.ports import Clock
from chalicelib.vocabulary import Result

_LOG: Final = logging.getLogger("mistral.executor")
# Time that an executor keeps for the turn after an action, and what it expects of an action that says nothing.
TURN_RESERVE_SEC: Final = 5.0
_USUAL_ACTION_SEC: Final = 60.0


class LeaveMessage(Exception):
    """Someone else may still be at this work; look again when the message comes back."""


@dataclass(frozen=True, slots=True)
class Lease:
    """How a carrier outside Lambda stays known: claims of ``duration_sec``, renewed every ``interval_sec``.

    ``extend_message`` keeps the message hidden from others; it may raise anything.
    """

    duration_sec: float
    interval_sec: float
    extend_message: Callable[[], None]


@dataclass(slots=True)
class Thread:
    """The carrier behind one message: who it is, and until when it lives (seconds since the epoch).

    ``waited_sec``: how long its message lay in the queue. Where that is long, others wait as well.
    """

    claimer: str
    deadline: float
    clock: Clock
    lease: Lease | None = None
    waited_sec: float = 0.0
    began_at: float = field(init=False)

    def __post_init__(self) -> None:
        self.began_at = self.clock.now()

    def claim(self) -> Claim:
        """A claim of this carrier, from now on."""
        until = self.deadline
        if self.lease is not None:
            until = min(until, self.clock.now() + self.lease.duration_sec)
        return Claim(self.claimer, round(until, 3))

    def claim_for(self, effect: RunAction, *, is_item: bool = False) -> Claim | None:
        """A claim on an action that surely fits into the time left, and whose turn it is.

        A worker takes on only what was sent to its target: everything else needs what the common executors may do.
        """
        if self.clock.now() - self.began_at >= self._carries_on_sec(is_item=is_item):
            return None
        needed_sec = effect.timeout_sec if effect.timeout_sec is not None else _USUAL_ACTION_SEC
        if self.lease is not None or self.clock.now() + needed_sec + TURN_RESERVE_SEC > self.deadline:
            return None
        return self.claim()

    def _carries_on_sec(self, *, is_item: bool) -> float:
        """For how long it may carry on, by which it keeps those waiting whose messages lie in the queue."""
        if self.waited_sec >= QUEUE_BUSY_AFTER_SEC:
            return CARRIED_WHILE_OTHERS_WAIT_MAX_SEC
        return CARRIED_ITEMS_MAX_SEC if is_item else math.inf


@contextmanager
def kept_alive(lease: Lease | None, renew: Callable[[], None]) -> Iterator[None]:
    """Keep message and claim alive for the time of the block; nothing to do without a lease.

    A heartbeat that fails is told to the log, and the next one tries again.
    """
    if lease is None:
        yield
        return
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(lease.interval_sec):
            for keep in (lease.extend_message, renew):
                try:
                    keep()
                except Exception as error:  # noqa: BLE001 - whatever it is, the action goes on, and so do we
                    _LOG.warning("a heartbeat failed with %s; the next one tries again", type(error).__name__)

    heart = threading.Thread(target=beat, name="heartbeat", daemon=True)
    heart.start()
    try:
        yield
    finally:
        ended.set()
        heart.join()


def timed_out(limit_sec: float) -> str:
    """The error of an action whose time was over."""
    return f"The action raised an exception [msg='Timeout after {limit_sec:g} seconds']"


def within(limit_sec: float, act: Callable[[], Result]) -> Result:
    """Run an action for so long at most. One that does not stop is left to itself; its late result is dropped."""
    pool = ThreadPoolExecutor(max_workers=1)
    try:
        return pool.submit(act).result(timeout=max(0.0, limit_sec))
    except FutureTimeoutError:
        _LOG.warning("An action was left to itself after %g seconds", limit_sec)
        return Result(error=timed_out(limit_sec))
    finally:
        pool.shutdown(wait=False)
