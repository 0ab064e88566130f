"""Starting, reading, changing and deleting executions through HTTP."""

import json

import pytest

from chalicelib.api.execution_changes import CHANGES
from chalicelib.services.execution_listing import EXECUTION_STATES
from tests.api.service_client import Client

ECHO = """
echo:
  input: [text, mark: "!"]
  output:
    said: <% $.said %>
  tasks:
    say:
      action: std.echo output="<% $.text %><% $.mark %>"
      publish: {said: <% task().result %>}
"""
WAITING = """
waiting:
  tasks:
    wait: {action: std.async_noop}
"""
FAILING = """
failing:
  tasks:
    fail: {action: std.fail}
"""
NESTED = """
outer:
  tasks:
    below: {workflow: inner}
inner:
  tasks:
    wait: {action: std.async_noop}
"""
UNKNOWN = "11111111-1111-4111-8111-111111111111"


@pytest.fixture
def client():
    made = Client()
    made.upload(ECHO + WAITING + FAILING + NESTED)
    return made


@pytest.fixture
def waiting(client):
    return client.start("waiting")


def path_of(execution, rest=""):
    return f"/v2/executions/{execution['id']}{rest}"


# -- starting


def test_a_start_answers_with_the_execution_its_values_as_json_texts(client):
    reply = client.post("/v2/executions", {"workflow_name": "echo", "input": {"text": "hi"}, "description": "first"})

    assert reply.status == 201
    assert reply.headers["Content-Type"] == "application/json"
    assert json.loads(reply.json["input"]) == {"text": "hi", "mark": "!"}
    assert json.loads(reply.json["params"]) == {"env": {}, "namespace": ""}
    assert json.loads(reply.json["output"]) == {"said": "hi!"}
    assert (reply.json["state"], reply.json["description"]) == ("SUCCESS", "first")
    assert reply.json["project_id"] == "<default-project>"


def test_the_keys_of_an_execution_come_in_mistrals_order(client):
    execution = client.run("echo", input={"text": "hi"})

    assert list(execution) == [
        "id", "workflow_id", "workflow_name", "workflow_namespace", "description", "tags", "params",
        "task_execution_id", "root_execution_id", "state", "state_info", "input", "output", "created_at", "updated_at",
        "project_id", "published_global",
    ]  # fmt: skip


def test_input_and_params_may_be_texts_that_hold_json(client):
    execution = client.run("echo", input='{"text": "hi"}', params='{"env": {"a": 1}}')

    assert json.loads(execution["output"]) == {"said": "hi!"}
    assert json.loads(execution["params"])["env"] == {"a": 1}


def test_the_workflow_may_be_given_by_its_id(client):
    workflow = client.get("/v2/workflows/waiting").json

    reply = client.post("/v2/executions", {"workflow_id": workflow["id"]})

    assert (reply.status, reply.json["workflow_name"]) == (201, "waiting")


def test_a_chosen_id_makes_the_start_idempotent(client):
    first = client.start("waiting", id="my-own-id")
    again = client.post("/v2/executions", {"workflow_name": "nowhere", "id": "my-own-id"})

    assert first["id"] == "my-own-id"
    assert (again.status, again.json["workflow_name"]) == (201, "waiting")
    assert len(client.get("/v2/executions").json["executions"]) == 1
    assert client.get("/v2/executions/my-own-id/tasks").status == 200
    assert [task["workflow_execution_id"] for task in client.tasks_of(first).values()] == ["my-own-id"]


