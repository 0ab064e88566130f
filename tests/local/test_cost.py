"""The estimate of a run: what is counted, what it is multiplied by, and what bad input is told."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.workloads import World as BenchWorld
from benchmarks.workloads import chain, fork, items
from chalicelib.local import estimate, prices
from chalicelib.local.answers import Answers, Script, answers_from
from chalicelib.local.main import main
from chalicelib.local.meter import Counts
from chalicelib.local.problems import LocalError
from chalicelib.local.rehearsal import BEGINS_AT, Played, scripted
from chalicelib.vocabulary import State
from tests.markdown import ROOT

APPROVAL = """version: '2.0'
approval:
  tasks:
    ask: {action: std.http url="https://example.com", on-success: decide}
    decide: {action: std.async_noop, on-success: done}
    done: {action: std.echo output=<% task(decide).result.by %>}
"""
DAYS_90_SEC = 90 * 24 * 3600


def rehearsed(text: str, answers: Answers | None = None, *, action_ms: float = 100.0) -> tuple[Played, Script]:
    rehearsal = scripted(lambda names: Script(answers or {}, action_ms, names))
    [name] = rehearsal.upload(text)
    assert rehearsal.script is not None
    return rehearsal.play(name, {}, {}), rehearsal.script


def played_for_real(text: str) -> Counts:
    """What the service really did, by a driver of its own, actions run and all."""
    world = BenchWorld()
    world.upload(text)
    before = world.meter.counts()
    world.start()
    world.drain()
    return world.meter.counts().minus(before)


@pytest.mark.parametrize(
    "text",
    [
        chain(30, "std.noop"),
        chain(12, "std.sleep seconds=0"),
        fork(10, "std.sleep seconds=0"),
        items(20, "std.sleep seconds=0"),
        items(20, "std.sleep seconds=0", 5),
    ],
    ids=["pure chain", "chain", "fork", "items", "items with concurrency"],
)
def test_the_ledger_of_a_run_whose_actions_are_run_is_what_was_estimated(text: str):
    played, _script = rehearsed(text)
    assert played.execution.state is State.SUCCESS
    # What actions answer is not the same, and so are its bytes; units are what is paid.
    assert replace(played.counts, bytes_written=0) == replace(played_for_real(text), bytes_written=0)


def test_actions_that_are_not_pure_are_not_run(tmp_path: Path):
    proof = tmp_path / "ran"
    text = f"""version: '2.0'
work:
  tasks:
    a:
      action: std.javascript
      input: {{script: "return 1"}}
    b: {{action: std.http url="file://{proof}"}}
    c: {{action: std.ssh cmd="touch {proof}" host="127.0.0.1" username="nobody" password="x"}}
"""
    played, script = rehearsed(text)
    assert played.execution.state is State.SUCCESS
    assert script.runs == {"std.javascript": 1, "std.http": 1, "std.ssh": 1}
    assert script.without_answer == set(script.runs)
    assert not proof.exists()


def test_answers_are_given_by_task_then_by_action_one_after_another():
    text = """version: '2.0'
work:
  output: {a: <% $.a %>, b: <% $.b %>}
  tasks:
    a:
      action: std.http url="https://example.com"
      retry: {count: 3, delay: 60}
      publish: {a: <% task().result %>}
      on-success: b
    b:
      action: std.http url="https://example.com"
      publish: {b: <% task().result %>}
"""
    answers = answers_from("a.yaml", "a: [{error: no}, {error: no}, {data: 7, ms: 50}]\nstd.http: {data: 8}\n")
    played, script = rehearsed(text, answers)
    assert played.execution.state is State.SUCCESS
    assert played.execution.output == {"a": 7, "b": 8}
    assert script.runs["std.http"] == 4
    assert script.action_ms == 100 + 100 + 50 + 100
    assert (played.tasks, played.steps) == (2, 4)
    assert played.waited_sec == pytest.approx(120, abs=3)


def test_an_approval_of_ninety_days_is_played_to_its_end_with_every_alarm_counted():
    answers = answers_from("a.yaml", f"decide: {{data: {{by: ada}}, after_sec: {DAYS_90_SEC}}}")
    played, script = rehearsed(APPROVAL, answers)
    assert played.execution.state is State.SUCCESS
    assert played.execution.updated_at == BEGINS_AT + DAYS_90_SEC
    assert 300 < played.alarms < 400
    assert played.api_calls == 2
    assert estimate.total(estimate.bill(played, script.action_ms)) < 0.01
    express = {other.service: other for other in estimate.elsewhere(played, 0)}["Step Functions Express"]
    assert express.dollars is None


def test_a_secret_is_neither_needed_nor_read():
    text = """version: '2.0'
