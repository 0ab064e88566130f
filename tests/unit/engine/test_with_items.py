"""with-items: how items are counted, started, ended, and run again."""

from dataclasses import replace

import pytest

from chalicelib.engine import codec
from chalicelib.engine.events import ActionCompleted, Continued
from chalicelib.vocabulary import Result, State
from tests.builders import run


def items(expression, more="", action="std.echo output=<% $.i %>"):
    return f"""
w:
  tasks:
    t:
      with-items: i in {expression}
      action: {action}
      publish: {{r: <% task().result %>}}
      on-error: h
{more}
    h: {{action: std.noop}}
"""


def bits(*indexes):
    return sum(1 << index for index in indexes)


def test_each_item_is_an_action_and_the_result_is_their_list():
    execution = run(items("[3, 1, 2]"))
    assert execution.published("t") == {"r": [3, 1, 2]}
    assert [action.index for action in execution.actions("t")] == [0, 1, 2]


def test_no_items_are_a_success_without_actions():
    execution = run(items("<% [] %>"))
    assert execution.states == {"t": "SUCCESS"}
    assert execution.published("t") == {"r": []}
    assert not execution.actions("t")


@pytest.mark.parametrize(
    ("expression", "values"),
    [("<% 'abc' %>", ["a", "b", "c"]), ("<% dict(x => 1, y => 2) %>", ["x", "y"]), ("<% range(3) %>", [0, 1, 2])],
)
def test_whatever_can_be_gone_through_is_a_list(expression, values):
    assert run(items(expression)).published("t") == {"r": values}


@pytest.mark.parametrize("expression", ["<% 5 %>", "<% null %>", "<% $.nope.x %>"])
def test_what_cannot_be_gone_through_fails_by_force(expression):
    execution = run(items(expression))
    assert execution.state == "ERROR"
    assert execution.states == {"t": "ERROR"}


def test_several_lists_run_in_step():
    execution = run(
        """
w:
  tasks:
    t:
      with-items: ["a in [1, 2]", "b in <% ['x', 'y'] %>"]
      action: std.echo
      input: {output: "<% [$.a, $.b] %>"}
"""
    )
    assert execution.results_of("t") == [[1, "x"], [2, "y"]]


def test_lists_of_different_length_fail_by_force():
    execution = run(
        """
w:
  tasks:
    t: {with-items: ['a in [1, 2]', 'b in [1]'], action: std.noop, on-error: h}
    h: {action: std.noop}
"""
    )
    assert execution.state == "ERROR"
    assert "must have the same length" in (execution.state_info or "")


def test_a_variable_that_the_task_received_wins_over_the_item():
    execution = run(
        """
w:
  tasks:
    a: {action: std.noop, publish: {i: received}, on-success: t}
    t: {with-items: "i in [1, 2]", action: std.echo output=<% $.i %>}
"""
    )
    assert execution.results_of("t") == ["received", "received"]


def test_an_input_of_the_workflow_does_not_win_over_the_item():
    execution = run(
        "w: {input: [i], tasks: {t: {with-items: 'i in [1, 2]', action: std.echo output=<% $.i %>}}}", {"i": 9}
    )
    assert execution.results_of("t") == [1, 2]


def test_without_concurrency_all_items_start_at_once():
    execution = run(items("<% range(7) %>", action="std.async_noop"))
    assert execution.released("t") == 7


def test_concurrency_is_never_exceeded_and_always_used():
    execution = run(items("<% range(5) %>", "      concurrency: 2", action="std.async_noop"))
    started = [2]
    for index in (1, 0, 2, 3, 4):
        execution.complete("t", index, index=index)
        started.append(execution.released("t"))
    assert started == [2, 3, 4, 5, 5, 5]
    assert execution.published("t") == {"r": [0, 1, 2, 3, 4]}


def test_a_failed_item_does_not_stop_the_others():
    execution = run(items("<% range(3) %>", action="std.async_noop"))
    execution.fail("t", "bad", index=0)
    assert execution.states == {"t": "RUNNING"}
    execution.complete("t", 1, index=1).complete("t", 2, index=2)
    assert execution.states == {"t": "ERROR", "h": "SUCCESS"}
    assert execution.task("t").state_info == "One or more actions had failed."
    assert execution.runs("t")[0].items.failed == bits(0)


