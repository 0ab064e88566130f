"""The events door: an event that happened starts the workflows of the event-triggers that wait for it.

Exchange, topic and event of a trigger are compared, exactly, with where an event of EventBridge says the same:

==============  ===================================
of a trigger    of an event
==============  ===================================
``exchange``    ``source``
``topic``       ``detail-type``
``event``       ``event_type`` in ``detail``
==============  ===================================

An event without ``event_type``, such as those of AWS's own services, has its ``detail-type`` for one, and its detail is
its ``payload``. Calls of a signed URL (``webhooks``) are events too, of the exchange ``webhook``; nothing that comes
over the bus can pass for one.

In ``detail`` there may also be ``publisher`` (else: ``source``), ``context`` with ``project_id`` and ``user_id``,
``timestamp`` (else: the time of the event), and ``payload``: so publishers can send what OpenStack's services send.
A private trigger fires only for events whose ``context.project_id`` is its own project, a public one for all.
An event has an id: however often it is delivered, each trigger starts one execution for it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any, Final

from chalicelib.data import dataclass, replace
from chalicelib.engine.moment import Moment
from chalicelib.errors import ConflictException, EvaluationException, MistralError
from chalicelib.expressions import evaluator
from chalicelib.expressions.options import DEFAULT, Options
from chalicelib.services import event_inputs, triggered_starts
from chalicelib.services.detached import DetachedWorld
from chalicelib.services.engine import EngineService
from chalicelib.services.ports import Clock
from chalicelib.services.trigger_records import EventTrigger
from chalicelib.services.trigger_store import TriggerStore
from chalicelib.vocabulary import Json, JsonObject

_LOG: Final = logging.getLogger("mistral.triggers")
# For how long a delivery goes on starting workflows, if nobody says.
_STARTING_SEC: Final = 40.0
# The exchange of triggers that are called by signed URLs.
WEBHOOK: Final = "webhook"


@dataclass(frozen=True, slots=True)
class EventDefinition:
    """What workflows are told of events of certain types.

    ``event_types`` may have the wildcards of file names. The expressions in ``properties`` see the event:
    ``event_type``, ``publisher``, ``context``, ``timestamp``, ``payload`` and whatever else is in its detail.
    """

    event_types: tuple[str, ...]
    properties: JsonObject

    def fits(self, event_type: str) -> bool:
        """Whether it is for events of this type."""
        return any(fnmatchcase(event_type, pattern) for pattern in self.event_types)


def event_definitions(text: str) -> tuple[EventDefinition, ...]:
    """The definitions in a JSON list, as Mistral's file has them. Raises MistralError for what is no such list."""
    try:
        return tuple(_definition(entry) for entry in json.loads(text or "[]"))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise MistralError(
            f"MISTRAL_EVENT_DEFINITIONS is a JSON list of objects with event_types and properties: {error!r}"
        ) from error


def _definition(entry: Mapping[str, Any]) -> EventDefinition:
    types = entry["event_types"]
    return EventDefinition((types,) if isinstance(types, str) else tuple(types), dict(entry["properties"].items()))


@dataclass(frozen=True, slots=True)
class Happening:
    """An event, as triggers and definitions see it. Its id says whether two of them are the same."""

    id: str
    exchange: str
    topic: str
    data: JsonObject

    @property
    def event_type(self) -> str:
        """What triggers compare with their ``event``."""
        return str(self.data["event_type"])

    @property
    def context(self) -> Mapping[str, Json]:
        """On whose behalf it happened."""
        context = self.data["context"]
        return context if isinstance(context, Mapping) else {}


