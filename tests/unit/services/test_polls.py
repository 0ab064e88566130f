"""Actions that are not done at once: asked again in time, by one process, and by none when nobody waits any more."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from chalicelib.actions.registry import ActionContext, Pending, Polling, action
from chalicelib.engine.events import PauseRequested, ResumeRequested, StopRequested
from chalicelib.services.action_run_records import RunRequest
from chalicelib.services.carriers import Lease, Thread
from chalicelib.vocabulary import Json, State
from tests.unit.services.poll_site import EXECUTOR_SEC, Died, Site

ONE = "    a: {action: my.poll, on-success: b}\n    b: {action: std.noop}\n"
ITEMS = "    a: {with-items: 'i in [1, 2, 3]', action: my.poll value=<% $.i %>}\n"


def test_an_action_is_asked_until_it_is_done_and_begun_once():
    site = Site()
    execution_id = site.start(ONE)
    site.go_on()
    assert site.header(execution_id).state is State.SUCCESS
    assert site.starts == 1
    assert [round(at - site.asked_at[0]) for at in site.asked_at] == [0, 30, 60, 90]
    assert site.results(execution_id)[0] == "done"


def test_each_item_is_asked_by_itself():
    site = Site()
    execution_id = site.start(ITEMS)
    site.go_on()
    assert site.results(execution_id) == [1, 2, 3]
    assert (site.starts, len(site.asked_at)) == (3, 12)


def test_a_delay_longer_than_a_message_can_wait_is_never_cut_short():
    site = Site()
    site.start("    a: {action: my.poll times=1 delay=2000}\n")
    site.go_on()
    assert site.asked_at[1] - site.asked_at[0] >= 2000
    assert site.asked_at[1] - site.asked_at[0] < 2002


@pytest.mark.parametrize("tasks", [ONE, ITEMS])
def test_a_message_that_comes_twice_asks_once(tasks: str):
    site = Site()
    execution_id = site.start(tasks)
    while site.due():
        received = site.take()
        site.deliver(received, 1)
        before = len(site.asked_at)
        site.deliver(received, 1)
        assert len(site.asked_at) == before
    assert site.header(execution_id).state is State.SUCCESS
    assert len(site.asked_at) == 4 * site.starts


@pytest.mark.parametrize("tasks", [ONE, ITEMS])
def test_redeliveries_send_the_next_message_again_and_do_not_pile_up(tasks: str):
    site = Site()
    execution_id = site.start(tasks)
    most = 0
    while site.due():
        received = site.take()
        site.deliver(received, 1)
        if received.body.get("p", 0) % 2 == 0:
            site.deliver(received, 2)
        most = max(most, site.queue_length())
    assert most <= 2 * site.starts
    assert site.header(execution_id).state is State.SUCCESS
    assert len(site.asked_at) == 4 * site.starts


@pytest.mark.parametrize("tasks", [ONE, ITEMS])
def test_lost_messages_are_found_by_the_alarm(tasks: str):
    site = Site()
    execution_id = site.start(tasks)
    for _ in range(site.queue_length()):
        site.step()
    site.lose_all()
    site.ring(execution_id)
    site.go_on()
    assert site.header(execution_id).state is State.SUCCESS
    assert len(site.asked_at) == 4 * site.starts


@pytest.mark.parametrize("tasks", [ONE, ITEMS])
def test_an_executor_that_dies_while_asking_is_followed_by_another(tasks: str):
    site = Site()
    execution_id = site.start(tasks)
    site.dies_at = 5 if tasks == ITEMS else 2
    site.go_on()
    assert site.header(execution_id).state is State.SUCCESS
    assert len(site.asked_at) == 4 * site.starts + 1


@pytest.mark.parametrize("tasks", [ONE, ITEMS])
def test_who_asks_is_left_alone_until_its_time_is_up_and_is_followed_then(tasks: str):
    site = Site()
    execution_id = site.start(tasks)
    while "p" not in (received := site.take()).body:
        site.deliver(received)
    asked = len(site.asked_at)
    site.dies_at = asked + 1
    until = site.clock.now() + EXECUTOR_SEC
    with suppress(Died):
        site.deliver(received)
    assert len(site.asked_at) == asked + 1

    for number, moment, expected in ((901, until - 0.001, asked + 1), (902, until, asked + 2)):
        site.clock.set(moment)
        site.deliver(replace(received, message_id=f"{number}"), 1)
        assert len(site.asked_at) == expected
    site.go_on()
    assert site.header(execution_id).state is State.SUCCESS


@pytest.mark.parametrize("tasks", [ONE, ITEMS])
def test_an_executor_that_dies_at_the_start_is_followed_by_none(tasks: str):
    site = Site()
    execution_id = site.start(tasks)
    site.dies_at = 1
    site.go_on()
    assert site.header(execution_id).state is State.ERROR
    assert "died before it reported a result" in str(site.results(execution_id))


@pytest.mark.parametrize("tasks", [ONE, ITEMS])
def test_an_action_that_only_looks_may_be_begun_again(tasks: str):
    site = Site(polling=Polling.ONLY)
    execution_id = site.start(tasks)
    site.dies_at = 1
    site.go_on()
    assert site.header(execution_id).state is State.SUCCESS


def test_asking_that_kills_each_process_ends_in_error():
    site = Site()
    execution_id = site.start(ONE)
    site.step()
    for _ in range(20):
        site.dies_at = len(site.asked_at) + 1
        if not site.step():
            break
    assert site.header(execution_id).state is State.ERROR
    assert len(site.asked_at) <= 5


@pytest.mark.parametrize("tasks", [ONE, ITEMS])
def test_what_is_cancelled_is_asked_no_more(tasks: str):
    site = Site()
    execution_id = site.start(tasks)
    for _ in range(site.queue_length()):
        site.step()
    asked = len(site.asked_at)
    site.container.engine.handle(execution_id, StopRequested(State.CANCELLED, "enough"))
    site.go_on()
    assert len(site.asked_at) == asked
    header = site.header(execution_id)
    assert header.state is State.CANCELLED
    assert not header.frontier
    assert {str(task.state) for task in site.container.executions.tasks(header)} == {"CANCELLED"}


@pytest.mark.parametrize("limit", ["timeout: 45", "retry: {count: 0, delay: 1}\n      timeout: 45"])
def test_what_is_out_of_time_is_asked_no_more(limit: str):
    site = Site()
    execution_id = site.start(f"    a:\n      action: my.poll times=50\n      {limit}\n")
    site.go_on()
    assert site.header(execution_id).state is State.ERROR
    assert len(site.asked_at) == 2


def test_a_paused_workflow_hears_the_end_of_what_runs_and_starts_nothing():
    site = Site()
    execution_id = site.start("    a: {action: my.poll, on-success: b}\n    b: {action: my.poll}\n")
    site.step()
    site.container.engine.handle(execution_id, PauseRequested())
    site.go_on()
    assert (site.header(execution_id).state, site.starts) == (State.PAUSED, 1)
    site.container.engine.handle(execution_id, ResumeRequested())
    site.go_on()
    assert (site.header(execution_id).state, site.starts) == (State.SUCCESS, 2)


def test_every_retry_begins_anew():
    site = Site()

    @action("my.late_failure", polling=Polling.AFTER_START)
    def late_failure(context: ActionContext) -> Json:
        """Begin, then fail."""
        if context.pending is None:
            site.starts += 1
            return Pending({}, delay_sec=5)
        raise ValueError("no")

    site.container.registry._built_in["my.late_failure"] = late_failure
    execution_id = site.start("    a: {action: my.late_failure, retry: {count: 2, delay: 1}}\n")
    site.go_on()
    assert (site.header(execution_id).state, site.starts) == (State.ERROR, 3)


@pytest.mark.parametrize(
    ("polling", "memo", "said"),
    [
        (Polling.NEVER, None, "is not declared with polling"),
        (Polling.ONLY, {"x": "y" * 5000}, "the most is 4096"),
        (Polling.ONLY, {"x": {1, 2}}, "is not JSON"),
    ],
)
def test_what_may_not_be_said_is_an_error(polling: Polling, memo: Json, said: str):
    site = Site(polling=polling)
    site.memo = memo
    execution_id = site.start(ONE)
    site.go_on()
    assert said in str(site.results(execution_id)[0])


def test_a_worker_asks_by_its_own_queue_and_renews_its_claim_with_the_note():
    site = Site(targets=frozenset({"gpu"}))
    execution_id = site.start("    a: {action: my.poll times=1, target: gpu}\n")
    for _ in range(2):
        at = site.queue.next_visible_at("gpu")
        assert at is not None
        site.clock.set(max(at, site.clock.now()))
        (received,) = site.queue.receive("gpu", messages_max=1, visibility_sec=600)
        thread = Thread(received.message_id, site.clock.now() + 7200, site.clock, Lease(120, 0.001, lambda: None))
        site.container.executor.handle(received.body, thread)
        site.queue.delete(received)
    site.go_on()
    assert site.header(execution_id).state is State.SUCCESS


def test_asking_once_more_costs_two_writes_and_a_message():
    site = Site()
    site.start("    a: {action: my.poll times=40}\n")
    for _ in range(3):
        site.step()
    before = site.meter.counts()
    for _ in range(10):
        site.step()
    cost = site.meter.counts().minus(before)
    assert (cost.write_units / 10, cost.messages_sent / 10) == (2, 1)
    assert cost.read_units / 10 <= 2


# -- without a workflow


def ended_run(site: Site, identifier: str) -> Any:
    return site.container.action_runs.find(identifier)


def run(site: Site, **options: Any) -> Any:
    return site.container.action_runs.start(RunRequest("p", "my.poll", **options))


def test_an_action_on_its_own_is_asked_until_it_is_done():
    site = Site()
    begun = run(site, save_result=True)
    site.go_on()
    ended = ended_run(site, begun.id)
    assert (ended.action.state, ended.action.result.data, site.starts) == (State.SUCCESS, "done", 1)
    assert len(site.asked_at) == 4


def test_who_waits_for_an_action_on_its_own_waits_only_so_long(monkeypatch: pytest.MonkeyPatch):
    site = Site()
    monkeypatch.setattr(site.container.action_runs, "_pause", lambda _: site.step())
    quick = run(site, input={"times": 1, "delay": 2}, run_sync=True)
    assert (quick.action.state, quick.action.result.data) == (State.SUCCESS, "done")
    slow = run(site, input={"times": 10_000}, run_sync=True)
    assert slow.action.state is State.ERROR
    assert "did not end within 25 seconds; save its result instead" in slow.action.result.error
    asked = len(site.asked_at)
    site.go_on()
    assert len(site.asked_at) == asked


def test_the_timeout_of_an_action_on_its_own_holds():
    site = Site()
    begun = run(site, save_result=True, timeout_sec=45.0)
    site.go_on()
    ended = ended_run(site, begun.id)
    assert ended.action.state is State.ERROR
    assert "Timeout after 45 seconds" in ended.action.result.error
    assert len(site.asked_at) == 2


def test_an_action_on_its_own_survives_duplicates_and_a_dead_executor():
    site = Site()
    begun = run(site, save_result=True)
    site.dies_at = 3
    while site.due():
        received = site.take()
        with suppress(Died):
            site.deliver(received)
            site.deliver(received, 1)
            site.deliver(received, 2)
    ended = ended_run(site, begun.id)
    assert (ended.action.state, site.starts, len(site.asked_at)) == (State.SUCCESS, 1, 5)
