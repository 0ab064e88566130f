"""Action executions through HTTP: those of tasks, results that come from outside, and actions that run on their own."""

import json

import pytest

from tests.api.service_client import Client

WORKFLOWS = """
waiting:
  output: {came: <% $.get(came) %>}
  tasks:
    wait:
      action: std.async_noop
      publish: {came: <% task().result %>}
    echo: {action: std.echo output=5}
nested:
  tasks:
    below: {workflow: waiting}
dropping:
  tasks:
    items:
      with-items: i in <% [1, 2] %>
      action: std.echo output=<% $.i %>
      keep-result: false
"""
AD_HOC = """
version: "2.0"
greet:
  input: [name, mark: "!"]
  base: std.echo
  base-input: {output: "Hello <% $.name %><% $.mark %>"}
  output: {greeting: <% $ %>}
greet-twice:
  input: [name]
  base: greet
  base-input: {name: "<% $.name %> <% $.name %>"}
circle: {base: circle2}
circle2: {base: circle}
"""
UNKNOWN = "11111111-1111-4111-8111-111111111111"


@pytest.fixture
def client():
    made = Client(allow_action_execution_deletion=True)
    made.upload(WORKFLOWS)
    assert made.post("/v2/actions", AD_HOC, content_type="text/plain").status == 201
    return made


@pytest.fixture
def waiting(client):
    """An asynchronous action execution that waits for its result."""
    tasks = client.tasks_of(client.start("waiting"))
    return client.actions_of(tasks["wait"])[0]


def path_of(action):
    return f"/v2/action_executions/{action['id']}"


def run(client, name, **attributes):
    return client.post("/v2/action_executions", {"name": name, **attributes})


def as_values(action):
    return json.loads(action["output"]) if action["output"] is not None else None


# -- reading


def test_an_action_execution_is_shown_in_mistrals_order(client, waiting):
    action = client.get(path_of(waiting)).json

    assert list(action) == [
        "id", "workflow_name", "workflow_namespace", "task_name", "task_execution_id", "state", "state_info", "tags",
        "name", "description", "project_id", "accepted", "input", "output", "created_at", "updated_at",
    ]  # fmt: skip
    assert (action["state"], action["accepted"], action["output"]) == ("RUNNING", False, None)
    assert (action["task_name"], action["workflow_name"]) == ("wait", "waiting")


def test_output_is_listed_only_when_asked_for(client, waiting):
    task_id = waiting["task_execution_id"]

    plain = client.get(f"/v2/action_executions?task_execution_id={task_id}").json["action_executions"]
    of_task = client.get(f"/v2/tasks/{task_id}/action_executions").json["action_executions"]
    flagged = client.get(f"/v2/tasks/{task_id}/action_executions?include_output=1").json["action_executions"]

    assert plain == of_task
    assert "output" not in plain[0]
    assert "output" in flagged[0]


def test_an_item_is_shown_alone_as_it_is_in_a_list(client):
    tasks = client.tasks_of(client.start("dropping"))
    listed = client.get(f"/v2/tasks/{tasks['items']['id']}/action_executions?include_output=true").json

    for action in listed["action_executions"]:
        shown = client.get(path_of(action)).json
        assert (action["accepted"], action["output"]) == (shown["accepted"], shown["output"]) == (True, "{}")


def test_the_action_executions_of_an_unknown_task_are_none(client):
    assert client.get(f"/v2/tasks/{UNKNOWN}/action_executions").json == {"action_executions": []}
    assert client.get("/v2/tasks/nonsense/action_executions").status == 400


def test_a_sub_workflow_is_no_action_execution(client):
    tasks = client.tasks_of(client.start("nested"))

    assert client.actions_of(tasks["below"]) == []


def test_an_action_execution_is_found_below_its_task_too(client, waiting):
    reply = client.get(f"/v2/tasks/{waiting['task_execution_id']}/action_executions/{waiting['id']}")

    assert reply.json == client.get(path_of(waiting)).json


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@pytest.mark.parametrize("identifier", [UNKNOWN, "nonsense", "c4bb86c3-d1c4-4710-bc34-420000000000"])
def test_an_unknown_action_execution_is_not_found(client, method, identifier):
    body = {"state": "SUCCESS"} if method == "PUT" else b""

    assert client.ask(method, f"/v2/action_executions/{identifier}", body).status == 404


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("name=std.echo", ["std.echo"]),
        ("accepted=true", ["std.echo"]),
        ("accepted=false", ["std.async_noop"]),
        ("state=RUNNING", ["std.async_noop"]),
        ("task_name=wait", ["std.async_noop"]),
        ('input={"output": 5}', ["std.echo"]),
        ('output={"result": 5}', ["std.echo"]),
        ("workflow_name=has:ait&sort_keys=name", ["std.async_noop", "std.echo"]),
        ("workflow_name=other", []),
    ],
)
def test_filters_choose_action_executions(client, query, names):
    client.run("waiting")

    found = client.get(f"/v2/action_executions?{query.replace(' ', '%20')}").json["action_executions"]

    assert [action["name"] for action in found] == names


