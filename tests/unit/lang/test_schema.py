"""The published schema comes from the tables of the parser."""

import json
from pathlib import Path

from chalicelib.lang import grammar
from chalicelib.lang.schema import language_schema


def _references(schema):
    if isinstance(schema, dict):
        if "$ref" in schema:
            yield schema["$ref"]
        for value in schema.values():
            yield from _references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _references(value)


def test_the_schema_is_json_and_whole():
    schema = json.loads(json.dumps(language_schema()))
    assert {f"#/$defs/{name}" for name in schema["$defs"]} == set(_references(schema))


def test_every_key_of_a_task_is_published_and_no_other_is_allowed():
    tasks = language_schema()["$defs"]
    for kind in ("direct", "reverse"):
        assert tasks[f"{kind}-task"]["properties"].keys() >= grammar.TASKS[kind].keys.keys()
        assert tasks[f"{kind}-task"]["additionalProperties"] is False
    assert "join" not in tasks["reverse-task"]["properties"]
    assert "requires" not in tasks["direct-task"]["properties"]


def test_unknown_keys_of_a_workflow_pass_as_they_do_in_the_parser():
    assert "additionalProperties" not in language_schema()["$defs"]["direct-workflow"]


def test_the_published_schema_is_the_one_of_the_code():
    published = Path(__file__).parents[3] / "docs" / "workflow-language.schema.json"
    assert json.loads(published.read_text()) == language_schema()
