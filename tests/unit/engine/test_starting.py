"""The birth of an execution: input, environment, variables, first tasks."""

import pytest

from chalicelib.engine.events import StartRequested
from chalicelib.errors import EvaluationException, InputException, SizeLimitExceededException, WorkflowException
from tests.builders import Cloud, run

NOOP = """
w:
  tasks:
    t: {action: std.noop}
"""


def test_a_workflow_of_one_task_succeeds_at_once():
    execution = run(NOOP)
    assert execution.state == "SUCCESS"
    assert execution.states == {"t": "SUCCESS"}


def test_start_tasks_are_those_that_nothing_leads_to_in_the_order_of_the_text():
    execution = run(
        """
w:
  tasks:
    b: {action: std.async_noop, on-success: c}
    c: {action: std.async_noop}
    a: {action: std.async_noop}
"""
    )
    assert execution.names == ["b", "a"]


def test_a_task_that_only_loops_on_itself_is_no_start_task():
    execution = run(
        """
w:
  tasks:
    a: {action: std.noop}
    loop: {action: std.noop, on-success: loop}
"""
    )
    assert execution.names == ["a"]


def test_a_repeated_start_changes_nothing():
    execution = run("w: {tasks: {t: {action: std.async_noop}}}")
    assert not execution.changes(StartRequested())


def test_a_missing_input_is_refused_by_name():
    with pytest.raises(InputException, match=r"Invalid input \[name=w, class=WorkflowSpec, missing=\['x'\]\]"):
        run("w: {input: [x, {y: 1}], tasks: {t: {action: std.noop}}}")


def test_an_unexpected_input_is_refused_by_name():
    with pytest.raises(InputException, match=r"unexpected=\['z'\]"):
        run(NOOP, {"z": 1})


def test_a_required_input_given_as_null_counts_as_given():
    execution = run("w: {input: [x], output: {x: <% $.x %>}, tasks: {t: {action: std.noop}}}", {"x": None})
    assert execution.output == {"x": None}


def test_defaults_of_inputs_are_not_evaluated():
    execution = run("w: {input: [{x: <% 1 + 1 %>}], output: {x: <% $.x %>}, tasks: {t: {action: std.noop}}}")
    assert execution.output == {"x": "<% 1 + 1 %>"}


def test_vars_see_input_and_environment_and_shadow_the_input():
    execution = run(
        """
w:
  input: [x]
  vars: {x: <% $.x + 1 %>, e: <% env().e %>}
  output: {x: <% $.x %>, e: <% $.e %>}
  tasks:
    t: {action: std.noop}
""",
        {"x": 1},
        params={"env": {"e": 5}},
    )
    assert execution.output == {"x": 2, "e": 5}


def test_an_error_in_vars_refuses_the_start():
    with pytest.raises(EvaluationException):
        run("w: {vars: {x: <% $.nope %>}, tasks: {t: {action: std.noop}}}")


def test_the_execution_knows_its_id_in_expressions():
    execution = run("w: {output: {i: <% execution().id %>}, tasks: {t: {action: std.noop}}}", public_id="mine")
    assert execution.output == {"i": "mine"}


def test_an_environment_is_evaluated_once_against_itself():
    execution = run(
        "w: {output: {e: <% env().b %>}, tasks: {t: {action: std.noop}}}",
        params={"env": {"a": 1, "b": "<% env().a + 1 %>"}},
    )
    assert execution.output == {"e": 2}


def test_an_environment_is_left_verbatim_on_request():
    execution = run(
        "w: {output: {e: <% env().b %>}, tasks: {t: {action: std.noop}}}",
        params={"env": {"b": "<% 1 + 1 %>"}, "evaluate_env": False},
    )
    assert execution.output == {"e": "<% 1 + 1 %>"}


def test_a_stored_environment_is_found_by_name():
    execution = run(
        "w: {output: {e: <% env().k %>}, tasks: {t: {action: std.noop}}}",
        params={"env": "stored"},
        environments={"stored": {"k": 7}},
    )
    assert execution.output == {"e": 7}


