"""Random workflows end as they did on OpenStack Mistral 23, whose answers are recorded."""

import json
from pathlib import Path

import pytest

from tests.differential import normal
from tests.differential.cases import Case
from tests.differential.comparison import play_in_memory
from tests.differential.generator import make_case

RECORDED = Path(__file__).resolve().parents[1] / "fixtures" / "differential.jsonl"


def recorded(line):
    entry = json.loads(line)
    case = Case(**entry["case"])
    return pytest.param(case, entry["answer"], id=f"{case.seed}-{case.about.replace(' ', '-')}")


@pytest.mark.parametrize(("case", "answer"), [recorded(line) for line in RECORDED.read_text("utf-8").splitlines()])
def test_a_random_workflow_ends_as_on_mistral(case, answer):
    assert list(normal.differences(play_in_memory(case), answer)) == []


def test_a_seed_always_makes_the_same_case():
    assert [make_case(seed).digest for seed in range(20)] == [make_case(seed).digest for seed in range(20)]


def test_a_difference_is_told_with_its_place():
    ours = {"state": "ERROR", "tasks": {"a": [{"result": 1}]}}
    theirs = {"state": "ERROR", "tasks": {"a": [{"result": 1.0}]}}

    assert list(normal.differences(ours, theirs)) == [".tasks.a[0].result: 1 | 1.0"]


def test_ids_times_and_wrapped_errors_do_not_differ():
    one = "Can not evaluate YAQL expression [expression=$.x, error=x]"
    other = "Failed to run task [error=Can not evaluate YAQL expression [expression=$.x]]\nTraceback"

    assert normal.text(one) == normal.text(other)
    assert normal.text("since 2026-01-02 03:04:05") == normal.text("since 2025-11-12 13:14:15.5")
