"""What the API offers for cron-triggers beyond Mistral, and that nobody sees it who does not ask for it."""

import pytest

from tests.api.service_client import Client
from tests.api.test_triggers import CRON_FIELDS

OPTIONS = {
    "time_zone": "Europe/Berlin",
    "overlap": "queue",
    "catch_up_sec": 3600,
    "jitter_sec": 30,
    "start_within_sec": 300,
    "end_within_sec": 7200,
}


@pytest.fixture
def client():
    made = Client()
    made.upload("w:\n  tasks:\n    t: {action: std.noop}\n")
    return made


def create(client, **attributes):
    body = {"name": "c", "workflow_name": "w", "pattern": "30 2 * * *", **attributes}
    return client.post("/v2/cron_triggers", body)


def created(client, **attributes):
    reply = create(client, **attributes)
    assert reply.status == 201, reply.json
    return reply.json


def test_options_are_shown_where_they_are_used(client):
    trigger = created(client, **OPTIONS)
    assert {name: trigger[name] for name in OPTIONS} == OPTIONS
    assert trigger["scheduled_for"] == "2023-11-15 01:30:00"
    assert "2023-11-15 01:30:00" <= trigger["next_execution_time"] <= "2023-11-15 01:30:30"
    assert list(created(client, name="plain")) == CRON_FIELDS[:-1]
    plain, opted = (client.get(f"/v2/cron_triggers/{name}").json for name in ("plain", "c"))
    assert list(plain) == CRON_FIELDS
    assert list(opted) == [*CRON_FIELDS, *OPTIONS, "scheduled_for"]
    listed = client.get("/v2/cron_triggers?fields=name,time_zone").json["cron_triggers"]
    assert {trigger["name"]: trigger.get("time_zone") for trigger in listed} == {"c": "Europe/Berlin", "plain": None}


def test_defaults_that_are_sent_are_no_options(client):
    assert list(created(client, overlap="allow", catch_up_sec=0, jitter_sec=0, time_zone=None)) == CRON_FIELDS[:-1]


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"time_zone": "Berlin"}, "The time zone 'Berlin' is not known; did you mean Europe/Berlin?"),
        ({"time_zone": 3}, "time_zone"),
        ({"overlap": "never"}, "Value should be one of: allow, skip, queue, cancel-previous"),
        ({"catch_up_sec": -5}, "catch_up_sec is -5; it must be from 0 to 604800 seconds."),
        ({"jitter_sec": "soon"}, "jitter_sec"),
        ({"start_within_sec": 0}, "start_within_sec is 0; it must be from 1"),
        ({"end_within_sec": 3600, "pattern": "* * * * *"}, "its times after the first are 2023-11-14T22:15:00"),
        ({"pattern": "0 0 31 2 *", "time_zone": "UTC"}, "no moment in the next fifty years fits it"),
        ({"run_at": "2024-01-01 00:00:05"}, "run_at is the only time of a trigger"),
        ({"run_at": "2001-01-01 00:00", "pattern": None}, "it was understood as 2001-01-01T00:00:00+00:00, and it is"),
        ({"run_at": "soon", "pattern": None}, "run_at: 'soon' is no moment"),
        ({"paused_at": "x"}, "Unknown attribute"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_reason(client, attributes, words):
    reply = create(client, **attributes)
    assert (reply.status, words in reply.fault) == (400, True), reply.json
    assert client.get("/v2/cron_triggers").json["cron_triggers"] == []


def test_a_trigger_may_run_once_at_a_second(client):
    trigger = created(client, pattern=None, run_at="2023-12-01T10:00:05", time_zone="Asia/Tokyo")
    assert trigger["first_execution_time"] == trigger["next_execution_time"] == "2023-12-01 01:00:05"
    assert trigger["remaining_executions"] == 1


def test_a_preview_needs_no_trigger(client):
    answer = client.get("/v2/cron_previews?pattern=30 2 * * *&time_zone=Europe/Berlin&count=2").json
    assert answer == {
        "times": [
            {
                "scheduled_for": f"2023-11-{day} 01:30:00",
                "local_time": f"2023-11-{day}T02:30:00+01:00",
                "starts_at": f"2023-11-{day} 01:30:00",
            }
            for day in (15, 16)
        ]
    }


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("", "Pattern or first_execution_time must be specified."),
        ("pattern=0 0 31 2 *", "fifty years"),
        ("pattern=* * * * *&count=0", "it must be from 1 to 100"),
        ("pattern=* * * * *&count=x", "count"),
        ("pattern=* * * * *&time_zone=Mars", "is not known"),
        ("pattern=* * * * *&zone=UTC", "Unknown argument"),
    ],
)
def test_a_preview_of_nothing_is_refused(client, query, words):
    reply = client.get(f"/v2/cron_previews?{query}")
    assert (reply.status, words in reply.fault) == (400, True), reply.json


