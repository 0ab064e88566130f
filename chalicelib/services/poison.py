"""Poison: messages that fail again and again, for a reason that stays.

The law: nothing hangs in silence. What a fault of the world has caused (a throttle, a lost race, a time-out) is tried
again. What would fail in the same way for ever is given up at its last but one receipt: its action, or else its
workflow, ends in ERROR with the reason, an alert is raised, and the message goes on to the dead letters, where it can
be looked at. What even this cannot reach, since its header cannot be read, stays as it is, and its alarm rings rarely.

A process that dies raises nothing. So a note is left before the last receipt but one is worked on, and taken back
after it, whatever came of it. Who finds the note at the last receipt knows that the process before it died, and stops
the workflow without doing again what kills.
"""

from __future__ import annotations

import json
import logging
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from chalicelib.data import replace
from chalicelib.engine.events import ActionCompleted, Event, StopRequested
from chalicelib.engine.records import WorkflowExecution
from chalicelib.engine.sealing import HEADER_KEY
from chalicelib.errors import ConflictException, MistralError, UnknownFormatError
from chalicelib.limits import ALARM_INTERVAL_MAX_SEC, MESSAGE_RECEIVES_MAX
from chalicelib.services import messages
from chalicelib.services.alerts import Alerts
from chalicelib.services.batches import receives_of
from chalicelib.services.claims import RECEIVES_MAX
from chalicelib.services.engine import EngineService
from chalicelib.services.execution_places import sort_of
from chalicelib.services.ports import INDEX_ALARM, Clock, Item, Put
from chalicelib.vocabulary import JsonObject, Result, State

_LOG: Final = logging.getLogger("mistral.poison")
_REASON_CHARACTERS_MAX: Final = 1000
_NOTE_PREFIX: Final = "tried#"
_LASTING: Final = (
    MistralError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    RecursionError,
    zlib.error,
)
# A race that was lost is none, and a newer version may know what this one does not.
_PASSING: Final = (ConflictException, UnknownFormatError)
_OF_ACTIONS: Final = frozenset({messages.ACTION, messages.START})
_OF_EXECUTIONS: Final = frozenset({*_OF_ACTIONS, messages.TIMER, messages.TELL, messages.RECONCILE})

UNREADABLE_MESSAGE: Final = "MESSAGE_UNREADABLE"
UNREADABLE_EXECUTION: Final = "EXECUTION_UNREADABLE"
GIVEN_UP: Final = "WORK_GIVEN_UP"


class Deadly(Exception):
    """What a message is about has been given up, since it kills its processes."""


def is_lasting(error: Exception) -> bool:
    """Whether a failure would come again in the same way."""
    return isinstance(error, _LASTING) and not isinstance(error, _PASSING)


def reason_of(error: Exception) -> str:
    """A failure in words."""
    text = error.message if isinstance(error, MistralError) else f"{type(error).__name__}: {error}"
    return text[:_REASON_CHARACTERS_MAX]


