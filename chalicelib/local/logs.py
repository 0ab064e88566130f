"""What ``mistral-local`` prints of the work it does: one readable line for each change.

The services log changes to the logger ``mistral`` with ``extra={"mistral": {...}}``; the members, all optional, are
``workflow``, ``execution`` (id), ``task``, ``action``, ``before`` and ``after`` (states) and ``info``. Other records
print as their message.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, TextIO

from chalicelib.services.masking import masked
from chalicelib.vocabulary import State

LOGGER: Final = "mistral"
INFO_CHARACTERS_MAX: Final = 200

_RESET: Final = "\x1b[0m"
_DIM: Final = "\x1b[2m"
_COLOURS: Final[Mapping[str, str]] = {
    State.SUCCESS: "\x1b[32m",
    State.ERROR: "\x1b[31m",
    State.CANCELLED: "\x1b[33m",
    State.PAUSED: "\x1b[33m",
    State.SKIPPED: "\x1b[33m",
    State.DELAYED: "\x1b[36m",
    State.WAITING: "\x1b[36m",
    State.RUNNING: "\x1b[34m",
    "WARNING": "\x1b[33m",
    "ERROR": "\x1b[31m",
}


class Painter:
    """Colours words, or leaves them alone."""

    def __init__(self, *, colours: bool) -> None:
        self._colours = colours

    def state(self, state: str) -> str:
        """A state in its colour."""
        return self._paint(state, _COLOURS.get(state, ""))

    def quiet(self, text: str) -> str:
        """Text that is less important."""
        return self._paint(text, _DIM)

    def _paint(self, text: str, colour: str) -> str:
        return f"{colour}{text}{_RESET}" if self._colours and colour else text


def change_line(change: Mapping[str, Any], painter: Painter) -> str:
    """One change as ``create_vm  3f0c1b2a…  task wait_for_instance  RUNNING -> SUCCESS``."""
    subject = "execution"
    if change.get("task"):
        subject = f"task {change['task']}"
    if change.get("action"):
        subject = f"{subject}  action {change['action']}" if change.get("task") else f"action {change['action']}"
    states = [painter.state(str(change[name])) for name in ("before", "after") if change.get(name)]
    parts = [
        str(change.get("workflow") or ""),
        painter.quiet(short_id(str(change.get("execution") or ""))),
        subject,
        " -> ".join(states),
        painter.quiet(one_line(str(change.get("info") or ""))),
    ]
    return "  ".join(part for part in parts if part)


def short_id(identity: str) -> str:
    """The beginning of an id, enough to tell a few executions apart."""
    return f"{identity[:8]}…" if len(identity) > 9 else identity


def one_line(text: str) -> str:
    """Text without line breaks and not too long for a log line."""
    flat = " ".join(text.split())
    return flat if len(flat) <= INFO_CHARACTERS_MAX else flat[: INFO_CHARACTERS_MAX - 1] + "…"


class LineFormatter(logging.Formatter):
    """``12:00:01`` and the change, or the message."""

    def __init__(self, *, colours: bool) -> None:
        super().__init__()
        self._painter = Painter(colours=colours)

    def format(self, record: logging.LogRecord) -> str:
        """See ``logging.Formatter``."""
        clock = self._painter.quiet(time.strftime("%H:%M:%S", time.localtime(record.created)))
        change = getattr(record, "mistral", None)
        text = change_line(change, self._painter) if isinstance(change, Mapping) else masked(record.getMessage())
        if record.levelno >= logging.WARNING:
            text = f"{self._painter.state(record.levelname)}  {text}"
        if record.exc_info:
            text = f"{text}\n{self.formatException(record.exc_info)}"
        return f"{clock} {text}"


@contextmanager
def logging_to(stream: TextIO, level: str) -> Iterator[None]:
    """Send this process's log to a stream: ``mistral`` from the level on, everything else from WARNING on."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(LineFormatter(colours=stream.isatty()))
    root, ours = logging.getLogger(), logging.getLogger(LOGGER)
    levels = root.level, ours.level
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    ours.setLevel(level)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(levels[0])
        ours.setLevel(levels[1])


def complain(text: str) -> None:
    """Tell the user what is wrong."""
    print(f"mistral-local: {text}", file=sys.stderr)
