"""Tasks through HTTP: reading, listing, rerunning and skipping."""

import json

import pytest

from tests.api.service_client import Client

WORKFLOWS = """
chain:
  tasks:
    first:
      tags: [early]
      action: std.echo output=1
      publish: {one: <% task().result %>}
      on-success: second
    second: {action: std.echo output=<% $.one %>}
items:
  tasks:
    each:
      with-items: i in <% [1, 2, 3] %>
      concurrency: 2
      action: std.echo output=<% $.i %>
failing:
  input: [way: bad]
  tasks:
    risky: {action: std.async_noop}
    other: {action: std.noop}
skipping:
  tasks:
    risky:
      action: std.fail
      on-skip: after
    after: {action: std.noop}
waiting-items:
  tasks:
    each:
      with-items: i in <% [1, 2] %>
      action: std.async_noop
"""
UNKNOWN = "11111111-1111-4111-8111-111111111111"


@pytest.fixture
def client():
    made = Client()
    made.upload(WORKFLOWS)
    return made


def path_of(task, rest=""):
    return f"/v2/tasks/{task['id']}{rest}"


@pytest.fixture
def failed(client):
    """A task in ERROR; its execution is in ERROR too."""
    execution = client.run("skipping")
    assert execution["state"] == "ERROR"
    return client.tasks_of(execution)["risky"]


def state_of(client, task):
    return client.get(f"/v2/executions/{task['workflow_execution_id']}").json["state"]


# -- reading


def test_a_task_is_shown_with_its_result_in_mistrals_order(client):
    task = client.get(path_of(client.tasks_of(client.run("chain"))["first"])).json

    assert list(task) == [
        "id", "name", "type", "workflow_name", "workflow_namespace", "workflow_id", "workflow_execution_id", "tags",
        "state", "state_info", "project_id", "runtime_context", "result", "published", "processed", "created_at",
        "updated_at", "started_at", "finished_at",
    ]  # fmt: skip
    assert (task["name"], task["type"], task["state"], task["processed"]) == ("first", "ACTION", "SUCCESS", True)
    assert json.loads(task["result"]) == 1
    assert json.loads(task["published"]) == {"one": 1}
    assert task["tags"] == ["early"]


def test_a_result_that_is_null_is_a_result(client):
    task = client.get(path_of(client.tasks_of(client.run("failing"))["other"])).json
    assert (task["state"], task["result"]) == ("SUCCESS", "null")


def test_a_list_of_tasks_has_no_results(client):
    execution = client.run("chain")
    task = client.tasks_of(execution)["first"]

    assert "result" not in task
    assert json.loads(task["published"]) == {"one": 1}


def test_a_task_says_what_led_to_it(client):
    tasks = client.tasks_of(client.run("chain"))

    context = json.loads(tasks["second"]["runtime_context"])

    assert context["triggered_by"] == [{"task_id": tasks["first"]["id"], "event": "on-success"}]


def test_a_with_items_task_says_how_many_items_it_has_and_gives_all_results(client):
    task = client.get(path_of(client.tasks_of(client.run("items"))["each"])).json

    assert json.loads(task["result"]) == [1, 2, 3]
    assert json.loads(task["runtime_context"])["with_items"]["count"] == 3
    assert len(client.actions_of(task)) == 3


def test_a_task_may_be_narrowed_to_fields(client):
    task = client.tasks_of(client.run("chain"))["first"]

    assert client.get(path_of(task, "?fields=result")).json == {"id": task["id"], "result": "1"}
    assert client.get(path_of(task, "?fields=colour")).status == 400


@pytest.mark.parametrize("identifier", [UNKNOWN, "nonsense"])
def test_an_unknown_task_is_not_found(client, identifier):
    assert client.get(f"/v2/tasks/{identifier}").status == 404
    assert client.put(f"/v2/tasks/{identifier}", {"state": "SKIPPED"}).status == 404


def test_an_execution_id_is_no_task_id(client):
    execution = client.run("chain")

    assert client.get(f"/v2/tasks/{execution['id']}").status == 404


# -- listing


def test_tasks_of_an_execution_are_paged_over_the_flat_list(client):
    execution = client.run("chain")

    page = client.get(f"/v2/executions/{execution['id']}/tasks?limit=1").json
    after = client.get(page["next"].removeprefix("http://mistral.test")).json

    assert page["next"].startswith("http://mistral.test/v2/tasks?sort_keys=created_at,id&sort_dirs=asc,asc&")
    assert f"workflow_execution_id=eq:{execution['id']}" in page["next"]
    assert {page["tasks"][0]["name"], after["tasks"][0]["name"]} == {"first", "second"}


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("name=first", {"first"}),
        ("state=SUCCESS", {"first", "second"}),
        ("state=ERROR", set()),
        ("tags=early", {"first"}),
        ("processed=true", {"first", "second"}),
        ("processed=0", set()),
        ('published={"one": 1}', {"first"}),
        ("workflow_name=chain", {"first", "second"}),
        ("workflow_name=items", set()),
        ("name=neq:first", {"second"}),
    ],
)
def test_filters_choose_tasks(client, query, names):
    execution = client.run("chain")

    for path in (f"/v2/executions/{execution['id']}/tasks", "/v2/tasks"):
        reply = client.get(f"{path}?{query.replace(' ', '%20')}")
        assert {task["name"] for task in reply.json["tasks"]} == names


