"""Random expressions over variables whose types are known, in both languages."""

from __future__ import annotations

from typing import Any

from tests.differential.draw import Draw

# Variable name -> one of "int", "str", "list" (of integers), "dict" (of scalars under a and b), "bool", "any".
Known = dict[str, str]

_INT = (
    "<% $.{int} + 1 %>",
    "<% $.{int} * 2 - 3 %>",
    "<% $.{int} mod 2 %>",
    "<% len($.{str}) %>",
    "<% $.{list}.len() %>",
    "<% $.{list}.sum() %>",
    "<% $.{list}.count() %>",
    "<% $.{list}.first(7) %>",
    "<% max($.{list}.max(0), $.{int}) %>",
    "<% switch($.{int} > 2 => 10, true => 20) %>",
    "<% coalesce(null, $.{int}) %>",
    "<% int('12') + $.{int} %>",
    "<% $.get(absent, 5) %>",
    "<% $.{dict}.len() %>",
    "<% json_parse('[1, 2]').len() %>",
    "<% abs(0 - $.{int}) %>",
    "<% let(x => $.{int}) -> $x + 1 %>",
    "{{{{ _.{int} + 1 }}}}",
    "{{{{ _.{int} // 2 }}}}",
    "{{{{ _.{list}|length }}}}",
    "{{{{ _.{list}|sum }}}}",
    "{{{{ _.get('absent', 4) }}}}",
    "{{{{ _.{int} if _.{int} > 2 else 0 }}}}",
)
_STR = (
    "<% $.{str} + '!' %>",
    "<% str($.{int}) %>",
    "<% $.{str}.toUpper() %>",
    "<% $.{str}.replace('a', 'bb') %>",
    "<% $.{list}.select(str($)).join(',') %>",
    "<% concat($.{str}, 'x', str($.{int})) %>",
    "<% $.{str}.substring(1) %>",
    "<% json_dump($.{list}) %>",
    "<% yaml_dump($.{int}) %>",
    "<% $.{str}.trim() %>",
    "text <% $.{int} %> and <% $.{str} %>",
    "it is <% $.{bool} %>, <% null %>, <% $.{list} %>",
    "d=<% $.{dict} %>",
    "<% $.{str} %>",
    "{{{{ _.{str} }}}}",
    "{{{{ _.{str}|upper }}}}",
    "{{{{ _.{str}|replace('a', 'o') }}}}",
    "{{{{ _.{str} ~ '-' ~ _.{int} }}}}",
    "n: {{{{ _.{int} }}}} l: {{{{ _.{list} }}}}",
    "d: {{{{ _.{dict} }}}} b: {{{{ _.{bool} }}}} n: {{{{ none }}}}",
    "{{% for i in _.{list} %}}{{{{ i }}}};{{% endfor %}}",
    "{{{{ _.{list}|join('+') }}}}",
    "{{{{ json_dump(_.{list}) }}}}",
)
_LIST = (
    "<% $.{list}.where($ > 1) %>",
    "<% $.{list} + [9] %>",
    "<% range(0, 3) %>",
    "<% $.{list}.orderBy(-$) %>",
    "<% [1, $.{int}] %>",
    "<% $.{list}.select($ * $) %>",
    "<% $.{list}.limit(1) %>",
    "<% $.{list}.skip(1) %>",
    "<% $.{list}.distinct() %>",
    "<% $.{list}.reverse() %>",
    "<% list($.{int}, 2) %>",
    "<% $.{list} %>",
    "<% $.{list}.append(4) %>",
    "<% yaml_parse('[1, 2]') %>",
    "{{{{ _.{list} }}}}",
    "{{{{ _.{list} + [3] }}}}",
    "{{{{ _.{list}|sort }}}}",
    "{{{{ range(3)|list }}}}",
    "{{{{ _.{list}|map('int')|list }}}}",
)
_DICT = (
    "<% $.{dict} %>",
    "<% dict(a => $.{int}, b => $.{str}) %>",
    "<% {{a => $.{int}, b => 2}} %>",
    "<% $.{dict}.set(b, 1) %>",
    "<% $.{dict} + {{b => 3}} %>",
    "<% $.{dict}.mergeWith({{a => 5}}) %>",
    '<% json_parse(\'{{"a": 1, "b": null}}\') %>',
    "<% dict([[a, 1], [b, 2]]) %>",
    "<% $.{dict}.delete(zz) %>",
    "{{{{ _.{dict} }}}}",
    "{{{{ {{'a': _.{int}, 'b': _.{str}}} }}}}",
    "{{{{ dict(a=1, b=_.{int}) }}}}",
)
_BOOL = (
    "<% $.{int} > 1 %>",
    "<% $.{str} = 'abc' %>",
    "<% not $.{bool} %>",
    "<% 1 in $.{list} %>",
    "<% $.{bool} and $.{int} > 0 %>",
    "<% $.{str}.startsWith('a') %>",
    "<% $.{list}.any($ > 2) %>",
    "<% $.{dict}.containsKey(a) %>",
    "<% isString($.{str}) %>",
    "<% $.{str} =~ '^a' %>",
    "{{{{ _.{int} > 1 }}}}",
    "{{{{ not _.{bool} }}}}",
    "{{{{ 'a' in _.{str} }}}}",
    "{{{{ _.{list} is iterable }}}}",
)
_ANY = (
    "<% null %>",
    "{{{{ none }}}}",
    "<% $.{list}.select({{x => $}}) %>",
    "<% $.{dict}.items().orderBy($[0]) %>",
    "<% $.{dict}.keys().orderBy($) %>",
    "<% $.{dict}.b %>",
    "<% $.get(absent) %>",
    "<% 1.5 * 2 %>",
    "<% 7 / 2 %>",
    "<% {{x => {{y => [$.{int}, {{z => null}}]}}}} %>",
    "<% [[1, 2], [3]].selectMany($) %>",
    "<% $.{list}.toDict(str($), $) %>",
    "<% [1, 2].zip([3, 4]) %>",
    "<% $.{list}.groupBy($ mod 2) %>",
    "{{{{ _.{dict}.b }}}}",
    "{{{{ 7 / 2 }}}}",
    "{{{{ (1, 2) }}}}",
    "{{{{ _.{dict}.items()|list }}}}",
    "<% env() %>",
    "<% execution().input %>",
    "<% execution().spec.name %>",
    "{{{{ execution().name }}}}",
    "{{{{ env() }}}}",
)
_POOLS = {"int": _INT, "str": _STR, "list": _LIST, "dict": _DICT, "bool": _BOOL, "any": _ANY}
_CONSTANTS = {"int": "3", "str": "'abc'", "list": "[1, 2, 3]", "dict": "dict(a => 1, b => 2)", "bool": "true"}
_JINJA_CONSTANTS = {
    "int": "3",
    "str": "'abc'",
    "list": "[1, 2, 3]",
    "dict": "{'a': 1, 'b': 2}",
    "bool": "true",
}
FAILING = (
    "<% 1 / 0 %>",
    "<% int('x') %>",
    "<% $.absent.deeper %>",
    "<% no_such_function(1) %>",
    "<% $.no_such_method() %>",
    "{{ _.absent.deeper }}",
    "{{ 1 // 0 }}",
    "{{ no_such_function() }}",
    "{{ 1 + 'a' }}",
    "<% [1].first() + 'a' %>",
    "<% 'abc'[0] %>",
    "<% execution().state %>",
    "{{ _.absent }}",
    "<% $.absent %>",
    "{% if true %}yes{% else %}no{% endif %}",
)
TRUE = (
    "<% true %>",
    "<% 1 < 2 %>",
    "{{ True }}",
    "<% 'text' %>",
    "<% [0] %>",
    "{{ 1 }}",
    "{{ 'false' }}",
    "<% not null %>",
    "<% task().state = SUCCESS or task().state = ERROR %>",
)
FALSE = (
    "<% false %>",
    "<% null %>",
    "<% '' %>",
    "<% [] %>",
    "<% 0 %>",
    "{{ False }}",
    "{{ '' }}",
    "{{ none }}",
    "<% {} %>",
    "<% 2 < 1 %>",
    "<% $.get(absent) %>",
    "<% task().state = WAITING %>",
)
LITERALS: tuple[tuple[Any, str], ...] = (
    (1, "int"),
    (0, "int"),
    (-4, "int"),
    ("plain", "str"),
    ("with: colon and 'quotes'", "str"),
    ("äöü €", "str"),
    ([1, 2], "list"),
    ([], "list"),
    ({"a": 1, "b": "two"}, "dict"),
    (True, "bool"),
    (False, "bool"),
    (None, "any"),
    (1.5, "any"),
    ({"deep": {"list": [1, {"x": None}]}}, "any"),
    ("", "any"),
)


