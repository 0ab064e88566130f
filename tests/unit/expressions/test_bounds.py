import pytest

from chalicelib.errors import EvaluationException
from chalicelib.expressions.evaluator import Options, evaluate
from tests.unit.expressions.worlds import SmallWorld

CONTEXT = {"a": 1, "l": list(range(300)), "s": "x" * 100_000}
# Small enough to be reached soon, large enough for what users do.
FEW_STEPS = Options(steps_max=200_000)

ENDLESS = [
    "<% range(1000000000).len() %>",
    "<% sequence().len() %>",
    "<% sequence().where(false) %>",
    "<% sequence().last() %>",
    "<% 1.repeat().len() %>",
    "<% [1].cycle().len() %>",
    "<% generate(0, true, 1) %>",
    "<% generate(0, true, $ + 1).len() %>",
    "<% generateMany(0, [$, $]).len() %>",
    "<% range(1000000).select(range(1000000).len()) %>",
    "<% $.l.select($).select(range(100000).sum()) %>",
    "<% $.l.join($.l, $1 > $2, [$1, $2]).len() %>",
    "<% 5 in sequence(6) %>",
    "<% sequence().toSet() %>",
    "<% list(sequence()) %>",
    "<% sequence() %>",
    "<% [sequence(), [sequence()]] %>",
    "<% {a => sequence()} %>",
    "x<% sequence() %>",
    "<% sequence().memorize().len() %>",
    "<% def(f, f($) + f($)) -> f(1) %>",
    "<% range(1000000).select([$] * 1000000) %>",
    "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}{{ 1 }}",
    "{% macro m(n) %}{{ m(n - 1) if n }}{{ m(n - 1) if n }}{% endmacro %}{{ m(60) }}",
    "{{ range(100000) | map('center', 100000) | list | length }}",
    "{% set n = namespace(x=[1]) %}{% for i in range(40) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x }}",
    "{{ ([range(100000) | list] * 1000) | sum(start=[]) | length }}",
    "{{ (_.s * 10) | wordwrap(1) | length }}",
]
HUGE = [
    "<% pow(9, 99999999) %>",
    "<% shiftBitsLeft(1, 999999999) %>",
    "<% round(5, -999999999) %>",
    "<% 'x' * 1000000000 %>",
    "<% 1000000000 * 'x' %>",
    "<% [1] * 1000000000 %>",
    "<% range(60).aggregate($1 + $1, x) %>",
    "<% range(60).aggregate($1 * $1, 9) %>",
    "<% range(60).aggregate($1 + $1, [1]) %>",
    "<% $.s.repeat(1000).join('') %>",
    "<% $.s.replace(x, $.s) %>",
    "<% $.s.replace({x => $.s}) %>",
    "<% regex('x').replace($.s, $.s) %>",
    "<% $.s.replace(regex('x'), $.s) %>",
    "{{ 9 ** 99999999 }}",
    "{{ 'x' * 1000000000 }}",
    "{{ [1] * 1000000000 }}",
    "{{ '%1000000000d' % 1 }}",
    "{{ '%*d' % (1000000000, 1) }}",
    "{{ '{:1000000000d}'.format(1) }}",
    "{{ '{:{}d}'.format(1, 1000000000) }}",
    "{{ ('{:1000000000d}' | e).format(1) }}",
    "{{ 'x'.center(1000000000) }}",
    "{{ 'x' | center(1000000000) }}",
    "{{ 'x' | indent(1000000000, true) }}",
    "{{ 5 | round(-999999999) }}",
    "{% set n = namespace(x='x') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}{{ n.x | length }}",
    "{% set n = namespace(x='x') %}{% for i in range(60) %}{% set n.x = n.x + n.x %}{% endfor %}{{ n.x | length }}",
    "{% set n = namespace(x=9) %}{% for i in range(60) %}{% set n.x = n.x * n.x %}{% endfor %}{{ n.x }}",
    "{% for i in range(100000) %}{{ _.s }}{% endfor %}",
    "{% set x %}{% for i in range(100000) %}{{ _.s }}{% endfor %}{% endset %}{{ x | length }}",
    "{{ _.s | replace('x', _.s) | length }}",
    "{{ _.s.replace('x', _.s) | length }}",
    "{{ ([_.s] * 100000) | join | length }}",
    "{{ ''.join([_.s] * 100000) | length }}",
    "{{ ('{0}' * 1000).format(_.s) | length }}",
    "{{ (('%(x)s' * 10000) | format(x=_.s)) | length }}",
    "{{ (1).to_bytes(1000000000, 'big') }}",
    "{{ [1] | batch(1000000000, 1) | list | length }}",
    "{{ [1] | slice(1000000000) | list | length }}",
    "{{ {'a': 1} | tojson(1000000000) }}",
    "{{ (_.s).translate({120: _.s}) | length }}",
    "{{ 10 ** 5000 }}",
    "<% " + "(" * 20_000 + "1" + ")" * 20_000 + " %>",
    "{{ " + "(" * 20_000 + "1" + ")" * 20_000 + " }}",
]


