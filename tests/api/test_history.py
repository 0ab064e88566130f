"""The history of an execution through HTTP, and by the command line."""

import pytest

from chalicelib.local import history as command
from chalicelib.local.main import main
from chalicelib.local.remote import Refused
from tests.api.service_client import Client

WORKFLOWS = """
chain:
  input: [word]
  tasks:
    first: {action: std.async_noop, on-success: second}
    second: {action: std.echo output=<% $.word %>, on-success: third}
    third: {action: std.noop}
failing:
  tasks:
    risky: {action: std.fail}
items:
  tasks:
    each:
      with-items: i in <% range(40) %>
      concurrency: 1
      action: std.sleep seconds=0
outer:
  tasks:
    below: {workflow: failing}
"""


@pytest.fixture
def client():
    made = Client()
    made.upload(WORKFLOWS)
    return made


def history_of(client, execution, query=""):
    reply = client.get(f"/v2/executions/{execution['id']}/history{query}")
    assert reply.status == 200, reply.json
    return reply.json


def test_a_history_tells_what_happened_in_order(client):
    execution = client.start("chain", input={"word": "a word of its own"})
    first = client.tasks_of(execution)["first"]
    action = client.actions_of(first)[0]
    client.service.settle()
    client.service.pass_time(61.5)
    client.put(f"/v2/action_executions/{action['id']}", {"state": "SUCCESS", "output": {"secret": "hidden result"}})

    found = history_of(client, execution)

    assert [(entry["id"], entry["event"], entry["what"]) for entry in found["history"]] == [
        ("0.0", "execution_started", "the execution was started; new: first; the execution is RUNNING"),
        ("1.0", "action_completed", "the action std.async_noop ended in SUCCESS"),
        (
            "1.1",
            "actions_completed",
            "2 actions without side effects ended within the turn; new: second, third; the execution is SUCCESS",
        ),
    ]
    assert found["history"][1]["task_name"] == "first"
    assert found["history"][1]["task_execution_id"] == first["id"]
    assert found["history"][1]["action_execution_id"] == action["id"]
    assert found["history"][0]["action_execution_id"] is None
    assert found["history"][0]["time"] < found["history"][1]["time"]
    assert "next" not in found


def test_a_history_tells_no_values(client):
    execution = client.start("failing", params={"env": {"key": "value of env"}})
    task = client.tasks_of(execution)["risky"]
    client.put(f"/v2/tasks/{task['id']}", {"id": task["id"], "state": "SKIPPED", "env": '{"token": "s3cr3t"}'})

    text = str(history_of(client, execution))

    assert "s3cr3t" not in text
    assert "value of env" not in text
    assert "the task was to be skipped, with token in its environment" in text


def test_a_history_comes_in_pages(client):
    execution = client.run("items")
    whole = history_of(client, execution)["history"]

    pages, query = [], "?limit=7"
    while query:
        page = history_of(client, execution, query)
        pages += page["history"]
        query = page.get("next", "").partition("history")[2]

    assert len(whole) > 40
    assert pages == whole


def test_a_sub_workflow_is_told_as_one(client):
    execution = client.run("outer")

    assert "the sub-workflow failing ended in ERROR" in str(history_of(client, execution))


def test_the_history_of_another_project_is_not_found():
    voice = Client(auth="authorizer")
    one, other = voice.as_project("one"), voice.as_project("other")
    one.upload(WORKFLOWS)
    path = f"/v2/executions/{one.start('failing')['id']}/history"

    assert one.get(path).status == 200
    assert other.get(path).status == 404


@pytest.mark.parametrize("query", ["?marker=7", "?marker=a.b", "?limit=0", "?limit=x", "?color=red"])
def test_what_cannot_be_asked_of_a_history_is_refused(client, query):
    execution = client.start("failing")

    assert client.get(f"/v2/executions/{execution['id']}/history{query}").status == 400


def test_a_marker_beyond_the_end_gives_an_empty_page(client):
    execution = client.run("failing")

    assert history_of(client, execution, "?marker=900.0") == {"history": []}


def test_the_history_of_nothing_is_not_found(client):
    assert client.get("/v2/executions/11111111-1111-4111-8111-111111111111/history").status == 404


def test_the_command_prints_every_page(client, monkeypatch, capsys):
    execution = client.run("items")

    class Voice:
        def __init__(self, url):
            assert url == "http://127.0.0.1:1/v2"

        def call(self, method, path, body=None, *, query=None):
            marker = f"&marker={query['marker']}" if query else ""
            reply = client.ask(method, f"/v2{path}?limit=10{marker}")
            if reply.status != 200:
                raise Refused(reply.fault)
            return reply.json

    monkeypatch.setattr(command, "Remote", Voice)

    assert main(["history", execution["id"], "--url", "http://127.0.0.1:1/v2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(history_of(client, execution)["history"])
    assert "the execution was started" in lines[0]
    assert "task each: the action std.sleep of item 39 ended in SUCCESS" in lines[-1]
    assert main(["history", "nothing", "--url", "http://127.0.0.1:1/v2"]) == 2