class EventDoor:
    """Fires event-triggers.

    ``default_project_id`` is whose an event is that names no project; ``None``: nobody's, as where callers are told
    apart. Of several definitions that fit, the last one counts.
    """

    def __init__(
        self,
        store: TriggerStore,
        engine: EngineService,
        clock: Clock,
        *,
        definitions: tuple[EventDefinition, ...] = (),
        default_project_id: str | None = None,
        options: Options = DEFAULT,
    ) -> None:
        self._store = store
        self._engine = engine
        self._clock = clock
        self._definitions = definitions
        self._default_project_id = default_project_id
        self._options = options

    def handle(self, delivered: Mapping[str, Any], until: float | None = None) -> int:
        """Start what waits for an event of EventBridge; how many executions that is.

        Raises MistralError when something could not be started before the moment ``until``, or through no fault of the
        workflow: then the event is to be delivered again, which repeats nothing that was started.
        """
        event = _read(delivered)
        if event is None:
            return 0
        until = self._clock.now() + _STARTING_SEC if until is None else until
        project_id = event.context.get("project_id") or self._default_project_id
        fired = failed = 0
        for trigger in self._store.awaiting(event.exchange, event.topic, event.event_type):
            if not trigger.is_public and trigger.project_id != project_id:
                continue
            if self._clock.now() < until and self._is_fired(trigger, event):
                fired += 1
            else:
                failed += 1
        if failed:
            raise MistralError(f"Event {event.id} has still to fire {failed} triggers; it did fire {fired}.")
        return fired

    def _is_fired(self, trigger: EventTrigger, event: Happening) -> bool:
        try:
            self.fire(trigger, event)
        except Exception:  # noqa: BLE001 - one that fails keeps nobody else from being fired
            _LOG.exception("event_trigger %s could not be fired by event %s", trigger.id, event.id)
            return False
        return True

    def fire(self, trigger: EventTrigger, event: Happening) -> str | None:
        """Start the workflow of a trigger for an event; what refuses it, if something does, which the trigger notes.

        Raises what is no fault of the trigger or its workflow: then it is to be tried again.
        """
        try:
            workflow_input = event_inputs.workflow_input(
                trigger.workflow_input,
                trigger.workflow_params,
                event.data,
                Moment(self._clock.now(), event.id),
                self._options,
            )
            told = replace(
                trigger,
                workflow_input=workflow_input,
                workflow_params=event_inputs.start_params(trigger.workflow_params),
            )
            error = triggered_starts.start(self._engine, told, event.id, self._event_params(event))
        except EvaluationException as refused:
            error = refused.message
        if error != trigger.last_error:
            self._note(trigger, error)
        return error

    def _note(self, trigger: EventTrigger, error: str | None) -> None:
        try:
            self._store.replace(replace(trigger, last_error=error, revision=trigger.revision + 1), trigger)
        except ConflictException:
            return  # it was changed or deleted meanwhile; the log has the error

    def _event_params(self, event: Happening) -> JsonObject:
        """What the workflow is told of the event. Raises EvaluationException."""
        for definition in reversed(self._definitions):
            if definition.fits(event.event_type):
                world = DetachedWorld(Moment(self._clock.now(), event.id))
                params: JsonObject = evaluator.evaluate(definition.properties, event.data, world, self._options)
                return params
        told = {
            "service": event.data["publisher"],
            "project_id": event.context.get("project_id"),
            "user_id": event.context.get("user_id"),
            "timestamp": event.data["timestamp"],
        }
        return {**told, "payload": event.data["payload"]} if event.exchange == WEBHOOK else told


def _read(delivered: Mapping[str, Any]) -> Happening | None:
    """The event that was delivered; ``None`` for one that no trigger can wait for."""
    detail = delivered.get("detail")
    exchange, topic = str(delivered.get("source", "")), str(delivered.get("detail-type", ""))
    if not isinstance(detail, Mapping) or exchange == WEBHOOK:
        return None
    if "event_type" not in detail:
        detail = {"event_type": topic, "payload": dict(detail)}
    if not isinstance(detail["event_type"], str):
        return None
    defaults: JsonObject = {"publisher": exchange, "context": {}, "timestamp": delivered.get("time"), "payload": {}}
    return Happening(str(delivered["id"]), exchange, topic, {**defaults, **detail})
