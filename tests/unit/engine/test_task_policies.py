"""Policies at work on tasks: waiting, retrying, timing out, pausing, failing."""

import pytest

from chalicelib.engine.events import ActionCompleted, Continued, TimerFired
from chalicelib.vocabulary import Result, State
from tests.builders import run


def timer_of(execution, kind):
    """The timer of a kind that some unfinished task has."""
    return next(
        (task.ordinal, timer)
        for task in execution.header.frontier.values()
        for timer in task.timers
        if timer.kind == kind
    )


# -- wait-before, wait-after


def test_wait_before_delays_the_first_run():
    execution = run("w: {tasks: {t: {action: std.noop, wait-before: 5}}}")
    assert execution.states == {"t": "DELAYED"}
    assert execution.task("t").state_info == "Delayed by 'wait-before' policy [delay=5]"
    execution.cloud.pass_time(4)
    assert execution.states == {"t": "DELAYED"}
    execution.cloud.pass_time(1)
    assert execution.state == "SUCCESS"
    assert execution.task("t").state_info is None


def test_a_wait_of_zero_by_expression_is_none():
    execution = run("w: {tasks: {t: {action: std.noop, wait-before: <% 0 %>, wait-after: <% 0 %>, timeout: <% 0 %>}}}")
    assert execution.state == "SUCCESS"


def test_wait_after_holds_back_what_follows_and_publishes_again():
    execution = run(
        """
w:
  tasks:
    t: {action: std.noop, wait-after: 5, publish: {when: <% now() %>}, on-success: u}
    u: {action: std.noop}
"""
    )
    assert execution.states == {"t": "DELAYED"}
    assert execution.task("t").state_info == "Delayed by 'wait-after' policy [delay=5]"
    before = execution.published("t")
    execution.cloud.pass_time(5)
    assert execution.states == {"t": "SUCCESS", "u": "SUCCESS"}
    assert execution.published("t") != before


def test_wait_after_remembers_a_failure():
    execution = run("w: {tasks: {t: {action: std.fail, wait-after: 5, on-error: u}, u: {action: std.noop}}}")
    execution.cloud.pass_time(5)
    assert execution.states == {"t": "ERROR", "u": "SUCCESS"}
    assert "Fail action expected exception." in (execution.task("t").state_info or "")


def test_retries_do_not_wait_after_again():
    execution = run("w: {tasks: {t: {action: std.fail, wait-after: 5, retry: {count: 1, delay: 1}}}}")
    execution.cloud.pass_time(5)
    assert execution.task("t").state_info == "Delayed by 'retry' policy [delay=1]"
    execution.cloud.pass_time(1)
    assert execution.state == "ERROR"


# -- fail-on


@pytest.mark.parametrize(
    ("value", "state"), [("1", "ERROR"), ("'false'", "ERROR"), ("0", "SUCCESS"), ("[]", "SUCCESS")]
)
def test_fail_on_fails_a_success_when_its_value_is_true(value, state):
    execution = run(f"w: {{vars: {{v: {value}}}, tasks: {{t: {{action: std.noop, fail-on: <% $.v %>}}}}}}")
    assert execution.states == {"t": state}
    if state == "ERROR":
        assert execution.task("t").state_info == "Failed by 'fail-on' policy"


def test_fail_on_comes_after_publishing_and_before_retrying():
    execution = run(
        """
w:
  tasks:
    t:
      action: std.echo output=1
      publish: {x: 1}
      publish-on-error: {y: 1}
      fail-on: <% task().result = 1 %>
      retry: {count: 1, delay: 0}
      on-error: h
    h: {action: std.noop}
"""
    )
    execution.cloud.pass_time(0)
    assert execution.states == {"t": "ERROR", "h": "SUCCESS"}
    assert execution.published("t") == {"x": 1}
    assert len(execution.actions("t")) == 2


def test_a_fail_on_that_cannot_be_evaluated_fails_by_force():
    execution = run("w: {tasks: {t: {action: std.noop, fail-on: <% $.nope.x %>, on-error: h}, h: {action: std.noop}}}")
    assert execution.state == "ERROR"
    assert execution.states == {"t": "ERROR"}


# -- retry


