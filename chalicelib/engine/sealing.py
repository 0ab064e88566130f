"""Sealing a draft: what one transaction is to write.

Finished tasks are packed into pages of neighbouring ordinals; small values stay where they are, middling ones get
records of their own, large ones leave the table as payloads under their content hash. All of it is a pure function of
the draft.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import field
from typing import Final

from chalicelib.data import dataclass, replace
from chalicelib.engine import codec
from chalicelib.engine.draft import Draft
from chalicelib.engine.effects import Effect
from chalicelib.engine.fronts import divided
from chalicelib.engine.history import addition_of
from chalicelib.engine.needs import MissingData, NeedTask
from chalicelib.engine.records import (
    ActionExecution,
    ContextNode,
    Invocation,
    PayloadRef,
    TaskExecution,
    ValueRef,
    WorkflowExecution,
)
from chalicelib.limits import (
    INLINE_VALUE_BYTES_MAX,
    PAGE_BYTES_MAX,
    PAYLOAD_THRESHOLD_BYTES,
    TAIL_BYTES_MAX,
    TAIL_TASKS_MAX,
    TASKS_PER_PAGE_MAX,
)
from chalicelib.vocabulary import Json, Result

HEADER_KEY: Final = "header"
TASK_PREFIX: Final = "task#"
ACTION_PREFIX: Final = "action#"
CONTEXT_PREFIX: Final = "context#"
NOTICE_PREFIX: Final = "notice#"


def task_key(ordinal: int) -> str:
    """The sort key of the page that begins with this task."""
    return f"{TASK_PREFIX}{ordinal:05x}"


def context_key(ordinal: int) -> str:
    """The sort key of the context merged for this task."""
    return f"{CONTEXT_PREFIX}{ordinal:05x}"


def notice_key(number: int) -> str:
    """The sort key of the notices of a turn of which the last has this number."""
    return f"{NOTICE_PREFIX}{number:08x}"


def items_prefix(ordinal: int) -> str:
    """What the sort keys of a with-items task's action executions begin with."""
    return f"{ACTION_PREFIX}{ordinal:05x}#"


def item_key(ordinal: int, number: int) -> str:
    """The sort key of one action execution of a with-items task."""
    return f"{items_prefix(ordinal)}{number:05x}"


def value_key(ordinal: int, number: int) -> str:
    """The sort key of an action's input that is too large for the header."""
    return f"value#{ordinal:05x}#{number:05x}"


def items_value_key(ordinal: int) -> str:
    """The sort key of the lists that a with-items task goes through."""
    return f"value#{ordinal:05x}#items"


def owned_digest(owner: str, data: bytes) -> str:
    """The name of a payload: its owner's, so that it can be deleted with its owner, and its content's hash."""
    return f"{owner}/{hashlib.sha256(data).hexdigest()}"


@dataclass(frozen=True, slots=True)
class Transition:
    """What a turn came to.

    Records to write in one transaction with the header, payloads to store before, effects to dispatch after.

    Records of items come before the header, each for itself: ``singles`` on condition of their revision, ``bulk``
    unconditionally. Without the header that counts them they mean nothing yet. Those that say nothing by themselves go
    ``together`` with it.
    """

    header: WorkflowExecution
    header_body: bytes
    removed: tuple[str, ...]
    records: Mapping[str, bytes]
    bulk: Mapping[str, bytes]
    singles: Mapping[str, tuple[bytes, int]]
    together: Mapping[str, tuple[bytes, int]]
    payloads: Mapping[str, bytes]
    effects: tuple[Effect, ...]
    tasks: Mapping[int, TaskExecution] = field(default_factory=dict)
    pages: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    contexts: Mapping[int, ContextNode] = field(default_factory=dict)
    items: Mapping[int, Mapping[int, ActionExecution]] = field(default_factory=dict)
    values: Mapping[str, Json] = field(default_factory=dict)
    payload_values: Mapping[str, Json] = field(default_factory=dict)