work:
  tasks:
    a:
      action: std.http
      input: {url: "https://example.com", auth: "secret://key#member"}
"""
    played, _script = rehearsed(text)
    assert played.execution.state is State.SUCCESS


def test_the_bill_of_a_run_adds_up_with_list_prices():
    played, script = rehearsed(chain(10, "std.sleep seconds=2"))
    lines = {line.what: line for line in estimate.bill(played, script.action_ms)}
    counts = played.counts
    assert script.action_ms == 20_000
    assert lines["DynamoDB writes"].dollars == counts.write_units * 0.625 / 1e6
    assert lines["DynamoDB reads"].dollars == counts.read_units * 0.125 / 1e6
    assert lines["SQS (messages: 1)"].dollars == pytest.approx(3 * 0.50 / 1e6)
    assert lines["API Gateway"].dollars == pytest.approx(3.50 / 1e6)
    assert lines["Lambda requests"].amount == 3
    assert lines["Lambda, the actions' own time"].dollars == pytest.approx(20 * 0.5 * 0.0000166667)
    assert estimate.total(tuple(lines.values())) == pytest.approx(sum(line.dollars for line in lines.values()))


def test_elsewhere_a_step_is_each_run_of_an_action_and_the_start():
    played, _script = rehearsed(chain(10, "std.sleep seconds=0"))
    by_name = {other.service: other for other in estimate.elsewhere(played, 1000)}
    assert by_name["Step Functions Standard"].dollars == pytest.approx(11 * 25 / 1e6)
    assert by_name["Lambda durable functions"].dollars == pytest.approx(11 * 8 / 1e6)
    assert by_name["Step Functions Express"].dollars == pytest.approx((1 + 1.0 / 16 * 16.67) / 1e6)


def test_what_takes_longer_than_express_allows_has_no_price_there():
    played, _script = rehearsed(chain(1, "std.sleep seconds=0"))
    by_name = {other.service: other for other in estimate.elsewhere(played, 301_000)}
    assert by_name["Step Functions Express"].dollars is None
    assert "300" in by_name["Step Functions Express"].remark


def test_sub_workflows_are_counted_with_their_tasks():
    text = """version: '2.0'
parent:
  tasks:
    a: {workflow: child}
child:
  tasks:
    b: {action: std.sleep seconds=0}
"""
    rehearsal = scripted(lambda names: Script({}, 100, names))
    assert rehearsal.upload(text) == ["parent", "child"]
    played = rehearsal.play("parent", {}, {})
    assert (played.executions, played.tasks, played.execution.state) == (2, 2, State.SUCCESS)


def test_a_paused_run_stands_still_and_is_estimated_as_far_as_it_came():
    text = "version: '2.0'\nwork:\n  tasks:\n    a: {action: std.noop, pause-before: true}\n"
    played, _script = rehearsed(text)
    assert played.execution.state is State.PAUSED


def test_the_memory_that_is_paid_is_the_memory_that_is_deployed():
    functions = json.loads((ROOT / ".chalice/config.json").read_text("utf-8"))["lambda_functions"]
    assert functions["api_handler"]["lambda_memory_size"] == prices.API_MEMORY_GB * 1024
    for door in ("authorizer", "executor", "executor_long", "clock"):
        assert functions[door]["lambda_memory_size"] == prices.LAMBDA_MEMORY_GB * 1024


# -- the command


@pytest.fixture
def file(tmp_path: Path) -> Callable[[str, str], str]:
    def write(name: str, text: str) -> str:
        path = tmp_path / name
        path.write_text(text, "utf-8")
        return str(path)

    return write


def test_the_command_prints_what_a_run_and_a_month_cost(file: Any, capsys: pytest.CaptureFixture[str]):
    path = file("approval.yaml", APPROVAL)
    answers = file("answers.yaml", "decide: {data: {by: ada}}\nask: {data: {status: 200}, ms: 40}\n")
    assert main(["cost", path, "--answers", answers, "--runs-per-month", "1000"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert "approval: SUCCESS; executions: 1, tasks: 3" in printed.out
    assert "$ for 1,000 runs" in printed.out
    assert "Step Functions Standard" in printed.out
    assert "2026-11, us-east-1" in printed.out


def test_the_command_prints_json(file: Any, capsys: pytest.CaptureFixture[str]):
    path = file("flow.yaml", chain(3, "std.noop"))
    assert main(["cost", path, "--json", "--runs-per-month", "10"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["state"] == "SUCCESS"
    assert found["dollars_per_month"] == pytest.approx(10 * found["dollars_per_run"])
    assert found["dollars_per_run"] == pytest.approx(sum(line["dollars"] for line in found["lines"]))
    assert {line["what"] for line in found["idle_month"]} >= {"SQS: Lambda asks empty queues"}


def test_the_command_runs_actions_in_earnest_if_it_is_told_to(file: Any, capsys: pytest.CaptureFixture[str]):
    text = """version: '2.0'
