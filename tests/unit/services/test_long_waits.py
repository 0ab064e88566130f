"""Waits of any length: never early, within two seconds up to a quarter of an hour, within a minute beyond."""

import json
from functools import partial

import pytest

from chalicelib.engine.events import ActionCompleted
from chalicelib.limits import DELAY_MAX_SEC, DELAYED_MESSAGE_MAX_SEC
from chalicelib.vocabulary import Result, State
from tests.unit.services.long_stage import DAY_SEC, LongStage

SHORT = [0, 1, 59, 60, 61, 599, 601, 899, 900]
LONG = [901, 1000, 3600, int(DAY_SEC), int(40 * DAY_SEC)]
YEAR = int(365 * DAY_SEC)
lengths = pytest.mark.parametrize("seconds", [*SHORT, *LONG])


def bound_sec(seconds):
    """How late a wait of this length may end."""
    return 2.0 if seconds <= DELAYED_MESSAGE_MAX_SEC else 60.0


def check(stage, began, seconds):
    late = stage.clock.now() - began - seconds
    assert 0 <= late <= bound_sec(seconds), f"{late} s late"


def state(stage, execution_id):
    return stage.header(execution_id).state


@pytest.fixture
def stage():
    return LongStage()


@pytest.mark.parametrize("offset", [0.123, 19.999, 40.0])
@pytest.mark.parametrize("seconds", [59, 900, 901, 1000])
def test_it_does_not_matter_where_in_a_minute_a_wait_begins(stage, seconds, offset):
    stage.clock.advance(offset)
    test_a_task_waits_as_long_as_it_says(stage, "wait-before", seconds)


@pytest.mark.parametrize("seconds", [*SHORT, *LONG, YEAR])
@pytest.mark.parametrize("policy", ["wait-before", "wait-after"])
def test_a_task_waits_as_long_as_it_says(stage, policy, seconds):
    began = stage.clock.now()
    execution = stage.start(f"  tasks:\n    t: {{action: std.noop, {policy}: {seconds}}}")
    if seconds > DELAYED_MESSAGE_MAX_SEC:
        assert stage.queue.size() == 0, "nothing is under way, nobody works, while it waits"
    stage.go_on(enough=lambda: state(stage, execution).is_completed)
    assert state(stage, execution) is State.SUCCESS
    check(stage, began, seconds)
    assert stage.alarms() == []


@lengths
def test_a_retry_waits_as_long_as_it_says(stage, seconds):
    began = stage.clock.now()
    execution = stage.start(f"  tasks:\n    t: {{action: std.fail, retry: {{count: 2, delay: {seconds}}}}}")
    stage.go_on(enough=lambda: state(stage, execution).is_completed)
    assert state(stage, execution) is State.ERROR
    late = stage.clock.now() - began - 2 * seconds
    assert 0 <= late <= 2 * bound_sec(seconds)


@lengths
def test_a_time_limit_ends_a_task_when_it_says(stage, seconds):
    began = stage.clock.now()
    execution = stage.start(f"  tasks:\n    t: {{action: std.async_noop, timeout: {seconds}}}")
    if seconds == 0:  # no limit
        stage.go_on(began + DAY_SEC)
        assert state(stage, execution) is State.RUNNING
        return
    stage.go_on(enough=lambda: state(stage, execution).is_completed)
    assert state(stage, execution) is State.ERROR
    check(stage, began, seconds)


def test_a_wait_beyond_the_longest_is_as_long_as_the_longest(stage):
    began = stage.clock.now()
    execution = stage.start(f"  tasks:\n    t: {{action: std.noop, wait-before: {int(400 * DAY_SEC)}}}")
    stage.go_on(enough=lambda: state(stage, execution).is_completed)
    check(stage, began, DELAY_MAX_SEC)


def test_eight_waits_of_fifty_days_end_after_four_hundred_days(stage):
    fifty = int(50 * DAY_SEC)
    tasks = "".join(f"    t{n}: {{action: std.noop, wait-before: {fifty}, on-success: [t{n + 1}]}}\n" for n in range(7))
    began = stage.clock.now()
    execution = stage.start(f"  tasks:\n{tasks}    t7: {{action: std.noop, wait-before: {fifty}}}")
    for number in range(1, 9):
        stage.go_on(enough=partial(has_come_to, stage, execution, f"t{number}"))
        late = stage.clock.now() - began - number * fifty
        assert 0 <= late <= 60.0 * number
    assert state(stage, execution) is State.SUCCESS
    assert stage.clock.now() - began >= 400 * DAY_SEC


def has_come_to(stage, execution_id, name):
    header = stage.header(execution_id)
    return header.state.is_completed or any(task.name == name for task in header.frontier.values())


def test_a_time_limit_that_was_met_changes_nothing_when_it_comes(stage):
    began = stage.clock.now()
    execution = stage.start(
        "  tasks:\n"
        f"    t: {{action: std.async_noop, timeout: {int(DAY_SEC)}, on-success: [wait]}}\n"
        f"    wait: {{action: std.noop, wait-before: {int(3 * DAY_SEC)}}}"
    )
    stage.go_on(began + 3600)
    stage.container.engine.handle(execution, ActionCompleted(1, 0, Result(data={})))
    stage.go_on(began + 2 * DAY_SEC)
    [task] = stage.header(execution).frontier.values()
    assert (task.name, task.state) == ("wait", State.DELAYED)
    stage.go_on(enough=lambda: state(stage, execution).is_completed)
    assert state(stage, execution) is State.SUCCESS
    check(stage, began + 3600, 3 * DAY_SEC)


def test_what_comes_late_counts_for_nothing_and_what_comes_early_waits(stage):
    began = stage.clock.now()
    execution = stage.start("  tasks:\n    t: {action: std.noop, wait-before: 600}")
    [received] = stage.queue.receive("tasks", messages_max=1, now=began + 700, visibility_sec=0)
    record = {"messageId": "early", "body": json.dumps(received.body), "attributes": {}}
    deliver = stage.container.executor.handle_batch
    assert deliver([record], 100.0) == []
    assert state(stage, execution) is State.RUNNING
    stage.go_on(enough=lambda: state(stage, execution).is_completed)
    check(stage, began, 600)
    before = stage.header(execution).revision
    assert deliver([record], 100.0) == []
    assert stage.header(execution).revision == before
