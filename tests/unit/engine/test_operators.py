"""What operators ask for: pause, resume, stop, rerun, skip, descriptions and environments."""

import pytest

from chalicelib.engine.events import (
    ActionCompleted,
    DescriptionChanged,
    Event,
    PauseRequested,
    RerunRequested,
    ResumeRequested,
    SkipRequested,
    StopRequested,
)
from chalicelib.errors import InputException, NotAllowedException, WorkflowException
from chalicelib.vocabulary import Result, State
from tests.builders import run

ONE = "w: {tasks: {t: {action: std.async_noop}}}"

WANTED: dict[State, Event] = {
    State.RUNNING: ResumeRequested(),
    State.PAUSED: PauseRequested(),
    State.SUCCESS: StopRequested(State.SUCCESS),
    State.ERROR: StopRequested(State.ERROR, "why"),
    State.CANCELLED: StopRequested(State.CANCELLED, "why"),
}
REFUSED = "refused"
SAME = "same"
MATRIX = {
    State.RUNNING: (SAME, State.PAUSED, State.SUCCESS, State.ERROR, State.CANCELLED),
    State.PAUSED: (State.RUNNING, SAME, REFUSED, SAME, State.CANCELLED),
    State.SUCCESS: (SAME, REFUSED, SAME, SAME, SAME),
    State.ERROR: (SAME, REFUSED, REFUSED, SAME, SAME),
    State.CANCELLED: (SAME, REFUSED, REFUSED, SAME, SAME),
}


@pytest.mark.parametrize(
    ("current", "wanted", "outcome"),
    [
        (current, wanted, outcome)
        for current, row in MATRIX.items()
        for wanted, outcome in zip(WANTED, row, strict=True)
    ],
)
def test_a_requested_state_is_taken_ignored_or_refused(current, wanted, outcome):
    execution = run(ONE)
    if current is not State.RUNNING:
        execution.send(WANTED[current])
    assert execution.state is current
    if outcome == REFUSED:
        with pytest.raises(WorkflowException, match=f"from {current} to {wanted}"):
            execution.send(WANTED[wanted])
        assert execution.state is current
    else:
        execution.send(WANTED[wanted])
        assert execution.state is (current if outcome == SAME else outcome)


# -- pause and resume


def test_results_are_taken_while_paused_and_lead_on_after_the_resume():
    execution = run(
        """
w:
  tasks:
    t: {action: std.async_noop, publish: {x: <% task().result %>}, on-success: u}
    u: {action: std.echo output=<% $.x %>}
"""
    ).pause()
    execution.complete("t", 5)
    task = execution.task("t")
    assert task.state is State.SUCCESS
    assert task.next_tasks == (("u", "on-success"),)
    assert not execution.header.is_processed(task)
    assert execution.names == ["t"]
    execution.resume()
    assert execution.header.is_processed(execution.task("t"))
    assert execution.results_of("u") == [5]


def test_a_pause_command_that_comes_up_on_resume_is_left_out():
    execution = run("w: {tasks: {t: {action: std.async_noop, on-success: [pause, u]}, u: {action: std.noop}}}").pause()
    execution.complete("t").resume()
    assert execution.state == "SUCCESS"
    assert execution.names == ["t", "u"]


def test_resuming_with_nothing_left_to_do_ends_the_workflow():
    execution = run(ONE).pause().complete("t")
    assert execution.state == "PAUSED"
    execution.resume()
    assert execution.state == "SUCCESS"


def test_resuming_merges_an_environment():
    execution = run("w: {tasks: {t: {action: std.async_noop}}}", params={"env": {"a": {"x": 1}, "b": 1}}).pause()
    execution.resume({"a": {"y": 2}})
    assert execution.params["env"] == {"a": {"x": 1, "y": 2}, "b": 1}


def test_an_environment_for_a_resume_that_changes_nothing_is_dropped():
    execution = run(ONE).send(ResumeRequested({"a": 1}))
    assert execution.params["env"] == {}


def test_a_failure_by_force_while_paused_fails_the_workflow_on_resume():
    execution = run("w: {tasks: {t: {action: std.async_noop, publish: {x: <% $.nope.x %>}}}}").pause().complete("t")
    assert execution.states == {"t": "ERROR"}
    assert execution.state == "PAUSED"
    execution.resume()
    assert execution.state == "ERROR"
    assert "Failure caused by error in tasks: t" in (execution.state_info or "")


def test_many_tasks_that_ended_in_a_pause_lead_on_in_one_turn():
    branches = "".join(
        f"    b{n}: {{action: std.async_noop, on-success: n{n}}}\n    n{n}: {{action: std.noop}}\n" for n in range(130)
    )
    execution = run("w:\n  tasks:\n" + branches)
    ordinals = [task.ordinal for task in execution.all_tasks()]
    execution.pause()
    for ordinal in sorted(ordinals, key=lambda o: (o * 37) % 131):
        execution.send(ActionCompleted(ordinal, 0, Result()))
    execution.cloud.memories.clear()
    execution.resume()
    assert execution.state == "SUCCESS"
    assert len(execution.names) == 260


