"""What a process tells of its work: JSON lines, metrics in lines, spans; nothing of it unless it is asked for."""

import io
import json
import logging
import sys

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from chalicelib.adapters import spans as spans_module
from chalicelib.adapters.json_logs import Invocation, JsonFormatter
from chalicelib.adapters.memory import ManualClock, MemoryPayloads, MemoryQueue, MemoryTable, SeededEntropy
from chalicelib.adapters.metrics import EmbeddedMetrics
from chalicelib.adapters.telemetry import ProcessTelemetry, TelemetrySettings
from chalicelib.engine.events import ActionCompleted, PauseRequested, ResumeRequested
from chalicelib.errors import ConflictException, InputException, MistralError
from chalicelib.services.telemetry import ACTION, NO_TELEMETRY, TURN, Metric, unit_of
from chalicelib.settings import Settings
from chalicelib.vocabulary import Result, State
from chalicelib.wiring import Ports, assemble
from tests.in_memory import World

WORKFLOWS = """version: '2.0'
many:
  tasks:
    first: {action: std.noop, on-success: [second, third]}
    second: {action: std.echo, input: {output: 1, delay: 0.01}, on-success: slow}
    third: {action: std.fail, on-error: noop}
    slow: {action: std.noop, wait-before: 5}
tries:
  tasks:
    again: {action: std.fail, retry: {count: 2, delay: 1}}
paused:
  tasks:
    wait: {action: std.async_noop, on-success: end}
    end: {action: std.noop}
"""


@pytest.fixture
def logs():
    """Give the log back as it was."""
    root, ours = logging.getLogger(), logging.getLogger("mistral")
    kept = list(root.handlers), root.level, ours.level
    yield
    root.handlers[:] = kept[0]
    root.setLevel(kept[1])
    ours.setLevel(kept[2])


class Measured(World):
    """A service in memory whose telemetry is written to a text."""

    def __init__(self, **settings):
        self.text = io.StringIO()
        self.telemetry = ProcessTelemetry(TelemetrySettings(**settings), "mine", stream=self.text)
        self.clock = ManualClock()
        self.queue = MemoryQueue(self.clock)
        ports = Ports(
            MemoryTable(),
            MemoryTable(),
            self.queue,
            MemoryPayloads(),
            self.clock,
            SeededEntropy(),
            telemetry=self.telemetry,
        )
        self.container = assemble(Settings(storage="memory", egress_local=True), ports)

    def told(self):
        """The lines written so far, as JSON."""
        return [json.loads(line) for line in self.text.getvalue().splitlines()]


# -- metrics


def test_a_run_is_counted_and_timed_in_one_line():
    world = Measured(metrics="emf")
    world.upload(WORKFLOWS)
    with world.telemetry.invocation("executor", "r-1"):
        world.run("many")
    [line] = world.told()
    assert (line["Service"], line["Door"], line["RequestId"]) == ("mine", "executor", "r-1")
    counts = {name: line[name] for name in map(str, Metric) if name in line and not isinstance(line[name], list)}
    assert counts == {
        "ExecutionsStarted": 1,
        "ExecutionsSucceeded": 1,
        "TasksSucceeded": 3,
        "TasksFailed": 1,
        "ActionsSucceeded": 1,
    }
    assert len(line["ActionMsec"]) == 1
    assert len(line["TurnMsec"]) >= 3
    assert all(0 <= late < 1 for late in line["TimerLateSec"])


