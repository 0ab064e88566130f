"""The scenarios of the acceptance suite that OpenStack runs on Mistral: executions, tasks and action executions."""

import json

import pytest

NOBODY = "2b8f7e1a-0000-4000-8000-000000000000"
WAITING = "{tasks: {wait: {action: std.async_noop}}}"
REVERSE = (
    "{type: reverse, input: [farewell: bye], tasks: "
    "{hello: {action: std.echo output='hi'}, goodbye: {action: std.echo output=<% $.farewell %>, requires: [hello]}}}"
)


def waiting_action(api, execution):
    """The only action execution of the only task of an execution."""
    [task] = api.read(f"executions/{execution['id']}/tasks")["tasks"]
    [action] = api.read(f"tasks/{task['id']}/action_executions")["action_executions"]
    return task, action


# -- executions


def test_an_execution_lives(api, name):
    workflow = api.workflow(name)
    execution = api.finished(name, description="first")
    assert (execution["state"], execution["description"], execution["workflow_id"]) == (
        "SUCCESS",
        "first",
        workflow["id"],
    )
    assert execution["id"] in [one["id"] for one in api.read("executions", workflow_name=name)["executions"]]
    assert api.change(f"executions/{execution['id']}", description="second")["description"] == "second"
    api.remove(f"executions/{execution['id']}")
    api.refused("GET", f"executions/{execution['id']}", 404)
    api.refused("DELETE", f"executions/{execution['id']}", 404)
    api.change(f"executions/{execution['id']}", 404, description="third")


def test_an_execution_is_started_by_the_id_of_its_workflow(api, name):
    workflow = api.workflow(name)
    assert api.make("executions", workflow_id=workflow["id"])["workflow_name"] == name
    assert api.make("executions", workflow_name=workflow["id"])["workflow_name"] == name


def test_a_reverse_workflow_runs_to_the_task_that_is_named(api, name):
    api.workflow(name, REVERSE)
    execution = api.finished(name, params={"task_name": "goodbye"}, input={"farewell": "so long"})
    assert {task["name"] for task in api.read(f"executions/{execution['id']}/tasks")["tasks"]} == {"hello", "goodbye"}
    assert api.make("executions", 400, workflow_name=name)["faultstring"]
    assert api.make("executions", 400, workflow_name=name, params={"task_name": "nowhere"})["faultstring"]


@pytest.mark.parametrize(
    ("attributes", "status"),
    [({"workflow_name": "never created"}, 404), ({"workflow_id": NOBODY}, 404), ({}, 400), ({"input": {}}, 400)],
)
def test_an_execution_needs_a_workflow(api, attributes, status):
    assert api.make("executions", status, **attributes)["faultstring"]


@pytest.mark.parametrize("given", [{"b": 1}, {}, {"a": 1, "b": 2}, "no json", [1], 7])
def test_an_execution_needs_the_input_that_is_declared(api, name, given):
    api.workflow(name, "{input: [a], tasks: {t: {action: std.noop}}}")
    assert api.make("executions", 400, workflow_name=name, input=given)["faultstring"]
    assert api.read("executions", workflow_name=name)["executions"] == []


def test_an_execution_whose_id_is_taken_is_given_back(api, name):
    api.workflow(name)
    first = api.make("executions", id=name, workflow_name=name)
    second = api.make("executions", id=name, workflow_name=name)
    assert (first["id"], second["id"], second["created_at"]) == (name, name, first["created_at"])
    assert len(api.read("executions", workflow_name=name)["executions"]) == 1


def test_an_execution_is_paused_resumed_and_stopped(api, name):
    api.workflow(name, WAITING)
    execution = api.make("executions", workflow_name=name)
    path = f"executions/{execution['id']}"
    assert execution["state"] == "RUNNING"
    assert api.change(path, state="PAUSED")["state"] == "PAUSED"
    assert json.loads(api.change(path, params={"env": {"k": "v"}})["params"])["env"] == {"k": "v"}
    assert api.change(path, state="RUNNING", params=json.dumps({"env": {"l": "w"}}))["state"] == "RUNNING"
    assert json.loads(api.read(path)["params"])["env"] == {"k": "v", "l": "w"}
    assert "Only completed executions can be deleted" in api.refused("DELETE", path, 403)
    stopped = api.change(path, state="ERROR", state_info="enough")
    assert (stopped["state"], stopped["state_info"]) == ("ERROR", "enough")
    assert (
        "Can't change workflow execution state from ERROR to PAUSED"
        in api.change(path, 400, state="PAUSED")["faultstring"]
    )


def test_an_execution_that_runs_is_deleted_by_force(api, name):
    api.workflow(name, WAITING)
    execution = api.make("executions", workflow_name=name)
    api.remove(f"executions/{execution['id']}", force="true")
    api.refused("GET", f"executions/{execution['id']}", 404)


