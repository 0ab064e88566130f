"""The resources of cron-triggers and event-triggers, as clients of Mistral know them."""

import json

import pytest

import app as doors
from tests.api.service_client import Client

YEARLY = "0 0 1 1 *"
LATER = "2199-01-01 00:00"
NOBODYS = "00000000-0000-4000-8000-000000000000"
FORBIDDEN = "Operation forbidden (insufficient permissions)"
CRON_FIELDS = [
    "id",
    "name",
    "workflow_name",
    "workflow_id",
    "workflow_input",
    "workflow_params",
    "project_id",
    "scope",
    "pattern",
    "remaining_executions",
    "first_execution_time",
    "next_execution_time",
    "created_at",
    "updated_at",
]
EVENT_FIELDS = [
    "id",
    "created_at",
    "updated_at",
    "project_id",
    "name",
    "workflow_id",
    "workflow_input",
    "workflow_params",
    "exchange",
    "topic",
    "event",
    "scope",
]


@pytest.fixture
def client():
    made = Client()
    made.upload("w:\n  input: [a, {b: 2}]\n  tasks:\n    t: {action: std.noop}\n")
    return made


def create(client, **attributes):
    body = {"name": "c", "workflow_name": "w", "workflow_input": {"a": 1}, "pattern": YEARLY, **attributes}
    return client.post("/v2/cron_triggers", {name: value for name, value in body.items() if value != "-"})


def created(client, **attributes):
    reply = create(client, **attributes)
    assert reply.status == 201, reply.json
    return reply.json


def listed(client, query=""):
    reply = client.get(f"/v2/cron_triggers{query}")
    assert reply.status == 200, reply.json
    return [trigger["name"] for trigger in reply.json["cron_triggers"]]


# -- cron-triggers


def test_a_new_cron_trigger_is_answered_with_its_fields_in_their_order(client):
    trigger = created(client, workflow_params='{"env": {"k": 1}}')
    workflow = client.get("/v2/workflows/w").json

    assert list(trigger) == CRON_FIELDS[:-1]
    assert trigger == {
        "id": trigger["id"],
        "name": "c",
        "workflow_name": "w",
        "workflow_id": workflow["id"],
        "workflow_input": '{"a": 1}',
        "workflow_params": '{"env": {"k": 1}}',
        "project_id": "<default-project>",
        "scope": "private",
        "pattern": YEARLY,
        "remaining_executions": None,
        "first_execution_time": None,
        "next_execution_time": "2024-01-01 00:00:00",
        "created_at": "2023-11-14 22:13:20",
    }
    for identifier in ("c", trigger["id"]):
        found = client.get(f"/v2/cron_triggers/{identifier}").json
        assert found == {**trigger, "updated_at": None}
        assert list(found) == CRON_FIELDS


def test_a_trigger_with_a_first_time_only_runs_once(client):
    trigger = created(client, pattern=None, first_execution_time=LATER, remaining_executions=None)
    assert trigger["pattern"] == "0 0 30 2 0"
    assert trigger["remaining_executions"] == 1
    assert trigger["first_execution_time"] == trigger["next_execution_time"] == "2199-01-01 00:00:00"


