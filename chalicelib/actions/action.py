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
import traceback
from collections.abc import Callable, Mapping
from dataclasses import field
from enum import StrEnum
from typing import Any, Final, Protocol

from chalicelib.actions.egress import EgressPolicy
from chalicelib.actions.secrets import Revealed, Secrets, holds_references
from chalicelib.data import dataclass
from chalicelib.errors import ActionConstructionError, ActionException, InvalidActionException, MistralError
from chalicelib.limits import RESULT_INTEGER_BITS_MAX, RESULT_VALUES_CHECKED_MAX
from chalicelib.vocabulary import Json, JsonObject, Result, State

_logger = logging.getLogger(__name__)

_PARAMETER_LINE: Final = re.compile(r"^\s*:param (\w+):\s*(.*(?:\n(?!\s*:param|\s*$).*)*)", re.MULTILINE)
# Python's words for JSON's types, without what stands in brackets behind them.
_TYPES: Final = {
    "str": "string",
    "int": "integer",
    "float": "number",
    "bool": "boolean",
    "JsonObject": "object",
    "dict": "object",
    "Mapping": "object",
    "list": "array",
    "Sequence": "array",
    "tuple": "array",
}
_OPTIONAL: Final = re.compile(r"Optional\[(.+)\]")


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
    """Where ``aws.*`` actions go: a default region, and another endpoint than AWS's own (an emulator's).

    ``role_arn`` is the role that they act as where a task names none; without it they are the process itself.
    """

    region: str | None = None
    endpoint_url: str | None = None
    role_arn: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionContext:
    """What an action knows of the execution it runs for.

    ``deadline_sec`` is the time that is left for the action, ``None`` without a bound. ``is_executor``: this process
    may run what users have uploaded. ``secrets`` reveals the references in an input; only executors have it.
    ``pending`` is the ``data`` of the ``Pending`` that the action answered last, ``None`` when it runs first.
    """

    workflow_execution_id: str | None = None
    task_execution_id: str | None = None
    action_execution_id: str | None = None
    workflow_name: str | None = None
    callback_url: str | None = None
    webhook_url: str | None = None
    project_id: str | None = None
    deadline_sec: float | None = None
    egress: EgressPolicy = field(default_factory=EgressPolicy)
    aws: AwsSettings = field(default_factory=AwsSettings)
    is_executor: bool = False
    secrets: Secrets | None = None
    pending: JsonObject | None = None


class Polling(StrEnum):
    """Whether an action may answer ``Pending``, and what may be repeated when its executor dies."""

    NEVER = "never"
    # The first run acts, those that follow only look: they may be repeated.
    AFTER_START = "after-start"
    # Every run only looks.
    ONLY = "only"


@dataclass(frozen=True, slots=True)
class Pending(Result):
    """Not yet: run the action again after ``delay_sec``, in some process, with ``data`` as ``context.pending``.

    ``data`` is a small JSON object, stored where people may see it: ids, no secrets. Nobody waits meanwhile. Only an
    action with ``polling`` may answer so.
    """

    delay_sec: float = 1.0


class FinalResult(Result):
    """A result that counts although its action is not surely a synchronous one: it knew when it ran."""

    __slots__ = ()


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
    def polling(self) -> Polling:
        """Whether ``run`` may return ``Pending``."""
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
    """Run an action. Never raises for what the action does: an exception becomes an error result in Mistral's words.

    References to secrets are revealed to the action alone; what it answers or raises holds none of their values.
    """
    revealed = Revealed(input)
    try:
        revealed = _revealed(input, context)
        return revealed.hide(action.run(revealed.input, context))
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever an action does, its task has an end
        # The one door between actions and the engine catches all. Neither input nor message is logged: they may hold
        # secrets. A failure that the action announces itself needs no traceback.
        where = "" if isinstance(error, MistralError) else "\n" + "".join(traceback.format_tb(error.__traceback__))
        _logger.warning(
            "Action %s failed with %s [action_ex_id=%s]%s",
            action.name,
            type(error).__name__,
            context.action_execution_id,
            where.rstrip(),
        )
        text = f"SystemExit: {error}" if isinstance(error, SystemExit) else str(error)
        return Result(
            error=f"The action raised an exception [action={action.label}, "
            f"action_ex_id={context.action_execution_id}, msg='{revealed.hide_in(text)}']"
        )


def _revealed(input: JsonObject, context: ActionContext) -> Revealed:
    if not holds_references(input):
        return Revealed(input)
    if context.secrets is None:
        raise ActionException("the input refers to a secret, and only an executor may read secrets")
    return context.secrets.reveal(input, context.project_id)


