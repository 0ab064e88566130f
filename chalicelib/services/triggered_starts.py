"""Starting a workflow on behalf of a trigger: the same cause starts it once, however often it is tried."""

from __future__ import annotations

import json
import logging
from typing import Final

from chalicelib.engine.identity import derived_execution_id
from chalicelib.errors import ConflictException, MistralError
from chalicelib.services.engine import EngineService, StartRequest
from chalicelib.services.trigger_records import EventTrigger, Trigger
from chalicelib.vocabulary import JsonObject

_LOG: Final = logging.getLogger("mistral.triggers")


def execution_id_for(trigger: Trigger, cause: str) -> str:
    """The id of the execution that a trigger starts for a cause."""
    return derived_execution_id(trigger.kind, trigger.id, cause)


def start(
    engine: EngineService,
    trigger: Trigger,
    cause: str,
    event_params: JsonObject | None = None,
    *,
    cron_params: JsonObject | None = None,
) -> str | None:
    """Start the workflow of a trigger for a cause; what refuses it, if something does.

    The cause decides the id of the execution, so that repeating this finds what was started. Raises what is no fault
    of the trigger or its workflow: then it is to be tried again.
    """
    params = dict(trigger.workflow_params)
    if event_params is not None:
        params["event_params"] = event_params
    if cron_params is not None:
        params["cron_params"] = cron_params
    request = StartRequest(
        project_id=trigger.project_id,
        workflow_identifier=trigger.workflow_id,
        input=trigger.workflow_input,
        params=params,
        description=_description(trigger),
        execution_id=execution_id_for(trigger, cause),
    )
    facts = {"trigger": trigger.id, "trigger_name": trigger.name, "execution": request.execution_id}
    try:
        engine.start(request)
    except MistralError as error:
        if error.http_code >= 500 or isinstance(error, ConflictException):
            raise
        _LOG.warning("%s cannot start its workflow: %s", trigger.kind, error.message, extra={"mistral": facts})
        return error.message or type(error).__name__
    _LOG.info("%s has started its workflow", trigger.kind, extra={"mistral": facts})
    return None


def _description(trigger: Trigger) -> str:
    """JSON in Mistral's words; programs read it."""
    triggered_by = {"type": trigger.kind.value, "id": trigger.id}
    word = "cron"
    if isinstance(trigger, EventTrigger):
        word, triggered_by["name"] = "event", trigger.name
    text = f"Workflow execution created by {word} trigger '({trigger.id})'."
    return json.dumps({"description": text, "triggered_by": triggered_by})
