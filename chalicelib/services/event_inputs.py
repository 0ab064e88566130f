"""What of an event goes into the input of the workflow that it starts: an opt-in of event-triggers.

A trigger says so in its ``workflow_params``, under ``event_input``: an object whose expressions see the event, or one
expression that gives an object. What comes of it is laid over the ``workflow_input`` of the trigger. The member is the
trigger's own: the execution does not get it among its parameters.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from chalicelib.engine.moment import Moment
from chalicelib.errors import EvaluationException, InvalidModelException, MistralError
from chalicelib.expressions import evaluator
from chalicelib.expressions.options import DEFAULT, Options
from chalicelib.services.detached import DetachedWorld
from chalicelib.vocabulary import Json, JsonObject

EVENT_INPUT: Final = "event_input"


def start_params(workflow_params: Mapping[str, Json]) -> JsonObject:
    """The parameters that the execution gets."""
    return {name: value for name, value in workflow_params.items() if name != EVENT_INPUT}


def workflow_input(
    trigger_input: JsonObject,
    workflow_params: Mapping[str, Json],
    event: Mapping[str, Json],
    moment: Moment,
    options: Options = DEFAULT,
) -> JsonObject:
    """The input that the execution gets. Raises EvaluationException."""
    template = workflow_params.get(EVENT_INPUT)
    if template is None:
        return trigger_input
    mapped = evaluator.evaluate(template, event, DetachedWorld(moment), options)
    if not isinstance(mapped, dict):
        raise EvaluationException(f"{EVENT_INPUT} gives no object of named inputs but {type(mapped).__name__}.")
    return {**trigger_input, **mapped}


def input_to_check(
    trigger_input: JsonObject, workflow_params: Mapping[str, Json], options: Options = DEFAULT
) -> JsonObject | None:
    """The input of a new trigger, as far as its names are known; ``None`` when only events will tell.

    Raises InvalidModelException when ``event_input`` is neither an object nor an expression, or cannot be parsed.
    """
    template = workflow_params.get(EVENT_INPUT)
    if template is None:
        return trigger_input
    if not (isinstance(template, dict) or (isinstance(template, str) and evaluator.is_expression(template))):
        raise InvalidModelException(
            f"workflow_params.{EVENT_INPUT} is an object with expressions, or one expression that gives an object."
        )
    try:
        _validate(template, options)
    except MistralError as error:
        raise InvalidModelException(f"workflow_params.{EVENT_INPUT}: {error.message}") from error
    return {**trigger_input, **template} if isinstance(template, dict) else None


def _validate(template: Any, options: Options) -> None:
    match template:
        case str():
            evaluator.validate(template, options)
        case dict():
            for value in template.values():
                _validate(value, options)
        case list():
            for value in template:
                _validate(value, options)
