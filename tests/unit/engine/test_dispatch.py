"""Which commands follow a task, and in which order they are carried out."""

import pytest

from tests.builders import run


def test_after_success_come_on_success_and_then_on_complete():
    execution = run(
        """
w:
  tasks:
    t: {action: std.noop, on-complete: c, on-success: s, on-error: e}
    s: {action: std.noop}
    e: {action: std.noop}
    c: {action: std.noop}
"""
    )
    assert execution.names == ["t", "s", "c"]
    assert execution.task("t").next_tasks == (("s", "on-success"), ("c", "on-complete"))


def test_after_an_error_come_on_error_and_then_on_complete():
    execution = run(
        """
w:
  tasks:
    t: {action: std.fail, on-complete: c, on-success: s, on-error: e}
    s: {action: std.noop}
    e: {action: std.noop}
    c: {action: std.noop}
"""
    )
    assert execution.names == ["t", "e", "c"]
    assert execution.state == "SUCCESS"


def test_a_task_in_both_clauses_runs_twice():
    execution = run(
        """
w:
  tasks:
    t: {action: std.fail, on-error: x, on-complete: x}
    x: {action: std.noop}
"""
    )
    assert execution.names == ["t", "x", "x"]


def test_nothing_follows_a_cancelled_task():
    execution = run(
        """
w:
  tasks:
    t: {action: std.async_noop, publish: {x: 1}, on-success: s, on-error: s, on-complete: s}
    s: {action: std.noop}
"""
    ).cancel_action("t")
    assert execution.states == {"t": "CANCELLED"}
    assert execution.published("t") == {}
    assert execution.state == "CANCELLED"
    assert execution.state_info == "Cancelled tasks: t"


@pytest.mark.parametrize(("value", "taken"), [(1, True), (0, False), ("''", False), ("[]", False), ("x", True)])
def test_a_guard_is_as_true_as_its_value(value, taken):
    execution = run(
        f"""
w:
  vars: {{v: {value}}}
  tasks:
    t:
      action: std.noop
      on-success: [{{s: <% $.v %>}}]
    s: {{action: std.noop}}
"""
    )
    assert ("s" in execution.names) is taken


def test_a_guard_sees_what_the_task_has_just_published():
    execution = run(
        """
w:
  tasks:
    t: {action: std.echo output=5, publish: {n: <% task().result %>}, on-success: [{s: <% $.n > 4 %>}]}
    s: {action: std.noop}
"""
    )
    assert execution.names == ["t", "s"]


def test_a_wrong_guard_fails_task_and_workflow_by_force():
    execution = run(
        """
w:
  tasks:
    t: {action: std.noop, on-success: [{s: <% $.nope %>}], on-error: h}
    s: {action: std.noop}
    h: {action: std.noop}
"""
    )
    assert execution.state == "ERROR"
    assert execution.states == {"t": "ERROR"}
    task = execution.task("t")
    assert task.next_tasks is None
    assert not execution.header.is_processed(task)
    assert (task.state_info or "").startswith("Failed to handle action completion [error=")
    assert (task.state_info or "").endswith("wf=w, task=t, action=std.noop]")
    assert execution.output == {"result": execution.state_info}


def test_fail_ends_the_workflow_with_its_message_and_drops_what_follows():
    execution = run(
        """
w:
  tasks:
    t: {action: std.echo output=7, on-success: [a, "fail msg='no <% task().result %>'", b]}
    a: {action: std.async_noop}
    b: {action: std.noop}
"""
    )
    assert execution.state == "ERROR"
    assert execution.state_info == "no 7"
    assert execution.names == ["t", "a"]
    assert execution.released("a") == 1


def test_tasks_that_stand_before_fail_still_run_but_lead_nowhere():
    execution = run(
        """
w:
  tasks:
    t: {action: std.noop, on-success: [a, fail]}
    a: {action: std.noop, on-success: b}
    b: {action: std.noop}
"""
    )
    assert execution.state == "ERROR"
    assert execution.states == {"t": "SUCCESS", "a": "SUCCESS"}


def test_a_message_that_is_an_object_is_kept_as_json_text():
    execution = run('w: {tasks: {t: {action: std.noop, on-success: ["fail msg=<% dict(a => 1) %>"]}}}')
    assert execution.state_info == '{"a": 1}'
    execution = run('w: {tasks: {t: {action: std.noop, on-success: ["fail msg=<% 5 %>"]}}}')
    assert execution.state_info == "5"