@pytest.mark.parametrize(
    "change",
    [{}, {"state": "NOWHERE"}, {"state": "PAUSED", "description": "d"},
     {"state": "PAUSED", "params": {"env": {"a": 1}}}, {"project_id": "p"}, {"colour": "red"},
     {"params": "no json"}, {"state": 7}],
)  # fmt: skip
def test_a_wrong_change_of_an_execution_is_refused(api, name, change):
    api.workflow(name, WAITING)
    execution = api.make("executions", workflow_name=name)
    assert api.change(f"executions/{execution['id']}", 400, **change)["faultstring"]
    assert api.read(f"executions/{execution['id']}") == {**execution, **api.read(f"executions/{execution['id']}")}


def test_executions_come_in_pages_with_a_link(api, name):
    api.workflow(name)
    ids = [api.finished(name)["id"] for _ in range(3)]
    page = api.read("executions", workflow_name=name, limit=2, sort_keys="created_at", sort_dirs="asc")
    assert [one["id"] for one in page["executions"]] == ids[:2]
    behind = api.ask("GET", page["next"].rpartition("/")[2], 200)
    assert [one["id"] for one in behind["executions"]] == ids[2:]
    assert "next" not in behind


@pytest.mark.parametrize(
    ("query", "status"),
    [("limit=0", 400), ("limit=-1", 400), ("limit=many", 400), ("marker=nobody", 400), (f"marker={NOBODY}", 404),
     ("sort_keys=nothing", 400), ("sort_dirs=up", 400), ("sort_keys=id&sort_dirs=asc,asc", 400),
     ("colour=red", 400), ("nulls=nothing", 400), ("workflow_id=nobody", 400), ("params=nothing", 400)],
)  # fmt: skip
def test_a_wrong_query_is_refused(api, query, status):
    assert api.refused("GET", f"executions?{query}", status)


def test_executions_are_filtered(api, name):
    api.workflow(name)
    failing = api.workflow(f"{name}f", "{tasks: {t: {action: std.fail}}}")
    good, bad = api.finished(name), api.finished(f"{name}f")

    def ids(**query):
        found = api.read("executions", **{"workflow_name": f"has:{name}", **query})["executions"]
        return {one["id"] for one in found}

    assert ids(state="SUCCESS") == {good["id"]}
    assert ids(state="neq:SUCCESS") == {bad["id"]}
    assert ids(state="in:SUCCESS,ERROR") == {good["id"], bad["id"]}
    assert ids(workflow_id=failing["id"]) == {bad["id"]}
    assert ids(created_at=f"gte:{good['created_at']}") == {good["id"], bad["id"]}
    assert ids(created_at=f"lt:{good['created_at']}") == set()
    assert ids(nulls="task_execution_id") == {good["id"], bad["id"]}
    assert ids(state="NOWHERE") == set()


def test_the_tree_of_an_execution_is_shown(api, name):
    api.workflow(f"{name}c")
    api.workflow(name, "{tasks: {sub: {workflow: " + name + "c}}}")
    execution = api.finished(name)
    below = api.read(f"executions/{execution['id']}/executions")["executions"]
    [task] = api.read(f"executions/{execution['id']}/tasks")["tasks"]
    assert [one["workflow_name"] for one in below] == [name, f"{name}c"]
    assert [one["workflow_name"] for one in api.read(f"tasks/{task['id']}/executions")["executions"]] == [f"{name}c"]
    assert below[1]["root_execution_id"] == execution["id"]
    assert len(api.read(f"executions/{execution['id']}/executions", max_depth=0)["executions"]) == 1
    report = api.read(f"executions/{execution['id']}/report")
    assert report["statistics"]["success_tasks_count"] == report["statistics"]["total_tasks_count"] == 2
    assert api.read(f"executions/{execution['id']}/report", statistics_only="true").keys() == {"statistics"}
    api.refused("GET", "executions/nobody/report", 400)
    api.refused("GET", f"executions/{NOBODY}/report", 404)


# -- tasks


def test_tasks_are_read(api, name):
    workflow = api.workflow(name)
    execution = api.finished(name)
    [task] = api.read(f"executions/{execution['id']}/tasks")["tasks"]
    assert [one["id"] for one in api.read("tasks", workflow_execution_id=execution["id"])["tasks"]] == [task["id"]]
    assert task["id"] in [one["id"] for one in api.read("tasks", workflow_name=name)["tasks"]]
    assert api.read("tasks", workflow_id=workflow["id"], state="ERROR", workflow_name=name)["tasks"] == []
    one = api.read(f"tasks/{task['id']}")
    assert (one["name"], one["state"], json.loads(one["result"])) == ("hello", "SUCCESS", "hi")
    api.refused("GET", f"tasks/{NOBODY}", 404)
    api.refused("GET", f"executions/{NOBODY}/tasks", 404)
    assert api.refused("GET", f"tasks/{task['id']}?fields=nothing", 400)


def test_a_failed_task_is_run_again_and_skipped(api, name):
    api.workflow(name, "{tasks: {t: {action: std.fail, on-skip: after}, after: {action: std.noop}}}")
    execution = api.finished(name)
    [task] = api.read(f"executions/{execution['id']}/tasks")["tasks"]
    api.change(f"tasks/{task['id']}", state="RUNNING", reset=True)
    assert api.until(execution["id"], "ERROR")["state"] == "ERROR"
    api.change(f"tasks/{task['id']}", state="SKIPPED")
    assert api.until(execution["id"], "SUCCESS")["state"] == "SUCCESS"
    assert api.read(f"tasks/{task['id']}")["state"] == "SKIPPED"


