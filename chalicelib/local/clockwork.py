"""Rings the ``clock`` door every minute: no emulator fires EventBridge's schedules."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final
from uuid import uuid4

from chalicelib.local.context import LambdaContext
from chalicelib.local.wakeup import Activity, Wakeup
from chalicelib.vocabulary import JsonObject

logger = logging.getLogger("mistral.local.clockwork")

INTERVAL_SEC: Final = 60.0
TIMEOUT_SEC: Final = 60.0


def schedule_event(now_sec: float) -> JsonObject:
    """The event that EventBridge sends for a schedule rule."""
    return {
        "version": "0",
        "id": str(uuid4()),
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": "123456789012",
        "time": datetime.fromtimestamp(int(now_sec), UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": "us-east-1",
        "resources": ["arn:aws:events:us-east-1:123456789012:rule/clock"],
        "detail": {},
    }


def pause_sec(now_sec: float) -> float:
    """How long until the next full minute."""
    return INTERVAL_SEC - now_sec % INTERVAL_SEC


class Clockwork:
    """Calls the door at the start, then at every full minute; a slow call delays the next one, never doubles it."""

    def __init__(
        self,
        door: Callable[[JsonObject, Any], Any],
        *,
        after: Callable[[], None] = lambda: None,
        now: Callable[[], float] = time.time,
        wakeup: Wakeup | None = None,
        activity: Activity | None = None,
    ) -> None:
        self._door, self._after, self._now = door, after, now
        self._wakeup, self._activity = wakeup or Wakeup(), activity or Activity()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="clock", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Ring no more. Returns at once."""
        self._stopping.set()
        self._wakeup.interrupt()

    def join(self, timeout_sec: float) -> bool:
        """Wait for a call that runs; whether it ended in that time."""
        self._thread.join(timeout_sec)
        return not self._thread.is_alive()

    def ring(self) -> None:
        """Call the door once; what it raises is logged, and the next minute tries again."""
        context = LambdaContext("clock", deadline_sec=self._now() + TIMEOUT_SEC, now=self._now)
        try:
            self._door(schedule_event(self._now()), context)
        except Exception:
            logger.exception("The clock failed; it rings again in a minute")
        finally:
            self._after()

    def _run(self) -> None:
        with self._activity.busy():
            while not self._stopping.is_set():
                self.ring()
                self._wakeup.sent(pause_sec(self._now()))
                self._wakeup.wait(INTERVAL_SEC)