def test_an_execution_based_on_another_takes_its_workflow_over_and_is_given_its_input_anew(client):
    source = client.run("echo", input={"text": "hi", "mark": "?"}, description="old")

    reply = client.post("/v2/executions", {"source_execution_id": source["id"], "input": {"text": "ho"}})

    assert reply.status == 201
    assert json.loads(reply.json["input"]) == {"text": "ho", "mark": "!"}
    assert reply.json["workflow_id"] == source["workflow_id"]
    assert reply.json["description"] == f"Based on the execution '{source['id']}'"


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({}, 400, "Workflow ID or workflow name must be provided"),
        ({"workflow_name": "nowhere"}, 404, "nowhere"),
        ({"workflow_name": "echo"}, 400, "missing=['text']"),
        ({"workflow_name": "echo", "input": {"text": 1, "x": 2}}, 400, "unexpected=['x']"),
        ({"workflow_name": "echo", "input": [1]}, 400, "Invalid input for field/attribute input"),
        ({"workflow_name": "echo", "input": "{"}, 400, "Invalid input for field/attribute input"),
        ({"workflow_name": 5}, 400, "workflow_name"),
        ({"workflow_name": "waiting", "params": {"env": "no-such-environment"}}, 400, "no-such-environment"),
        ({"workflow_name": "waiting", "params": {"env": 5}}, 400, "environment"),
        ({"workflow_name": "waiting", "project_id": "x"}, 400, "Cannot set read only field"),
        ({"workflow_name": "waiting", "colour": "red"}, 400, "Unknown attribute for argument wf_ex: colour"),
        ({"source_execution_id": UNKNOWN}, 404, UNKNOWN),
        ([], 400, "not a JSON object"),
    ],
)
def test_a_start_that_makes_no_sense_is_refused(client, body, status, words):
    reply = client.post("/v2/executions", body)

    assert (reply.status, reply.json["faultcode"]) == (status, "Client")
    assert words in reply.fault


# -- reading


def test_one_execution_may_be_narrowed_to_fields(client, waiting):
    reply = client.get(path_of(waiting, "?fields=state,INPUT"))

    assert reply.json == {"id": waiting["id"], "state": "RUNNING", "input": "{}"}


def test_an_unknown_field_is_refused_and_the_known_ones_are_named(client, waiting):
    reply = client.get(path_of(waiting, "?fields=colour"))

    assert reply.status == 400
    assert "colour" in reply.fault
    assert "state_info" in reply.fault


@pytest.mark.parametrize("identifier", [UNKNOWN, "no-id-at-all"])
@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_an_unknown_execution_is_not_found(client, method, identifier):
    assert client.ask(method, f"/v2/executions/{identifier}").status == 404


def test_what_tasks_publish_to_all_is_shown_with_the_execution(client):
    client.upload(
        "sharing:\n  vars: {own: 0}\n  tasks:\n    t:\n      action: std.noop\n      on-success:\n"
        "        publish: {global: {shared: 7}}\n"
    )

    execution = client.run("sharing")
    task = client.get(f"/v2/tasks/{client.tasks_of(execution)['t']['id']}").json

    assert json.loads(execution["published_global"]) == {"shared": 7}
    assert json.loads(task["published_global"]) == {"shared": 7}


# -- changing


def test_every_state_says_what_may_be_asked_of_it():
    assert set(CHANGES) == set(EXECUTION_STATES)


# Rows: present state; columns: RUNNING PAUSED SUCCESS ERROR CANCELLED SKIPPED. "=" is 200 and no change, "x" is 400.
MATRIX = {
    "RUNNING": ["=", "PAUSED", "SUCCESS", "ERROR", "CANCELLED", "="],
    "PAUSED": ["RUNNING", "=", "x", "=", "CANCELLED", "="],
    "SUCCESS": ["=", "x", "=", "=", "=", "="],
    "ERROR": ["=", "x", "x", "=", "=", "="],
    "CANCELLED": ["=", "x", "x", "=", "=", "="],
}
REQUESTS = ["RUNNING", "PAUSED", "SUCCESS", "ERROR", "CANCELLED", "SKIPPED"]


