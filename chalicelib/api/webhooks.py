"""Signed URLs: projects issue and revoke them, anybody who holds one calls it.

A URL of an event-trigger whose exchange is ``webhook`` starts its workflow; a URL of an asynchronous action execution
brings its result. The call itself needs no credentials: whose object it is stands in the signature.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final
from urllib.parse import parse_qs

from chalicelib import limits
from chalicelib.api.about import About, removes, tells
from chalicelib.api.action_executions import result_for
from chalicelib.api.bodies import read_attributes
from chalicelib.api.definition_lists import access_of
from chalicelib.api.http import CREATED, NO_CONTENT, Answer, Body, Call, Route
from chalicelib.api.services import Provider, Services, sight_of
from chalicelib.api.values import parse_json, refuse, to_uuid
from chalicelib.data import dataclass
from chalicelib.engine.events import ActionCompleted
from chalicelib.engine.identity import action_id, derived_execution_id, task_id
from chalicelib.engine.moment import timestamp
from chalicelib.errors import (
    GoneException,
    InputException,
    NotAllowedException,
    NotFoundException,
    SizeLimitExceededException,
)
from chalicelib.expressions.webhook_tokens import PATH, Grant, Subject, SubjectKind
from chalicelib.services.definition_rules import Access
from chalicelib.services.event_door import WEBHOOK, Happening
from chalicelib.services.reading import Sight
from chalicelib.services.trigger_records import EventTrigger, TriggerKind
from chalicelib.vocabulary import Json, JsonObject, Result, State

_TOKEN: Final = f"{PATH}{{token}}"
_OF_ACTION: Final = "/v2/action_executions/{identifier}/webhook"
_OF_TRIGGER: Final = "/v2/event_triggers/{identifier}/webhook"
_RESULTS: Final = (State.SUCCESS, State.ERROR, State.CANCELLED)
_FORM: Final = "application/x-www-form-urlencoded"
_KEY: Final = "idempotency-key"
_TEXT: Final = {"type": "string"}
_ISSUED: Final = {"type": "object", "properties": {"url": _TEXT, "expires_at": _TEXT}}
_SHOWN: Final = {
    "type": "object",
    "properties": {"for": _TEXT, "is_open": {"type": "boolean"}, "expires_at": _TEXT},
}
_ASKED: Final = {"type": "object", "properties": {"expires_sec": {"type": ["number", "string", "null"]}}}
_DONE: Final = {"type": "object", "properties": {"id": _TEXT, "state": _TEXT}}


def routes(services: Provider) -> tuple[Route, ...]:
    """The routes of signed URLs."""
    api = WebhookApi(services)
    issued = About("A new signed URL.", _ISSUED, 201, _ASKED)
    gone = {410: "It was for something that is no more."}
    shown = tells("What a signed URL is for; nothing is changed.", _SHOWN, gone)
    called = About(
        "Start the workflow, or complete the action execution, of a URL.",
        _DONE,
        accepts={},
        statuses={201: "A workflow was started.", **gone},
    )
    revoked = removes("Revoke all signed URLs that there are.")
    return (
        Route("POST", _OF_ACTION, api.issue_for_action, body=Body.JSON, about=issued),
        Route("DELETE", _OF_ACTION, api.revoke_for_action, about=revoked),
        Route("POST", _OF_TRIGGER, api.issue_for_trigger, body=Body.JSON, about=issued),
        Route("DELETE", _OF_TRIGGER, api.revoke_for_trigger, about=revoked),
        Route("GET", _TOKEN, api.show, about=shown),
        Route("POST", _TOKEN, api.call, ("state",), body=Body.JSON, about=called),
    )


class WebhookApi:
    """The endpoints of signed URLs."""

    def __init__(self, services: Provider) -> None:
        self._services = services

    # -- for projects

    def issue_for_action(self, call: Call) -> Answer:
        """A URL that completes an asynchronous action execution."""
        return self._issue(call, self._action_subject(call, must_wait=True))

    def revoke_for_action(self, call: Call) -> Answer:
        """No URL of the action execution works any more, nor of its task."""
        services = self._services()
        subject = self._action_subject(call, must_wait=False)
        services.webhooks.revoke(subject)
        if services.action_runs.find(subject.id) is None:
            header, task, _action = services.reader.action(subject.id, sight_of(call))
            services.webhooks.revoke(Subject(SubjectKind.TASK, task_id(header.id, task.ordinal), subject.project_id))
        return NO_CONTENT

    def issue_for_trigger(self, call: Call) -> Answer:
        """A URL that starts the workflow of an event-trigger."""
        return self._issue(call, self._trigger_subject(call))

    def revoke_for_trigger(self, call: Call) -> Answer:
        """No URL of the trigger works any more."""
        self._services().webhooks.revoke(self._trigger_subject(call))
        return NO_CONTENT

    def _issue(self, call: Call, subject: Subject) -> Answer:
        given = read_attributes(call, "webhook", ("expires_sec",)) if call.body else None
        issued = self._services().webhooks.issue(
            subject, call.base_url, None if given is None else given.integer("expires_sec")
        )
        return Answer({"url": issued.url, "expires_at": timestamp(issued.expires_at)}, CREATED)

    def _action_subject(self, call: Call, *, must_wait: bool) -> Subject:
        services, identifier = self._services(), call.parameters["identifier"]
        run = services.action_runs.find(identifier)
        if run is not None and sight_of(call).sees(run.project_id):
            action, project_id = run.action, run.project_id
        else:
            header, _task, action = services.reader.action(identifier, sight_of(call))
            project_id = header.project_id
        if must_wait and (action.is_sync or action.state.is_completed):
            raise InputException(
                f"Nobody waits for the result of action execution {identifier}: it is {action.state}"
                f"{' and synchronous' if action.is_sync else ''}. Webhooks complete asynchronous ones."
            )
        return Subject(SubjectKind.ACTION, identifier, project_id)

    def _trigger_subject(self, call: Call) -> Subject:
        identifier, access = to_uuid("id", call.parameters["identifier"]), access_of(call)
        trigger = self._services().triggers.get(TriggerKind.EVENT, access, identifier)
        assert isinstance(trigger, EventTrigger)
        if not (access.is_admin or trigger.project_id == access.project_id):
            raise NotAllowedException(f"Can not access EventTrigger resource of other projects, ID: {identifier}")
        if trigger.exchange != WEBHOOK:
            raise InputException(f"Only triggers whose exchange is '{WEBHOOK}' have URLs, not '{trigger.exchange}'.")
        return Subject(SubjectKind.TRIGGER, identifier, trigger.project_id)

    # -- for whoever holds a URL

    def show(self, call: Call) -> Answer:
        """What a URL is for. Programs that look at links in mails and chats do no harm."""
        services = self._services()
        grant = services.webhooks.admit(call.parameters["token"], counts=False)
        if grant.subject.kind is SubjectKind.TRIGGER:
            is_open = _trigger_of(services, grant.subject) is not None
        else:
            is_open = _waiting(services, grant.subject) is not None
        return Answer({"for": grant.subject.kind, "is_open": is_open, "expires_at": timestamp(grant.expires_at)})

    def call(self, call: Call) -> Answer:
        """Do what the URL is for."""
        services = self._services()
        if len(call.body) > limits.WEBHOOK_BODY_BYTES_MAX:
            raise SizeLimitExceededException(
                f"The body has {len(call.body)} bytes; a webhook takes {limits.WEBHOOK_BODY_BYTES_MAX}."
            )
        grant = services.webhooks.admit(call.parameters["token"])
        body = _body_of(call)
        if grant.subject.kind is SubjectKind.TRIGGER:
            return _start(services, grant, call, body)
        return _complete(services, grant.subject, call, body)


def _body_of(call: Call) -> Json:
    if not call.body.strip():
        return {}
    # Command-line tools declare a form without being asked.
    is_form = call.headers.get("content-type", "").partition(";")[0].strip().lower() == _FORM
    if is_form and not call.text.lstrip().startswith(("{", "[")):
        return {name: values[-1] for name, values in parse_qs(call.text, keep_blank_values=True).items()}
    try:
        return parse_json(call.text)
    except ValueError as error:
        raise InputException(f"The body of a webhook is JSON or a form: {error}") from error


def _start(services: Services, grant: Grant, call: Call, body: Json) -> Answer:
    if "state" in call.query:
        raise InputException('Unknown argument: "state"')
    trigger = _trigger_of(services, grant.subject)
    if trigger is None:
        raise GoneException("The event trigger of this webhook is gone.")
    now = services.clock.now()
    data: JsonObject = {
        "event_type": trigger.event,
        "publisher": WEBHOOK,
        "context": {"project_id": trigger.project_id},
        "timestamp": datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "payload": body,
    }
    event = Happening(_event_id(call), trigger.exchange, trigger.topic, data)
    refused = services.event_door.fire(trigger, event)
    if refused is not None:
        # Who holds the URL need not know the workflow; its owner finds the reason with the trigger.
        raise InputException("The workflow cannot be started so; the event trigger shows the reason to its owner.")
    return Answer({"id": derived_execution_id(trigger.kind, trigger.id, event.id), "state": State.RUNNING}, CREATED)


def _event_id(call: Call) -> str:
    """The same key starts one execution, however often it comes; without a key each request is a new event."""
    key = call.headers.get(_KEY, "")
    if len(key) > limits.IDEMPOTENCY_KEY_CHARACTERS_MAX:
        refuse(_KEY, f"{key[:40]}...", f"The most is {limits.IDEMPOTENCY_KEY_CHARACTERS_MAX} characters.")
    return f"key-{hashlib.sha256(key.encode()).hexdigest()}" if key else f"request-{call.request_id}"


def _trigger_of(services: Services, subject: Subject) -> EventTrigger | None:
    found = services.triggers.find_id(TriggerKind.EVENT, Access(subject.project_id), subject.id)
    is_its_own = isinstance(found, EventTrigger) and found.project_id == subject.project_id
    return found if is_its_own and isinstance(found, EventTrigger) and found.exchange == WEBHOOK else None


def _complete(services: Services, subject: Subject, call: Call, body: Json) -> Answer:
    state = State.SUCCESS if "state" not in call.query else _result_state(call.query["state"])
    waiting = _waiting(services, subject)
    if waiting is None:
        raise GoneException("Nobody waits for this webhook any more.")
    result = result_for(state, body if isinstance(body, dict) else {"result": body})
    waiting.complete(result)
    return Answer({"id": waiting.id, "state": state})


def _result_state(text: str) -> State:
    if text.upper() not in _RESULTS:
        refuse("state", text, f"Value should be one of: {', '.join(_RESULTS)}")
    return State(text.upper())


@dataclass(frozen=True, slots=True)
class _Waiting:
    """An action execution that waits for its result, and how it is brought one."""

    id: str
    complete: Callable[[Result], object]


def _waiting(services: Services, subject: Subject) -> _Waiting | None:
    """What a URL would complete; ``None`` when it has ended, or was deleted."""
    sight = Sight(subject.project_id)
    if subject.kind is SubjectKind.ACTION:
        run = services.action_runs.find(subject.id)
        if run is not None:
            if run.project_id != subject.project_id or run.action.state.is_completed:
                return None
            return _Waiting(subject.id, lambda result: services.action_runs.complete(run, result))
    try:
        if subject.kind is SubjectKind.ACTION:
            header, task, action = services.reader.action(subject.id, sight)
            actions = [action]
        else:
            header, task = services.reader.task(subject.id, sight)
            actions = services.reader.actions(header, task)
    except NotFoundException:
        return None
    waiting = [action for action in actions if not (action.is_sync or action.state.is_completed)]
    if task.state.is_completed or not waiting:
        return None
    if len(waiting) > 1:
        raise InputException(f"Task '{task.name}' has {len(waiting)} action executions that wait, one for each item.")
    number = waiting[0].number
    return _Waiting(
        action_id(header.id, task.ordinal, number),
        lambda result: services.engine.handle(header.id, ActionCompleted(task.ordinal, number, result)),
    )
