"""Bounds for Jinja: what its sandbox does not stop.

The sandbox keeps templates away from the process, but lets them loop and allocate without end. Here every call,
filter, loop turn and arithmetic operator is charged to the budget of the evaluation, and sizes are checked before
anything large is made.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, cast

import jinja2
from jinja2 import nodes
from jinja2.filters import make_attrgetter
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment, SandboxedEscapeFormatter, SandboxedFormatter
from jinja2.visitor import NodeTransformer
from markupsafe import Markup

from chalicelib.data import dataclass
from chalicelib.expressions import budget as bounds
from chalicelib.expressions.budget import Budget, BudgetExceededError
from chalicelib.expressions.functions import Scope
from chalicelib.expressions.plain import to_plain
from chalicelib.vocabulary import Json

# Names with a space cannot be written in a template, so these are out of its reach.
EVALUATION: Final = "the evaluation"
_COUNTED: Final = "counted items"
_CHARGED: Final = "charged text"

STEPS_PER_CALL: Final = 10
# Wrapping copies the rest of a word once a line: so many characters are copied in a step.
_COPIED_PER_STEP: Final = 4096
_WIDTH_DIGITS: Final = re.compile(r"\d{6,}")


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What one rendering carries along, under a name that no template can write."""

    scope: Scope
    budget: Budget


def evaluation_of(context: Context) -> Evaluation:
    """The evaluation that a template's context belongs to."""
    evaluation: Evaluation = context.parent[EVALUATION]
    return evaluation


class BoundedEnvironment(ImmutableSandboxedEnvironment):
    """A sandbox whose templates can change nothing they are given, and pay for what they do."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})
    concat = staticmethod(bounds.join)

    def __init__(self, **options: Any) -> None:
        super().__init__(finalize=_written, **options)
        # It would draw on chance, which only the world may.
        del self.globals["lipsum"]
        self.filters = {name: wrap_filter(name, function) for name, function in self.filters.items()}
        self.filters["random"] = wrap_filter("random", _random)
        self.filters[_COUNTED] = _counted
        self.filters[_CHARGED] = _charged
        self.policies["json.dumps_function"] = _dumps

    def _generate(self, source: nodes.Template, *args: Any, **kwargs: Any) -> str:
        return super()._generate(_Charging().visit(source), *args, **kwargs)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Compute an operator after a look at how large the outcome would be."""
        if operator == "**":
            bounds.check_power(left, right)
        elif operator == "*":
            bounds.check_product(left, right)
        elif operator == "%" and isinstance(left, str):
            _check_percent(left, right)
        return evaluation_of(context).budget.charge(super().call_binop(context, operator, left, right))

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        """Call a function or method after a look at how large the outcome would be."""
        budget = evaluation_of(__context).budget
        budget.spend(STEPS_PER_CALL)
        owner = getattr(__obj, "__self__", None)
        if isinstance(owner, (str, bytes, int)):
            _check_method(owner, getattr(__obj, "__name__", ""), args)
        return budget.charge(super().call(__context, __obj, *args, **kwargs))

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """Replace ``str.format`` by a sandboxed and bounded one."""
        if super().wrap_str_format(value) is None:
            return None
        owner: str = value.__self__
        formatter: SandboxedFormatter = (
            BoundedEscapeFormatter(self, escape=owner.escape) if isinstance(owner, Markup) else BoundedFormatter(self)
        )
        is_map = value.__name__ == "format_map"

        def formatted(*args: Any, **kwargs: Any) -> str:
            positional, named = ((), args[0]) if is_map else (args, kwargs)
            return type(owner)(formatter.vformat(owner, positional, named))

        return formatted


class MutatingEnvironment(BoundedEnvironment):
    """The same for templates that change lists and dicts; they must be given copies."""

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Whether a template may touch the attribute: as in the plain sandbox, mutators included."""
        return super(ImmutableSandboxedEnvironment, self).is_safe_attribute(obj, attr, value)


class _BoundedFields:
    """Checks widths, and the sum of what was formatted."""

    _size = 0

    def format_field(self, value: Any, format_spec: str) -> Any:
        """Format one value."""
        if _WIDTH_DIGITS.search(format_spec):
            raise BudgetExceededError(f"the width in the format '{format_spec[:40]}' is too large")
        text = super().format_field(value, format_spec)  # type: ignore[misc] # mixed into a Formatter
        self._size += len(text)
        bounds.check_size(self._size)
        return text


class BoundedFormatter(_BoundedFields, SandboxedFormatter):
    """Formats text within bounds."""


class BoundedEscapeFormatter(_BoundedFields, SandboxedEscapeFormatter):
    """Formats markup within bounds."""


class _Charging(NodeTransformer):
    """Makes loops count their turns and concatenations their length."""

    def visit_For(self, node: nodes.For) -> nodes.Node:
        """Count the items of a loop."""
        self.generic_visit(node)
        node.iter = _filtered(cast(nodes.Expr, node.iter), _COUNTED)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        """Charge for the joined text."""
        self.generic_visit(node)
        return _filtered(node, _CHARGED)


def _filtered(node: nodes.Expr, name: str) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno, environment=node.environment)


@jinja2.pass_context
def _counted(context: Context, items: Iterable[Any]) -> Iterable[Any]:
    return evaluation_of(context).budget.counted(items)


@jinja2.pass_context
def _charged(context: Context, text: str) -> Json:
    return evaluation_of(context).budget.charge(text)


@jinja2.pass_context
def _written(context: Context, value: Any) -> Any:
    """What an output writes: a list that holds another one many times over can be far longer than it is large."""
    if isinstance(value, (list, tuple, dict)):
        to_plain(value, evaluation_of(context).budget, is_native=True)
    return value


@jinja2.pass_context
def _random(context: Context, items: Any) -> Any:
    if not items:
        return context.environment.undefined("No random item, sequence was empty.")
    return items[int(evaluation_of(context).scope.world.random() * len(items))]


def _dumps(value: Json, **options: Any) -> str:
    return json.dumps(value, default=to_plain, **options)


def wrap_filter(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The filter with its work charged; numbers that serve only to allocate are refused."""
    passed = getattr(function, "jinja_pass_arg", None)

    @jinja2.pass_context
    def bounded(context: Context, value: Any, *args: Any, **kwargs: Any) -> Any:
        given: tuple[Any, ...] = ()
        if passed is not None:
            given = ({"context": context, "eval_context": context.eval_ctx}.get(passed.name, context.environment),)
        if name in _WIDE_FILTERS:
            for argument in (*args, *kwargs.values()):
                bounds.check_width(argument)
        if name in _LONG_FILTERS:
            value = _LONG_FILTERS[name](context, value, args, kwargs)
        return evaluation_of(context).budget.charge(function(*given, value, *args, **kwargs))

    return bounded


