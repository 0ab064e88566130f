"""Sub-workflows: how a child is started, what comes home, and how parent and child follow each other."""

import pytest

from chalicelib.engine.draft import Draft, Loaded
from chalicelib.engine.effects import StartSubworkflow, Tell
from chalicelib.engine.events import (
    ActionCompleted,
    ActionUpdated,
    PauseRequested,
    ResumeRequested,
    Revived,
    StopRequested,
)
from chalicelib.engine.identity import task_id
from chalicelib.engine.workflow import outcome_of
from chalicelib.vocabulary import Result, State
from tests.builders import Cloud, Execution, run

FAMILY = """
kid:
  input: [{n: 1}]
  output: {n: <% $.n %>}
  tasks:
    k: {action: std.async_noop}
w:
  tasks:
    p:
      workflow: kid
      publish: {r: <% task().result %>}
      publish-on-error: {r: <% task().result %>}
      on-success: s
      on-error: e
    s: {action: std.noop}
    e: {action: std.noop}
"""

LONELY = """
kid:
  tasks:
    k: {action: std.async_noop}
w:
  tasks:
    p: {workflow: kid}
"""


def told(cloud, kind):
    """The events of a kind that executions told each other, with their receivers."""
    return [
        (effect.execution_id, effect.event)
        for _, transition in cloud.history
        for effect in transition.effects
        if isinstance(effect, Tell) and isinstance(effect.event, kind)
    ]


def test_the_output_of_the_child_is_the_result_of_the_task():
    execution = run(FAMILY)
    assert execution.states == {"p": "RUNNING"}
    execution.child("p").complete("k")
    assert execution.states == {"p": "SUCCESS", "s": "SUCCESS"}
    assert execution.published("p") == {"r": {"n": 1}}


def test_a_child_knows_where_it_belongs():
    execution = run(FAMILY, params={"notify": [{"type": "noop"}], "env": {"e": 1}})
    child = execution.child("p")
    assert child.header.description == "sub-workflow execution"
    assert child.header.root_execution_id == execution.id
    assert child.params == {
        "root_execution_id": execution.id,
        "task_execution_id": task_id(execution.id, 1),
        "index": 0,
        "namespace": "",
        "notify": [{"type": "noop"}],
        "env": {},
    }


def test_input_that_the_child_does_not_declare_becomes_its_parameters():
    execution = run(
        """
kid:
  type: reverse
  input: [x]
  tasks:
    k: {action: std.async_noop}
w:
  tasks:
    p: {workflow: kid, input: {x: 1, task_name: k, other: 2}}
"""
    )
    child = execution.child("p")
    assert child.header.input == {"x": 1}
    assert child.params["other"] == 2
    assert child.states == {"k": "RUNNING"}


def test_the_environment_of_the_root_is_seen_by_all_descendants():
    execution = run(
        """
grandkid:
  tasks:
    g: {action: std.echo output=<% env().e %>}
kid:
  tasks:
    k: {workflow: grandkid}
w:
  tasks:
    p: {workflow: kid}
""",
        params={"env": {"e": 5}},
    )
    assert execution.child("p").child("k").results_of("g") == [5]
    assert execution.child("p").child("k").header.depth == 2


def test_a_failed_child_is_an_ordinary_error_with_its_output_as_result():
    execution = run(FAMILY)
    execution.child("p").fail("k")
    assert execution.states == {"p": "ERROR", "e": "SUCCESS"}
    assert execution.published("p")["r"]["result"] == execution.task("p").state_info


def test_a_child_stopped_without_a_word_gives_no_reason():
    execution = run(FAMILY)
    execution.child("p").stop(State.ERROR)
    assert execution.task("p").state_info is None
    assert execution.published("p") == {"r": {"result": None}}


def test_the_text_of_a_failure_names_the_child_and_its_reason():
    execution = run(LONELY)
    execution.child("p").stop(State.ERROR, "why")
    child_id = execution.child("p").id
    assert execution.state_info == (
        f"Failure caused by error in tasks: p\n\n  p [task_ex_id={task_id(execution.id, 1)}] -> why\n"
        f"    [wf_ex_id={child_id}, idx=0]: why\n"
    )