@pytest.mark.parametrize(
    "change",
    [{"state": "RUNNING"}, {"state": "RUNNING", "reset": False}, {"state": "SUCCESS"}, {}, {"colour": 1},
     {"state": "RUNNING", "reset": "x"}, {"state": "RUNNING", "reset": True, "name": "other"},
     {"state": "SKIPPED", "workflow_name": "other"}],
)  # fmt: skip
def test_a_wrong_change_of_a_task_is_refused(api, name, change):
    api.workflow(name, "{tasks: {t: {action: std.fail}}}")
    execution = api.finished(name)
    [task] = api.read(f"executions/{execution['id']}/tasks")["tasks"]
    assert api.change(f"tasks/{task['id']}", 400, **change)["faultstring"]


def test_a_task_that_succeeded_is_not_run_again(api, name):
    api.workflow(name)
    execution = api.finished(name)
    [task] = api.read(f"executions/{execution['id']}/tasks")["tasks"]
    fault = api.change(f"tasks/{task['id']}", 400, state="RUNNING", reset=True)["faultstring"]
    assert "must be in ERROR for rerun" in fault


# -- action executions


def test_an_action_runs_on_its_own(api):
    ran = api.make("action_executions", name="std.echo", input=json.dumps({"output": "hi"}))
    assert (ran["state"], json.loads(ran["output"])) == ("SUCCESS", {"result": "hi"})
    kept = api.make(
        "action_executions", name="std.echo", input={"output": "hi"}, params={"save_result": True, "run_sync": True}
    )
    assert json.loads(api.read(f"action_executions/{kept['id']}")["output"]) == {"result": "hi"}
    assert kept["id"] in [one["id"] for one in api.read("action_executions")["action_executions"]]
    assert api.refused("DELETE", f"action_executions/{kept['id']}", 403)


def test_a_failing_action_on_its_own_says_so(api):
    ran = api.make("action_executions", name="std.fail")
    assert ran["state"] == "ERROR"
    assert json.loads(ran["output"])["result"]


def test_an_action_of_a_namespace_runs_on_its_own(api, name):
    api.write("actions", f"version: '2.0'\n{name}: {{base: std.echo, base-input: {{output: far}}}}\n", namespace="far")
    ran = api.make("action_executions", name=name, workflow_namespace="far")
    assert json.loads(ran["output"]) == {"result": "far"}
    assert api.make("action_executions", 400, name=name)["faultstring"]


@pytest.mark.parametrize(
    "attributes",
    [{}, {"name": "no.such"}, {"name": "std.echo"}, {"name": "std.echo", "input": {"output": 1, "more": 2}},
     {"name": "std.async_noop", "params": {"run_sync": True}}, {"name": "std.echo", "input": "no json"}, {"name": 7},
     {"name": "std.echo", "input": {"output": 1}, "params": {"timeout": "soon"}}],
)  # fmt: skip
def test_a_wrong_action_on_its_own_is_refused(api, attributes):
    assert api.make("action_executions", 400, **attributes)["faultstring"]


def test_an_asynchronous_action_is_completed_from_outside(api, name):
    api.workflow(name, "{output: {got: <% task(wait).result %>}, tasks: {wait: {action: std.async_noop}}}")
    execution = api.make("executions", workflow_name=name)
    task, action = waiting_action(api, execution)
    path = f"action_executions/{action['id']}"
    assert api.read(f"tasks/{task['id']}/action_executions/{action['id']}")["state"] == "RUNNING"
    for output in ([1], 7, "no json"):
        assert api.change(path, 400, state="SUCCESS", output=output)["faultstring"]
    assert api.change(path, 400, output={})["faultstring"]
    assert api.change(path, 400, state="IDLE")["faultstring"]
    done = api.change(path, state="SUCCESS", output={"answer": 42})
    assert (done["state"], done["accepted"], json.loads(done["output"])) == (
        "SUCCESS",
        True,
        {"result": {"answer": 42}},
    )
    assert json.loads(api.until(execution["id"])["output"]) == {"got": {"answer": 42}}
    assert "already completed" in api.change(path, 400, state="ERROR")["faultstring"]


def test_an_unknown_action_execution_is_not_found(api):
    api.refused("GET", f"action_executions/{NOBODY}", 404)
    api.change(f"action_executions/{NOBODY}", 404, state="SUCCESS")
    assert api.read(f"tasks/{NOBODY}/action_executions") == {"action_executions": []}


# -- the service itself


def test_the_service_says_what_it_is(api):
    root = api.url.removesuffix("/v2")
    versions = api.get(root + "/", timeout=10).json()["versions"]
    assert versions[0]["links"][0]["href"] == api.url
    assert api.read("") == {"uri": api.url}
    assert api.get(root + "/info", timeout=10).status_code == 400
    assert api.refused("GET", "services", 404)
    assert api.refused("PATCH", "workflows", 405)
