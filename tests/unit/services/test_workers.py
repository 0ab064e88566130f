"""Workers of a target: short claims that heartbeats renew, and nothing but what was sent to the target."""

from __future__ import annotations

import json
import threading
from functools import partial
from typing import Any

import pytest

from chalicelib.actions.registry import ActionContext, FunctionAction, Registry, action
from chalicelib.adapters.memory import MemoryQueue
from chalicelib.engine.effects import RunAction
from chalicelib.errors import ConflictException
from chalicelib.limits import WORKER_ACTION_MAX_SEC
from chalicelib.services.carriers import Lease, Thread, kept_alive
from chalicelib.settings import Settings
from chalicelib.vocabulary import Json
from tests.api import service_client
from tests.api.service_client import Client

LEASE_SEC = 120.0

WORKFLOW = """
remote:
  tasks:
    there:
      action: my.work
      target: gpu
      safe-rerun: {safe_rerun}
      on-success: here
    here:
      action: std.async_noop
many:
  tasks:
    there:
      with-items: i in [1, 2]
      action: my.work
      target: gpu
      safe-rerun: {safe_rerun}
"""


class Died(BaseException):
    """The process is gone."""


class Work:
    """What the action of the tests does, and how often it did."""

    def __init__(self) -> None:
        self.runs = 0
        self.does: Any = lambda: "done"
        self.seen: list[ActionContext] = []

    def action(self) -> FunctionAction:
        """The action itself."""

        @action("my.work")
        def work(context: ActionContext) -> Json:
            """Work."""
            self.runs += 1
            self.seen.append(context)
            return self.does()

        return work


class Site:
    """A service in memory with one target, and its workers."""

    def __init__(self, safe_rerun: bool) -> None:
        self.client = Client()
        self.work = Work()
        container = self.client.service.container
        container.registry._built_in["my.work"] = self.work.action()
        self.executor, self.queue, self.clock = container.executor, self.client.service.queue, container.clock
        self.client.upload(WORKFLOW.replace("{safe_rerun}", str(safe_rerun).lower()))
        self.beats: list[str] = []

    def message(self) -> dict[str, Any]:
        """Take a message of the target, as SQS would hand it out."""
        [received] = self.queue.receive("gpu", messages_max=1)
        return {"messageId": received.message_id, "body": json.dumps(received.body), "attributes": {}}

    def is_done(self, message: dict[str, Any], heartbeat_sec: float = 3600.0) -> bool:
        """A worker's work on it."""
        lease = Lease(LEASE_SEC, heartbeat_sec, lambda: self.beats.append("message"))
        return self.executor.is_done(message, self.clock.now() + WORKER_ACTION_MAX_SEC, lease)

    def dies_at(self, message: dict[str, Any]) -> None:
        """A worker dies while it runs the action."""

        def die() -> None:
            raise Died

        self.work.does = die
        with pytest.raises(Died):
            self.is_done(message)
        self.work.does = lambda: "done"

    def pass_time(self, seconds: float) -> None:
        self.client.service.pass_time(seconds)

    def task(self, execution: dict[str, Any], name: str = "there") -> dict[str, Any]:
        found: dict[str, Any] = self.client.tasks_of(execution)[name]
        return found


@pytest.fixture
def site(monkeypatch):
    monkeypatch.setattr(service_client, "Settings", partial(Settings, targets=frozenset({"gpu"})))
    queues = ("tasks", "tasks-long", "notifications", "gpu")
    monkeypatch.setattr(service_client, "MemoryQueue", partial(MemoryQueue, queues=queues))
    return Site


def test_a_worker_runs_what_was_sent_to_its_target_and_leaves_the_rest_to_others(site):
    here = site(safe_rerun=False)
    execution = here.client.start("remote")
    here.client.service.settle()
    assert here.task(execution)["state"] == "RUNNING"
    assert here.is_done(here.message())
    assert here.task(execution)["state"] == "SUCCESS"
    # What follows is in the common queue, not in the worker.
    assert here.work.runs == 1
    assert here.queue.next_visible_at("tasks") is not None


def test_a_worker_has_hours(site):
    here = site(safe_rerun=False)
    here.client.start("remote")
    here.is_done(here.message())
    deadline_sec = here.work.seen[0].deadline_sec
    assert deadline_sec is not None
    assert deadline_sec > 10 * 3600