@pytest.mark.parametrize("workflow", ["nope", "kid2"])
def test_an_unknown_child_or_one_without_its_input_is_an_ordinary_error(workflow):
    execution = run(
        f"""
kid2:
  input: [x]
  tasks:
    k: {{action: std.noop}}
w:
  tasks:
    p: {{workflow: {workflow}, on-error: e}}
    e: {{action: std.noop}}
"""
    )
    assert execution.states == {"p": "ERROR", "e": "SUCCESS"}


def test_a_child_that_cannot_be_born_is_an_ordinary_error():
    execution = run(
        """
kid:
  vars: {x: <% $.nope.x %>}
  tasks:
    k: {action: std.noop}
w:
  tasks:
    p: {workflow: kid, on-error: e}
    e: {action: std.noop}
"""
    )
    assert execution.states == {"p": "ERROR", "e": "SUCCESS"}


def test_a_workflow_that_calls_itself_ends():
    execution = run("w: {tasks: {p: {workflow: w}}}", depth_max=3)
    assert execution.state == "ERROR"
    assert "nested more than 3 deep" in (execution.child("p").child("p").child("p").task("p").state_info or "")


def test_the_children_of_a_workbook_are_found_by_their_short_names():
    cloud = Cloud()
    text = "main: {tasks: {p: {workflow: kid}, a: {action: act}}}\nkid: {tasks: {k: {action: std.noop}}}"
    cloud.library.add_workflows(text, workbook="book")
    cloud.library.add_actions("book.act: {base: std.echo output=1}")
    execution = cloud.start("book.main")
    assert execution.state == "SUCCESS"
    assert [action.name for action in execution.actions("p") + execution.actions("a")] == ["book.kid", "book.act"]


def test_a_cancelled_child_cancels_its_task_and_nothing_follows():
    execution = run(FAMILY)
    execution.child("p").stop(State.CANCELLED)
    assert execution.states == {"p": "CANCELLED"}
    assert execution.task("p").state_info is None
    assert execution.state == "CANCELLED"


def test_cancelling_the_parent_cancels_the_children_and_leaves_their_tasks():
    execution = run(FAMILY).stop(State.CANCELLED, "enough")
    child = execution.child("p")
    assert child.state == "CANCELLED"
    assert child.state_info == "enough"
    assert child.states == {"k": "RUNNING"}
    assert execution.states == {"p": "CANCELLED"}
    assert execution.task("p").state_info == "enough"


def test_failing_the_parent_leaves_the_children_running():
    execution = run(FAMILY).stop(State.ERROR, "enough")
    assert execution.child("p").state == "RUNNING"
    execution.child("p").complete("k")
    assert execution.states == {"p": "SUCCESS"}
    assert execution.state == "ERROR"


def test_pausing_the_parent_pauses_the_children_and_their_tasks():
    execution = run(FAMILY).pause()
    child = execution.child("p")
    assert (execution.state, child.state) == (State.PAUSED, State.PAUSED)
    assert execution.states == {"p": "PAUSED"}
    assert child.states == {"k": "RUNNING"}
    execution.resume()
    assert (execution.state, child.state) == (State.RUNNING, State.RUNNING)
    assert execution.states == {"p": "RUNNING"}


def test_pausing_a_child_pauses_its_ancestors_and_its_siblings():
    execution = run(
        """
kid:
  tasks:
    k: {action: std.async_noop}
mid:
  tasks:
    m: {workflow: kid}
w:
  tasks:
    p: {workflow: mid}
    q: {workflow: kid}
"""
    )
    execution.child("p").child("m").pause()
    assert execution.child("p").state == "PAUSED"
    assert execution.state == "PAUSED"
    assert execution.child("q").state == "PAUSED"
    assert execution.states == {"p": "PAUSED", "q": "PAUSED"}
    execution.child("p").child("m").resume()
    assert execution.child("p").state == "RUNNING"
    assert execution.states == {"p": "RUNNING", "q": "PAUSED"}
    assert execution.state == "PAUSED"
    execution.child("q").resume()
    assert execution.state == "RUNNING"


