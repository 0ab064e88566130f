"""Jinja: sandboxed environments, compiled templates cached, results native.

Context variables live in ``_`` only; Mistral's functions are globals and, with their quirk, filters.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache, lru_cache, partial
from typing import Any, Final

import jinja2
from jinja2 import nodes

from chalicelib import limits
from chalicelib.errors import JinjaEvaluationException, JinjaGrammarException
from chalicelib.expressions import budget as bounds
from chalicelib.expressions.budget import Budget
from chalicelib.expressions.functions import INTERNAL_NAMES, REGISTRY, ExpressionFunction, Scope, World
from chalicelib.expressions.jinja_bounds import (
    EVALUATION,
    BoundedEnvironment,
    Evaluation,
    MutatingEnvironment,
    wrap_filter,
)
from chalicelib.expressions.options import Options
from chalicelib.expressions.plain import SHAREABLE, ContextView, StrictUndefined, to_plain
from chalicelib.expressions.scanner import fragments
from chalicelib.vocabulary import Json

# Texts that may change what they read (`{% set _ = list.append(1) %}` is a common idiom) are given copies.
_MUTATORS: Final = re.compile(
    r"append|add|update|clear|pop|setdefault|reverse|insert|sort|extend|remove|discard|rotate"
)
# `{{ _.a.b }}` needs no template, if no name on the way is also a method of a dict.
_PATH: Final = re.compile(r"\s*_((?:\.[A-Za-z][A-Za-z0-9_]*)+)\s*")
_METHODS: Final = frozenset(dir(dict)) | frozenset(dir(ContextView))
_MISSING: Final = object()

# Mistral's list of what is wrong with a text of statements only.
_NO_EXPRESSION: Final = "list index out of range"


def validate(text: str) -> None:
    """Parse the text as a template. Raises ``JinjaGrammarException``."""
    if len(text) > limits.EXPRESSION_CHARACTERS_MAX:
        raise JinjaGrammarException(_too_long(text))
    try:
        _environment(False).parse(text)
    except (jinja2.TemplateError, RecursionError) as error:
        raise JinjaGrammarException(f"Syntax error '{error}'.") from error


def evaluate(text: str, context: Json, world: World, options: Options) -> Json:
    """The value of a text that is one ``{{ }}``; else the text rendered as a template.

    Raises ``JinjaEvaluationException``.
    """
    try:
        if len(text) > limits.EXPRESSION_CHARACTERS_MAX:
            raise JinjaEvaluationException(_too_long(text))
        first = next(fragments(text, "{{", "}}"), None)
        if first is None:
            raise IndexError(_NO_EXPRESSION)
        if len(first) == len(text):
            return _value_of(text[2:-2], context, world, options)
        return _render(text, context, world, options)
    except JinjaEvaluationException:
        raise
    except Exception as error:
        raise JinjaEvaluationException(
            f"Can not evaluate Jinja expression [expression={text}, error={error}]"
        ) from error


def _too_long(text: str) -> str:
    return f"the template is {len(text)} characters long, {limits.EXPRESSION_CHARACTERS_MAX} is the most"


def _value_of(expression: str, context: Json, world: World, options: Options) -> Json:
    value = _follow(expression, context)
    if value is not _MISSING:
        return value
    is_mutating = _MUTATORS.search(expression) is not None
    template = _compiled_expression(expression, is_mutating)
    variables, evaluation = _variables(expression, context, world, options, is_mutating)
    frame = template.new_context(variables)
    for _ in template.root_render_func(frame):
        pass
    return to_plain(frame.vars["result"], evaluation.budget)


def _render(text: str, context: Json, world: World, options: Options) -> str:
    is_mutating = _MUTATORS.search(text) is not None
    template = _compiled_template(text, is_mutating)
    variables, _ = _variables(text, context, world, options, is_mutating)
    return bounds.join(template.root_render_func(template.new_context(variables)))


def _follow(expression: str, context: Json) -> Json:
    """What a plain path leads to, if every step is a plain dict that has the key; else the template decides."""
    matched = _PATH.fullmatch(expression)
    if matched is None or not isinstance(context, Mapping):
        return _MISSING
    value: Json = context
    for name in matched[1].split(".")[1:]:
        if name in _METHODS or (value is not context and type(value) is not dict) or name not in value:
            return _MISSING
        value = value[name]
    return value if type(value) in SHAREABLE else _MISSING


def _variables(
    text: str, context: Json, world: World, options: Options, is_mutating: bool
) -> tuple[dict[str, Any], Evaluation]:
    view = ContextView(context, is_mutating) if isinstance(context, Mapping) else context
    scope = Scope(view, world, is_copy=is_mutating)
    evaluation = Evaluation(scope, Budget(options))
    variables: dict[str, Any] = {name: partial(function, scope) for name, function in REGISTRY.items()}
    if isinstance(view, ContextView):
        # Reading a variable may mean loading it, so only if the text can name it.
        variables.update((name, view.get(name)) for name in INTERNAL_NAMES if name in text)
    variables["_"] = view
    variables[EVALUATION] = evaluation
    return variables, evaluation


def _compile_expression(expression: str, is_mutating: bool) -> jinja2.Template:
    environment = _environment(is_mutating)
    parser = jinja2.parser.Parser(environment, expression, state="variable")
    try:
        parsed = parser.parse_expression()
        if not parser.stream.eos:
            raise jinja2.TemplateSyntaxError("chunk after expression", parser.stream.current.lineno, None, None)
        parsed.set_environment(environment)
    except jinja2.TemplateSyntaxError:
        environment.handle_exception(source=expression)
    body: list[nodes.Node] = [nodes.Assign(nodes.Name("result", "store"), parsed, lineno=1)]
    return environment.from_string(nodes.Template(body, lineno=1))


def _compile_template(text: str, is_mutating: bool) -> jinja2.Template:
    return _environment(is_mutating).from_string(text)


_CompileFunction = Callable[[str, bool], jinja2.Template]


def _cached(compile_now: _CompileFunction) -> _CompileFunction:
    compile_cached = lru_cache(maxsize=limits.EXPRESSIONS_CACHED_MAX)(compile_now)

    def compiled(text: str, is_mutating: bool) -> jinja2.Template:
        if len(text) > limits.EXPRESSION_CACHED_CHARACTERS_MAX:
            return compile_now(text, is_mutating)
        return compile_cached(text, is_mutating)

    return compiled


_compiled_expression = _cached(_compile_expression)
_compiled_template = _cached(_compile_template)


@cache
def _environment(is_mutating: bool) -> BoundedEnvironment:
    environment = (MutatingEnvironment if is_mutating else BoundedEnvironment)(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    for name, function in REGISTRY.items():
        environment.filters[name] = wrap_filter(name, _as_filter(function))
    return environment


def _as_filter(function: ExpressionFunction) -> Callable[..., Json]:
    """The function as a filter: what is piped in stands for the context."""

    @jinja2.pass_context
    def called(frame: jinja2.runtime.Context, piped: Json, *args: Json, **kwargs: Json) -> Json:
        scope: Scope = frame.parent[EVALUATION].scope
        return function(Scope(piped, scope.world, is_copy=scope.is_copy, is_piped=True), *args, **kwargs)

    return called
