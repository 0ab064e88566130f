"""Every method of every manager of the client's Python API, on a service that tells projects apart."""

import json

import pytest
from mistralclient.api import client
from mistralclient.api.v2.client import Client

from tests.client.shell import COMPLETED, eventually
from tests.client.tour import ACTION, SOURCE, WORKBOOK, WORKFLOW
from tests.docs_service import serving_projects

# What managers inherit and what asks for nothing.
_HELPERS = {"resource_class", "get_contents_if_file"}
SETTINGS = {"MISTRAL_ALLOW_ACTION_EXECUTION_DELETION": "true"}


class Noting:
    """A client that notes which methods of which manager were called."""

    def __init__(self, url):
        self._client = client.client(mistral_url=url)
        self.called = set()

    def __getattr__(self, manager):
        return _NotingManager(manager, getattr(self._client, manager), self.called)


class _NotingManager:
    def __init__(self, name, manager, called):
        self._name, self._manager, self._called = name, manager, called

    def __getattr__(self, method):
        self._called.add((self._name, method))
        return getattr(self._manager, method)


@pytest.fixture(scope="module")
def users():
    with serving_projects("--storage", "memory", settings=SETTINGS) as urls:
        yield Noting(urls["admin"]), Noting(urls["demo"])


def documents(api):
    for manager, text, name in (
        (api.workbooks, WORKBOOK, "toured_book"),
        (api.workflows, WORKFLOW, "toured"),
        (api.actions, ACTION, "toured_echo"),
    ):
        assert manager.validate(text) == {"valid": True}
        manager.create(text)
        manager.update(text)
        assert manager.get(name).name == name
        assert name in {one.name for one in manager.list()}
        assert [one.name for one in manager.find(name=name)] == [name]


def environments(api):
    assert api.environments.create(name="toured", variables={"colour": "blue"}).variables == {"colour": "blue"}
    assert api.environments.update(name="toured", variables={"colour": "red"}).variables == {"colour": "red"}
    assert api.environments.get("toured").scope == "private"
    assert [one.name for one in api.environments.list()] == [one.name for one in api.environments.find(name="toured")]
    api.environments.delete("toured")


def executions(api):
    execution = api.executions.create("toured", workflow_input={"way": "good"})
    (task,) = api.tasks.list(execution.id)
    (action,) = api.action_executions.list(task.id)
    assert api.action_executions.get(action.id).state == "RUNNING"
    api.action_executions.update(action.id, state="ERROR", output={"no": 1})
    assert eventually(lambda: api.executions.get(execution.id).state, *COMPLETED) == "ERROR"
    api.tasks.rerun(task.id, reset=True)
    (waiting,) = [one for one in api.action_executions.list(task.id) if one.state == "RUNNING"]
    api.action_executions.update(waiting.id, state="SUCCESS", output={"yes": 1})
    assert eventually(lambda: api.executions.get(execution.id).state, *COMPLETED) == "SUCCESS"
    (below,) = api.tasks.find(name="below")
    (inner,) = api.tasks.get_task_sub_executions(below.id)
    assert [one.id for one in api.executions.get_ex_sub_executions(execution.id)] == [execution.id, inner.id]
    assert api.tasks.get(below.id).type == "WORKFLOW"
    assert api.executions.get_report(execution.id)["statistics"]["total_tasks_count"] == 0, "errors only"
    assert api.executions.update(execution.id, None, description="toured").description == "toured"
    assert [one.id for one in api.executions.find(description="toured")] == [execution.id]
    assert execution.id in {one.id for one in api.executions.list()}
    api.executions.delete(execution.id)


def actions_alone(api):
    assert json.loads(api.action_executions.create("std.echo", {"output": 1}).output) == {"result": 1}
    saved = api.action_executions.create("std.async_noop", save_result=True)
    api.action_executions.update(saved.id, state="SUCCESS")
    assert [one.state for one in api.action_executions.find(id=saved.id)] == ["SUCCESS"]
    api.action_executions.delete(saved.id)


def triggers(api):
    workflow = api.workflows.get("toured")
    api.cron_triggers.create("toured", workflow.id, pattern="0 0 1 1 *")
    assert api.cron_triggers.get("toured").workflow_name == "toured"
    assert [one.name for one in api.cron_triggers.list()] == [one.name for one in api.cron_triggers.find(name="toured")]
    api.cron_triggers.delete("toured")
    made = api.event_triggers.create("toured", workflow.id, "exchange", "topic", "event")
    assert api.event_triggers.get(made.id).name == "toured"
    assert [one.id for one in api.event_triggers.list()] == [one.id for one in api.event_triggers.find(name="toured")]
    api.event_triggers.delete(made.id)


def members(api, other):
    workflow = api.workflows.get("toured")
    api.members.create(workflow.id, "workflow", "demo")
    assert other.members.update(workflow.id, "workflow", "demo", status="accepted").status == "accepted"
    assert api.members.get(workflow.id, "workflow", "demo").member_id == "demo"
    assert [one.member_id for one in api.members.list(workflow.id, "workflow")] == ["demo"]
    api.members.delete(workflow.id, "workflow", "demo")


def sources(api):
    code = api.code_sources.create("toured", SOURCE)
    assert api.code_sources.update("toured", SOURCE).version == 2
    assert api.code_sources.get(code.id).content == SOURCE
    assert [one.id for one in api.code_sources.list()] == [one.id for one in api.code_sources.find(name="toured")]
    made = api.dynamic_actions.create("toured.double", "Double", "toured")
    assert api.dynamic_actions.update(made.id, code_source=code.id).class_name == "Double"
    assert api.dynamic_actions.get("toured.double").code_source_id == code.id
    assert [one.id for one in api.dynamic_actions.list()] == [made.id]
    assert [one.id for one in api.dynamic_actions.find(class_name="Double")] == [made.id]
    assert json.loads(api.action_executions.create("toured.double", {"number": 3}).output) == {"result": 6}
    api.dynamic_actions.delete("toured.double")
    api.code_sources.delete("toured")


def test_every_method_of_every_manager_works(users):
    api, other = users
    documents(api)
    environments(api)
    executions(api)
    actions_alone(api)
    triggers(api)
    members(api, other)
    sources(api)
    api.workbooks.delete("toured_book")
    api.workflows.delete("toured")
    api.actions.delete("toured_echo")
    every = {
        (manager, method)
        for manager, made in Client.MANAGERS.items()
        for method in dir(made)
        if not method.startswith("_") and callable(getattr(made, method)) and method not in _HELPERS
    }
    assert len(Client.MANAGERS) == 12
    # A member is found in the list of one workflow: `find` cannot say of which.
    assert every - api.called - other.called == {("members", "find")}
