"""What CloudFlow, a web interface for Mistral, asks for: the same paths, arguments and fields, and what it reads."""

import json

import pytest
import yaml

WORKFLOWS = """
child{n}:
  tasks:
    work: {{action: std.echo output='done'}}
flow{n}:
  tasks:
    first:
      action: std.noop
      on-success: [second, broken]
    second:
      workflow: child{n}
    broken:
      action: std.fail
      on-error: repaired
    repaired:
      action: std.echo output='repaired'
"""
LISTED = "workflow_name,created_at,state,task_execution_id,updated_at"
TASKS = (
    "state_info,created_at,name,runtime_context,workflow_name,state,updated_at,workflow_execution_id,workflow_id,"
    "type,started_at,finished_at"
)


@pytest.fixture
def execution(api, name):
    api.write("workflows", "version: '2.0'\n" + WORKFLOWS.format(n=name))
    return api.finished(f"flow{name}")


def test_the_page_of_executions_sorts_by_any_column_and_then_by_name(api, execution):
    for column in ("created_at", "workflow_name", "state", "updated_at"):
        for direction in ("asc", "desc"):
            page = api.read("executions", limit=100, fields=LISTED, sort_keys=f"{column},name", sort_dirs=direction)
            assert {key for one in page["executions"] for key in one} == {"id", *LISTED.split(",")}
            values = [one[column] for one in page["executions"]]
            assert values == sorted(values, reverse=direction == "desc")


def test_the_page_is_continued_from_the_marker_of_the_link(api, execution):
    seen: list[str] = []
    query = {"limit": 2, "fields": LISTED, "sort_keys": "created_at,name", "sort_dirs": "desc"}
    everything = [one["id"] for one in api.read("executions", **{**query, "limit": 1000})["executions"]]
    marker = None
    while True:
        page = api.read("executions", **query, **({"marker": marker} if marker else {}))
        seen += [one["id"] for one in page["executions"]]
        if "next" not in page:
            break
        marker = page["next"].partition("marker=")[2].partition("&")[0]

    assert seen == everything


def test_roots_are_told_from_children(api, execution):
    [child] = [
        one for one in api.read("executions", limit=100, fields=LISTED)["executions"]
        if one["task_execution_id"] and one["workflow_name"].endswith(execution["workflow_name"][4:])
    ]  # fmt: skip

    assert execution["task_execution_id"] is None
    assert api.read(f"tasks/{child['task_execution_id']}")["name"] == "second"


def test_the_graph_of_an_execution_is_drawn(api, execution):
    found = api.read(f"executions/{execution['id']}/tasks", fields=TASKS)["tasks"]
    by_id = {task["id"]: task for task in found}
    arrows = {
        (by_id[trigger["task_id"]]["name"], trigger["event"], task["name"])
        for task in found
        for trigger in json.loads(task["runtime_context"]).get("triggered_by", [])
    }
    workflow = api.read(f"workflows/{found[0]['workflow_id']}")

    assert {key for task in found for key in task} == {"id", *TASKS.split(",")}
    assert arrows == {
        ("first", "on-success", "second"),
        ("first", "on-success", "broken"),
        ("broken", "on-error", "repaired"),
    }
    assert yaml.safe_load(workflow["definition"])[workflow["name"]]["tasks"].keys() == {
        "first", "second", "broken", "repaired",
    }  # fmt: skip


def test_a_task_is_opened(api, execution):
    tasks = {task["name"]: task["id"] for task in api.read(f"executions/{execution['id']}/tasks")["tasks"]}
    task = api.read(f"tasks/{tasks['repaired']}")
    fields = "name,state,created_at,updated_at"
    [action] = api.read(f"tasks/{tasks['repaired']}/action_executions", fields=fields)["action_executions"]
    whole = api.read(f"action_executions/{action['id']}")
    fields = "state,workflow_name,created_at,updated_at"
    [child] = api.read("executions", task_execution_id=tasks["second"], fields=fields)["executions"]

    assert (json.loads(task["result"]), task["type"]) == ("repaired", "ACTION")
    assert action.keys() == {"id", "name", "state", "created_at", "updated_at"}
    assert json.loads(whole["output"]) == {"result": "repaired"}
    assert child["state"] == "SUCCESS"


def test_an_unknown_execution_is_told_as_unknown(api):
    assert "not found" in api.refused("GET", "executions/2b8f7e1a-0000-4000-8000-000000000000", 404)
