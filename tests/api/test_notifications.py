"""Notifications and deletion as clients and Lambda see them."""

import json

import pytest

import app as doors
from chalicelib.services.messages import NOTIFICATIONS
from tests.api.service_client import Client
from tests.unit.actions.http_server import http_server

LARGE = "x" * 100_000
TEXT = """
inner:
  input: [text]
  output: {text: <% $.text %>}
  tasks:
    say: {action: std.echo output=<% $.text %>, publish: {text: <% task().result %>}}
outer:
  input: [text]
  tasks:
    one: {workflow: inner text=<% $.text %>, on-success: many}
    many:
      with-items: i in <% range(3) %>
      workflow: inner text=<% $.text %>
"""


class Remaining:
    """The part of Lambda's context that the door uses."""

    def get_remaining_time_in_millis(self):
        return 60_000


@pytest.fixture
def client(monkeypatch):
    made = Client()
    made.upload(TEXT)
    monkeypatch.setattr(doors, "container", lambda: made.service.container)
    return made


def deliver(client):
    """Hand all messages to the door, as Lambda does."""
    queue = client.service.queue
    while queue.next_visible_at(NOTIFICATIONS) is not None:
        for received in queue.receive(NOTIFICATIONS, messages_max=1):
            record = {"messageId": "1", "body": json.dumps(received.body), "receiptHandle": "r", "attributes": {}}
            assert doors.notifier({"Records": [record]}, Remaining()) == {"batchItemFailures": []}
            queue.delete(received)


def test_a_webhook_is_told_by_the_door_of_the_notifier(client):
    with http_server() as server:
        publisher = {"type": "webhook", "url": f"{server.url}/status?is=200", "event_types": ["WORKFLOW_SUCCEEDED"]}
        execution = client.run("inner", input={"text": "a"}, params={"notify": [publisher]})
        deliver(client)

    [told] = [json.loads(received.body) for received in server.received]
    assert (told["id"], told["event"]) == (execution["id"], "WORKFLOW_SUCCEEDED")
    assert json.loads(execution["params"])["notify"] == [publisher]


@pytest.mark.parametrize("notify", [5, True, [{"type": "webhook", "event_types": 5}]])
def test_what_no_publisher_can_be_made_of_is_refused_and_nothing_starts(client, notify):
    reply = client.post(
        "/v2/executions", {"workflow_name": "inner", "input": {"text": ""}, "params": {"notify": notify}}
    )

    assert reply.status == 400
    assert "params.notify" in reply.fault
    assert client.get("/v2/executions").json["executions"] == []


def test_a_deleted_tree_leaves_neither_records_nor_payloads(client):
    payloads = client.service.container.ports.payloads
    before = {key for key in payloads._data if "/" in key}
    execution = client.run("outer", input={"text": LARGE}, params={"notify": [{"type": "noop"}]})
    deliver(client)
    assert {key for key in payloads._data if "/" in key} > before

    assert client.delete(f"/v2/executions/{execution['id']}").status == 204

    assert not [address for address, found in client.service.table._partitions.items() if found.items]
    assert {key for key in payloads._data if "/" in key} == before
