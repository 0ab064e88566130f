"""Tasks and action executions through the client's commands, and actions that are run alone."""

import json
from uuid import uuid4

import pytest

from tests.client.shell import Mistral

WORKFLOWS = """
ta_chain:
  tasks:
    first:
      action: std.echo output=<% dict(a => 1) %>
      publish: {one: <% task().result.a %>}
      on-success: second
    second: {action: std.noop}
ta_wait:
  tasks:
    wait: {action: std.async_noop, publish: {got: <% task().result %>}, on-success: after}
    after: {action: std.noop}
ta_items:
  tasks:
    each: {with-items: i in <% range(3) %>, action: std.async_noop}
ta_env:
  tasks: {a: {action: std.echo output=<% env().code %>, publish: {code: <% env().code %>}}}
"""


@pytest.fixture(scope="module")
def _uploaded(url, tmp_path_factory):
    home = Mistral(url, tmp_path_factory.mktemp("tasks"))
    home.upload(WORKFLOWS)
    return home


@pytest.fixture
def mistral(_uploaded, mistral):
    return mistral


def waiting(mistral, workflow="ta_wait", *arguments):
    """The ids of a started execution, its waiting task and that task's action execution."""
    execution = mistral.start(workflow, *arguments)
    mistral.state_of(execution, "RUNNING")
    return execution, mistral.task(execution, "wait")["ID"], mistral.action(execution, "wait")["ID"]


# -- tasks


def test_tasks_are_listed_for_an_execution_or_by_a_filter(mistral):
    done = mistral.finished("ta_chain")
    assert sorted(mistral.column("Name", "task-list", done)) == ["first", "second"]
    assert mistral.column("Name", "task-list", done, "--filter", "name=has:sec", "--limit", "1") == ["second"]
    assert mistral.column("Name", "task-list", done, "--sort_keys", "name", "--sort_dirs", "desc") == [
        "second",
        "first",
    ]
    everywhere = mistral.rows("task-list", "--filter", "workflow_name=ta_chain", "--filter", "state=SUCCESS")
    assert done in {row["Workflow Execution ID"] for row in everywhere}
    assert "not found" in mistral.refused("task-list", str(uuid4()))


def test_a_task_shows_its_times_its_result_and_what_it_published(mistral):
    done = mistral.finished("ta_chain")
    task = mistral.one("task-get", mistral.task(done, "first")["ID"])
    assert (task["Name"], task["State"], task["Workflow name"]) == ("first", "SUCCESS", "ta_chain")
    assert task["Created at"] <= task["Started at"] <= task["Finished at"]
    assert mistral.json("task-get-result", task["ID"]) == {"a": 1}
    assert mistral.json("task-get-published", task["ID"]) == {"one": 1}


def test_a_task_without_sub_workflows_has_no_sub_executions(mistral):
    done = mistral.finished("ta_chain")
    assert mistral.rows("task-get-sub-executions", mistral.task(done, "first")["ID"]) == []


def test_a_failed_task_runs_again_in_another_environment(mistral):
    failed = mistral.finished("ta_env")
    assert mistral.one("execution-get", failed)["State"] == "ERROR"
    task = mistral.task(failed, "a")["ID"]
    mistral.one("task-rerun", task, "-e", mistral.file("env.json", {"code": 7}))
    assert mistral.state_of(failed, "SUCCESS") == "SUCCESS"
    assert mistral.json("task-get-published", task) == {"code": 7}
    assert mistral.json("task-get-result", task) == 7


def test_a_resumed_task_runs_only_the_items_that_failed(mistral):
    execution = mistral.start("ta_items")
    mistral.state_of(execution, "RUNNING")
    task = mistral.task(execution, "each")["ID"]
    first, *others = mistral.column("ID", "action-execution-list", task)
    mistral.one("action-execution-update", first, "--state", "ERROR")
    for other in others:
        mistral.one("action-execution-update", other, "--state", "SUCCESS")
    mistral.state_of(execution, "ERROR")
    mistral.one("task-rerun", task, "--resume")
    mistral.state_of(execution, "RUNNING")
    listed = mistral.rows("action-execution-list", task)
    assert sorted(row["State"] for row in listed) == ["ERROR", "RUNNING", "SUCCESS", "SUCCESS"]


def test_a_failed_task_can_be_skipped_through_the_clients_session(mistral, api):
    execution, task, action = waiting(mistral)
    mistral.one("action-execution-update", action, "--state", "ERROR")
    mistral.state_of(execution, "ERROR")
    answer = api.tasks.http_client.put(f"/tasks/{task}", json.dumps({"state": "SKIPPED"}))
    assert answer.status_code == 200
    mistral.state_of(execution, "SUCCESS")
    assert mistral.one("task-get", task)["State"] == "SKIPPED"


