"""What must be true of all that is stored when nothing is left to happen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from chalicelib.engine.fronts import FRONT_PREFIX
from chalicelib.engine.history import BIRTH_PREFIX, FOUND_PREFIX, HISTORY_PREFIX
from chalicelib.engine.records import WorkflowExecution
from chalicelib.engine.sealing import ACTION_PREFIX, CONTEXT_PREFIX, HEADER_KEY, NOTICE_PREFIX, TASK_PREFIX
from chalicelib.services.execution_history import turns
from chalicelib.services.execution_places import listing_value, root_value
from chalicelib.services.execution_store import PARKED_PREFIX
from chalicelib.services.ports import INDEX_LISTING, INDEX_ROOT
from chalicelib.vocabulary import State
from tests.simulation.rebuilding import differences

if TYPE_CHECKING:
    from tests.simulation.world import World

_ENTRIES_MAX = 10_000
_VALUES = (HEADER_KEY, "input", "params", "output", "variables")
# Moments are kept to the millisecond.
TOLERANCE_SEC = 0.002


def faults_at_the_end(world: World) -> list[str]:
    """What is wrong with the records of all executions, and with the lists that lead to them."""
    headers = world.headers()
    found = [*_lists(world, headers), *_families(world, headers)]
    for header in headers:
        name = f"{header.workflow_name} {header.id[:8]}"
        # The former version of the code knows of no history, and loses what stands in the header.
        if not world.circumstances.old_share:
            found += [f"{name}: {text}" for text in (*_orphans(world, header), *_history(world, header))]
    return found


def _lists(world: World, headers: list[WorkflowExecution]) -> Iterator[str]:
    """Each execution is listed under the state that it has, once, and under its root."""
    for state in State:
        entries = world.table.list_index(INDEX_LISTING, listing_value("project", state), limit=_ENTRIES_MAX)
        listed = sorted(entry.partition for entry in entries)
        if listed != sorted(header.id for header in headers if header.state is state):
            yield f"the list of {state} names {listed}"
    for root in (header for header in headers if header.parent is None):
        entries = world.table.list_index(INDEX_ROOT, root_value(root.public), limit=_ENTRIES_MAX)
        below = {header.id for header in headers if header.root_execution_id == root.public}
        if {entry.partition for entry in entries} != below:
            yield f"the list below {root.public} names {entries}"


def _families(world: World, headers: list[WorkflowExecution]) -> Iterator[str]:
    """Where a parent took the result of a child, it took the child's end; where it waits, the child goes on."""
    by_id = {header.id: header for header in headers}
    for parent in headers:
        for task in world.store.tasks(parent):
            for action in world.store.actions(parent, task):
                child = by_id.get(action.execution_id or "")
                if child is None:
                    continue
                if child.parent is None or (child.parent.execution_id, child.parent.ordinal) != (
                    parent.id,
                    task.ordinal,
                ):
                    yield f"{child.id} does not name its parent {parent.id}"
                elif world.watcher.revives and parent.state.is_completed:
                    # A parent that has succeeded is not revived by what is rerun below it.
                    continue
                elif action.accepted and action.state.is_completed and action.state is not child.state:
                    yield f"{child.workflow_name} is {child.state}, its parent took it for {action.state}"
                elif child.state.is_completed and not (task.state.is_completed or action.state.is_completed):
                    yield f"{child.workflow_name} is {child.state}, and its parent still waits for it"


def _orphans(world: World, header: WorkflowExecution) -> Iterator[str]:
    """No record stands there that nothing leads to."""
    digests = {digest for turn in turns(world.store, header) for digest in turn.found.values()}

    def is_of_a_task(rest: str) -> bool:
        return 0 < int(rest.split("#", maxsplit=1)[0], 16) < header.next_ordinal

    rules: dict[str, Callable[[str], bool]] = {
        TASK_PREFIX: is_of_a_task,
        CONTEXT_PREFIX: is_of_a_task,
        "claim#": is_of_a_task,
        "value#": is_of_a_task,
        # Items are written before the header: those of a turn that was lost may be of a task that never was.
        ACTION_PREFIX: lambda rest: True,
        NOTICE_PREFIX: lambda rest: 0 < int(rest, 16) <= header.noticed,
        "notified#": lambda rest: True,
        # A turn that was lost may have left the page that was to come next.
        HISTORY_PREFIX: lambda rest: int(rest, 16) <= header.turns_paged,
        BIRTH_PREFIX: lambda rest: rest in header.kept,
        FOUND_PREFIX: lambda rest: rest in digests,
        FRONT_PREFIX: lambda rest: int(rest, 16) in header.fronts,
        # It is cleared after the turn that took it in, before which a process may die, and may fail.
        PARKED_PREFIX: lambda rest: world.crashes + world.refusals > 0 and header.state.is_completed,
    }
    for item in world.table.query(header.id):
        kind, mark, rest = item.key.partition("#")
        is_known = rules[kind + mark](rest) if kind + mark in rules else item.key in _VALUES
        if not is_known:
            yield f"nothing leads to the record {item.key}"


def _history(world: World, header: WorkflowExecution) -> Iterator[str]:
    """The history is whole and in order, and the execution can be made again from it."""
    found = list(turns(world.store, header))
    if [turn.number for turn in found] != list(range(len(found))):
        yield f"its history has the turns {[turn.number for turn in found]}"
    moments = [turn.moment for turn in found]
    if [turn.seed for turn in found] != sorted(turn.seed for turn in found):
        yield "the revisions in its history go back"
    latest = world.clock.now() + world.circumstances.skew_sec + TOLERANCE_SEC
    if moments and not header.created_at - TOLERANCE_SEC <= moments[0] <= max(moments) <= latest:
        yield f"its history has the moments {moments}"
    created = [ordinal for turn in found for ordinal in turn.created]
    if created != list(range(1, header.next_ordinal)):
        yield f"its history has the tasks {created}"
    yield from (f"made again, {text}" for text in differences(world, header))