def test_a_cancelled_item_ends_the_task_at_once():
    execution = run(items("<% range(3) %>", action="std.async_noop"))
    execution.cancel_action("t", index=1)
    assert execution.states == {"t": "CANCELLED"}
    assert execution.task("t").state_info == "One or more actions was cancelled."
    assert execution.state == "CANCELLED"


def test_failures_up_to_a_percentage_are_tolerated():
    text = items("<% range(4) %>", "      tolerated-failure-percentage: 25", action="std.async_noop")
    execution = run(text)
    execution.fail("t", index=0)
    for index in (1, 2, 3):
        execution.complete("t", index=index)
    assert execution.states == {"t": "SUCCESS"}
    execution = run(text.replace("percentage: 25", "percentage: <% 24 %>"))
    execution.fail("t", index=0)
    for index in (1, 2, 3):
        execution.complete("t", index=index)
    assert execution.states["t"] == "ERROR"


@pytest.mark.parametrize(
    "action",
    ["std.nope", "<% $.nope.x %>", "std.noop\n      target: <% $.nope.x %>"],
    ids=["unknown", "name", "target"],
)
def test_a_wrong_name_or_target_is_an_ordinary_error(action):
    execution = run(items("[1, 2]", action=action))
    assert execution.states == {"t": "ERROR", "h": "SUCCESS"}
    assert execution.state == "SUCCESS"


@pytest.mark.parametrize("action", ["std.echo output=<% $.nope.x %>", "std.echo outputs=1"])
def test_a_wrong_input_fails_by_force(action):
    execution = run(items("[1, 2]", action=action))
    assert execution.states == {"t": "ERROR"}
    assert execution.state == "ERROR"


def test_a_wrong_input_of_a_later_item_fails_by_force_when_that_item_starts():
    text = """
w:
  tasks:
    t:
      with-items: "i in [1, {}]"
      concurrency: 1
      action: std.async_noop
      input: '<% switch($.i = 1 => dict(), true => 5) %>'
      on-error: h
    h: {action: std.noop}
"""
    execution = run(text).complete("t")
    assert execution.state == "ERROR"
    assert "Failed to handle action completion" in (execution.state_info or "")


def test_values_are_counted_once_and_what_was_counted_is_what_runs():
    execution = run(
        """
w:
  tasks:
    s:
      action: std.noop
      on-success: {publish: {global: {l: [1, 2, 3]}}, next: [t, change]}
    t: {with-items: i in <% $.l %>, concurrency: 1, action: std.async_noop, publish: {r: <% task().result %>}}
    change:
      action: std.noop
      on-success: {publish: {global: {l: [9]}}}
"""
    )
    assert execution.variables == {"l": [9]}
    for number in range(3):
        execution.complete("t", number)
    assert execution.published("t") == {"r": [0, 1, 2]}
    assert execution.task("t").item_values is None


def test_large_lists_that_wait_leave_the_header():
    execution = run(
        "w: {tasks: {t: {with-items: i in <% range(3000) %>, concurrency: 3, action: std.async_noop}}}",
    )
    assert len(execution.stored.records["header"]) < 1500
    execution.complete("t", index=1)
    assert execution.released("t") == 4


def test_a_retry_runs_all_items_again():
    execution = run(items("[1, 2]", "      retry: {count: 1, delay: 0}", action="std.async_noop"))
    execution.complete("t", "a", index=0).fail("t", index=1)
    assert execution.states == {"t": "DELAYED"}
    execution.cloud.pass_time(0)
    assert [action.accepted for action in execution.actions("t")] == [False] * 4
    execution.complete("t", "c", index=0).complete("t", "d", index=1)
    assert execution.published("t") == {"r": ["c", "d"]}
    assert [action.accepted for action in execution.actions("t")] == [False, False, True, True]


def test_an_item_of_an_attempt_that_was_given_up_no_longer_counts():
    execution = run(items("[1, 2]", "      timeout: 5\n      retry: {count: 1, delay: 0}", action="std.async_noop"))
    execution.cloud.pass_time(5)
    assert len(execution.actions("t")) == 4
    execution.send(ActionCompleted(1, 0, Result(data="late")))
    assert execution.task("t").items.finished == 0


