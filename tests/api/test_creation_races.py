"""Two clients create the same at once: exactly one succeeds, whichever write of the one the other comes between."""

import copy
from typing import Any

import pytest

import app as doors
from chalicelib.api.http import MistralApi, blueprint
from tests.api.service_client import Client

TEXT = 'version: "2.0"\n'
NOOP = "  tasks:\n    t: {action: std.noop}\n"
PYTHON = "class A:\n    def run(self, context):\n        return 1\n"
CRON = {"name": "c", "workflow_name": "w", "pattern": "0 0 1 1 *"}
EVENT = {"exchange": "e", "topic": "t", "event": "x"}
BOOK = f"{TEXT}name: b\nworkflows:\n  inner:\n    tasks:\n      t: {{action: std.noop}}\n"
# What is asked for, and what there must be of it afterwards. "{w}" is the id of a workflow that is there already.
CREATIONS = {
    "workbook": ("/v2/workbooks", BOOK, "/v2/workbooks"),
    "workflow": ("/v2/workflows", f"{TEXT}new:\n{NOOP}", "/v2/workflows?name=new"),
    "workflows in one text": ("/v2/workflows", f"{TEXT}one:\n{NOOP}new:\n{NOOP}", "/v2/workflows?name=new"),
    "workflow in a namespace": ("/v2/workflows?namespace=n", f"{TEXT}new:\n{NOOP}", "/v2/workflows?name=new"),
    "action": ("/v2/actions", f"{TEXT}new: {{base: std.noop}}\n", "/v2/actions?name=new"),
    "environment": ("/v2/environments", {"name": "e", "variables": {}}, "/v2/environments"),
    "member": ("/v2/workflows/{w}/members", {"member_id": "friend"}, "/v2/workflows/{w}/members"),
    "cron trigger": ("/v2/cron_triggers", CRON, "/v2/cron_triggers"),
    "event trigger": ("/v2/event_triggers", EVENT, "/v2/event_triggers"),
    "code source": ("/v2/code_sources?name=other", PYTHON, "/v2/code_sources?name=other"),
    "dynamic action": (
        "/v2/dynamic_actions",
        {"name": "d", "class_name": "A", "code_source_name": "source"},
        "/v2/dynamic_actions",
    ),
}


@pytest.fixture
def client():
    made = Client(auth="authorizer").as_project("p", "admin")
    made.upload(f"w:\n{NOOP}")
    assert made.post("/v2/code_sources?name=source", PYTHON).status == 201
    return made


def rival_of(client):
    """Another process on the same tables."""
    service = copy.copy(client.service)
    service.app = MistralApi("rival", lambda: service.settings)
    made = doors.services_of(service.container, service.settings)
    service.app.register_blueprint(blueprint("rival", doors.all_routes(lambda: made), lambda: made))
    return Client(service, claims=client._claims)


def between(monkeypatch, client, at, act):
    """Have something happen just before the write with this number, of either table."""
    count = 0

    def hook(table):
        write = table.write

        def hooked(writes):
            nonlocal count
            count += 1
            if count == at + 1:
                act()
            write(writes)

        monkeypatch.setattr(table, "write", hooked)

    hook(client.service.table)
    hook(client.service.container.ports.definitions)


def filled(client, path, body):
    workflow_id = client.get("/v2/workflows/w").json["id"]
    if body is EVENT:
        body = {**EVENT, "workflow_id": workflow_id}
    return path.replace("{w}", workflow_id), body


@pytest.mark.parametrize("kind", CREATIONS)
@pytest.mark.parametrize("at", [0, 1, 2])
def test_of_two_creations_exactly_one_succeeds(client, monkeypatch, kind, at):
    path, body, listing = CREATIONS[kind]
    path, body = filled(client, path, body)
    listing, _ = filled(client, listing, None)
    rival = rival_of(client)
    replies: list[Any] = []
    between(monkeypatch, client, at, lambda: None if replies else replies.append(rival.post(path, body)))

    replies.append(client.post(path, body))
    if len(replies) == 1:  # it took fewer writes: the rival comes when all is done
        replies.append(rival.post(path, body))

    assert sorted(reply.status for reply in replies) == [201, 409]
    refused = next(reply for reply in replies if reply.status == 409)
    assert "uplicate" in refused.fault
    found = client.get(listing).json
    assert sum(map(len, (rows for name, rows in found.items() if name != "next"))) == 1


@pytest.mark.parametrize("at", range(4))
def test_of_two_starts_with_one_id_one_execution_comes_and_both_are_told_of_it(client, monkeypatch, at):
    body = {"workflow_name": "w", "id": "chosen"}
    rival = rival_of(client)
    replies: list[Any] = []
    between(monkeypatch, client, at, lambda: None if replies else replies.append(rival.post("/v2/executions", body)))

    replies.append(client.post("/v2/executions", body))
    if len(replies) == 1:
        replies.append(rival.post("/v2/executions", body))

    assert [(reply.status, reply.json["id"]) for reply in replies] == [(201, "chosen")] * 2
    assert len(client.get("/v2/executions").json["executions"]) == 1
    assert len(client.get("/v2/executions/chosen/tasks").json["tasks"]) == 1


def test_every_kind_of_thing_that_has_a_name_is_raced_for(client):
    creating = {
        route.path
        for route in client.service.routes
        for policy in route.rules
        if policy.rule.endswith(":create") and route.path.startswith("/v2/")
    }
    raced = {path.partition("?")[0].replace("{w}", "{identifier}") for path, _, _ in CREATIONS.values()}

    # An execution is raced for above; an action on its own has no name.
    assert creating - {"/v2/executions", "/v2/action_executions"} == raced