class Poison:
    """Gives up what cannot be done."""

    def __init__(self, engine: EngineService, clock: Clock, alerts: Alerts | None = None) -> None:
        self._engine = engine
        self._clock = clock
        self._alerts = alerts

    def is_gone(self, record: Mapping[str, Any]) -> bool:
        """Whether what a message is about has been deleted, so that there is nothing left to do for it."""
        body = _body_of(record)
        if body is None or body.get("kind") not in _OF_EXECUTIONS:
            return True
        return self._engine.turns.is_gone(body["x"])

    @contextmanager
    def survived(self, record: Mapping[str, Any], until: float) -> Iterator[None]:
        """Work on a message that may have killed its processes.

        Raises Deadly instead when it has, and its workflow is stopped: the message belongs to the dead letters.
        """
        body = _body_of(record) if receives_of(record) >= RECEIVES_MAX else None
        if body is None or body.get("kind") not in _OF_EXECUTIONS:
            yield
            return
        table, execution_id = self._engine.turns.store.table, str(body["x"])
        key = _NOTE_PREFIX + str(record["messageId"])
        if receives_of(record) < MESSAGE_RECEIVES_MAX:
            # What is deleted meanwhile does not leave its note for ever.
            expires_at_sec = int(self._clock.now() + ALARM_INTERVAL_MAX_SEC)
            table.write_bulk([Item(execution_id, key, b"", expires_at_sec=expires_at_sec)])
        elif table.get(execution_id, [key]):
            self._stop(execution_id, until)
            table.write_bulk([], [(execution_id, key)])
            raise Deadly
        try:
            yield
        except Exception:
            table.write_bulk([], [(execution_id, key)])
            raise
        table.write_bulk([], [(execution_id, key)])

    def _stop(self, execution_id: str, until: float) -> None:
        """Stop what a message is about or, if that has ended, what followed from its end in the executions above."""
        header = self._engine.turns.header(execution_id)
        while header is not None and header.state.is_completed:
            header = None if header.parent is None else self._engine.turns.header(header.parent.execution_id)
        if header is None:
            return
        reason = (
            f"The processes that worked on it died, {RECEIVES_MAX} times: something in it needs too much memory, or "
            "too much time."
        )
        self._engine.proceed(header.id, StopRequested(State.ERROR, reason), until=until)
        self._alert(GIVEN_UP, reason, header.project_id, header.id)

    def failed(self, record: Mapping[str, Any], error: Exception, until: float) -> None:
        """A message has failed: if it has done so often enough, for a reason that stays, it is given up.

        Never raises.
        """
        try:
            if receives_of(record) >= RECEIVES_MAX:
                self._look_at(record, error, until)
        except Exception:  # noqa: BLE001 - it has failed anyway, and comes again or lies with the dead letters
            _LOG.exception("poison could not be dealt with", extra={"mistral": {"info": record.get("messageId")}})

    def _look_at(self, record: Mapping[str, Any], error: Exception, until: float) -> None:
        message_id = str(record["messageId"])
        body = _body_of(record)
        if body is None or "x" not in body or "kind" not in body:
            self._alert(UNREADABLE_MESSAGE, f"A message cannot be read: {reason_of(error)}", subject=message_id)
        elif body["kind"] not in _OF_EXECUTIONS:
            if is_lasting(error):
                self._alert(UNREADABLE_MESSAGE, f"A message cannot be handled: {reason_of(error)}", subject=message_id)
        else:
            self._give_up(body, error, until)

    def _give_up(self, body: JsonObject, error: Exception, until: float) -> None:
        execution_id = str(body["x"])
        try:
            header = self._engine.turns.header(execution_id)
        except Exception as unreadable:
            if not isinstance(unreadable, (*_LASTING, UnknownFormatError)):
                raise
            # Not to be written to: a newer version may have made it what it is.
            self._put_off(execution_id)
            said = f"The execution cannot be read: {reason_of(unreadable)}"
            self._alert(UNREADABLE_EXECUTION, said, subject=execution_id)
            return
        if header is None or not is_lasting(error):
            return
        reason = f"This could not be done, and was tried {RECEIVES_MAX} times: {reason_of(error)}"
        told = self._told(header, body, reason, until)
        self._alert(GIVEN_UP, f"{reason}{'' if told else ' Nor can it be ended.'}", header.project_id, execution_id)

    def _told(self, header: WorkflowExecution, body: JsonObject, reason: str, until: float) -> bool:
        """End the action, or else the workflow, in ERROR; whether one of these was possible."""
        events: list[Event] = [StopRequested(State.ERROR, reason)]
        if body["kind"] in _OF_ACTIONS and self._runs(header, body["o"], body["n"]):
            events.insert(0, ActionCompleted(body["o"], body["n"], Result(error=reason)))
        for event in events:
            try:
                self._engine.proceed(header.id, event, until=until)
            except Exception as error:
                if not is_lasting(error):
                    raise
                _LOG.warning("%s failed too: %s", type(event).__name__, reason_of(error))
            else:
                return True
        return False

    def _runs(self, header: WorkflowExecution, ordinal: int, number: int) -> bool:
        """Whether an action has not ended; if it has, what fails is something that followed from it."""
        action = self._engine.dispatcher.action_of(header, ordinal, number)
        return action is not None and not action.state.is_completed

    def _put_off(self, execution_id: str) -> None:
        """Let the alarm of an execution ring later; the rest of its header stays as it is."""
        table = self._engine.turns.store.table
        item = table.get(execution_id, [HEADER_KEY]).get(HEADER_KEY)
        if item is None or INDEX_ALARM not in item.indexes:
            return
        later = sort_of(self._clock.now() + ALARM_INTERVAL_MAX_SEC, execution_id)
        place = replace(item.indexes[INDEX_ALARM], sort=later)
        try:
            table.write([Put(replace(item, indexes={**item.indexes, INDEX_ALARM: place}), expected=item.revision)])
        except ConflictException:
            # Somebody can read it, and has just written it.
            return

    def _alert(self, name: str, message: str, project_id: str = "", subject: str = "") -> None:
        if self._alerts is None:
            _LOG.warning("%s: %s", name, message, extra={"mistral": {"project": project_id, "info": subject}})
        else:
            self._alerts.alert(name, message, project_id=project_id, subject=subject)


def _body_of(record: Mapping[str, Any]) -> JsonObject | None:
    try:
        body = json.loads(record["body"])
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None