def test_a_task_with_several_children_stays_paused_until_none_of_them_is():
    execution = run(
        """
kid:
  tasks:
    k: {action: std.async_noop}
w:
  tasks:
    p: {with-items: "i in [1, 2]", workflow: kid}
"""
    ).pause()
    execution.child("p", 0).resume()
    assert execution.states == {"p": "PAUSED"}
    execution.child("p", 1).resume()
    assert execution.states == {"p": "RUNNING"}
    assert execution.state == "RUNNING"


def test_a_child_that_ends_while_the_parent_is_paused_leads_on_after_the_resume():
    execution = run(FAMILY).pause()
    child = execution.child("p").resume()
    execution.pause()
    assert child.state == "PAUSED"
    child.complete("k")
    assert execution.states == {"p": "PAUSED"}
    execution.resume()
    assert execution.states == {"p": "SUCCESS", "s": "SUCCESS"}


def test_an_asynchronous_action_that_is_paused_pauses_its_workflow():
    execution = run("w: {tasks: {t: {action: std.async_noop}}}")
    execution.send(ActionUpdated(1, 0, State.PAUSED))
    assert (execution.states, execution.state) == ({"t": "PAUSED"}, State.PAUSED)
    execution.send(ActionUpdated(1, 0, State.RUNNING))
    assert (execution.states, execution.state) == ({"t": "RUNNING"}, State.RUNNING)
    execution.send(ActionUpdated(1, 0, State.PAUSED)).send(ActionCompleted(1, 0, Result()))
    assert (execution.states, execution.state) == ({"t": "SUCCESS"}, State.PAUSED)
    assert execution.resume().state is State.SUCCESS


def test_an_action_of_a_workflow_that_ended_is_paused_alone():
    execution = run("w: {tasks: {t: {action: std.async_noop}}}").stop(State.ERROR)
    execution.send(ActionUpdated(1, 0, State.PAUSED))
    assert execution.state == "ERROR"
    assert execution.actions("t")[0].state is State.PAUSED


def test_words_about_actions_that_do_not_exist_change_nothing():
    execution = run("w: {tasks: {t: {action: std.async_noop}}}")
    for event in (
        ActionUpdated(9, 0, State.PAUSED),
        ActionUpdated(1, 9, State.PAUSED),
        ActionUpdated(1, 0, State.RUNNING),
    ):
        assert not execution.changes(event)
    for late in (ActionCompleted(9, 0, Result()), ActionCompleted(1, 9, Result()), Revived(1, 9)):
        assert not execution.changes(late)
    execution.complete("t")
    assert not execution.changes(ActionUpdated(1, 0, State.PAUSED))


# -- words that come late, twice or in the wrong order


def test_a_word_of_pause_that_comes_after_the_resume_is_not_heard():
    execution = run(LONELY).pause().resume()
    child = execution.child("p")
    (receiver, late), *_ = told(execution.cloud, PauseRequested)
    assert receiver == child.id
    assert not child.changes(late)
    assert child.state == "RUNNING"
    updates = [event for receiver, event in told(execution.cloud, ActionUpdated) if receiver == execution.id]
    assert [event.state for event in updates] == [State.PAUSED, State.RUNNING]
    assert not execution.changes(updates[0])
    assert not execution.changes(updates[1])


def test_a_word_of_resume_that_comes_after_another_pause_is_not_heard():
    execution = run(LONELY).pause().resume().pause()
    child = execution.child("p")
    resumes = [event for receiver, event in told(execution.cloud, ResumeRequested) if receiver == child.id]
    assert not child.changes(resumes[0])
    assert child.state == "PAUSED"


