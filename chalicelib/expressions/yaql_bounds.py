"""Bounds for YAQL: what its own quotas do not stop.

YAQL calls every function and operator through the context, so the context of one evaluation does the counting;
functions that could allocate without end in a single call are replaced by bounded ones.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from yaql.language import contexts, factory, utils

from chalicelib import limits
from chalicelib.expressions import budget as bounds
from chalicelib.expressions.budget import Budget
from chalicelib.expressions.functions import Scope
from chalicelib.expressions.patterns import Pattern
from chalicelib.vocabulary import Json

# A call costs YAQL about fifty microseconds: it searches the overloads anew each time.
STEPS_PER_CALL: Final = 50


class BoundedEngine(factory.YaqlEngine):  # type: ignore[misc] # the library ships no types
    """The one engine of the process, lent to one evaluation with its scope and budget."""

    def __init__(
        self, engine: factory.YaqlEngine, scope: Scope, budget: Budget, limit_iterators: int, memory_quota: int
    ) -> None:
        limit = limit_iterators if limit_iterators >= 0 else limits.EVALUATION_ITEMS_MAX
        quota = memory_quota if memory_quota > 0 else limits.EVALUATION_BYTES_MAX
        options = dict(engine.options)
        options["yaql.limitIterators"] = limit
        options["yaql.memoryQuota"] = quota
        super().__init__(engine.lexer, engine.parser, options, engine.factory)
        self.scope = scope
        self.budget = budget


class BoundedContext(contexts.Context):  # type: ignore[misc] # the library ships no types
    """A context that charges every call of a function or operator, and what it returns."""

    def __call__(self, name: str, engine: BoundedEngine, *args: Any, **kwargs: Any) -> Callable[..., Any]:
        """Find the function, and charge when it is called."""
        call = super().__call__(name, engine, *args, **kwargs)
        budget = engine.budget

        def charged(*call_args: Any, **call_kwargs: Any) -> Any:
            budget.spend(STEPS_PER_CALL)
            result = budget.charge(call(*call_args, **call_kwargs))
            # An iterator may be endless. What memorize() gives can be read twice and must stay itself; it reads a
            # counted one.
            if isinstance(result, Iterator) and type(result).__module__ != utils.__name__:
                return budget.counted(result)
            return result

        return charged


def _power(inner: Callable[..., Json], a: Json, b: Json, c: Json = None) -> Json:
    bounds.check_power(a, b, c)
    return inner(a, b, c)


def _product(inner: Callable[..., Json], left: Json, right: Json, *rest: Any) -> Json:
    bounds.check_product(left, right)
    return inner(left, right, *rest)


def _shift(inner: Callable[..., Json], value: int, bits_number: int) -> Json:
    bounds.check_shift(value, bits_number)
    return inner(value, bits_number)


def _round(inner: Callable[..., Json], number: Json, ndigits: int = 0) -> Json:
    bounds.check_width(ndigits)
    return inner(number, ndigits)


def _replace(inner: Callable[..., Json], string: str, old: str, new: str, count: int = -1) -> Json:  # noqa: ARG001
    return bounds.replace(string, old, new, count)


def _replace_with_dict(
    inner: Callable[..., Json],  # noqa: ARG001
    string: str,
    str_func: Callable[[Json], str],
    replacements: Mapping[Json, Json],
    count: int = -1,
) -> Json:
    for old, new in replacements.items():
        string = bounds.replace(string, str_func(old), str_func(new), count)
    return string


def _join(
    inner: Callable[..., Json],  # noqa: ARG001
    sequence: Iterable[Json],
    separator: str,
    str_delegate: Callable[[Json], str],
) -> Json:
    return bounds.join(map(str_delegate, sequence), separator)


def _join_separator(
    inner: Callable[..., Json],  # noqa: ARG001
    separator: str,
    sequence: Iterable[Json],
    str_delegate: Callable[[Json], str],
) -> Json:
    return bounds.join(map(str_delegate, sequence), separator)


def _regex_replace(inner: Callable[..., Json], first: Json, second: Json, repl: str, count: int = 0) -> Json:
    string = first if isinstance(first, str) else second
    # A replacement may stand after every character and name groups that hold as much as was matched.
    bounds.check_size((len(string) + 1) * (len(repl) + 1))
    return _regex(inner, first, second, repl, count)


def _regex(inner: Callable[..., Json], *args: Any, **kwargs: Any) -> Json:
    return inner(*(Pattern(arg) if isinstance(arg, re.Pattern) else arg for arg in args), **kwargs)


def _text_matches(inner: Callable[..., Json], string: str, pattern: str) -> Json:  # noqa: ARG001
    return Pattern(re.compile(pattern)).search(string) is not None


def _text_does_not_match(inner: Callable[..., Json], string: str, pattern: str) -> Json:
    return not _text_matches(inner, string, pattern)


# (the library's module, its function) → the bounded form, which is given the library's function first.
_BOUNDED: Final[dict[tuple[str, str], Callable[..., Json]]] = {
    ("math", "pow_"): _power,
    ("math", "round_"): _round,
    ("math", "shift_bits_left"): _shift,
    ("math", "multiplication"): _product,
    ("strings", "string_by_int"): _product,
    ("strings", "int_by_string"): _product,
    ("strings", "replace"): _replace,
    ("strings", "replace_with_dict"): _replace_with_dict,
    ("strings", "join"): _join,
    ("strings", "join_"): _join_separator,
    ("collections", "list_by_int"): _product,
    ("collections", "int_by_list"): _product,
    ("regex", "replace"): _regex_replace,
    ("regex", "replace_string"): _regex_replace,
    ("regex", "replace_by"): _regex,
    ("regex", "replace_by_string"): _regex,
    ("regex", "search"): _regex,
    ("regex", "search_all"): _regex,
    ("regex", "split"): _regex,
    ("regex", "split_string"): _regex,
    ("regex", "matches"): _regex,
    ("regex", "matches_"): _text_matches,
    ("regex", "matches_operator_regex"): _regex,
    ("regex", "matches_operator_string"): _text_matches,
    ("regex", "not_matches_operator_regex"): _regex,
    ("regex", "not_matches_operator_string"): _text_does_not_match,
}
_NAMES: Final = (
    *("pow", "round", "shiftBitsLeft", "#operator_*", "replace", "join"),
    *("replaceBy", "search", "searchAll", "split", "matches", "#operator_=~", "#operator_!~"),
)


def bound_functions(context: contexts.ContextBase) -> None:
    """Put the bounded forms in the place of the library's functions, in this context and those above it."""
    missing = set(_BOUNDED)
    layer = context
    while layer is not None:
        for definition in [definition for name in _NAMES for definition in layer.get_functions(name)[0]]:
            inner = definition.payload
            key = (inner.__module__.rpartition(".")[2], inner.__name__)
            if key in _BOUNDED:
                missing.discard(key)
                bounded = definition.clone()
                bounded.payload = _bind(_BOUNDED[key], inner)
                layer.delete_function(definition)
                layer.register_function(bounded)
        layer = layer.parent
    assert not missing, f"YAQL no longer has the functions {sorted(missing)}; bound what took their place"


def _bind(guard: Callable[..., Json], inner: Callable[..., Json]) -> Callable[..., Json]:
    def bounded(*args: Any, **kwargs: Any) -> Json:
        return guard(inner, *args, **kwargs)

    return bounded
