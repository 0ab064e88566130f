"""Notices: what an execution tells its publishers about itself (Mistral's ``notify``).

Reference: Mistral's notifiers/notification_events.py, engine/workflows.py, engine/tasks.py.

Every change of a state, or of what is said about it, is an event. The draft numbers those that a publisher wants, in
the order in which they happened, and they are stored in one transaction with what they tell of: so none is told that
did not happen, and none is forgotten. An execution without publishers has none, and pays nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from chalicelib.engine.identity import task_id
from chalicelib.engine.moment import timestamp
from chalicelib.engine.records import Notice, Subscription, TaskExecution, WorkflowExecution
from chalicelib.errors import InputException
from chalicelib.limits import PUBLISHERS_MAX
from chalicelib.vocabulary import Json, JsonObject, State

PUBLISHER_TYPES: Final = frozenset({"webhook", "eventbridge", "sns", "noop"})

_WORKFLOW: Final[Mapping[State, str]] = {
    State.RUNNING: "WORKFLOW_LAUNCHED",
    State.SUCCESS: "WORKFLOW_SUCCEEDED",
    State.ERROR: "WORKFLOW_FAILED",
    State.CANCELLED: "WORKFLOW_CANCELLED",
    State.PAUSED: "WORKFLOW_PAUSED",
}
_WORKFLOW_RUNS_AGAIN: Final[Mapping[State, str]] = {
    State.PAUSED: "WORKFLOW_RESUMED",
    State.ERROR: "WORKFLOW_RERUN",
}
_TASK: Final[Mapping[State, str]] = {
    State.RUNNING: "TASK_LAUNCHED",
    State.SUCCESS: "TASK_SUCCEEDED",
    State.ERROR: "TASK_FAILED",
    State.CANCELLED: "TASK_CANCELLED",
    State.PAUSED: "TASK_PAUSED",
    State.SKIPPED: "TASK_SKIPPED",
}
_TASK_RUNS_AGAIN: Final[Mapping[State, str]] = {
    State.IDLE: "TASK_RESUMED",
    State.PAUSED: "TASK_RESUMED",
    State.WAITING: "TASK_RESUMED",
    State.ERROR: "TASK_RERUN",
}

# The place of an event is the number of its bit in ``Subscription.events``: new ones go to the end.
EVENTS: Final = (
    *_WORKFLOW.values(),
    *_WORKFLOW_RUNS_AGAIN.values(),
    *_TASK.values(),
    "TASK_RESUMED",
    "TASK_RERUN",
)
_BITS: Final[Mapping[str, int]] = {name: 1 << place for place, name in enumerate(EVENTS)}
# Changes that have no name, such as to DELAYED, are told to whoever asked for no event by name.
_NAMELESS_BIT: Final = 1 << 31
_ALL: Final = sum(_BITS.values()) | _NAMELESS_BIT


def workflow_event(before: State, after: State) -> str | None:
    """The name of a workflow's change of state, if it has one."""
    again = _WORKFLOW_RUNS_AGAIN.get(before) if after is State.RUNNING else None
    return again or _WORKFLOW.get(after)


def task_event(before: TaskExecution, after: State) -> str | None:
    """The name of a task's change of state, if it has one. A first run is a launch, whatever the task was before."""
    is_first = before.state is State.IDLE and before.started_at is None
    again = _TASK_RUNS_AGAIN.get(before.state) if after is State.RUNNING and not is_first else None
    return again or _TASK.get(after)


def wanting(subscriptions: Iterable[Subscription], event: str | None) -> list[int]:
    """The numbers of the subscriptions that want an event."""
    bit = _NAMELESS_BIT if event is None else _BITS[event]
    return [number for number, subscription in enumerate(subscriptions) if subscription.events & bit]


def wants(subscription: Subscription, event: str | None) -> bool:
    """Whether a subscription wants an event."""
    return bool(wanting((subscription,), event))


# -- what ``notify`` asks for