@pytest.mark.parametrize(
    ("present", "wanted", "expected"),
    [
        (present, wanted, expected)
        for present, row in MATRIX.items()
        for wanted, expected in zip(REQUESTS, row, strict=True)
    ],
)
def test_a_state_may_be_asked_for_as_mistral_allows(client, waiting, present, wanted, expected):
    if present != "RUNNING":
        assert client.put(path_of(waiting), {"state": present}).json["state"] == present

    reply = client.put(path_of(waiting), {"state": wanted})

    if expected == "x":
        assert reply.status == 400
        assert f"Can't change workflow execution state from {present} to {wanted}." in reply.fault
    else:
        assert reply.status == 200
        assert reply.json["state"] == (present if expected == "=" else expected)


@pytest.mark.parametrize("wanted", ["IDLE", "WAITING", "BOGUS"])
def test_a_state_that_no_one_may_ask_for_is_refused(client, waiting, wanted):
    reply = client.put(path_of(waiting), {"state": wanted})

    assert reply.status == 400
    assert reply.fault.startswith(f"Cannot change state to {wanted}.")


def test_a_forced_end_carries_its_reason(client, waiting):
    reply = client.put(path_of(waiting), {"state": "ERROR", "state_info": "enough"})

    assert (reply.json["state"], reply.json["state_info"]) == ("ERROR", "enough")
    assert json.loads(reply.json["output"]) == {"result": "enough"}


def test_a_paused_execution_resumes_with_more_environment(client, waiting):
    client.put(path_of(waiting), {"state": "PAUSED"})

    reply = client.put(path_of(waiting), {"state": "RUNNING", "params": {"env": {"a": 1}}})

    assert reply.json["state"] == "RUNNING"
    assert json.loads(reply.json["params"])["env"] == {"a": 1}


def test_environment_sent_to_a_running_execution_with_its_state_is_dropped(client, waiting):
    reply = client.put(path_of(waiting), {"state": "RUNNING", "params": {"env": {"a": 1}}})

    assert (reply.status, json.loads(reply.json["params"])["env"]) == (200, {})


def test_a_description_changes_in_any_state_and_the_answer_leaves_values_out(client):
    execution = client.run("echo", input={"text": "hi"})

    reply = client.put(path_of(execution), {"description": "better"})

    assert (reply.status, reply.json["description"]) == (200, "better")
    assert {"input", "output", "params"}.isdisjoint(reply.json)
    assert client.get(path_of(execution)).json["description"] == "better"


def test_the_environment_changes_only_while_nothing_runs(client, waiting):
    refused = client.put(path_of(waiting), {"params": {"env": {"a": 1}}})
    client.put(path_of(waiting), {"state": "PAUSED"})
    granted = client.put(path_of(waiting), {"params": {"env": {"a": {"b": 1}}}})
    merged = client.put(path_of(waiting), {"params": {"env": {"a": {"c": 2}}}, "description": "both"})

    assert refused.status == 403
    assert json.loads(granted.json["params"])["env"] == {"a": {"b": 1}}
    assert json.loads(merged.json["params"])["env"] == {"a": {"b": 1, "c": 2}}
    assert merged.json["description"] == "both"
    assert {"input", "output"}.isdisjoint(granted.json)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"state": "", "description": ""},
        {"state": "PAUSED", "description": "no"},
        {"state": "PAUSED", "params": {"env": {"a": 1}}},
        {"params": {"env": [1]}},
        {"params": "nonsense"},
    ],
)
def test_a_change_that_makes_no_sense_is_refused(client, waiting, body):
    assert client.put(path_of(waiting), body).status == 400
    assert client.get(path_of(waiting)).json["state"] == "RUNNING"


def test_pausing_and_cancelling_reach_sub_workflows(client):
    outer = client.start("outer")
    client.service.settle()

    client.put(path_of(outer), {"state": "PAUSED"})
    client.service.settle()
    paused = states_below(client, outer)
    client.put(path_of(outer), {"state": "CANCELLED"})
    client.service.settle()

    assert paused == ["PAUSED", "PAUSED"]
    assert states_below(client, outer) == ["CANCELLED", "CANCELLED"]


def states_below(client, execution):
    return [found["state"] for found in client.get(path_of(execution, "/executions")).json["executions"]]