@pytest.mark.parametrize("query", ["result=1", "reset=true", 'env={"a":1}', "colour=red", "workflow_id=nonsense"])
def test_a_filter_on_what_is_not_kept_is_refused(client, query):
    assert client.get(f"/v2/tasks?{query}").status == 400


def test_tasks_without_an_execution_are_those_of_the_newest_executions(client):
    client.run("chain")
    client.run("items")

    names = [task["name"] for task in client.get("/v2/tasks").json["tasks"]]

    assert sorted(names) == ["each", "first", "second"]


# -- rerunning and skipping


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"state": "RUNNING", "reset": True, "name": "wrong"}, "Task name does not match"),
        ({"state": "RUNNING", "reset": True, "workflow_name": "wrong"}, "Workflow name does not match"),
        ({"state": "SUCCESS"}, "Invalid task state"),
        ({}, "Invalid task state"),
        ({"state": "RUNNING"}, "Reset field is mandatory"),
        ({"state": "RUNNING", "reset": False}, "Only with-items task"),
        ({"state": "RUNNING", "reset": "perhaps"}, "reset"),
        ({"state": "RUNNING", "reset": True, "env": [1]}, "env"),
    ],
)
def test_a_change_of_a_task_that_makes_no_sense_is_refused(client, failed, body, words):
    reply = client.put(path_of(failed), body)

    assert reply.status == 400
    assert words in reply.fault
    assert state_of(client, failed) == "ERROR"


def test_only_a_failed_task_runs_again(client):
    task = client.tasks_of(client.run("chain"))["first"]

    reply = client.put(path_of(task), {"state": "RUNNING", "reset": True})

    assert reply.status == 400
    assert "must be in ERROR" in reply.fault


def test_a_failed_task_runs_again_with_more_environment(client):
    execution = client.start("failing")
    task = client.tasks_of(execution)["risky"]
    action = client.actions_of(task)[0]
    client.put(f"/v2/action_executions/{action['id']}", {"state": "ERROR"})
    client.service.settle()
    assert state_of(client, task) == "ERROR"

    reply = client.put(path_of(task), {"id": task["id"], "state": "RUNNING", "reset": True, "env": '{"a": 1}'})
    client.service.settle()
    again = next(found for found in client.actions_of(task) if found["state"] == "RUNNING")
    client.put(f"/v2/action_executions/{again['id']}", {"state": "SUCCESS", "output": {"x": 1}})
    client.service.settle()

    shown = client.get(f"/v2/executions/{execution['id']}").json
    assert reply.status == 200
    assert "result" in reply.json
    assert shown["state"] == "SUCCESS"
    assert json.loads(shown["params"])["env"] == {"a": 1}


def test_a_with_items_task_may_run_only_its_failed_items_again(client):
    task = client.tasks_of(client.start("waiting-items"))["each"]
    good, bad = client.actions_of(task)
    client.put(f"/v2/action_executions/{good['id']}", {"state": "SUCCESS"})
    client.put(f"/v2/action_executions/{bad['id']}", {"state": "ERROR"})
    client.service.settle()

    reply = client.put(path_of(task), {"state": "RUNNING", "reset": False})
    client.service.settle()

    assert reply.status == 200
    assert sorted(action["state"] for action in client.actions_of(task)) == ["ERROR", "RUNNING", "SUCCESS"]


def test_a_skipped_task_lets_the_workflow_go_on(client, failed):
    reply = client.put(path_of(failed), {"state": "SKIPPED"})
    client.service.settle()

    task = client.get(path_of(failed)).json
    assert reply.status == 200
    assert (task["state"], task["state_info"]) == ("SKIPPED", "Task was skipped.")
    assert state_of(client, failed) == "SUCCESS"
    assert "after" in client.tasks_of({"id": failed["workflow_execution_id"]})


def test_environment_for_a_rerun_waits_until_nothing_runs(client):
    client.upload("both:\n  tasks:\n    bad: {action: std.fail}\n    long: {action: std.async_noop}\n")
    execution = client.start("both")
    client.service.settle()
    task = client.tasks_of(execution)["bad"]

    reply = client.put(path_of(task), {"state": "RUNNING", "reset": True, "env": {"a": 1}})

    assert reply.status == 403


def test_a_failed_task_of_a_paused_execution_stays_as_it_is(client):
    client.upload("both:\n  tasks:\n    bad: {action: std.fail}\n    long: {action: std.async_noop}\n")
    execution = client.start("both")
    client.service.settle()
    client.put(f"/v2/executions/{execution['id']}", {"state": "PAUSED"})
    task = client.tasks_of(execution)["bad"]

    reply = client.put(path_of(task), {"state": "RUNNING", "reset": True})

    assert (reply.status, reply.json["state"]) == (200, "ERROR")


def test_tasks_cannot_be_deleted(client, failed):
    assert client.delete(path_of(failed)).status == 405
