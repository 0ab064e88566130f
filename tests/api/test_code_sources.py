"""Code sources and dynamic actions over HTTP, and what workflows make of them."""

import json

import pytest

from chalicelib import limits
from chalicelib.actions import python_runner
from chalicelib.adapters.memory import ManualClock
from tests.api.service_client import Client

TEXT = """
from mistral_lib import actions

class Greet(actions.Action):
    '''Greets somebody.'''
    def __init__(self, who, times=1):
        self.who, self.times = who, times
    def run(self, context):
        return f'Hello {self.who}' * self.times

class Wait(actions.Action):
    def run(self, context):
        return context.execution.callback_url
    def is_sync(self):
        return False

class Fail(actions.Action):
    def run(self, context):
        return actions.Result(error={'code': 7})
"""
WORKFLOW = """
greet:
  output: {said: <% $.said %>}
  tasks:
    hello:
      action: lib.greet who='Ada'
      publish: {said: <% task().result %>}
      publish-on-error: {said: <% task().result %>}
      on-error: noted
    noted: {action: std.noop}
"""
CLASS = "class Greet:\n    def __init__(self, who):\n        self.who = who\n"
ID = "00000000-0000-4000-8000-000000000000"
FORBIDDEN = "Operation forbidden (insufficient permissions)"


@pytest.fixture
def admin():
    return Client(auth="authorizer").as_project("north", "admin")


@pytest.fixture
def member(admin):
    return admin.as_project("north")


def source(client, text=TEXT, name="lib", query=""):
    reply = client.post(f"/v2/code_sources?name={name}{query}", text, content_type="text/plain")
    assert reply.status == 201, reply.json
    return reply.json


def action(client, name="lib.greet", class_name="Greet", **attributes):
    body = {"name": name, "class_name": class_name, "code_source_name": "lib", **attributes}
    reply = client.post("/v2/dynamic_actions", body)
    assert reply.status == 201, reply.json
    return reply.json


def names(reply, collection):
    assert reply.status == 200, reply.json
    return [row["name"] for row in reply.json[collection]]


# -- code sources


def test_a_code_source_is_created_with_version_1_and_answered_as_definitions_are(admin):
    reply = admin.post("/v2/code_sources?name=lib&scope=private&namespace=", TEXT, content_type="text/plain")
    assert reply.status == 201
    assert reply.headers["Content-Type"] == "application/json;charset=utf-8"
    assert list(reply.json) == ["id", "name", "namespace", "content", "version", "project_id", "scope", "created_at"]
    assert (reply.json["content"], reply.json["version"], reply.json["project_id"]) == (TEXT, 1, "north")
    shown = admin.get("/v2/code_sources/lib").json
    assert shown == reply.json | {"updated_at": None}
    assert admin.get(f"/v2/code_sources/{shown['id']}?namespace=elsewhere").json == shown


def test_the_text_is_not_looked_at_when_it_is_stored(admin):
    assert source(admin, "this is : not python")["version"] == 1
    assert source(admin, "", name="empty")["content"] == ""


@pytest.mark.parametrize("path", ["/v2/code_sources?identifier=lib", "/v2/code_sources/lib"])
def test_an_update_counts_the_version_and_resets_the_scope(admin, path):
    made = source(admin, query="&scope=public")
    admin.service.pass_time()
    reply = admin.put(path, "x = 2", content_type="text/plain")
    assert reply.status == 200
    assert (reply.json["id"], reply.json["content"]) == (made["id"], "x = 2")
    assert (reply.json["version"], reply.json["scope"], made["scope"]) == (2, "private", "public")
    assert reply.json["updated_at"] > made["created_at"]
    assert admin.put(path, "x = 3").json["version"] == 3


def test_code_sources_of_a_name_are_kept_apart_by_namespace(admin):
    here, there = source(admin), source(admin, "x = 1", query="&namespace=other")
    assert here["id"] != there["id"]
    assert admin.get("/v2/code_sources/lib?namespace=other").json["content"] == "x = 1"
    assert admin.delete("/v2/code_sources/lib?namespace=other").status == 204
    assert admin.get("/v2/code_sources/lib?namespace=other").status == 404
    assert admin.get("/v2/code_sources/lib").status == 200


