"""`mistral-local doctor`: it finds what is wrong on an emulated AWS, says what to do, and repairs what it may."""

import json
import time
from dataclasses import replace
from datetime import timedelta

import pytest

from chalicelib.adapters.aws import Aws
from chalicelib.adapters.payloads import KEY_PREFIX
from chalicelib.engine import codec
from chalicelib.engine.events import Continued, PauseRequested, ResumeRequested
from chalicelib.engine.sealing import HEADER_KEY
from chalicelib.limits import DOCTOR_OVERDUE_SEC
from chalicelib.local.cloud import create_cloud, names_with_prefix
from chalicelib.local.emulator import safe_moto
from chalicelib.local.main import main
from chalicelib.services.action_calls import ActionCalls
from chalicelib.services.definition_records import Kind
from chalicelib.services.definition_rules import Access, Placement
from chalicelib.services.engine import StartRequest
from chalicelib.services.execution_places import places_of
from chalicelib.services.messages import tell_message
from chalicelib.services.ports import Put
from chalicelib.settings import Settings
from chalicelib.wiring import assemble, aws_ports

WORKFLOWS = b"""version: '2.0'
waits:
  tasks:
    wait: {action: std.async_noop}
works:
  tasks:
    work: {action: std.http url="http://127.0.0.1:1/"}
later:
  tasks:
    pause: {action: std.noop, wait-before: 60}
parent:
  tasks:
    child: {workflow: waits}
"""
PROJECT = "p"
LONG_AGO = 10 * DOCTOR_OVERDUE_SEC


class ShiftedClock:
    """The time, so many seconds ago."""

    ago_sec = 0.0

    def now(self):
        return time.time() - self.ago_sec


class Deployment:
    """A deployment on the emulator, whose clock can stand in the past."""

    def __init__(self):
        self.aws = Aws("us-east-1")
        self.names = names_with_prefix("mine-")
        create_cloud(self.aws, self.names)
        self.settings = Settings(table_prefix="mine-", payload_bucket="mine-payloads")
        self.clock = ShiftedClock()
        self.container = assemble(self.settings, replace(aws_ports(self.settings), clock=self.clock))
        self.container.definitions.create(Kind.WORKFLOW, Access(PROJECT), WORKFLOWS, Placement())

    def start(self, workflow, ago_sec=0.0):
        """Start an execution so long ago, of which nobody has carried on since."""
        self.clock.ago_sec = ago_sec
        header = self.container.engine.start(StartRequest(PROJECT, workflow))
        self.clock.ago_sec = 0.0
        return header

    def url(self, queue):
        return self.aws.client("sqs").get_queue_url(QueueName=queue)["QueueUrl"]

    def put_dead(self, queue, *bodies):
        for body in bodies:
            self.aws.client("sqs").send_message(QueueUrl=self.url(f"mine-{queue}-dead"), MessageBody=body)

    def bodies(self, queue):
        """What lies in a queue, and does so no more."""
        client, found = self.aws.client("sqs"), []
        while received := client.receive_message(QueueUrl=self.url(queue), MaxNumberOfMessages=10).get("Messages"):
            found += [json.loads(message["Body"]) for message in received]
            for message in received:
                client.delete_message(QueueUrl=self.url(queue), ReceiptHandle=message["ReceiptHandle"])
        return found


@pytest.fixture
def deployed(monkeypatch):
    monkeypatch.setenv("MISTRAL_TABLE_PREFIX", "mine-")
    with safe_moto():
        yield Deployment()


@pytest.fixture
def ask(capsys):
    """The doctor's findings, by their problem, and its exit status."""

    def asked(*options):
        capsys.readouterr()
        status = main(["doctor", "--json", *options])
        found = json.loads(capsys.readouterr().out)["findings"]
        return status, {finding["problem"]: finding for finding in found}

    return asked


def test_nothing_is_wrong_with_a_healthy_deployment(deployed, ask, capsys):
    deployed.start("waits")
    deployed.start("works")
    assert ask() == (0, {})
    assert main(["doctor"]) == 0
    assert capsys.readouterr().out == "nothing is wrong\n"


def test_an_execution_whose_alarm_nobody_answered_is_stuck_and_so_seems_the_clock(deployed, ask):
    header = deployed.start("works", ago_sec=LONG_AGO)
    status, found = ask()
    assert status == 3
    assert found["stuck-execution"]["subject"] == header.public
    assert "works is RUNNING" in found["stuck-execution"]["text"]
    assert header.public in found["stuck-execution"]["next"]
    assert found["clock-not-ticking"]["facts"] == {"overdue": 1}


def test_a_stuck_execution_is_repaired_by_doing_what_it_owes(deployed, ask):
    header = deployed.start("works", ago_sec=LONG_AGO)
    deployed.bodies("mine-tasks")  # its message is lost
    status, found = ask("--fix")
    assert found["stuck-execution"]["repaired"] is True
    assert found["clock-not-ticking"]["repaired"] is False
    assert status == 3
    assert [body["x"] for body in deployed.bodies("mine-tasks")] == [header.id]
    assert ask() == (0, {})


def test_a_timer_that_was_lost_is_named_with_its_task(deployed, ask):
    header = deployed.start("later", ago_sec=LONG_AGO)
    _, found = ask()
    assert found["overdue-timer"]["subject"] == header.public
    assert "wait-before of task pause" in found["overdue-timer"]["text"]


