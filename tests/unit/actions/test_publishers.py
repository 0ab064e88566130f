"""Publishers: what arrives at a webhook, on an event bus and in a topic, and what is said when it cannot."""

from __future__ import annotations

import json
import logging

import boto3
import pytest
from moto import mock_aws

from chalicelib.actions import publishers as publishers_module
from chalicelib.actions.publishers import Announcement, NotDelivered, PublisherRefused, Publishers
from chalicelib.actions.registry import AwsSettings, EgressPolicy
from tests.unit.actions.http_server import http_server

ANYWHERE = EgressPolicy(denied_networks=())
EVENT = Announcement(
    id="execution.1.7",
    event="TASK_SUCCEEDED",
    at=1_700_000_000.25,
    group="execution",
    data={"id": "task", "name": "ä", "event": "TASK_SUCCEEDED"},
)


@pytest.fixture
def publishers() -> Publishers:
    return Publishers(ANYWHERE, AwsSettings(region="eu-west-1"))


def test_a_webhook_receives_the_event_its_own_headers_and_the_events_id(publishers):
    with http_server() as server:
        headers = {"X-Token": "t", "X-Number": 5, "content-type": "application/mistral"}
        publishers.publish({"type": "webhook", "url": f"{server.url}/status?is=201", "headers": headers}, EVENT)

    [received] = server.received
    assert received.method == "POST"
    assert json.loads(received.body) == EVENT.data
    assert received.headers["X-Token"] == "t"
    assert received.headers["X-Number"] == "5"
    assert received.headers["Mistral-Event-Id"] == "execution.1.7"
    assert received.headers["content-type"] == "application/mistral"


def test_a_webhook_without_headers_receives_json(publishers):
    with http_server() as server:
        publishers.publish({"type": "webhook", "url": f"{server.url}/status?is=200", "headers": None}, EVENT)

    assert server.received[0].headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("status", [302, 400, 404, 429, 500])
def test_any_answer_but_a_success_may_be_better_another_time(publishers, status):
    with http_server() as server, pytest.raises(NotDelivered, match=str(status)):
        publishers.publish({"type": "webhook", "url": f"{server.url}/status?is={status}"}, EVENT)
    assert len(server.received) == 1


def test_a_webhook_that_nobody_serves_may_be_served_another_time(publishers):
    with http_server() as server:
        url = f"{server.url}/hook?token=secret"
    with pytest.raises(NotDelivered) as caught:
        publishers.publish({"type": "webhook", "url": url}, EVENT)
    # What is said goes to the log, where no secrets belong.
    assert "secret" not in caught.value.message


@pytest.mark.parametrize("path", ["silent", "drip"])
def test_a_webhook_cannot_hold_anybody_up(publishers, path, monkeypatch):
    monkeypatch.setattr(publishers_module, "TELLING_MAX_SEC", 0.3)
    with http_server() as server, pytest.raises(NotDelivered, match="No answer within"):
        publishers.publish({"type": "webhook", "url": f"{server.url}/{path}"}, EVENT)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "http://169.254.169.254/", "ftp://example.org", "http://"])
def test_a_webhook_that_the_egress_policy_denies_is_refused(url):
    with pytest.raises(PublisherRefused):
        Publishers(EgressPolicy(), AwsSettings()).publish({"type": "webhook", "url": url}, EVENT)


@pytest.mark.parametrize(
    "publisher",
    [
        {"type": "webhook"},
        {"type": "webhook", "url": 5},
        {"type": "webhook", "url": "http://x y/"},
        {"type": "webhook", "url": "http://127.0.0.1", "headers": "zzz"},
        {"type": "webhook", "url": "http://127.0.0.1", "headers": {"A": "b\nc"}},
        {"type": "sns"},
        {"type": "eventbridge", "bus": 5},
        {"type": "pigeon"},
        {},
    ],
)
def test_what_is_wrongly_described_is_refused(publishers, publisher):
    with pytest.raises(PublisherRefused):
        publishers.publish(publisher, EVENT)


def test_a_noop_publisher_writes_to_the_log(publishers, caplog):
    with caplog.at_level(logging.INFO):
        publishers.publish({"type": "noop"}, EVENT)

    assert "TASK_SUCCEEDED" in caplog.text


def test_the_envelope_is_a_cloud_event():
    assert EVENT.cloud_event() == {
        "specversion": "1.0",
        "id": "execution.1.7",
        "source": "/v2/executions/execution",
        "type": "org.openstack.mistral.task_succeeded",
        "subject": "task",
        "time": "2023-11-14T22:13:20.250Z",
        "datacontenttype": "application/json",
        "data": EVENT.data,
    }


@pytest.fixture
def queue():
    """A queue in an emulated AWS, to which buses and topics send: its messages, and what it takes to send there."""
    with mock_aws():
        sqs = boto3.client("sqs", "eu-west-1")
        url = sqs.create_queue(QueueName="heard")["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]

        def heard():
            return [json.loads(m["Body"]) for m in sqs.receive_message(QueueUrl=url).get("Messages", ())]

        yield arn, heard


def test_an_event_bus_carries_the_event(publishers, queue):
    arn, heard = queue
    events = boto3.client("events", "eu-west-1")
    events.create_event_bus(Name="mistral-events")
    pattern = json.dumps({"detail": {"type": ["org.openstack.mistral.task_succeeded"]}})
    events.put_rule(Name="all", EventBusName="mistral-events", EventPattern=pattern)
    events.put_targets(Rule="all", EventBusName="mistral-events", Targets=[{"Id": "1", "Arn": arn}])

    publishers.publish({"type": "eventbridge", "bus": "mistral-events"}, EVENT)

    [event] = heard()
    assert (event["source"], event["detail-type"]) == ("mistral.serverless", "TASK_SUCCEEDED")
    assert event["detail"] == EVENT.cloud_event()


def test_a_topic_carries_the_event(publishers, queue):
    arn, heard = queue
    sns = boto3.client("sns", "eu-west-1")
    topic = sns.create_topic(Name="mistral-events")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)

    publishers.publish({"type": "sns", "topic_arn": topic}, EVENT)

    [message] = heard()
    assert json.loads(message["Message"]) == EVENT.cloud_event()
    assert message["MessageAttributes"]["event"]["Value"] == "TASK_SUCCEEDED"


def test_a_topic_of_another_region_is_reached_there_and_keeps_the_order_if_it_is_fifo(publishers):
    with mock_aws():
        sns = boto3.client("sns", "us-west-2")
        topic = sns.create_topic(Name="mistral-events.fifo", Attributes={"FifoTopic": "true"})["TopicArn"]

        publishers.publish({"type": "sns", "topic_arn": topic}, EVENT)


def test_a_topic_that_does_not_exist_is_refused(publishers):
    with mock_aws(), pytest.raises(PublisherRefused):
        publishers.publish({"type": "sns", "topic_arn": "arn:aws:sns:eu-west-1:123456789012:none"}, EVENT)
