"""Inline parameters and ``with-items``: Mistral's grammar, dropped values included."""

import pytest

from chalicelib import limits
from chalicelib.errors import InvalidModelException
from chalicelib.lang.inline import deep_merge, is_expression, leftovers, parse_command, parse_with_items

_READ = [
    ("output='x'", {"output": "x"}),
    ('output="x y"', {"output": "x y"}),
    ("output=12", {"output": 12}),
    ("output=true", {"output": True}),
    ("output=null", {"output": None}),
    ("output=[1, 2]", {"output": [1, 2]}),
    ("output=<% $.a + 1 %>", {"output": "<% $.a + 1 %>"}),
    ("output={{ _.a + 1 }}", {"output": "{{ _.a + 1 }}"}),
    ("output='<% $.a %> b'", {"output": "<% $.a %> b"}),
    ("output=[<% $.a %>]", {"output": "[<% $.a %>]"}),
    ("a=1 b=2 a=3", {"a": 3, "b": 2}),
    ("my-key=1", {"my-key": 1}),
    ("a=1 some words b=2", {"a": 1, "b": 2}),
]
_LOST = [
    ("output=1.5", {"output": 1}),
    ("output=-5", {}),
    ("output=abc", {}),
    ("output=True", {}),
    ('output={"a": 1}', {}),
    ("url=http://x", {}),
    ("output=123abc", {"output": 123}),
    ("output=true1", {"output": True}),
    ("a=[1] b=[2]", {"a": "[1] b=[2]"}),
    (r"output='it\'s'", {"output": "it\\"}),
    ("output = 'x'", {}),
    ("output=<% $.a %>-<% $.b %>", {"output": "<% $.a %>"}),
    ("c.d=2", {"d": 2}),
]


@pytest.mark.parametrize(("written", "parameters"), _READ + _LOST)
def test_inline_parameters_are_read_as_mistral_reads_them(written, parameters):
    assert parse_command(f"std.echo {written}") == ("std.echo", parameters)


@pytest.mark.parametrize("written", [written for written, _ in _READ])
def test_what_is_read_in_full_leaves_nothing_over(written):
    assert leftovers(f"std.echo {written}") == ()


@pytest.mark.parametrize("written", [written for written, _ in _LOST])
def test_what_is_dropped_or_cut_short_is_found(written):
    assert leftovers(f"std.echo {written}")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("std.echo", "std.echo"),
        ("std.echo\tx=1", "std.echo\tx=1"),
        ("<% $.a %> x=1", "<% $.a %>"),
        ("{{ _.a }} x=1", "{{ _.a }}"),
        ("fail(msg='x y')", "fail"),
        ("count=3 delay=1", "count"),
        ("<% $.a %>", "<% $.a %>"),
    ],
)
def test_the_name_is_what_stands_before_the_parameters(text, name):
    assert parse_command(text)[0] == name


def test_a_text_that_begins_with_a_space_has_no_name():
    with pytest.raises(InvalidModelException, match="Invalid action/workflow task property"):
        parse_command(" std.echo x=1")


def test_an_inline_text_is_bounded():
    with pytest.raises(InvalidModelException, match="inline text may have"):
        parse_command("std.echo " + "x" * limits.INLINE_CHARACTERS_MAX)


def test_numbers_that_are_not_json_stay_text():
    assert parse_command("std.echo x=[NaN]") == ("std.echo", {"x": "[NaN]"})


@pytest.mark.parametrize(
    ("element", "variable", "items"),
    [
        ("i in <% $.list %>", "i", "<% $.list %>"),
        ("i in {{ _.list }}", "i", "{{ _.list }}"),
        ('i in [1, "a", null]', "i", [1, "a", None]),
        ('i in ["<% $.a %>", 2]', "i", ["<% $.a %>", 2]),
        ("  my-item  in  [1] and more", "my-item", [1]),
        ("iin[1]", "i", [1]),
    ],
)
def test_with_items_names_a_variable_and_its_items(element, variable, items):
    assert parse_with_items(element) == (variable, items)


@pytest.mark.parametrize("element", ["<% $.list %>", "i in []", "i in 5", "i.j in [1]", "in [1]"])
def test_with_items_without_the_form_var_in_items_is_refused(element):
    with pytest.raises(InvalidModelException, match="Wrong format of 'with-items'"):
        parse_with_items(element)


@pytest.mark.parametrize("element", ["i in [a, b]", "i in ['a']", "i in [1] x]"])
def test_a_literal_list_of_with_items_is_json(element):
    with pytest.raises(InvalidModelException, match="Invalid array in 'with-items'"):
        parse_with_items(element)


@pytest.mark.parametrize("text", ["<% $.a %>", "<% $.a %> \n", "{{ _.a }}", "<% $.a %> and <% $.b %>", "<%%>"])
def test_an_expression_begins_and_ends_with_its_delimiters(text):
    assert is_expression(text)


@pytest.mark.parametrize("text", [" <% $.a %>", "<% $.a %> x", "<% $.a\n %>", "{% if 1 %}", "", "x", 5, None, True])
def test_anything_else_is_no_expression(text):
    assert not is_expression(text)


def test_a_deep_merge_changes_neither_side():
    left, right = {"a": {"b": 1, "c": [1]}, "d": 1}, {"a": {"b": 2}, "d": {"e": 1}}
    assert deep_merge(left, right) == {"a": {"b": 2, "c": [1]}, "d": {"e": 1}}
    assert (left, right) == ({"a": {"b": 1, "c": [1]}, "d": 1}, {"a": {"b": 2}, "d": {"e": 1}})