# -- stop


def test_what_runs_in_a_stopped_workflow_ends_but_leads_nowhere():
    execution = run("w: {tasks: {t: {action: std.async_noop, publish: {x: 1}, on-success: u}, u: {action: std.noop}}}")
    execution.stop(State.ERROR, "enough").complete("t")
    assert execution.states == {"t": "SUCCESS"}
    assert execution.published("t") == {"x": 1}
    assert execution.task("t").next_tasks == ()
    assert execution.output == {"result": "enough"}


def test_stopping_with_success_evaluates_the_output_of_what_is_there():
    execution = run(
        """
w:
  output: {x: <% $.get(x) %>}
  tasks:
    a: {action: std.noop, publish: {x: 1}}
    t: {action: std.async_noop}
"""
    ).stop(State.SUCCESS, "done")
    assert execution.output == {"x": 1}
    assert execution.state_info == "done"


def test_a_stop_whose_output_cannot_be_evaluated_is_refused():
    execution = run("w: {output: {x: <% $.nope.x %>}, tasks: {t: {action: std.async_noop}}}")
    with pytest.raises(Exception, match="nope"):
        execution.stop(State.SUCCESS)
    assert execution.state == "RUNNING"


def test_a_failing_final_context_does_not_stop_a_stop(monkeypatch):
    execution = run(ONE)

    def broken(draft):
        raise WorkflowException("cannot be computed")

    monkeypatch.setattr("chalicelib.engine.workflow.final_context", broken)
    execution.stop(State.ERROR, "enough")
    assert execution.output == {"result": "enough"}


# -- rerun


def test_a_failed_task_runs_again_in_the_same_record():
    execution = run("w: {tasks: {t: {action: std.async_noop, on-success: u}, u: {action: std.noop}}}").fail("t")
    assert execution.state == "ERROR"
    stale = execution.output
    execution.rerun("t")
    assert (execution.state, execution.state_info) == (State.RUNNING, None)
    assert execution.output == stale
    assert execution.task("t").finished_at is None
    execution.complete("t", 5)
    assert execution.state == "SUCCESS"
    assert execution.names == ["t", "u"]
    assert [(str(a.state), a.accepted) for a in execution.actions("t")] == [("ERROR", False), ("SUCCESS", True)]


def test_a_rerun_dispatches_what_follows_once_more():
    execution = run("w: {tasks: {t: {action: std.async_noop, on-complete: u}, u: {action: std.noop}}}").fail("t")
    assert execution.state == "ERROR"
    execution.rerun("t").complete("t")
    assert execution.names == ["t", "u", "u"]


def test_a_rerun_with_an_environment_sees_it():
    execution = run("w: {tasks: {t: {action: std.echo output=<% env().x %>}}}")
    assert execution.state == "ERROR"
    execution.rerun("t", env={"x": 7})
    assert execution.results_of("t") == [7]


def test_an_environment_may_not_change_while_the_workflow_runs_or_was_cancelled():
    text = "w: {tasks: {f: {action: std.fail}, t: {action: std.async_noop}}}"
    with pytest.raises(NotAllowedException, match="this one is RUNNING"):
        run(text).rerun("f", env={"x": 1})
    with pytest.raises(NotAllowedException, match="this one is CANCELLED"):
        run(text).stop(State.CANCELLED).rerun("f", env={"x": 1})


def test_only_a_failed_task_can_be_rerun_or_skipped():
    execution = run(ONE)
    for event in (RerunRequested(1), SkipRequested(1)):
        with pytest.raises(InputException, match="must be in ERROR"):
            execution.send(event)


def test_not_to_reset_is_for_items_only():
    execution = run(ONE).fail("t")
    with pytest.raises(InputException, match="Only with-items"):
        execution.rerun("t", reset=False)


def test_a_failed_task_of_a_workflow_that_succeeded_cannot_be_rerun():
    execution = run("w: {tasks: {t: {action: std.fail, on-error: noop}}}")
    with pytest.raises(WorkflowException, match="from SUCCESS to RUNNING"):
        execution.rerun("t")


@pytest.mark.parametrize("event", [RerunRequested(1), SkipRequested(1)])
def test_nothing_is_rerun_or_skipped_in_a_paused_workflow(event):
    execution = run("w: {tasks: {t: {action: std.fail}, u: {action: std.async_noop}}}").pause()
    assert not execution.changes(event)