def test_lists_are_sorted_filtered_and_paged(admin):
    for name in ("b", "a", "c"):
        source(admin, name=name)
        admin.service.pass_time()
    source(admin.as_project("south", "admin"), name="foreign")
    assert names(admin.get("/v2/code_sources"), "code_sources") == ["b", "a", "c", "foreign"]
    assert names(admin.get("/v2/code_sources?sort_keys=name&sort_dirs=desc&limit=2"), "code_sources") == [
        "foreign", "c"
    ]  # fmt: skip
    assert names(admin.get("/v2/code_sources?name=in:a,c&project_id=south"), "code_sources") == []
    assert names(admin.get("/v2/code_sources?name=in:a,c&all_projects=true"), "code_sources") == ["a", "c"]
    assert names(admin.get("/v2/code_sources?tags=x"), "code_sources") == []
    page = admin.get("/v2/code_sources?limit=1&fields=name").json
    assert set(page["code_sources"][0]) == {"id", "name"}
    assert f"marker={page['code_sources'][0]['id']}" in page["next"]


def test_deleting_a_code_source_takes_its_dynamic_actions_along(admin):
    made = source(admin)
    source(admin, name="other")
    for number in range(35):
        action(admin, f"mine-{number}")
    kept = action(admin, "kept", code_source_name="other")
    moved = action(admin, "moved")
    admin.put("/v2/dynamic_actions", {"id": moved["id"], "code_source_name": "other"})
    assert admin.delete(f"/v2/code_sources/{made['id']}").status == 204
    assert names(admin.get("/v2/dynamic_actions"), "dynamic_actions") == ["kept", "moved"]
    assert admin.get("/v2/dynamic_actions/mine-3").status == 404
    assert admin.get(f"/v2/dynamic_actions/{kept['id']}").json["code_source_name"] == "other"


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "fault"),
    [
        ("POST", "/v2/code_sources", TEXT, 400, "Name of the code source is not provided"),
        ("POST", "/v2/code_sources?name=", TEXT, 400, "Name of the code source is not provided"),
        ("POST", "/v2/code_sources?name=a%20b", TEXT, 400, "must not contain spaces"),
        ("POST", f"/v2/code_sources?name={'n' * 256}", TEXT, 400, "has 256 characters"),
        ("POST", "/v2/code_sources?name=new&scope=shared", TEXT, 400, "Scope must be one of"),
        ("POST", "/v2/code_sources?name=lib", TEXT, 409, "Duplicate entry for CodeSource"),
        ("POST", "/v2/code_sources?name=new", b"\xff", 400, "is not UTF-8"),
        ("POST", "/v2/code_sources?name=new", b"#" * (limits.CODE_SOURCE_BYTES_MAX + 1), 400, "split it"),
        ("PUT", "/v2/code_sources", TEXT, 400, "`identifier`"),
        ("PUT", "/v2/code_sources?identifier=absent", TEXT, 404, "Code source not found [identifier=absent"),
        ("PUT", "/v2/code_sources?identifier=lib&scope=all", TEXT, 400, "Scope must be one of"),
        ("GET", "/v2/code_sources/absent", b"", 404, "Code source not found"),
        ("GET", "/v2/code_sources/lib?what=1", b"", 400, 'Unknown argument: "what"'),
        ("GET", "/v2/code_sources?sort_keys=colour", b"", 400, "colour"),
        ("DELETE", f"/v2/code_sources/{ID}", b"", 404, "Code source not found"),
    ],
)
def test_what_is_wrong_with_a_code_source_is_said(admin, method, path, body, status, fault):  # noqa: PLR0917
    source(admin)
    reply = admin.ask(method, path, body, content_type="text/plain")
    assert (reply.status, fault in reply.fault) == (status, True), reply.json


# -- dynamic actions


def test_a_dynamic_action_has_the_fields_of_mistral(admin):
    made, code = action_and_source(admin)
    assert list(made) == [
        "id", "name", "namespace", "code_source_id", "code_source_name", "class_name", "project_id", "scope",
        "created_at",
    ]  # fmt: skip
    assert (made["code_source_id"], made["code_source_name"], made["scope"]) == (code["id"], "lib", "private")
    shown = admin.get("/v2/dynamic_actions/lib.greet").json
    assert shown == made | {"updated_at": None}
    assert admin.get(f"/v2/dynamic_actions/{made['id']}?fields=class_name").json == {
        "id": made["id"], "class_name": "Greet"
    }  # fmt: skip


def action_and_source(admin):
    code = source(admin)
    return action(admin), code


def test_a_code_source_is_named_by_its_id_or_by_its_name_in_the_same_namespace(admin):
    here = source(admin)
    source(admin, query="&namespace=other")
    assert action(admin, "by-id", namespace="other", code_source_id=here["id"])["code_source_id"] == here["id"]
    assert action(admin, "by-name", namespace="other")["code_source_id"] != here["id"]


