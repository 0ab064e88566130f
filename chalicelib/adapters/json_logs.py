"""The log as JSON, one line a record, as CloudWatch Logs Insights reads it.

Ids, names and states stand in members of their own; what looks like a secret is masked. Of an error there are its type,
its place in the code, and its text, unless that is an answer to a caller: such a text may quote what the caller sent.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, TextIO

from chalicelib.data import dataclass
from chalicelib.errors import MistralError
from chalicelib.limits import LOG_FRAMES_MAX
from chalicelib.services.masking import masked, masked_facts

LOGGER: Final = "mistral"
_CAUSES_MAX: Final = 3


@dataclass(slots=True)
class Invocation:
    """What this process is at: one event at a time, as Lambda has it."""

    door: str = ""
    request_id: str = ""


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON: ``time``, ``level``, ``logger``, ``message``, the facts, ``error`` if there is."""

    def __init__(self, invocation: Invocation) -> None:
        super().__init__()
        self._invocation = invocation

    def format(self, record: logging.LogRecord) -> str:
        """See ``logging.Formatter``."""
        facts = getattr(record, "mistral", None)
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": masked(record.getMessage()),
            "door": self._invocation.door,
            "request_id": self._invocation.request_id,
            **(masked_facts(facts) if isinstance(facts, Mapping) else {}),
        }
        if record.exc_info and record.exc_info[1] is not None:
            line["error"] = error_facts(record.exc_info[1])
        line = {name: value for name, value in line.items() if value not in (None, "")}
        return json.dumps(line, ensure_ascii=False, separators=(",", ":"), default=str)


def error_facts(error: BaseException) -> dict[str, Any]:
    """What the log says of an error, and of those that led to it."""
    frames = traceback.extract_tb(error.__traceback__)[-LOG_FRAMES_MAX:]
    facts: dict[str, Any] = {
        "type": f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins."),
        "message": _text_of(error),
        "stack": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
    }
    causes: list[str] = []
    cause = error.__cause__ or error.__context__
    while cause is not None and len(causes) < _CAUSES_MAX:
        causes.append(f"{type(cause).__qualname__}: {_text_of(cause)}")
        cause = cause.__cause__ or cause.__context__
    return facts | ({"causes": causes} if causes else {})


def _text_of(error: BaseException) -> str:
    if isinstance(error, MistralError) and error.http_code < 500:
        return "(an answer to the caller, which may quote what was sent)"
    return masked(str(error))


def install(level: str, invocation: Invocation, stream: TextIO | None = None) -> None:
    """Send this process's log as JSON to a stream: ``mistral`` from the level on, others warnings.

    Without a stream the handlers that Lambda has put in place are kept, and write JSON; where there is none, it goes to
    standard output.
    """
    root = logging.getLogger()
    writing = [] if stream is not None else list(root.handlers)
    if not writing:
        writing = [logging.StreamHandler(stream or sys.stdout)]
        root.addHandler(writing[0])
    for handler in writing:
        handler.setFormatter(JsonFormatter(invocation))
    root.setLevel(logging.WARNING)
    logging.getLogger(LOGGER).setLevel(level.upper())
