"""The alarm: whatever was lost is found within its interval, and an execution that only waits costs next to nothing."""

from itertools import pairwise

import pytest

from chalicelib.actions.action import action
from chalicelib.actions.registry import Registry
from chalicelib.engine.events import ActionCompleted, ActionUpdated, PauseRequested, ResumeRequested
from chalicelib.limits import ALARM_INTERVAL_MAX_SEC, ALARM_INTERVAL_SEC
from chalicelib.vocabulary import Result, State
from tests.unit.services.long_stage import DAY_SEC, MINUTE_SEC, LongStage

# The alarm rings, and the clock door looks once a minute.
HEALED_SEC = ALARM_INTERVAL_SEC + MINUTE_SEC
WAITS = "    human: {{action: std.async_noop, on-success: [{0}]}}\n    {1}"


class Death(BaseException):
    """An executor dies in the middle of an action."""


@pytest.fixture
def stage():
    return LongStage()


def ended_after(stage, execution_id, since):
    stage.go_on(enough=lambda: stage.header(execution_id).state.is_completed)
    header = stage.header(execution_id)
    assert header.state.is_completed
    return stage.clock.now() - since


def answer(stage, execution_id):
    """The human says yes."""
    stage.container.engine.handle(execution_id, ActionCompleted(1, 0, Result(data={})))


REAL = "std.test_dict size=2000 key_prefix=k val=v"
LOST = {
    "an action": f"work: {{action: {REAL}}}",
    "a timer": "work: {action: std.noop, wait-before: 30}",
    "a retry": "work: {action: std.fail, retry: {count: 1, delay: 30}}",
    "a sub-workflow": "work: {workflow: child}",
    "items": f"work: {{with-items: 'i in <% [1, 2, 3] %>', action: {REAL}}}",
}
CHILD = b"version: '2.0'\nchild: {tasks: {t: {action: std.test_dict size=2000 key_prefix=k val=v}}}"


@pytest.mark.parametrize("lost", LOST)
def test_what_is_lost_of_a_new_execution_is_sent_again(stage, lost):
    stage.define(CHILD)
    execution = stage.start(f"  tasks:\n    {LOST[lost]}")
    since = stage.clock.now()
    assert stage.lose_messages()
    assert ended_after(stage, execution, since) <= HEALED_SEC + 30


@pytest.mark.parametrize("lost", LOST)
@pytest.mark.parametrize("days", [0.2, 3, 90])
def test_what_is_lost_of_an_execution_that_has_waited_long_is_sent_again_as_soon(stage, lost, days):
    stage.define(CHILD)
    execution = stage.start("  tasks:\n" + WAITS.format("work", LOST[lost]))
    stage.go_on(stage.clock.now() + days * DAY_SEC + 77)
    answer(stage, execution)
    since = stage.clock.now()
    assert stage.lose_messages()
    assert ended_after(stage, execution, since) <= HEALED_SEC + 30


@pytest.mark.parametrize(("is_safe", "state"), [(True, State.SUCCESS), (False, State.ERROR)])
@pytest.mark.parametrize("days", [0, 3])
def test_a_dead_executor_is_noticed_within_the_interval(stage, is_safe, state, days):
    deaths = [Death]

    @action("test.deadly")
    def deadly() -> str:
        if deaths:
            raise deaths.pop()
        return "alive"

    class Deadly(Registry):
        def find(self, name):
            return deadly if name == "test.deadly" else super().find(name)

    stage.with_registry(Deadly())
    safely = ", safe-rerun: true" if is_safe else ""
    execution = stage.start("  tasks:\n" + WAITS.format("work", f"work: {{action: test.deadly{safely}}}"))
    stage.go_on(stage.clock.now() + days * DAY_SEC + 5)
    answer(stage, execution)
    since = stage.clock.now()
    with pytest.raises(Death):
        stage.go_on(enough=lambda: not deaths)
    stage.lose_messages()
    assert ended_after(stage, execution, since) <= HEALED_SEC
    assert stage.header(execution).state is state


def test_a_message_that_comes_again_finds_what_its_first_delivery_left_undone(stage, monkeypatch):
    stage.visibility_sec = 60
    execution = stage.start(
        "  tasks:\n    t: {action: std.noop, wait-before: 30, on-success: [u]}\n"
        "    u: {action: std.noop, wait-before: 5}"
    )
    since = stage.clock.now()

    def dies(*_arguments, **_options):
        raise Death

    with monkeypatch.context() as patched:
        patched.setattr(stage.container.engine.dispatcher, "carry_out", dies)
        with pytest.raises(Death):
            stage.go_on()
    assert ended_after(stage, execution, since) == pytest.approx(30 + 60 + 0, abs=2)
    assert stage.header(execution).state is State.SUCCESS