class _Sealer:
    """Collects what leaves the header on the way; ``owner`` is the execution."""

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self.records: dict[str, bytes] = {}
        self.bulk: dict[str, bytes] = {}
        self.singles: dict[str, tuple[bytes, int]] = {}
        self.together: dict[str, tuple[bytes, int]] = {}
        self.payloads: dict[str, bytes] = {}
        self.values: dict[str, Json] = {}
        self.payload_values: dict[str, Json] = {}

    def large_out(self, value: Json) -> Json:
        """The value, or the reference to the payload that it becomes when it is large."""
        if isinstance(value, (PayloadRef, ValueRef)) or _is_small(value):
            return value
        text = _text(value)
        if len(text) <= PAYLOAD_THRESHOLD_BYTES:
            return value
        digest = owned_digest(self.owner, text)
        self.payloads[digest] = zlib.compress(text, 6)
        self.payload_values[digest] = value
        return PayloadRef(digest, len(text))

    def members_out(self, value: Json) -> Json:
        """An object with its large members moved out, and moved out itself if it is still large."""
        if not isinstance(value, dict):
            return self.large_out(value)
        moved = {key: self.large_out(member) for key, member in value.items()}
        inline = {key: member for key, member in moved.items() if not isinstance(member, PayloadRef)}
        if len(inline) == len(moved):
            return self.large_out(value)
        return moved

    def record_out(self, key: str, value: Json) -> Json:
        """The value if it is small, otherwise a reference to the record of its own that it becomes."""
        if isinstance(value, (PayloadRef, ValueRef)):
            return value
        moved = self.members_out(value)
        if isinstance(moved, PayloadRef) or not value:
            return moved
        body = codec.pack_value(moved)
        if len(body) <= INLINE_VALUE_BYTES_MAX:
            return moved
        self.records[key] = body
        self.values[key] = moved
        return ValueRef(key)

    def action_out(self, action: ActionExecution) -> ActionExecution:
        result = action.result
        if result is not None:
            moved = self.large_out(result.value)
            if moved is not result.value:
                result = Result(data=moved) if result.error is None else Result(error=moved, cancel=result.cancel)
        value = self.members_out(action.input)
        base = action.base
        if base is not None:
            base = Invocation(base.name, self.members_out(base.input))
        if result is action.result and value is action.input and base == action.base:
            return action
        return replace(action, input=value, result=result, base=base)

    def waiting_action_out(self, ordinal: int, action: ActionExecution) -> ActionExecution:
        """An action of an unfinished task: its input stays in the header only when it is small."""
        action = self.action_out(action)
        if action.base is not None:
            base_input = self.record_out(value_key(ordinal, action.number) + "#base", action.base.input)
            action = replace(action, base=Invocation(action.base.name, base_input))
        return replace(action, input=self.record_out(value_key(ordinal, action.number), action.input))

    def task_out(self, task: TaskExecution) -> TaskExecution:
        published = self.members_out(task.published)
        context = task.context
        if context is not None:
            context = replace(
                context, variables={key: self.large_out(value) for key, value in context.variables.items()}
            )
        return replace(
            task,
            published=published,
            context=context,
            actions=tuple(self.action_out(action) for action in task.actions),
        )


def seal(draft: Draft, *, wake_at: float | None, now: float) -> Transition:
    """The transition that takes the stored execution to the draft.

    Raises MissingData for a page that must be rewritten and is not loaded.
    """
    # With the moment of birth: a client may choose the id of an execution that was deleted again.
    sealer = _Sealer(f"{draft.header.id}/{round(draft.header.created_at * 1000):x}")
    tasks, pages = _sealed_pages(draft, sealer)
    contexts = {}
    for ordinal, node in draft.contexts.items():
        contexts[ordinal] = replace(node, variables={k: sealer.large_out(v) for k, v in node.variables.items()})
        sealer.records[context_key(ordinal)] = codec.pack_context(contexts[ordinal])
    items = _sealed_items(draft, sealer)
    if draft.notices:
        sealer.records[notice_key(draft.noticed)] = codec.pack_notices(draft.notices)
    paged = {ordinal for page in pages.values() for ordinal in page}
    tail = {o: t for o, t in {**draft.tail, **tasks}.items() if o not in paged and t.page is None}
    header = _sealed_header(draft, sealer, wake_at=wake_at, now=now)
    fronts = divided(draft.header, header.frontier)
    apart = len(header.frontier) - len(fronts.inline)
    header = replace(header, tail=tail, fronts=fronts.buckets, front_tasks=apart)
    header = _with_history(draft, sealer, header, is_alone=not (sealer.records or fronts.records or fronts.removed))
    return Transition(
        header=header,
        header_body=codec.pack_header(replace(header, frontier=fronts.inline)),
        removed=fronts.removed,
        records={**sealer.records, **fronts.records},
        bulk=sealer.bulk,
        singles=sealer.singles,
        together=sealer.together,
        payloads=sealer.payloads,
        effects=tuple(draft.effects),
        tasks=tasks,
        pages=pages,
        contexts=contexts,
        items=items,
        values=sealer.values,
        payload_values=sealer.payload_values,
    )


