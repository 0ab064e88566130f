"""The functions that Mistral adds to both languages: one registry, one decorated function each.

The law: a function looks only at its arguments, at the context and at the ``World`` that is handed in; it changes
nothing. In YAQL parameter names appear in camel case (``tasks(workflowExecutionId => ...)``); in Jinja a function is
also a filter, where the piped value takes the place of the *context*, not of the first argument (Mistral's quirk).
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final, Protocol

import yaml

from chalicelib import limits
from chalicelib.data import dataclass
from chalicelib.expressions.budget import BudgetExceededError
from chalicelib.expressions.plain import to_plain
from chalicelib.vocabulary import Json, JsonObject

ENV: Final = "__env"
EXECUTION: Final = "__execution"
TASK_EXECUTION: Final = "__task_execution"
INTERNAL_NAMES: Final = (ENV, EXECUTION, TASK_EXECUTION)


class World(Protocol):
    """What an expression may ask about besides its context: implemented by the engine, purely.

    The same moment gives the same answers. A method may raise ``errors.Interrupt`` when the answer is not loaded yet;
    the interrupt reaches the caller of ``evaluate``. Returned data is never changed by an expression.
    """

    @property
    def has_current_task(self) -> bool:
        """Whether the expression belongs to a task."""

    def execution(self) -> JsonObject:
        """The current workflow execution."""

    def task(self, name: str | None) -> JsonObject | None:
        """The task of that name in the current workflow execution; ``None`` names the current task."""

    def tasks(
        self, workflow_execution_id: str | None, recursive: bool, state: str | None, flat: bool
    ) -> list[JsonObject]:
        """Tasks, filtered."""

    def executions(
        self,
        id: str | None,
        root_execution_id: str | None,
        state: str | None,
        from_time: str | None,
        to_time: str | None,
    ) -> list[JsonObject]:
        """Workflow executions, filtered."""

    def webhook_url(self, task_name: str, expires_sec: int) -> str:
        """A signed URL that completes the asynchronous action of that task in the current workflow execution."""

    def global_(self, name: str) -> Json:
        """The value of a global variable of the current workflow execution, or ``None``."""

    def uuid(self) -> str:
        """A new identity, the same when the moment is decided again."""

    def now(self) -> datetime:
        """The moment, with its time zone."""

    def random(self) -> float:
        """A number from 0.0 up to but not including 1.0."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Whom a function asks: the context of the expression, and the world.

    ``is_lenient`` is YAQL's manner, where an absent internal variable is null; in Jinja its absence is an error.
    ``is_copy`` gives out copies, for expressions that may change what they are given. ``is_piped``: called as a Jinja
    filter.
    """

    context: Json
    world: World
    is_lenient: bool = False
    is_copy: bool = False
    is_piped: bool = False

    def internal(self, name: str) -> Json:
        """An internal variable of the context. Raises ``KeyError`` when it is absent and the scope is not lenient."""
        if self.is_lenient:
            return self.context.get(name) if isinstance(self.context, Mapping) else None
        return self.context[name]

    def require_execution(self) -> None:
        """Raise what Mistral raises where the context belongs to no workflow execution."""
        self.internal(EXECUTION)["id"]

    def given(self, value: Json) -> Json:
        """What the world answered, copied if the expression may change it."""
        return copy.deepcopy(value) if self.is_copy else value


ExpressionFunction = Callable[..., Json]
REGISTRY: Final[dict[str, ExpressionFunction]] = {}


def expression_function(name: str) -> Callable[[ExpressionFunction], ExpressionFunction]:
    """Register a function for both languages; its first parameter is the ``Scope``."""

    def register(function: ExpressionFunction) -> ExpressionFunction:
        REGISTRY[name] = function
        return function

    return register


@expression_function("env")
def env(scope: Scope) -> Json:
    """The environment of the root execution."""
    return scope.given(scope.internal(ENV))


@expression_function("execution")
def execution(scope: Scope) -> Json:
    """The current workflow execution."""
    scope.require_execution()
    return scope.given(scope.world.execution())


@expression_function("executions")
def executions(  # noqa: PLR0917 - positional in expressions
    scope: Scope,
    id: str | None = None,  # the parameter's public name
    root_execution_id: str | None = None,
    state: str | None = None,
    from_time: str | None = None,
    to_time: str | None = None,
) -> Json:
    """Workflow executions that fit every filter; ``from_time`` is inclusive, ``to_time`` exclusive."""
    return scope.given(scope.world.executions(id, root_execution_id, state, from_time, to_time))


@expression_function("global")
def global_(scope: Scope, var_name: str) -> Json:
    """A global variable of the current workflow execution, or null."""
    scope.require_execution()
    return scope.given(scope.world.global_(var_name))


@expression_function("json_dump")
def json_dump(scope: Scope, data: Json) -> str:  # noqa: ARG001
    """The data as JSON text, indented by four."""
    return json.dumps(to_plain(data), indent=4)


@expression_function("json_parse")
def json_parse(scope: Scope, data: str) -> Json:  # noqa: ARG001
    """The value of a JSON text."""
    return json.loads(data)


@expression_function("task")
def task(scope: Scope, task_name: str | None = None) -> Json:
    """A task of the current workflow execution by its name, the current task without one; null when there is none."""
    world = scope.world
    if not world.has_current_task or scope.is_piped:
        # Without a current task YAQL goes on with null, and Jinja fails.
        scope.internal(TASK_EXECUTION)
        scope.require_execution()
    if not world.has_current_task and not task_name:
        return None
    return scope.given(world.task(task_name or None))


@expression_function("tasks")
def tasks(
    scope: Scope,
    workflow_execution_id: str | None = None,
    recursive: bool = False,
    state: str | None = None,
    flat: bool = False,
) -> Json:
    """Tasks of one workflow execution or of all; ``recursive``: also of what it started; ``flat``: no containers."""
    return scope.given(scope.world.tasks(workflow_execution_id, recursive, state, flat))


@expression_function("uuid")
def uuid(scope: Scope) -> str:
    """A new identity."""
    return scope.world.uuid()


@expression_function("webhook_url")
def webhook_url(scope: Scope, task_name: str, expires_sec: int = limits.WEBHOOK_LIFE_SEC) -> str:
    """A signed URL that completes the asynchronous action of a task of this execution, without credentials."""
    scope.require_execution()
    return scope.world.webhook_url(task_name, expires_sec)


@expression_function("yaml_dump")
def yaml_dump(scope: Scope, data: Json) -> Json:  # noqa: ARG001
    """The data as YAML text in block style, without aliases."""
    return yaml.dump(to_plain(data), Dumper=_Dumper, default_flow_style=False)


@expression_function("yaml_parse")
def yaml_parse(scope: Scope, data: str) -> Json:  # noqa: ARG001
    """The value of a YAML text; anchors and aliases are not resolved."""
    if not isinstance(data, str):
        raise TypeError(f"yaml_parse() takes text, not {type(data).__name__}")
    if len(data) > limits.FIELD_BYTES_MAX:
        raise BudgetExceededError(f"yaml_parse() takes {limits.FIELD_BYTES_MAX} characters at most")
    # The fast loader cannot be told to leave anchors alone, so it reads only what has none.
    loader = _Loader if any(mark in data for mark in "&*@") else _FastLoader
    return yaml.load(data, Loader=loader)  # noqa: S506 - both are safe loaders


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Json) -> bool:  # noqa: ARG002
        return True


class _Loader(yaml.SafeLoader):
    """Reads ``&``, ``*`` and ``@`` as plain text: an alias can blow a few bytes up to gigabytes."""

    def fetch_alias(self) -> None:
        self.fetch_plain()

    def fetch_anchor(self) -> None:
        self.fetch_plain()

    def check_plain(self) -> bool:
        return self.peek() == "@" or bool(super().check_plain())


_FastLoader: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