# -- deleting


def test_a_completed_execution_is_deleted_with_its_tasks(client):
    execution = client.run("echo", input={"text": "hi"})
    task = client.tasks_of(execution)["say"]

    reply = client.delete(path_of(execution))

    assert (reply.status, reply.json) == (204, None)
    assert "Content-Type" not in reply.headers
    assert client.get(path_of(execution)).status == 404
    assert client.get(f"/v2/tasks/{task['id']}").status == 404
    assert client.get("/v2/executions").json["executions"] == []


def test_an_unfinished_execution_is_deleted_by_force_only_and_its_whole_tree_with_it(client):
    outer = client.start("outer")
    client.service.settle()
    inner = client.get(path_of(outer, "/executions")).json["executions"][1]

    refused = client.delete(path_of(outer))
    unforced = client.delete(path_of(outer, "?force=false"))
    empty = client.delete(path_of(outer, "?force="))
    forced = client.delete(path_of(outer, "?force=true"))

    assert (refused.status, unforced.status, empty.status, forced.status) == (403, 403, 403, 204)
    assert "Execution" in refused.fault
    assert client.get(path_of(inner)).status == 404
    assert client.service.table.query(inner["id"]) == []


def test_a_flag_that_is_no_word_for_yes_or_no_is_refused(client, waiting):
    assert client.delete(path_of(waiting, "?force=perhaps")).status == 400


# -- below


def test_sub_executions_come_depth_first_with_the_execution_itself(client):
    outer = client.start("outer")
    client.service.settle()

    everything = client.get(path_of(outer, "/executions")).json["executions"]
    only_itself = client.get(path_of(outer, "/executions?max_depth=0")).json["executions"]

    assert [found["workflow_name"] for found in everything] == ["outer", "inner"]
    assert everything[1]["root_execution_id"] == outer["id"]
    assert everything[1]["description"] == "sub-workflow execution"
    assert json.loads(everything[1]["params"])["root_execution_id"] == outer["id"]
    assert "output" not in everything[0]
    assert [found["workflow_name"] for found in only_itself] == ["outer"]


def test_below_a_task_are_its_sub_workflows(client):
    outer = client.start("outer")
    client.service.settle()
    task = client.tasks_of(outer)["below"]

    tree = client.get(f"/v2/tasks/{task['id']}/executions?include_output=true").json["executions"]
    listed = client.get(f"/v2/tasks/{task['id']}/workflow_executions").json["executions"]
    found = client.get(f"/v2/executions?task_execution_id={task['id']}").json["executions"]

    assert [each["workflow_name"] for each in tree] == ["inner"]
    assert "output" in tree[0]
    assert {"params", "input", "output"}.isdisjoint(listed[0])
    assert [each["id"] for each in found] == [each["id"] for each in listed] == [tree[0]["id"]]
    assert found[0]["task_execution_id"] == task["id"]


def test_only_errors_are_followed_when_asked(client):
    outer = client.start("outer")
    client.service.settle()

    found = client.get(path_of(outer, "/executions?errors_only=true")).json["executions"]

    assert [each["workflow_name"] for each in found] == ["outer"]


def test_the_report_counts_tasks_and_shows_the_tree(client):
    outer = client.start("outer")
    client.service.settle()

    report = client.get(path_of(outer, "/report")).json
    shallow = client.get(path_of(outer, "/report?max_depth=0")).json
    figures = client.get(path_of(outer, "/report?statistics_only=true")).json
    errors = client.get(path_of(outer, "/report?errors_only=true")).json

    assert report["statistics"]["total_tasks_count"] == 2
    assert report["statistics"]["running_tasks_count"] == 2
    assert report["statistics"]["estimated_time"] == -1
    task = report["root_workflow_execution"]["task_executions"][0]
    inner = task["workflow_executions"][0]
    assert task["action_executions"] == []
    assert inner["task_executions"][0]["action_executions"][0]["name"] == "std.async_noop"
    assert "task_executions" not in shallow["root_workflow_execution"]["task_executions"][0]["workflow_executions"][0]
    assert list(figures) == ["statistics"]
    assert errors["statistics"]["total_tasks_count"] == 0


