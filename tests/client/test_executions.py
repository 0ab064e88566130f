"""Executions through the client's commands: starting, reading, steering, listing, deleting."""

import json
from uuid import uuid4

import pytest

from tests.client.shell import Mistral

NIL = "00000000-0000-0000-0000-000000000000"
WORKFLOWS = """
ex_greet:
  input: [who: nobody]
  output: {said: <% $.said %>}
  tasks:
    greet:
      action: std.echo output=<% $.who %>
      on-success:
        publish:
          branch: {said: <% task().result %>}
          global: {last: <% task().result %>}
ex_wait:
  tasks: {wait: {action: std.async_noop}}
ex_env:
  output: {code: <% env().code %>}
  tasks: {a: {action: std.noop}}
ex_fail:
  tasks:
    bad: {action: std.fail}
ex_outer:
  tasks:
    middle: {workflow: ex_middle}
ex_middle:
  tasks:
    inner: {workflow: ex_fail}
"""


@pytest.fixture(scope="module")
def _uploaded(url, tmp_path_factory):
    home = Mistral(url, tmp_path_factory.mktemp("executions"))
    home.upload(WORKFLOWS)
    return home


@pytest.fixture
def mistral(_uploaded, mistral):
    return mistral


# -- starting


def test_an_execution_takes_its_input_as_text_or_from_a_file(mistral):
    for given in ('{"who": "Ada"}', mistral.file("input.json", {"who": "Ada"})):
        started = mistral.one("execution-create", "ex_greet", given)
        assert mistral.state_of(started["ID"]) == "SUCCESS"
        assert mistral.json("execution-get-input", started["ID"]) == {"who": "Ada"}
        assert mistral.json("execution-get-output", started["ID"])["said"] == "Ada"
        assert mistral.json("execution-get-published", started["ID"]) == {"last": "Ada"}


def test_a_started_execution_shows_what_it_was_started_with(mistral):
    workflow_id = mistral.one("workflow-get", "ex_greet")["ID"]
    started = mistral.one("execution-create", workflow_id, "-d", "for Ada")
    assert (started["Workflow ID"], started["Workflow name"]) == (workflow_id, "ex_greet")
    assert (started["Description"], started["Workflow namespace"]) == ("for Ada", "")
    assert (started["Task Execution ID"], started["Root Execution ID"]) == ("<none>", "<none>")
    assert started["State"] in ("IDLE", "RUNNING", "SUCCESS")


def test_an_execution_takes_its_environment_from_the_params_by_value_or_by_name(mistral):
    mistral.one("environment-create", mistral.file("env.json", {"name": "ex_env", "variables": {"code": 7}}))
    for env in ({"code": 7}, "ex_env"):
        done = mistral.finished("ex_env", "{}", json.dumps({"env": env}))
        assert mistral.json("execution-get-output", done)["code"] == 7


def test_an_execution_can_be_started_from_another_one(mistral):
    source = mistral.finished("ex_greet", '{"who": "Ada"}')
    again = mistral.finished("-s", source)
    assert again != source
    assert mistral.one("execution-get", again)["Workflow name"] == "ex_greet"


def test_a_workflow_of_a_namespace_is_started_there(mistral):
    mistral.upload("ex_greet: {tasks: {a: {action: std.noop}}}\n", "--namespace", "ex_north")
    started = mistral.one("execution-create", "ex_greet", "--namespace", "ex_north")
    assert started["Workflow namespace"] == "ex_north"
    assert mistral.state_of(started["ID"]) == "SUCCESS"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["ex_absent"], "Workflow not found"),
        (["ex_greet", '{"whom": 1}'], "unexpected=['whom']"),
        (["ex_greet", "[1]"], "input"),
        (["ex_greet", "{}", '{"env": "ex_no_env"}'], "ex_no_env"),
        (["ex_greet", "no json"], "Expecting value"),
        (["-s", NIL], NIL),
        ([], 'Execution is missing field "workflow_identifier"'),
    ],
)
def test_a_start_that_cannot_be_says_why(mistral, arguments, text):
    assert text in mistral.refused("execution-create", *arguments)


# -- reading


def test_a_report_shows_the_tree_down_to_the_error(mistral):
    failed = mistral.finished("ex_outer")
    report = mistral.text("execution-get-report", failed)
    for line in (
        "workflow 'ex_outer' [ERROR]",
        "task 'middle' [ERROR]",
        "workflow 'ex_fail' [ERROR]",
        "action 'std.fail'",
    ):
        assert line in report
    assert "Number of tasks in ERROR state: 3" in report


def test_a_report_may_stop_at_a_depth_or_at_the_numbers(mistral):
    failed = mistral.finished("ex_outer")
    shallow = mistral.text("execution-get-report", failed, "--max-depth", "0")
    assert "workflow 'ex_middle' [ERROR]" in shallow
    assert "task 'inner'" not in shallow
    assert "workflow 'ex_outer'" not in mistral.text("execution-get-report", failed, "--statistics-only")