@pytest.mark.parametrize(
    ("attributes", "status", "words"),
    [
        ({"name": "-"}, 400, "name"),
        ({"name": None}, 400, "name"),
        ({"name": ""}, 400, "name"),
        ({"name": "x" * 201}, 400, "the most is 200"),
        ({"pattern": "not cron"}, 400, "The specified pattern is not valid: not cron"),
        ({"pattern": "0 0 31 2 *"}, 400, "no moment in the next fifty years fits it"),
        ({"pattern": "-"}, 400, "Pattern or first_execution_time must be specified."),
        ({"pattern": "-", "first_execution_time": "2001-01-01 00:00"}, 400, "at least 1 minute in the future"),
        ({"pattern": "-", "first_execution_time": "2199-01-01T00:00"}, 400, "does not match format"),
        ({"pattern": "-", "first_execution_time": LATER, "remaining_executions": 2}, 400, "Pattern must be provided"),
        ({"remaining_executions": 0}, 400, "Value should be greater or equal to 1"),
        ({"remaining_executions": "x"}, 400, "remaining_executions"),
        ({"workflow_input": {"b": 1}}, 400, "Invalid input [name=w, class=DirectWorkflowSpec, missing=['a']]"),
        ({"workflow_input": None}, 400, "missing=['a']"),
        ({"workflow_input": [1]}, 400, "workflow_input"),
        ({"workflow_params": "{"}, 400, "workflow_params"),
        ({"workflow_name": "nope"}, 404, "Workflow not found [workflow_identifier=nope, namespace=]"),
        ({"workflow_name": None}, 404, "Workflow not found [workflow_identifier=None, namespace=]"),
        ({"workflow_id": NOBODYS}, 404, "Workflow not found"),
        ({"scope": "public"}, 403, FORBIDDEN),
        ({"scope": "bad"}, 400, "Value should be one of: public, private"),
        ({"project_id": "x"}, 400, "Cannot set read only field"),
        ({"foo": "x"}, 400, "Unknown attribute for argument cron_trigger: foo"),
    ],
)
def test_what_cannot_be_created_is_refused(client, attributes, status, words):
    reply = create(client, **attributes)
    assert (reply.status, words in reply.fault) == (status, True), reply.json
    assert listed(client) == []


@pytest.mark.parametrize("body", [b"", b"{", b"[1]"])
def test_a_body_that_is_no_object_is_refused(client, body):
    assert client.post("/v2/cron_triggers", body, content_type="application/json").status == 400


def test_what_a_client_may_send_needlessly_is_ignored(client):
    trigger = created(client, id="abc", next_execution_time="2020-01-01 00:00", remaining_executions="3")
    assert trigger["id"] != "abc"
    assert (trigger["next_execution_time"], trigger["remaining_executions"]) == ("2024-01-01 00:00:00", 3)


def test_a_workflow_is_named_by_either_attribute_in_either_way(client):
    workflow_id = client.get("/v2/workflows/w").json["id"]
    ways = [
        {"workflow_name": workflow_id},
        {"workflow_id": workflow_id},
        {"workflow_name": "-", "workflow_id": "w"},
        {"workflow_name": "nope", "workflow_id": workflow_id},
    ]
    for number, way in enumerate(ways):
        trigger = created(client, name=f"c{number}", **way)
        assert (trigger["workflow_name"], trigger["workflow_id"]) == ("w", workflow_id)


def test_both_kinds_of_sameness_are_conflicts(client):
    same = {"first_execution_time": LATER, "remaining_executions": 2}
    created(client, **same)
    for reply in (create(client), create(client, name="d", **same)):
        assert reply.status == 409
        assert reply.fault.startswith("Duplicate entry for cron trigger [")
    created(client, name="d")


def test_a_cron_trigger_cannot_be_changed(client):
    created(client)
    for path in ("/v2/cron_triggers/c", "/v2/cron_triggers"):
        reply = client.put(path, {})
        assert reply.status == 405
        assert "PUT" not in reply.headers["Allow"]


def test_a_cron_trigger_is_deleted_by_name_or_id(client):
    assert client.delete(f"/v2/cron_triggers/{created(client)['id']}").status == 204
    created(client)
    assert client.delete("/v2/cron_triggers/c").status == 204
    for reply in (client.delete("/v2/cron_triggers/c"), client.get("/v2/cron_triggers/c")):
        assert (reply.status, reply.fault) == (404, "Cron trigger not found [identifier=c]")


@pytest.mark.parametrize("identifier", ["%20", "x" * 300, "%ED%A0%80", NOBODYS, "a%2Fb"])
def test_an_identifier_of_nothing_is_not_found(client, identifier):
    assert client.get(f"/v2/cron_triggers/{identifier}").status == 404


