"""The commands, on a stand-in for the deployed program."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chalicelib.adapters.aws import Aws
from chalicelib.local import progress
from chalicelib.local import run as run_module
from chalicelib.local.main import main
from chalicelib.local.problems import LocalError
from chalicelib.local.run import fault_lines
from chalicelib.local.service import Options, Service, environment_for, running
from chalicelib.vocabulary import JsonObject
from tests.local.stand_in import StandIn

WORKFLOW = "version: '2.0'\n\ncreate_vm:\n  tasks:\n    only:\n      action: std.noop\n"


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Callable[[Aws | None], StandIn]:
    def make(aws: Aws | None) -> StandIn:
        made = StandIn(aws)
        for name, module in made.modules().items():
            monkeypatch.setitem(sys.modules, name, module)
        return made

    return make


@pytest.fixture
def program(stand_in: Callable[[Aws | None], StandIn]) -> StandIn:
    return stand_in(None)


@pytest.fixture
def definition(tmp_path: Path) -> Callable[[str], str]:
    def write(text: str) -> str:
        path = tmp_path / "flow.yaml"
        path.write_text(text, "utf-8")
        return str(path)

    return write


def test_run_prints_the_output_alone_and_succeeds(
    program: StandIn, definition: Callable[[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    path = definition(WORKFLOW)
    status = main(["run", path, "--input", '{"end": "SUCCESS"}', "--env", '{"region": "r"}', "--params", '{"x": 1}'])
    printed = capsys.readouterr()
    assert (status, json.loads(printed.out)) == (0, {"result": "SUCCESS"})
    assert "create_vm" in printed.err
    assert "task only  " in printed.err
    assert program.executions["execution-0"]["params"] == {"x": 1, "env": {"region": "r"}}


def test_run_of_a_failing_workflow_says_why_and_fails(
    program: StandIn, definition: Callable[[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    status = main(["run", definition(WORKFLOW), "--input", '{"end": "ERROR"}', "--json"])
    printed = capsys.readouterr()
    shown = json.loads(printed.out)
    assert (status, shown["state"], shown["output"]) == (1, "ERROR", {"result": "ERROR"})
    assert shown["tasks"][0]["published"] == {"a": 1}
    assert "execution  " in printed.err
    assert "ERROR  why" in printed.err


def test_run_of_a_paused_workflow_does_not_wait_for_ever(
    program: StandIn, definition: Callable[[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", definition(WORKFLOW), "--input", '{"end": "PAUSED"}']) == 1
    assert "PAUSED" in capsys.readouterr().err
    assert program.executions["execution-0"]["state"] == "CANCELLED"


def test_an_interrupted_run_cancels_its_execution(
    program: StandIn,
    definition: Callable[[str], str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        monkeypatch.setattr(run_module, "follow", progress.follow)
        raise KeyboardInterrupt

    monkeypatch.setattr(run_module, "follow", interrupted)
    assert main(["run", definition(WORKFLOW)]) == 1
    assert program.executions["execution-0"]["state"] == "CANCELLED"
    assert "CANCELLED" in capsys.readouterr().err


def test_a_bad_definition_is_told_fault_by_fault(
    program: StandIn, definition: Callable[[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    path = definition("broken:\n")
    assert main(["run", path]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines() == [
        f"mistral-local: {path}:3:5: bad task",
        f"mistral-local: {path}:4:1: worse",
    ]


def test_text_that_is_no_yaml_is_told_with_its_place(
    program: StandIn, definition: Callable[[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    path = definition("a: [1\nb: 2\n")
    assert main(["run", path]) == 2
    assert f"{path}:2:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--input", "{"], "--input is not JSON"),
        (["--input", "[1]"], "--input must be a JSON object"),
        (["--env", "@/nowhere.json"], "cannot read /nowhere.json"),
        (["--workflow", "absent"], "there is no workflow 'absent'; choose one with --workflow: create_vm"),
        (["--input", '{"refuse": true}'], "create_vm cannot start: Invalid input"),
    ],
)
def test_a_wrong_use_is_explained(
    program: StandIn,
    definition: Callable[[str], str],
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    complaint: str,
) -> None:
    assert main(["run", definition(WORKFLOW), *arguments]) == 2
    assert complaint in capsys.readouterr().err


def test_one_of_several_workflows_must_be_chosen(
    program: StandIn, definition: Callable[[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    path = definition("one:\n  tasks: {}\ntwo:\n  tasks: {}\n")
    assert main(["run", path]) == 2
    assert "choose one with --workflow: one, two" in capsys.readouterr().err
    assert main(["run", path, "--workflow", "two", "--input", '{"end": "SUCCESS"}']) == 0
    assert program.executions["execution-0"]["workflow_name"] == "two"


def test_a_workflow_of_a_workbook_may_be_called_by_its_short_name(
    program: StandIn, definition: Callable[[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    path = definition("version: '2.0'\nname: book\nworkflows:\n  a: {}\n  b: {}\n")
    assert main(["run", path, "--workflow", "b", "--input", '{"end": "SUCCESS"}']) == 0
    assert program.executions["execution-0"]["workflow_name"] == "book.b"
    assert capsys.readouterr().out


def test_the_faults_of_the_api_are_preferred_to_its_text() -> None:
    faults: list[JsonObject] = [
        {"message": "join too large", "path": "tasks.merge.join", "line": 7, "column": 3},
        {"message": "no tasks", "path": "", "line": None, "column": None},
    ]
    assert fault_lines("f.yaml", "text", faults) == [
        "f.yaml:7:3: join too large (tasks.merge.join)",
        "f.yaml: no tasks",
    ]
    assert fault_lines("f.yaml", "no place at all", []) == ["f.yaml: no place at all"]


@pytest.mark.parametrize("storage", ["moto", "memory"])
def test_the_doors_are_fed_on_every_storage(stand_in: Callable[[Aws | None], StandIn], storage: str) -> None:
    program = stand_in(Aws("us-east-1") if storage == "moto" else None)
    with running(Options(storage, workers=2)) as service:
        program.executions["e"] = {"id": "e", "state": "RUNNING", "input": {"end": "SUCCESS"}}
        program.send("e")
        assert changed(service, lambda: program.executions["e"]["state"] == "SUCCESS")
        assert changed(service, lambda: program.rings == 1)
        assert os.environ["MISTRAL_STORAGE"] == ("aws" if storage == "moto" else "memory")
    assert "MISTRAL_STORAGE" not in os.environ


def changed(service: Service, condition: Callable[[], bool]) -> bool:
    for _ in range(100):
        seen = service.changes.count
        if condition():
            return True
        service.changes.wait(seen, 0.3)
    return False


def test_what_the_user_has_set_stays_in_the_environment() -> None:
    given = {"AWS_REGION": "eu-west-1", "MISTRAL_TABLE_PREFIX": "mine-", "MISTRAL_STORAGE": "nonsense"}
    environment = environment_for(Options("http://127.0.0.1:4566"), given)
    assert environment["AWS_REGION"] == environment["AWS_DEFAULT_REGION"] == "eu-west-1"
    assert environment["MISTRAL_PAYLOAD_BUCKET"] == "mine-payloads"
    assert environment["MISTRAL_STORAGE"] == "aws"
    assert environment["MISTRAL_ENDPOINT_URL"] == "http://127.0.0.1:4566"


@pytest.mark.parametrize(
    "arguments", [["serve", "--port", "70000"], ["serve", "--workers", "0"], ["serve", "--storage", "oracle"], []]
)
def test_a_wrong_command_line_is_a_usage_error(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert capsys.readouterr().err


def test_a_port_in_use_is_explained(program: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", "--port", str(port), "--storage", "memory"]) == 1
    assert f"127.0.0.1:{port} is in use by another program" in capsys.readouterr().err


def test_an_emulator_that_does_not_answer_is_explained(
    program: StandIn, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chalicelib.adapters.aws.ATTEMPTS_MAX", 1)
    with socket.create_server(("127.0.0.1", 0)) as unused:
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
    with (
        pytest.raises(LocalError, match=f"cannot create tables, queues and bucket on storage {url}"),
        running(Options(url)),
    ):
        pass
    monkeypatch.setattr("chalicelib.local.moto_shim.moto_version", "99.0")
    assert main(["serve", "--port", "0"]) == 1
    assert "moto 99.0" in capsys.readouterr().err


SERVING = """
import sys
from tests.local.stand_in import StandIn
for name, module in StandIn(None).modules().items():
    sys.modules[name] = module
from chalicelib.local.main import main
sys.exit(main(["serve", "--port", "0", "--storage", "memory"]))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_says_when_it_is_ready_answers_and_stops_cleanly(number: signal.Signals) -> None:
    command = [sys.executable, "-c", SERVING]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        watchdog = threading.Timer(60, process.kill)
        watchdog.start()
        assert process.stdout is not None
        ready = process.stdout.readline()
        assert ready.startswith("ready at http://127.0.0.1:")
        assert ready.endswith("/v2 (storage memory)\n")
        url = ready.split()[2]
        request = urllib.request.Request(f"{url}/executions", data=b'{"workflow_name": "w", "input": {}}')
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request) as answer:
            assert answer.status == 201
            assert json.load(answer)["state"] == "RUNNING"
        process.send_signal(number)
        _out, errors = process.communicate()
        watchdog.cancel()
    assert (process.returncode, errors) == (0, "")
