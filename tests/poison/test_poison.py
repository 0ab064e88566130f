"""What cannot be done is given up with its reason, and nobody else comes to harm."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from chalicelib.engine import codec
from chalicelib.limits import ALARM_INTERVAL_MAX_SEC
from chalicelib.services.ports import INDEX_ALARM, Put
from tests.poison.site import Died, Site

ONE_TASK = """
main:
  tasks:
    only: {action: test.work name="only"}
"""
NEIGHBOUR = """
neighbour:
  tasks:
    only: {action: test.work name="neighbour"}
"""


def die() -> None:
    raise Died


# -- messages


@pytest.mark.parametrize(
    "text", ['"no object"', "[1, 2]", '{"kind": "unheard of", "x": "1"}', "{}", '{"kind": "timer"}']
)
def test_a_message_that_makes_no_sense_ends_with_the_dead_letters_and_harms_nobody(site: Site, text: str, caplog):
    site.put(text)
    execution = site.start(NEIGHBOUR, "neighbour")

    site.settle()

    assert site.header(execution).state == "SUCCESS"
    assert [json.loads(dead) for dead in site.dead()] == [json.loads(text)]
    assert "MESSAGE_UNREADABLE" in caplog.text


def test_a_message_that_is_no_json_ends_with_the_dead_letters(site: Site, caplog):
    site.put("<xml>")

    site.settle()

    assert ["xml" in dead for dead in site.dead()] == [True]
    assert "MESSAGE_UNREADABLE" in caplog.text


# -- records


@pytest.mark.parametrize("body", [b"\x00\x01", b'{"@":', b'{"@": 99999}', b"{}", b"[]"])
def test_an_execution_that_cannot_be_read_is_told_of_and_left_alone(site: Site, body: bytes, caplog):
    broken = site.start(ONE_TASK)
    item = site.table.get(broken, ["header"])["header"]
    site.table.write([Put(replace(item, body=body), expected=item.revision)])
    whole = site.start(NEIGHBOUR, "neighbour")
    site.made.engine.turns.forget()

    site.settle()

    assert site.header(whole).state == "SUCCESS"
    found = site.table.get(broken, ["header"])["header"]
    assert (found.body, found.revision) == (body, item.revision)
    assert "EXECUTION_UNREADABLE: The execution cannot be read" in caplog.text
    assert len(site.dead()) == 1
    # Its alarm, which nobody can answer, rings a few times a day and not every minute.
    late = float(found.indexes[INDEX_ALARM].sort.partition("|")[0])
    assert late > site.clock.now() + ALARM_INTERVAL_MAX_SEC / 2


def test_an_action_whose_input_is_lost_ends_in_error_with_the_reason(site: Site):
    text = """
main:
  input: [value]
  tasks:
    only: {action: test.work name="only" value=<% $.value %>}
"""
    execution = site.start(text, value="long " * 20_000)
    site.payloads.delete_all(execution)

    site.settle()

    assert site.runs == []
    task = site.task(execution, "only")
    assert (task.state, site.header(execution).state) == ("ERROR", "ERROR")
    assert "The input of the action 'test.work' cannot be read" in str(task.state_info)
    assert site.dead() == []


@pytest.mark.parametrize("items", [False, True])
def test_a_result_that_no_turn_can_take_in_ends_in_error_with_the_reason(site: Site, caplog, items: bool):
    text = """
main:
  tasks:
    first: {action: test.work name="first", publish: {value: <% task().result %>}, on-success: second}
    second: {WITH action: test.work name="second", publish: {more: <% $.value.len() %>}}
