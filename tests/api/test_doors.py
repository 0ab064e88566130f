"""The doors that Lambda knocks at: the module ``app`` as it is deployed."""

import json
from contextlib import contextmanager

import pytest

import app as doors
from chalicelib.lang.schema import language_schema
from tests.api.service_client import Client


class Remaining:
    """The part of Lambda's context that the doors use."""

    def get_remaining_time_in_millis(self):
        return 60_000


@pytest.fixture
def client(monkeypatch):
    made = Client()
    monkeypatch.setattr(doors, "container", lambda: made.service.container)
    return made


def sqs_event(*bodies):
    return {
        "Records": [
            {"messageId": str(number), "body": body, "receiptHandle": "r", "attributes": {}}
            for number, body in enumerate(bodies)
        ]
    }


@pytest.mark.parametrize("door", ["executor", "executor_long"])
def test_an_executor_does_its_work_and_gives_back_what_it_could_not(client, door):
    reply = client.post(
        "/v2/action_executions", {"name": "std.echo", "input": {"output": 1}, "params": {"save_result": True}}
    )
    good = json.dumps({"kind": "ad-hoc", "x": reply.json["id"]})

    answer = getattr(doors, door)(sqs_event("nonsense", good), Remaining())

    assert answer == {"batchItemFailures": [{"itemIdentifier": "0"}]}
    assert client.get(f"/v2/action_executions/{reply.json['id']}").json["state"] == "SUCCESS"


def test_the_clock_looks_for_what_is_due(client):
    client.upload("waiting:\n  tasks:\n    wait: {action: std.async_noop}\n")
    client.start("waiting")
    client.service.settle()
    client.service.pass_time(24 * 3600)
    event = dict.fromkeys(
        ["version", "account", "region", "detail", "detail-type", "source", "time", "id", "resources"]
    )

    doors.clock(event, None)

    assert client.service.queue.size() == 1


def test_the_doors_have_the_names_that_the_deployment_gives_limits_to():
    assert {"executor", "executor_long", "clock", "events"} <= set(vars(doors))
    assert {handler.name for handler in doors.app.pure_lambda_functions} == set()
    assert {config.name for config in doors.app.event_sources} == {
        "executor",
        "executor_long",
        "clock",
        "events",
        "notifier",
    }


def test_every_route_answers_what_is_asked_first_by_browsers():
    assert {path for path, methods in doors.app.routes.items() if "OPTIONS" not in methods} == set()


def test_the_schema_of_the_language_is_served_for_editors(client):
    assert client.get("/v2/schemas/workflow-language").json == language_schema()


def test_every_door_tells_its_name_and_its_request(client, monkeypatch):
    seen = []

    class Told:
        @contextmanager
        def invocation(self, door, request_id):
            seen.append((door, request_id))
            yield

    class Named(Remaining):
        aws_request_id = "r-1"

    monkeypatch.setattr(doors, "process_telemetry", Told)
    event = dict.fromkeys(
        ["version", "account", "region", "detail", "detail-type", "source", "time", "id", "resources"]
    )
    for door in (doors.executor, doors.executor_long, doors.notifier):
        door(sqs_event("nonsense"), Named())
    doors.clock(event, Named())
    doors.events(event | {"detail": {}, "source": "s", "detail-type": "t", "id": "1"}, Named())
    doors.app({"requestContext": {"requestId": "r-2", "resourcePath": "/", "httpMethod": "BREW"}, "path": "/"}, None)
    assert seen == [
        ("executor", "r-1"),
        ("executor_long", "r-1"),
        ("notifier", "r-1"),
        ("clock", "r-1"),
        ("events", "r-1"),
        ("api", "r-2"),
    ]