def attempts(policy, results, more=""):
    """Run a task against these results (text is an error) until it ends; how often it ran and how it ended."""
    execution = run(f"w: {{tasks: {{t: {{action: std.async_noop, retry: {policy}{more}}}}}}}")
    for result in results:
        if isinstance(result, str):
            execution.fail("t", result)
        else:
            execution.complete("t", result)
        execution.cloud.pass_time(10)
        if execution.task("t").state.is_completed:
            break
    return len(execution.actions("t")), str(execution.task("t").state)


@pytest.mark.parametrize(
    ("policy", "results", "ends"),
    [
        ("{count: 2, delay: 1}", ["e", "e", "e"], (3, "ERROR")),
        ("{count: 2, delay: 1}", ["e", 1], (2, "SUCCESS")),
        ("{count: 2, delay: 1}", [1], (1, "SUCCESS")),
        ("{count: <% 0 %>, delay: 1}", ["e"], (1, "ERROR")),
        ("{count: 2, delay: 1, break-on: <% true %>}", ["e"], (1, "ERROR")),
        ("{count: 2, delay: 1, break-on: <% task().result = 'stop' %>}", ["e", "stop"], (2, "ERROR")),
        ("{count: 2, delay: 1, continue-on: <% true %>}", [1, 1, 1], (3, "SUCCESS")),
        ("{count: 2, delay: 1, continue-on: <% false %>}", ["e"], (1, "ERROR")),
        ("{count: 2, delay: 1, continue-on: <% task().result < 2 %>}", [1, 2], (2, "SUCCESS")),
    ],
)
def test_retry_follows_its_table(policy, results, ends):
    assert attempts(policy, results) == ends


def test_a_cancelled_task_is_not_retried():
    execution = run("w: {tasks: {t: {action: std.async_noop, retry: {count: 2, delay: 1}}}}").cancel_action("t")
    assert execution.states == {"t": "CANCELLED"}


def test_each_attempt_is_a_new_action_of_the_same_task_and_only_the_last_counts():
    execution = run(
        "w: {tasks: {t: {action: std.async_noop, retry: {count: 2, delay: 3}, publish: {r: <% task().result %>}}}}"
    )
    execution.fail("t")
    assert execution.states == {"t": "DELAYED"}
    assert execution.task("t").state_info == "Delayed by 'retry' policy [delay=3]"
    assert execution.task("t").retry_no == 1
    execution.cloud.pass_time(3)
    execution.complete("t", "good")
    assert [(str(a.state), a.accepted) for a in execution.actions("t")] == [("ERROR", False), ("SUCCESS", True)]
    assert execution.published("t") == {"r": "good"}


def test_break_on_sees_what_was_just_published():
    execution = run(
        """
w:
  tasks:
    t:
      action: std.fail
      publish-on-error: {stop: true}
      retry: {count: 5, delay: 1, break-on: <% $.stop %>}
"""
    )
    assert execution.state == "ERROR"


def test_a_count_that_sees_only_what_was_published_here_fails_by_force():
    execution = run(
        """
w:
  tasks:
    t: {action: std.fail, publish-on-error: {n: 1}, retry: {count: <% $.n %>, delay: 1}, on-error: h}
    h: {action: std.noop}
"""
    )
    assert execution.state == "ERROR"
    assert execution.names == ["t"]


def test_the_count_of_retries_starts_anew_when_the_task_is_rerun():
    execution = run("w: {tasks: {t: {action: std.async_noop, retry: {count: 1, delay: 0}}}}").fail("t")
    execution.cloud.pass_time(0)
    execution.fail("t")
    assert execution.state == "ERROR"
    execution.rerun("t").fail("t")
    assert execution.states == {"t": "DELAYED"}


def test_delays_grow_with_backoff_up_to_their_bound():
    execution = run("w: {tasks: {t: {action: std.fail, retry: {count: 4, delay: 2, backoff: 3, max-delay: 20}}}}")
    delays = []
    while execution.states == {"t": "DELAYED"}:
        _, timer = timer_of(execution, "retry")
        delays.append(timer.delay_sec)
        execution.cloud.pass_time(timer.delay_sec)
    assert delays == [2, 6, 18, 20]


def test_jitter_only_shortens_a_delay_and_shows_it():
    execution = run("w: {tasks: {t: {action: std.fail, retry: {count: 1, delay: 10, jitter: 0.5}}}}")
    _, timer = timer_of(execution, "retry")
    assert 5 <= timer.delay_sec < 10
    assert f"[delay={round(timer.delay_sec, 3)}]" in (execution.task("t").state_info or "")


