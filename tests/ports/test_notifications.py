"""Notifications and expiration on every backend: leases, notices, and an empty table at the end."""

import json
from uuid import uuid4

import pytest

from chalicelib.adapters.memory import ManualClock, MemoryQueue, MemoryTable, SeededEntropy
from chalicelib.adapters.memory import MemoryPayloads as Memory
from chalicelib.adapters.payloads import S3Payloads
from chalicelib.services.definition_records import Kind
from chalicelib.services.definition_rules import Access, Placement
from chalicelib.services.engine import StartRequest
from chalicelib.services.expiration import ExpirationPolicy
from chalicelib.services.messages import NOTIFICATIONS
from chalicelib.services.notifier import Notifier
from chalicelib.services.ports import INDEX_EVERYONE
from chalicelib.settings import Settings
from chalicelib.wiring import Ports, assemble

PROJECT = "project"
TEXT = b"""
version: '2.0'
leaf:
  input: [value]
  tasks:
    only: {action: std.echo output=<% $.value %>, publish: {value: <% task().result %>}}
tree:
  input: [value]
  tasks:
    one: {workflow: leaf value=<% $.value %>}
"""


class Ear:
    """A publisher that does not take the first event at once."""

    def __init__(self):
        self.heard = []
        self.is_deaf = True

    def publish(self, _publisher, announcement):
        if self.is_deaf:
            self.is_deaf = False
            raise OSError("not now")
        self.heard.append(announcement.data["event"])


class Stage:
    """Executions on the backend, the rest in memory."""

    def __init__(self, table, payloads):
        self.table = table
        self.clock = ManualClock()
        self.queue = MemoryQueue(self.clock)
        self.ports = Ports(table, MemoryTable(), self.queue, payloads, self.clock, SeededEntropy())
        self.assemble(ExpirationPolicy())
        self.container.definitions.create(Kind.WORKFLOW, Access(PROJECT), TEXT, Placement())

    def assemble(self, policy):
        settings = Settings(storage="memory", egress_local=True, expiration=policy)
        self.container = assemble(settings, self.ports)

    def start(self, **params):
        request = StartRequest(PROJECT, "tree", input={"value": "x" * 100_000}, params=params)
        return self.container.engine.start(request)

    def deliver(self, ear):
        notifier = Notifier(self.container.engine, ear, self.queue, self.clock, {})
        while (at := self.queue.next_visible_at(NOTIFICATIONS)) is not None:
            self.clock.set(max(at, self.clock.now()))
            for received in self.queue.receive(NOTIFICATIONS, messages_max=1):
                record = {"messageId": received.message_id, "body": json.dumps(received.body)}
                assert notifier.handle_batch([record], 60.0) == []
                self.queue.delete(received)


@pytest.fixture
def stage(table, moto):
    if isinstance(table, MemoryTable):
        return Stage(table, Memory())
    bucket = f"payloads-{uuid4()}"
    moto.client("s3").create_bucket(Bucket=bucket)
    return Stage(table, S3Payloads(moto, bucket))


def test_a_publisher_is_told_everything_once_and_the_execution_comes_to_rest(stage):
    header = stage.start(notify=[{"type": "noop"}])
    ear = Ear()

    stage.deliver(ear)

    assert ear.heard.count("WORKFLOW_SUCCEEDED") == 2
    assert ear.heard.count("TASK_SUCCEEDED") == 2
    assert len(ear.heard) == 8
    assert stage.container.executions.header(header.id).wake_at is None


def test_what_ended_before_and_after_there_was_a_policy_leaves_nothing_behind(stage):
    before = stage.start()
    policy = ExpirationPolicy(evaluation_interval=10, older_than=60)
    stage.assemble(policy)
    after = stage.start(notify=[{"type": "noop"}])
    stage.deliver(Ear())

    stage.clock.advance(59 * 60)
    stage.container.clock_door.tick()
    assert stage.container.executions.header(before.id) is not None
    for _ in range(15):
        stage.clock.advance(60)
        stage.container.clock_door.tick()

    for header in (before, after):
        assert stage.table.query(header.id) == []
    assert [
        entry
        for group in ("ordinary", "failed", "cancelled")
        for shard in range(4)
        for entry in stage.table.list_index(INDEX_EVERYONE, f"{group}|{shard}", limit=10)
    ] == []