def test_a_repeated_result_of_an_item_changes_nothing():
    execution = run(items("[1, 2]", action="std.async_noop"))
    execution.send(ActionCompleted(1, 0, Result(data="x")))
    assert not execution.changes(ActionCompleted(1, 0, Result(data="y")))
    assert not execution.changes(ActionCompleted(1, 7, Result(data="y")))
    execution.send(ActionCompleted(1, 1, Result(data="y")))
    assert not execution.changes(ActionCompleted(1, 1, Result(data="z")))


def test_without_reset_only_failed_items_run_again():
    execution = run(
        """
w:
  tasks:
    t: {with-items: i in <% range(4) %>, action: std.async_noop, publish: {r: <% task().result %>}}
"""
    )
    for index in (0, 2):
        execution.complete("t", f"first {index}", index=index)
    execution.fail("t", index=1).fail("t", index=3)
    execution.rerun("t", reset=False)
    assert [action.index for action in execution.actions("t")][4:] == [1, 3]
    execution.send(ActionCompleted(1, 1, Result(data="late")))
    execution.complete("t", "second 1", index=1).complete("t", "second 3", index=3)
    assert execution.runs("t")[0].state is State.SUCCESS
    assert execution.resolved(execution.runs("t")[0].published) == {"r": ["first 0", "second 1", "first 2", "second 3"]}


def test_with_reset_all_items_run_again():
    execution = run("w: {tasks: {t: {with-items: 'i in [1, 2]', action: std.async_noop}}}")
    execution.complete("t", index=0).fail("t", index=1)
    execution.rerun("t")
    assert [action.index for action in execution.actions("t")] == [0, 1, 0, 1]
    assert [action.accepted for action in execution.actions("t")] == [False] * 4


def test_without_reset_and_without_a_failed_item_the_task_ends_at_once():
    execution = run("w: {tasks: {t: {with-items: 'i in [1, 2]', action: std.async_noop, fail-on: true}}}")
    execution.complete("t", index=0).complete("t", index=1)
    assert execution.state == "ERROR"
    execution.rerun("t", reset=False)
    assert len(execution.actions("t")) == 2
    assert execution.state == "ERROR"


def test_items_that_have_changed_their_number_cannot_be_run_without_reset():
    execution = run(
        "w: {tasks: {t: {with-items: i in <% env().l %>, action: std.async_noop}}}", params={"env": {"l": [1, 2]}}
    )
    execution.complete("t", index=0).fail("t", index=1)
    execution.rerun("t", reset=False, env={"l": [1, 2, 3]})
    assert execution.state == "ERROR"
    assert "had 2 items, and now there are 3" in (execution.state_info or "")


def test_no_item_starts_while_the_workflow_is_paused():
    execution = run(items("<% range(3) %>", "      concurrency: 1", action="std.async_noop"))
    execution.pause().complete("t")
    assert execution.released("t") == 1
    execution.resume()
    assert execution.released("t") == 2


def test_an_item_that_is_started_late_is_still_counted_when_the_records_say_so():
    execution = run(items("<% range(2) %>", action="std.async_noop"))
    key = next(key for key in execution.stored.records if key.startswith("action#"))
    action = codec.unpack_action(execution.stored.records[key])
    finished = replace(action, state=State.SUCCESS, accepted=True, result=Result(data="left behind"))
    execution.stored.records[key] = codec.pack_action(finished)
    execution.cloud.memories.clear()
    execution.send(Continued())
    assert execution.task("t").items.finished == bits(action.index)
    execution.complete("t", "other")
    assert execution.published("t") == {"r": ["left behind", "other"]}


def test_sub_workflows_run_per_item():
    execution = run(
        """
kid:
  input: [n]
  output: {n: <% $.n * 10 %>}
  tasks:
    k: {action: std.noop}
w:
  tasks:
    t: {with-items: "i in [1, 2]", workflow: kid n=<% $.i %>, publish: {r: <% task().result %>}}
"""
    )
    assert execution.published("t") == {"r": [{"n": 10}, {"n": 20}]}
    assert execution.child("t", 1).params["index"] == 1