def test_an_update_changes_what_is_given(admin):
    made, _ = action_and_source(admin)
    other = source(admin, name="other")
    admin.service.pass_time()
    first = admin.put("/v2/dynamic_actions", {"name": "lib.greet", "code_source_id": other["id"]})
    assert (first.status, first.json["class_name"], first.json["code_source_name"]) == (200, "Greet", "other")
    second = admin.put("/v2/dynamic_actions", {"id": made["id"], "class_name": "Fail", "scope": "public"})
    assert (second.json["class_name"], second.json["scope"], second.json["code_source_name"]) == (
        "Fail", "public", "other"
    )  # fmt: skip
    assert second.json["updated_at"] > made["created_at"]


@pytest.mark.parametrize(
    ("method", "body", "status", "fault"),
    [
        ("POST", {"name": "a", "class_name": "Greet"}, 400, "Either 'code_source_id' or 'code_source_name'"),
        ("POST", {"name": "a", "code_source_name": "lib"}, 400, "Mandatory field missing: class_name"),
        ("POST", {"class_name": "A", "code_source_name": "lib"}, 400, "Mandatory field missing: name"),
        ("POST", {"name": "a", "class_name": "A", "code_source_name": "absent"}, 404, "Code source not found"),
        ("POST", {"name": "a", "class_name": "A", "code_source_id": ID}, 404, "Code source not found"),
        ("POST", {"name": "lib.greet", "class_name": "A", "code_source_name": "lib"}, 409, "Duplicate entry"),
        ("POST", {"name": "std.echo", "class_name": "A", "code_source_name": "lib"}, 400, "of this installation"),
        ("POST", {"name": "a b", "class_name": "A", "code_source_name": "lib"}, 400, "must not contain spaces"),
        ("POST", {"name": "a", "class_name": "no class", "code_source_name": "lib"}, 400, "no name of a Python class"),
        ("POST", {"name": "a", "class_name": "A", "code_source_name": "lib", "scope": "x"}, 400, "one of: public"),
        ("POST", {"name": "a", "class_name": 5, "code_source_name": "lib"}, 400, "Expected text"),
        ("POST", {"name": "a", "project_id": "x"}, 400, "read only"),
        ("POST", {"name": "a", "colour": "x"}, 400, "Unknown attribute"),
        ("PUT", {"class_name": "A"}, 400, "Either 'name' or 'id' must be provided."),
        ("PUT", {"name": "absent", "class_name": "A"}, 404, "Dynamic action not found"),
        ("PUT", {"name": "lib.greet", "code_source_name": "absent"}, 404, "Code source not found"),
        ("PUT", {"name": "lib.greet", "class_name": "1"}, 400, "no name of a Python class"),
    ],
)
def test_what_is_wrong_with_a_dynamic_action_is_said(admin, method, body, status, fault):
    action_and_source(admin)
    reply = admin.ask(method, "/v2/dynamic_actions", body)
    assert (reply.status, fault in reply.fault) == (status, True), reply.json


# -- who may


ROUTES = [
    ("GET", "/v2/code_sources", None),
    ("POST", "/v2/code_sources?name=x", "x = 1"),
    ("PUT", "/v2/code_sources?identifier=lib", "x = 1"),
    ("PUT", "/v2/code_sources/lib", "x = 1"),
    ("GET", "/v2/code_sources/lib", None),
    ("DELETE", "/v2/code_sources/lib", None),
    ("GET", "/v2/dynamic_actions", None),
    ("POST", "/v2/dynamic_actions", {"name": "x"}),
    ("PUT", "/v2/dynamic_actions", {"name": "lib.greet"}),
    ("GET", "/v2/dynamic_actions/lib.greet", None),
    ("DELETE", "/v2/dynamic_actions/lib.greet", None),
]


@pytest.mark.parametrize(("method", "path", "body"), ROUTES)
def test_only_admins_work_with_code_sources_and_without_authentication_nobody_is_one(admin, member, method, path, body):
    action_and_source(admin)
    for client in (member, Client()):
        reply = client.ask(method, path, body or b"")
        assert (reply.status, reply.fault) == (403, FORBIDDEN)
    assert admin.get("/v2/code_sources/lib").json["version"] == 1
    assert admin.get("/v2/dynamic_actions/lib.greet").status == 200


def test_a_local_service_may_make_everyone_an_admin():
    local = Client(local_admin=True)
    assert source(local)["project_id"] == "<default-project>"
    assert source(local, name="open", query="&scope=public")["scope"] == "public"


def test_a_setting_for_local_services_means_nothing_where_callers_are_told_apart(member):
    stranger = Client(auth="authorizer", local_admin=True).as_project("north")
    assert stranger.get("/v2/code_sources").status == 403