""".replace("WITH", "with-items: 'i in [1]'," if items else "")
    site.actions["first"] = lambda: "long " * 20_000
    execution = site.start(text)

    def lose_the_value() -> None:
        site.payloads.delete_all(execution)
        site.made.engine.turns.forget()

    site.actions["second"] = lose_the_value

    site.settle()

    assert site.runs.count("second") == 1
    header = site.header(execution)
    assert header.state == "ERROR"
    assert "died before" not in str(header.state_info)
    assert "tried 4 times" in str(header.state_info) or "WORK_GIVEN_UP" in caplog.text


# -- actions that kill


def test_an_action_that_kills_its_process_runs_once_and_ends_in_error(site: Site):
    site.actions["only"] = die
    execution = site.start(ONE_TASK)

    assert site.settle() == 1

    assert site.runs == ["only"]
    assert "died before it reported a result" in str(site.task(execution, "only").state_info)
    assert "not 'safe-rerun'" in str(site.task(execution, "only").state_info)
    assert site.header(execution).state == "ERROR"
    assert site.dead() == []


@pytest.mark.parametrize("text", [
    'main: {tasks: {only: {action: test.work name="only", safe-rerun: true}}}',
    'main: {tasks: {only: {with-items: "i in [1]", action: test.work name="only", safe-rerun: true}}}',
    'main: {tasks: {first: {action: test.work name="first", on-success: only}, '
    'only: {action: test.work name="only", safe-rerun: true}}}',
], ids=["one", "item", "carried"])  # fmt: skip
def test_an_action_that_may_run_again_and_kills_each_time_is_given_up(site: Site, text: str):
    site.actions["only"] = die
    execution = site.start(text)

    deaths = site.settle()

    assert deaths == site.runs.count("only")
    assert 3 <= deaths <= 4
    assert "given up" in str(site.header(execution).state_info)
    assert "not 'safe-rerun'" not in str(site.header(execution).state_info)
    assert site.header(execution).state == "ERROR"
    assert site.task(execution, "only").state == "ERROR"
    assert site.dead() == []


def test_what_comes_for_the_first_time_is_done_before_a_killer_strikes_again(site: Site):
    site.actions["only"] = die
    killer = site.start('main: {tasks: {only: {action: test.work name="only", safe-rerun: true}}}')
    assert site.deliver(site.receive()) == 1
    site.clock.set(site.clock.now() + 130)
    neighbours = [site.start(NEIGHBOUR, "neighbour")] + [site.start_again("neighbour") for _ in range(5)]

    batch = site.receive()
    assert len(batch) == 7
    assert site.deliver(batch) == 1

    assert site.runs.count("neighbour") == 6
    assert {site.header(each).state for each in neighbours} == {"SUCCESS"}
    site.clock.set(site.clock.now() + 130)
    site.settle()
    assert site.header(killer).state == "ERROR"
    assert site.runs.count("neighbour") == 6


# -- turns that kill


CARRIES_ON = """
main:
  tasks:
    first: {action: test.work name="first", publish: {value: <% task().result %>}, on-success: second}
    second: {wait-before: 5, action: test.work name="second" value=<% $.value.len() %>}
"""
FOLLOWED_ABOVE = """
main:
  tasks:
    first: {action: test.work name="first", publish: {value: <% task().result %>}, on-success: second}
    second: {workflow: below, publish: {more: <% $.value.len() %>}}
below:
  tasks:
    only: {action: test.work name="only"}
