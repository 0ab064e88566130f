"""Reverse workflows: a target and what it requires."""

from tests.builders import run

DIAMOND = """
w:
  type: reverse
  output: {t: <% $.get(t) %>, other: <% $.get(o) %>}
  tasks:
    base: {action: std.async_noop, publish: {b: <% task().result %>}}
    left: {action: std.echo output=<% $.b + 1 %>, requires: [base], publish: {l: <% task().result %>}}
    right: {action: std.async_noop, requires: [base], publish: {r: <% task().result %>}}
    top: {action: std.echo output=<% $.l + $.r %>, requires: [left, right], publish: {t: <% task().result %>}}
    other: {action: std.noop, publish: {o: 1}}
"""


def test_only_the_target_and_what_it_requires_run_in_order():
    execution = run(DIAMOND, params={"task_name": "top"})
    assert execution.states == {"base": "RUNNING"}
    execution.complete("base", 1)
    assert execution.states == {"base": "SUCCESS", "left": "SUCCESS", "right": "RUNNING"}
    execution.complete("right", 10)
    assert execution.names == ["base", "left", "right", "top"]
    assert execution.output == {"t": 12, "other": None}


def test_without_output_the_context_of_the_target_is_the_output():
    text = DIAMOND.replace("  output: {t: <% $.get(t) %>, other: <% $.get(o) %>}\n", "")
    execution = run(text, params={"task_name": "left"}).complete("base", 1)
    assert execution.output == {"b": 1, "l": 2}
    assert run(text, params={"task_name": "base"}).fail("base").output["result"]


def test_after_a_failure_what_does_not_need_it_still_runs():
    execution = run(DIAMOND, params={"task_name": "top"}).complete("base", 1).fail("right")
    assert execution.names == ["base", "left", "right"]
    assert execution.state == "ERROR"
    assert (execution.state_info or "").startswith("Failure caused by error in tasks: right\n")


def test_a_rerun_of_what_failed_reaches_the_target():
    execution = run(DIAMOND, params={"task_name": "top"}).complete("base", 1).fail("right")
    execution.rerun("right").complete("right", 5)
    assert execution.output["t"] == 7


def test_a_success_before_a_pause_leads_on_after_it():
    execution = run(DIAMOND, params={"task_name": "top"}).pause().complete("base", 1)
    assert execution.names == ["base"]
    execution.resume()
    assert execution.names == ["base", "left", "right"]


def test_a_target_in_a_circle_of_requirements_ends_at_once():
    execution = run(
        """
w:
  type: reverse
  tasks:
    a: {action: std.noop, requires: [b]}
    b: {action: std.noop, requires: [a]}
""",
        params={"task_name": "a"},
    )
    assert execution.state == "SUCCESS"
    assert execution.names == []


def test_items_and_policies_work_in_reverse_workflows_too():
    execution = run(
        """
w:
  type: reverse
  task-defaults: {requires: [first]}
  tasks:
    first: {with-items: "i in [1, 2]", action: std.echo output=<% $.i %>, publish: {all: <% task().result %>}}
    last:
      action: std.echo output=<% $.all.sum() %>
      wait-before: 1
      publish: {sum: <% task(last).result + task(first).result.len() %>}
""",
        params={"task_name": "last"},
    )
    execution.cloud.pass_time(1)
    assert execution.output == {"all": [1, 2], "sum": 5}


def test_a_task_that_several_ends_lead_to_is_created_once():
    execution = run(
        """
w:
  type: reverse
  tasks:
    a: {action: std.async_noop}
    b: {action: std.async_noop}
    c: {action: std.noop, requires: [a]}
    top: {action: std.noop, requires: [b, c]}
""",
        params={"task_name": "top"},
    ).pause()
    execution.complete("a").complete("b").resume()
    assert execution.names == ["b", "a", "c", "top"]
    assert execution.state == "SUCCESS"