def test_a_failure_by_force_can_be_rerun():
    execution = run("w: {tasks: {t: {action: std.echo output=<% env().x.y %>}}}")
    execution.rerun("t", env={"x": {"y": 1}})
    assert execution.state == "SUCCESS"


def test_a_rerun_in_a_running_workflow_leaves_it_running():
    execution = run("w: {tasks: {f: {action: std.fail}, t: {action: std.async_noop}}}")
    execution.rerun("f")
    assert execution.states == {"f": "ERROR", "t": "RUNNING"}
    assert len(execution.actions("f")) == 2


def test_what_others_received_is_not_changed_when_a_task_runs_again():
    execution = run(
        """
w:
  tasks:
    t:
      action: std.async_noop
      publish-on-error: {x: <% task().result %>}
      publish: {x: <% task().result %>}
      on-complete: slow
    slow: {action: std.async_noop, on-success: end, on-error: end}
    end: {action: std.echo output=<% $.x %>}
"""
    ).fail("t", "first")
    execution.stop(State.ERROR).rerun("t")
    first_slow = execution.runs("slow")[0]
    execution.complete("t", "second")
    assert len(execution.runs("slow")) == 2
    execution.send(ActionCompleted(first_slow.ordinal, 0, Result()))
    execution.complete("slow")
    results = {execution.resolved(task.actions[0].result.value) for task in execution.runs("end")}
    assert results == {"first", "second"}


def test_a_task_that_publishes_nothing_when_it_runs_again_hands_on_what_it_received():
    execution = run(
        """
w:
  tasks:
    s: {action: std.noop, publish: {x: received}, on-success: j}
    again: {action: std.async_noop, on-success: j}
    j:
      join: one
      action: std.async_noop
      publish-on-error: {x: own}
      on-success: {publish: {global: {g: 1}}, next: end}
      on-error: end
    end: {action: std.echo output=<% $.x %>}
"""
    ).fail("j")
    execution.complete("again").complete("j")
    first, second = execution.runs("end")
    assert execution.resolved(first.actions[0].result.value) == "own"
    assert execution.resolved(second.actions[0].result.value) == "received"


# -- skip


def test_a_skipped_task_publishes_and_goes_its_own_way():
    execution = run(
        """
w:
  tasks:
    t: {action: std.fail, publish-on-skip: {x: 1}, on-skip: s, on-success: u, on-complete: c}
    s: {action: std.echo output=<% $.x %>}
    u: {action: std.noop}
    c: {action: std.noop}
"""
    )
    execution.skip("t")
    assert execution.states == {"t": "SKIPPED", "c": "SUCCESS", "s": "SUCCESS"}
    assert execution.task("t").state_info == "Task was skipped."
    assert execution.results_of("s") == [1]
    assert execution.state == "SUCCESS"


@pytest.mark.parametrize("clause", ["", "on-skip: [{s: <% false %>}], "])
def test_a_skipped_task_without_a_way_of_its_own_goes_on_as_a_success_but_not_on_complete(clause):
    execution = run(
        f"""
w:
  tasks:
    t: {{action: std.fail, {clause}on-success: u, on-error: noop, fail-on: true}}
    f: {{action: std.fail}}
    s: {{action: std.noop}}
    u: {{action: std.noop}}
""".replace("    s: {action: std.noop}\n", "    s: {action: std.noop}\n" if clause else "")
    )
    assert execution.state == "ERROR"
    execution.skip("t")
    assert execution.states["t"] == "SKIPPED"
    assert execution.states["u"] == "SUCCESS"
    assert "s" not in execution.names


def test_a_failure_by_force_can_be_skipped():
    execution = run("w: {tasks: {t: {action: std.nope, on-success: u}, u: {action: std.noop}}}")
    execution.skip("t")
    assert execution.state == "SUCCESS"
    assert execution.names == ["t", "u"]


# -- description and environment


def test_description_and_environment_change_without_any_other_effect():
    execution = run(ONE).pause()
    execution.send(DescriptionChanged("new", {"e": 1}))
    assert execution.header.description == "new"
    assert execution.params["env"] == {"e": 1}
    assert execution.state == "PAUSED"
    execution.send(DescriptionChanged(env={"f": 2}))
    assert execution.header.description == "new"


def test_an_environment_alone_may_not_change_while_the_workflow_runs():
    with pytest.raises(NotAllowedException):
        run(ONE).send(DescriptionChanged(env={"f": 2}))


def test_a_backlog_left_by_a_cancellation_is_carried_out_after_a_rerun():
    execution = run(
        """
w:
  tasks:
    f: {action: std.fail}
    t: {action: std.noop, on-success: [pause, u]}
    u: {action: std.noop}
"""
    )
    assert execution.state == "PAUSED"
    execution.stop(State.CANCELLED).rerun("f")
    assert execution.states["u"] == "SUCCESS"
    assert execution.state == "ERROR"