def test_a_retry_of_a_sub_workflow_starts_another_one():
    execution = run(
        """
kid:
  tasks:
    k: {action: std.async_noop}
w:
  tasks:
    t: {workflow: kid, retry: {count: 1, delay: 0}}
"""
    )
    first = execution.child("t").fail("k")
    execution.cloud.pass_time(0)
    second = execution.child("t", 1)
    assert first.id != second.id
    second.complete("k")
    assert execution.state == "SUCCESS"


# -- timeout


def test_a_timeout_fails_the_task_and_a_late_result_changes_only_its_own_record():
    execution = run("w: {tasks: {t: {action: std.async_noop, timeout: 5, on-error: h}, h: {action: std.async_noop}}}")
    execution.cloud.pass_time(5)
    assert execution.states == {"t": "ERROR", "h": "RUNNING"}
    assert execution.task("t").state_info == "Task timed out [timeout(s)=5]."
    before = execution.task("t")
    execution.send(ActionCompleted(before.ordinal, 0, Result(data="late")))
    assert execution.results_of("t") == ["late"]
    assert execution.task("t").state is State.ERROR
    assert execution.task("t").state_info == before.state_info


def test_a_timeout_that_is_retried_holds_for_the_retry_anew():
    execution = run("w: {tasks: {t: {action: std.async_noop, timeout: 5, retry: {count: 1, delay: 1}}}}")
    execution.cloud.pass_time(6)
    assert execution.states == {"t": "RUNNING"}
    execution.cloud.pass_time(4)
    assert execution.states == {"t": "RUNNING"}
    execution.cloud.pass_time(1)
    assert execution.states == {"t": "ERROR"}
    assert execution.task("t").state_info == "Task timed out [timeout(s)=5]."
    assert len(execution.actions("t")) == 2


def test_a_timeout_that_is_retried_may_be_followed_by_success():
    execution = run("w: {tasks: {t: {action: std.async_noop, timeout: 5, retry: {count: 1, delay: 1}}}}")
    execution.cloud.pass_time(6)
    execution.complete("t")
    execution.cloud.pass_time(1000)
    assert execution.state == "SUCCESS"


def test_a_timeout_of_a_join_counts_neither_at_first_nor_for_a_retry_but_after_a_rerun():
    execution = run(
        """
w:
  tasks:
    a: {action: std.noop, on-success: j}
    j: {join: all, action: std.async_noop, timeout: 5, retry: {count: 1, delay: 1}}
"""
    )
    execution.cloud.pass_time(100)
    execution.fail("j")
    execution.cloud.pass_time(100)
    assert execution.states["j"] == "RUNNING"
    execution.fail("j").rerun("j")
    execution.cloud.pass_time(6)
    assert execution.states["j"] == "RUNNING"
    execution.cloud.pass_time(5)
    assert execution.states["j"] == "ERROR"


def test_an_attempt_timeout_ends_each_attempt_and_the_retry_begins_anew():
    execution = run("w: {tasks: {t: {action: std.async_noop, retry: {count: 2, delay: 10, attempt-timeout: <% 5 %>}}}}")
    assert timer_of(execution, "attempt-timeout")[1].delay_sec == 5
    for _ in range(2):
        execution.cloud.pass_time(15)
        assert execution.states == {"t": "RUNNING"}
    execution.cloud.pass_time(5)
    assert execution.task("t").state_info == "Attempt timed out [attempt-timeout(s)=5]."
    assert len(execution.actions("t")) == 3


def test_an_attempt_that_fails_in_time_takes_its_limit_with_it():
    execution = run("w: {tasks: {t: {action: std.async_noop, retry: {count: 1, delay: 10, attempt-timeout: 5}}}}")
    execution.cloud.pass_time(4)
    execution.fail("t")
    execution.cloud.pass_time(10)
    execution.cloud.pass_time(4)
    assert execution.states == {"t": "RUNNING"}
    assert len(execution.actions("t")) == 2


def test_an_attempt_timeout_counts_from_when_a_join_has_come_together():
    execution = run(
        """
w:
  tasks:
    a: {action: std.async_noop, on-success: j}
    j: {join: all, action: std.async_noop, retry: {count: 1, delay: 0, attempt-timeout: 5}}
"""
    )
    execution.cloud.pass_time(100)
    execution.complete("a")
    execution.cloud.pass_time(10)
    assert execution.states["j"] == "ERROR"
    assert len(execution.actions("j")) == 2


