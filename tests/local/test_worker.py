"""``mistral-local worker`` in a process of its own, beside ``mistral-local serve`` with its emulated AWS."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from chalicelib.local.main import main
from tests.unit.actions.http_server import Server, http_server

COMMAND = str(Path(sys.executable).parent / "mistral-local")
WITHIN_SEC = 60.0

WORKFLOW = """version: '2.0'
remote:
  input: [url]
  output:
    answer: <% $.answer %>
  tasks:
    there:
      action: std.http
      input:
        url: <% $.url %>
        headers: {X-Token: "${secret://token}"}
      target: gpu
      publish:
        answer: <% task().result.status %>
      on-success: here
    here:
      action: std.echo output=1 delay=0.01
"""


@contextmanager
def process(*arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """A command of ours; whatever happens, it ends with the block."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MISTRAL_"))}
    with subprocess.Popen(
        [COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=inherited | environment
    ) as started:
        watchdog = threading.Timer(WITHIN_SEC, started.kill)
        watchdog.start()
        try:
            yield started
        finally:
            started.kill()
            started.communicate()
            watchdog.cancel()


def line(started: subprocess.Popen[str], beginning: str) -> str:
    """The rest of the next line, which must begin so."""
    assert started.stdout is not None
    text = started.stdout.readline()
    assert text.startswith(beginning), (text, started.communicate()[1])
    return text.removeprefix(beginning).split()[0]


def ask(url: str, body: Any = None) -> Any:
    """Talk to the API."""
    data = None if body is None else body.encode() if isinstance(body, str) else json.dumps(body).encode()
    kind = "text/plain" if isinstance(body, str) else "application/json"
    request = urllib.request.Request(url, data, {"Content-Type": kind})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read())


def client(service: str, url: str) -> Any:
    session = botocore.session.Session()
    session.set_credentials("any", "any")
    return session.create_client(service, "us-east-1", endpoint_url=url, config=Config(s3={"addressing_style": "path"}))


def ended(url: str, execution: Any) -> Any:
    """The execution when it has ended."""
    until = time.monotonic() + WITHIN_SEC
    while (found := ask(f"{url}/executions/{execution['id']}"))["state"] == "RUNNING":
        assert time.monotonic() < until, found
        threading.Event().wait(0.1)
    return found


def begun(url: str, server: Server, path: str) -> Any:
    ask(f"{url}/workflows", WORKFLOW)
    return ask(f"{url}/executions", {"workflow_name": "remote", "input": {"url": server.url + path}})


def test_a_worker_runs_its_targets_tasks_and_ends_when_they_have_ended():
    with (
        http_server() as server,
        process("serve", "--port", "0", "--aws-port", "0", "--quiet", MISTRAL_TARGETS="gpu") as service,
    ):
        url, aws = line(service, "ready at "), line(service, "aws at ")
        secrets = client("secretsmanager", aws)
        secrets.create_secret(Name="mistral/default-project/token", SecretString="the worker may know")
        execution = begun(url, server, "/silent")
        with process("worker", "--target", "gpu", "--endpoint-url", aws, AWS_REGION="us-east-1") as worker:
            line(worker, "ready for target ")
            until = time.monotonic() + WITHIN_SEC
            while not server.received:
                assert time.monotonic() < until
                threading.Event().wait(0.02)
            # Its action runs: the worker takes nothing more, lets it end, reports it, and goes.
            worker.send_signal(signal.SIGTERM)
            with pytest.raises(subprocess.TimeoutExpired):
                worker.wait(0.5)
            server.released.set()
            assert worker.wait(WITHIN_SEC) == 0, worker.communicate()[1]
        assert server.received[0].headers["X-Token"] == "the worker may know"
        finished = ended(url, execution)
        # The server hung up without an answer; the worker has reported that.
        assert finished["state"] == "ERROR"
        tasks = ask(f"{url}/executions/{execution['id']}/tasks")["tasks"]
        assert "Failed to send HTTP request" in tasks[0]["state_info"]

        execution = ask(f"{url}/executions", {"workflow_name": "remote", "input": {"url": f"{server.url}/echo"}})
        with process("worker", "--target", "gpu", "--workers", "2", "--endpoint-url", aws) as worker:
            line(worker, "ready for target ")
            assert json.loads(ended(url, execution)["output"]) == {"answer": 200}
            worker.send_signal(signal.SIGINT)
            assert worker.wait(WITHIN_SEC) == 0
        service.send_signal(signal.SIGTERM)
        assert service.wait(WITHIN_SEC) == 0


def test_other_processes_may_use_the_emulated_cloud():
    with process("serve", "--port", "0", "--aws-port", "0", "--quiet") as service:
        line(service, "ready at ")
        aws = line(service, "aws at ")
        s3 = client("s3", aws)
        s3.put_object(Bucket="mistral-payloads", Key="a folder/ä+b", Body=b"\x00\xff" * 1000)
        assert s3.get_object(Bucket="mistral-payloads", Key="a folder/ä+b")["Body"].read() == b"\x00\xff" * 1000
        assert s3.head_object(Bucket="mistral-payloads", Key="a folder/ä+b")["ContentLength"] == 2000
        assert (
            client("dynamodb", aws).describe_table(TableName="mistral-executions")["Table"]["TableStatus"] == "ACTIVE"
        )
        with pytest.raises(ClientError, match=r"NonExistentQueue|does not exist"):
            client("sqs", aws).get_queue_url(QueueName="absent")
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(aws)


def test_a_target_without_a_queue_is_told(capsys, monkeypatch):
    with process("serve", "--port", "0", "--aws-port", "0", "--quiet") as service:
        line(service, "ready at ")
        aws = line(service, "aws at ")
        with process("worker", "--target", "absent", "--endpoint-url", aws) as worker:
            assert worker.wait(WITHIN_SEC) == 1
            assert worker.stderr is not None
            assert "mistral-local: the deployment cannot be reached: " in worker.stderr.read()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["worker"], "--target"),
        (["worker", "--target", "tasks"], "a queue of the service has it"),
        (["worker", "--target", "gpu-dead"], "a queue of the service has it"),
        (["worker", "--target", "a b"], "letters, digits"),
        (["worker", "--target", "gpu", "--workers", "33"], "from 1 to 32"),
    ],
)
def test_a_wrong_use_is_explained(arguments, complaint, capsys):
    with pytest.raises(SystemExit):
        main(arguments)
    assert complaint in capsys.readouterr().err


def test_the_emulated_cloud_of_another_storage_cannot_be_shared(capsys):
    assert main(["serve", "--port", "0", "--storage", "memory", "--aws-port", "0"]) == 1
    assert "there is none with memory" in capsys.readouterr().err
