"""YAQL: one engine for the process, parsed expressions cached, the context read only where an expression touches it.

Inside YAQL data is frozen as Mistral freezes it (dicts become hashable, lists become tuples), but lazily: converting
the whole context for every expression would cost a hundred milliseconds per megabyte.
"""

from __future__ import annotations

import collections.abc  # noqa: F401 - the library uses it without importing it
import threading
from collections.abc import Iterable, Mapping, MutableSet, Sequence
from functools import cache, lru_cache
from typing import Any, Final

import yaql
from yaql.language import exceptions, expressions, factory, utils

from chalicelib import limits
from chalicelib.errors import YaqlEvaluationException, YaqlGrammarException
from chalicelib.expressions import budget as bounds
from chalicelib.expressions.budget import Budget
from chalicelib.expressions.functions import INTERNAL_NAMES, Scope, World
from chalicelib.expressions.options import Options
from chalicelib.expressions.plain import SCALARS, ContextView, ReadOnly, to_plain
from chalicelib.expressions.scanner import fragments
from chalicelib.expressions.yaql_bounds import BoundedContext, BoundedEngine, bound_functions
from chalicelib.expressions.yaql_functions import register_functions
from chalicelib.expressions.yaql_paths import MISSING, Path, path_of
from chalicelib.vocabulary import Json, JsonObject

_OPTIONS: Final = {
    "yaql.convertTuplesToLists": True,
    "yaql.convertSetsToLists": False,
    "yaql.iterableDicts": False,
    "yaql.convertOutputData": False,
}
# The library's parser keeps its state in the object that all threads share.
_parsing: Final = threading.Lock()


def validate(text: str) -> None:
    """Parse every expression of the text. Raises ``YaqlGrammarException``."""
    for fragment in fragments(text, "<%", "%>"):
        _check_length(fragment, YaqlGrammarException)
        try:
            # Unlike evaluation this does not strip the text: an expression is judged as it stands.
            _parse(_trim(fragment))
        except (exceptions.YaqlException, KeyError, ValueError, TypeError) as error:
            raise YaqlGrammarException(str(getattr(error, "message", error))) from error


def evaluate(text: str, context: Json, world: World, options: Options) -> Json:
    """The value of a text that is one expression; else the text with the value of each expression in its place.

    Raises ``YaqlEvaluationException``.
    """
    result = text
    for fragment in fragments(text, "<%", "%>"):
        expression = _trim(fragment).strip()
        is_whole = len(fragment) == len(text)
        try:
            _check_length(fragment, YaqlEvaluationException)
            value = _value_of(expression, context, world, options, is_native=not is_whole)
            if is_whole:
                return value
            result = bounds.replace(result, fragment, str(value))
        except Exception as error:
            raise _failure(expression, error) from error
    return result


def _trim(fragment: str) -> str:
    # Mistral's quirk: these characters go wherever they stand at the ends, not just the delimiters.
    return fragment.strip("<%>")


def _check_length(fragment: str, error: type[YaqlGrammarException | YaqlEvaluationException]) -> None:
    if len(fragment) > limits.EXPRESSION_CHARACTERS_MAX:
        raise error(
            f"the expression is {len(fragment)} characters long, {limits.EXPRESSION_CHARACTERS_MAX} is the most"
        )


def _failure(expression: str, error: Exception) -> YaqlEvaluationException:
    if isinstance(error, YaqlEvaluationException):
        return error
    return YaqlEvaluationException(
        f"Can not evaluate YAQL expression [expression={expression}, error={_describe(error)}]"
    )


def _describe(error: Exception) -> str:
    # The library writes the receiver of a method into its message, and that is data of the context.
    if isinstance(error, exceptions.MethodResolutionError):
        return f"{str(error).partition(' for receiver ')[0]} for this receiver and these arguments"
    return str(error)


def _value_of(expression: str, context: Json, world: World, options: Options, *, is_native: bool) -> Json:
    parsed = _parse(expression)
    scope = Scope(context, world, is_lenient=True)
    if parsed.path is not None:
        value = parsed.path.follow(scope)
        if value is not MISSING:
            return value
    budget = Budget(options)
    engine = BoundedEngine(_engine(), scope, budget, options.limit_iterators, options.memory_quota)
    result = parsed.statement(utils.NO_VALUE, _context(context, expression), engine)
    return to_plain(result, budget, is_native=is_native)


class Parsed:
    """A parsed expression and, if it is as plain as ``$.a.b``, the path that answers it without the engine."""

    __slots__ = ("path", "statement")

    def __init__(self, statement: expressions.Statement) -> None:
        self.statement = statement
        self.path: Path | None = path_of(statement)


def _parse(expression: str) -> Parsed:
    if len(expression) > limits.EXPRESSION_CACHED_CHARACTERS_MAX:
        return _parse_now(expression)
    return _parse_cached(expression)


def _parse_now(expression: str) -> Parsed:
    engine = _engine()
    with _parsing:
        return Parsed(engine(expression))


_parse_cached = lru_cache(maxsize=limits.EXPRESSIONS_CACHED_MAX)(_parse_now)


@cache
def _engine() -> factory.YaqlEngine:
    return factory.YaqlFactory(keyword_operator="=>", allow_delegates=False).create(options=_OPTIONS)


@cache
def _root() -> Any:
    context = yaql.create_context()
    bound_functions(context)
    own = context.create_child_context()
    register_functions(own)
    return own


def _context(data: Json, expression: str) -> BoundedContext:
    context = BoundedContext(_root())
    if isinstance(data, Mapping):
        view = FrozenView(ContextView(data))
        context["$"] = view
        for name in INTERNAL_NAMES:
            # Reading a variable may mean loading it, so only if the expression can name it.
            if name in expression and name in view:
                context[name] = view[name]
    else:
        context["$"] = freeze(data)
    return context


class FrozenView(ReadOnly, utils.FrozenDict):  # type: ignore[misc] # the library ships no types
    """A dict frozen for YAQL, each value when it is first touched. The dict itself is neither copied nor changed."""

    def __init__(self, source: Mapping[Any, Json]) -> None:
        self._d = source
        self._hash: int | None = None
        self._frozen: dict[Any, Json] = {}

    def __getitem__(self, key: Any) -> Json:
        frozen = self._frozen.get(key, MISSING)
        if frozen is MISSING:
            frozen = freeze(self._d[key])
            self._frozen[key] = frozen
        return frozen

    def get(self, key: Any, default: Json = None) -> Json:
        """The value at the key, or the default."""
        try:
            return self[key]
        except KeyError:
            return default

    def __contains__(self, key: object) -> bool:
        return key in self._d

    def shared(self) -> JsonObject | None:
        """The dict that was frozen."""
        if isinstance(self._d, ReadOnly):
            return self._d.shared()
        return self._d if type(self._d) is dict else None

    def __repr__(self) -> str:
        return repr(dict(self.items()))


def freeze(value: Json) -> Json:
    """The value as YAQL holds it: dicts hashable, lists as tuples, sets frozen."""
    if type(value) in SCALARS or isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return FrozenView(value)
    if isinstance(value, Sequence):
        return tuple([item if type(item) in SCALARS else freeze(item) for item in value])
    if isinstance(value, MutableSet):
        return frozenset(freeze(item) for item in value)
    if isinstance(value, Iterable):
        return map(freeze, value)
    return value
