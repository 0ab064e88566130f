"""Who runs an action: its claim, in the record of an item, or in one of its own beside the header."""

from __future__ import annotations

import json
import math
from typing import Final

from chalicelib.data import dataclass, replace
from chalicelib.engine.records import ActionExecution, Claim, Poll, TaskExecution, WorkflowExecution
from chalicelib.errors import ConflictException
from chalicelib.limits import MESSAGE_RECEIVES_MAX
from chalicelib.services.carriers import Thread
from chalicelib.services.parking import parking_key
from chalicelib.services.ports import Item, Put, are_written
from chalicelib.services.turns import Turns
from chalicelib.vocabulary import State

_PREFIX: Final = "claim#"
# A message that was received so often has killed its Lambda each time. At its last receipt but one there is still time
# to say so; after the last one it is a dead letter.
RECEIVES_MAX: Final = MESSAGE_RECEIVES_MAX - 1
# An asynchronous action that was started well: its claim has no end.
_STARTED: Final = Claim("started", math.inf)


@dataclass(frozen=True, slots=True)
class Held:
    """A claim as it was found, and in which revision; ``item`` is the record that holds it, if it is an item's."""

    claim: Claim
    revision: int
    item: ActionExecution | None = None


def has_killed(receives: int, claims: int) -> bool:
    """Whether an action that may run again has killed its executors, by how often its message and it were taken.

    A message alone may have been unlucky: its processes died of something else, perhaps before they came to the action.
    """
    return receives >= RECEIVES_MAX and claims >= RECEIVES_MAX - 1


def claim_key(ordinal: int, action: ActionExecution) -> str:
    """The sort key of the claim of an action that is no item."""
    return f"{_PREFIX}{ordinal:05x}#{action.number:05x}"


def claim_body(claim: Claim) -> bytes:
    """A claim as its own record holds it; without an end its deadline is null."""
    poll = claim.poll
    facts = [claim.claimer, None if math.isinf(claim.deadline) else claim.deadline]
    return json.dumps(facts if poll is None else [*facts, [poll.number, poll.due_at, poll.memo]]).encode()


def read_claim(body: bytes) -> Claim:
    """The inverse of ``claim_body``."""
    claimer, deadline, *rest = json.loads(body)
    return Claim(claimer, math.inf if deadline is None else deadline, Poll(*rest[0]) if rest else None)


class Claims:
    """The claims that are not in a header."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._store = turns.store

    def find(self, header: WorkflowExecution, task: TaskExecution, action: ActionExecution) -> Held | None:
        """The claim on an action as it is now; ``None`` without one, and for an item that does not run any more."""
        if task.has_items:
            present = self._store.action(header, task, action.number)
            if present is None or present.claim is None or present.state is not State.RUNNING:
                return None
            return Held(present.claim, present.revision, present)
        key = claim_key(task.ordinal, action)
        item = self._store.table.get(header.id, [key]).get(key)
        return None if item is None else Held(read_claim(item.body), item.revision)

    def write(
        self, header: WorkflowExecution, task: TaskExecution, action: ActionExecution, held: Held, claim: Claim
    ) -> Held:
        """Put another claim in the place of one. Raises ConflictException when that is not there any more."""
        if held.item is not None:
            self._turns.claim_item(header.id, task.ordinal, replace(held.item, claim=claim))
            revision = held.item.revision + 1
            return Held(claim, revision, replace(held.item, claim=claim, revision=revision))
        key, revision = claim_key(task.ordinal, action), held.revision + 1
        item = Item(header.id, key, claim_body(claim), revision=revision)
        self._store.table.write([Put(item, expected=held.revision)])
        return Held(claim, revision)

    def take_over(self, header: WorkflowExecution, key: str, body: bytes, revision: int) -> bool:
        """Claim an action in the place of a dead executor; whether nobody was faster."""
        put = Put(Item(header.id, key, body, revision=revision + 1), expected=revision)
        try:
            self._store.table.write([put])
        except ConflictException:
            return are_written(self._store.table, [put.item])
        return True

    def has_result(self, header: WorkflowExecution, ordinal: int, action: ActionExecution) -> bool:
        """Whether the result is parked already: then a sweep takes it in, and the action is not run again."""
        key = parking_key(ordinal, action.number)
        if not self._store.table.get(header.id, [key]):
            return False
        self._turns.sweep(header.id)
        return True

    def renew(self, header: WorkflowExecution, task: TaskExecution, action: ActionExecution, thread: Thread) -> None:
        """Claim an action for a while longer. Raises ConflictException for a race that the next time may win."""
        held = self.find(header, task, action)
        claim = thread.claim()
        if held is not None and held.claim.claimer == claim.claimer:
            self.write(header, task, action, held, replace(claim, poll=held.claim.poll))

    def mark_started(self, header: WorkflowExecution, task: TaskExecution, action: ActionExecution) -> None:
        """An asynchronous action has been started: whoever finds its claim knows that it is not to be started again."""
        if action.revision:
            current = self._store.action(header, task, action.number)
            if current is not None and not current.state.is_completed:
                self._store.write_item(header.id, task.ordinal, replace(current, claim=_STARTED))
            return
        item = Item(header.id, claim_key(task.ordinal, action), claim_body(_STARTED), revision=2)
        self._store.table.write_bulk([item])