def test_the_times_of_a_trigger_are_where_it_is(client):
    created(client, time_zone="Europe/Berlin", jitter_sec=60)
    answer = client.get("/v2/cron_triggers/c/times?count=3").json["times"]
    assert [time["local_time"][:16] for time in answer] == ["2023-11-15T02:30", "2023-11-16T02:30", "2023-11-17T02:30"]
    assert all("01:30:00" <= time["starts_at"][11:] <= "01:31:00" for time in answer)
    assert len(client.get("/v2/cron_triggers/c/times").json["times"]) == 5


def test_a_trigger_is_paused_and_resumed(client):
    before = created(client)
    paused = client.post("/v2/cron_triggers/c/pause")
    assert (paused.status, paused.json["paused_reason"]) == (200, "Paused by request.")
    assert paused.json["paused_at"] == "2023-11-14 22:13:20"
    assert client.get("/v2/cron_triggers/c/times").json == {"times": []}
    resumed = client.post("/v2/cron_triggers/c/resume").json
    assert (list(resumed), resumed["next_execution_time"]) == (CRON_FIELDS, before["next_execution_time"])


def test_a_run_by_request_is_answered_with_its_execution(client):
    trigger = created(client)
    first = client.post("/v2/cron_triggers/c/run", {"key": "k"})
    assert (first.status, first.json["state"], first.json["scheduled_for"]) == (201, "SUCCESS", None)
    assert client.post("/v2/cron_triggers/c/run", {"key": "k"}).json == first.json
    assert client.post("/v2/cron_triggers/c/run").json["execution_id"] != first.json["execution_id"]
    execution = client.get(f"/v2/executions/{first.json['execution_id']}").json
    assert f'"id": "{trigger["id"]}"' in execution["description"]
    assert client.post("/v2/cron_triggers/c/run", {"key": 3}).status == 400
    assert client.post("/v2/cron_triggers/c/run", {"x": 3}).status == 400


def test_a_backfill_is_answered_with_all_its_times(client):
    created(client)
    asked = {"from": "2023-11-10", "to": "2023-11-12 03:00"}
    planned = client.post("/v2/cron_triggers/c/backfill", {**asked, "dry_run": True})
    assert (planned.status, len(planned.json["executions"])) == (202, 3)
    assert client.get("/v2/executions").json["executions"] == []
    client.post("/v2/cron_triggers/c/backfill", asked)
    client.service.settle()
    again = client.post("/v2/cron_triggers/c/backfill", asked).json["executions"]
    assert [row["state"] for row in again] == ["SUCCESS"] * 3
    assert [row["execution_id"] for row in again] == [row["execution_id"] for row in planned.json["executions"]]
    assert [row["scheduled_for"] for row in again] == [f"2023-11-{day} 02:30:00" for day in (10, 11, 12)]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "Mandatory field missing: from"),
        ({"from": "2023-11-10"}, "Mandatory field missing: to"),
        ({"from": "2023-11-10", "to": "2023-11-09"}, "is later than to"),
        ({"from": "2023-11-10", "to": "2030-01-01"}, "is in the future"),
        ({"from": "x", "to": "2023-11-09"}, "from: 'x' is no moment"),
        ({"from": "2023-11-10", "to": "2023-11-11", "dry_run": "perhaps"}, "dry_run"),
    ],
)
def test_a_backfill_that_makes_no_sense_is_refused(client, body, words):
    created(client)
    reply = client.post("/v2/cron_triggers/c/backfill", body)
    assert (reply.status, words in reply.fault) == (400, True), reply.json


@pytest.mark.parametrize("verb", ["pause", "resume", "run", "backfill"])
@pytest.mark.parametrize("identifier", ["absent", "00000000-0000-4000-8000-000000000000"])
def test_what_is_not_there_is_not_found(client, verb, identifier):
    body = {"from": "2023-11-10", "to": "2023-11-11"} if verb == "backfill" else b""
    reply = client.post(f"/v2/cron_triggers/{identifier}/{verb}", body)
    assert (reply.status, reply.fault) == (404, f"Cron trigger not found [identifier={identifier}]")
    assert client.get(f"/v2/cron_triggers/{identifier}/times").status == 404


def test_a_missed_end_is_shown_as_data(client):
    client.upload("long:\n  tasks:\n    t: {action: std.async_noop}\n")
    created(client, workflow_name="long", pattern="0 23 14 11 *", end_within_sec=60)
    service = client.service
    for step in (46 * 60 + 41, 61):
        service.pass_time(step)
        service.container.clock_door.tick()
    trigger = client.get("/v2/cron_triggers/c").json
    assert '"kind": "CRON_TRIGGER_NOT_ENDED"' in trigger["missed"]