def test_a_task_that_did_not_fail_cannot_be_run_again(mistral):
    task = mistral.task(mistral.finished("ta_chain"), "first")["ID"]
    assert "must be in ERROR" in mistral.refused("task-rerun", task)


def test_only_items_can_be_resumed(mistral):
    task = mistral.task(mistral.finished("ta_env"), "a")["ID"]
    assert "with-items" in mistral.refused("task-rerun", task, "--resume")


@pytest.mark.parametrize("command", ["get", "get-result", "get-published", "get-sub-executions", "rerun"])
def test_a_task_that_is_not_there_is_not_found(mistral, command):
    assert "not found" in mistral.refused(f"task-{command}", str(uuid4()))


# -- action executions


def test_an_asynchronous_action_gets_its_result_from_outside(mistral):
    execution, task, action = waiting(mistral)
    running = mistral.one("action-execution-get", action)
    assert (running["State"], running["Task name"], running["Task ID"]) == ("RUNNING", "wait", task)
    told = mistral.one("action-execution-update", action, "--state", "SUCCESS", "--output", '{"sum": 3}')
    assert (told["State"], told["Accepted"]) == ("SUCCESS", True)
    mistral.state_of(execution, "SUCCESS")
    assert mistral.json("action-execution-get-output", action) == {"result": {"sum": 3}}
    assert mistral.json("task-get-published", task) == {"got": {"sum": 3}}


def test_the_input_of_an_action_execution_is_shown(mistral):
    done = mistral.finished("ta_chain")
    action = mistral.action(done, "first")
    assert (action["Name"], action["State"], action["Accepted"]) == ("std.echo", "SUCCESS", True)
    assert mistral.json("action-execution-get-input", action["ID"]) == {"output": {"a": 1}}


def test_action_executions_are_listed_also_without_a_task(mistral):
    mistral.finished("ta_chain")
    listed = mistral.rows("action-execution-list", "--filter", "name=std.echo", "--limit", "1")
    assert [row["Name"] for row in listed] == ["std.echo"]


def test_an_asynchronous_action_can_be_paused_and_cancelled(mistral):
    execution, _task, action = waiting(mistral)
    for state in ("PAUSED", "RUNNING", "CANCELLED"):
        assert mistral.one("action-execution-update", action, "--state", state)["State"] == state
    assert mistral.state_of(execution) == "CANCELLED"


@pytest.fixture(scope="module")
def unfinished(_uploaded):
    """The id of an action execution that nobody completes."""
    return waiting(_uploaded)[2]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "either state or output"),
        (["--output", '{"a": 1}'], "Expected one of SUCCESS, ERROR"),
        (["--state", "SUCCESS", "--output", "[1]"], "output"),
        (["--state", "SUCCESS", "--output", "no json"], "Expecting value"),
        (["--state", "IDLE"], "invalid choice"),
    ],
)
def test_a_result_that_cannot_be_says_why(mistral, unfinished, arguments, text):
    assert text in mistral.refused("action-execution-update", unfinished, *arguments)
    assert mistral.one("action-execution-get", unfinished)["State"] == "RUNNING"


def test_a_result_is_taken_once(mistral):
    _execution, _task, action = waiting(mistral)
    mistral.one("action-execution-update", action, "--state", "SUCCESS")
    assert "SUCCESS" in mistral.refused("action-execution-update", action, "--state", "ERROR")


# -- actions alone


def test_an_action_that_is_run_alone_shows_its_result(mistral):
    assert mistral.text("run-action", "std.echo", '{"output": {"a": 1}}') == '{"result": {"a": 1}}\n'
    assert mistral.text("run-action", "std.echo", '{"output": 1}', "--run-sync") == '{"result": 1}\n'
    assert mistral.text("run-action", "std.noop", "-t", "somewhere") == '{"result": null}\n'


def test_an_action_that_is_run_alone_can_be_saved_and_completed(mistral):
    saved = mistral.one("run-action", "std.async_noop", "--save-result")
    assert (saved["State"], saved["Task ID"], saved["Task name"]) == ("RUNNING", None, None)
    mistral.one("action-execution-update", saved["ID"], "--state", "SUCCESS", "--output", '{"a": 1}')
    assert mistral.json("action-execution-get-output", saved["ID"]) == {"result": {"a": 1}}
    assert "not allowed" in mistral.refused("action-execution-delete", saved["ID"])


def test_a_saved_action_that_ran_at_once_has_its_result(mistral):
    assert mistral.text("run-action", "std.echo", '{"output": 1}', "--run-sync", "--save-result") == '{"result": 1}\n'


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["ta_absent"], "ta_absent"),
        (["std.echo"], "output"),
        (["std.echo", '{"output": 1, "more": 2}'], "more"),
        (["std.echo", "[1]"], "input"),
        (["std.echo", "no json"], "Expecting value"),
    ],
)
def test_an_action_that_cannot_be_run_says_why(mistral, arguments, text):
    assert text in mistral.refused("run-action", *arguments)