def test_an_attempt_timeout_bounds_all_items_of_an_attempt():
    execution = run(
        "w: {tasks: {t: {with-items: 'i in [1, 2]', action: std.async_noop,"
        " retry: {count: 1, delay: 0, attempt-timeout: 5}}}}"
    )
    execution.cloud.pass_time(5)
    assert len(execution.actions("t")) == 4
    execution.cloud.pass_time(5)
    assert execution.state == "ERROR"


def test_a_limit_of_the_whole_task_holds_beside_that_of_an_attempt():
    execution = run(
        "w: {tasks: {t: {action: std.async_noop, timeout: 12, retry: {count: 9, delay: 0, attempt-timeout: 5}}}}"
    )
    execution.cloud.pass_time(11)
    assert execution.task("t").retry_no == 2
    execution.cloud.pass_time(1)
    assert execution.task("t").retry_no == 3
    assert {effect.timeout_sec for _, effect in execution.cloud.released} == {5.0}


def test_the_result_of_an_attempt_that_was_given_up_no_longer_counts():
    execution = run("w: {tasks: {t: {action: std.async_noop, timeout: 5, retry: {count: 1, delay: 1}}}}")
    execution.cloud.pass_time(6)
    execution.send(ActionCompleted(1, 0, Result(data="late")))
    assert execution.states == {"t": "RUNNING"}
    assert [(str(a.state), a.accepted) for a in execution.actions("t")] == [("SUCCESS", False), ("RUNNING", False)]


def test_a_timeout_runs_on_through_other_retries():
    execution = run("w: {tasks: {t: {action: std.async_noop, timeout: 5, retry: {count: 3, delay: 1}}}}").fail("t")
    execution.cloud.pass_time(5)
    assert execution.task("t").retry_no == 2


def test_the_executor_learns_the_timeout_of_the_task_but_not_of_the_defaults():
    execution = run(
        """
w:
  vars: {limit: 7}
  task-defaults: {timeout: 9}
  tasks:
    a: {action: std.async_noop, timeout: <% $.limit %>}
    b: {action: std.async_noop}
"""
    )
    limits = {effect.ordinal: effect.timeout_sec for _, effect in execution.cloud.released}
    assert limits == {1: 7.0, 2: None}
    assert timer_of(execution, "timeout")[1].delay_sec == 7


# -- pause-before


def test_pause_before_pauses_the_workflow_and_runs_the_task_on_resume():
    execution = run("w: {tasks: {t: {action: std.noop, pause-before: true, wait-before: 100}}}")
    assert execution.state == "PAUSED"
    assert execution.states == {"t": "IDLE"}
    assert execution.task("t").state_info == "Set by 'pause-before' policy"
    execution.resume()
    assert execution.state == "SUCCESS"


def test_pause_before_by_expression_may_be_false():
    execution = run("w: {tasks: {t: {action: std.noop, pause-before: <% false %>}}}")
    assert execution.state == "SUCCESS"


def test_a_timeout_ticks_while_pause_before_holds_a_task():
    execution = run("w: {tasks: {t: {action: std.noop, pause-before: true, timeout: 5}}}")
    execution.cloud.pass_time(5)
    assert execution.states == {"t": "ERROR"}
    assert execution.state == "PAUSED"
    execution.resume()
    assert execution.state == "ERROR"


def test_a_rerun_pauses_before_again():
    execution = run("w: {tasks: {t: {action: std.fail, pause-before: true}}}").resume()
    assert execution.state == "ERROR"
    execution.rerun("t")
    assert execution.state == "PAUSED"
    assert execution.states == {"t": "IDLE"}
    execution.resume()
    assert len(execution.actions("t")) == 2


def test_a_task_paused_before_in_a_workflow_that_was_cancelled_runs_after_a_rerun_of_another():
    execution = run(
        """
w:
  tasks:
    f: {action: std.fail}
    t: {action: std.noop, pause-before: true}
"""
    )
    assert execution.state == "PAUSED"
    execution.stop(State.CANCELLED).rerun("f")
    assert execution.states["t"] == "SUCCESS"
    assert execution.state == "ERROR"