def test_fields_narrow_the_answer(client):
    created(client)
    assert list(client.get("/v2/cron_triggers/c?fields=name,pattern").json) == ["id", "name", "pattern"]
    assert client.get("/v2/cron_triggers/c?fields=nope").status == 400


def test_a_list_is_filtered_sorted_and_paged(client):
    for number in range(5):
        created(client, name=f"c{number}", remaining_executions=number + 1)
        client.service.pass_time(1)

    assert listed(client) == ["c0", "c1", "c2", "c3", "c4"]
    assert listed(client, "?sort_keys=name&sort_dirs=desc&limit=2") == ["c4", "c3"]
    assert listed(client, "?remaining_executions=gt:3") == ["c3", "c4"]
    assert listed(client, "?name=c1&workflow_name=w") == ["c1"]
    assert listed(client, "?next_execution_time=2024-01-01 00:00") == ["c0", "c1", "c2", "c3", "c4"]
    assert listed(client, '?workflow_input={"a": 2}') == []
    page = client.get("/v2/cron_triggers?limit=2&fields=name").json
    assert page["next"].startswith("http://mistral.test/v2/cron_triggers?sort_keys=created_at,id&sort_dirs=asc,asc")
    names = [trigger["name"] for trigger in page["cron_triggers"]]
    while "next" in page:
        page = client.get(page["next"].removeprefix("http://mistral.test")).json
        names += [trigger["name"] for trigger in page["cron_triggers"]]
    assert names == ["c0", "c1", "c2", "c3", "c4"]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("foo=1", 400),
        ("limit=0", 400),
        ("marker=nope", 400),
        (f"marker={NOBODYS}", 404),
        ("workflow_id=nope", 400),
        ("all_projects=true", 403),
        ("all_projects=", 200),
        ("remaining_executions=0", 200),
    ],
)
def test_a_list_that_makes_no_sense_is_refused(client, query, status):
    created(client)
    assert client.get(f"/v2/cron_triggers?{query}").status == status


def test_a_workflow_with_a_trigger_cannot_be_deleted(client):
    trigger = created(client)
    reply = client.delete("/v2/workflows/w")
    assert reply.status == 400
    assert reply.fault == (
        "Can't delete workflow that has cron triggers associated. "
        f"[workflow_identifier=w, namespace=], [cron_trigger_id(s)={trigger['id']}]"
    )


def test_the_clock_door_fires_and_the_trigger_shows_it(client, monkeypatch):
    monkeypatch.setattr(doors, "container", lambda: client.service.container)
    created(client, pattern="* * * * *")
    client.service.pass_time(40)
    doors.clock(
        dict.fromkeys(["version", "account", "region", "detail", "detail-type", "source", "time", "id", "resources"]),
        None,
    )

    [execution] = client.get("/v2/executions?workflow_name=w").json["executions"]
    assert json.loads(execution["input"]) == {"a": 1, "b": 2}
    assert json.loads(execution["description"])["triggered_by"]["type"] == "cron_trigger"
    trigger = client.get("/v2/cron_triggers/c").json
    assert trigger["next_execution_time"] == "2023-11-14 22:15:00"
    assert trigger["updated_at"] == "2023-11-14 22:14:00"


def test_why_the_latest_start_failed_is_shown(client):
    created(client, pattern="* * * * *", workflow_params={"env": "nope"})
    client.service.pass_time(40)
    client.service.container.clock_door.tick()
    assert client.get("/v2/cron_triggers/c").json["last_error"] == "Environment is not found: nope"
    assert client.get("/v2/cron_triggers").json["cron_triggers"][0]["next_execution_time"] == "2023-11-14 22:15:00"


# -- several projects


@pytest.fixture
def projects():
    service = Client(auth="authorizer").service
    voice = Client(service)
    mine, theirs, admin = voice.as_project("mine"), voice.as_project("theirs"), voice.as_project("boss", "admin")
    for client in (mine, theirs, admin):
        client.upload("w:\n  input: [a]\n  tasks:\n    t: {action: std.noop}\n")
    return mine, theirs, admin


