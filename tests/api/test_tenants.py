"""What one project has does not exist for another: every route, every verb, every kind of object.

A project stores one of everything. A stranger then walks all routes of the API with the ids and names of it. A new
route makes these tests fail until the tables here say how to ask it.
"""

import json
import re
from itertools import pairwise, product
from typing import Any

import pytest

from tests.api.service_client import Client

# What every object of the owner has somewhere in it, and nothing else.
HUSH = "hush"
UUID = re.compile(r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")
ADMIN = "admin"
YEARLY = "0 0 1 1 *"
TEXT = 'version: "2.0"\n'
NOOP = "  tasks:\n    t: {action: std.noop}\n"
BOOK = f"{TEXT}name: hush_book\nworkflows:\n  hush_inner:\n    tasks:\n      t: {{action: std.noop}}\n"
PYTHON = "class HushAction:\n    def run(self, context):\n        return 'hush'\n"

# Routes that are nobody's: what the service is, how one logs in, what is checked without being stored.
NOBODYS = {
    "GET /",
    "GET /v2",
    "GET /info",
    "GET /v3",
    "GET /healthcheck",
    "GET /maintenance",
    "GET /v2/openapi.json",
    "GET /v2/schemas/workflow-language",
    "GET /v2/cron_previews",
    "POST /v3/auth/tokens",
    "POST /realms/{realm}/protocol/openid-connect/token",
    "POST /v2/workbooks/validate",
    "POST /v2/workflows/validate",
    "POST /v2/actions/validate",
}
# Whoever has the token of a webhook may call it: that is what it is for.
WITH_A_TOKEN = {"GET /v2/webhooks/{token}", "POST /v2/webhooks/{token}"}
# What these list of an unknown object, as of a foreign one, is nothing.
LIST_NOTHING = {
    "GET /v2/workflows/{identifier}/members",
    "GET /v2/tasks/{identifier}/action_executions",
    "GET /v2/tasks/{identifier}/workflow_executions",
}
# Only admins get past the rule of these, whatever they name.
FOR_ADMINS = re.compile(r"/(code_sources|dynamic_actions|maintenance)")

# A body, good in itself, for each route that changes one object and reads a body.
BODIES = {
    "PUT /v2/workflows/{identifier}": TEXT + "stolen:\n" + NOOP,
    "PUT /v2/actions/{identifier}": TEXT + "stolen: {base: std.noop}\n",
    "PUT /v2/code_sources/{identifier}": PYTHON,
    "POST /v2/workflows/{identifier}/members": {"member_id": "stranger"},
    "PUT /v2/workflows/{identifier}/members/{member_id}": {"status": "accepted"},
    "POST /v2/cron_triggers/{identifier}/run": {},
    "POST /v2/cron_triggers/{identifier}/backfill": {"from": "2020-01-01 00:00:00", "to": "2022-01-01 00:00:00"},
    "POST /v2/cron_triggers/{identifier}/pause": b"",
    "POST /v2/cron_triggers/{identifier}/resume": b"",
    "PUT /v2/event_triggers/{identifier}": {"name": "stolen"},
    "POST /v2/event_triggers/{identifier}/webhook": {},
    "POST /v2/action_executions/{identifier}/webhook": {},
    "PUT /v2/executions/{identifier}": {"state": "CANCELLED"},
    "PUT /v2/tasks/{identifier}": {"state": "RUNNING", "reset": True},
    "PUT /v2/action_executions/{identifier}": {"state": "SUCCESS", "output": {"stolen": True}},
}
# Statuses that a stranger may get for what it asks of a collection, with the bodies that name the owner's objects.
ATTEMPTS: dict[str, Any] = {
    "POST /v2/workbooks": [(BOOK, {201})],
    "PUT /v2/workbooks": [(BOOK.replace("hush_book", "hush_other_book"), {404})],
    "POST /v2/workflows": [(TEXT + "hush_flow:\n" + NOOP, {201})],
    "PUT /v2/workflows": [(TEXT + "hush_other_flow:\n" + NOOP, {404})],
    "POST /v2/actions": [(TEXT + "hush_action: {base: std.noop}\n", {201})],
    "PUT /v2/actions": [(TEXT + "hush_other_action: {base: std.noop}\n", {404})],
    "POST /v2/environments": [({"name": "hush_env", "variables": {"k": 1}}, {201})],
    "PUT /v2/environments": [({"name": "hush_other_env", "variables": {"k": 1}}, {404})],
    "POST /v2/code_sources?name=hush_source": [(PYTHON, {403})],
    "PUT /v2/code_sources?identifier=hush_source": [(PYTHON, {403})],
    "POST /v2/dynamic_actions": [
        ({"name": "mine", "class_name": "HushAction", "code_source_name": "hush_source"}, {403}),
    ],
    "PUT /v2/dynamic_actions": [({"name": "hush_dynamic", "class_name": "X"}, {403})],
    "PUT /maintenance": [({"status": "PAUSED"}, {403})],
    "POST /v2/executions": [
        ({"workflow_id": "{workflow}"}, {404}),
        ({"workflow_name": "hush_other_flow"}, {404}),
        ({"workflow_name": "mine", "params": {"env": "hush_other_env"}}, {400}),
        ({"source_execution_id": "{execution}"}, {404}),
        ({"workflow_name": "mine", "id": "{execution}"}, {404, 409}),
        ({"workflow_name": "mine", "id": "hush-chosen"}, {404, 409}),
    ],
    "POST /v2/action_executions": [({"name": "hush_other_action"}, {400}), ({"name": "hush_dynamic"}, {400})],
    "POST /v2/cron_triggers": [
        ({"name": "c", "workflow_id": "{workflow}", "pattern": YEARLY}, {404}),
        ({"name": "c", "workflow_name": "hush_other_flow", "pattern": YEARLY}, {404}),
    ],
    "POST /v2/event_triggers": [
        ({"exchange": "e", "topic": "t", "event": "x", "workflow_id": "{workflow}"}, {404}),
    ],
}
# What lists can be asked to look below, and to go on from.
FILTERS = {
    "/v2/workflows": ["project_id={project}", "name=hush_flow", "namespace=hush_space"],
    "/v2/executions": [
        "task_execution_id={task}",
        "root_execution_id={execution}",
        "workflow_id={workflow}",
        "workflow_name=hush_flow",
        "nulls=root_execution_id",
        "sort_keys=name",
        "sort_keys=state,name",
        "sort_keys=updated_at",
    ],
    "/v2/tasks": ["workflow_execution_id={execution}", "workflow_name=hush_flow"],
    "/v2/action_executions": ["task_execution_id={task}", "workflow_name=hush_flow"],
}
MARKERS = {
    "/v2/workbooks": "workbook",
    "/v2/workflows": "workflow",
    "/v2/environments": "environment",
    "/v2/executions": "execution",
    "/v2/cron_triggers": "cron_trigger",
    "/v2/event_triggers": "event_trigger",
}


class Stage:
    """A service in which the owner has one of everything, and the stranger a workflow of its own."""

    def __init__(self):
        voice = Client(auth="authorizer", allow_action_execution_deletion=True)
        self.service = voice.service
        self.owner = voice.as_project("owner", ADMIN)
        self.stranger = voice.as_project("stranger")
        self.stranger.upload(f"mine:\n{NOOP}")
        self.ids = {"project": "owner", "member": "friend"}
        self._fill_definitions()
        self._fill_executions()
        self._fill_triggers()
        self.service.pass_time(60)

    def made(self, path, body, **headers):
        reply = self.owner.post(path, body, **headers)
        assert reply.status in (200, 201), reply.json
        return reply.json

    def _fill_definitions(self):
        self.ids["workbook"] = self.made("/v2/workbooks", BOOK)["id"]
        self.made("/v2/workbooks", BOOK.replace("hush_book", "hush_other_book"))
        text = (
            TEXT
            + "hush_flow:\n  tasks:\n    good: {action: std.echo, input: {output: hush}, on-success: [wait, bad]}\n"
            "    wait: {action: std.async_noop}\n    bad: {action: std.fail}\n"
            f"hush_other_flow:\n{NOOP}"
        )
        self.ids["workflow"] = self.made("/v2/workflows", text)["workflows"][0]["id"]
        self.made("/v2/workflows?namespace=hush_space", TEXT + f"hush_flow:\n{NOOP}")
        actions = TEXT + "hush_action: {base: std.noop}\nhush_other_action: {base: std.noop}\n"
        self.ids["action"] = self.made("/v2/actions", actions)["actions"][0]["id"]
        self.made("/v2/actions?namespace=hush_space", TEXT + "hush_action: {base: std.noop}\n")
        self.ids["environment"] = self.made("/v2/environments", {"name": "hush_env", "variables": {"k": HUSH}})["id"]
        self.made("/v2/environments", {"name": "hush_other_env", "variables": {"k": HUSH}})
        self.ids["code_source"] = self.made("/v2/code_sources?name=hush_source", PYTHON)["id"]
        dynamic = {"name": "hush_dynamic", "class_name": "HushAction", "code_source_name": "hush_source"}
        self.ids["dynamic_action"] = self.made("/v2/dynamic_actions", dynamic)["id"]
        self.made(f"/v2/workflows/{self.ids['workflow']}/members", {"member_id": "friend"})

    def _fill_executions(self):
        execution = self.made("/v2/executions", {"workflow_name": "hush_flow", "description": HUSH})
        self.made("/v2/executions", {"workflow_name": "hush_other_flow", "id": "hush-chosen"})
        self.service.settle()
        tasks = self.owner.tasks_of(execution)
        self.ids |= {"execution": execution["id"], "task": tasks["bad"]["id"]}
        self.ids["waiting"] = self.owner.actions_of(tasks["wait"])[0]["id"]
        self.ids["task_of_waiting"] = tasks["wait"]["id"]
        alone = {"name": "std.echo", "input": {"output": HUSH}, "params": {"save_result": True}}
        self.ids["alone"] = self.made("/v2/action_executions", alone)["id"]
        self.service.settle()

    def _fill_triggers(self):
        cron = {"name": "hush_cron", "workflow_name": "hush_flow", "pattern": YEARLY}
        self.ids["cron_trigger"] = self.made("/v2/cron_triggers", cron)["id"]
        event = {"name": "hush_event", "exchange": "e", "topic": "t", "event": "x"}
        self.ids["event_trigger"] = self.made("/v2/event_triggers", {**event, "workflow_id": self.ids["workflow"]})[
            "id"
        ]

    def named(self, body):
        """A body with the ids that it speaks of; a text stays as it is."""
        if isinstance(body, str):
            return body
        return {
            name: self.ids.get(value[1:-1], value) if isinstance(value, str) else value for name, value in body.items()
        }

    @property
    def identifiers(self):
        """The owner's objects by the part of a path in front of them, or by the name of the parameter."""
        ids = self.ids
        return {
            "workbooks": ["hush_book"],
            "workflows": [ids["workflow"], "hush_flow", "hush_book.hush_inner"],
            "members": [ids["member"], "stranger"],
            "actions": [ids["action"], "hush_action"],
            "namespace": ["hush_space"],
            "environments": ["hush_env"],
            "code_sources": [ids["code_source"], "hush_source"],
            "dynamic_actions": [ids["dynamic_action"], "hush_dynamic"],
            "executions": [ids["execution"], "hush-chosen"],
            "tasks": [ids["task"], ids["task_of_waiting"]],
            "action_executions": [ids["waiting"], ids["alone"]],
            "cron_triggers": [ids["cron_trigger"], "hush_cron"],
            "event_triggers": [ids["event_trigger"]],
        }

    def addresses(self, path):
        """Every way to fill a path's parameters with the owner's objects: pairs of a value and an unknown one."""
        choices = []
        parts = path.split("/")
        for before, part in pairwise(parts):
            if part.startswith("{"):
                name = part[1:-1]
                choices.append([(name, value) for value in self.identifiers[name if name == "namespace" else before]])
        return [dict(choice) for choice in product(*choices)]


def unknown(identifier):
    """What is like an id or a name, and is nothing's."""
    return "00000000" + identifier[8:] if UUID.match(identifier) else "no" + identifier


def name_of(route):
    return f"{route.method} {route.path}"


def all_routes(service):
    return [route for route in service.routes if name_of(route) not in NOBODYS | WITH_A_TOKEN]


@pytest.fixture(scope="module")
def stage():
    return Stage()


def told(reply, *names):
    """What a reply says, but for the names that were asked for."""
    text = json.dumps(reply.json)
    for name in names:
        text = text.replace(name, "*")
    return reply.status, text


def test_every_foreign_object_is_as_if_it_were_not_there(stage):
    before = stage.service.stored()
    asked = 0
    for route in all_routes(stage.service):
        if "{" not in route.path:
            continue
        body = BODIES[name_of(route)] if route.method in ("POST", "PUT") else b""
        for address in stage.addresses(route.path):
            nothing = {name: unknown(value) for name, value in address.items()}
            of_owner = stage.stranger.ask(route.method, route.path.format(**address), body)
            of_nobody = stage.stranger.ask(route.method, route.path.format(**nothing), body)
            place = f"{name_of(route)} {address}"
            assert told(of_owner, *address.values()) == told(of_nobody, *nothing.values()), place
            # Some routes take ids only, and say so of any name.
            expected = {404} if UUID.match(next(iter(address.values()))) else {400, 404}
            if FOR_ADMINS.search(route.path):
                expected = {403}
            if of_owner.status == 200 and name_of(route) in LIST_NOTHING:
                assert not any(of_owner.json.values()), place
            else:
                assert of_owner.status in expected, f"{place} {of_owner.json}"
            asked += 1
    assert asked > 80
    assert stage.service.stored() == before


def test_every_object_that_the_walk_asks_for_is_there_for_its_owner(stage):
    found = {route.path for route in stage.service.routes if route.method == "GET"}
    for path in found:
        if path.count("{") == 1 and path.endswith("}") and path.split("/")[2] in stage.identifiers:
            for address in stage.addresses(path):
                assert stage.owner.get(path.format(**address)).status == 200, (path, address)


def test_no_list_shows_what_is_foreign(stage):
    collections = [route for route in all_routes(stage.service) if route.method == "GET" and "{" not in route.path]
    for route in collections:
        if FOR_ADMINS.search(route.path):
            assert stage.stranger.get(route.path).status == 403
            continue
        queries = ["", "sort_dirs=desc", "limit=1", *FILTERS.get(route.path, [])]
        for query in queries:
            reply = stage.stranger.get(f"{route.path}?{query.format(**stage.ids)}")
            assert reply.status == 200, (route.path, query, reply.json)
            listed = json.dumps(reply.json.get(route.path.rpartition("/")[2]))
            assert HUSH not in listed, (route.path, query)
            assert not [value for value in stage.ids.values() if UUID.match(value) and value in listed], route.path
        assert HUSH in json.dumps(stage.owner.get(route.path).json), route.path


@pytest.mark.parametrize("path", MARKERS)
def test_a_foreign_object_marks_no_page(stage, path):
    marker = stage.ids[MARKERS[path]]

    foreign, nobodys = (stage.stranger.get(f"{path}?marker={one}") for one in (marker, unknown(marker)))

    assert foreign.status == 404
    assert told(foreign, marker) == told(nobodys, unknown(marker))


def test_the_lists_of_a_project_may_be_asked_for_by_admins_only(stage):
    for path in ("workflows", "executions", "cron_triggers", "event_triggers"):
        assert stage.stranger.get(f"/v2/{path}?all_projects=true").status == 403
        assert stage.stranger.get(f"/v2/{path}?all_projects=false").status == 200
        assert HUSH in json.dumps(stage.owner.get(f"/v2/{path}?all_projects=true").json)
    assert stage.stranger.get("/v2/executions?project_id=owner").status == 403


def test_nothing_that_a_stranger_creates_or_names_touches_what_is_foreign():
    stage = Stage()
    before = stage.service.stored()
    routes = [route for route in all_routes(stage.service) if route.method in ("POST", "PUT") and "{" not in route.path]
    attempts = {key.partition("?")[0] for key in ATTEMPTS}
    assert {name_of(route) for route in routes} == attempts
    for key, bodies in ATTEMPTS.items():
        method, path = key.split(" ")
        for body, statuses in bodies:
            reply = stage.stranger.ask(method, path, stage.named(body))
            assert reply.status in statuses, (key, body, reply.json)
            assert "owner" not in json.dumps(reply.json), (key, body)
    stage.service.settle()
    for old, new in zip(before, stage.service.stored(), strict=True):
        for partition, items in old.items():
            assert new[partition].items() >= items.items(), partition


def test_no_route_is_left_out(stage):
    known = NOBODYS | WITH_A_TOKEN | set(BODIES) | {key.partition("?")[0] for key in ATTEMPTS}
    changing = {name_of(route) for route in stage.service.routes if route.method not in ("GET", "DELETE")}

    assert changing <= known
    assert (NOBODYS | WITH_A_TOKEN | LIST_NOTHING | set(BODIES)) <= {name_of(route) for route in stage.service.routes}
    assert {route.method for route in stage.service.routes} == {"GET", "POST", "PUT", "DELETE"}


# -- what is public


PUBLIC = {
    "/v2/workbooks": ("/v2/workbooks?scope=public", BOOK, "hush_book", BOOK),
    "/v2/workflows": ("/v2/workflows?scope=public", f"{TEXT}p:\n{NOOP}", "p", f"{TEXT}p:\n{NOOP}"),
    "/v2/actions": (
        "/v2/actions?scope=public",
        f"{TEXT}p: {{base: std.noop}}\n",
        "p",
        f"{TEXT}p: {{base: std.noop}}\n",
    ),
    "/v2/environments": ("/v2/environments", {"name": "p", "scope": "public"}, "p", {"name": "p", "description": "x"}),
}


@pytest.mark.parametrize("path", PUBLIC)
def test_what_is_public_is_everyones_to_read_and_its_owners_to_change(path):
    voice = Client(auth="authorizer")
    owner, stranger = voice.as_project("owner", ADMIN), voice.as_project("stranger")
    create, body, name, change = PUBLIC[path]
    assert owner.post(create, body).status == 201
    before = voice.service.stored()

    assert stranger.get(f"{path}/{name}").json["project_id"] == "owner"
    assert name in [found["name"] for found in stranger.get(path).json[path.rpartition("/")[2]]]
    assert stranger.put(path, change).status == 403
    assert stranger.delete(f"{path}/{name}").status == 403
    assert voice.service.stored() == before

    private = {**body, "scope": "private"} if isinstance(body, dict) else body
    assert stranger.post(create.partition("?")[0], private).status == 201
    assert stranger.get(f"{path}/{name}").json["project_id"] == "stranger"
    assert owner.get(f"{path}/{name}").json["project_id"] == "owner"
    assert stranger.put(path, change).status == 200
    assert stranger.delete(f"{path}/{name}").status == 204
    assert stranger.get(f"{path}/{name}").json["project_id"] == "owner"


def test_public_triggers_are_everyones_to_read_and_their_owners_to_change():
    voice = Client(auth="authorizer")
    owner, stranger = voice.as_project("owner", ADMIN), voice.as_project("stranger")
    workflow = owner.upload(f"w:\n{NOOP}")[0]
    cron = owner.post(
        "/v2/cron_triggers", {"name": "c", "workflow_name": "w", "pattern": YEARLY, "scope": "public"}
    ).json
    event = owner.post(
        "/v2/event_triggers",
        {"exchange": "e", "topic": "t", "event": "x", "workflow_id": workflow["id"], "scope": "public"},
    ).json
    before = voice.service.stored()

    for path in (f"/v2/cron_triggers/{cron['id']}", "/v2/cron_triggers/c", f"/v2/event_triggers/{event['id']}"):
        assert stranger.get(path).status == 200
        assert stranger.delete(path).status == 403
    for verb in ("pause", "resume", "run"):
        assert stranger.post(f"/v2/cron_triggers/c/{verb}").status == 403
    assert stranger.put(f"/v2/event_triggers/{event['id']}", {"name": "stolen"}).status == 403
    assert voice.service.stored() == before


def test_a_public_workflow_that_others_have_triggers_on_stays_public():
    voice = Client(auth="authorizer")
    owner, stranger = voice.as_project("owner", ADMIN), voice.as_project("stranger")
    text = f"{TEXT}w:\n{NOOP}"
    assert owner.post("/v2/workflows?scope=public", text).status == 201
    assert stranger.post("/v2/cron_triggers", {"name": "c", "workflow_name": "w", "pattern": YEARLY}).status == 201

    assert owner.put("/v2/workflows?scope=private", text).status == 403
    assert owner.put("/v2/workflows?scope=public", text).status == 200
    assert stranger.delete("/v2/cron_triggers/c").status == 204
    assert owner.put("/v2/workflows?scope=private", text).status == 200
    assert stranger.get("/v2/workflows/w").status == 404