def test_params_are_not_kept_and_cannot_be_filtered_by(client):
    assert client.get('/v2/action_executions?params={"a":1}').status == 400


# -- results from outside


@pytest.mark.parametrize(
    ("state", "output", "kept"),
    [
        ("SUCCESS", {"a": 1}, {"result": {"a": 1}}),
        ("SUCCESS", '{"a": 1}', {"result": {"a": 1}}),
        ("SUCCESS", None, {"result": {}}),
        ("ERROR", {"why": "x"}, {"result": {"why": "x"}}),
        ("ERROR", None, {"result": "Unknown error"}),
        ("CANCELLED", {"a": 1}, {"result": None}),
    ],
)
def test_a_result_from_outside_completes_the_action(client, waiting, state, output, kept):
    reply = client.put(path_of(waiting), {"state": state, **({} if output is None else {"output": output})})

    assert (reply.status, reply.json["state"], reply.json["accepted"]) == (200, state, True)
    assert as_values(reply.json) == kept


def test_the_workflow_goes_on_with_a_result_from_outside(client):
    execution = client.start("waiting")
    action = client.actions_of(client.tasks_of(execution)["wait"])[0]

    client.put(path_of(action), {"state": "SUCCESS", "output": {"a": 1}})
    client.service.settle()

    shown = client.get(f"/v2/executions/{execution['id']}").json
    assert shown["state"] == "SUCCESS"
    assert json.loads(shown["output"]) == {"came": {"a": 1}}


# Rows: present state; columns: RUNNING PAUSED SUCCESS ERROR CANCELLED.
MATRIX = {
    "RUNNING": [200, 200, 200, 200, 200],
    "PAUSED": [200, 200, 200, 200, 200],
    "SUCCESS": [400, 400, 400, 400, 400],
    "ERROR": [200, 400, 400, 400, 400],
    "CANCELLED": [200, 400, 400, 400, 400],
}
REQUESTS = ["RUNNING", "PAUSED", "SUCCESS", "ERROR", "CANCELLED"]


@pytest.mark.parametrize(
    ("present", "wanted", "status"),
    [(present, wanted, row[place]) for present, row in MATRIX.items() for place, wanted in enumerate(REQUESTS)],
)
@pytest.mark.parametrize("on_its_own", [False, True])
def test_an_action_execution_may_become_what_mistral_allows(  # noqa: PLR0917
    client, waiting, present, wanted, status, on_its_own
):
    action = run(client, "std.async_noop").json if on_its_own else waiting
    if present != "RUNNING":
        assert client.put(path_of(action), {"state": present}).json["state"] == present

    reply = client.put(path_of(action), {"state": wanted})

    assert reply.status == status
    assert client.get(path_of(action)).json["state"] == (wanted if status == 200 else present)


@pytest.mark.parametrize("body", [{}, {"state": "IDLE"}, {"state": "SKIPPED"}, {"state": "SUCCESS", "output": [1]}])
def test_a_result_that_makes_no_sense_is_refused(client, waiting, body):
    assert client.put(path_of(waiting), body).status == 400
    assert client.get(path_of(waiting)).json["state"] == "RUNNING"


@pytest.mark.parametrize("output", [5, "words", True])
def test_an_output_is_an_object(client, waiting, output):
    assert client.put(path_of(waiting), {"state": "SUCCESS", "output": output}).status == 400


# -- on their own


def test_an_action_runs_at_once_and_leaves_nothing(client):
    reply = run(client, "std.echo", input={"output": 1})

    assert reply.status == 201
    assert (reply.json["state"], as_values(reply.json)) == ("SUCCESS", {"result": 1})
    assert [reply.json[name] for name in ("id", "created_at", "project_id", "accepted")] == [None] * 4
    assert client.get("/v2/action_executions").json == {"action_executions": []}


def test_a_failing_action_is_answered_as_one_that_ran(client):
    reply = run(client, "std.fail")

    assert (reply.status, reply.json["state"]) == (201, "ERROR")
    assert "Fail action" in as_values(reply.json)["result"]