def test_a_word_of_pause_that_changes_nothing_is_remembered_all_the_same():
    execution = run(LONELY)
    execution.cloud.holds = True
    execution.cloud.submit(execution.id, PauseRequested())
    pause = next(effect for _, effect in execution.cloud.owed if isinstance(effect, Tell))
    child = Execution(execution.cloud, pause.execution_id)
    execution.cloud.submit(child.id, PauseRequested())
    assert execution.cloud.submit(child.id, pause.event) == []
    execution.cloud.submit(child.id, ResumeRequested())
    assert not child.changes(pause.event)
    assert child.state == "RUNNING"


def test_a_result_from_before_a_rerun_is_not_heard_after_it():
    execution = run(LONELY)
    child = execution.child("p").fail("k")
    assert execution.state == "ERROR"
    (_, failed), *_ = told(execution.cloud, ActionCompleted)
    child.rerun("k")
    assert (execution.state, child.state) == (State.RUNNING, State.RUNNING)
    assert execution.states == {"p": "RUNNING"}
    assert not execution.changes(failed)
    child.complete("k")
    assert execution.state == "SUCCESS"
    (_, revived), *_ = told(execution.cloud, Revived)
    assert not execution.changes(revived)


def test_that_a_child_runs_on_is_not_heard_before_that_it_was_revived():
    execution = run(LONELY)
    execution.child("p").fail("k")
    assert not execution.changes(ActionUpdated(1, 0, State.RUNNING, stamp=9))
    assert execution.changes(Revived(1, 0, stamp=8))
    assert (execution.state, execution.states) == ("RUNNING", {"p": "RUNNING"})


def test_a_child_of_an_attempt_that_is_over_neither_pauses_its_parent_nor_sets_its_task_running():
    execution = run(LONELY.replace("{workflow: kid}", "{workflow: kid, timeout: 5, retry: {count: 1, delay: 60}}"))
    execution.cloud.pass_time(5)
    for stamp, word in enumerate((State.PAUSED, State.RUNNING), start=8):
        execution.send(ActionUpdated(1, 0, word, stamp))
        assert (execution.state, execution.states) == ("RUNNING", {"p": "DELAYED"})
        assert [action.state for action in execution.actions("p")] == [word]


def test_a_word_of_cancellation_that_comes_after_a_rerun_is_not_heard():
    execution = run(
        """
kid:
  tasks:
    k: {action: std.async_noop}
    f: {action: std.fail}
w:
  tasks:
    p: {workflow: kid}
"""
    ).stop(State.CANCELLED)
    child = execution.child("p")
    (_, cancel), *_ = told(execution.cloud, StopRequested)
    execution.cloud.submit(child.id, cancel)
    child.rerun("f")
    assert not child.changes(cancel)
    assert child.state == "RUNNING"


# -- rerun inside a child


def test_rerunning_a_task_of_a_child_brings_its_ancestors_back_to_life():
    execution = run(
        """
kid:
  tasks:
    k: {action: std.async_noop}
mid:
  tasks:
    m: {workflow: kid}
w:
  tasks:
    p: {workflow: mid, on-success: s}
    s: {action: std.noop}
"""
    )
    kid = execution.child("p").child("m").fail("k")
    assert execution.state == "ERROR"
    kid.rerun("k")
    assert (execution.state, execution.child("p").state) == (State.RUNNING, State.RUNNING)
    kid.complete("k")
    assert execution.states == {"p": "SUCCESS", "s": "SUCCESS"}
    assert execution.state == "SUCCESS"


def test_skipping_a_task_of_a_child_goes_on_upwards_too():
    execution = run(LONELY)
    execution.child("p").fail("k")
    execution.child("p").skip("k")
    assert execution.states == {"p": "SUCCESS"}
    assert execution.state == "SUCCESS"