def subscriptions_of(notify: Json, defaults: Mapping[str, JsonObject]) -> tuple[Subscription, ...]:
    """The subscriptions of a new execution: to what its parameters name, then to the service's own publishers.

    As in Mistral, what is no publisher is passed over; what makes Mistral itself fail is refused.
    Raises InputException.
    """
    own = _own(notify)
    theirs = [Subscription(source, _wanted(publisher)) for source, publisher in defaults.items()]
    found = [subscription for subscription in (*own, *theirs) if subscription.events]
    if len(found) > PUBLISHERS_MAX:
        raise InputException(f"params.notify names {len(found)} publishers; {PUBLISHERS_MAX} are possible.")
    return tuple(found)


def _own(notify: Json) -> list[Subscription]:
    if not notify or isinstance(notify, (str, dict)):
        return []
    if not isinstance(notify, list):
        raise InputException(
            f"params.notify must be a list of publishers, such as "
            f'[{{"type": "webhook", "url": "https://..."}}], not {notify!r}.'
        )
    return [
        Subscription(str(place), _wanted(publisher))
        for place, publisher in enumerate(notify)
        if is_publisher(publisher)
    ]


def is_publisher(entry: Json) -> bool:
    """Whether an entry of ``notify`` is a publisher that exists."""
    return isinstance(entry, dict) and isinstance(entry.get("type"), str) and entry["type"] in PUBLISHER_TYPES


def _wanted(publisher: Mapping[str, Any]) -> int:
    """The events that a publisher wants, as bits; without ``event_types`` all. Raises InputException."""
    types = publisher.get("event_types")
    if not types:
        return _ALL
    if not isinstance(types, (list, dict, str)):
        raise InputException(f"event_types of a publisher in params.notify must be a list of events, not {types!r}.")
    bits = sum(bit for name, bit in _BITS.items() if name in types)
    return bits | (_NAMELESS_BIT if not isinstance(types, str) and None in types else 0)


# -- what is told


def workflow_notice(
    number: int, header: WorkflowExecution, state: State, state_info: str | None, *, event: str | None, now: float
) -> Notice:
    """What is kept of a change of a workflow."""
    return Notice(
        number=number,
        event=event,
        state=state,
        state_info=state_info,
        name=header.workflow_name,
        created_at=header.created_at,
        updated_at=now,
    )


def task_notice(number: int, task: TaskExecution, event: str | None, now: float) -> Notice:
    """What is kept of a change of a task."""
    return Notice(
        number=number,
        event=event,
        state=task.state,
        state_info=task.state_info,
        name=task.name,
        created_at=task.created_at,
        updated_at=now,
        ordinal=task.ordinal,
        type=task.type,
        started_at=task.started_at,
        finished_at=task.finished_at,
    )


def event_data(header: WorkflowExecution, notice: Notice) -> JsonObject:
    """An event as Mistral tells it, members in Mistral's order."""
    where = {
        "workflow_name": header.workflow_name,
        "workflow_namespace": header.workflow_namespace,
        "workflow_id": header.workflow_id,
    }
    what = {"state": str(notice.state), "state_info": notice.state_info}
    times = {"created_at": timestamp(notice.created_at), "updated_at": timestamp(notice.updated_at)}
    if notice.ordinal:
        return {
            "id": task_id(header.id, notice.ordinal),
            "name": notice.name,
            "workflow_execution_id": header.public,
            **where,
            **what,
            "type": str(notice.type),
            "project_id": header.project_id,
            **times,
            "started_at": timestamp(notice.started_at),
            "finished_at": timestamp(notice.finished_at),
            "event": notice.event,
        }
    parent = header.parent
    return {
        "id": header.public,
        "name": header.workflow_name,
        **where,
        **what,
        "project_id": header.project_id,
        "task_execution_id": None if parent is None else task_id(parent.execution_id, parent.ordinal),
        "root_execution_id": header.root_execution_id,
        **times,
        "event": notice.event,
    }