def test_who_waits_for_others_is_looked_at_ever_more_rarely(stage):
    execution = stage.start("  tasks:\n    human: {action: std.async_noop}")
    began = stage.clock.now()
    rings = []
    for _ in range(40):
        rings.append(stage.header(execution).wake_at - began)
        stage.go_on(enough=lambda: stage.header(execution).wake_at - began > rings[-1])
    gaps = [later - earlier for earlier, later in pairwise(rings)]
    assert rings[0] == ALARM_INTERVAL_SEC
    assert gaps == sorted(gaps) or max(gaps) <= ALARM_INTERVAL_MAX_SEC + MINUTE_SEC
    assert gaps[-1] >= ALARM_INTERVAL_MAX_SEC
    assert len([ring for ring in rings if ring < DAY_SEC]) < 12


def test_a_paused_execution_with_an_overdue_timer_is_not_looked_at_more_often(stage):
    execution = stage.start("  tasks:\n    t: {action: std.noop, wait-before: 60}")
    stage.container.engine.handle(execution, PauseRequested())
    stage.go_on(stage.clock.now() + 20 * DAY_SEC)
    assert stage.header(execution).state is State.PAUSED
    assert stage.wake_ups < 100


LIMITED = "  timeout: 30\n  tasks:\n    t: {0}"
HUMAN_CHILD = b"version: '2.0'\nchild: {tasks: {human: {action: std.async_noop}}}"


def paused_until_it_failed(stage, task, pause):
    """Start a workflow, have it paused until its time is over; what is left of it is its one task, paused."""
    execution = stage.start(LIMITED.format(task))
    stage.container.engine.handle(execution, pause)
    stage.go_on(enough=lambda: stage.header(execution).state.is_completed)
    header = stage.header(execution)
    assert (header.state, [task.state for task in header.frontier.values()]) == (State.ERROR, [State.PAUSED])
    return execution


def task_state(stage, execution):
    (task,) = stage.container.executions.tasks(stage.header(execution))
    return task.state


def children_of(stage, execution):
    (task,) = stage.header(execution).frontier.values()
    return [action.execution_id for action in stage.container.executions.actions(stage.header(execution), task)]


def test_the_end_of_a_paused_sub_workflow_that_is_lost_is_found_although_its_parent_has_ended(stage):
    stage.define(HUMAN_CHILD)
    execution = paused_until_it_failed(stage, "{workflow: child}", PauseRequested())
    (child,) = children_of(stage, execution)
    turns = stage.container.engine.turns
    # Its process dies before it tells its parent.
    turns.submit(child, ResumeRequested())
    turns.submit(child, ActionCompleted(1, 0, Result(data={})))

    stage.go_on()

    assert stage.header(child).state is State.SUCCESS
    assert task_state(stage, execution) is State.SUCCESS
    assert stage.alarms() == []


def test_an_item_whose_start_was_lost_starts_although_a_pause_kept_its_task_until_the_workflow_ended(
    stage, monkeypatch
):
    stage.define(HUMAN_CHILD)
    dispatcher = stage.container.engine.dispatcher
    begin = dispatcher.start_child
    with monkeypatch.context() as patched:
        patched.setattr(dispatcher, "start_child", lambda parent, ordinal, n: None if n else begin(parent, ordinal, n))
        task = "{with-items: 'i in <% [1, 2] %>', workflow: child}"
        execution = paused_until_it_failed(stage, task, PauseRequested())
    first, second = children_of(stage, execution)
    assert stage.header(second) is None

    stage.go_on(stage.clock.now() + HEALED_SEC)

    stage.container.engine.handle(first, ResumeRequested())
    for child in (first, second):
        stage.container.engine.handle(child, ActionCompleted(1, 0, Result(data={})))
    stage.go_on()
    assert task_state(stage, execution) is State.SUCCESS
    assert stage.alarms() == []


def test_the_time_limit_of_a_paused_task_holds_although_its_workflow_has_ended(stage):
    began = stage.clock.now()
    paused = ActionUpdated(1, 0, State.PAUSED)
    execution = paused_until_it_failed(stage, "{action: std.async_noop, timeout: 7200}", paused)

    stage.go_on(enough=lambda: not stage.header(execution).frontier)

    assert task_state(stage, execution) is State.ERROR
    assert 0 <= stage.clock.now() - began - 7200 <= MINUTE_SEC
    assert stage.alarms() == []


def test_the_index_has_one_entry_for_each_unfinished_execution_and_none_for_others(stage):
    ids = [stage.start("  tasks:\n    human: {action: std.async_noop}", f"w{number}") for number in range(20)]
    stage.start("  tasks:\n    t: {action: std.noop}", "done")
    for _ in range(3):
        assert sorted(execution for _, execution in stage.alarms()) == sorted(ids)
        stage.go_on(stage.clock.now() + 2 * DAY_SEC)
    for execution in ids:
        answer(stage, execution)
    assert stage.alarms() == []