def test_triggers_belong_to_their_project(projects):
    mine, theirs, admin = projects
    trigger = created(mine)
    assert trigger["project_id"] == "mine"
    assert (listed(theirs), listed(admin), listed(admin, "?all_projects=true")) == ([], ["c"], ["c"])
    assert listed(admin, "?project_id=theirs") == []
    assert theirs.get(f"/v2/cron_triggers/{trigger['id']}").status == 404
    assert theirs.delete("/v2/cron_triggers/c").status == 404
    assert admin.delete(f"/v2/cron_triggers/{trigger['id']}").status == 204


def test_a_public_trigger_is_seen_by_all_and_deleted_by_its_owner(projects):
    mine, _theirs, admin = projects
    trigger = created(admin, scope="public")
    assert mine.get("/v2/cron_triggers/c").json["id"] == trigger["id"]
    assert listed(mine) == ["c"]
    assert mine.delete("/v2/cron_triggers/c").status == 403
    assert admin.delete("/v2/cron_triggers/c").status == 204


# -- event-triggers


@pytest.fixture
def workflow_id(client):
    return client.get("/v2/workflows/w").json["id"]


@pytest.fixture
def wait(client, workflow_id):
    def create_event(**attributes):
        body = {
            "name": "e",
            "workflow_id": workflow_id,
            "exchange": "x",
            "topic": "t",
            "event": "ev",
            "workflow_input": {"a": 1},
            **attributes,
        }
        return client.post("/v2/event_triggers", {name: value for name, value in body.items() if value != "-"})

    return create_event


def test_a_new_event_trigger_is_answered_with_its_fields_in_their_order(client, wait, workflow_id):
    reply = wait(workflow_params={"env": {"k": 1}})
    assert reply.status == 201
    assert list(reply.json) == EVENT_FIELDS
    assert reply.json == {
        "id": reply.json["id"],
        "created_at": "2023-11-14 22:13:20",
        "updated_at": None,
        "project_id": "<default-project>",
        "name": "e",
        "workflow_id": workflow_id,
        "workflow_input": '{"a": 1}',
        "workflow_params": '{"env": {"k": 1}}',
        "exchange": "x",
        "topic": "t",
        "event": "ev",
        "scope": "private",
    }
    assert client.get(f"/v2/event_triggers/{reply.json['id']}").json == reply.json
    assert client.get(f"/v2/event_triggers/{reply.json['id']}?fields=name").json == {
        "id": reply.json["id"],
        "name": "e",
    }


@pytest.mark.parametrize("name", ["exchange", "topic", "event", "workflow_id"])
@pytest.mark.parametrize("value", ["-", "", None])
def test_what_an_event_trigger_must_have_must_be_given(wait, name, value):
    reply = wait(**{name: value})
    assert (reply.status, f"Params {name} must be provided" in reply.fault) == (400, True)


@pytest.mark.parametrize(
    ("attributes", "status"),
    [
        ({"workflow_id": "nope"}, 400),
        ({"workflow_id": NOBODYS}, 404),
        ({"workflow_input": {"z": 1}}, 400),
        ({"workflow_input": "-"}, 400),
        ({"event": "x" * 81}, 400),
        ({"event": 5}, 400),
        ({"name": "x" * 201}, 400),
        ({"scope": "public"}, 403),
        ({"scope": "bad"}, 400),
        ({"id": "x"}, 400),
        ({"created_at": "x"}, 400),
        ({"updated_at": "x"}, 400),
        ({"project_id": "x"}, 400),
        ({"foo": "x"}, 400),
    ],
)
def test_an_event_trigger_that_cannot_be_is_refused(client, wait, attributes, status):
    reply = wait(**attributes)
    assert reply.status == status, reply.json
    assert client.get("/v2/event_triggers").json == {"event_triggers": []}


