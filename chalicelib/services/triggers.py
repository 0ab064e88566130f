"""Cron-triggers and event-triggers: who may create, see, change and remove them. What fires them stands elsewhere."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Final
from uuid import UUID

from chalicelib import limits
from chalicelib.data import dataclass, replace
from chalicelib.engine.invocations import check_input
from chalicelib.errors import (
    ConflictException,
    DuplicateEntryException,
    InvalidModelException,
    NotAllowedException,
    NotFoundException,
    SizeLimitExceededException,
)
from chalicelib.services import event_inputs
from chalicelib.services.cron_plans import CronTimes, planned
from chalicelib.services.cron_rules import placed
from chalicelib.services.definition_records import PRIVATE, Definition, Kind, facts_of, first_revision
from chalicelib.services.definition_rules import Access, check_scope, unchanged
from chalicelib.services.definitions import Definitions
from chalicelib.services.ports import Clock, Entropy
from chalicelib.services.trigger_records import CronTrigger, EventTrigger, Trigger, TriggerKind
from chalicelib.services.trigger_store import TriggerStore
from chalicelib.vocabulary import JsonObject

_ATTEMPTS_MAX: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class CronRequest(CronTimes):
    """A cron-trigger as it is asked for; ``workflow`` is an id or a name."""

    name: str
    workflow: str | None
    workflow_input: JsonObject
    workflow_params: JsonObject
    scope: str = PRIVATE


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRequest:
    """An event-trigger as it is asked for."""

    name: str
    workflow_id: str
    exchange: str
    topic: str
    event: str
    workflow_input: JsonObject
    workflow_params: JsonObject
    scope: str = PRIVATE


@dataclass(frozen=True, slots=True, kw_only=True)
class EventChanges:
    """What is to be changed of an event-trigger; ``None`` leaves it as it is."""

    name: str | None = None
    workflow_id: str | None = None
    workflow_input: JsonObject | None = None
    workflow_params: JsonObject | None = None
    scope: str | None = None


class Triggers:
    """The triggers of all projects. Shared by the threads of a process; ``announce`` is told of new cron-triggers."""

    def __init__(
        self,
        store: TriggerStore,
        definitions: Definitions,
        clock: Clock,
        entropy: Entropy,
        *,
        announce: Callable[[CronTrigger], None],
    ) -> None:
        self._store = store
        self._definitions = definitions
        self._clock = clock
        self._entropy = entropy
        self._announce = announce

    # -- both kinds

    def get(self, kind: TriggerKind, access: Access, identifier: str) -> Trigger:
        """The trigger of an id, or the cron-trigger of a name. Raises NotFoundException."""
        found = self.find_id(kind, access, identifier)
        if found is None and kind is TriggerKind.CRON and _can_be_name(identifier):
            found = self._store.named(access.project_id, identifier) or self._store.public_named(identifier)
        if found is not None and _sees(access, found):
            return found
        if kind is TriggerKind.CRON:
            raise NotFoundException(f"Cron trigger not found [identifier={identifier}]")
        raise NotFoundException(f"Event trigger not found [id={identifier}].")

    def find_id(self, kind: TriggerKind, access: Access, identifier: str) -> Trigger | None:
        """The trigger of an id, if there is one that the caller may see."""
        try:
            found = self._store.get(str(UUID(identifier)))
        except ValueError:
            return None
        return found if found is not None and found.kind is kind and _sees(access, found) else None

    def browse(
        self, kind: TriggerKind, access: Access, *, after: Trigger | None = None, descending: bool = False
    ) -> Iterator[Trigger]:
        """What the caller may see of a kind, by creation; read as far as it is asked for."""
        project_id = None if access.is_admin else access.project_id
        found = self._store.browse(kind, project_id, after=after, descending=descending)
        return (trigger for trigger in found if _sees(access, trigger))

    def delete(self, kind: TriggerKind, access: Access, identifier: str) -> None:
        """Remove a trigger. Raises NotFoundException, NotAllowedException."""
        for _ in range(_ATTEMPTS_MAX):
            trigger = self.get(kind, access, identifier)
            _check_change(trigger, access)
            try:
                self._store.remove(trigger)
                return
            except ConflictException:
                continue
        raise _too_busy(kind, identifier)

    def check_change(self, access: Access, trigger: Trigger) -> None:
        """Refuse a caller who may see a trigger but not change it. Raises NotAllowedException."""
        _check_change(trigger, access)

    # -- cron-triggers

    def create_cron(self, access: Access, request: CronRequest) -> CronTrigger:
        """Store a new cron-trigger.

        Raises InvalidModelException, InputException, SizeLimitExceededException, NotAllowedException for a public one,
        NotFoundException for an unknown workflow, DuplicateEntryException.
        """
        check_scope(request.scope, access)
        check_trigger_name(request.name)
        _check_sizes(request.workflow_input, request.workflow_params)
        now = self._clock.now()
        plan = planned(request, now)
        if request.workflow is None:
            raise NotFoundException(
                "Workflow not found [workflow_identifier=None, namespace=]; give workflow_name or workflow_id."
            )
        for _ in range(_ATTEMPTS_MAX):
            workflow = self._definitions.get(Kind.WORKFLOW, Access(access.project_id), request.workflow)
            self._check_input(workflow, request.workflow_input)
            identifier = self._fresh_id()
            unplaced = CronTrigger(
                id=identifier,
                name=request.name,
                project_id=access.project_id,
                scope=request.scope,
                workflow_name=workflow.name,
                workflow_id=workflow.id,
                workflow_input=request.workflow_input,
                workflow_params=request.workflow_params,
                pattern=plan.pattern,
                count=plan.count,
                remaining_executions=plan.count,
                first_execution_time=plan.first,
                next_execution_time=plan.due_at,
                created_at=round(now, 3),
                revision=first_revision(identifier),
                options=plan.options,
            )
            trigger = placed(unplaced, plan.due_at)
            if self._is_created(trigger, workflow):
                self._announce(trigger)
                return trigger
        raise _too_busy(TriggerKind.CRON, request.name)

    # -- event-triggers

    def create_event(self, access: Access, request: EventRequest) -> EventTrigger:
        """Store a new event-trigger.

        Raises InvalidModelException, InputException, SizeLimitExceededException, NotAllowedException for a public one,
        NotFoundException for an unknown workflow, DuplicateEntryException.
        """
        check_scope(request.scope, access)
        check_trigger_name(request.name)
        for selector in ("exchange", "topic", "event"):
            _check_selector(selector, getattr(request, selector))
        _check_sizes(request.workflow_input, request.workflow_params)
        known_input = event_inputs.input_to_check(request.workflow_input, request.workflow_params)
        for _ in range(_ATTEMPTS_MAX):
            workflow = self._definitions.get(Kind.WORKFLOW, Access(access.project_id), request.workflow_id)
            if known_input is not None:
                self._check_input(workflow, known_input)
            identifier = self._fresh_id()
            trigger = EventTrigger(
                id=identifier,
                name=request.name,
                project_id=access.project_id,
                scope=request.scope,
                workflow_id=workflow.id,
                workflow_input=request.workflow_input,
                workflow_params=request.workflow_params,
                exchange=request.exchange,
                topic=request.topic,
                event=request.event,
                created_at=round(self._clock.now(), 3),
                revision=first_revision(identifier),
            )
            if self._is_created(trigger, workflow):
                return trigger
        raise _too_busy(TriggerKind.EVENT, request.name)

    def update_event(self, access: Access, identifier: str, changes: EventChanges) -> EventTrigger:
        """Replace what is given and leave the rest. As in Mistral, input is looked at when the trigger fires.

        Raises InvalidModelException, SizeLimitExceededException, NotAllowedException, NotFoundException,
        DuplicateEntryException.
        """
        if changes.scope is not None:
            check_scope(changes.scope, access)
        check_trigger_name(changes.name or "")
        _check_sizes(changes.workflow_input or {}, changes.workflow_params or {})
        event_inputs.input_to_check({}, changes.workflow_params or {})
        given = {name: value for name in EventChanges.__slots__ if (value := getattr(changes, name)) is not None}
        for _ in range(_ATTEMPTS_MAX):
            old = self.get(TriggerKind.EVENT, access, identifier)
            assert isinstance(old, EventTrigger)
            _check_change(old, access)
            demands = []
            if changes.workflow_id not in (None, old.workflow_id):
                workflow = self._definitions.get(Kind.WORKFLOW, Access(old.project_id), str(changes.workflow_id))
                demands.append(unchanged(workflow))
            new: EventTrigger = replace(old, **given)
            if new == old:
                return old
            new = replace(new, updated_at=round(self._clock.now(), 3), revision=old.revision + 1)
            try:
                self._store.replace(new, old, demands)
                return new
            except ConflictException:
                if new.workflow_id != old.workflow_id and self._store.taken_claims(new):
                    raise _duplicate(new, 0) from None
        raise _too_busy(TriggerKind.EVENT, identifier)

    # -- parts

    def _is_created(self, trigger: Trigger, workflow: Definition) -> bool:
        try:
            self._store.create(trigger, [unchanged(workflow)])
        except ConflictException:
            taken = self._store.taken_claims(trigger)
            if taken:
                raise _duplicate(trigger, taken[0]) from None
            return False
        return True

    def _check_input(self, workflow: Definition, given: JsonObject) -> None:
        facts = facts_of(workflow)
        is_reverse = self._definitions.plan(facts.definition_hash).spec.type == "reverse"
        check_input(facts.name, "ReverseWorkflowSpec" if is_reverse else "DirectWorkflowSpec", facts.input, given)

    def _fresh_id(self) -> str:
        return str(UUID(bytes=self._entropy.token(), version=4))


def check_trigger_name(name: str) -> None:
    """Refuse a name that cannot be stored. Raises InvalidModelException."""
    most = limits.TRIGGER_NAME_CHARACTERS_MAX
    if len(name) > most:
        raise InvalidModelException(f"The name '{name[:40]}...' has {len(name)} characters; the most is {most}.")
    if _has_surrogate(name):
        raise InvalidModelException(f"The name {name!a} is not text: it has half of a surrogate pair.")


def _check_selector(name: str, value: str) -> None:
    most = limits.EVENT_SELECTOR_CHARACTERS_MAX
    if len(value) > most:
        raise InvalidModelException(f"The {name} '{value[:40]}...' has {len(value)} characters; the most is {most}.")


def _check_sizes(workflow_input: JsonObject, workflow_params: JsonObject) -> None:
    for name, value in (("workflow_input", workflow_input), ("workflow_params", workflow_params)):
        size = len(json.dumps(value))
        if size > limits.FIELD_BYTES_MAX:
            raise SizeLimitExceededException(
                f"Field size limit exceeded [field={name}, size={size // 1024}KB, "
                f"limit={limits.FIELD_BYTES_MAX // 1024}KB]"
            )


def _sees(access: Access, trigger: Trigger) -> bool:
    return trigger.is_public or access.is_admin or trigger.project_id == access.project_id


def _check_change(trigger: Trigger, access: Access) -> None:
    if not (access.is_admin or trigger.project_id == access.project_id):
        raise NotAllowedException(
            f"Can not access {type(trigger).__name__} resource of other projects, ID: {trigger.id}"
        )


def _duplicate(trigger: Trigger, claim: int) -> DuplicateEntryException:
    if isinstance(trigger, EventTrigger):
        columns = ["exchange", "topic", "event", "workflow_id", "project_id"]
        return DuplicateEntryException(f"Duplicate entry for EventTrigger {_columns(columns, trigger)}")
    if claim == 0:
        return DuplicateEntryException(f"Duplicate entry for cron trigger {_columns(['name', 'project_id'], trigger)}")
    columns = ["workflow_name", "pattern", "project_id", "remaining_executions", "first_execution_time"]
    names = [*columns, "workflow_input", "workflow_params"]
    return DuplicateEntryException(f"Duplicate entry for cron trigger {names}: another one has the same of all these.")


def _columns(names: list[str], trigger: Trigger) -> str:
    return f"{names}: {', '.join(str(getattr(trigger, name)) for name in names)}"


def _too_busy(kind: TriggerKind, name: str) -> ConflictException:
    return ConflictException(
        f"The {kind.replace('_', ' ')} '{name}' or its workflow is being changed by others at this moment; try again."
    )


def _can_be_name(identifier: str) -> bool:
    return 0 < len(identifier) <= limits.TRIGGER_NAME_CHARACTERS_MAX and not _has_surrogate(identifier)


def _has_surrogate(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)