@pytest.mark.parametrize("env", ["unknown", [1], 5])
def test_an_environment_that_is_none_refuses_the_start(env):
    with pytest.raises(InputException):
        run(NOOP, params={"env": env})


def test_the_security_context_is_visible_as_openstack():
    execution = run(
        "w: {output: {u: <% $.openstack.user_id %>}, tasks: {t: {action: std.noop}}}", security={"user_id": "u"}
    )
    assert execution.output == {"u": "u"}


def test_input_larger_than_a_field_may_be_refuses_the_start():
    with pytest.raises(SizeLimitExceededException, match="field=input"):
        run("w: {input: [x], tasks: {t: {action: std.noop}}}", {"x": "y" * 5000}, field_bytes_max=4096)


def test_without_a_size_limit_nothing_is_too_large():
    execution = run(
        "w: {input: [x], output: {x: '1'}, tasks: {t: {action: std.noop}}}", {"x": "y" * 50_000}, field_bytes_max=-1
    )
    assert execution.state == "SUCCESS"


def test_environment_defaults_complete_an_actions_input_without_overwriting():
    execution = run(
        """
w:
  tasks:
    t: {action: std.echo, input: {output: {mine: 1}}}
""",
        params={"env": {"__actions": {"std.echo": {"output": {"mine": 2, "theirs": 3}, "delay": 0}}}},
    )
    assert execution.input_of("t") == {"output": {"mine": 1, "theirs": 3}, "delay": 0}


@pytest.mark.parametrize("defaults", [[1], {"std.echo": [1]}, "text"])
def test_environment_defaults_of_the_wrong_form_fail_the_task_by_force(defaults):
    execution = run(
        "w: {tasks: {t: {action: std.echo output=1, on-error: h}, h: {action: std.noop}}}",
        params={"env": {"__actions": defaults}},
    )
    assert execution.state == "ERROR"
    assert execution.states == {"t": "ERROR"}
    assert "'__actions' must be an object of objects" in (execution.state_info or "")


def test_a_reverse_workflow_needs_to_know_its_target():
    text = "w: {type: reverse, tasks: {t: {action: std.noop}}}"
    with pytest.raises(WorkflowException, match="needs the start parameter 'task_name'"):
        run(text)
    with pytest.raises(WorkflowException, match="there is no task 'u'"):
        run(text, params={"task_name": "u"})


def test_a_redefined_workflow_does_not_touch_a_running_execution():
    cloud = Cloud("w: {tasks: {t: {action: std.async_noop, on-success: old}, old: {action: std.noop}}}")
    execution = cloud.start()
    cloud.library.add_workflows("w: {tasks: {t: {action: std.async_noop, on-success: new}, new: {action: std.noop}}}")
    assert execution.complete("t").names == ["t", "old"]


def test_a_time_limit_fails_the_workflow_also_while_it_is_paused():
    text = "w: {timeout: 10, tasks: {t: {action: std.async_noop}}}"
    execution = run(text)
    execution.pause()
    execution.cloud.pass_time(10)
    assert execution.state == "ERROR"
    assert execution.state_info == "Workflow timed out [timeout(s)=10]."


def test_a_time_limit_of_a_workflow_that_ended_changes_nothing():
    execution = run("w: {timeout: <% $.x %>, input: [x], tasks: {t: {action: std.async_noop}}}", {"x": 10})
    execution.complete("t")
    execution.cloud.pass_time(20)
    assert execution.state == "SUCCESS"


def test_a_time_limit_of_zero_is_none():
    execution = run("w: {timeout: <% 0 %>, tasks: {t: {action: std.async_noop}}}")
    assert not execution.header.timers


def test_a_time_limit_fails_a_running_workflow():
    execution = run("w: {timeout: 10, tasks: {t: {action: std.async_noop}}}")
    execution.cloud.pass_time(10)
    assert execution.state == "ERROR"
