"""Whether an execution that is made again from its history is the one that is stored."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, cast

from chalicelib.engine.records import (
    ActionExecution,
    PayloadRef,
    TaskExecution,
    ValueRef,
    WorkflowExecution,
    is_dropped,
    is_superseded,
)
from chalicelib.expressions.options import Options
from chalicelib.services.deciding import TurnSettings
from chalicelib.services.definitions import Definitions
from chalicelib.services.execution_store import ExecutionStore
from chalicelib.services.replay import Replay, Replayed

if TYPE_CHECKING:
    from tests.simulation.world import World

# Who is at work, when it was stored and where: not what has happened.
_HEADER_ASIDE = frozenset(
    ("revision", "updated_at", "wake_at", "frontier", "tail", "fronts", "front_tasks", "subscriptions")
) | {"turns", "turns_paged", "findings", "kept"}


def differences(world: World, header: WorkflowExecution) -> list[str]:
    """In what the stored execution and the one made again differ; looked at once for each revision."""
    found = world.differences.get((header.id, header.revision))
    if found is None:
        found = _Again(world.store, header, replay_of(world).replay(header)).differences()
        world.differences[header.id, header.revision] = found
    return found


def replay_of(world: World) -> Replay:
    """What makes the executions of a world again."""
    settings = TurnSettings(Options(), 1 << 20)
    return Replay(world.store, cast(Definitions, world.library), world.registry, settings)


class _Again:
    def __init__(self, store: ExecutionStore, stored: WorkflowExecution, replayed: Replayed) -> None:
        self._store = store
        self._stored = stored
        self._replayed = replayed
        self._values: dict[str, Any] = {}

    def differences(self) -> list[str]:
        found = self._compared("execution", self._stored, self._replayed.header, _HEADER_ASIDE)
        tasks = {task.ordinal: task for task in self._store.tasks(self._stored)}
        if tasks.keys() != self._replayed.tasks.keys():
            found.append(f"tasks {sorted(tasks)} are stored, {sorted(self._replayed.tasks)} made again")
            return found
        for ordinal, task in tasks.items():
            other = self._replayed.tasks[ordinal]
            found += self._compared(f"task {task.name}", task, other, frozenset({"page", "actions"}))
            found += self._compared_actions(task, other)
        return found

    def _compared_actions(self, task: TaskExecution, other: TaskExecution) -> list[str]:
        first = {action.number: _calm(action) for action in self._store.actions(self._stored, task)}
        again: Any = self._replayed.items.get(task.ordinal, {}).values() if other.has_items else other.actions
        second = {action.number: _calm(action) for action in again if action.number < other.next_number}
        if first.keys() != second.keys():
            return [f"actions {sorted(first)} of {task.name} are stored, {sorted(second)} made again"]
        aside = frozenset({"accepted"} if task.has_items else set())
        return [
            text
            for number, action in first.items()
            if not is_dropped(task, action) and not _is_left(task, action, second[number])
            for text in self._compared(f"action {number} of {task.name}", action, second[number], aside)
        ]

    def _compared(self, what: str, first: Any, second: Any, aside: frozenset[str]) -> list[str]:
        return [
            f"{what}: {field.name} is {one!r}, made again {other!r}"[:500]
            for field in fields(first)
            if field.name not in aside
            and (one := self._whole(getattr(first, field.name))) != (other := self._whole(getattr(second, field.name)))
        ]

    def _whole(self, value: Any) -> Any:
        """A value with everything that lives elsewhere."""
        if isinstance(value, ValueRef) and value.key.startswith("value#"):
            return "elsewhere"
        if isinstance(value, (ValueRef, PayloadRef)):
            return self._whole(self._store.value(self._stored.id, value))
        if isinstance(value, dict):
            return {key: self._whole(member) for key, member in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._whole(member) for member in value]
        if hasattr(value, "__dataclass_fields__"):
            return {field.name: self._whole(getattr(value, field.name)) for field in fields(value)}
        return value


def _is_left(task: TaskExecution, stored: ActionExecution, again: ActionExecution) -> bool:
    """Whether a turn that was lost finished the record of an item, and nobody waits for it any more."""
    is_unwanted = task.has_items and (task.state.is_completed or is_superseded(task, stored))
    return is_unwanted and stored.state.is_completed and not again.state.is_completed


def _calm(action: ActionExecution) -> ActionExecution:
    return replace(action, claim=None, revision=0)