def _sealed_header(draft: Draft, sealer: _Sealer, *, wake_at: float | None, now: float) -> WorkflowExecution:
    before = draft.header.frontier
    frontier = {
        ordinal: task if before.get(ordinal) is task else _waiting_out(sealer, task)
        for ordinal, task in draft.frontier.items()
    }
    return replace(
        draft.header,
        revision=draft.header.revision + 1,
        state=draft.state,
        state_info=draft.state_info,
        description=draft.description,
        # That others were told is nothing new about an execution that has come to its end.
        updated_at=now if draft.is_news() or not draft.header.state.is_completed else draft.header.updated_at,
        input=sealer.record_out("input", draft.header.input),
        params=sealer.record_out("params", draft.params),
        output=sealer.record_out("output", draft.output),
        variables=sealer.record_out("variables", draft.variables),
        next_ordinal=draft.next_ordinal,
        frontier=frontier,
        seen=draft.seen,
        fired=draft.fired,
        joins=draft.joins,
        named=draft.named,
        ends=draft.ends,
        failures=draft.failures,
        cancellations=draft.cancellations,
        unprocessed=draft.unprocessed,
        backlog=draft.backlog,
        timers=draft.timers,
        stamp=draft.stamp,
        heard=draft.heard,
        wake_at=wake_at,
        reverse_target=draft.reverse_target,
        subscriptions=draft.subscriptions,
        noticed=draft.noticed,
    )


def _with_history(draft: Draft, sealer: _Sealer, header: WorkflowExecution, *, is_alone: bool) -> WorkflowExecution:
    """The header with what this turn adds to the history; ``is_alone``: it would be written without a transaction."""
    addition = addition_of(draft, sealer.large_out, is_alone=is_alone)
    sealer.records |= {key: codec.pack_value(sealer.members_out(value)) for key, value in addition.values.items()}
    # Before the header: a page that no header counts means nothing, and is written over.
    sealer.singles |= {key: (body, 0) for key, body in addition.pages.items()}
    return replace(header, **addition.fields)


def _waiting_out(sealer: _Sealer, task: TaskExecution) -> TaskExecution:
    """An unfinished task as the header keeps it."""
    return replace(
        task,
        published=sealer.members_out(task.published),
        item_values=sealer.record_out(items_value_key(task.ordinal), task.item_values),
        actions=tuple(sealer.waiting_action_out(task.ordinal, action) for action in task.actions),
        context=None if task.context is None else _context_out(sealer, task.context),
    )


def _context_out(sealer: _Sealer, node: ContextNode) -> ContextNode:
    return replace(node, variables={key: sealer.large_out(value) for key, value in node.variables.items()})


def _sealed_items(draft: Draft, sealer: _Sealer) -> dict[int, dict[int, ActionExecution]]:
    sealed: dict[int, dict[int, ActionExecution]] = {}
    for ordinal, actions in draft.items.items():
        known = _next_number_before(draft, ordinal)
        for number, action in actions.items():
            stored = sealer.action_out(action)
            sealed.setdefault(ordinal, {})[number] = stored
            before = draft.loaded.items.get(ordinal, {}).get(number)
            if before == stored:
                continue
            # A record that the header does not know of yet was left by another turn: it is not this one's to replace.
            revision = before.revision if before is not None and number < known else 0
            stored = replace(stored, revision=revision + 1)
            sealed[ordinal][number] = stored
            body = codec.pack_action(stored)
            if number >= known and action.state.is_completed:
                # Born and ended in this turn: only pure actions do, and whoever else decides this writes the same.
                sealer.bulk[item_key(ordinal, number)] = body
            elif number >= known or action.state.is_completed:
                sealer.singles[item_key(ordinal, number)] = (body, revision)
            else:
                sealer.together[item_key(ordinal, number)] = (body, revision)
    return sealed


