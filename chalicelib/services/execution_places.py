"""Where an execution stands in the indexes of its table. Its header is in all of them that concern it.

==========  =========================  ==========================  ==================================================
index       value                      sorted by                   lists
==========  =========================  ==========================  ==================================================
listing     project | state            creation                    the executions of a project in a state
workflow    project                    workflow's name, creation   all executions of a project, and those of a name
root        ``root`` | root execution  creation                    what is below a root
root        ``roots`` | project        creation                    the roots of a project
everyone    group | shard              creation                    the executions of all projects, in three groups
alarm       ``alarm`` | shard          time of the alarm           the unfinished executions of all projects
alarm       ``ended`` | state | shard  the end                     ended roots, if there is an expiration policy
==========  =========================  ==========================  ==================================================

An entry costs a write unit, moving it two. A root execution that succeeds pays for six entries, of which one moves and
one goes; ``everyone`` tells only failed and cancelled executions from the others, so that it does not move for most.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from chalicelib.engine.records import WorkflowExecution
from chalicelib.services.definition_records import sorted_name
from chalicelib.services.ports import (
    INDEX_ALARM,
    INDEX_EVERYONE,
    INDEX_LISTING,
    INDEX_ROOT,
    INDEX_WORKFLOW,
    IndexKey,
)
from chalicelib.vocabulary import State

ALARM_SHARDS: Final = 8
EVERYONE_SHARDS: Final = 4
# Behind every place: moments are digits, ids are digits, letters up to "f" and dashes.
LAST: Final = "~"
_ORDINARY: Final = "ordinary"
_GROUPS: Final = {State.ERROR: "failed", State.CANCELLED: "cancelled"}


def sort_of(moment: float, execution_id: str) -> str:
    """The place of an execution in an index that is ordered by time."""
    return f"{moment:017.3f}|{execution_id}"


def listing_value(project_id: str, state: str) -> str:
    """The value of the listing index: executions of a project in a state."""
    return f"{project_id}|{state}"


def name_prefix(workflow_name: str) -> str:
    """What the places of all executions of a workflow's name begin with, in the workflow index."""
    return f"{sorted_name(workflow_name)}\0"


def root_value(root_execution_id: str) -> str:
    """The value of the root index: executions below a root."""
    return f"root|{root_execution_id}"


def roots_value(project_id: str) -> str:
    """The value of the root index: executions of a project that are below no other."""
    return f"roots|{project_id}"


def everyone_values(states: Iterable[State]) -> list[str]:
    """The values of the index of all projects under which executions in these states are, perhaps among others."""
    groups = dict.fromkeys(_GROUPS.get(state, _ORDINARY) for state in states)
    return [f"{group}|{shard}" for group in groups for shard in range(EVERYONE_SHARDS)]


def everyones_action(run_id: str) -> str:
    """The value of the index of all projects for an action that runs on its own."""
    return f"action|{int(run_id[:2], 16) % EVERYONE_SHARDS}"


def everyones_actions() -> list[str]:
    """All of those values."""
    return [f"action|{shard}" for shard in range(EVERYONE_SHARDS)]


def alarm_value(shard: int) -> str:
    """The value of the alarm index: unfinished executions by shard."""
    return f"alarm|{shard}"


def ended_value(state: str, shard: int) -> str:
    """The value of the alarm index: root executions that have ended in a state, by shard."""
    return f"ended|{state}|{shard}"


def places_of(header: WorkflowExecution, *, lists_ended: bool = False) -> dict[str, IndexKey]:
    """All the places of an execution; with ``lists_ended`` the one for its expiration too."""
    created = sort_of(header.created_at, header.id)
    root = header.root_execution_id
    group = _GROUPS.get(header.state, _ORDINARY)
    places = {
        INDEX_LISTING: IndexKey(listing_value(header.project_id, header.state), created),
        INDEX_WORKFLOW: IndexKey(header.project_id, name_prefix(header.workflow_name) + created),
        INDEX_ROOT: IndexKey(roots_value(header.project_id) if root is None else root_value(root), created),
        INDEX_EVERYONE: IndexKey(f"{group}|{_number(header) % EVERYONE_SHARDS}", created),
    }
    shard = _number(header) % ALARM_SHARDS
    if header.wake_at is not None:
        places[INDEX_ALARM] = IndexKey(alarm_value(shard), sort_of(header.wake_at, header.id))
    elif lists_ended and header.parent is None and header.state.is_completed:
        places[INDEX_ALARM] = IndexKey(ended_value(header.state, shard), sort_of(header.updated_at, header.id))
    return places


def _number(header: WorkflowExecution) -> int:
    return int(header.id[:2], 16)