_WIDE_FILTERS: Final = frozenset({"batch", "center", "indent", "round", "slice", "tojson", "truncate", "wordwrap"})


def _check_replace(context: Context, value: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ARG001
    old, new = (*args, kwargs.get("old", ""), kwargs.get("new", ""))[:2]
    _check_method(str(value), "replace", (str(old), str(new)))
    return value


def _check_join(context: Context, value: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
    attribute = kwargs.get("attribute", args[1] if len(args) > 1 else None)
    items = list(evaluation_of(context).budget.counted(value))
    shown = map(make_attrgetter(context.environment, attribute), items) if attribute is not None else items
    separator = str(kwargs.get("d", args[0] if args else ""))
    bounds.check_size(sum(len(str(item)) for item in shown) + len(separator) * len(items))
    return items


def _check_sum(context: Context, value: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
    attribute = kwargs.get("attribute", args[0] if args else None)
    budget = evaluation_of(context).budget
    items = list(budget.counted(value))
    shown = map(make_attrgetter(context.environment, attribute), items) if attribute is not None else items
    size = sum(len(item) for item in shown if isinstance(item, (list, tuple)))
    # Adding lists copies the sum so far each time.
    budget.spend(size // bounds.ITEMS_PER_STEP + size * len(items) // _COPIED_PER_STEP)
    return items


def _check_format(context: Context, value: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ARG001
    _check_percent(str(value), kwargs or args)
    return value


def _check_wrap(context: Context, value: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    width = kwargs.get("width", args[0] if args else 79)
    if isinstance(width, int):
        evaluation_of(context).budget.spend(len(str(value)) ** 2 // (max(width, 1) * _COPIED_PER_STEP))
    return value


# Filters whose outcome or work may be far larger than what they are given → a check that answers the value to filter.
_LONG_FILTERS: Final[dict[str, Callable[[Context, Any, tuple[Any, ...], dict[str, Any]], Any]]] = {
    "replace": _check_replace,
    "join": _check_join,
    "format": _check_format,
    "sum": _check_sum,
    "wordwrap": _check_wrap,
}


def _check_percent(text: str, values: Any) -> None:
    if _WIDTH_DIGITS.search(text):
        raise BudgetExceededError("a width in the format is too large")
    given = values if isinstance(values, tuple) else (values,)
    if isinstance(values, Mapping):
        given = tuple(values.values())
    if "*" in text:
        for value in given:
            bounds.check_width(value)
    longest = max((len(value) if isinstance(value, str) else len(str(value)) for value in given), default=0)
    bounds.check_size(len(text) + text.count("%") * longest)


def _check_method(owner: str | bytes | int, name: str, args: tuple[Any, ...]) -> None:
    """Refuse a method of text or numbers whose outcome would be too long."""
    if name in _WIDE_METHODS and args:
        bounds.check_width(args[0])
    elif name in {"replace", "join", "translate"} and isinstance(owner, str):
        _check_text_method(owner, name, args)


_WIDE_METHODS: Final = frozenset({"center", "ljust", "rjust", "zfill", "expandtabs", "to_bytes"})


def _check_text_method(owner: str, name: str, args: tuple[Any, ...]) -> None:
    if name == "replace" and len(args) > 1 and all(isinstance(argument, str) for argument in args[:2]):
        bounds.check_size(len(owner) + owner.count(args[0]) * max(len(args[1]) - len(args[0]), 0))
    elif name == "join" and args and isinstance(args[0], (list, tuple)):
        bounds.check_size(sum(len(item) + len(owner) for item in args[0] if isinstance(item, str)))
    elif name == "translate" and args and isinstance(args[0], Mapping):
        longest = max((len(value) for value in args[0].values() if isinstance(value, str)), default=1)
        bounds.check_size(len(owner) * longest)
