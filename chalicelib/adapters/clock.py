"""The real clock and the real source of fresh identity; their twins are in ``memory``."""

from __future__ import annotations

import os
import time

from chalicelib.services.ports import Clock, Entropy


class SystemClock(Clock):
    """The clock of this machine."""

    def now(self) -> float:
        """The present moment, in seconds since the epoch."""
        return time.time()


class SystemEntropy(Entropy):
    """Random bytes from the operating system."""

    def token(self) -> bytes:
        """Sixteen fresh random bytes."""
        return os.urandom(16)