def test_the_line_is_in_the_embedded_metric_format_with_one_bounded_dimension():
    world = Measured(metrics="emf")
    world.upload(WORKFLOWS)
    with world.telemetry.invocation("api", "r-1"):
        world.run("many")
    [line] = world.told()
    [directive] = line["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == "MistralServerless"
    assert directive["Dimensions"] == [["Service"]]
    assert {each["Name"]: each["Unit"] for each in directive["Metrics"]} == {
        name: unit_of(Metric(name)) for name in line if name in set(map(str, Metric))
    }
    assert isinstance(line["_aws"]["Timestamp"], int)


def test_retries_are_counted_and_a_task_that_ends_counts_once():
    world = Measured(metrics="emf")
    world.upload(WORKFLOWS)
    with world.telemetry.invocation("executor", ""):
        world.run("tries")
    [line] = world.told()
    assert (line["TaskRetries"], line["TasksFailed"], line["ExecutionsFailed"]) == (2, 1, 1)
    assert len(line["TimerLateSec"]) == 2


def test_a_task_that_is_written_again_after_a_pause_counts_once():
    world = Measured(metrics="emf")
    world.upload(WORKFLOWS)
    engine = world.container.engine
    with world.telemetry.invocation("api", ""):
        header = world.run("paused", until=lambda header: True).header
        engine.handle(header.id, PauseRequested())
        engine.handle(header.id, ActionCompleted(1, 0, Result(data=1)))
        engine.handle(header.id, ResumeRequested())
        ended = engine.turns.header(header.id)
    assert ended is not None
    assert ended.state is State.SUCCESS
    [line] = world.told()
    assert (line["TasksSucceeded"], line["ExecutionsPaused"], line["ExecutionsSucceeded"]) == (2, 1, 1)


def test_an_invocation_in_which_nothing_happened_writes_nothing():
    world = Measured(metrics="emf")
    with world.telemetry.invocation("clock", "r"):
        pass
    assert world.told() == []


def test_what_failed_is_told_all_the_same():
    world = Measured(metrics="emf")
    world.telemetry.count(Metric.MESSAGES_FAILED)
    with pytest.raises(KeyError), world.telemetry.invocation("executor", "r"):
        raise KeyError
    [line] = world.told()
    assert line["MessagesFailed"] == 1


def test_a_message_that_fails_is_counted(caplog):
    world = Measured(metrics="emf")
    with world.telemetry.invocation("executor", "r"):
        world.container.executor.handle_batch([{"messageId": "m", "body": "nonsense"}], 60.0)
    assert world.told()[0]["MessagesFailed"] == 1


def test_more_values_than_a_line_may_hold_make_more_lines_and_no_more_than_the_bound():
    text = io.StringIO()
    metrics = EmbeddedMetrics("mine", lambda: text)
    for number in range(1200):
        metrics.measure(Metric.TURN_MSEC, number)
    metrics.count(Metric.LOST_RACES, 7)
    metrics.flush({})
    lines = [json.loads(line) for line in text.getvalue().splitlines()]
    assert [len(line["TurnMsec"]) for line in lines] == [100] * 10
    assert [line.get("LostRaces") for line in lines] == [7, *[None] * 9]
    metrics.flush({})
    assert len(text.getvalue().splitlines()) == 10


def test_a_lost_race_is_counted(monkeypatch):
    world = Measured(metrics="emf")
    world.upload(WORKFLOWS)
    header = world.run("paused", until=lambda header: True).header
    table = world.container.ports.executions
    write = table.write
    lost: list[int] = []

    def loses_once(writes):
        if not lost:
            lost.append(1)
            raise ConflictException("somebody was faster")
        write(writes)

    monkeypatch.setattr(table, "write", loses_once)
    with world.telemetry.invocation("api", ""):
        world.container.engine.handle(header.id, PauseRequested())
    line = world.told()[-1]
    assert (line["LostRaces"], line["ExecutionsPaused"]) == (1, 1)


def test_nobody_listens_by_default():
    settings = TelemetrySettings.from_environment({})
    assert settings == TelemetrySettings("info", "text", "off", "off")
    telemetry = ProcessTelemetry(settings, "mine")
    assert not telemetry.is_on
    assert NO_TELEMETRY.timed(TURN, {}) is NO_TELEMETRY.timed(ACTION, {})


def test_in_lambda_there_are_json_and_metrics_unless_it_is_said_otherwise():
    inside = {"AWS_LAMBDA_FUNCTION_NAME": "mistral-executor"}
    assert TelemetrySettings.from_environment(inside) == TelemetrySettings("info", "json", "emf", "off")
    told = inside | {"MISTRAL_METRICS": "off", "MISTRAL_LOG_FORMAT": "text", "MISTRAL_LOG_LEVEL": "debug"}
    assert TelemetrySettings.from_environment(told) == TelemetrySettings("debug", "text", "off", "off")


@pytest.mark.parametrize("name", ["MISTRAL_LOG_LEVEL", "MISTRAL_LOG_FORMAT", "MISTRAL_METRICS", "MISTRAL_TRACING"])
def test_a_setting_that_makes_no_sense_is_named(name):
    with pytest.raises(MistralError, match=f"{name} is one of"):
        TelemetrySettings.from_environment({name: "loud"})


# -- logs


def test_the_log_is_one_line_of_json_a_change_with_the_ids_and_the_request(logs):
    world = Measured(log_format="json")
    world.upload(WORKFLOWS)
    with world.telemetry.invocation("api", "r-7"):
        finished = world.run("many")
    lines = [line for line in world.told() if line["logger"] == "mistral.engine"]
    assert {(line["door"], line["request_id"], line["project"]) for line in lines} == {("api", "r-7", "docs")}
    assert {line["execution"] for line in lines} == {finished.header.id}
    [task] = [line for line in lines if line.get("task") == "third" and line["after"] == "ERROR"]
    assert task["task_id"]
    assert (task["level"], task["logger"], task["message"]) == ("INFO", "mistral.engine", "task third is ERROR")
    assert task["time"].endswith("+00:00")


def test_a_level_keeps_what_is_below_it_out(logs):
    world = Measured(log_format="json", log_level="warning")
    world.upload(WORKFLOWS)
    world.run("many")
    assert {line["level"] for line in world.told()} == {"WARNING"}


def record(error=None, **facts):
    made = logging.LogRecord("mistral.x", logging.ERROR, "f", 1, "it failed", (), None)
    if error is not None:
        try:
            raise error
        except type(error):
            made.exc_info = sys.exc_info()
    made.mistral = facts
    return json.loads(JsonFormatter(Invocation()).format(made))


def test_an_error_has_its_type_its_place_and_its_masked_text():
    line = record(ValueError("cannot use password=hunter2 here\nreally"))
    assert line["error"]["type"] == "ValueError"
    assert line["error"]["message"] == "cannot use password=*** here\nreally"
    assert line["error"]["stack"][-1].endswith(" record")


def test_an_answer_to_a_caller_is_not_quoted_since_it_may_quote_the_caller():
    line = record(InputException("Invalid input: hunter2"))
    assert "hunter2" not in json.dumps(line)
    assert line["error"]["type"].endswith("InputException")


def test_facts_that_are_named_like_secrets_are_masked_and_long_texts_cut():
    line = record(admin_password="hunter2", info="x" * 5)
    assert (line["admin_password"], line["info"]) == ("***", "xxxxx")
    made = logging.LogRecord("mistral.x", logging.INFO, "f", 1, "y" * 100_000, (), None)
    assert len(JsonFormatter(Invocation()).format(made)) < 2500


# -- spans


@pytest.fixture(scope="module")
def exporter():
    """The spans of this process; OpenTelemetry takes one provider in its life."""
    kept = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    trace.set_tracer_provider(provider)
    return kept


def test_turns_and_actions_are_spans_below_their_door(exporter):
    exporter.clear()
    world = Measured(tracing="opentelemetry")
    world.upload(WORKFLOWS)
    with world.telemetry.invocation("executor", "r-1"):
        finished = world.run("many")
    found = exporter.get_finished_spans()
    [door] = [span for span in found if span.name == "mistral.executor"]
    [action] = [span for span in found if span.name == "mistral.action"]
    turns = [span for span in found if span.name == "mistral.turn"]
    assert door.attributes == {"mistral.request_id": "r-1"}
    assert action.attributes["mistral.name"] == "std.echo"
    assert {span.attributes["mistral.execution"] for span in [action, *turns]} == {finished.header.id}
    assert {span.parent.span_id for span in [action, *turns]} == {door.context.span_id}


def test_a_span_says_that_there_was_an_error_and_not_which(exporter):
    exporter.clear()
    telemetry = ProcessTelemetry(TelemetrySettings(tracing="opentelemetry"), "mine")
    with pytest.raises(ValueError, match="hunter2"), telemetry.timed(TURN, {"execution": "e"}):
        raise ValueError("hunter2")
    [span] = exporter.get_finished_spans()
    assert not span.status.is_ok
    assert "hunter2" not in span.to_json()


def test_tracing_without_the_library_says_what_to_install(monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(spans_module, "import_module", missing)
    with pytest.raises(MistralError, match=r"mistral-serverless\[tracing\]"):
        ProcessTelemetry(TelemetrySettings(tracing="opentelemetry"), "mine")
