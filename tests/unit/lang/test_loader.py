"""YAML text to plain data: Mistral's subset, its bounds, and where everything stands."""

import pytest

from chalicelib import limits
from chalicelib.errors import DSLParsingException, InvalidModelException
from chalicelib.lang import loader
from chalicelib.lang.loader import dump, load


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("", {}),
        ("# nothing but a comment", {}),
        ("null", {}),
        ("a: *abc", {"a": "*abc"}),
        ("a: &abc", {"a": "&abc"}),
        ("a: @abc", {"a": "@abc"}),
        ("a: 1\na: 2", {"a": 2}),
        ("a: [yes, on, no, 012, 1_000, 0x1F, 1.5, ~, '1']", {"a": [True, True, False, 10, 1000, 31, 1.5, None, "1"]}),
        ("a: {<<: {b: 1, c: 2}, b: 3}", {"a": {"b": 3, "c": 2}}),
        ("a: {<<: [{b: 1}, {b: 2, c: 3}]}", {"a": {"b": 1, "c": 3}}),
        ("a: {b: 2020-01-01}", {"a": {"b": "2020-01-01"}}),
        ("a: {1: x, yes: y, ~: z}", {"a": {"1": "x", "true": "y", "null": "z"}}),
        ("a: !!str 5", {"a": "5"}),
    ],
)
def test_a_text_is_read_as_mistral_reads_it(text, data):
    assert load(text).data == data


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("a: 1\nt: &x {a: b}", 2, 9),
        ("a: [1, 2", 1, 9),
        ("a:\n  b: {<<: *x}", 2, 7),
        ("a: !!python/object:os.system x", 1, 4),
        ("a: !!binary aGVsbG8=", 1, 4),
        ("a: !!set {x}", 1, 4),
        ("a: !!bool maybe", 1, 4),
        ("a: !!int ''", 1, 4),
        ("a: .nan", 1, 4),
        ("a: 2020-13-45", 1, 4),
        ("a: " + "9" * 500, 1, 4),
        ("? [a]\n: b", 1, 3),
        ("a: 1\n--- {}", 2, 1),
        ("a:\n\tb: 1", 2, 1),
    ],
)
def test_what_is_not_the_languages_yaml_is_refused_with_its_place(text, line, column):
    with pytest.raises(DSLParsingException, match="Definition could not be parsed") as refusal:
        load(text)
    [fault] = refusal.value.faults
    assert (fault.line, fault.column) == (line, column)


@pytest.mark.parametrize("text", ["abc", "[1]", "5"])
def test_a_document_is_a_mapping(text):
    with pytest.raises(InvalidModelException, match="not of type 'object'"):
        load(text)


@pytest.mark.parametrize("text", ["\x01: a", "a: \ud800"])
def test_characters_that_yaml_forbids_are_refused(text):
    with pytest.raises(DSLParsingException, match="special characters are not allowed"):
        load(text)


def test_size_depth_and_number_of_values_are_bounded():
    with pytest.raises(DSLParsingException, match="larger than"):
        load("a: " + "x" * limits.DEFINITION_BYTES_MAX)
    with pytest.raises(DSLParsingException, match="deeper than"):
        load("a: " + "[" * limits.YAML_DEPTH_MAX + "]" * limits.YAML_DEPTH_MAX)
    with pytest.raises(DSLParsingException, match="more than"):
        load("a: [" + "1," * limits.YAML_NODES_MAX + "]")


def test_a_thousand_levels_are_refused_without_exhausting_the_stack():
    with pytest.raises(DSLParsingException, match="deeper than"):
        load("a: " + "{b: " * 20_000)


def test_both_readers_know_where_everything_stands():
    text = "version: '2.0'\nw:\n  tasks:\n    t:\n      on-success:\n        - u\n        - {v: <% 1 %>}\n"
    for marker in ("", "# ? sends the text to the other reader\n"):
        document = load(text + marker)
        assert document.position(("w",)) == (2, 1)
        assert document.position(("w", "tasks", "t", "on-success", 0)) == (6, 11)
        assert document.position(("w", "tasks", "t", "on-success", 1, "v")) == (7, 12)
        assert document.position(("w", "tasks", "t", "missing", "deeper")) == (4, 5)
        assert document.position(()) is None


def test_without_libyaml_everything_is_the_same(monkeypatch):
    text = "version: '2.0'\nw: {tasks: {t: {input: {a: [1, x, ~], b: '<% $.a * 2 %>'}}}}\n"
    with_libyaml = load(text).data
    monkeypatch.setattr(loader, "_FAST_READER", None)
    assert load(text).data == with_libyaml


def test_a_dump_keeps_the_order_of_keys_and_reads_back_the_same():
    shared = {"z": [1, "é"], "a": {"1": "2020-01-01"}}
    data = {"version": "2.0", "w": {"one": shared, "two": shared}}
    text = dump(data)
    assert load(text).data == data
    assert text.index("one") < text.index("two")
    assert "&" not in text


def test_text_that_yaml_took_for_something_else_can_be_dumped():
    assert load(dump(load("a: {1: 2020-01-01}").data)).data == {"a": {"1": "2020-01-01"}}
