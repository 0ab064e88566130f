"""From a task to an action execution: names, parameters, ad-hoc actions, claims, results."""

from dataclasses import replace

import pytest

from chalicelib.engine import codec
from chalicelib.engine.draft import Draft, Loaded
from chalicelib.engine.effects import Continue, RunAction, SetTimer, StartSubworkflow
from chalicelib.engine.events import ActionCompleted, ActionUpdated, ClaimExpired, Continued
from chalicelib.engine.reconcile import owed_effects
from chalicelib.engine.records import Claim
from chalicelib.vocabulary import Result, State
from tests.builders import BEGINNING, Cloud, run


def claimed(execution, name, deadline):
    """Write a claim on a task's action into the header, as an executor does that takes the action along."""
    header = execution.header
    task = execution.task(name)
    actions = tuple(replace(action, claim=Claim("executor", deadline)) for action in task.actions)
    header = replace(header, frontier={**header.frontier, task.ordinal: replace(task, actions=actions)})
    execution.stored.records["header"] = codec.pack_header(header)
    execution.cloud.memories.clear()


def test_a_task_without_action_does_nothing():
    execution = run("w: {tasks: {t: {on-success: noop}}}")
    assert [action.name for action in execution.actions("t")] == ["std.noop"]


def test_an_action_by_expression_is_looked_up_when_it_runs():
    execution = run("w: {vars: {a: std.echo}, tasks: {t: {action: <% $.a %>, input: {output: 1}}}}")
    assert execution.results_of("t") == [1]


@pytest.mark.parametrize(
    "task",
    [
        "action: std.nope",
        "action: <% $.nope.x %>",
        "action: std.echo",
        "action: std.echo output=1 outputs=2",
        "action: std.echo output=<% $.nope.x %>",
        "action: std.echo, input: '<% [1] %>'",
        "action: std.noop, target: <% $.nope.x %>",
    ],
)
def test_a_fault_of_the_definition_fails_task_and_workflow_by_force(task):
    execution = run(f"w: {{tasks: {{t: {{{task}, on-error: h}}, h: {{action: std.noop}}}}}}")
    assert execution.state == "ERROR"
    assert execution.states == {"t": "ERROR"}
    assert (execution.state_info or "").startswith("Failed to run task [error=")


def test_values_that_an_action_cannot_be_made_with_are_an_ordinary_error():
    execution = run("w: {tasks: {t: {action: std.sleep, input: {seconds: [1]}, on-error: h}, h: {action: std.noop}}}")
    assert execution.states == {"t": "ERROR", "h": "SUCCESS"}
    assert (execution.task("t").state_info or "").startswith("Failed to instantiate an action")


def test_input_given_by_expression_is_an_object():
    execution = run("w: {tasks: {t: {action: std.echo, input: '<% dict(output => 3) %>'}}}")
    assert execution.results_of("t") == [3]


def test_a_target_is_known_to_whoever_sends_the_action_and_makes_it_impure():
    execution = run(
        """
w:
  tasks:
    t: {action: std.echo output='here', target: <% $.output %>}
    u: {action: std.noop, target: <% 5 %>}
"""
    )
    assert [effect.target for _, effect in execution.cloud.released] == ["here"]
    assert execution.states == {"t": "RUNNING", "u": "SUCCESS"}


def test_results_of_actions_become_plain_json():
    execution = run("w: {tasks: {t: {action: std.async_noop, publish: {r: <% task().result %>}}}}")
    execution.complete("t", {"pair": (1, 2), 3: {4}})
    assert execution.published("t") == {"r": {"pair": [1, 2], "3": [4]}}


def test_a_result_that_is_repeated_changes_nothing():
    execution = run("w: {tasks: {t: {action: std.async_noop}, u: {action: std.async_noop}}}")
    event = ActionCompleted(1, 0, Result(data=1))
    assert execution.changes(event)
    assert not execution.changes(event)
    assert not execution.changes(ActionCompleted(1, 0, Result(error="other")))


# -- ad-hoc actions

AD_HOC = """
twice:
  input: [n, {more: 0}]
  base: std.echo output=<% $.n * 2 + $.more %>
  output: {value: <% $ %>}
four:
  input: [m]
  base: twice
  base-input: {n: <% $.m * 2 %>}
  output: <% $.value %>
circle:
  base: elcric
elcric:
  base: circle
lost:
  base: std.nope
wrong:
  base: std.echo outputs=1
waits:
  base: std.async_noop
  output: {got: <% $ %>}
breaks:
  base: std.async_noop
  output: <% $.nope.x %>
constant:
  base: std.noop
  output: {fixed: <% $ %>}
fails:
  base: std.fail
  output: {never: <% $ %>}
"""


def ad_hoc(task):
    return run(f"w: {{vars: {{v: 3}}, tasks: {{t: {{{task}, on-error: h}}, h: {{action: std.noop}}}}}}", actions=AD_HOC)


def test_an_ad_hoc_action_transforms_input_and_output():
    execution = ad_hoc("action: twice n=4")
    assert execution.results_of("t") == [{"value": 8}]
    assert execution.input_of("t") == {"n": 4, "more": 0}
    assert execution.actions("t")[0].name == "twice"


def test_ad_hoc_actions_stand_upon_each_other():
    assert ad_hoc("action: four m=1").results_of("t") == [4]


@pytest.mark.parametrize("name", ["circle", "lost", "wrong"])
def test_an_ad_hoc_action_without_ground_is_an_ordinary_error(name):
    execution = ad_hoc(f"action: {name}")
    assert execution.states == {"t": "ERROR", "h": "SUCCESS"}


