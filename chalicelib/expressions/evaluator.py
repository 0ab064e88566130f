"""Finds expressions in data and evaluates them. Languages are tried in the order of their names: Jinja, then YAQL.

The law: data is never changed; a result is plain JSON-like data, which may be shared with the context and must not be
changed either.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from chalicelib.errors import EvaluationException, ExpressionGrammarException
from chalicelib.expressions import jinja, yaql
from chalicelib.expressions.functions import World
from chalicelib.expressions.options import DEFAULT, JINJA, YAQL, Options
from chalicelib.expressions.scanner import fragments
from chalicelib.vocabulary import Json

__all__ = ["DEFAULT", "Options", "evaluate", "is_expression", "validate"]


def _has_jinja(text: str) -> bool:
    return _has(text, "{{", "}}") or _has(text, "{%", "%}")


def _has_yaql(text: str) -> bool:
    return _has(text, "<%", "%>")


def _has(text: str, opening: str, closing: str) -> bool:
    return opening in text and next(fragments(text, opening, closing), None) is not None


_DETECTORS: Final[dict[str, Callable[[str], bool]]] = {JINJA: _has_jinja, YAQL: _has_yaql}
_VALIDATORS: Final[dict[str, Callable[[str], None]]] = {JINJA: jinja.validate, YAQL: yaql.validate}
_EVALUATORS: Final[dict[str, Callable[[str, Json, World, Options], Json]]] = {
    JINJA: jinja.evaluate,
    YAQL: yaql.evaluate,
}


def is_expression(text: str) -> bool:
    """Whether a text holds an expression of either language. A delimiter pair must stand on one line."""
    return any(detects(text) for detects in _DETECTORS.values())


def validate(text: str, options: Options = DEFAULT) -> None:
    """Parse the expressions of a text; a text without any passes.

    Raises ``YaqlGrammarException`` or ``JinjaGrammarException`` for what cannot be parsed,
    ``ExpressionGrammarException`` for a disabled language and for both languages in one text.
    """
    found: str | None = None
    for language, detects in _DETECTORS.items():
        if not detects(text):
            continue
        if language not in options.languages:
            raise ExpressionGrammarException(_disabled(language))
        if found:
            raise ExpressionGrammarException(
                f"The line already contains an expression of type '{found}'. "
                "Mixing expression types in a single line is not allowed."
            )
        _VALIDATORS[language](text)
        found = language


def evaluate(data: Json, context: Json, world: World, options: Options = DEFAULT) -> Json:
    """The data with every expression in its dict values and list items evaluated; results are not evaluated again.

    ``context`` is what ``$`` and ``_`` mean, commonly a lazy read-only mapping; with an empty one the data comes back
    as it is. Parts without expressions are shared. Raises ``YaqlEvaluationException``, ``JinjaEvaluationException``,
    and ``EvaluationException`` for a disabled language; ``errors.Interrupt`` passes from context and world to the
    caller.
    """
    return _evaluate_any(data, context, world, options) if context else data


def _evaluate_any(data: Json, context: Json, world: World, options: Options) -> Json:
    if isinstance(data, str):
        return _evaluate_text(data, context, world, options)
    if isinstance(data, dict):
        values = {key: _evaluate_any(value, context, world, options) for key, value in data.items()}
        return values if any(values[key] is not data[key] for key in data) else data
    if isinstance(data, list):
        items = [_evaluate_any(item, context, world, options) for item in data]
        return items if any(new is not old for new, old in zip(items, data, strict=True)) else data
    return data


def _evaluate_text(text: str, context: Json, world: World, options: Options) -> Json:
    for language, detects in _DETECTORS.items():
        if detects(text):
            if language not in options.languages:
                raise EvaluationException(_disabled(language))
            return _EVALUATORS[language](text, context, world, options)
    return text


def _disabled(language: str) -> str:
    return f"The '{language}' expression language is disabled by the operator."