def test_a_report_without_errors_shows_tasks_only_when_told_to(mistral):
    done = mistral.finished("ex_greet")
    assert "task 'greet'" not in mistral.text("execution-get-report", done)
    assert "task 'greet' [SUCCESS]" in mistral.text("execution-get-report", done, "--no-errors-only")


def test_sub_executions_are_listed_with_the_execution_itself_first(mistral):
    failed = mistral.finished("ex_outer")
    listed = mistral.rows("execution-get-sub-executions", failed)
    assert [row["Workflow name"] for row in listed] == ["ex_outer", "ex_middle", "ex_fail"]
    assert [row["Root Execution ID"] for row in listed] == ["<none>", failed, failed]
    shallow = mistral.rows("execution-get-sub-executions", failed, "--max-depth", "1", "--errors-only")
    assert [row["Workflow name"] for row in shallow] == ["ex_outer", "ex_middle"]


# -- steering


def test_an_execution_is_paused_given_another_environment_and_resumed(mistral):
    execution = mistral.start("ex_wait")
    mistral.state_of(execution, "RUNNING")
    assert mistral.one("execution-update", execution, "-s", "PAUSED")["State"] == "PAUSED"
    mistral.one("execution-update", execution, "-e", '{"code": 1}')
    env = mistral.file("env.yaml", "code: 2")
    assert mistral.one("execution-update", execution, "-s", "RUNNING", "-e", env)["State"] == "RUNNING"
    assert mistral.one("execution-update", execution, "-s", "CANCELLED")["State"] == "CANCELLED"


def test_a_description_can_be_changed_at_any_time(mistral):
    done = mistral.finished("ex_greet", "-d", "before")
    assert mistral.one("execution-update", done, "-d", "after")["Description"] == "after"


@pytest.fixture(scope="module")
def done(_uploaded):
    """The id of an execution that has ended well, and that nobody changes."""
    return _uploaded.finished("ex_greet")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "is not provided for update"),
        (["-s", "PAUSED"], "from SUCCESS to PAUSED"),
        (["-s", "ERROR", "-d", "both"], "must be updated separately"),
        (["-e", '{"code": 1}'], "only permitted if it is in IDLE, PAUSED, or ERROR"),
        (["-s", "IDLE"], "invalid choice: 'IDLE'"),
    ],
)
def test_a_change_that_cannot_be_says_why(mistral, done, arguments, text):
    assert text in mistral.refused("execution-update", done, *arguments)
    assert mistral.one("execution-get", done)["State"] == "SUCCESS"


def test_a_running_execution_is_deleted_only_by_force(mistral):
    execution = mistral.start("ex_wait")
    mistral.state_of(execution, "RUNNING")
    assert "force" in mistral.refused("execution-delete", execution)
    mistral.text("execution-delete", execution, "--force")
    assert "not found" in mistral.refused("execution-get", execution)


def test_several_executions_are_deleted_with_their_tasks(mistral):
    first, second = mistral.finished("ex_greet"), mistral.finished("ex_outer")
    task = mistral.task(first, "greet")["ID"]
    mistral.text("execution-delete", first, second)
    assert "not found" in mistral.refused("task-get", task)
    assert "not found" in mistral.refused("execution-get", second)


# -- lists


def test_executions_are_listed_with_the_newest_last_or_the_oldest_first(mistral):
    mistral.upload("ex_listed: {tasks: {a: {action: std.noop}}}\n")
    made = [mistral.finished("ex_listed", "-d", str(number)) for number in range(3)]
    ours = ("execution-list", "--filter", "workflow_name=ex_listed")
    assert sorted(mistral.column("ID", *ours)) == sorted(made)
    page = mistral.column("ID", *ours, "--oldest", "--limit", "2")
    rest = mistral.column("ID", *ours, "--oldest", "--limit", "2", "--marker", page[-1])
    assert page + rest == mistral.column("ID", *ours, "--oldest")
    assert mistral.column("Description", *ours, "--sort_keys", "description", "--sort_dirs", "desc") == ["2", "1", "0"]


def test_executions_are_filtered_by_state_with_an_operator(mistral):
    failed = mistral.finished("ex_fail")
    ours = ("execution-list", "--filter", "workflow_name=ex_fail")
    assert failed in mistral.column("ID", *ours, "--filter", "state=in:ERROR,PAUSED")
    assert mistral.rows(*ours, "--filter", "state=SUCCESS") == []


def test_only_roots_are_listed_when_told_so_and_only_children_of_a_task(mistral):
    failed = mistral.finished("ex_outer")
    roots = mistral.column("Workflow name", "execution-list", "--rootsonly", "--filter", "workflow_name=ex_middle")
    assert roots == []
    task = mistral.task(failed, "middle")["ID"]
    assert mistral.column("Workflow name", "execution-list", "--task", task) == ["ex_middle"]


@pytest.mark.parametrize("command", ["get", "get-input", "get-output", "get-published", "delete"])
def test_an_execution_that_is_not_there_is_not_found(mistral, command):
    assert "not found" in mistral.refused(f"execution-{command}", str(uuid4()))


def test_a_report_that_is_refused_fails_although_the_client_does_not_say_why(mistral):
    assert "'statistics'" in mistral.refused("execution-get-report", str(uuid4()))
