"""What an action is: its description, its parameters, and how one function becomes one.

The law: ``check`` looks at names, ``check_values`` at values that cannot be used together, ``run`` acts. An action
says of itself whether it is pure (it may then be repeated at will inside a turn). ``perform`` is the only caller of
``run``; it turns whatever goes wrong into an error ``Result`` with Mistral's text.
"""

from __future__ import annotations

import inspect
import json
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from chalicelib.actions.egress import EgressPolicy
from chalicelib.errors import ActionConstructionError, InvalidActionException, MistralError
from chalicelib.vocabulary import Json, JsonObject, Result

_logger = logging.getLogger(__name__)

_PARAMETER_LINE: Final = re.compile(r"^\s*:param (\w+):\s*(.*(?:\n(?!\s*:param|\s*$).*)*)", re.MULTILINE)
_TYPES: Final = {
    "str": "string",
    "int": "integer",
    "float": "number",
    "bool": "boolean",
    "JsonObject": "object",
    "list[Json]": "array",
}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of an action. ``type`` is JSON's word for it, or ``None`` when anything goes."""

    name: str
    required: bool
    default: Json = None
    type: str | None = None
    description: str = ""


@dataclass(frozen=True, slots=True)
class AwsSettings:
    """Where ``aws.*`` actions go: a default region, and another endpoint than AWS's own (an emulator's)."""

    region: str | None = None
    endpoint_url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionContext:
    """What an action knows of the execution it runs for.

    ``deadline_sec`` is the time that is left for the action, ``None`` without a bound.
    """

    workflow_execution_id: str | None = None
    task_execution_id: str | None = None
    action_execution_id: str | None = None
    workflow_name: str | None = None
    callback_url: str | None = None
    project_id: str | None = None
    deadline_sec: float | None = None
    egress: EgressPolicy = field(default_factory=EgressPolicy)
    aws: AwsSettings = field(default_factory=AwsSettings)


class Action(Protocol):
    """The one face of all actions, built in, generated or plugged in."""

    @property
    def name(self) -> str:
        """The full name, such as ``std.echo``."""
        ...

    @property
    def description(self) -> str:
        """What it does, for people."""
        ...

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """What may be given, required parameters as the signature orders them."""
        ...

    @property
    def accepts_any(self) -> bool:
        """Whether parameters beyond the listed ones are welcome, so that names are not checked."""
        ...

    @property
    def is_sync(self) -> bool:
        """Whether the value that ``run`` returns is the result; else the result arrives later, through the API."""
        ...

    @property
    def label(self) -> str:
        """How the action is named in the text of an exception it raised."""
        ...

    @property
    def signature_text(self) -> str:
        """The API's ``input``: ``a, b=5, c="x"``."""
        ...

    def check(self, input: JsonObject) -> None:
        """Raise ``InvalidActionException`` when parameters are missing or unknown."""
        ...

    def check_values(self, input: JsonObject) -> None:
        """Raise ``ActionConstructionError`` when the values cannot be used together."""
        ...

    def is_pure(self, input: JsonObject) -> bool:
        """Whether it ends at once, touches nothing and may be run any number of times."""
        ...

    def duration_sec(self, input: JsonObject) -> float:
        """The time it is known to take at least; 0 when nothing is known."""
        ...

    def run(self, input: JsonObject, context: ActionContext) -> Result:
        """Act. May raise anything; only ``perform`` calls it."""
        ...


@dataclass(frozen=True, slots=True)
class ActionSummary:
    """One action in a listing; ``input`` is its ``signature_text``."""

    name: str
    description: str
    input: str
    is_sync: bool = True

    @classmethod
    def of(cls, action: Action) -> ActionSummary:
        """Sum an action up."""
        return cls(action.name, action.description, action.signature_text, action.is_sync)


def perform(action: Action, input: JsonObject, context: ActionContext) -> Result:
    """Run an action. Never raises for what the action does: an exception becomes an error result in Mistral's words."""
    try:
        return action.run(input, context)
    except Exception as error:
        # The one door between actions and the engine catches all. Neither input nor message is logged: they may hold
        # secrets. A failure that the action announces itself needs no traceback.
        unforeseen = not isinstance(error, MistralError)
        _logger.warning(
            "Action %s failed with %s [action_ex_id=%s]",
            action.name,
            type(error).__name__,
            context.action_execution_id,
            exc_info=unforeseen,
        )
        return Result(
            error=f"The action raised an exception [action={action.label}, "
            f"action_ex_id={context.action_execution_id}, msg='{error}']"
        )


def signature_text(parameters: tuple[Parameter, ...], *, accepts_any: bool = False) -> str:
    """Parameters as the API shows them, defaults as JSON."""
    shown = [p.name if p.required else f"{p.name}={json.dumps(p.default)}" for p in parameters]
    return ", ".join([*shown, "**kwargs"] if accepts_any else shown)


