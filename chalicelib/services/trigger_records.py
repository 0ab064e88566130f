"""Cron-triggers and event-triggers as records, and how they lie in the table ``definitions``.

==================================  ==================  ======================================================
partition                           key                 item
==================================  ==================  ======================================================
trigger#id                          ``record``          the trigger; firing one reads and writes only this
project#cron_trigger#name           name                takes the name of a cron-trigger; its id
project#cron_trigger#same           digest              takes what no two cron-triggers may have in common
event#digest                        project#workflow    takes exchange, topic and event, and finds them; the id
users#workflow                      kind#id             a trigger that uses the workflow; its project
users#workflow                      ``!latest``         a new revision with every new user
==================================  ==================  ======================================================

The indexes of a record list the triggers of a project, the public ones, those of everyone, and, in shards, the
cron-triggers by the time when they are due.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from dataclasses import asdict, field, fields
from enum import StrEnum
from typing import Any, Final

from chalicelib.data import dataclass
from chalicelib.errors import UnknownFormatError
from chalicelib.limits import DEFINITION_BULK_BYTES_MAX
from chalicelib.services.cron_options import CronCourse, CronOptions, course_of, options_of
from chalicelib.services.definition_records import PRIVATE, PUBLIC, digest_of, escaped, first_revision
from chalicelib.services.ports import (
    INDEX_ALARM,
    INDEX_LISTING,
    INDEX_ROOT,
    INDEX_WORKFLOW,
    IndexKey,
    Item,
    Payloads,
)
from chalicelib.services.schedules import NO_PATTERN
from chalicelib.vocabulary import JsonObject

FORMAT_VERSION: Final = 1
RECORD_KEY: Final = "record"
LATEST_KEY: Final = "!latest"
DUE_SHARDS: Final = 8
_VALUES: Final = ("workflow_input", "workflow_params")
_PARTS: Final[dict[str, type[CronOptions] | type[CronCourse]]] = {"options": CronOptions, "course": CronCourse}


class TriggerKind(StrEnum):
    """What fires a trigger."""

    CRON = "cron_trigger"
    EVENT = "event_trigger"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Common:
    """What both kinds have. Times are seconds since the epoch; ``last_error`` is why the latest start failed."""

    id: str
    name: str
    project_id: str
    scope: str = PRIVATE
    workflow_id: str
    workflow_input: JsonObject
    workflow_params: JsonObject
    created_at: float
    updated_at: float | None = None
    last_error: str | None = None
    revision: int = 1

    @property
    def is_public(self) -> bool:
        """Whether every project sees it."""
        return self.scope == PUBLIC


@dataclass(frozen=True, slots=True, kw_only=True)
class CronTrigger(_Common):
    """Starts a workflow at certain times.

    ``remaining_executions`` ``None``: without end; ``count`` is what it was at the beginning.
    """

    workflow_name: str
    pattern: str = NO_PATTERN
    count: int | None = None
    remaining_executions: int | None = None
    first_execution_time: float | None = None
    next_execution_time: float
    options: CronOptions = field(default_factory=CronOptions)
    course: CronCourse = field(default_factory=CronCourse)

    @property
    def kind(self) -> TriggerKind:
        """Of two kinds, this one."""
        return TriggerKind.CRON

    @property
    def has_pattern(self) -> bool:
        """Whether it has more times than its first one; Mistral gives a pattern to the others, too."""
        return not (self.pattern == NO_PATTERN and self.count == 1 and self.first_execution_time is not None)

    @property
    def due_at(self) -> float:
        """The time that its pattern names next; it fires at ``next_execution_time``, which jitter may put later."""
        return self.next_execution_time if self.course.due_at is None else self.course.due_at

    @property
    def is_waiting(self) -> bool:
        """Whether it will fire at its next time."""
        return not self.course.is_over and self.course.paused_at is None

    @property
    def wake_at(self) -> float | None:
        """When it has to be looked after next; ``None``: never, unless somebody changes it."""
        moments = [self.next_execution_time] if self.is_waiting else []
        if self.course.queued and self.course.paused_at is None:
            moments.append(self.course.queued[0])
        if self.options.end_within_sec is not None:
            moments += [due_at + self.options.end_within_sec for due_at, _ in self.course.watched]
        return min(moments, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventTrigger(_Common):
    """Starts a workflow when a certain event happens."""

    exchange: str
    topic: str
    event: str

    @property
    def kind(self) -> TriggerKind:
        """Of two kinds, this one."""
        return TriggerKind.EVENT


Trigger = CronTrigger | EventTrigger

_CLASSES: Final[dict[TriggerKind, type[CronTrigger] | type[EventTrigger]]] = {
    TriggerKind.CRON: CronTrigger,
    TriggerKind.EVENT: EventTrigger,
}


# -- addresses and places in the indexes


def record_partition(identifier: str) -> str:
    """The partition of the record of a trigger."""
    return f"trigger#{identifier}"


def name_partition(project_id: str) -> str:
    """The partition of the names that a project's cron-triggers have taken."""
    return f"{escaped(project_id)}#{TriggerKind.CRON}#name"


def event_partition(exchange: str, topic: str, event: str) -> str:
    """The partition of everything that waits for an event."""
    digest = hashlib.blake2b(json.dumps([exchange, topic, event]).encode(), digest_size=20)
    return f"event#{digest.hexdigest()}"


def users_partition(workflow_id: str) -> str:
    """The partition of the triggers that use a workflow."""
    return f"users#{workflow_id}"


