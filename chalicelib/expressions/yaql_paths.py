"""The short way for the commonest expressions: ``$.a.b`` and ``task(t).result.a`` need no engine.

The law: a path either gives exactly what the engine would give, or gives up (``MISSING``) and the engine decides,
errors included. So it follows only plain dicts and keys that are there; a list on the way, for one, means a
projection.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from yaql.language import expressions

from chalicelib.data import dataclass
from chalicelib.expressions.functions import REGISTRY, Scope
from chalicelib.expressions.plain import SHAREABLE
from chalicelib.vocabulary import Json

MISSING: Final = object()

# Functions that may be called once more by the engine when a path gives up.
_REPEATABLE: Final = frozenset({"task", "execution", "env"})
_ARGUMENTS_MAX: Final = {"task": 1, "execution": 0, "env": 0}


@dataclass(frozen=True, slots=True)
class Path:
    """Where to begin (the context, or a function called with constants) and which keys to follow."""

    keys: tuple[str, ...]
    function: str | None = None
    arguments: tuple[Any, ...] = ()

    def follow(self, scope: Scope) -> Json:
        """The value at the end, shared with the context; ``MISSING`` if only the engine can tell."""
        value = scope.context if self.function is None else REGISTRY[self.function](scope, *self.arguments)
        if self.function is None and not isinstance(value, Mapping):
            return MISSING
        for position, key in enumerate(self.keys):
            if (type(value) is not dict and (position > 0 or self.function is not None)) or key not in value:
                return MISSING
            value = value[key]
        return value if type(value) in SHAREABLE else MISSING


def path_of(statement: expressions.Statement) -> Path | None:
    """The path that answers a parsed expression, if it is so plain."""
    keys: list[str] = []
    expression = statement.expression
    while isinstance(expression, expressions.BinaryOperator) and expression.operator == ".":
        expression, key = expression.args
        if not isinstance(key, expressions.KeywordConstant):
            return None
        keys.append(key.value)
    keys.reverse()
    if type(expression) is expressions.GetContextValue:
        return Path(tuple(keys)) if keys and expression.path.value == "$" else None
    if type(expression) is expressions.Function and expression.name in _REPEATABLE:
        return _function_path(expression, tuple(keys))
    return None


def _function_path(expression: expressions.Function, keys: tuple[str, ...]) -> Path | None:
    arguments = expression.args
    if len(arguments) > _ARGUMENTS_MAX[expression.name]:
        return None
    if not all(isinstance(argument, expressions.Constant) for argument in arguments):
        return None
    return Path(keys, expression.name, tuple(argument.value for argument in arguments))