@pytest.mark.parametrize("workflow", ["remote", "many"])
def test_a_worker_that_dies_is_noticed_when_its_lease_has_run_out(site, workflow):
    here = site(safe_rerun=False)
    execution = here.client.start(workflow)
    message = here.message()
    here.dies_at(message)
    here.pass_time(1)
    assert not here.is_done(message)  # its claim may be alive: the message stays
    here.pass_time(LEASE_SEC + 1)
    assert here.is_done(message)
    assert here.work.runs == 1
    if workflow == "many":
        here.is_done(here.message())
    assert here.task(execution)["state"] == "ERROR"


@pytest.mark.parametrize("workflow", ["remote", "many"])
def test_what_may_run_again_runs_again_at_another_worker(site, workflow):
    here = site(safe_rerun=True)
    execution = here.client.start(workflow)
    message = here.message()
    here.dies_at(message)
    here.pass_time(LEASE_SEC + 1)
    assert here.is_done(message)
    assert here.work.runs == 2
    if workflow == "many":
        here.is_done(here.message())
    assert here.task(execution)["state"] == "SUCCESS"


@pytest.mark.parametrize("workflow", ["remote", "many"])
def test_heartbeats_keep_a_claim_alive_for_as_long_as_the_action_runs(site, workflow):
    here = site(safe_rerun=True)
    execution = here.client.start(workflow)
    message = here.message()
    running, may_end = threading.Event(), threading.Event()

    def work_long() -> str:
        running.set()
        assert may_end.wait(20)
        return "done"

    here.work.does = work_long
    outcome: list[bool] = []
    hand = threading.Thread(target=lambda: outcome.append(here.is_done(message, heartbeat_sec=0.005)))
    hand.start()
    assert running.wait(20)
    for _ in range(3):
        here.pass_time(LEASE_SEC - 1)
        seen = len(here.beats)
        while len(here.beats) < seen + 3:  # so one heartbeat has begun and ended since
            threading.Event().wait(0.005)
    # More than a lease has passed: without heartbeats this worker would take the action over.
    other = {**message, "messageId": "another"}
    assert here.is_done(other)
    may_end.set()
    hand.join(20)
    assert (outcome, here.work.runs) == ([True], 1)
    if workflow == "many":
        here.is_done(here.message())
    assert here.task(execution)["state"] == "SUCCESS"


def test_an_action_on_its_own_may_have_a_target_and_hours_too(site):
    here = site(safe_rerun=False)
    request = {"name": "my.work", "input": {}, "params": {"save_result": True, "target": "gpu"}}
    begun = here.client.post("/v2/action_executions", request).json
    message = here.message()
    here.dies_at(message)
    assert not here.is_done(message)
    here.pass_time(LEASE_SEC + 1)
    assert here.is_done(message)
    ended = here.client.get(f"/v2/action_executions/{begun['id']}").json
    assert (ended["state"], here.work.runs) == ("ERROR", 1)
    here.client.post("/v2/action_executions", request)
    assert here.is_done(here.message())
    deadline_sec = here.work.seen[-1].deadline_sec
    assert deadline_sec is not None
    assert deadline_sec > 10 * 3600


def test_a_heartbeat_that_fails_harms_nothing(caplog):
    beats: list[int] = []
    enough = threading.Event()

    def fail() -> None:
        beats.append(1)
        if len(beats) >= 3:
            enough.set()
        raise ConflictException("busy")

    with kept_alive(Lease(1.0, 0.005, lambda: None), fail):
        assert enough.wait(20)
    assert "a heartbeat failed with ConflictException" in caplog.text
    count = len(beats)
    threading.Event().wait(0.02)
    assert len(beats) == count


def test_a_carrier_with_a_lease_takes_nothing_on(site):
    clock = site(safe_rerun=False).clock
    effect = RunAction(1, 1)
    assert Thread("m", clock.now() + 900, clock).claim_for(effect) is not None
    assert Thread("m", clock.now() + 9000, clock, Lease(1.0, 1.0, lambda: None)).claim_for(effect) is None


def test_the_registry_of_the_tests_is_a_real_one(site):
    assert isinstance(site(safe_rerun=False).client.service.container.registry, Registry)