"""


@pytest.fixture
def reads(site: Site, monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], object]]:
    """What happens at the next reads of a value kept apart, one after the other; then it is read."""
    happens: list[Callable[[], object]] = []
    get = site.payloads.get

    def read(digest: str) -> bytes:
        if happens:
            happens.pop(0)()
        return get(digest)

    monkeypatch.setattr(site.payloads, "get", read)
    return happens


def until_its_second_task(site: Site, text: str) -> str:
    """Start a workflow and let it come to its second task; nobody remembers its values."""
    site.actions["first"] = lambda: "long " * 20_000
    execution = site.start(text)
    site.deliver(site.receive())
    site.clock.set(site.clock.now() + 10)
    site.made.engine.turns.forget()
    return execution


@pytest.mark.parametrize("text", [CARRIES_ON, FOLLOWED_ABOVE], ids=["its own", "from a sub-workflow"])
def test_a_turn_that_kills_its_process_each_time_stops_its_workflow_with_the_reason(
    site: Site, reads: list[Callable[[], object]], text: str, caplog
):
    execution = until_its_second_task(site, text)
    reads.extend([die] * 50)

    assert site.settle() == 4

    header = site.header(execution)
    assert header.state == "ERROR"
    assert "The processes that worked on it died, 4 times" in str(header.state_info)
    assert "WORK_GIVEN_UP" in caplog.text
    assert len(site.dead()) == 1
    assert not list(site.table.query(execution, prefix="tried#"))


def test_a_turn_that_does_not_kill_in_the_end_is_done_and_leaves_no_note(site: Site, reads: list[Callable[[], object]]):
    execution = until_its_second_task(site, CARRIES_ON)
    reads.extend([die] * 3)

    assert site.settle() == 3

    assert site.header(execution).state == "SUCCESS"
    assert site.dead() == []
    assert not list(site.table.query(execution, prefix="tried#"))


def test_a_turn_that_meets_a_fault_of_the_world_each_time_is_not_stopped(site: Site, reads: list[Callable[[], object]]):
    def be_down() -> None:
        raise OSError("The store is down.")

    execution = until_its_second_task(site, CARRIES_ON)
    reads.extend([be_down] * 5)

    assert site.settle() == 0

    assert site.header(execution).state == "RUNNING"
    assert len(site.dead()) == 1
    site.put(site.dead()[0])
    site.settle()
    assert site.header(execution).state == "SUCCESS"


# -- results


class Unheard:
    """Nothing that JSON knows."""


def endless() -> Any:
    value: list[Any] = []
    value.append(value)
    return value


def deep() -> Any:
    value: Any = 1
    for _ in range(100_000):
        value = [value]
    return value


@pytest.mark.parametrize("result", [lambda: "x" * (2 * 1024 * 1024), endless, deep, lambda: 10**100_000],
                         ids=["large", "endless", "deep", "number"])  # fmt: skip
@pytest.mark.parametrize("items", [False, True])
def test_a_result_that_cannot_be_stored_is_an_error_with_the_reason(site: Site, result, items: bool):
    site.actions["only"] = result
    each = 'with-items: "i in [1]", ' if items else ""
    execution = site.start(f'main: {{tasks: {{only: {{{each}action: test.work name="only"}}}}}}')

    assert site.settle() == 0

    assert site.runs == ["only"]
    header = site.header(execution)
    assert header.state == "ERROR"
    assert site.task(execution, "only").state == "ERROR"
    assert header.state_info
    assert site.dead() == []


NO_JSON = {
    "object": Unheard,
    "set": lambda: {1, 2},
    "nan": lambda: float("nan"),
    "bytes": lambda: b"\xff\x00",
    "surrogate": lambda: "\ud800",
}


@pytest.mark.parametrize("result", NO_JSON.values(), ids=NO_JSON.keys())
def test_a_result_that_is_no_json_never_hangs(site: Site, result):
    site.actions["only"] = result
    execution = site.start(ONE_TASK)

    assert site.settle() == 0

    assert site.runs == ["only"]
    assert site.header(execution).state in ("SUCCESS", "ERROR")
    assert site.dead() == []


# -- dead letters that are sent again


def test_a_dead_letter_that_is_sent_again_later_changes_nothing(site: Site):
    site.actions["only"] = die
    execution = site.start(ONE_TASK)
    sent = [record["body"] for record, _ in site.receive()]
    site.clock.set(site.clock.now() + 130)
    site.settle()
    before = codec.pack_header(site.header(execution))

    for text in sent:
        site.put(text)
    site.settle()

    assert codec.pack_header(site.header(execution)) == before
    assert site.runs == ["only"]
    assert site.dead() == []


def test_a_dead_letter_that_is_sent_again_brings_back_what_hung(site: Site):
    execution = site.start(ONE_TASK)
    whole = site.table.get(execution, ["header"])["header"]
    site.table.write([Put(replace(whole, body=b"broken"), expected=whole.revision)])
    site.made.engine.turns.forget()
    site.settle()
    [letter] = site.dead()

    # Somebody has repaired the record, or brought the newer version back.
    found = site.table.get(execution, ["header"])["header"]
    site.table.write([Put(replace(found, body=whole.body), expected=found.revision)])
    site.put(letter)
    site.settle()

    assert site.header(execution).state == "SUCCESS"
    assert site.runs == ["only"]


@pytest.fixture(autouse=True)
def told(caplog):
    """What is told of poison is looked at."""
    caplog.set_level(logging.WARNING)


@pytest.mark.parametrize("items", [False, True])
def test_an_action_is_not_given_up_for_the_bad_luck_of_its_message(site: Site, items: bool):
    each = 'with-items: "i in [1]", ' if items else ""
    execution = site.start(f'main: {{tasks: {{only: {{{each}action: test.work name="only", safe-rerun: true}}}}}}')
    site.actions["only"] = lambda: die() if site.runs.count("only") == 1 else "done"
    for _ in range(3):
        batch = site.receive()
        if batch[0][0]["attributes"]["ApproximateReceiveCount"] == "3":
            site.deliver(batch)
        site.clock.set(site.clock.now() + 130)

    site.settle()

    assert site.header(execution).state == "SUCCESS"
    assert site.runs == ["only", "only"]
