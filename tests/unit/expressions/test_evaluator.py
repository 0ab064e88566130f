import copy
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest

from chalicelib.errors import (
    EvaluationException,
    ExpressionGrammarException,
    Interrupt,
    JinjaEvaluationException,
    JinjaGrammarException,
    YaqlEvaluationException,
    YaqlGrammarException,
)
from chalicelib.expressions.evaluator import Options, evaluate, is_expression, validate
from chalicelib.expressions.functions import REGISTRY
from tests.unit.expressions.worlds import UUID, SmallWorld

CONTEXT = {
    "a": 1,
    "l": [1, 2],
    "d": {"x": {"y": 2}, "k": "v"},
    "secret": "hunter2",
    "__env": {"e": 1},
    "__execution": {"id": "w1"},
    "__task_execution": {"id": "t-3", "name": "cur"},
}


class LazyContext(Mapping[str, object]):
    """A context that knows its names but loads one value only when it is asked for."""

    def __init__(self, missing=()):
        self.missing = missing
        self.loaded = []

    def __getitem__(self, key):
        value = CONTEXT[key]
        if key in self.missing:
            raise Interrupt
        self.loaded.append(key)
        return value

    def __contains__(self, key):
        return key in CONTEXT

    def __iter__(self):
        return iter(CONTEXT)

    def __len__(self):
        return len(CONTEXT)


def value_of(data, context=CONTEXT, world=None, **options):
    return evaluate(data, context, world or SmallWorld(), Options(**options))


EVERY_FUNCTION = pytest.mark.parametrize("name", sorted(REGISTRY))


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("<% $.a %>", True),
        ("a {{ _.a }} b", True),
        ("{% if 1 %}x{% endif %}", True),
        ("{# comment #}", False),
        ("<% $.a", False),
        ("<%\n$.a %>", False),
        ("{{\n_.a }}", False),
        ("<%>", False),
        ("plain", False),
    ],
)
def test_an_expression_is_a_pair_of_delimiters_on_one_line(text, is_one):
    assert is_expression(text) is is_one


def test_a_long_run_of_opening_delimiters_is_scanned_in_linear_time():
    assert not is_expression("<%{{" * 500_000)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("<% ( %>", YaqlGrammarException),
        ("<% %>", YaqlGrammarException),
        ("{{ _.a", None),
        ("{{ _.a +  }}", JinjaGrammarException),
        ("{% if %}", JinjaGrammarException),
        ("{% for i in _.l %}{{ i }}", JinjaGrammarException),
        ("<% $.a %> {{ _.a }}", ExpressionGrammarException),
        ("<% $.a %>", None),
        ("{{ _.a | no_such_filter }}", None),
        ("<% no_such_function() %>", None),
        ("plain", None),
        ("<% " + "1 + " * 20_000 + "1 %>", YaqlGrammarException),
        ("{{ " + "1 + " * 20_000 + "1 }}", JinjaGrammarException),
        ("<% " + "(" * 5_000 + "1" + ")" * 5_000 + " %>", None),
    ],
)
def test_validation_finds_what_cannot_be_parsed(text, error):
    if error is None:
        validate(text)
    else:
        with pytest.raises(error):
            validate(text)


def test_a_disabled_language_fails_in_validation_and_in_evaluation():
    options = Options(languages=frozenset({"yaql"}))
    with pytest.raises(ExpressionGrammarException, match="'jinja' expression language is disabled"):
        validate("{{ _.a }}", options)
    with pytest.raises(EvaluationException, match="'jinja' expression language is disabled"):
        evaluate("{{ _.a }}", CONTEXT, SmallWorld(), options)
    assert evaluate("<% $.a %>", CONTEXT, SmallWorld(), options) == 1


def test_values_are_evaluated_at_any_depth_and_keys_are_not():
    data = {"<% $.a %>": ["<% $.a %>", {"deep": "{{ _.d.k }}"}], "plain": 5}
    before = copy.deepcopy(data)
    assert value_of(data) == {"<% $.a %>": [1, {"deep": "v"}], "plain": 5}
    assert data == before


