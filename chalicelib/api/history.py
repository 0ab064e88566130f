"""The endpoint of an execution's history: what happened to it, in order, a page at a time."""

from __future__ import annotations

import re
from itertools import islice
from typing import Final

from chalicelib.api.about import tells
from chalicelib.api.executions import execution_by_uuid
from chalicelib.api.http import Answer, Call, Route
from chalicelib.api.services import Provider
from chalicelib.api.values import to_integer
from chalicelib.engine.identity import action_id, task_id
from chalicelib.engine.moment import timestamp
from chalicelib.engine.records import WorkflowExecution
from chalicelib.errors import InputException
from chalicelib.limits import HISTORY_ENTRIES_DEFAULT
from chalicelib.services.history_words import Entry, Teller
from chalicelib.vocabulary import JsonObject

_MARKER: Final = re.compile(r"(\d{1,9})\.(\d{1,9})", re.ASCII)
_TEXT_OR_NULL: Final[JsonObject] = {"type": ["string", "null"]}
_ENTRY: Final[JsonObject] = {
    "id": {"type": "string", "description": "the number of the turn and the number in it: a marker"},
    "time": {"type": "string", "description": "UTC, with milliseconds"},
    "event": {"type": "string", "description": "what kind of thing happened"},
    "task_name": _TEXT_OR_NULL,
    "task_execution_id": _TEXT_OR_NULL,
    "action_execution_id": {
        "type": ["string", "null"],
        "description": "an action execution, or the run that a sub-workflow execution stands for",
    },
    "what": {"type": "string", "description": "what happened and what followed, in words; never a value"},
}
SCHEMA: Final[JsonObject] = {
    "type": "object",
    "required": ["history"],
    "properties": {
        "history": {
            "type": "array",
            "items": {
                "type": "object",
                "required": list(_ENTRY),
                "properties": _ENTRY,
                "additionalProperties": False,
            },
        },
        "next": {"type": "string", "description": "where the next page is, if there may be one"},
    },
    "additionalProperties": False,
}
_ABOUT: Final = tells("What happened to an execution, in order.", SCHEMA)


def routes(services: Provider) -> tuple[Route, ...]:
    """The route of an execution's history."""
    api = History(services)
    return (Route("GET", "/v2/executions/{identifier}/history", api.show, ("marker", "limit"), about=_ABOUT),)


class History:
    """The endpoint of an execution's history."""

    def __init__(self, services: Provider) -> None:
        self._services = services

    def show(self, call: Call) -> Answer:
        """One page of what happened."""
        reader = self._services().reader
        header = execution_by_uuid(reader, call, "id")
        limit = _limit(call)
        turn, step = _place(call.query.get("marker"))
        entries = list(islice(Teller(reader.store, header).entries(turn=turn, step=step), limit))
        answer: JsonObject = {"history": [_shown(header, entry) for entry in entries]}
        if len(entries) == limit:
            marker = f"{entries[-1].turn}.{entries[-1].step}"
            answer["next"] = f"{call.base_url}/v2/executions/{header.public}/history?limit={limit}&marker={marker}"
        return Answer(answer)


def _limit(call: Call) -> int:
    asked = to_integer("limit", call.query.get("limit") or HISTORY_ENTRIES_DEFAULT)
    if asked <= 0:
        raise InputException("Limit must be positive.")
    return min(asked, call.settings.list_items_max)


def _place(marker: str | None) -> tuple[int, int]:
    """The turn and the step behind a marker. Raises InputException."""
    if not marker:
        return 0, 0
    found = _MARKER.fullmatch(marker)
    if found is None:
        raise InputException(f"A marker of a history is the id of an entry, such as 3.0, not {marker!r}.")
    return int(found[1]), int(found[2]) + 1


def _shown(header: WorkflowExecution, entry: Entry) -> JsonObject:
    return {
        "id": f"{entry.turn}.{entry.step}",
        "time": f"{timestamp(entry.moment)}.{round(entry.moment * 1000) % 1000:03d}",
        "event": entry.event,
        "task_name": entry.task_name,
        "task_execution_id": task_id(header.id, entry.ordinal) if entry.task_name else None,
        "action_execution_id": action_id(header.id, entry.ordinal, entry.number)
        if entry.task_name and entry.number is not None
        else None,
        "what": entry.what,
    }