def test_succeed_ends_the_workflow_with_its_output():
    execution = run(
        """
w:
  output: {x: <% $.x %>}
  tasks:
    t: {action: std.noop, publish: {x: 1}, on-success: succeed}
    long: {action: std.async_noop}
"""
    )
    assert execution.state == "SUCCESS"
    assert execution.output == {"x": 1}
    assert execution.states == {"t": "SUCCESS", "long": "RUNNING"}


def test_succeed_with_an_output_that_cannot_be_evaluated_fails_by_force():
    execution = run("w: {output: {x: <% $.nope.x %>}, tasks: {t: {action: std.noop, on-success: succeed}}}")
    assert execution.state == "ERROR"
    assert execution.states == {"t": "ERROR"}
    assert "Failed to handle action completion" in (execution.state_info or "")


def test_noop_handles_an_error_and_starts_nothing():
    execution = run("w: {tasks: {t: {action: std.fail, on-error: noop}}}")
    assert execution.state == "SUCCESS"
    assert execution.task("t").error_handled
    assert execution.task("t").next_tasks == ()


def test_what_follows_a_pause_waits_in_the_backlog():
    execution = run(
        """
w:
  tasks:
    t: {action: std.noop, on-success: [a, "pause msg='look'", b, j, fail]}
    a: {action: std.noop, on-success: c}
    b: {action: std.noop}
    c: {action: std.noop}
    j: {join: 1, action: std.noop}
"""
    )
    assert execution.state == "PAUSED"
    assert execution.state_info == "look"
    assert execution.states == {"t": "SUCCESS", "a": "SUCCESS"}
    assert [command.name for command in execution.header.backlog] == ["b", "j", "fail"]
    assert not execution.header.is_processed(execution.task("a"))
    execution.resume()
    assert execution.state == "ERROR"
    assert execution.names == ["t", "a", "b", "j"]


def test_a_second_pause_in_the_backlog_pauses_again():
    execution = run(
        """
w:
  tasks:
    t: {action: std.noop, on-success: [pause, a, "pause msg='again'", b]}
    a: {action: std.noop}
    b: {action: std.noop}
"""
    )
    execution.resume()
    assert execution.state == "PAUSED"
    assert execution.names == ["t", "a"]
    execution.resume()
    assert execution.state == "SUCCESS"
    assert execution.names == ["t", "a", "b"]


def test_succeed_from_the_backlog_ends_the_workflow():
    execution = run(
        "w: {tasks: {t: {action: std.noop, on-success: [pause, \"succeed msg='done'\"]}}}",
    ).resume()
    assert execution.state == "SUCCESS"
    assert execution.state_info == "done"


def test_joins_come_after_other_tasks_and_in_the_order_of_their_names():
    execution = run(
        """
w:
  tasks:
    t: {action: std.noop, on-success: [z, a, m]}
    z: {join: 1, action: std.async_noop}
    a: {join: 1, action: std.async_noop}
    m: {action: std.async_noop}
"""
    )
    assert execution.names == ["t", "m", "a", "z"]


def test_default_clauses_apply_where_a_task_has_none_and_never_lead_to_itself():
    execution = run(
        """
w:
  task-defaults: {on-error: [clean]}
  tasks:
    t: {action: std.fail}
    clean: {action: std.fail, on-success: noop}
"""
    )
    assert execution.names == ["t", "clean"]
    assert execution.state == "ERROR"


def test_an_endless_loop_ends_when_no_more_tasks_can_be_numbered(monkeypatch):
    monkeypatch.setattr("chalicelib.engine.tasks.TASKS_PER_EXECUTION_MAX", 20)
    execution = run(
        """
w:
  tasks:
    t: {action: std.noop, on-success: a}
    a: {action: std.noop, on-success: b}
    b: {action: std.noop, on-success: a}
"""
    )
    assert execution.state == "ERROR"
    assert "endless loop" in (execution.state_info or "")
    assert len(execution.names) == 20


def test_a_workflow_with_more_start_tasks_than_can_be_numbered_fails(monkeypatch):
    monkeypatch.setattr("chalicelib.engine.tasks.TASKS_PER_EXECUTION_MAX", 2)
    tasks = "".join(f"    t{number}: {{action: std.noop}}\n" for number in range(5))
    execution = run("w:\n  tasks:\n" + tasks)
    assert execution.state == "ERROR"
    assert (execution.state_info or "").startswith("Failed to go on [error=An execution may have 2 tasks")