def _next_number_before(draft: Draft, ordinal: int) -> int:
    """How many action executions a task had when the turn began."""
    header = draft.header
    task = header.frontier.get(ordinal) or header.tail.get(ordinal) or draft.loaded.tasks.get(ordinal)
    return task.next_number if task is not None else 0


def _sealed_pages(draft: Draft, sealer: _Sealer) -> tuple[dict[int, TaskExecution], dict[int, tuple[int, ...]]]:
    """Finished tasks, packed by runs of neighbours; a task that was on a page before is rewritten on that page."""
    sealed = {ordinal: sealer.task_out(task) for ordinal, task in sorted(draft.finished.items())}
    fresh = [task for task in ({**draft.tail, **sealed}).values() if task.page is None]
    fresh.sort(key=lambda task: task.ordinal)
    pages = {}
    for first in sorted({task.page for task in sealed.values() if task.page is not None}):
        if first not in draft.loaded.pages:
            raise MissingData(NeedTask(first))
        ordinals = draft.loaded.pages[first]
        page = [sealed.get(ordinal) or draft.loaded.tasks[ordinal] for ordinal in ordinals]
        sealer.records[task_key(first)] = codec.pack_tasks(page)
        pages[first] = ordinals
    for page in [] if _fits_the_tail(draft, sealer, fresh) else _runs(fresh):
        first = page[0].ordinal
        sealer.records[task_key(first)] = codec.pack_tasks(page)
        pages[first] = tuple(task.ordinal for task in page)
        sealed.update({task.ordinal: replace(task, page=first) for task in page})
    return sealed, pages


def _fits_the_tail(draft: Draft, sealer: _Sealer, fresh: list[TaskExecution]) -> bool:
    """Whether finished tasks may stay in the header for now.

    They are few and small, and nothing else asks for a transaction anyway.
    """
    if sealer.records or draft.contexts or len(fresh) > TAIL_TASKS_MAX:
        return False
    return sum(map(_weight, fresh)) <= TAIL_BYTES_MAX


def _runs(tasks: Iterable[TaskExecution]) -> Iterable[list[TaskExecution]]:
    """Runs of neighbouring ordinals, each no larger than a page may be."""
    run: list[TaskExecution] = []
    size = 0
    for task in tasks:
        weight = _weight(task)
        if run and (
            task.ordinal != run[-1].ordinal + 1 or len(run) >= TASKS_PER_PAGE_MAX or size + weight > PAGE_BYTES_MAX
        ):
            yield run
            run, size = [], 0
        run.append(task)
        size += weight
    if run:
        yield run


def _weight(task: TaskExecution) -> int:
    """Roughly how many bytes a task takes, without encoding it."""
    parts = [
        task.published,
        task.state_info,
        *(a.input for a in task.actions),
        *(a.result and a.result.value for a in task.actions),
    ]
    if task.context is not None:
        parts.append(dict(task.context.variables))
    return 200 + sum(
        len(part) if isinstance(part, str) else 0 if _is_small(part) else len(_text(part)) for part in parts
    )


def _is_small(value: Json) -> bool:
    """Whether a value is small beyond doubt."""
    if value is None or isinstance(value, (bool, int, float, PayloadRef, ValueRef)):
        return True
    if isinstance(value, str):
        return len(value) < PAYLOAD_THRESHOLD_BYTES // 8
    if isinstance(value, (dict, list)) and len(value) < 32:
        members = value.values() if isinstance(value, dict) else value
        return all(member is None or isinstance(member, (bool, int, float)) or _is_short(member) for member in members)
    return False


def _is_short(member: Json) -> bool:
    return isinstance(member, (PayloadRef, ValueRef)) or (isinstance(member, str) and len(member) < 128)


def _text(value: Json) -> bytes:
    return json.dumps(codec.encode_members(value), separators=(",", ":"), ensure_ascii=False, default=str).encode(
        "utf-8", "surrogatepass"
    )


def payload_value(text: bytes) -> Json:
    """The value of a stored payload."""
    return json.loads(zlib.decompress(text).decode("utf-8", "surrogatepass"))