def check_names(name: str, implementation: str, parameters: tuple[Parameter, ...], input: Mapping[str, Json]) -> None:
    """Raise ``InvalidActionException`` naming every missing and every unexpected parameter. A null counts as given."""
    known = {parameter.name for parameter in parameters}
    missing = [p.name for p in parameters if p.required and p.name not in input]
    unexpected = [given for given in input if given not in known]
    if missing or unexpected:
        faults = (f", missing={missing}" if missing else "") + (f", unexpected={unexpected}" if unexpected else "")
        raise InvalidActionException(f"Invalid input [name={name}, class={implementation}{faults}]")


def _nothing_known(_input: JsonObject) -> float:
    return 0.0


def _accept(_input: JsonObject) -> None:
    return None


_CONTEXT_ANNOTATIONS: Final = ("ActionContext", ActionContext)


@dataclass(frozen=True, slots=True)
class FunctionAction:
    """An action made of one function by ``@action``."""

    name: str
    description: str
    parameters: tuple[Parameter, ...]
    function: Callable[..., Json]
    wants_context: bool
    accepts_any: bool
    is_sync: bool
    label: str
    pure: bool | Callable[[JsonObject], bool]
    duration: Callable[[JsonObject], float]
    construct: Callable[[JsonObject], Any]

    @property
    def signature_text(self) -> str:
        """The API's ``input``."""
        return signature_text(self.parameters, accepts_any=self.accepts_any)

    def check(self, input: JsonObject) -> None:
        """Raise ``InvalidActionException`` when parameters are missing or unknown."""
        if not self.accepts_any:
            check_names(self.name, f"{self.function.__module__}.{self.function.__qualname__}", self.parameters, input)

    def check_values(self, input: JsonObject) -> None:
        """Raise ``ActionConstructionError`` when the values cannot be used together."""
        try:
            self.construct(input)
        except (TypeError, ValueError, AttributeError, ArithmeticError) as error:
            raise ActionConstructionError(str(error), self.name) from error

    def is_pure(self, input: JsonObject) -> bool:
        """Whether it ends at once, touches nothing and may be run any number of times."""
        return self.pure(input) if callable(self.pure) else self.pure

    def duration_sec(self, input: JsonObject) -> float:
        """The time it is known to take at least."""
        return self.duration(input)

    def run(self, input: JsonObject, context: ActionContext) -> Result:
        """Call the function; what it returns is the data, unless it is a ``Result`` itself."""
        value = self.function(context, **input) if self.wants_context else self.function(**input)
        return value if isinstance(value, Result) else Result(data=value)


def action(
    name: str,
    *,
    sync: bool = True,
    pure: bool | Callable[[JsonObject], bool] = False,
    duration: Callable[[JsonObject], float] = _nothing_known,
    construct: Callable[[JsonObject], Any] = _accept,
    label: str | None = None,
    like: Callable[..., Any] | None = None,
) -> Callable[[Callable[..., Json]], FunctionAction]:
    """Make a function an action: ``f(parameter, other=default)``, or with an ``ActionContext`` in front.

    The signature gives the parameters, the docstring the description (``:param x: …`` lines those of the parameters);
    with ``like``, the signature and those lines of another function. ``construct`` raises ``ValueError`` or
    ``TypeError`` for an input whose values cannot be used together.
    """

    def decorate(function: Callable[..., Json]) -> FunctionAction:
        first = next(iter(inspect.signature(function).parameters.values()), None)
        wants_context = first is not None and first.annotation in _CONTEXT_ANNOTATIONS
        declared = [
            item
            for item in inspect.signature(like or function).parameters.values()
            if item.annotation not in _CONTEXT_ANNOTATIONS
        ]
        notes_text = inspect.getdoc(like or function) or ""
        notes = {found[1]: " ".join(found[2].split()) for found in _PARAMETER_LINE.finditer(notes_text)}
        return FunctionAction(
            name=name,
            description=inspect.getdoc(function) or "",
            parameters=tuple(_parameter(item, notes) for item in declared if item.kind is not item.VAR_KEYWORD),
            function=function,
            wants_context=wants_context,
            accepts_any=any(item.kind is item.VAR_KEYWORD for item in declared),
            is_sync=sync,
            label=label or name,
            pure=pure,
            duration=duration,
            construct=construct,
        )

    return decorate


def _parameter(declared: inspect.Parameter, notes: Mapping[str, str]) -> Parameter:
    required = declared.default is inspect.Parameter.empty
    return Parameter(
        name=declared.name,
        required=required,
        default=None if required else declared.default,
        type=_TYPES.get(str(declared.annotation).removesuffix(" | None")),
        description=notes.get(declared.name, ""),
    )
