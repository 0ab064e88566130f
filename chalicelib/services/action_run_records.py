"""Action executions without a task, as they are asked for and stored: one item in a partition of its own."""

from __future__ import annotations

import json
from dataclasses import field
from typing import Final

from chalicelib.data import dataclass
from chalicelib.engine import codec
from chalicelib.engine.records import ActionExecution
from chalicelib.services.execution_places import everyones_action, sort_of
from chalicelib.services.ports import INDEX_EVERYONE, INDEX_LISTING, IndexKey, Item
from chalicelib.vocabulary import JsonObject

RECORD_KEY: Final = "action"


@dataclass(frozen=True, slots=True)
class RunRequest:
    """An action to run. ``save_result`` keeps it for later reading, ``run_sync`` waits for its result."""

    project_id: str
    name: str
    input: JsonObject = field(default_factory=dict)
    namespace: str = ""
    description: str = ""
    run_sync: bool = False
    save_result: bool = False
    target: str | None = None
    timeout_sec: float | None = None


@dataclass(frozen=True, slots=True)
class ActionRun:
    """An action execution without a task. ``id`` is ``None`` for one that was run and not stored."""

    id: str | None
    project_id: str
    action: ActionExecution
    namespace: str = ""
    description: str = ""
    revision: int = 0


def pack(run: ActionRun) -> Item:
    """As it is stored; it has an id."""
    assert run.id is not None
    facts = {"p": run.project_id, "n": run.namespace, "d": run.description}
    body = json.dumps(facts).encode() + b"\n" + codec.pack_action(run.action)
    created = sort_of(run.action.created_at, run.id)
    places = {
        INDEX_LISTING: IndexKey(listing_value(run.project_id), created),
        INDEX_EVERYONE: IndexKey(everyones_action(run.id), created),
    }
    return Item(run.id, RECORD_KEY, body, revision=run.revision, indexes=places)


def unpack(item: Item) -> ActionRun:
    """From what was stored."""
    head, _, rest = item.body.partition(b"\n")
    facts = json.loads(head)
    return ActionRun(item.partition, facts["p"], codec.unpack_action(rest), facts["n"], facts["d"], item.revision)


def listing_value(project_id: str) -> str:
    """Where those of a project are listed."""
    return f"{project_id}|action"