def own_list(kind: TriggerKind, project_id: str) -> tuple[str, str]:
    """The index, and the value in it, that lists the triggers of a project."""
    return INDEX_LISTING, f"{escaped(project_id)}#{kind}"


def public_list(kind: TriggerKind) -> tuple[str, str]:
    """The index, and the value in it, that lists public triggers."""
    return INDEX_ROOT, f"public#{kind}"


def everyones_list(kind: TriggerKind) -> tuple[str, str]:
    """The index, and the value in it, that lists the triggers of all projects."""
    return INDEX_WORKFLOW, f"#everyone#{kind}"


def public_names() -> tuple[str, str]:
    """The index, and the value in it, that lists public cron-triggers by name."""
    return INDEX_ROOT, f"public#{TriggerKind.CRON}#name"


def due_list(shard: int) -> tuple[str, str]:
    """The index, and the value in it, that lists cron-triggers by the time when they are due."""
    return INDEX_ALARM, f"due#{shard}"


def sort_value(moment: float, identifier: str) -> str:
    """Where a trigger stands in a list that is ordered by time."""
    return f"{moment:017.3f}|{identifier}"


def _places(trigger: Trigger) -> dict[str, IndexKey]:
    created = sort_value(trigger.created_at, trigger.id)
    lists = [own_list(trigger.kind, trigger.project_id), everyones_list(trigger.kind)]
    lists += [public_list(trigger.kind)] if trigger.is_public else []
    places = {index: IndexKey(value, created) for index, value in lists}
    if isinstance(trigger, CronTrigger) and trigger.wake_at is not None:
        index, value = due_list(int(trigger.id[:2], 16) % DUE_SHARDS)
        places[index] = IndexKey(value, sort_value(trigger.wake_at, trigger.id))
    return places


def claims_of(trigger: Trigger) -> list[Item]:
    """The items by which a trigger takes what must be its alone; each names the trigger."""
    body = trigger.id.encode()
    if isinstance(trigger, EventTrigger):
        partition = event_partition(trigger.exchange, trigger.topic, trigger.event)
        return [Item(partition, f"{escaped(trigger.project_id)}#{trigger.workflow_id}", body)]
    places = {}
    if trigger.is_public:
        index, value = public_names()
        places[index] = IndexKey(value, f"{trigger.name}\0{trigger.id}")
    claims = [Item(name_partition(trigger.project_id), trigger.name, body, indexes=places)]
    if trigger.count is not None and trigger.first_execution_time is not None:
        partition = f"{escaped(trigger.project_id)}#{TriggerKind.CRON}#same"
        claims.append(Item(partition, _sameness(trigger), body))
    return claims


def user_items(trigger: Trigger) -> list[Item]:
    """The items by which a workflow knows that a trigger uses it."""
    partition = users_partition(trigger.workflow_id)
    revision = first_revision(trigger.id) + trigger.revision
    return [
        Item(partition, f"{trigger.kind}#{trigger.id}", trigger.project_id.encode()),
        Item(partition, LATEST_KEY, b"", revision=revision),
    ]


def _sameness(trigger: CronTrigger) -> str:
    common = [
        trigger.workflow_name,
        trigger.workflow_input,
        trigger.workflow_params,
        trigger.pattern,
        trigger.count,
        trigger.first_execution_time,
    ]
    if trigger.options != CronOptions():
        common.append(asdict(trigger.options))
    return digest_of(json.dumps(common, sort_keys=True).encode())


# -- records as items


def encode(trigger: Trigger, payloads: Payloads) -> Item:
    """The item of a trigger; input and params that are too large for it go to the payloads first."""
    apart = (*_VALUES, *_PARTS, "revision")
    facts = {one.name: getattr(trigger, one.name) for one in fields(trigger) if one.name not in apart}
    for name, part in _PARTS.items():
        # Left out when there is nothing in it: plain triggers stay as small as they are.
        if getattr(trigger, name, part()) != part():
            facts[name] = asdict(getattr(trigger, name))
    data: JsonObject = {"v": FORMAT_VERSION, "kind": trigger.kind, **facts}
    values = {name: getattr(trigger, name) for name in _VALUES}
    body = _packed({**data, **values})
    if len(body) > DEFINITION_BULK_BYTES_MAX:
        stored = _packed(values)
        # Never deleted, since another trigger may hold the same content.
        digest = f"trigger-{digest_of(stored)}"
        payloads.put(digest, stored)
        body = _packed({**data, "values_digest": digest})
    return Item(record_partition(trigger.id), RECORD_KEY, body, trigger.revision, _places(trigger))


def decode(item: Item, payloads: Payloads) -> Trigger:
    """The trigger of an item. Raises UnknownFormatError."""
    data = _unpacked(item.body)
    version, kind = data.pop("v"), data.pop("kind")
    if version != FORMAT_VERSION:
        raise UnknownFormatError(
            f"The trigger in '{item.partition}' is stored in format {version}, which this version does not know."
        )
    digest = data.pop("values_digest", None)
    values = {} if digest is None else _unpacked(payloads.get(digest))
    if "options" in data:
        data["options"] = options_of(data["options"])
    if "course" in data:
        data["course"] = course_of(data["course"])
    return _CLASSES[TriggerKind(kind)](**data, **values, revision=item.revision)


def _packed(data: JsonObject) -> bytes:
    return zlib.compress(json.dumps(data, separators=(",", ":")).encode())


def _unpacked(body: bytes) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(zlib.decompress(body))
    return data
