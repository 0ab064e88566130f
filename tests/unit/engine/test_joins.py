"""Joins: who must arrive, when one is impossible, what it receives, and what happens when it is reached again."""

import pytest

from chalicelib.engine.events import Continued
from chalicelib.vocabulary import State
from tests.builders import Cloud, run


def two_of(join):
    return f"""
w:
  tasks:
    a: {{action: std.async_noop, on-success: j}}
    b: {{action: std.async_noop, on-success: j}}
    c: {{action: std.async_noop, on-success: j}}
    j: {{join: {join}, action: std.async_noop, on-error: h}}
    h: {{action: std.noop}}
"""


def test_a_join_waits_under_its_own_words_until_all_have_arrived():
    execution = run(two_of("all")).complete("a").complete("c")
    assert execution.states["j"] == "WAITING"
    assert execution.task("j").state_info == "Task is waiting."
    execution.complete("b")
    assert execution.states["j"] == "RUNNING"
    assert execution.task("j").state_info is None
    assert [trigger.ordinal for trigger in execution.task("j").triggered_by] == [1, 3, 2]
    assert {trigger.event for trigger in execution.task("j").triggered_by} == {"on-success"}


@pytest.mark.parametrize(("join", "needed"), [("one", 1), (1, 1), (2, 2), (3, 3)])
def test_a_join_starts_when_as_many_have_arrived_as_it_needs(join, needed):
    execution = run(two_of(join))
    for done, name in enumerate("abc"[:needed], start=1):
        execution.complete(name)
        assert execution.states["j"] == ("RUNNING" if done == needed else "WAITING")


def test_join_all_fails_as_soon_as_one_cannot_come():
    execution = run(two_of("all")).complete("a").fail("b")
    assert execution.states["j"] == "ERROR"
    assert execution.task("j").state_info == "Failed by tasks: ['b']"
    assert execution.states["h"] == "SUCCESS"
    assert execution.states["c"] == "RUNNING"


def test_join_two_of_three_fails_when_two_cannot_come():
    execution = run(two_of(2)).complete("a").fail("b")
    assert execution.states["j"] == "WAITING"
    execution.fail("c")
    assert execution.states["j"] == "ERROR"
    assert execution.task("j").state_info == "Failed by tasks: ['b', 'c']"


def test_a_join_that_nobody_reaches_never_exists():
    execution = run(
        """
w:
  tasks:
    a: {action: std.noop, on-success: [{j: <% false %>}]}
    j: {join: all, action: std.noop}
"""
    )
    assert execution.states == {"a": "SUCCESS"}
    assert execution.state == "SUCCESS"


def test_a_task_that_goes_elsewhere_makes_join_all_impossible():
    execution = run(
        """
w:
  tasks:
    a: {action: std.noop, on-success: j}
    b: {action: std.noop, on-success: [{j: <% false %>}, other]}
    j: {join: all, action: std.noop}
    other: {action: std.noop}
"""
    )
    assert execution.states["j"] == "ERROR"
    assert execution.state == "ERROR"


def test_a_join_behind_a_task_that_can_no_longer_start_is_impossible():
    execution = run(
        """
w:
  tasks:
    start: {action: std.async_noop, on-success: far, on-error: noop}
    far: {action: std.noop, on-success: farther}
    farther: {action: std.noop, on-success: j}
    b: {action: std.noop, on-success: j}
    j: {join: all, action: std.noop}
"""
    )
    assert execution.states["j"] == "WAITING"
    execution.fail("start")
    assert execution.states["j"] == "ERROR"
    assert execution.task("j").state_info == "Failed by tasks: ['farther']"


def test_a_join_waits_while_a_route_to_it_is_still_possible():
    execution = run(
        """
w:
  tasks:
    start: {action: std.async_noop, on-success: far}
    far: {action: std.async_noop, on-success: j}
    b: {action: std.noop, on-success: j}
    j: {join: all, action: std.noop}
"""
    )
    assert execution.states["j"] == "WAITING"
    execution.complete("start")
    assert execution.states["j"] == "WAITING"
    execution.complete("far")
    assert execution.states["j"] == "SUCCESS"


