"""Whatever an action of a Python package returns or does, its task has an end and a reason."""

from __future__ import annotations

import datetime
import decimal
import sys

import pytest

from chalicelib.actions.registry import action
from chalicelib.vocabulary import Json
from tests.api.service_client import Client

LOOP: list[Json] = []
LOOP.append(LOOP)

ODD = {
    "an object": object(),
    "a set": {1, 2},
    "no number": float("nan"),
    "bytes": b"\xff",
    "a moment": datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC),
    "a decimal": decimal.Decimal("1.5"),
    "numbers as keys": {1: 2},
    "tuples as keys": {(1, 2): 3},
    "half a character": "\ud800",
}
WORKFLOW = """
odd:
  tasks:
    work:
      action: my.work
      publish:
        result: <% task().result %>
"""


def run(does, *, pure):
    """The state of a workflow with this action, and what its task tells."""
    client = Client()

    @action("my.work", pure=pure)
    def work() -> Json:
        """Do it."""
        return does()

    client.service.container.registry._built_in["my.work"] = work
    client.upload(WORKFLOW)
    execution = client.run("odd")
    return execution["state"], client.tasks_of(execution)["work"]["state_info"]


@pytest.mark.parametrize("pure", [True, False])
@pytest.mark.parametrize("name", ODD)
def test_what_is_no_json_is_written_as_well_as_it_can_be(name, pure):
    assert run(lambda: ODD[name], pure=pure)[0] == "SUCCESS"


@pytest.mark.parametrize("pure", [True, False])
@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (LOOP, "nested deeper than 200 levels"),
        ("x" * 3_000_000, "size limit exceeded"),
        ({"n": [10**5000]}, "the result holds an integer of"),
    ],
)
def test_what_cannot_be_kept_fails_the_task(value, reason, pure):
    state, info = run(lambda: value, pure=pure)
    assert state == "ERROR"
    assert reason in info


@pytest.mark.parametrize("pure", [True, False])
@pytest.mark.parametrize(
    ("does", "reason"),
    [
        (lambda: 1 / 0, "division by zero"),
        (lambda: dict[str, str]()["absent"], "absent"),
        (lambda: (_ for _ in ()).throw(RecursionError("too deep")), "too deep"),
    ],
)
def test_an_exception_fails_the_task(does, reason, pure):
    state, info = run(does, pure=pure)
    assert state == "ERROR"
    assert reason in info


def test_an_exit_fails_the_task_and_not_the_executor():
    state, info = run(lambda: sys.exit(3), pure=False)
    assert state == "ERROR"
    assert "SystemExit" in info
    assert "3" in info