def test_data_without_expressions_comes_back_as_it_is():
    data = {"a": [1, {"b": "text"}]}
    assert value_of(data) is data


def test_a_result_is_not_evaluated_again():
    assert value_of("<% $.t %>", {"t": "<% $.a %>"}) == "<% $.a %>"


def test_an_empty_context_leaves_data_unevaluated():
    assert value_of("<% $.a %>", {}) == "<% $.a %>"


@pytest.mark.parametrize("text", ["<% $.d.foo() %>", "<% $.secret.foo(1) %>", "<% $.foo() %>", "<% $.len($.secret) %>"])
def test_the_text_of_an_error_names_the_expression_and_never_the_context(text):
    with pytest.raises(YaqlEvaluationException, match=r"Can not evaluate YAQL expression \[expression=") as caught:
        value_of(text)
    assert "hunter2" not in str(caught.value)
    assert text.strip("<%> ") in str(caught.value)


def test_an_undefined_name_in_jinja_is_told_by_its_name():
    with pytest.raises(JinjaEvaluationException, match="'dict object' has no attribute 'nope'"):
        value_of("{{ _.nope }}")


@pytest.mark.parametrize(
    "text",
    [
        "<% $.a %>",
        "<% $.a + 1 %>",
        "<% $ %>",
        "<% let($.a) -> $ %>",
        "<% $.l.select($) + [$.a] %>",
        "{{ _.a }}",
        "{{ _.a + 1 }}",
        "{{ _.l | map('string') | list + [_.a] }}",
        "x {{ _.a }}",
        "x <% $.a %>",
        "{% for i in _.l %}{{ _.a }}{% endfor %}",
        "{{ _.l.append(_.a) }}",
    ],
)
def test_an_interrupt_of_a_lazy_context_passes_untouched(text):
    with pytest.raises(Interrupt):
        value_of(text, LazyContext(missing={"a"}))


@pytest.mark.parametrize(
    "text", ["<% task(t1).result %>", "<% task(t1).nope %>", "{{ task('t1') }}", "{{ _ | task('t1') }}"]
)
def test_an_interrupt_of_the_world_passes_untouched(text):
    class Unloaded(SmallWorld):
        def task(self, name):
            raise Interrupt

    with pytest.raises(Interrupt):
        value_of(text, world=Unloaded())


@pytest.mark.parametrize("text", ["<% $.a %>", "<% $.a + 0 %>", "{{ _.a }}", "{{ _.a + 0 }}", "{{ _['a'] }}"])
def test_only_what_an_expression_touches_is_loaded(text):
    context = LazyContext()
    assert value_of(text, context) == 1
    assert set(context.loaded) == {"a"}


@pytest.mark.parametrize("text", ["<% $ %>", "{{ _ }}", "<% $ + {} %>", "{{ dict(_) }}"])
def test_the_whole_context_comes_out_as_a_plain_dict(text):
    value = value_of(text, LazyContext())
    assert type(value) is dict
    assert value == CONTEXT


@pytest.mark.parametrize("text", ["<% $.d %>", "<% $.d + {} %>", "{{ _.d }}", "<% [$.l, $.d] %>", "<% $.d.values() %>"])
def test_results_are_plain_data(text):
    def check(value):
        assert type(value) in {dict, list, str, int}
        for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            check(inner)

    check(value_of(text, LazyContext()))


def test_a_set_comes_out_as_a_list_in_a_steady_order():
    assert value_of("<% set(c, a, b) %>") == ["a", "b", "c"]
    assert value_of("<% $.d.keys() %>") == ["x", "k"]
    assert value_of("keys: <% $.d.keys() %>") == "keys: {'x', 'k'}"


