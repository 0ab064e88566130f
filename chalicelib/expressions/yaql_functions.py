"""The registry, and what depends on the moment, as functions of YAQL."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any, Final

from yaql.language import contexts, specs, yaqltypes
from yaql.standard_library import date_time

from chalicelib.expressions.functions import REGISTRY, Scope
from chalicelib.vocabulary import Json

# The library converts with these arguments: value, receiver, context, function, engine.
_ENGINE: Final = 4
_NO_OFFSET: Final = datetime.timedelta()


class ScopeParameter(yaqltypes.HiddenParameterType, yaqltypes.SmartType):  # type: ignore[misc] # untyped
    """A parameter that the library fills in: the scope of the evaluation, which its engine carries."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(False)

    def convert(self, *arguments: Any) -> Scope:
        """Answer the scope, whatever the expression says."""
        engine = arguments[_ENGINE]
        scope: Scope = engine.scope
        return scope


def register_functions(context: contexts.ContextBase) -> None:
    """Add Mistral's functions, and bind YAQL's own ``now()`` and ``random()`` to the world that is handed in."""
    for definition in [*context.get_functions("now")[0], *context.get_functions("random")[0]]:
        context.delete_function(definition)
    for name, function in REGISTRY.items():
        _register(context, name, function)
    _register(context, "now", _now)
    _register(context, "random", _random)
    _register(context, "random", _random_integer)


def _register(context: contexts.ContextBase, name: str, function: Callable[..., Json]) -> None:
    definition = specs.get_function_definition(
        function,
        name=name,
        convention=context.convention,
        parameter_type_func=lambda parameter: ScopeParameter() if parameter == "scope" else None,
    )
    context.register_function(definition)


def _now(scope: Scope, offset: datetime.timedelta = _NO_OFFSET) -> datetime.datetime:
    zone = datetime.timezone(offset) if offset else date_time.yaqltypes.DateTime.utctz
    return scope.world.now().astimezone(zone)


def _random(scope: Scope) -> float:
    return scope.world.random()


def _random_integer(scope: Scope, from_: int, to_: int) -> int:
    if to_ < from_:
        raise ValueError(f"empty range for random({from_}, {to_})")
    return from_ + int(scope.world.random() * (to_ - from_ + 1))
