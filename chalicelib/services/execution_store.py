"""Executions in the table: one transaction per transition, records loaded as decisions ask for them.

Knows the keys and indexes of the ``executions`` table and nothing of AWS: it works on any ``Table``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from chalicelib.data import replace
from chalicelib.engine import codec
from chalicelib.engine.draft import Loaded, effective_action, effective_actions
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
from chalicelib.engine.records import ActionExecution, Notice, PayloadRef, TaskExecution, ValueRef, WorkflowExecution
from chalicelib.engine.sealing import (
    ACTION_PREFIX,
    HEADER_KEY,
    NOTICE_PREFIX,
    TASK_PREFIX,
    Transition,
    context_key,
    item_key,
    items_prefix,
    notice_key,
    owned_digest,
    payload_value,
    task_key,
)
from chalicelib.errors import ConflictException, NotFoundException
from chalicelib.limits import RECORD_BYTES_MAX
from chalicelib.services.execution_places import places_of
from chalicelib.services.ports import Delete, IndexEntry, Item, Payloads, Put, Table, Write, are_written
from chalicelib.vocabulary import Json

PARKED_PREFIX: Final = "parked#"
_ELSEWHERE: Final = b"@"
_READS_MAX: Final = 8
# How many pages of tasks, and how many items, a list reads at once.
_PAGES_READ_FIRST: Final = 2
_PAGES_READ: Final = 20
_ITEMS_READ_FIRST: Final = 20
_ITEMS_READ: Final = 100
# Behind every hexadecimal digit.
_LAST: Final = "g"
_NOTICE_ITEMS_READ: Final = 10
_ITEMS_DELETED_AT_ONCE: Final = 500


class ExecutionStore:
    """Reads and writes executions; with ``lists_ended`` those that have ended are listed for their expiration."""

    def __init__(self, table: Table, payloads: Payloads, *, lists_ended: bool = False) -> None:
        self.table = table
        self.payloads = payloads
        self._lists_ended = lists_ended

    # -- writing

    def save(self, transition: Transition) -> None:
        """Write a transition: payloads, then new items, then all else in one transaction. Raises ConflictException."""
        header = transition.header
        for digest, data in transition.payloads.items():
            self.payloads.put(digest, data)
        if transition.bulk:
            self.table.write_bulk(self._item(header.id, key, body, 1) for key, body in transition.bulk.items())
        together: list[Write] = [
            Put(self._item(header.id, key, body, expected + 1), expected=expected)
            for key, (body, expected) in transition.together.items()
        ]
        alone: list[Item] = []
        left: dict[str, Item] = {}
        for key, (body, expected) in transition.singles.items():
            if key not in left:
                try:
                    alone.append(self._write_single(header.id, key, body, expected))
                    continue
                except ConflictException:
                    if expected:
                        raise
                left = self.table.get(header.id, [new for new, (_, known) in transition.singles.items() if not known])
            together.append(self._taken_over(header.id, key, body, left.get(key)))
        writes: list[Write] = [
            Put(
                Item(
                    header.id,
                    HEADER_KEY,
                    self._body_in(header.id, transition.header_body),
                    revision=header.revision,
                    indexes=places_of(header, lists_ended=self._lists_ended),
                ),
                expected=header.revision - 1,
            )
        ]
        records = {key: self._body_in(header.id, body) for key, body in transition.records.items()}
        writes += [Put(Item(header.id, key, body)) for key, body in records.items()]
        writes += [Delete(header.id, key) for key in transition.removed]
        try:
            self.table.write(writes + together)
        except ConflictException:
            # Who runs what may stand in any of these, and differ although the headers are the same.
            puts = [write.item for write in (*writes, *together) if isinstance(write, Put)]
            if not are_written(self.table, puts + alone):
                raise

    def place_anew(self, execution_id: str) -> None:
        """Bring an execution into the indexes where it belongs now; nothing else of it changes."""
        item = self.table.get(execution_id, [HEADER_KEY]).get(HEADER_KEY)
        if item is None:
            return
        places = places_of(codec.unpack_header(self.body_of(item)), lists_ended=self._lists_ended)
        if places == item.indexes:
            return
        try:
            self.table.write([Put(replace(item, indexes=places), expected=item.revision)])
        except ConflictException:
            # Whoever was faster has brought it there.
            return

    def _write_single(self, execution_id: str, key: str, body: bytes, expected: int) -> Item:
        item = self._item(execution_id, key, body, expected + 1)
        self.table.write([Put(item, expected=expected)])
        return item

    def _item(self, execution_id: str, key: str, body: bytes, revision: int) -> Item:
        return Item(execution_id, key, self._body_in(execution_id, body), revision=revision)

    def _taken_over(self, execution_id: str, key: str, body: bytes, left: Item | None) -> Put:
        """The write of a new item whose record is there already, left by a turn that was lost.

        It goes with the header: only whoever wins may replace what another turn, and by now its executor, may be using.
        """
        is_action = key.startswith(ACTION_PREFIX)
        if left is None or (is_action and codec.unpack_action(self.body_of(left)).state.is_completed):
            raise ConflictException(f"Item {key} of execution {execution_id} was finished elsewhere.")
        return Put(self._item(execution_id, key, body, left.revision + 1), expected=left.revision)

    def write_item(self, execution_id: str, ordinal: int, action: ActionExecution) -> ActionExecution:
        """Write an item's record in place of the revision that it was read with. Raises ConflictException."""
        stored = replace(action, revision=action.revision + 1)
        self._write_single(execution_id, item_key(ordinal, action.number), codec.pack_action(stored), action.revision)
        return stored

    def _action_of(self, item: Item) -> ActionExecution:
        return replace(codec.unpack_action(self.body_of(item)), revision=item.revision)

    def _body_in(self, execution_id: str, body: bytes) -> bytes:
        """A body too large for an item goes where large values go, whatever it is."""
        if len(body) <= RECORD_BYTES_MAX:
            return body
        digest = owned_digest(execution_id, body)
        self.payloads.put(digest, body)
        return _ELSEWHERE + digest.encode()

    def body_of(self, item: Item) -> bytes:
        """The body of a record, wherever it lives."""
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
            header = codec.unpack_header(self.body_of(item))
            if not header.fronts:
                return header
            pages = [self.body_of(page) for page in self.table.query(execution_id, prefix=FRONT_PREFIX)]
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
        header = codec.unpack_header(self.body_of(item))
        if not header.fronts or ordinal in header.frontier:
            return header
        key = bucket_key(ordinal)
        page = self.table.get(execution_id, [key]).get(key)
        frontier = united(header.frontier, [] if page is None else [self.body_of(page)])
        # Not on its page: it has finished, or the frontier was stored anew between the two reads.
        return replace(header, frontier=frontier) if ordinal in frontier else self.header(execution_id)

    def headers(self, execution_ids: Iterable[str]) -> dict[str, WorkflowExecution]:
        """The headers of many executions, as they were a moment ago; of a wide frontier, what stands in the header."""
        found = self.table.get_many([(execution_id, HEADER_KEY) for execution_id in execution_ids])
        return {partition: codec.unpack_header(self.body_of(item)) for (partition, _), item in found.items()}

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
        tasks = codec.unpack_tasks(self.body_of(item))
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
            body = self.body_of(found[key])
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

    def tasks_in_order(
        self, header: WorkflowExecution, *, after: int | None = None, descending: bool = False
    ) -> Iterator[TaskExecution]:
        """Task executions by their ordinals, which is in order of creation, read as far as they are asked for."""
        here = {**header.tail, **header.frontier}
        beyond = [at for at in here if after is None or (at < after if descending else at > after)]
        waiting = deque(sorted(beyond, reverse=descending))
        for task in self._stored_tasks(header.id, after, descending):
            while waiting and (waiting[0] > task.ordinal if descending else waiting[0] < task.ordinal):
                yield here[waiting.popleft()]
            # Of two records of a task the one in the header is the later.
            if task.ordinal not in here:
                yield task
        yield from (here[ordinal] for ordinal in waiting)

    def _stored_tasks(self, execution_id: str, after: int | None, descending: bool) -> Iterator[TaskExecution]:
        """The tasks on pages; a page holds those from its own ordinal up to the next page's."""
        start, end = TASK_PREFIX, TASK_PREFIX + _LAST
        if after is not None and descending:
            end = task_key(after)
        elif after is not None:
            first = self.table.query(execution_id, start=TASK_PREFIX, end=task_key(after), descending=True, limit=1)
            start = first[0].key if first else TASK_PREFIX
        pages_max = _PAGES_READ_FIRST
        while True:
            pages = self.table.query(execution_id, start=start, end=end, descending=descending, limit=pages_max)
            for page in pages:
                tasks = codec.unpack_tasks(self.body_of(page))
                for task in sorted(tasks, key=lambda task: task.ordinal, reverse=descending):
                    if after is None or (task.ordinal < after if descending else task.ordinal > after):
                        yield task
            if len(pages) < pages_max:
                return
            pages_max = _PAGES_READ
            last = pages[-1].key
            # What is next to a key: one that only goes on with the least character, and the one before in number.
            start, end = (start, _key_before(last)) if descending else (last + "\0", end)

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

    def items_in_order(
        self, header: WorkflowExecution, task: TaskExecution, *, after: int | None = None, descending: bool = False
    ) -> Iterator[ActionExecution]:
        """The action executions of a with-items task by their numbers, read as far as they are asked for."""
        low, high = 0, task.next_number - 1
        if after is not None:
            low, high = (low, min(high, after - 1)) if descending else (after + 1, high)
        wanted = _ITEMS_READ_FIRST
        while low <= high:
            start, end = item_key(task.ordinal, low), item_key(task.ordinal, high)
            items = self.table.query(header.id, start=start, end=end, descending=descending, limit=wanted)
            actions = [self._action_of(item) for item in items]
            yield from (effective_action(task, action) for action in actions)
            if len(items) < wanted:
                return
            wanted = _ITEMS_READ
            low, high = (low, actions[-1].number - 1) if descending else (actions[-1].number + 1, high)

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
            return self.value(execution_id, codec.unpack_value(self.body_of(item)))
        if isinstance(value, dict) and any(isinstance(member, (PayloadRef, ValueRef)) for member in value.values()):
            return {key: self.value(execution_id, member) for key, member in value.items()}
        return value

    def notices(self, execution_id: str, after: int) -> list[Notice]:
        """The next notices beyond a number, in order; none when there are no more."""
        first, last = notice_key(after + 1), f"{NOTICE_PREFIX}~"
        items = self.table.query(execution_id, start=first, end=last, limit=_NOTICE_ITEMS_READ)
        found = [notice for item in items for notice in codec.unpack_notices(self.body_of(item))]
        return [notice for notice in found if notice.number > after]

    def record_value(self, execution_id: str, key: str) -> Json:
        """The value of a record of its own, with everything in it that lives elsewhere. Raises NotFoundException."""
        return self.value(execution_id, ValueRef(key))

    # -- deleting

    def delete(self, header: WorkflowExecution, has_time: Callable[[], bool] = lambda: True) -> bool:
        """Remove every record and every payload of one execution; whether all are gone, or the time was over.

        The header goes last, so that an interrupted deletion can be repeated.
        """
        while items := self.table.query(header.id, limit=_ITEMS_DELETED_AT_ONCE):
            rest = [(item.partition, item.key) for item in items if item.key != HEADER_KEY]
            if not rest:
                break
            if not has_time():
                return False
            self.table.write_bulk([], rest)
            if len(items) < _ITEMS_DELETED_AT_ONCE:
                break
        self.payloads.delete_all(header.id)
        self.table.write_bulk([], [(header.id, HEADER_KEY)])
        return True


def _key_before(key: str) -> str:
    """The greatest key that a page of tasks before this one can have."""
    return task_key(int(key.removeprefix(TASK_PREFIX), 16) - 1)
