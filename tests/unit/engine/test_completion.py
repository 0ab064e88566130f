"""When a workflow ends, in which state, and what it says about it."""

from chalicelib.engine.identity import action_id, task_id
from chalicelib.vocabulary import State
from tests.builders import run


def test_an_unhandled_error_fails_the_workflow_only_when_all_else_has_ended():
    execution = run(
        "w: {tasks: {f: {action: std.fail}, t: {action: std.async_noop, on-success: u}, u: {action: std.noop}}}"
    )
    assert execution.state == "RUNNING"
    execution.complete("t")
    assert execution.state == "ERROR"
    assert execution.states["u"] == "SUCCESS"


def test_a_cancelled_task_outweighs_a_failed_one():
    execution = run("w: {tasks: {f: {action: std.fail}, b: {action: std.async_noop}, a: {action: std.async_noop}}}")
    execution.cancel_action("b").cancel_action("a")
    assert execution.state == "CANCELLED"
    assert execution.state_info == "Cancelled tasks: a, b"


def test_the_reason_names_failed_tasks_in_order_with_their_causes():
    execution = run("w: {tasks: {b: {action: std.fail}, a: {action: std.async_noop}}}").fail("a", "broken")
    one, other = task_id(execution.id, 2), task_id(execution.id, 1)
    cause = execution.task("b").state_info
    assert execution.state_info == (
        "Failure caused by error in tasks: a, b\n"
        f"\n  a [task_ex_id={one}] -> broken\n    [action_ex_id={action_id(execution.id, 2, 0)}, idx=0]: broken\n"
        f"\n  b [task_ex_id={other}] -> {cause}\n    [action_ex_id={action_id(execution.id, 1, 0)}, idx=0]: {cause}\n"
    )


def test_a_task_whose_guards_were_all_false_caused_the_failure_but_is_not_named():
    execution = run("w: {tasks: {t: {action: std.fail, on-error: [{u: <% false %>}]}, u: {action: std.noop, join: 1}}}")
    assert execution.state == "ERROR"
    assert execution.state_info == "Failure caused by error in tasks: \n"


def test_only_failed_items_are_listed_with_their_place_among_the_actions():
    execution = run("w: {tasks: {t: {with-items: 'i in [1, 2]', action: std.async_noop}}}")
    execution.complete("t", index=0).fail("t", "bad", index=1)
    assert "idx=1]: bad" in (execution.state_info or "")
    assert "idx=0" not in (execution.state_info or "")


def test_long_reasons_are_cut():
    execution = run("w: {tasks: {t: {action: std.async_noop}}}").fail("t", "x" * 70_000)
    assert len(execution.state_info or "") == 65_500
    assert len(execution.task("t").state_info or "") == 65_500
    assert execution.task("t").state_info.endswith("xxx...")


def test_an_error_value_that_is_empty_gives_no_reason():
    execution = run("w: {tasks: {t: {action: std.async_noop}}}").fail("t", {})
    assert execution.task("t").state_info is None
    assert execution.state == "ERROR"


def test_a_workflow_ends_once():
    execution = (
        run("w: {tasks: {a: {action: std.async_noop}, b: {action: std.async_noop}}}").complete("a").complete("b")
    )
    states = [transition.header.state for key, transition in execution.cloud.history if key == execution.id]
    assert states == [State.RUNNING, State.RUNNING, State.SUCCESS]
