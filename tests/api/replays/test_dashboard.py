"""What Mistral's panels in OpenStack's dashboard ask for, through the client's library, and how they read it."""

import json
import re

import pytest
from mistralclient.api import client

from chalicelib.actions.registry import OPENSTACK_NAMESPACES
from tests.api.replays.caller import Caller

PAGE = 1000


@pytest.fixture(scope="module")
def dashboard(url):
    """The client as the dashboard makes it: with a token and a project, without an address to log in at."""
    return client.client(mistral_url=url, auth_token="a-token", project_id="a-project", service_type="workflowv2")


@pytest.fixture(scope="module")
def things(url):
    with Caller(url) as api:
        api.write("workbooks", "version: '2.0'\nname: panel\nworkflows: {w: {tasks: {t: {action: std.noop}}}}\n")
        api.workflow(
            "panel_flow", "{input: [a, b: two], tasks: {t: {action: std.echo output=<% $.a %>, publish: {x: 1}}}}"
        )
        api.write(
            "actions",
            "version: '2.0'\npanel_action: {base: std.echo, base-input: {output: <% $.x %>}, input: [x, y: 5]}\n",
        )
        api.make("cron_triggers", name="panel_cron", workflow_name="panel.w", pattern="0 0 1 1 *")
        return api.finished("panel_flow", input=json.dumps({"a": 1}), params=json.dumps({"task_name": ""}))


def written(found):
    """The names of what somebody wrote: what is made of the clients of AWS and OpenStack is listed after that."""
    made = OPENSTACK_NAMESPACES | {"aws"}
    return [one.name for one in found if one.name.partition(".")[0] not in made]


@pytest.mark.parametrize("collection", ["workbooks", "workflows", "actions"])
@pytest.mark.parametrize("direction", ["asc", "desc"])
def test_lists_are_sorted_by_name_and_come_in_pages(dashboard, things, collection, direction):
    manager = getattr(dashboard, collection)
    wanted = {"workbooks": "panel", "workflows": "panel_flow", "actions": "panel_action"}[collection]
    found = manager.list(limit=PAGE, marker="", sort_keys="name", sort_dirs=direction)
    names = written(found)
    while wanted not in names and len(found) == PAGE:
        found = manager.list(limit=PAGE, marker=found[-1].id, sort_keys="name", sort_dirs=direction)
        names += written(found)

    assert wanted in names
    assert names == sorted(names, reverse=direction == "desc")


@pytest.mark.parametrize("collection", ["executions", "tasks", "action_executions", "cron_triggers"])
def test_lists_of_what_runs_come_whole(dashboard, things, collection):
    options = {} if collection == "cron_triggers" else {"limit": PAGE, "marker": ""}
    found = getattr(dashboard, collection).list(**options)

    assert found
    assert all(one.id and one.created_at for one in found)


def test_texts_of_json_are_parsed(dashboard, things):
    execution = dashboard.executions.get(things["id"])
    [task] = dashboard.tasks.list(execution.id)
    task = dashboard.tasks.get(task.id)
    [listed] = dashboard.action_executions.list(task.id)
    action = dashboard.action_executions.get(listed.id)

    assert json.loads(execution.input) == {"a": 1, "b": "two"}
    assert json.loads(execution.params)["task_name"] == ""
    assert isinstance(json.loads(execution.output), dict)
    assert (json.loads(task.result), json.loads(task.published), task.type) == (1, {"x": 1}, "ACTION")
    assert json.loads(action.output) == {"result": 1}
    assert json.loads(action.input)["output"] == 1


def test_the_forms_are_made_of_the_texts_of_inputs(dashboard, things):
    def fields(text):
        """As the dashboard splits them: by comma, then by the equals sign."""
        return [tuple(re.split("=", part.strip(), maxsplit=1)) for part in text.split(",")]

    assert fields(dashboard.workflows.get("panel_flow").input) == [("a",), ("b", '"two"')]
    assert fields(dashboard.actions.get("panel_action").input) == [("x",), ("y", "5")]


def test_the_buttons_work(dashboard, things, name):
    text = f"version: '2.0'\n{name}: {{tasks: {{t: {{action: std.async_noop}}}}}}\n"
    assert dashboard.workflows.validate(text)["valid"]
    dashboard.workflows.create(text)
    execution = dashboard.executions.create(name, "", {}, description="of a form", task_name="")
    for state in ("PAUSED", "RUNNING", "CANCELLED"):
        assert dashboard.executions.update(execution.id, state).state == state
    assert dashboard.executions.update(execution.id, None, description="another").description == "another"
    dashboard.executions.delete(execution.id)
    action = dashboard.action_executions.create("std.echo", {"output": "hi"}, save_result=True)
    assert action.state in ("RUNNING", "SUCCESS")
    dashboard.workflows.delete(name)