def test_an_action_whose_executor_died_long_ago_is_named(deployed, ask):
    header = deployed.start("works", ago_sec=LONG_AGO)
    with_claim = {"kind": "action", "x": header.id, "o": 1, "n": 0}
    deployed.clock.ago_sec = LONG_AGO

    def dies(*_):
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ActionCalls, "run", dies)
        record = {"messageId": "m", "body": json.dumps(with_claim), "attributes": {}}
        with pytest.raises(KeyboardInterrupt):
            deployed.container.executor.handle_batch([record], 120.0)
    deployed.clock.ago_sec = 0.0
    _, found = ask()
    assert "action std.http of task work" in found["expired-claim"]["text"]
    _, found = ask("--fix")
    assert found["expired-claim"]["repaired"] is True


def test_an_unfinished_execution_without_an_alarm_is_found_and_gets_one_when_it_is_paused_and_resumed(deployed, ask):
    header = deployed.start("works")
    store = deployed.container.executions
    item = store.table.get(header.id, [HEADER_KEY])[HEADER_KEY]
    without = replace(codec.unpack_header(item.body), wake_at=None)
    store.table.write([Put(replace(item, body=codec.pack_header(without), indexes=places_of(without)))])
    status, found = ask("--fix")
    assert found["execution-without-alarm"]["subject"] == header.public
    assert (status, found["execution-without-alarm"]["repaired"]) == (3, False)
    deployed.container.engine.handle(header.id, PauseRequested())
    deployed.container.engine.handle(header.id, ResumeRequested())
    assert ask() == (0, {})


def test_a_child_whose_parent_is_gone_is_an_orphan(deployed, ask):
    parent = deployed.start("parent")
    deployed.container.executions.table.write_bulk([], [(parent.id, HEADER_KEY)])
    status, found = ask("--fix")
    orphan = found["child-without-parent"]
    assert orphan["facts"]["parent"] == parent.id
    assert "execution-delete --force" in orphan["next"]
    assert (status, orphan["repaired"]) == (3, False)


def test_large_values_of_nobody_are_told_when_they_are_old(deployed, ask, monkeypatch):
    kept, lost = deployed.start("waits").id, "3f0c1b2a-0000-4000-8000-000000000000"
    for owner in (kept, lost):
        deployed.aws.client("s3").put_object(Bucket="mine-payloads", Key=f"{KEY_PREFIX}{owner}/abc", Body=b"x")
    assert ask() == (0, {})
    monkeypatch.setattr("chalicelib.adapters.drift._YOUNG", timedelta(days=-1))
    _, found = ask()
    assert found["payload-without-execution"]["facts"] == {"executions": [lost]}


def test_dead_letters_are_counted_with_what_they_were_for_and_sent_again(deployed, ask):
    header = deployed.start("waits")
    deployed.bodies("mine-tasks")
    gone = "3f0c1b2a-0000-4000-8000-000000000000"
    deployed.put_dead(
        "tasks",
        json.dumps({"kind": "reconcile", "x": header.id}),
        json.dumps(tell_message(gone, Continued(), told_by=header.id).body),
        "nonsense",
    )
    status, found = ask()
    letters = found["dead-letters"]
    assert (status, letters["subject"], letters["facts"]["count"]) == (3, "tasks", 3)
    told = "\n".join(letters["facts"]["samples"])
    assert f"reconcile for execution {header.public} of waits, which is RUNNING" in told
    assert f"tell for execution {gone}, which is not there any more" in told
    assert "no message of this service" in told

    status, found = ask("--fix")
    assert (status, found["dead-letters"]["repaired"]) == (0, True)
    client = deployed.aws.client("sqs")
    count = client.get_queue_attributes(QueueUrl=deployed.url("mine-tasks"), AttributeNames=["All"])["Attributes"]
    assert count["ApproximateNumberOfMessages"] == "3"
    assert ask() == (0, {})


def test_the_dead_letters_of_one_queue_are_sent_again_on_their_own(deployed, capsys):
    body = {"kind": "notices", "x": "e", "p": 0}
    deployed.put_dead("notifications", *[json.dumps(body)] * 23)
    assert main(["doctor", "--redrive", "notifications"]) == 0
    assert capsys.readouterr().out == "23 messages sent again to notifications\n"
    assert deployed.bodies("mine-notifications") == [body] * 23
    assert main(["doctor", "--redrive", "absent"]) == 1
    assert "there are: tasks" in capsys.readouterr().err


def test_what_differs_from_the_template_is_drift(deployed, ask, capsys):
    dynamodb, sqs = deployed.aws.client("dynamodb"), deployed.aws.client("sqs")
    dynamodb.update_table(TableName="mine-executions", GlobalSecondaryIndexUpdates=[{"Delete": {"IndexName": "alarm"}}])
    changed = {"VisibilityTimeout": "30", "RedrivePolicy": ""}
    sqs.set_queue_attributes(QueueUrl=deployed.url("mine-tasks"), Attributes=changed)
    deployed.aws.client("s3").delete_bucket(Bucket="mine-payloads")
    assert main(["doctor"]) == 3
    told = capsys.readouterr().out
    assert "mine-executions: index alarm: it is not there" in told
    assert "mine-tasks: VisibilityTimeout is 30, not 720" in told
    assert "mine-tasks: messages that fail too often do not go to mine-tasks-dead" in told
    assert "mine-payloads: it is not there" in told
    assert told.count("next: deploy again") == 4


def test_without_tables_nothing_else_is_looked_at(capsys, monkeypatch):
    monkeypatch.setenv("MISTRAL_TABLE_PREFIX", "absent-")
    with safe_moto():
        assert main(["doctor"]) == 3
    told = capsys.readouterr().out
    assert "drift: absent-executions: it is not there" in told
    assert "drift: absent-tasks-dead: it is not there" in told


def test_what_is_in_memory_cannot_be_looked_at(monkeypatch, capsys):
    monkeypatch.setenv("MISTRAL_STORAGE", "memory")
    assert main(["doctor"]) == 1
    assert "MISTRAL_STORAGE=aws" in capsys.readouterr().err