def comes_later(action: Action, result: Result) -> bool:
    """Whether what an action returned only says that it has started, and its result comes through the API."""
    return not action.is_sync and result.state is State.SUCCESS and not isinstance(result, FinalResult)


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
    polling: Polling = Polling.NEVER

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
        """Whether it ends at once, touches nothing and may be run any number of times.

        With a reference to a secret it is not: only an executor may read secrets.
        """
        return (self.pure(input) if callable(self.pure) else self.pure) and not holds_references(input)

    def duration_sec(self, input: JsonObject) -> float:
        """The time it is known to take at least."""
        return self.duration(input)

    def run(self, input: JsonObject, context: ActionContext) -> Result:
        """Call the function; what it returns is the data, unless it is a ``Result`` itself."""
        value = self.function(context, **input) if self.wants_context else self.function(**input)
        if not str(self.function.__module__).startswith("chalicelib."):
            _refuse_what_cannot_be_written(value.value if isinstance(value, Result) else value)
        return value if isinstance(value, Result) else Result(data=value)


def _refuse_what_cannot_be_written(value: Json) -> None:
    """Python refuses to write very long integers as text, so that no record could hold them. Raises ActionException."""
    waiting, seen = [value], 0
    while waiting and seen < RESULT_VALUES_CHECKED_MAX:
        item = waiting.pop()
        seen += 1
        if isinstance(item, int) and item.bit_length() > RESULT_INTEGER_BITS_MAX:
            raise ActionException(f"the result holds an integer of {item.bit_length()} bits: that is no JSON")
        if isinstance(item, dict):
            waiting.extend((*item, *item.values()))
        elif isinstance(item, (list, tuple, set, frozenset)):
            waiting.extend(item)


def action(
    name: str,
    *,
    sync: bool = True,
    pure: bool | Callable[[JsonObject], bool] = False,
    duration: Callable[[JsonObject], float] = _nothing_known,
    construct: Callable[[JsonObject], Any] = _accept,
    label: str | None = None,
    polling: Polling = Polling.NEVER,
    like: Callable[..., Any] | None = None,
) -> Callable[[Callable[..., Json]], FunctionAction]:
    """Make a function an action: ``f(parameter, other=default)``, or with an ``ActionContext`` in front.

    The signature gives the parameters, the docstring the description (``:param x: …`` lines those of the parameters);
    with ``like``, the signature and those lines of another function. ``construct`` raises ``ValueError`` or
    ``TypeError`` for an input whose values cannot be used together. With ``polling`` it may return ``Pending``.

    Raises ``TypeError`` for a function that cannot be called by names of parameters, and for a default that is no JSON.
    """

    def decorate(function: Callable[..., Json]) -> FunctionAction:
        if inspect.iscoroutinefunction(function):
            raise TypeError(f"{name}: an action is a plain function, not async def; it may use asyncio.run")
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
            parameters=tuple(_parameter(name, item, notes) for item in declared if item.kind is not item.VAR_KEYWORD),
            function=function,
            wants_context=wants_context,
            accepts_any=any(item.kind is item.VAR_KEYWORD for item in declared),
            is_sync=sync,
            label=label or name,
            pure=pure,
            duration=duration,
            construct=construct,
            polling=polling,
        )

    return decorate


def _parameter(action_name: str, declared: inspect.Parameter, notes: Mapping[str, str]) -> Parameter:
    if declared.kind in (declared.POSITIONAL_ONLY, declared.VAR_POSITIONAL):
        raise TypeError(f"{action_name}: the parameter {declared.name} cannot be given by name")
    required = declared.default is inspect.Parameter.empty
    default = None if required else declared.default
    try:
        json.dumps(default, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{action_name}: the default of {declared.name} is not JSON: {error}") from error
    return Parameter(
        name=declared.name,
        required=required,
        default=default,
        type=_type_of(declared.annotation),
        description=notes.get(declared.name, ""),
    )


def _type_of(annotation: Any) -> str | None:
    """JSON's word for an annotation, be it a type or its text; ``None`` where anything goes."""
    plain_class = isinstance(annotation, type) and not getattr(annotation, "__args__", ())
    text = annotation.__name__ if plain_class else str(annotation)
    text = text.removesuffix(" | None")
    optional = _OPTIONAL.search(text)
    text = (optional[1] if optional else text).partition("[")[0]
    return _TYPES.get(text.rpartition(".")[2])
