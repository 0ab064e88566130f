"""The Python API of the client, as Horizon and scripts use it: resources with attributes, exceptions with statuses."""

import json
from uuid import uuid4

import pytest
from mistralclient.api.base import APIException

from tests.client.shell import COMPLETED, eventually

WORKFLOW = """
version: '2.0'
py_greet:
  input: [who: nobody]
  output: {said: <% $.said %>}
  tasks: {greet: {action: std.echo output=<% $.who %>, publish: {said: <% task().result %>}}}
"""
WORKBOOK = """
version: '2.0'
name: py_book
workflows: {inside: {tasks: {a: {action: std.noop}}}}
"""


@pytest.fixture
def workflow(api):
    found = api.workflows.find(name="py_greet")
    return found[0] if found else api.workflows.create(WORKFLOW)[0]


def finished(api, *arguments, **options):
    execution = api.executions.create(*arguments, **options)
    eventually(lambda: api.executions.get(execution.id).state, *COMPLETED)
    return api.executions.get(execution.id)


def test_definitions_come_as_text_or_as_the_path_of_a_file(api, tmp_path):
    path = tmp_path / "book.yaml"
    path.write_text(WORKBOOK)
    created = api.workbooks.create(str(path))
    assert created.definition == WORKBOOK
    assert api.workbooks.update(WORKBOOK).id == created.id
    assert api.workbooks.get("py_book").name in {book.name for book in api.workbooks.list()}
    assert api.workbooks.validate(WORKBOOK) == {"valid": True}
    api.workbooks.delete("py_book")


def test_every_field_of_a_workflow_is_an_attribute(api, workflow):
    found = api.workflows.get("py_greet")
    assert (found.id, found.definition, found.input) == (workflow.id, WORKFLOW, 'who="nobody"')
    assert json.loads(found.interface) == {"input": [{"who": "nobody"}], "output": ["said"]}
    assert [one.id for one in api.workflows.list(name="py_greet", fields=["name"])] == [workflow.id]


def test_an_execution_carries_its_values_as_json_texts(api, workflow):
    done = finished(api, workflow.id, workflow_input={"who": "Ada"}, description="for Ada", env={"code": 7})
    assert (done.state, done.description) == ("SUCCESS", "for Ada")
    assert json.loads(done.input) == {"who": "Ada"}
    assert json.loads(done.output) == {"said": "Ada"}
    assert json.loads(done.params)["env"] == {"code": 7}
    report = api.executions.get_report(done.id, errors_only=False)
    assert report["statistics"]["success_tasks_count"] == 1
    (task,) = api.tasks.list(done.id)
    assert (task.type, json.loads(api.tasks.get(task.id).result)) == ("ACTION", "Ada")
    (action,) = api.action_executions.list(task.id)
    assert json.loads(api.action_executions.get(action.id).output) == {"result": "Ada"}
    assert [one.id for one in api.executions.get_ex_sub_executions(done.id)] == [done.id]
    api.executions.delete(done.id)


def test_executions_are_paged_by_marker(api, workflow):
    made = {finished(api, "py_greet", description="py_page").id for _number in range(3)}
    ours = {"description": "py_page", "sort_keys": "created_at,id", "sort_dirs": "desc,asc", "limit": 2}
    first = api.executions.list(**ours)
    second = api.executions.list(**ours, marker=first[-1].id)
    assert (len(first), len(second)) == (2, 1)
    assert {one.id for one in first + second} == made


def test_variables_of_an_environment_are_an_object(api):
    made = api.environments.create(name="py_env", variables={"deep": {"er": 1}})
    assert made.variables == {"deep": {"er": 1}}
    assert api.environments.update(name="py_env", variables={"code": 2}).variables == {"code": 2}
    assert api.environments.find(name="py_env")[0].scope == "private"
    api.environments.delete("py_env")


def test_actions_of_ones_own_stand_in_the_list_of_all_before_those_of_aws(api):
    (own,) = api.actions.create("version: '2.0'\npy_own: {base: std.noop}\n")
    listed = [action.name for action in api.actions.list()]
    assert not any(name.startswith("aws.") for name in listed[: listed.index("py_own")])
    api.actions.delete(own.name)


def test_triggers_are_made_from_values(api, workflow):
    cron = api.cron_triggers.create("py_cron", workflow.id, {"who": "Ada"}, {"env": {}}, "0 0 1 1 *", None, 2)
    assert (json.loads(cron.workflow_input), cron.remaining_executions) == ({"who": "Ada"}, 2)
    api.cron_triggers.delete("py_cron")
    event = api.event_triggers.create("py_event", workflow.id, "py_exchange", "topic", "event", {"who": "Ada"})
    assert api.event_triggers.get(event.id).workflow_input == event.workflow_input
    api.event_triggers.delete(event.id)


@pytest.mark.parametrize(
    ("ask", "status"),
    [
        (lambda api: api.workflows.get("py_absent"), 404),
        (lambda api: api.executions.get(str(uuid4())), 404),
        (lambda api: api.event_triggers.get("no id"), 400),
        (lambda api: api.executions.create("py_absent"), 404),
        (lambda api: api.workflows.create("no: workflow"), 400),
        (lambda api: api.workflows.create(WORKFLOW, scope="public"), 403),
        (lambda api: api.workflows.create(WORKFLOW), 409),
        (lambda api: api.members.list(str(uuid4()), "workflow"), 400),
        (lambda api: api.code_sources.list(), 403),
        (lambda api: api.dynamic_actions.list(), 403),
    ],
)
def test_an_error_is_an_exception_with_status_and_text(api, workflow, ask, status):
    with pytest.raises(APIException) as caught:
        ask(api)
    assert caught.value.error_code == status
    assert isinstance(caught.value.error_message, str)