def test_a_child_among_items_is_revived_alone():
    execution = run(
        """
kid:
  tasks:
    k: {action: std.async_noop}
w:
  tasks:
    p: {with-items: "i in [1, 2, 3]", workflow: kid}
"""
    )
    execution.child("p", 0).fail("k")
    execution.child("p", 1).fail("k")
    execution.child("p", 2).complete("k")
    assert execution.state == "ERROR"
    execution.child("p", 0).rerun("k")
    assert execution.task("p").items.finished == 0b110
    execution.child("p", 1).rerun("k").complete("k")
    execution.child("p", 0).complete("k")
    assert execution.state == "SUCCESS"


def test_rerunning_the_parent_task_starts_a_fresh_child_and_the_old_one_no_longer_matters():
    execution = run(LONELY)
    old = execution.child("p").fail("k")
    execution.rerun("p")
    new = execution.child("p", 1)
    assert new.id != old.id
    old.rerun("k").complete("k")
    assert execution.states == {"p": "RUNNING"}
    new.complete("k")
    assert execution.state == "SUCCESS"


def test_a_child_that_is_revived_while_the_parent_still_runs_just_reopens_its_task():
    execution = run(
        """
kid:
  tasks:
    k: {action: std.async_noop}
w:
  tasks:
    p: {workflow: kid}
    q: {action: std.async_noop}
"""
    )
    execution.child("p").fail("k")
    assert execution.states["p"] == "ERROR"
    execution.child("p").rerun("k")
    assert execution.states["p"] == "RUNNING"
    assert execution.header.failures == ()


def test_a_task_that_succeeded_in_spite_of_its_child_is_not_reopened():
    execution = run(
        """
kid:
  tasks:
    k: {action: std.async_noop}
w:
  tasks:
    p: {with-items: "i in [1]", workflow: kid, tolerated-failure-percentage: 100}
    q: {action: std.async_noop}
"""
    )
    execution.child("p").fail("k")
    assert execution.states["p"] == "SUCCESS"
    execution.child("p").rerun("k")
    assert execution.states["p"] == "SUCCESS"


def test_a_start_that_is_repeated_finds_the_child():
    execution = run(LONELY)
    effect = StartSubworkflow(1, 0, execution.child("p").id)
    execution.cloud.carry_out(execution.id, effect)
    assert len(execution.cloud.executions) == 2


def test_what_a_child_came_to_can_be_read_again_for_a_parent_that_was_not_told():
    for state, result in (
        (State.SUCCESS, Result(data={"n": 1})),
        (State.ERROR, Result(error={"result": "why"})),
        (State.CANCELLED, Result(error={"result": "why"}, cancel=True)),
    ):
        child = run(FAMILY).child("p")
        assert outcome_of(Draft(child.header, Loaded())) is None
        child.stop(state, "why")
        assert outcome_of(Draft(child.header, Loaded())) == result


def test_items_go_on_after_a_child_that_paused_them_has_ended_without_running_on():
    execution = run(
        """
kid:
  timeout: 10
  tasks:
    k: {action: std.async_noop}
w:
  tasks:
    p: {with-items: "i in [1, 2]", concurrency: 1, workflow: kid}
"""
    )
    execution.child("p").pause()
    execution.cloud.pass_time(10)
    assert execution.states == {"p": "PAUSED"}
    execution.resume()
    assert execution.states == {"p": "RUNNING"}
    assert execution.child("p", 1).state == "RUNNING"


def test_items_that_are_paused_run_on_when_their_children_do():
    execution = run(
        """
kid:
  tasks:
    k: {action: std.async_noop}
w:
  tasks:
    p: {with-items: "i in [1, 2]", workflow: kid}
"""
    ).pause()
    assert execution.states == {"p": "PAUSED"}
    execution.resume()
    assert execution.states == {"p": "RUNNING"}
    assert [execution.child("p", n).state for n in range(2)] == ["RUNNING", "RUNNING"]


def test_a_word_of_the_parent_that_comes_after_the_end_is_not_even_written_down():
    execution = run(LONELY)
    child = execution.child("p")
    child.stop(State.SUCCESS)
    assert not child.changes(ResumeRequested(stamp=30))
