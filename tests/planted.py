"""Secrets that the tests plant wherever a secret can stand; no line of any log of the whole run may hold one.

Every test is watched (`tests/conftest.py`): what it logs is written as a deployment writes it, and searched.
"""

import logging

from chalicelib.adapters.json_logs import Invocation, JsonFormatter

MARK = "pl4nt3d"
WEBHOOK_SECRET = f"a secret of the tests that is long enough {MARK}"
TOKEN_SECRET = f"a-secret-of-the-tests-that-is-long-enough-{MARK}"
SECRET_VALUES = (f"hidden value {MARK}", f"hidden too {MARK}")


class Watch(logging.Handler):
    """Keeps the lines in which a planted secret stands."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(JsonFormatter(Invocation()))
        self.seen = 0
        self.leaks: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """See ``logging.Handler``."""
        self.seen += 1
        line = self.format(record)
        if MARK in line:
            self.leaks.append(line)


WATCH = Watch()