def test_two_joins_that_only_lead_to_each_other_are_impossible():
    execution = run(
        """
w:
  tasks:
    s: {action: std.async_noop, on-success: [{a: <% false %>}, {b: <% false %>}], on-complete: j}
    a: {action: std.noop, on-success: b}
    b: {action: std.noop, on-success: [a, j]}
    j: {join: all, action: std.noop}
"""
    ).complete("s")
    assert execution.states["j"] == "ERROR"
    assert execution.task("j").state_info == "Failed by tasks: ['b']"


def test_a_join_that_fails_decides_the_join_behind_it():
    execution = run(
        """
w:
  tasks:
    a: {action: std.async_noop, on-success: j1}
    b: {action: std.async_noop, on-success: j1}
    c: {action: std.noop, on-success: j2}
    j1: {join: all, action: std.noop, on-success: j2}
    j2: {join: all, action: std.noop}
"""
    ).complete("a")
    assert execution.states["j2"] == "WAITING"
    execution.fail("b")
    assert execution.states["j1"] == "ERROR"
    assert execution.states["j2"] == "ERROR"
    assert execution.task("j2").state_info == "Failed by tasks: ['j1']"


def test_a_satisfied_join_that_is_reached_again_runs_again_in_the_same_record():
    execution = run(
        """
w:
  tasks:
    a: {action: std.async_noop, on-success: j}
    b: {action: std.async_noop, on-success: j}
    j: {join: one, action: std.echo output='x', publish: {r: <% task().result %>}, on-success: k}
    k: {action: std.noop}
"""
    ).complete("a")
    assert execution.names == ["a", "b", "j", "k"]
    execution.complete("b")
    assert execution.names == ["a", "b", "j", "k", "k"]
    assert [action.accepted for action in execution.actions("j")] == [True, True]
    assert execution.published("j") == {"r": ["x", "x"]}


def test_a_join_that_is_reached_again_while_it_runs_runs_twice():
    execution = run(
        """
w:
  tasks:
    a: {action: std.async_noop, on-success: j}
    b: {action: std.async_noop, on-success: j}
    j: {join: one, action: std.async_noop, on-success: k}
    k: {action: std.noop}
"""
    )
    execution.complete("a").complete("b")
    assert [str(action.state) for action in execution.actions("j")] == ["RUNNING", "RUNNING"]
    execution.complete("j", "second")
    assert execution.states["j"] == "SUCCESS"


def test_a_with_items_join_that_is_reached_again_ends_at_once_with_what_it_has():
    execution = run(
        """
w:
  tasks:
    a: {action: std.async_noop, on-success: j}
    b: {action: std.async_noop, on-success: j}
    j: {join: one, with-items: 'i in [1, 2]', action: std.echo output=<% $.i %>, on-success: k}
    k: {action: std.noop}
"""
    )
    execution.complete("a").complete("b")
    assert execution.state == "SUCCESS"
    assert execution.names == ["a", "b", "j", "k", "k"]
    assert execution.results_of("j") == [1, 2]


def test_all_arriving_in_one_breath_run_a_join_once():
    execution = run(
        """
w:
  tasks:
    s: {action: std.noop, on-success: [a, b]}
    a: {action: std.noop, on-success: j}
    b: {action: std.noop, on-success: j}
    j: {join: all, action: std.noop}
"""
    )
    assert execution.names == ["s", "a", "b", "j"]
    assert len(execution.actions("j")) == 1