def test_missing_input_of_an_ad_hoc_action_fails_by_force():
    execution = ad_hoc("action: twice")
    assert execution.states == {"t": "ERROR"}
    assert "missing=['n']" in (execution.state_info or "")


def test_the_result_of_an_asynchronous_base_is_transformed_when_it_comes():
    execution = ad_hoc("action: waits").complete("t", {"x": 1})
    assert execution.results_of("t") == [{"got": {"x": 1}}]


def test_an_output_that_cannot_be_evaluated_fails_action_task_and_workflow():
    execution = ad_hoc("action: breaks").complete("t", {"x": 1})
    assert execution.states == {"t": "ERROR"}
    (action,) = execution.actions("t")
    assert (action.state, action.accepted) == (State.ERROR, False)
    assert (execution.state_info or "").endswith("task=t, action=breaks]")


def test_a_result_that_is_empty_leaves_the_output_as_it_is_written():
    assert ad_hoc("action: constant").results_of("t") == [{"fixed": "<% $ %>"}]


def test_the_error_of_a_base_is_not_transformed():
    execution = ad_hoc("action: fails")
    assert "Fail action expected exception." in execution.results_of("t")[0]


def test_an_output_that_breaks_after_the_task_has_ended_changes_only_the_action():
    cloud = Cloud("w: {tasks: {t: {action: breaks, timeout: 5}}}", actions=AD_HOC)
    execution = cloud.start()
    cloud.pass_time(5)
    before = execution.task("t").state_info
    execution.send(ActionCompleted(1, 0, Result(data={"x": 1})))
    assert execution.task("t").state_info == before
    assert execution.actions("t")[0].state is State.ERROR


# -- claims


def test_a_claim_that_lives_protects_its_action():
    execution = run("w: {tasks: {t: {action: std.sleep}}}")
    assert not execution.changes(ClaimExpired(1, 0))
    claimed(execution, "t", BEGINNING + 10)
    assert not execution.changes(ClaimExpired(1, 0))
    assert not execution.changes(ClaimExpired(7, 0))


def test_an_action_whose_executor_died_ends_in_error_once():
    execution = run("w: {tasks: {t: {action: std.sleep, on-error: h}, h: {action: std.async_noop}}}")
    claimed(execution, "t", BEGINNING)
    assert execution.changes(ClaimExpired(1, 0))
    assert execution.states == {"t": "ERROR", "h": "RUNNING"}
    assert "died before it reported a result" in (execution.task("t").state_info or "")
    assert not execution.changes(ClaimExpired(1, 0))
    assert not execution.changes(ActionCompleted(1, 0, Result(data="late")))


def test_an_action_that_may_run_twice_is_released_again():
    execution = run("w: {tasks: {t: {action: std.sleep, safe-rerun: true}}}")
    claimed(execution, "t", BEGINNING)
    execution.send(ClaimExpired(1, 0))
    assert execution.released("t") == 2
    assert execution.actions("t")[0].claim is None


def test_a_claim_on_an_action_that_is_paused_is_left_alone():
    execution = run("w: {tasks: {t: {action: std.async_noop}}}")
    claimed(execution, "t", BEGINNING)
    execution.send(ActionUpdated(1, 0, State.PAUSED))
    assert not execution.changes(ClaimExpired(1, 0))


# -- what is owed


def test_what_is_owed_follows_from_the_records():
    execution = run(
        """
kid:
  tasks:
    k: {action: std.async_noop}
w:
  timeout: 100
  tasks:
    a: {action: std.sleep, timeout: 50}
    d: {action: std.noop, wait-before: 5}
    i: {with-items: "i in [1, 2]", action: std.async_noop}
    p: {workflow: kid}
    z: {action: std.noop}
"""
    )
    execution.complete("i", index=0)
    draft = Draft(execution.header, Loaded())
    execution.stored.load(draft.loaded, [])
    draft.loaded.items[3] = {action.number: action for action in execution.actions("i")}
    draft.loaded.all_items.add(3)
    owed = owed_effects(draft)
    assert [effect for effect in owed if isinstance(effect, RunAction)] == [
        RunAction(1, 0, timeout_sec=50.0),
        RunAction(3, 1),
    ]
    assert [effect for effect in owed if isinstance(effect, StartSubworkflow)] == [
        StartSubworkflow(4, 0, execution.child("p").id)
    ]
    assert sorted(effect.ordinal for effect in owed if isinstance(effect, SetTimer)) == [0, 1, 2]
    assert owed[-1] == Continue()


def test_going_on_where_the_records_say_changes_nothing_when_all_was_done():
    execution = run(
        """
w:
  tasks:
    a: {action: std.async_noop}
    d: {action: std.noop, wait-before: 5}
    i: {with-items: "i in [1, 2, 3]", concurrency: 2, action: std.async_noop}
    j: {join: all, action: std.noop}
    s: {action: std.noop, on-success: j}
    t: {action: std.async_noop, on-success: j}
"""
    )
    assert not execution.changes(Continued())
    execution.pause()
    assert not execution.changes(Continued())


def test_a_pure_action_that_a_crash_left_behind_is_run_by_going_on():
    execution = run("w: {tasks: {t: {action: std.async_noop}, u: {action: std.async_noop}}}")
    header = execution.header
    task = execution.task("t")
    pure = replace(task.actions[0], name="std.noop", is_pure=True)
    left = replace(header, frontier={**header.frontier, 1: replace(task, actions=(pure,))})
    execution.stored.records["header"] = codec.pack_header(left)
    execution.cloud.memories.clear()
    execution.pause()
    execution.send(Continued())
    assert execution.states["t"] == "RUNNING"
    execution.resume()
    assert execution.states["t"] == "SUCCESS"