# -- among all actions


def test_dynamic_actions_stand_in_the_list_of_all_actions_and_broken_ones_do_not(admin, member):
    source(admin, "class Broken(:", name="bad")
    action_and_source(admin)
    action(admin, "lib.absent", "Absent")
    action(admin, "lib.syntax", "Broken", code_source_name="bad")
    listed = member.get("/v2/actions?name=has:lib.").json["actions"]
    (row,) = [row for row in listed if row["name"].startswith("lib.")]
    assert row["name"] == "lib.greet"
    assert (row["input"], row["description"], row["is_system"]) == ("who, times=1", "Greets somebody.", False)
    assert (row["project_id"], row["scope"], row["definition"], row["tags"]) == ("north", "private", "", None)
    shown = member.get("/v2/actions/lib.greet/").json
    assert shown == row
    assert member.get(f"/v2/actions/{row['id']}").json == row
    assert member.get("/v2/actions/lib.greet/elsewhere").json == row, "the default namespace is the fallback"
    assert member.get("/v2/actions/lib.absent").status == 404


def test_a_private_dynamic_action_exists_for_its_project_only_and_a_public_one_for_all(admin):
    action_and_source(admin)
    action(admin, "lib.open", scope="public")
    stranger = admin.as_project("south")
    assert names(stranger.get("/v2/actions?name=has:lib."), "actions") == ["lib.open"]
    stranger.upload(WORKFLOW.replace("lib.greet", "lib.open"))
    assert json.loads(stranger.run("greet")["output"]) == {"said": "Hello Ada"}
    stranger.upload(WORKFLOW.replace("greet:", "hidden:", 1))
    hidden = stranger.run("hidden")
    assert (hidden["state"], "Failed to find action [action_name=lib.greet" in hidden["state_info"]) == ("ERROR", True)


# -- in workflows


def test_a_workflow_runs_a_dynamic_action(admin, member):
    action_and_source(admin)
    member.upload(WORKFLOW)
    done = member.run("greet")
    assert (done["state"], json.loads(done["output"])) == ("SUCCESS", {"said": "Hello Ada"})


def test_a_workflow_in_a_namespace_falls_back_to_the_default_one(admin, member):
    source(admin, query="&namespace=ns")
    source(admin)
    action(admin)
    action(admin, "lib.other", "Greet", namespace="ns")
    text = (
        "version: '2.0'\ngreet:\n  tasks:\n    a: {action: lib.greet who='Ada'}\n    b: {action: lib.other who='Bea'}\n"
    )
    assert member.post("/v2/workflows?namespace=ns", text).status == 201
    assert member.run("greet", workflow_namespace="ns")["state"] == "SUCCESS"


def test_an_error_result_goes_the_way_of_errors(admin, member):
    action_and_source(admin)
    admin.put("/v2/dynamic_actions", {"name": "lib.greet", "class_name": "Fail"})
    member.upload(WORKFLOW.replace(" who='Ada'", ""))
    done = member.run("greet")
    assert (done["state"], json.loads(done["output"])) == ("SUCCESS", {"said": {"code": 7}})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("class Greet(:", "Code source 'lib' cannot be compiled: invalid syntax (line 1)"),
        ("x = 1", "Code source 'lib' has no class 'Greet'"),
        (f"import absent_module\n{CLASS}    def run(self, _): pass", "No module named 'absent_module'"),
        (f"{CLASS}        raise OSError('no')\n    def run(self, _): pass", "OSError: no (code source 'lib', line 4)"),
        (f"{CLASS}    def run(self, _): return {{1}}", "returned what is not JSON"),
        (f"import sys\n{CLASS}    def run(self, _): sys.exit(1)", "SystemExit: 1 (code source 'lib', line 5)"),
        (CLASS, "is no action: it has no method run"),
    ],
)
def test_code_that_fails_is_an_error_of_the_task_with_its_reason(admin, member, text, reason):
    action_and_source(admin)
    admin.put("/v2/code_sources/lib", text)
    member.upload(WORKFLOW)
    assert reason in json.loads(member.run("greet")["output"])["said"]


def test_a_result_that_is_too_large_ends_the_task_with_the_reason(admin, member):
    action_and_source(admin)
    text = "class Greet:\n    def __init__(self, who): pass\n    def run(self, _): return 'x' * 2_000_000"
    admin.put("/v2/code_sources/lib", text)
    member.upload(WORKFLOW)
    done = member.run("greet")
    assert done["state"] == "ERROR"
    assert "size" in done["state_info"].lower()