def test_a_join_in_a_loop_is_armed_by_each_round_and_does_not_grow_with_them():
    execution = run(
        """
w:
  vars: {zero: 0}
  tasks:
    s: {action: std.noop, publish: {n: 0}, on-success: j}
    j: {join: one, action: std.noop, publish: {n: <% $.n + 1 %>}, on-success: [{body: <% $.n < 30 %>}]}
    body: {action: std.noop, on-success: j}
"""
    )
    assert execution.state == "SUCCESS"
    assert execution.published("j") == {"n": 30}
    assert len(execution.runs("body")) == 29
    assert len(execution.header.joins["j"].arrivals) <= 2


def test_the_last_execution_of_an_inbound_task_decides():
    execution = run(
        """
w:
  tasks:
    s: {action: std.noop, publish: {go: true}, on-success: x, on-complete: y}
    y: {action: std.async_noop, publish: {go: false}, on-success: x}
    x: {action: std.async_noop, on-success: [{j: <% $.go %>}]}
    z: {action: std.async_noop, on-success: j}
    j: {join: all, action: std.noop}
"""
    )
    execution.complete("x").complete("y").complete("z")
    assert execution.states["j"] == "WAITING"
    execution.complete("x")
    assert execution.states["j"] == "ERROR"


def test_before_policies_do_not_hold_up_a_join():
    execution = run(
        """
w:
  tasks:
    a: {action: std.noop, on-success: j}
    j: {join: all, action: std.noop, wait-before: 10, pause-before: true, timeout: 1}
"""
    )
    assert execution.state == "SUCCESS"
    assert not execution.cloud.timers


def test_a_with_items_join_ignores_concurrency():
    execution = run(
        """
w:
  tasks:
    a: {action: std.noop, on-success: j}
    j: {join: all, with-items: 'i in [1, 2, 3]', concurrency: 1, action: std.async_noop}
"""
    )
    assert len(execution.actions("j")) == 3


def test_a_join_is_retried_after_its_delay_and_not_before():
    execution = run(
        """
w:
  tasks:
    a: {action: std.noop, on-success: j}
    j: {join: all, action: std.fail, retry: {count: 1, delay: 5}}
"""
    )
    assert execution.states["j"] == "WAITING"
    assert execution.task("j").state_info == "Delayed by 'retry' policy [delay=5]"
    execution.send(Continued())
    assert execution.states["j"] == "WAITING"
    execution.cloud.pass_time(5)
    assert execution.states["j"] == "ERROR"
    assert len(execution.actions("j")) == 2


def test_a_join_that_becomes_ready_during_a_pause_starts_when_the_workflow_resumes():
    execution = run(two_of("all")).complete("a").complete("b")
    execution.pause().complete("c")
    assert execution.states["j"] == "WAITING"
    execution.resume()
    assert execution.states["j"] == "RUNNING"


def test_a_failed_join_that_is_rerun_runs_at_once_whatever_is_missing():
    execution = run(
        """
w:
  tasks:
    a: {action: std.echo output=1, publish: {x: 1}, on-success: j}
    b: {action: std.fail, on-success: j}
    j: {join: all, action: std.echo output=<% $.x %>}
"""
    )
    assert execution.state == "ERROR"
    execution.rerun("j")
    assert execution.states["j"] == "SUCCESS"
    assert execution.results_of("j") == [1]
    assert execution.state == "ERROR"


def test_an_upstream_task_that_is_rerun_arms_the_failed_join_again():
    execution = run(
        """
w:
  tasks:
    a: {action: std.noop, on-success: j}
    b: {action: std.async_noop, on-success: j}
    j: {join: all, action: std.noop}
"""
    ).fail("b")
    assert execution.state == "ERROR"
    execution.rerun("b")
    assert execution.states["j"] == "ERROR"
    execution.complete("b")
    assert execution.states["j"] == "SUCCESS"
    assert execution.state == "SUCCESS"