def test_without_keep_result_the_items_results_are_forgotten():
    execution = run(
        """
w:
  tasks:
    t:
      with-items: "i in [1, 2]"
      action: std.echo output=<% $.i %>
      keep-result: false
      publish: {r: <% task().result %>}
      on-success: u
    u: {action: std.echo output=<% task(t).result %>}
"""
    )
    assert execution.published("t") == {"r": [1, 2]}
    assert execution.results_of("u") == [[None, None]]
    assert execution.results_of("t") == [None, None]


KEPT_NOT = """
w:
  tasks:
    t:
      with-items: "i in [1, 2]"
      action: std.async_noop
      keep-result: false
      retry: {count: 1, delay: 1}
      publish: {r: <% task().result %>}
"""


def test_without_keep_result_the_items_of_a_second_attempt_are_seen_by_its_publish():
    execution = run(KEPT_NOT).complete("t", "a", index=0).fail("t", index=1)
    execution.cloud.pass_time(1)
    execution.complete("t", "c", index=0).complete("t", "d", index=1)
    assert execution.published("t") == {"r": ["c", "d"]}
    assert execution.results_of("t") == [None] * 4


def test_without_keep_result_an_item_of_a_second_attempt_that_died_before_it_was_counted_is_counted():
    execution = run(KEPT_NOT).complete("t", "a", index=0).fail("t", index=1)
    execution.cloud.pass_time(1)
    execution.complete("t", "c", index=0)
    left_behind(execution, 1)
    execution.send(Continued())
    assert execution.published("t") == {"r": ["c", 1]}


def test_without_keep_result_a_rerun_of_the_failed_items_does_not_bring_back_the_others():
    execution = run(KEPT_NOT.replace("      retry: {count: 1, delay: 1}\n", ""))
    execution.complete("t", "a", index=0).fail("t", index=1).rerun("t", reset=False)
    execution.complete("t", "d", index=1)
    assert execution.published("t") == {"r": [None, "d"]}


def test_a_task_that_has_run_too_often_fails(monkeypatch):
    monkeypatch.setattr("chalicelib.engine.invocations.ACTIONS_PER_TASK_MAX", 1)
    execution = run(items("<% range(3) %>", "      concurrency: 1", action="std.async_noop"))
    execution.complete("t").complete("t")
    assert execution.states == {"t": "ERROR", "h": "SUCCESS"}
    assert "has run 2 times" in (execution.task("t").state_info or "")


def left_behind(execution, *indexes):
    """Records of items that a process finished just before it died, without the header that counts them."""
    for key in [key for key in execution.stored.records if key.startswith("action#")]:
        action = codec.unpack_action(execution.stored.records[key])
        if action.index in indexes:
            finished = replace(action, state=State.SUCCESS, accepted=True, result=Result(data=action.index))
            execution.stored.records[key] = codec.pack_action(finished)
    execution.cloud.memories.clear()


def test_items_that_a_dead_process_left_behind_end_the_task_when_it_goes_on():
    execution = run(items("<% range(2) %>", action="std.async_noop"))
    left_behind(execution, 0, 1)
    execution.send(Continued())
    assert execution.published("t") == {"r": [0, 1]}


def test_an_item_left_behind_is_counted_by_its_repeated_result_and_keeps_its_own():
    execution = run(items("<% range(2) %>", action="std.async_noop"))
    left_behind(execution, 0)
    execution.send(ActionCompleted(1, 0, Result(data="repeated")))
    execution.complete("t", "b", index=1)
    assert execution.published("t") == {"r": [0, "b"]}


def test_an_item_left_behind_by_a_task_that_has_ended_changes_nothing():
    execution = run(items("<% range(2) %>", action="std.async_noop")).cancel_action("t", index=1)
    left_behind(execution, 0)
    assert not execution.changes(ActionCompleted(1, 0, Result(data="repeated")))


def test_a_task_whose_lists_were_wrong_can_be_rerun_without_reset():
    execution = run("w: {tasks: {t: {with-items: i in <% env().l %>, action: std.echo output=<% $.i %>}}}")
    assert execution.state == "ERROR"
    execution.rerun("t", reset=False, env={"l": [1, 2]})
    assert execution.results_of("t") == [1, 2]