def test_a_saved_action_runs_later_and_is_found(client):
    reply = run(client, "std.echo", input={"output": 1}, params={"save_result": True}, description="mine")
    before = client.get(path_of(reply.json)).json
    client.service.settle()
    after = client.get(path_of(reply.json)).json

    assert (reply.status, before["state"], before["output"]) == (201, "RUNNING", None)
    assert (after["state"], as_values(after), after["accepted"]) == ("SUCCESS", {"result": 1}, True)
    assert after["description"] == "mine"
    listed = client.get("/v2/action_executions?include_output=1").json["action_executions"]
    assert [found["id"] for found in listed] == [reply.json["id"]]
    assert client.get("/v2/executions").json == {"executions": []}


def test_both_saved_and_synchronous_is_final_at_once(client):
    reply = run(client, "std.echo", input={"output": 1}, params='{"save_result": true, "run_sync": true}')

    assert as_values(reply.json) == {"result": 1}
    assert as_values(client.get(path_of(reply.json)).json) == {"result": 1}
    assert reply.json["created_at"][10] == " "


def test_a_message_that_comes_twice_runs_an_action_once(client):
    reply = run(client, "std.echo", input={"output": 1}, params={"save_result": True})
    client.service.settle()
    before = client.get(path_of(reply.json)).json
    client.service.pass_time(60)

    client.service.container.action_runs.run(reply.json["id"])

    assert client.get(path_of(reply.json)).json == before


def test_an_asynchronous_action_is_kept_until_its_result_comes(client):
    reply = run(client, "std.async_noop")
    client.service.settle()
    waiting = client.get(path_of(reply.json)).json

    done = client.put(path_of(reply.json), {"state": "SUCCESS", "output": {"a": 1}})

    assert waiting["state"] == "RUNNING"
    assert as_values(done.json) == {"result": {"a": 1}}


def test_an_ad_hoc_action_sees_its_own_input_only(client):
    reply = run(client, "greet-twice", input={"name": "Ada"})

    assert as_values(reply.json) == {"result": {"greeting": "Hello Ada Ada!"}}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "at least action name"),
        ({"name": "std.ecko"}, "std.echo"),
        ({"name": "std.echo"}, "missing=['output']"),
        ({"name": "std.echo", "input": {"output": 1, "x": 2}}, "unexpected=['x']"),
        ({"name": "greet"}, "missing=['name']"),
        ({"name": "circle"}, "cycle"),
        ({"name": "std.async_noop", "params": {"run_sync": True}}, "synchronous"),
        ({"name": "std.async_noop", "params": {"target": "nowhere"}}, "nowhere"),
        ({"name": "std.noop", "params": {"timeout": "soon"}}, "timeout"),
        ({"name": "std.noop", "params": {"timeout": -1}}, "timeout"),
        ({"name": "std.noop", "input": [1]}, "input"),
        ({"name": "std.noop", "colour": "red"}, "colour"),
    ],
)
def test_an_action_that_cannot_be_run_is_refused(client, body, words):
    reply = client.post("/v2/action_executions", body)

    assert reply.status == 400
    assert words in reply.fault
    assert client.get("/v2/action_executions").json == {"action_executions": []}


# -- deleting


def test_action_executions_are_not_deleted_unless_the_deployment_allows_it():
    client = Client()
    reply = run(client, "std.noop", params={"save_result": True, "run_sync": True})

    assert client.delete(path_of(reply.json)).status == 403


def test_one_that_ran_on_its_own_is_deleted_when_it_has_completed(client):
    running = run(client, "std.async_noop").json
    done = run(client, "std.noop", params={"save_result": True, "run_sync": True}).json

    assert client.delete(path_of(running)).status == 403
    assert client.delete(path_of(done)).status == 204
    assert client.get(path_of(done)).status == 404


def test_one_of_a_task_is_never_deleted(client, waiting):
    assert client.delete(path_of(waiting)).status == 403


def test_one_of_another_project_is_not_found():
    mine = Client(auth="authorizer").as_project("mine")
    theirs = mine.as_project("theirs")
    action = run(mine, "std.async_noop").json

    assert theirs.get(path_of(action)).status == 404
    assert theirs.put(path_of(action), {"state": "SUCCESS"}).status == 404
    assert theirs.get("/v2/action_executions").json == {"action_executions": []}
    assert mine.get(path_of(action)).json["state"] == "RUNNING"