def test_a_running_execution_uses_the_text_that_is_current_when_its_action_runs(admin, member):
    action_and_source(admin)
    member.upload(WORKFLOW)
    started = member.start("greet")
    admin.put("/v2/code_sources/lib", TEXT.replace("Hello", "Goodbye"))
    member.service.settle()
    done = member.get(f"/v2/executions/{started['id']}").json
    assert json.loads(done["output"]) == {"said": "Goodbye Ada"}


def test_a_missing_parameter_fails_the_task_before_anything_runs(admin, member):
    action_and_source(admin)
    member.upload(WORKFLOW.replace(" who='Ada'", " whom='Ada'"))
    done = member.run("greet")
    assert done["state"] == "ERROR"
    assert "missing=['who'], unexpected=['whom']" in done["state_info"]


def test_an_asynchronous_one_waits_for_its_result(admin, member):
    action_and_source(admin)
    admin.put("/v2/dynamic_actions", {"name": "lib.greet", "class_name": "Wait"})
    member.upload(WORKFLOW.replace(" who='Ada'", ""))
    started = member.run("greet")
    assert started["state"] == "RUNNING"
    (waiting,) = member.actions_of(member.tasks_of(started)["hello"])
    member.put(f"/v2/action_executions/{waiting['id']}", {"state": "SUCCESS", "output": {"by": "hand"}})
    member.service.settle()
    done = member.get(f"/v2/executions/{started['id']}").json
    assert json.loads(done["output"]) == {"said": {"by": "hand"}}


def test_an_adhoc_action_may_stand_on_a_dynamic_one_and_hide_another_of_its_name(admin, member):
    action_and_source(admin)
    text = "version: '2.0'\nlib.twice:\n  input: [who]\n  base: lib.greet\n  base-input: {who: <% $.who %>, times: 2}\n"
    assert member.post("/v2/actions", text).status == 201
    member.upload(WORKFLOW.replace("lib.greet", "lib.twice"))
    assert json.loads(member.run("greet")["output"]) == {"said": "Hello AdaHello Ada"}


# -- alone


@pytest.fixture
def working(monkeypatch):
    """An admin of a service whose executors work while somebody waits."""
    clients: list[Client] = []
    monkeypatch.setattr(ManualClock, "pause", lambda _clock, _sec: clients[0].service.settle(), raising=False)
    clients.append(Client(auth="authorizer").as_project("north", "admin"))
    return clients[0]


def run_alone(client, name="lib.greet", input=None, **params):
    return client.post("/v2/action_executions", {"name": name, "input": input or {}, "params": params})


def test_an_action_alone_is_run_by_an_executor_while_the_caller_waits(working):
    action_and_source(working)
    reply = run_alone(working, input={"who": "Ada"})
    assert reply.status == 201
    assert (reply.json["state"], json.loads(reply.json["output"])) == ("SUCCESS", {"result": "Hello Ada"})
    assert working.get("/v2/action_executions").json["action_executions"] == [], "nothing is kept"


def test_an_action_alone_is_kept_when_asked_for(working):
    action_and_source(working)
    both = run_alone(working, input={"who": "Ada"}, save_result=True, run_sync=True).json
    assert both["state"] == "SUCCESS"
    assert json.loads(working.get(f"/v2/action_executions/{both['id']}").json["output"]) == {"result": "Hello Ada"}
    saved = run_alone(working, input={"who": "Ada"}, save_result=True).json
    assert saved["state"] == "RUNNING"
    working.service.settle()
    assert working.get(f"/v2/action_executions/{saved['id']}").json["state"] == "SUCCESS"


def test_an_action_alone_that_fails_says_why(working):
    action_and_source(working)
    working.put("/v2/dynamic_actions", {"name": "lib.greet", "class_name": "Fail"})
    reply = run_alone(working)
    assert (reply.json["state"], json.loads(reply.json["output"])) == ("ERROR", {"result": {"code": 7}})
    action(working, "lib.again")
    assert "missing=['who']" in run_alone(working, "lib.again").fault


def test_the_api_itself_never_runs_what_was_uploaded(monkeypatch, admin):
    action_and_source(admin)

    def never(*_):
        raise AssertionError("the API ran a code source")

    monkeypatch.setattr(python_runner, "run_class", never)
    monkeypatch.setattr("chalicelib.services.action_runs.INLINE_TIMEOUT_SEC", 0.1)
    reply = run_alone(admin, input={"who": "Ada"})
    assert "did not end within 0.1 seconds" in json.loads(reply.json["output"])["result"]
    admin.upload(WORKFLOW)
    assert admin.start("greet")["state"] == "RUNNING"
    assert admin.get("/v2/actions?name=lib.greet").status == 200