@pytest.mark.timeout(20)
@pytest.mark.parametrize("text", ENDLESS)
def test_an_expression_without_end_ends_in_an_error(text):
    with pytest.raises(EvaluationException):
        evaluate(text, CONTEXT, SmallWorld(), FEW_STEPS)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("text", HUGE, ids=lambda text: text[:60])
def test_a_huge_value_is_refused_before_it_exists(text):
    with pytest.raises(EvaluationException):
        evaluate(text, CONTEXT, SmallWorld())


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("<% range(20000).len() %>", 20_000),
        ("<% $.l.select($ * 2).where($ > 10).sum() %>", 89_670),
        ("<% pow(2, 1000) mod 7 %>", 2),
        ("<% pow(7, 123456789, 11) %>", 8),
        ("<% $.l.join($.l.take(3), $1 = $2, $1) %>", [0, 1, 2]),
        ("<% 'ab' * 3 %>", "ababab"),
        ("<% [1] * 3 %>", [1, 1, 1]),
        ("<% round(12.345, 2) %>", 12.35),
        ("<% shiftBitsLeft(1, 10) %>", 1024),
        ("<% 'a-b'.replace('-', '+') %>", "a+b"),
        ("<% 'aXb'.replace(regex('X'), '+') %>", "a+b"),
        ("<% let($.l.select($ + 1).memorize()) -> $.len() + $.sum() %>", 45_450),
        ("{{ range(20000) | list | length }}", 20_000),
        ("{{ '%-5s|%03d' % ('a', 7) }}", "a    |007"),
        ("{{ '{:>5}|{}'.format('a', 7) }}", "    a|7"),
        ("{{ '{a}'.format_map({'a': 1}) }}", "1"),
        ("{{ [[1], [2]] | sum(start=[]) }}", [1, 2]),
        ("{{ [{'n': 1}, {'n': 2}] | sum(attribute='n') }}", 3),
        ("{{ [{'n': 1}, {'n': 2}] | join(',', attribute='n') }}", "1,2"),
        ("{{ 'a b' | wordwrap(1) }}", "a\nb"),
    ],
)
def test_ordinary_work_stays_within_the_bounds(text, value):
    assert evaluate(text, CONTEXT, SmallWorld()) == value


def test_a_deadline_holds_when_a_clock_is_handed_in():
    readings = iter(range(1_000_000))
    options = Options(monotonic=lambda: float(next(readings)), time_max_sec=2.0)
    with pytest.raises(EvaluationException, match=r"takes longer than 2\.0 seconds"):
        evaluate("<% sequence().len() %>", CONTEXT, SmallWorld(), options)


def test_an_operator_may_set_a_lower_limit_of_items():
    with pytest.raises(EvaluationException, match=r"5 items|exceeds 5"):
        evaluate("<% range(10).len() %>", CONTEXT, SmallWorld(), Options(limit_iterators=5))
    assert evaluate("<% range(5).len() %>", CONTEXT, SmallWorld(), Options(limit_iterators=5)) == 5


def test_an_operator_may_set_a_lower_memory_quota():
    with pytest.raises(EvaluationException, match="memory"):
        evaluate("<% $.s + x %>", CONTEXT, SmallWorld(), Options(memory_quota=1000))
