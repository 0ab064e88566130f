"""Executions in the table: one transaction per transition, records loaded as decisions ask for them.

Knows the keys and indexes of the ``executions`` table and nothing of AWS: it works on any ``Table``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from chalicelib.engine import codec
from chalicelib.engine.draft import Loaded, effective_actions
from chalicelib.engine.fronts import FRONT_PREFIX, bucket_key, united
from chalicelib.engine.needs import (
    Need,
    NeedAllTasks,
    NeedContext,
    NeedItem,
    NeedItems,
    NeedPayload,
    NeedTask,
    NeedValue,
)
from chalicelib.engine.records import ActionExecution, PayloadRef, TaskExecution, ValueRef, WorkflowExecution
from chalicelib.engine.sealing import (
    HEADER_KEY,
    TASK_PREFIX,
    Transition,
    context_key,
    item_key,
    items_prefix,
    payload_value,
    task_key,
)
from chalicelib.errors import ConflictException, NotFoundException
from chalicelib.limits import RECORD_BYTES_MAX
from chalicelib.services.ports import (
    INDEX_ALARM,
    INDEX_LISTING,
    INDEX_ROOT,
    INDEX_WORKFLOW,
    Delete,
    IndexEntry,
    IndexKey,
    Item,
    Payloads,
    Put,
    Table,
    Write,
)
from chalicelib.vocabulary import Json

ALARM_SHARDS: Final = 8
PARKED_PREFIX: Final = "parked#"
_ELSEWHERE: Final = b"@"
_READS_MAX: Final = 8


def sort_of(moment: float, execution_id: str) -> str:
    """The place of an execution in an index that is ordered by time."""
    return f"{moment:017.3f}|{execution_id}"


def listing_value(project_id: str, state: str) -> str:
    """The value of the listing index: executions of a project in a state."""
    return f"{project_id}|{state}"


def workflow_value(project_id: str, workflow_name: str) -> str:
    """The value of the workflow index: executions of a project and a workflow."""
    return f"{project_id}|{workflow_name}"


def alarm_value(shard: int) -> str:
    """The value of the alarm index: unfinished executions by shard."""
    return f"alarm|{shard}"


def _indexes(header: WorkflowExecution) -> dict[str, IndexKey]:
    created = sort_of(header.created_at, header.id)
    indexes = {
        INDEX_LISTING: IndexKey(listing_value(header.project_id, header.state), created),
        INDEX_WORKFLOW: IndexKey(workflow_value(header.project_id, header.workflow_name), created),
    }
    if header.root_execution_id is not None:
        indexes[INDEX_ROOT] = IndexKey(header.root_execution_id, created)
    if header.wake_at is not None:
        shard = int(header.id[:2], 16) % ALARM_SHARDS
        indexes[INDEX_ALARM] = IndexKey(alarm_value(shard), sort_of(header.wake_at, header.id))
    return indexes


class ExecutionStore:
    """Reads and writes executions."""

    def __init__(self, table: Table, payloads: Payloads) -> None:
        self.table = table
        self.payloads = payloads

    # -- writing

    def save(self, transition: Transition) -> None:
        """Write a transition: payloads first, then new items, then everything else in one transaction.

        Raises ConflictException when the stored header is not of the revision that the transition started from.
        """
        header = transition.header
        for digest, data in transition.payloads.items():
            self.payloads.put(digest, data)
        if transition.bulk:
            self.table.write_bulk(
                Item(header.id, key, self._body_in(body), revision=1) for key, body in transition.bulk.items()
            )
        together: list[Write] = [
            Put(Item(header.id, key, self._body_in(body), revision=expected + 1), expected=expected)
            for key, (body, expected) in transition.together.items()
        ]
        for key, (body, expected) in transition.singles.items():
            try:
                self._write_single(header.id, key, body, expected)
            except ConflictException:
                if expected:
                    raise
                together.append(self._taken_over(header.id, key, body))
        writes: list[Write] = [
            Put(
                Item(
                    header.id,
                    HEADER_KEY,
                    self._body_in(transition.header_body),
                    revision=header.revision,
                    indexes=_indexes(header),
                ),
                expected=header.revision - 1,
            )
        ]
        writes += [Put(Item(header.id, key, self._body_in(body))) for key, body in transition.records.items()]
        writes += [Delete(header.id, key) for key in transition.removed]
        self.table.write(writes + together)

    def _write_single(self, execution_id: str, key: str, body: bytes, expected: int) -> None:
        item = Item(execution_id, key, self._body_in(body), revision=expected + 1)
        self.table.write([Put(item, expected=expected)])

    def _taken_over(self, execution_id: str, key: str, body: bytes) -> Put:
        """The write of a new item whose record is there already, left by a turn that was lost.

        It goes with the header: only whoever wins may replace what another turn, and by now its executor, may be using.
        """
        left = self.table.get(execution_id, [key]).get(key)
        if left is None or codec.unpack_action(self._body_out(left)).state.is_completed:
            raise ConflictException(f"Item {key} of execution {execution_id} was finished elsewhere.")
        return Put(Item(execution_id, key, self._body_in(body), revision=left.revision + 1), expected=left.revision)

    def write_item(self, execution_id: str, ordinal: int, action: ActionExecution) -> ActionExecution:
        """Write an item's record in place of the revision that it was read with. Raises ConflictException."""
        stored = replace(action, revision=action.revision + 1)
        self._write_single(execution_id, item_key(ordinal, action.number), codec.pack_action(stored), action.revision)
        return stored

    def _action_of(self, item: Item) -> ActionExecution:
        return replace(codec.unpack_action(self._body_out(item)), revision=item.revision)

    def _body_in(self, body: bytes) -> bytes:
        """A body too large for an item goes where large values go, whatever it is."""
        if len(body) <= RECORD_BYTES_MAX:
            return body
        digest = hashlib.sha256(body).hexdigest()
        self.payloads.put(digest, body)
        return _ELSEWHERE + digest.encode()

    def _body_out(self, item: Item) -> bytes:
        if item.body[:1] == _ELSEWHERE:
            return self.payloads.get(item.body[1:].decode())
        return item.body

    # -- headers

    def header(self, execution_id: str) -> WorkflowExecution | None:
        """The header of an execution, as it is now, with its whole frontier.

        Raises ConflictException if a wide frontier changes faster than it can be read.
        """
        for _ in range(_READS_MAX):
            item = self.table.get(execution_id, [HEADER_KEY]).get(HEADER_KEY)
            if item is None:
                return None
            header = codec.unpack_header(self._body_out(item))
            if not header.fronts:
                return header
            pages = [self._body_out(page) for page in self.table.query(execution_id, prefix=FRONT_PREFIX)]
            frontier = united(header.frontier, pages)
            # Header and pages are written together but not read together: a turn may have been committed between.
            if len(frontier) == len(header.frontier) + header.front_tasks:
                return replace(header, frontier=frontier)
        raise ConflictException(f"Execution {execution_id} changes too fast to be read; try again.")

    def glimpse(self, execution_id: str, ordinal: int) -> WorkflowExecution | None:
        """The header as it is now; of a wide frontier, at least the page on which this task is, if it is unfinished."""
        item = self.table.get(execution_id, [HEADER_KEY]).get(HEADER_KEY)
        if item is None:
            return None
        header = codec.unpack_header(self._body_out(item))
        if not header.fronts or ordinal in header.frontier:
            return header
        key = bucket_key(ordinal)
        page = self.table.get(execution_id, [key]).get(key)
        frontier = united(header.frontier, [] if page is None else [self._body_out(page)])
        # Not on its page: it has finished, or the frontier was stored anew between the two reads.
        return replace(header, frontier=frontier) if ordinal in frontier else self.header(execution_id)

    def headers(self, execution_ids: Iterable[str]) -> dict[str, WorkflowExecution]:
        """The headers of many executions, as they were a moment ago; of a wide frontier, what stands in the header."""
        found = self.table.get_many([(execution_id, HEADER_KEY) for execution_id in execution_ids])
        return {partition: codec.unpack_header(self._body_out(item)) for (partition, _), item in found.items()}

    def list_index(
        self,
        index: str,
        value: str,
        *,
        after: str | None = None,
        until: str | None = None,
        descending: bool = False,
        limit: int,
    ) -> list[IndexEntry]:
        """Entries of one of the executions' indexes, in order."""
        return self.table.list_index(index, value, after=after, until=until, descending=descending, limit=limit)

    # -- what decisions need

    def load(self, header: WorkflowExecution, loaded: Loaded, needs: Sequence[Need]) -> list[Need]:
        """Meet the needs that are records of this execution; give back the others."""
        others: list[Need] = []
        keys: dict[str, Need] = {}
        for need in needs:
            match need:
                case NeedTask():
                    self._load_page(header.id, loaded, need.ordinal)
                case NeedAllTasks():
                    self._load_pages(header.id, loaded)
                case NeedItems():
                    self._load_items(header.id, loaded, need.ordinal)
                case NeedContext():
                    keys[context_key(need.ordinal)] = need
                case NeedValue():
                    keys[need.key] = need
                case NeedItem():
                    keys[item_key(need.ordinal, need.number)] = need
                case NeedPayload():
                    loaded.payloads[need.digest] = payload_value(self.payloads.get(need.digest))
                case _:
                    others.append(need)
        if keys:
            self._load_keys(header.id, loaded, keys)
        return others

    def _load_page(self, execution_id: str, loaded: Loaded, ordinal: int) -> None:
        items = self.table.query(execution_id, start=TASK_PREFIX, end=task_key(ordinal), descending=True, limit=1)
        if items:
            self._take_page(loaded, items[0])
        if ordinal not in loaded.tasks:
            raise NotFoundException(f"The record of task {ordinal} of execution {execution_id} is missing.")

    def _load_pages(self, execution_id: str, loaded: Loaded) -> None:
        for item in self.table.query(execution_id, prefix=TASK_PREFIX):
            self._take_page(loaded, item)
        loaded.has_all_tasks = True

    def _take_page(self, loaded: Loaded, item: Item) -> None:
        tasks = codec.unpack_tasks(self._body_out(item))
        first = int(item.key.removeprefix(TASK_PREFIX), 16)
        loaded.pages[first] = tuple(task.ordinal for task in tasks)
        for task in tasks:
            loaded.tasks[task.ordinal] = replace(task, page=first)

    def _load_items(self, execution_id: str, loaded: Loaded, ordinal: int) -> None:
        known = loaded.items.setdefault(ordinal, {})
        for item in self.table.query(execution_id, prefix=items_prefix(ordinal)):
            action = self._action_of(item)
            known.setdefault(action.number, action)
        loaded.all_items.add(ordinal)

    def _load_keys(self, execution_id: str, loaded: Loaded, keys: dict[str, Need]) -> None:
        found = self.table.get(execution_id, list(keys))
        for key, need in keys.items():
            if key not in found:
                raise NotFoundException(f"The record {key} of execution {execution_id} is missing.")
            body = self._body_out(found[key])
            match need:
                case NeedContext():
                    loaded.contexts[need.ordinal] = codec.unpack_context(body)
                case NeedValue():
                    loaded.values[need.key] = codec.unpack_value(body)
                case NeedItem():
                    loaded.items.setdefault(need.ordinal, {})[need.number] = self._action_of(found[key])
                case _:
                    raise AssertionError(need)

    # -- reading for the API

    def tasks(self, header: WorkflowExecution) -> list[TaskExecution]:
        """Every task execution, finished or not, in order of creation."""
        loaded = Loaded()
        self._load_pages(header.id, loaded)
        known = {**loaded.tasks, **header.tail, **header.frontier}
        return [known[ordinal] for ordinal in sorted(known)]

    def task(self, header: WorkflowExecution, ordinal: int) -> TaskExecution | None:
        """One task execution; ``None`` if there is none with this ordinal."""
        here = header.frontier.get(ordinal) or header.tail.get(ordinal)
        if here is not None:
            return here
        if not 0 < ordinal < header.next_ordinal:
            return None
        loaded = Loaded()
        try:
            self._load_page(header.id, loaded, ordinal)
        except NotFoundException:
            return None
        return loaded.tasks[ordinal]

    def actions(self, header: WorkflowExecution, task: TaskExecution) -> list[ActionExecution]:
        """The action executions of a task (its sub-workflows among them), in order of their numbers."""
        if not task.has_items:
            return sorted(task.actions, key=lambda action: action.number)
        items = self.table.query(header.id, prefix=items_prefix(task.ordinal))
        actions = [self._action_of(item) for item in items]
        # A lost turn may have left records of items that the task does not know of: they were never released.
        return effective_actions(task, [action for action in actions if action.number < task.next_number])

    def action(
        self, header: WorkflowExecution, task: TaskExecution, number: int, *, is_fresh: bool = True
    ) -> ActionExecution | None:
        """One action execution of a task; of an item, perhaps as it was a moment ago if it need not be fresh."""
        if not task.has_items:
            return next((action for action in task.actions if action.number == number), None)
        if number >= task.next_number:
            return None
        key = item_key(task.ordinal, number)
        item = self.table.get(header.id, [key], consistent=is_fresh).get(key)
        return None if item is None else self._action_of(item)

    def value(self, execution_id: str, value: Json) -> Json:
        """The data behind a value that may be a reference, or an object of which members may be."""
        if isinstance(value, PayloadRef):
            return payload_value(self.payloads.get(value.digest))
        if isinstance(value, ValueRef):
            item = self.table.get(execution_id, [value.key]).get(value.key)
            if item is None:
                raise NotFoundException(f"The record {value.key} of execution {execution_id} is missing.")
            return self.value(execution_id, codec.unpack_value(self._body_out(item)))
        if isinstance(value, dict) and any(isinstance(member, (PayloadRef, ValueRef)) for member in value.values()):
            return {key: self.value(execution_id, member) for key, member in value.items()}
        return value

    # -- deleting

    def delete(self, header: WorkflowExecution) -> None:
        """Remove every record of one execution, its header last, so that an interrupted deletion can be repeated."""
        while items := self.table.query(header.id, limit=500):
            rest = [(item.partition, item.key) for item in items if item.key != HEADER_KEY]
            if not rest:
                break
            self.table.write_bulk([], rest)
        self.table.write_bulk([], [(header.id, HEADER_KEY)])
