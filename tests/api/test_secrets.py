"""A secret that a workflow refers to reaches its action, and is found nowhere else."""

from __future__ import annotations

import base64
import json
import logging
import zlib
from functools import partial
from typing import Any

import pytest

from chalicelib.settings import Settings
from tests.api import service_client
from tests.api.service_client import Client
from tests.planted import MARK
from tests.unit.actions.http_server import http_server

PASSWORD = f"{MARK}-p4ssw0rd"
PLAIN = "pl4nted-pl4in-text"
FILE = {"db": {"password": PASSWORD, "user": "ann"}, "long": PASSWORD * 4000}

WORKFLOW = """
lookup:
  input: [url, reference]
  output:
    seen: <% $.seen %>
  tasks:
    call:
      action: std.http
      input:
        url: <% $.url %>
        method: POST
        headers:
          X-Plain: pl4nted-pl4in-text
          X-Token: Bearer ${secret://db#password}
        auth: ${secret://db#user}:${secret://db#password}
        body: <% $.reference %>
      publish:
        seen: <% task().result.content %>
      on-success: [echo, tell, by_ad_hoc]
    echo:
      action: std.echo output=<% $.reference %>
    by_ad_hoc:
      action: wrapped given=<% $.reference %>
    tell:
      action: std.fail
      input:
        error_data: {why: "no entry with ${secret://db#password}"}
      on-error: ask_again
    ask_again:
      action: std.http
      input:
        url: <% $.url %>/path?token=${secret://db#password}
"""

AD_HOC = """version: '2.0'
wrapped:
  base: std.echo
  base-input:
    output: {inside: <% $.given %>, beside: "x"}
  input: [given]
  output: {got: <% $ %>}
"""


@pytest.fixture
def client(tmp_path, monkeypatch) -> Client:
    path = tmp_path / "secrets.json"
    path.write_text(json.dumps(FILE))
    monkeypatch.setattr(service_client, "Settings", partial(Settings, secrets_file=str(path)))
    return Client()


def everything_kept(client: Client) -> str:
    """All that is stored or on its way, with what is compressed laid open."""
    ports: Any = client.service.container.ports
    kept = [item.body for table in (client.service.table, ports.definitions)
            for found in table._partitions.values() for item in found.items.values()]  # fmt: skip
    kept += ports.payloads._data.values()
    kept += [repr(vars(client.service.queue)).encode()]
    return "".join(piece for body in kept for piece in (body.decode("latin-1"), *_inflated(body)))


def _inflated(body: bytes):
    for start in range(len(body) - 1):
        if body[start] == 0x78 and int.from_bytes(body[start : start + 2], "big") % 31 == 0:
            try:
                yield zlib.decompressobj().decompress(body[start:]).decode("latin-1")
            except zlib.error:
                continue


def everything_answered(client: Client, execution: dict[str, Any]) -> str:
    """All that the API tells of an execution."""
    tasks = client.tasks_of(execution)
    answers = [client.get(f"/v2/executions/{execution['id']}").json, tasks]
    answers += [client.actions_of(task) for task in tasks.values()]
    answers += [client.get(f"/v2/tasks/{task['id']}").json for task in tasks.values()]
    answers += [client.get(path).json for path in (
        f"/v2/executions/{execution['id']}/report", "/v2/action_executions", "/v2/workflows/lookup",
    )]  # fmt: skip
    return json.dumps(answers)


def result_of(client: Client, task: dict[str, Any]):
    return json.loads(client.get(f"/v2/tasks/{task['id']}").json["result"])


def test_a_planted_secret_is_in_no_table_no_log_and_no_answer(client, caplog):
    caplog.set_level(logging.DEBUG)
    client.upload(WORKFLOW)
    assert client.post("/v2/actions", AD_HOC, content_type="text/plain").status == 201
    with http_server() as server:
        execution = client.run("lookup", input={"url": f"{server.url}/echo", "reference": "secret://db#password"})
        arrived, asked_again = server.received
    assert arrived.headers["X-Token"] == f"Bearer {PASSWORD}"
    assert arrived.headers["Authorization"] == "Basic " + base64.b64encode(f"ann:{PASSWORD}".encode()).decode()
    assert arrived.body == PASSWORD.encode()
    assert asked_again.path == f"/echo/path?token={PASSWORD}"

    tasks = client.tasks_of(execution)
    assert {name: task["state"] for name, task in tasks.items()} == {
        "call": "SUCCESS", "echo": "SUCCESS", "by_ad_hoc": "SUCCESS", "tell": "ERROR", "ask_again": "SUCCESS",
    }  # fmt: skip
    assert result_of(client, tasks["echo"]) == "***"
    assert result_of(client, tasks["by_ad_hoc"]) == {"got": {"inside": "***", "beside": "x"}}
    for form in (PASSWORD, base64.b64encode(PASSWORD.encode()).decode()[:16]):
        for place in (everything_kept(client), everything_answered(client, execution), caplog.text):
            assert form not in place
    # The search would have found it: what is no secret is found.
    assert PLAIN in everything_kept(client)
    assert "secret://db#password" in everything_kept(client)
    assert PLAIN in everything_answered(client, execution)


def test_a_long_secret_is_in_no_payload(client):
    client.upload("""
echo:
  tasks:
    say:
      action: std.echo
      input:
        output: [secret://long, pl4nted-pl4in-text, <% 'pl4nted-pl4in-text' * 3000 %>]
""")
    execution = client.run("echo")
    assert execution["state"] == "SUCCESS"
    assert PASSWORD not in everything_kept(client)
    assert PLAIN in everything_kept(client)


def test_an_action_on_its_own_has_its_secrets_revealed_by_an_executor(client):
    request = {"name": "std.echo", "input": {"output": "secret://db#password"}, "params": {"save_result": True}}
    begun = client.post("/v2/action_executions", request).json
    assert begun["state"] == "RUNNING"
    client.service.settle()
    ended = client.get(f"/v2/action_executions/{begun['id']}").json
    assert ended["state"] == "SUCCESS"
    assert json.loads(ended["output"]) == {"result": "***"}
    assert json.loads(ended["input"]) == {"output": "secret://db#password"}
    assert PASSWORD not in everything_kept(client)


def test_the_api_never_reads_a_secret_itself(client):
    """Nobody works on the queue: so nothing is revealed, and the API says what it waited for."""
    client.service.container.action_runs._pause = client.service.pass_time
    request: dict[str, Any] = {"name": "std.echo", "input": {"output": "secret://db#password"}}
    answer = client.post("/v2/action_executions", request).json
    assert "did not end within" in answer["output"]
    request["input"]["output"] = "no secret"
    assert json.loads(client.post("/v2/action_executions", request).json["output"]) == {"result": "no secret"}


def test_a_secret_that_is_missing_fails_the_task_by_its_name(client):
    client.upload("""
lost:
  tasks:
    ask:
      action: std.echo output='secret://absent'
      on-error: noop
""")
    execution = client.run("lost")
    [task] = client.tasks_of(execution).values()
    assert "secret://absent cannot be read" in task["state_info"]
    assert execution["state"] == "SUCCESS"