def test_a_second_trigger_for_the_same_event_and_workflow_is_a_conflict(wait):
    assert wait(name="-").json["name"] == ""
    reply = wait(name="other")
    assert reply.status == 409
    assert reply.fault.startswith("Duplicate entry for EventTrigger ['exchange', 'topic', 'event', 'workflow_id'")


def test_an_event_trigger_is_updated_but_for_what_it_waits_for(client, wait):
    path = f"/v2/event_triggers/{wait().json['id']}"
    client.service.pass_time(5)
    changed = client.put(path, {"name": "q", "workflow_params": {"p": 1}, "workflow_input": {"zz": 1}})
    assert changed.status == 200
    assert client.get(path).json == changed.json
    assert (changed.json["name"], changed.json["workflow_params"]) == ("q", '{"p": 1}')
    assert (changed.json["workflow_input"], changed.json["updated_at"]) == ('{"zz": 1}', "2023-11-14 22:13:25")
    assert client.put(path, {}).json == changed.json
    for name in ("exchange", "topic", "event"):
        reply = client.put(path, {name: "z"})
        words = "Can not update fields ['exchange', 'topic', 'event'] of event trigger."
        assert (reply.status, reply.fault) == (400, words)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"workflow_id": NOBODYS}, 404),
        ({"workflow_id": "nope"}, 400),
        ({"scope": "public"}, 403),
        ({"scope": "private"}, 200),
        ({"id": NOBODYS}, 400),
        ({"foo": 1}, 400),
        ({"name": 1}, 400),
    ],
)
def test_a_change_of_an_event_trigger_is_checked(client, wait, body, status):
    assert client.put(f"/v2/event_triggers/{wait().json['id']}", body).status == status


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_an_event_trigger_is_addressed_by_id(client, wait, method):
    wait()
    body = {"name": "q"} if method == "PUT" else b""
    assert client.ask(method, "/v2/event_triggers/e", body).status == 400
    reply = client.ask(method, f"/v2/event_triggers/{NOBODYS}", body)
    assert (reply.status, reply.fault) == (404, f"Event trigger not found [id={NOBODYS}].")


def test_event_triggers_are_listed_filtered_and_deleted(client, wait):
    first, second = wait().json, wait(event="other").json
    assert [found["id"] for found in client.get("/v2/event_triggers?event=other").json["event_triggers"]] == [
        second["id"]
    ]
    assert len(client.get("/v2/event_triggers?topic=t").json["event_triggers"]) == 2
    assert client.get("/v2/event_triggers?all_projects=true").status == 403
    reply = client.delete("/v2/workflows/w")
    assert reply.status == 400
    assert reply.fault.startswith("Can't delete workflow that has event triggers associated. [workflow_identifier=w]")
    for trigger in (first, second):
        assert client.delete(f"/v2/event_triggers/{trigger['id']}").status == 204
    assert client.delete("/v2/workflows/w").status == 204


def test_a_cron_trigger_is_no_event_trigger(client, wait):
    event, cron = wait().json["id"], created(client)["id"]
    assert client.get(f"/v2/event_triggers/{cron}").status == 404
    assert client.get(f"/v2/cron_triggers/{event}").status == 404


def test_the_events_door_starts_what_waits(client, wait, monkeypatch):
    monkeypatch.setattr(doors, "container", lambda: client.service.container)
    wait()
    event = {
        "version": "0",
        "id": "1",
        "source": "x",
        "detail-type": "t",
        "account": "1",
        "time": "2023-11-14T22:13:20Z",
        "region": "us-east-1",
        "resources": [],
        "detail": {"event_type": "ev"},
    }
    for _ in range(2):
        doors.events(event, None)
    [execution] = client.get("/v2/executions?workflow_name=w").json["executions"]
    assert json.loads(execution["params"])["event_params"]["timestamp"] == "2023-11-14T22:13:20Z"