work:
  output: {x: <% $.x %>}
  tasks:
    a:
      action: std.javascript
      input: {script: "return 40 + 2"}
      publish: {x: <% task().result %>}
      on-success: [fail: <% $.x != 42 %>]
"""
    assert main(["cost", file("flow.yaml", text), "--real"]) == 0
    assert "SUCCESS" in capsys.readouterr().out


def test_a_run_that_fails_is_priced_and_says_what_it_lacks(file: Any, capsys: pytest.CaptureFixture[str]):
    text = """version: '2.0'
work:
  tasks:
    a: {action: std.http url="http://x", on-success: b}
    b: {action: acme.x}
"""
    assert main(["cost", file("flow.yaml", text)]) == 1
    printed = capsys.readouterr()
    assert "work: ERROR" in printed.out
    assert "answered by a placeholder: std.http" in printed.err
    assert "the run ended in ERROR: " in printed.err
    assert "acme.x" in printed.err


def test_an_action_that_is_not_installed_here_is_known_by_its_answer(file: Any, capsys: pytest.CaptureFixture[str]):
    text = "version: '2.0'\nwork:\n  tasks:\n    a: {action: acme.x y=1}\n"
    assert main(["cost", file("flow.yaml", text), "--answers", file("answers.yaml", "acme.x: {data: 1}")]) == 0
    assert capsys.readouterr().err == ""


def test_answers_are_of_no_use_where_actions_are_run(file: Any, capsys: pytest.CaptureFixture[str]):
    path, answers = file("flow.yaml", chain(1, "std.noop")), file("answers.yaml", "a: {data: 1}")
    assert main(["cost", path, "--real", "--answers", answers]) == 2
    assert "choose one of the two" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "options", "told"),
    [
        ("version: '2.0'\nwork: {tasks: {a: {on-success: b}}}\n", [], "flow.yaml:2"),
        ("version: '2.0'\nwork: {tasks: [}\n", [], "flow.yaml:2"),
        (chain(1, "std.noop"), ["--input", "[1]"], "--input must be a JSON object"),
        (chain(1, "std.noop"), ["--input", "{"], "--input is not JSON"),
        (chain(1, "std.noop"), ["--workflow", "other"], "there is no workflow 'other'"),
        (chain(1, "std.noop"), ["--input", '{"more": 1}'], "cannot start"),
        (chain(1, "std.noop"), ["--answers", "nowhere.yaml"], "cannot read nowhere.yaml"),
    ],
)
def test_bad_input_is_told_in_words(
    file: Any, capsys: pytest.CaptureFixture[str], text: str, options: list[str], told: str
):
    assert main(["cost", file("flow.yaml", text), *options]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert told in printed.err


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: 5", "an answer of a is an object"),
        ("a: {data: 1, error: 2}", "an answer of a is an object"),
        ("a: {value: 1}", "an answer of a is an object"),
        ("a: []", "an empty list"),
        ("a: {data: 1, ms: -1}", "a.ms is a number from 0"),
        ("a: {data: 1, ms: true}", "a.ms is a number from 0"),
        ("a: {data: 1, after_sec: 1e12}", "a.after_sec is a number from 0"),
    ],
)
def test_answers_that_make_no_sense_are_refused(text: str, told: str):
    with pytest.raises(LocalError, match=told):
        answers_from("answers.yaml", text)


@pytest.mark.parametrize("option", ["--runs-per-month=0", "--runs-per-month=x", "--action-ms=-1", "--action-ms=x"])
def test_options_that_make_no_sense_are_refused(option: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ended:
        main(["cost", "flow.yaml", option])
    assert ended.value.code == 2
    assert "is not a" in capsys.readouterr().err


def test_standard_input_is_read_once(capsys: pytest.CaptureFixture[str]):
    assert main(["cost", "-", "--answers", "-"]) == 2
    assert "cannot both be standard input" in capsys.readouterr().err