def test_a_report_estimates_by_earlier_runs(client):
    for _ in range(2):
        earlier = client.start("waiting")
        client.service.pass_time(30)
        client.put(path_of(earlier), {"state": "SUCCESS"})
    running = client.start("waiting")
    client.service.pass_time(10)

    report = client.get(path_of(running, "/report")).json

    assert report["statistics"]["estimated_time"] == 20


@pytest.mark.parametrize("rest", ["/report", "/executions", "/tasks"])
def test_what_lies_below_an_unknown_execution_is_not_found_and_no_uuid_is_refused(client, rest):
    assert client.get(f"/v2/executions/{UNKNOWN}{rest}").status == 404
    assert client.get(f"/v2/executions/nonsense{rest}").status == 400


# -- who sees what


def test_an_execution_of_another_project_is_not_found():
    mine = Client(auth="authorizer").as_project("mine")
    theirs = mine.as_project("theirs")
    mine.upload(WAITING)
    execution = mine.start("waiting")
    task = mine.tasks_of(execution)["wait"]
    action = mine.actions_of(task)[0]

    paths = [
        path_of(execution), path_of(execution, "/tasks"), path_of(execution, "/report"),
        path_of(execution, "/executions"), f"/v2/tasks/{task['id']}", f"/v2/action_executions/{action['id']}",
    ]  # fmt: skip
    assert [theirs.get(path).status for path in paths] == [404] * len(paths)
    assert theirs.put(path_of(execution), {"state": "CANCELLED"}).status == 404
    assert theirs.put(f"/v2/tasks/{task['id']}", {"state": "SKIPPED"}).status == 404
    assert theirs.put(f"/v2/action_executions/{action['id']}", {"state": "SUCCESS"}).status == 404
    assert theirs.delete(path_of(execution, "?force=true")).status == 404
    assert theirs.get("/v2/executions").json == {"executions": []}
    assert theirs.get("/v2/tasks").json == {"tasks": []}
    assert theirs.get("/v2/action_executions").json == {"action_executions": []}
    assert theirs.get(f"/v2/tasks?workflow_execution_id={execution['id']}").json == {"tasks": []}
    assert theirs.get(f"/v2/executions?task_execution_id={task['id']}").json == {"executions": []}
    assert theirs.get(f"/v2/executions?root_execution_id={execution['id']}").json == {"executions": []}
    assert theirs.get(f"/v2/executions?marker={execution['id']}").status == 404
    assert theirs.post("/v2/executions", {"source_execution_id": execution["id"]}).status == 404
    assert mine.get(path_of(execution)).json["state"] == "RUNNING"


def test_without_a_vouched_identity_nothing_is_answered():
    reply = Client(auth="authorizer").get("/v2/executions", x_project_id="mine", x_roles="admin")

    assert reply.status == 401
    assert reply.headers["Server-Error-Message"] == reply.fault


def test_an_admin_sees_by_id_what_belongs_to_others():
    mine = Client(auth="authorizer").as_project("mine")
    mine.upload(WAITING)
    execution = mine.start("waiting")
    admin = mine.as_project("operations", roles="reader,admin")

    assert admin.get(path_of(execution)).json["project_id"] == "mine"
    listed = admin.get("/v2/executions?project_id=mine").json["executions"]
    assert [found["id"] for found in listed] == [execution["id"]]


@pytest.mark.parametrize("query", ["all_projects=true", "project_id=other"])
def test_only_an_admin_lists_other_projects(client, query):
    assert client.get(f"/v2/executions?{query}").status == 403


def test_no_state_is_both_granted_and_brought_about():
    assert all(effective.isdisjoint(granted) for effective, granted in CHANGES.values())