def _filled(draw: Draw, template: str, known: Known) -> str:
    """The template with a variable, or a constant, for each type that it asks for."""
    jinja = "{{{{" in template or "{{%" in template
    dot = "_." if jinja else "$."
    names: dict[str, str] = {}
    for kind in ("int", "str", "list", "dict", "bool"):
        fitting = [name for name, known_kind in known.items() if known_kind == kind]
        names[kind] = draw.pick(fitting) if fitting else ""
    text = template
    for kind, name in names.items():
        marker = dot + "{" + kind + "}"
        if marker in text and not name:
            text = text.replace(
                marker, (_JINJA_CONSTANTS if jinja else _CONSTANTS)[kind].replace("{", "{{").replace("}", "}}")
            )
    return text.format(**names)


def expression(draw: Draw, known: Known, kind: str | None = None) -> tuple[str, str]:
    """An expression that can be evaluated, and the type of its value."""
    chosen = kind or draw.weighted({"int": 3, "str": 4, "list": 2, "dict": 2, "bool": 2, "any": 2})
    return _filled(draw, draw.pick(_POOLS[chosen]), known), chosen


def value(draw: Draw, known: Known, *, depth: int = 0) -> tuple[Any, str]:
    """A literal, an expression, or a structure of both; and its type."""
    nested = 1 if depth == 0 else 0.3 if depth == 1 else 0
    way = draw.weighted({"literal": 3, "expression": 6, "dict": nested, "list": nested})
    if way == "literal":
        return draw.pick(LITERALS)
    if way == "expression":
        return expression(draw, known)
    if way == "dict":
        return {key: value(draw, known, depth=depth + 1)[0] for key in ("a", "b", "c")[: draw.number(1, 3)]}, "any"
    return [value(draw, known, depth=depth + 1)[0] for _ in range(draw.number(1, 3))], "any"


def guard(draw: Draw, *, holds: bool) -> str:
    """A guard of which the outcome is known."""
    return draw.pick(TRUE if holds else FALSE)