def test_a_task_that_is_rerun_and_goes_another_way_no_longer_counts_as_arrived():
    execution = run(
        """
w:
  tasks:
    b: {action: std.async_noop, publish-on-error: {e: 1}, publish: {s: 1}, on-error: j, on-success: k}
    c: {action: std.async_noop, on-success: j}
    k: {action: std.noop}
    j: {join: all, action: std.noop}
"""
    ).fail("b")
    execution.stop(State.ERROR).rerun("b").complete("b")
    assert execution.header.joins["j"].arrivals == ()
    execution.complete("c")
    assert execution.states["j"] == "ERROR"
    assert execution.task("j").state_info == "Failed by tasks: ['b']"


def test_a_task_that_failed_by_force_makes_a_join_impossible_after_a_rerun():
    execution = run(
        """
w:
  tasks:
    a: {action: std.async_noop, on-success: j}
    b: {action: std.echo output=<% $.nope %>, on-success: j}
    j: {join: all, action: std.noop}
"""
    )
    assert execution.state == "ERROR"
    execution.fail("a")
    execution.rerun("a").complete("a")
    assert execution.states["j"] == "ERROR"
    assert execution.task("j").state_info == "Failed by tasks: ['b']"


def test_joins_are_not_started_in_a_workflow_that_has_ended():
    execution = run(two_of("one")).stop(State.ERROR, "enough").complete("a")
    assert "j" not in execution.names
    execution = run(two_of("all")).complete("a").complete("b").stop(State.ERROR, "enough").complete("c")
    assert execution.states["j"] == "WAITING"


def test_a_fork_of_many_joins_once():
    branches = "".join(
        f"    b{n}: {{action: std.async_noop, publish: {{v{n}: {n}}}, on-success: j}}\n" for n in range(40)
    )
    cloud = Cloud(
        "w:\n  tasks:\n"
        + branches
        + "    j: {join: all, action: std.echo output=<% $.v0 + $.v39 %>, publish: {sum: <% task().result %>}}\n"
    )
    execution = cloud.start()
    for number in reversed(range(40)):
        assert execution.names.count("j") == (number < 39)
        execution.complete(f"b{number}")
    assert execution.published("j") == {"sum": 39}


def test_a_join_waits_for_a_task_that_is_about_to_be_created():
    execution = run(
        """
w:
  tasks:
    a: {action: std.async_noop, on-success: [j1, j2]}
    b1: {action: std.noop, on-success: j1}
    b2: {action: std.noop, on-success: j2}
    j1: {join: all, action: std.noop, on-error: k}
    j2: {join: all, action: std.noop, on-error: y}
    y: {action: std.async_noop, on-success: k}
    k: {join: all, action: std.noop}
"""
    ).fail("a")
    assert execution.states["k"] == "WAITING"
    execution.complete("y")
    assert execution.states["k"] == "SUCCESS"


def test_a_task_that_pauses_before_in_a_workflow_that_has_failed_stays_idle():
    execution = run(
        """
w:
  tasks:
    s: {action: std.noop, on-success: [t, fail]}
    t: {action: std.noop, pause-before: true}
"""
    )
    assert execution.state == "ERROR"
    assert execution.states["t"] == "IDLE"
    assert not execution.changes(Continued())


def test_a_join_waits_for_an_arrival_that_is_under_way():
    execution = run(
        """
w:
  tasks:
    a: {action: std.async_noop, on-success: [j1, j2]}
    b1: {action: std.noop, on-success: j1}
    b2: {action: std.noop, on-success: j2}
    j1: {join: all, action: std.noop, on-error: k}
    j2: {join: all, action: std.noop, on-error: k}
    k: {join: all, action: std.noop}
"""
    ).fail("a")
    assert execution.states["k"] == "SUCCESS"
    assert len(execution.actions("k")) == 1


def test_arrivals_that_a_pause_held_up_run_a_join_once():
    execution = run(two_of(2)).pause()
    execution.complete("a").complete("b").complete("c").resume()
    assert len(execution.actions("j")) == 1
