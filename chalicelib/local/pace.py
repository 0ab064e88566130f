"""Virtual time: waits pass faster than they last, work does not.

While anybody is at work, time passes as it really does: leases, deadlines and the timeouts of actions mean what they
say. While nobody is, it passes ``scale`` times as fast, or jumps straight to the next moment at which something is due;
never past it. So nothing fires early, and nothing is missed.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Final
from unittest.mock import patch

from chalicelib.local.wakeup import Activity, Wakeup
from chalicelib.services.ports import Clock

logger = logging.getLogger("mistral.local.pace")

JUMP: Final = math.inf
# How often somebody who could not go on looks again, in real seconds.
_LOOK_SEC: Final = 0.002
_IDLE_WAIT_SEC: Final = 0.25


class PacedClock(Clock):
    """A clock that runs at a pace, up to a moment. It never goes back."""

    def __init__(self, began: float | None = None, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._since = monotonic()
        self._at = time.time() if began is None else began
        self._pace = 1.0
        self._until = math.inf

    def now(self) -> float:
        """The present moment, in seconds since the epoch."""
        with self._lock:
            return self._now()

    def run(self, pace: float, until: float = math.inf) -> None:
        """Run at this pace from now on, and stand still at ``until``; the pace ``JUMP`` goes there at once."""
        with self._lock:
            self._at = max(self._now(), until) if pace == JUMP else self._now()
            self._since = self._monotonic()
            self._pace, self._until = (1.0, math.inf) if pace == JUMP else (pace, until)

    def pause(self, seconds: float) -> None:
        """Wait in earnest, as those do who lost a race."""
        time.sleep(seconds)

    def _now(self) -> float:
        moment = self._at + (self._monotonic() - self._since) * self._pace
        # A clock that was to stop at a moment which has passed already stands where it was.
        return max(self._at, min(moment, self._until))


class Pacer:
    """Moves a clock on while nobody is at work. ``next_due`` gives the next moment that matters, if there is one."""

    def __init__(
        self,
        clock: PacedClock,
        activity: Activity,
        wakeups: Sequence[Wakeup],
        *,
        scale: float,
        next_due: Callable[[], float | None],
    ) -> None:
        self._clock, self._activity, self._wakeups = clock, activity, wakeups
        self._scale, self._next_due = scale, next_due
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pace", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._activity.when_busy(lambda: self._clock.run(1.0))
        self._thread.start()

    def stop(self) -> None:
        """Leave the clock to itself. Returns at once."""
        self._stopping.set()

    def join(self, timeout_sec: float) -> bool:
        """Wait for the end; whether it came in that time."""
        self._thread.join(timeout_sec)
        return not self._thread.is_alive()

    def step(self) -> bool:
        """Move the clock towards the next moment, if nobody is at work; whether it was moved."""
        if not self._activity.wait_idle(_IDLE_WAIT_SEC) or any(wakeup.is_called for wakeup in self._wakeups):
            return False
        due = self._next_due()
        if due is None:
            return False
        with self._activity.held() as is_idle:
            if not is_idle or any(wakeup.is_called for wakeup in self._wakeups):
                return False
            real_sec = max(0.0, due - self._clock.now()) / self._scale
            self._clock.run(self._scale, due)
        if self._scale != JUMP:
            self._activity.wait_busy(real_sec)
            self._clock.run(1.0)
        for wakeup in self._wakeups:
            wakeup.look()
        return True

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                if not self.step():
                    self._stopping.wait(_LOOK_SEC)
            except Exception:
                logger.exception("Virtual time stands for a moment")
                self._stopping.wait(1.0)


def earliest(
    wakeups: Sequence[Wakeup], alarms: Callable[[], float | None] = lambda: None
) -> Callable[[], float | None]:
    """The next moment at which a wake-up is due or an alarm rings, in the minute of the clock door."""

    def next_due() -> float | None:
        moments = [moment for wakeup in wakeups if (moment := wakeup.next_due()) is not None]
        alarm = alarms()
        if alarm is not None:
            moments.append((alarm // 60 + 1) * 60)
        return min(moments, default=None)

    return next_due


class Tempo:
    """How time passes in a local service: ``scale`` 1 is real time, by the machine's own clock."""

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale
        self.activity = Activity()
        self.clock = None if scale == 1 else PacedClock()

    @property
    def now(self) -> Callable[[], float]:
        """The time of day."""
        return time.time if self.clock is None else self.clock.now

    @property
    def monotonic(self) -> Callable[[], float]:
        """A clock that never goes back, of any beginning."""
        return time.monotonic if self.clock is None else self.clock.now

    def wakeup(self) -> Wakeup:
        """A new wake-up."""
        return Wakeup(self.monotonic, self.activity)

    def watched(self, app: Callable[..., Any]) -> Callable[..., Any]:
        """The same callable; who calls it is at work."""

        def call(*arguments: Any) -> Any:
            with self.activity.busy():
                return app(*arguments)

        return call

    @contextmanager
    def governs(self, *, moto: bool) -> Iterator[None]:
        """The doors that are imported within the block, and moto's queues, go by this time."""
        if self.clock is None:
            yield
            return
        clock = self.clock
        with ExitStack() as stack:
            stack.enter_context(patch("chalicelib.wiring.SystemClock", lambda: clock))
            if moto:
                stack.enter_context(moto_runs_by(clock))
            yield

    def pacers(
        self, wakeups: Sequence[Wakeup], clock_wakeup: Wakeup, alarms: Callable[[], float | None]
    ) -> list[Pacer]:
        """What moves the time on: nothing where it is real.

        Who jumps skips the minutes in which the clock door would find nothing; it rings anyway where a jump ends.
        """
        if self.clock is None:
            return []
        everything = [*wakeups, clock_wakeup]
        next_due = earliest(wakeups, alarms) if self.scale == JUMP else earliest(everything)
        return [Pacer(self.clock, self.activity, everything, scale=self.scale, next_due=next_due)]


@contextmanager
def moto_runs_by(clock: Clock) -> Iterator[None]:
    """Let the queues of moto count delays and visibility by this clock."""
    with (
        patch("moto.sqs.models.unix_time_millis", lambda _moment=None: clock.now() * 1000),
        patch("moto.sqs.models.unix_time", lambda _moment=None: clock.now()),
    ):
        yield