def test_an_undefined_value_inside_a_list_is_an_error():
    with pytest.raises(JinjaEvaluationException, match="'nope' is undefined"):
        value_of("{{ [nope] }}")


def test_a_template_may_change_its_own_lists_but_not_the_context():
    context = {"l": [1]}
    assert value_of("{% set _x = _.l.append(2) %}{{ _.l }}", context) == "[1, 2]"
    assert context == {"l": [1]}
    world = SmallWorld()
    assert value_of("{{ task('t1').result.l.append(3) }}{{ _.a }}", world=world) == "None1"
    assert world.task("t1")["result"]["l"] == [1, 2]


def test_a_mutator_whose_name_is_put_together_is_refused():
    context = {"l": [1]}
    with pytest.raises(JinjaEvaluationException, match="unsafe"):
        value_of("{{ _.l['app' ~ 'end'](2) }}", context)
    assert context == {"l": [1]}


@pytest.mark.parametrize("text", ["<% now() %>", "<% now(timespan(hours => 0)) %>"])
def test_the_time_is_the_time_of_the_world(text):
    assert value_of(text) == "2026-01-02T03:04:05.000000"


def test_now_knows_an_offset():
    assert value_of("<% now(timespan(hours => 2)).hour %>") == 5


def test_chance_and_identity_come_from_the_world():
    assert value_of("<% random() %>") == 0.5
    assert value_of("<% random(1, 10) %>") == 6
    assert value_of("{{ [1, 2, 3] | random }}") == 2
    assert value_of("<% uuid() %>") == UUID
    assert value_of("{{ uuid() }}") == UUID
    with pytest.raises(YaqlEvaluationException, match="empty range"):
        value_of("<% random(2, 1) %>")
    with pytest.raises(JinjaEvaluationException):
        value_of("{{ [] | random }}")


def test_without_a_current_task_yaql_goes_on_with_null_and_jinja_fails():
    context = {key: value for key, value in CONTEXT.items() if key != "__task_execution"}
    world = SmallWorld(has_current_task=False)
    assert value_of("<% task() %>", context, world) is None
    assert value_of("<% task(t1).result.id %>", context, world) == 7
    for text in ("{{ task() }}", "{{ task('t1') }}"):
        with pytest.raises(JinjaEvaluationException, match="__task_execution"):
            value_of(text, context, world)


@EVERY_FUNCTION
def test_every_function_of_the_registry_is_known_to_both_languages(name):
    with pytest.raises(YaqlEvaluationException) as caught:
        value_of(f"<% {name}(1, 2, 3, 4, 5, 6) %>")
    assert "Unknown function" not in str(caught.value)
    with pytest.raises(JinjaEvaluationException) as caught_too:
        value_of(f"{{{{ {name}(1, 2, 3, 4, 5, 6) }}}}")
    assert "undefined" not in str(caught_too.value)
    with pytest.raises(JinjaEvaluationException) as caught_also:
        value_of(f"{{{{ _ | {name}(1, 2, 3, 4, 5, 6) }}}}")
    assert "No filter" not in str(caught_also.value)


def test_aliases_in_parsed_yaml_are_not_resolved():
    assert value_of("<% yaml_parse($.t) %>", {"t": "a: &x 1\nb: [*x, '@c']"}) == {"a": "&x 1", "b": ["*x", "@c"]}


def test_deep_data_is_dumped_whole():
    deep = {"a": {"b": {"c": {"d": {"e": {"f": 1}}}}}}
    assert value_of("<% json_parse(json_dump($.deep)) %>", {"deep": deep}) == deep
    assert value_of("{{ json_parse(json_dump(_.deep)) }}", {"deep": deep}) == deep


def test_expressions_are_evaluated_in_many_threads_at_once():
    texts = [f"<% $.a + {number} %>" for number in range(40)] + [f"{{{{ _.a + {number} }}}}" for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        values = list(pool.map(value_of, texts * 3))
    assert values == [1 + number for number in range(40)] * 6
