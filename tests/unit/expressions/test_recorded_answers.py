"""Every expression of the fixture gives what OpenStack Mistral gave for it (a set is compared without order)."""

import copy
import json
from pathlib import Path

import pytest

from chalicelib.errors import MistralError
from chalicelib.expressions.evaluator import evaluate
from tests.unit.expressions.worlds import SmallWorld

RECORDED = json.loads((Path(__file__).parents[2] / "fixtures" / "expressions.json").read_text(encoding="utf-8"))


def outcome(data, context):
    try:
        return {"value": evaluate(data, context, SmallWorld("__task_execution" in context))}
    except MistralError as error:
        return {"error": type(error).__name__}


def is_same(recorded, value):
    if isinstance(recorded, dict) and "$set" in recorded:
        return isinstance(value, list) and sorted(map(repr, value)) == sorted(map(repr, recorded["$set"]))
    if isinstance(recorded, dict) and "$text" in recorded:
        return value == recorded["$text"]
    if isinstance(recorded, dict) and "$other" in recorded:
        return isinstance(value, str)
    if isinstance(recorded, dict) and "$dict" in recorded:
        pairs = sorted(recorded["$dict"], key=repr)
        return isinstance(value, dict) and is_same(pairs, sorted(([k, v] for k, v in value.items()), key=repr))
    if isinstance(recorded, dict):
        return (
            isinstance(value, dict)
            and recorded.keys() == value.keys()
            and all(is_same(recorded[k], value[k]) for k in value)
        )
    if isinstance(recorded, list):
        return type(value) is list and len(recorded) == len(value) and all(map(is_same, recorded, value))
    return type(recorded) is type(value) and recorded == value


@pytest.mark.parametrize("case", RECORDED["cases"], ids=lambda case: f"{case['context']}: {case['data']}"[:80])
def test_an_expression_gives_what_openstack_mistral_gives(case):
    context = copy.deepcopy(RECORDED["contexts"][case["context"]])
    found = outcome(case["data"], context)
    assert found.get("error") == case.get("error")
    assert "error" in case or is_same(case["value"], found["value"]), found


@pytest.mark.parametrize("case", RECORDED["cases"], ids=lambda case: f"{case['context']}: {case['data']}"[:80])
def test_an_expression_never_changes_its_context(case):
    context = copy.deepcopy(RECORDED["contexts"][case["context"]])
    outcome(case["data"], context)
    assert context == RECORDED["contexts"][case["context"]]