# -- wrong values


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ("wait-before: <% '1' %>", "Invalid data type in WaitBeforePolicy"),
        ("wait-after: <% -1 %>", "Invalid data type in WaitAfterPolicy"),
        ("timeout: <% true %>", "Invalid data type in TimeoutPolicy"),
        ("concurrency: <% 'x' %>", "Invalid data type in ConcurrencyPolicy"),
        ("pause-before: <% 1 %>", "Invalid data type in PauseBeforePolicy"),
        ("retry: {count: <% 'x' %>, delay: 1}", "Invalid data type in RetryPolicy"),
        ("retry: {count: 1, delay: <% null %>}", "Invalid data type in RetryPolicy"),
    ],
)
def test_a_policy_of_the_wrong_type_fails_by_force_before_the_action_runs(policy, words):
    execution = run(f"w: {{tasks: {{t: {{action: std.noop, {policy}, on-error: h}}, h: {{action: std.noop}}}}}}")
    assert execution.state == "ERROR"
    assert execution.states == {"t": "ERROR"}
    assert words in (execution.state_info or "")
    assert (execution.state_info or "").startswith("Failed to run task [error=")
    assert not execution.actions("t")


def test_concurrency_is_remembered_on_tasks_without_items_too():
    execution = run("w: {tasks: {t: {action: std.async_noop, concurrency: <% 4 %>}}}")
    assert execution.task("t").concurrency == 4


# -- timers


def test_a_timer_that_comes_early_is_set_again_and_changes_nothing_else():
    execution = run("w: {tasks: {t: {action: std.noop, wait-before: 5}}}")
    ordinal, timer = timer_of(execution, "wait-before")
    execution.cloud.timers.clear()
    before = execution.stored.records["header"]
    execution.send(TimerFired(ordinal, timer.stamp))
    assert execution.stored.records["header"] == before
    assert [effect.due_at for _, effect in execution.cloud.timers] == [timer.due_at]


def test_a_workflow_timer_that_comes_early_is_set_again():
    execution = run("w: {timeout: 5, tasks: {t: {action: std.async_noop}}}")
    (timer,) = execution.header.timers
    execution.cloud.timers.clear()
    execution.send(TimerFired(0, timer.stamp))
    assert execution.state == "RUNNING"
    assert len(execution.cloud.timers) == 1
    assert not execution.changes(TimerFired(0, timer.stamp + 5))


def test_a_timer_from_an_earlier_attempt_changes_nothing():
    execution = run("w: {tasks: {t: {action: std.async_noop, retry: {count: 3, delay: 1}}}}").fail("t")
    ordinal, timer = timer_of(execution, "retry")
    execution.cloud.pass_time(1)
    execution.fail("t")
    execution.cloud.now += 100
    assert not execution.changes(TimerFired(ordinal, timer.stamp))


def test_a_timer_of_a_task_that_has_ended_changes_nothing():
    execution = run("w: {tasks: {t: {action: std.async_noop, timeout: 5}, u: {action: std.async_noop}}}")
    ordinal, timer = timer_of(execution, "timeout")
    execution.complete("t")
    execution.cloud.now += 100
    assert not execution.changes(TimerFired(ordinal, timer.stamp))
    assert not execution.changes(TimerFired(99, 1))


@pytest.mark.parametrize("policy", ["wait-before: 5", "retry: {count: 1, delay: 5}"])
def test_a_delay_that_runs_out_during_a_pause_starts_nothing_until_the_workflow_resumes(policy):
    execution = run(f"w: {{tasks: {{t: {{action: std.async_noop, {policy}}}}}}}")
    if policy.startswith("retry"):
        execution.fail("t")
    execution.pause()
    execution.cloud.pass_time(10)
    assert execution.states == {"t": "DELAYED"}
    execution.resume()
    execution.cloud.pass_time(0)
    assert execution.states == {"t": "RUNNING"}


def test_delays_go_on_in_a_workflow_that_was_stopped_and_their_tasks_end():
    execution = run(
        """
w:
  tasks:
    f: {action: std.noop, on-success: fail}
    t: {action: std.noop, wait-before: 5, on-success: u}
    u: {action: std.noop}
"""
    )
    assert execution.state == "ERROR"
    execution.cloud.pass_time(5)
    assert execution.states == {"f": "SUCCESS", "t": "SUCCESS"}
    assert not execution.header.frontier


def test_wait_before_of_a_rerun_waits_again():
    execution = run("w: {tasks: {t: {action: std.fail, wait-before: 5}}}")
    execution.cloud.pass_time(5)
    execution.rerun("t")
    assert execution.states == {"t": "DELAYED"}
    assert not execution.send(Continued()).actions("t")[1:]
    execution.cloud.pass_time(5)
    assert len(execution.actions("t")) == 2
