"""with-items: one action execution or sub-workflow per item, as many at once as ``concurrency`` allows.

Progress is kept as bit sets over item indexes, so that ten thousand items cost a header no more than a few.
"""

from __future__ import annotations

from collections.abc import Iterable

from chalicelib import policies
from chalicelib.data import replace
from chalicelib.engine.agenda import CompleteTask
from chalicelib.engine.draft import Draft, is_counted
from chalicelib.engine.invocations import schedule
from chalicelib.engine.plain import plain
from chalicelib.engine.records import ActionExecution, ItemsProgress, TaskExecution
from chalicelib.engine.scope import ContextLayer, task_scope
from chalicelib.engine.world import Engine, evaluate
from chalicelib.errors import InputException
from chalicelib.limits import TURN_RECORDS_MAX
from chalicelib.vocabulary import JsonObject, State


def run(engine: Engine, draft: Draft, task: TaskExecution) -> None:
    """Start the items that may start now. Raises TaskFailure, MistralError, MissingData."""
    if task.items is not None and _startable_count(task.items) == 0:
        _end_if_nothing_runs(draft, task, task.items)
        return
    lists = _item_lists(engine, draft, task)
    count = len(next(iter(lists.values())))
    progress = task.items or ItemsProgress(
        count, task.concurrency, tolerated_percentage=_tolerated(engine, draft, task), first_number=task.next_number
    )
    if count != progress.count:
        raise InputException(f"with-items of task '{task.name}' had {progress.count} items, and now there are {count}.")
    for index in _startable(progress):
        if draft.touched >= TURN_RECORDS_MAX:
            draft.starts.append(task.ordinal)
            break
        item = {name: values[index] for name, values in lists.items()}
        # A variable of the same name that the task received wins over the item's: so it is on Mistral.
        received = ContextLayer(draft, task.in_context)
        item = {name: received.get(name, value) for name, value in item.items()}
        task = schedule(engine, draft, task, number=task.next_number, index=index, item=item)
        progress = replace(progress, started=progress.started | 1 << index)
    _keep_progress(draft, task, progress, lists)


def _keep_progress(draft: Draft, task: TaskExecution, progress: ItemsProgress, lists: JsonObject) -> None:
    """Items that wait to start keep their values.

    What was counted is what runs, whatever the expressions say by then.
    """
    if progress.started.bit_count() == progress.count:
        task = draft.put(task, items=progress, item_values=None)
    elif task.item_values is None:
        task = draft.put(task, items=progress, item_values=lists)
        draft.kept_apart[task.ordinal] = 1
    else:
        task = draft.put(task, items=progress)
    _end_if_nothing_runs(draft, task, progress)


def _end_if_nothing_runs(draft: Draft, task: TaskExecution, progress: ItemsProgress) -> None:
    """No items at all, or all of them have ended already.

    A join that is reached once more ends with the results it has.
    """
    if progress.finished.bit_count() == progress.count and (verdict := _verdict(progress)) is not None:
        draft.then(CompleteTask(task.ordinal, *verdict))


def _startable_count(progress: ItemsProgress) -> int:
    missing = progress.count - progress.started.bit_count()
    running = (progress.started & ~progress.finished).bit_count()
    return missing if progress.concurrency is None else max(0, min(missing, progress.concurrency - running))


def _startable(progress: ItemsProgress) -> Iterable[int]:
    capacity = _startable_count(progress)
    missing = ~progress.started & ((1 << progress.count) - 1)
    while missing and capacity > 0:
        index = (missing & -missing).bit_length() - 1
        missing &= missing - 1
        capacity -= 1
        yield index


def _item_lists(engine: Engine, draft: Draft, task: TaskExecution) -> JsonObject:
    """The lists to go through, by variable: those that were kept, or else evaluated.

    Raises InputException, EvaluationException.
    """
    if task.item_values is not None:
        return draft.resolve_object(task.item_values)
    spec = engine.plan.spec.tasks[task.name].with_items or {}
    evaluated = evaluate(engine, draft, dict(spec), task_scope(draft, task), task)
    lists: JsonObject = {}
    for name, values in evaluated.items():
        if not isinstance(values, Iterable):
            raise InputException(
                f"Wrong input format for: {name}. Iterable type is expected for each value, "
                f"found {type(values).__name__}."
            )
        lists[name] = plain(list(values))
    if len({len(values) for values in lists.values()}) > 1:
        sizes = ", ".join(f"{name}: {len(values)}" for name, values in lists.items())
        raise InputException(
            f"Wrong input format for with-items. All arrays must have the same length. Lengths: {sizes}."
        )
    return lists


def _tolerated(engine: Engine, draft: Draft, task: TaskExecution) -> float | None:
    raw = engine.plan.spec.tasks[task.name].tolerated_failure_percentage
    if raw is None:
        return None
    value = evaluate(engine, draft, raw, task_scope(draft, task), task) if isinstance(raw, str) else raw
    return policies.number("WithItems", "tolerated-failure-percentage", value, minimum=0, maximum=100)


def finish(engine: Engine, draft: Draft, task: TaskExecution, action: ActionExecution) -> None:
    """An item has come to its result: start others, or end the task. Raises TaskFailure, MistralError, MissingData."""
    progress = task.items
    assert progress is not None, "a result that is_counted says no of belongs to a task that counts"
    bit = 1 << action.index
    progress = replace(
        progress,
        finished=progress.finished | bit,
        failed=progress.failed | bit if action.state is State.ERROR else progress.failed & ~bit,
        cancelled=progress.cancelled | bit if action.state is State.CANCELLED else progress.cancelled & ~bit,
    )
    task = draft.put(task, items=progress)
    verdict = _verdict(progress)
    if verdict is not None:
        draft.then(CompleteTask(task.ordinal, *verdict))
    elif progress.concurrency is not None and not draft.is_paused:
        run(engine, draft, task)


def _verdict(progress: ItemsProgress) -> tuple[State, str | None] | None:
    if progress.cancelled:
        return State.CANCELLED, "One or more actions was cancelled."
    if progress.finished.bit_count() < progress.count:
        return None
    failed = progress.failed.bit_count()
    tolerated = progress.tolerated_percentage
    if failed and (tolerated is None or failed * 100 > tolerated * progress.count):
        return State.ERROR, "One or more actions had failed."
    return State.SUCCESS, None


def uncounted(draft: Draft, task: TaskExecution) -> list[ActionExecution]:
    """Items whose records were finished by a process that died before the header counted them. Raises MissingData."""
    if task.items is None or task.items.started == task.items.finished:
        return []
    return [
        action
        for action in draft.actions(task)
        if action.state.is_completed and action.result is not None and not is_counted(task, action)
    ]


def reset_failed(task: TaskExecution) -> ItemsProgress | None:
    """Progress with just the failed and cancelled items to be run again."""
    progress = task.items
    if progress is None:
        return None
    again = progress.failed | progress.cancelled
    return replace(
        progress,
        started=progress.started & ~again,
        finished=progress.finished & ~again,
        failed=0,
        cancelled=0,
        repeated=progress.repeated | again,
        first_number=task.next_number,
    )
