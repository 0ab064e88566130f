"""Alarms and dashboard look at what is there: queues, functions, tables and metrics by the names that they have."""

import json
import re

import boto3
import cfnlint.api  # type: ignore[import-untyped]
import pytest
from moto import mock_aws

from chalicelib.adapters.metrics import NAMESPACE
from chalicelib.adapters.telemetry import process_telemetry
from chalicelib.local import estimate
from chalicelib.services.telemetry import Metric
from infra import monitoring, resources
from infra.parameters import CONDITIONS, PARAMETERS
from infra.roles import Names, statements
from tests.markdown import ROOT, rows

NAMES = Names(prefix="mine-", targets=("gpu",))
TEMPLATE = resources.template_for(NAMES)["Resources"]
OPERATIONS = ROOT / "docs" / "operations.md"


def named(kind, member):
    return {made["Properties"][member] for made in TEMPLATE.values() if made.get("Type") == kind}


def sources():
    """All metrics that alarms and dashboard look at: namespace, name, dimensions."""
    for alarm in monitoring.alarms(NAMES).values():
        yield alarm["Namespace"], alarm["MetricName"], {each["Name"]: each["Value"] for each in alarm["Dimensions"]}
    for widget in monitoring.dashboard(NAMES)["widgets"]:
        for namespace, metric, *pairs in widget["properties"]["metrics"]:
            yield namespace, metric, dict(zip(pairs[::2], pairs[1::2], strict=True))


def test_what_is_looked_at_exists_in_the_template():
    there = {
        "QueueName": named("AWS::SQS::Queue", "QueueName"),
        "TableName": named("AWS::DynamoDB::Table", "TableName"),
        "FunctionName": {f"mine-{door}" for door in statements(NAMES)},
        "ApiName": {TEMPLATE["RestAPI"]["Properties"]["DefinitionBody"]["info"]["title"]},
        "Service": {"mine"},
        "Stage": {"api"},
    }
    for _, _, dimensions in sources():
        assert dimensions
        assert all(value in there[name] for name, value in dimensions.items()), dimensions


def test_the_metrics_of_the_service_are_those_that_it_writes():
    own = {metric for namespace, metric, _ in sources() if namespace == NAMESPACE}
    assert own == set(map(str, Metric))
    alarm = monitoring.alarms(NAMES)["timers-late"]
    assert (alarm["MetricName"], alarm["ExtendedStatistic"], "Statistic" in alarm) == ("TimerLateSec", "p90", False)


def test_every_queue_and_every_function_is_watched():
    watched = {value for alarm in monitoring.alarms(NAMES).values() for each in alarm["Dimensions"]
               for value in [each["Value"]]}  # fmt: skip
    assert named("AWS::SQS::Queue", "QueueName") <= watched
    assert {f"mine-{door}" for door in statements(NAMES)} <= watched


def test_a_clock_that_is_silent_is_an_alarm_and_silence_elsewhere_is_none():
    found = monitoring.alarms(NAMES)
    assert found["clock-not-running"]["ComparisonOperator"] == "LessThanThreshold"
    silent = {name for name, alarm in found.items() if alarm["TreatMissingData"] == "breaching"}
    assert silent == {"clock-not-running"}


def test_one_dead_letter_is_an_alarm():
    found = monitoring.alarms(NAMES)["dead-letters-tasks"]
    assert (found["Threshold"], found["ComparisonOperator"], found["EvaluationPeriods"]) == (
        0,
        "GreaterThanThreshold",
        1,
    )
    assert found["Dimensions"] == [{"Name": "QueueName", "Value": "mine-tasks-dead"}]


def test_every_alarm_tells_the_topic_also_when_it_is_over():
    made = [each["Properties"] for each in TEMPLATE.values() if each.get("Type") == "AWS::CloudWatch::Alarm"]
    assert len(made) == len(monitoring.alarms(NAMES))
    for alarm in made:
        assert alarm["AlarmActions"] == alarm["OKActions"] == [{"Ref": monitoring.TOPIC}]
    assert len({alarm["AlarmName"] for alarm in made}) == len(made)


def test_the_dashboard_is_json_whose_only_variable_is_the_region():
    text = TEMPLATE[monitoring.DASHBOARD]["Properties"]["DashboardBody"]["Fn::Sub"]
    assert set(re.findall(r"\$\{([^}]*)\}", text)) == {"AWS::Region"}
    places = [(widget["x"], widget["y"]) for widget in json.loads(text)["widgets"]]
    assert len(set(places)) == len(places)
    assert all(widget["x"] + widget["width"] <= 24 for widget in json.loads(text)["widgets"])


def test_the_parts_are_valid_cloudformation():
    own = {name: made for name, made in monitoring.resources(NAMES).items() if "Type" in made}
    parts = {"Parameters": {"Alarms": PARAMETERS["Alarms"]}, "Conditions": {"HasAlarms": CONDITIONS["HasAlarms"]}}
    template = json.dumps({"AWSTemplateFormatVersion": "2010-09-09", **parts, "Resources": own})
    assert cfnlint.api.lint(template, [], ["us-east-1"]) == []


def test_the_estimate_of_costs_knows_how_many_there_are():
    made = resources.template()["Resources"].values()
    assert sum(each.get("Type") == "AWS::CloudWatch::Alarm" for each in made) == estimate.ALARMS
    assert sum(each.get("Type") == "AWS::SecretsManager::Secret" for each in made) == estimate.SECRETS


# What AWS documents of its own metrics: by which dimensions they are kept, and which statistics mean something.
AWS_METRICS = {
    ("AWS/ApiGateway", "4XXError"): ({"ApiName", "Stage"}, {"Sum"}),
    ("AWS/ApiGateway", "5XXError"): ({"ApiName", "Stage"}, {"Sum"}),
    ("AWS/ApiGateway", "Count"): ({"ApiName", "Stage"}, {"Sum"}),
    ("AWS/ApiGateway", "Latency"): ({"ApiName", "Stage"}, {"p99"}),
    ("AWS/DynamoDB", "ConsumedReadCapacityUnits"): ({"TableName"}, {"Sum"}),
    ("AWS/DynamoDB", "ConsumedWriteCapacityUnits"): ({"TableName"}, {"Sum"}),
    ("AWS/DynamoDB", "ReadThrottleEvents"): ({"TableName"}, {"Sum"}),
    ("AWS/DynamoDB", "WriteThrottleEvents"): ({"TableName"}, {"Sum"}),
    ("AWS/Lambda", "ConcurrentExecutions"): ({"FunctionName"}, {"Maximum"}),
    ("AWS/Lambda", "Errors"): ({"FunctionName"}, {"Sum"}),
    ("AWS/Lambda", "Invocations"): ({"FunctionName"}, {"Sum"}),
    ("AWS/Lambda", "Throttles"): ({"FunctionName"}, {"Sum"}),
    ("AWS/SQS", "ApproximateAgeOfOldestMessage"): ({"QueueName"}, {"Maximum"}),
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible"): ({"QueueName"}, {"Maximum"}),
    ("AWS/SQS", "NumberOfMessagesSent"): ({"QueueName"}, {"Sum"}),
}


def looked_at():
    """All metrics of alarms and dashboard, with the statistic that is looked at."""
    for alarm in monitoring.alarms(NAMES).values():
        dimensions = {each["Name"] for each in alarm["Dimensions"]}
        statistic = alarm.get("Statistic") or alarm["ExtendedStatistic"]
        yield alarm["Namespace"], alarm["MetricName"], dimensions, statistic
    for widget in monitoring.dashboard(NAMES)["widgets"]:
        for namespace, metric, *pairs in widget["properties"]["metrics"]:
            yield namespace, metric, set(pairs[::2]), widget["properties"]["stat"]


def test_metrics_of_aws_are_asked_for_as_aws_documents_them():
    asked = [each for each in looked_at() if each[0] != NAMESPACE]
    assert {(namespace, metric) for namespace, metric, _, _ in asked} == AWS_METRICS.keys()
    for namespace, metric, dimensions, statistic in asked:
        documented, meaningful = AWS_METRICS[namespace, metric]
        assert dimensions == documented, (namespace, metric)
        assert statistic in meaningful, (namespace, metric, statistic)


def test_the_metrics_of_the_service_are_asked_for_as_a_function_writes_them(monkeypatch, capsys):
    monkeypatch.setenv("MISTRAL_TABLE_PREFIX", "mine-")
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "mine-executor")
    monkeypatch.setenv("MISTRAL_LOG_FORMAT", "text")
    telemetry = process_telemetry.__wrapped__()
    with telemetry.invocation("executor", "r"):
        for metric in Metric:
            telemetry.measure(metric, 1.0) if metric.endswith("ec") else telemetry.count(metric)
    [line] = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    [directive] = line["_aws"]["CloudWatchMetrics"]
    [names] = directive["Dimensions"]
    written = {
        (directive["Namespace"], each["Name"], tuple((name, line[name]) for name in names))
        for each in directive["Metrics"]
    }
    asked = {(namespace, metric, tuple(dimensions.items())) for namespace, metric, dimensions in sources()
             if namespace == NAMESPACE}  # fmt: skip
    assert asked == written


def test_every_metric_of_the_service_is_written_somewhere():
    code = "".join(path.read_text("utf-8") for path in sorted((ROOT / "chalicelib").rglob("*.py")))
    assert [metric for metric in Metric if code.count(f"Metric.{metric.name}") == 0] == []


# What makes an alarm ring, and what does not, by its kind: values of successive periods, None where there was none.
RINGS: dict[str, tuple[list[float | None], list[float | None]]] = {
    "dead-letters": ([0, 1], [0, 0]),
    "old-messages": ([40_000] * 5, [40_000, 40_000, 40_000, 40_000, 3]),
    "errors": ([3], [2]),
    "throttles": ([1, 1, 1], [1, 0, 1]),
    "clock-not-running": ([5, None], [5, 5]),
    "api-failures": ([5], [4]),
    "api-latency": ([10_001] * 3, [10_001, 9_000, 10_001]),
    "throttled-reads": ([1, 1, 1], [1, None, 1]),
    "throttled-writes": ([1, 1, 1], [1, None, 1]),
    "timers-late": ([61] * 3, [61, 59, 61]),
    "notifications-failed": ([1], [None]),
}


def rings(alarm, values: list[float | None]) -> bool:
    """Whether CloudWatch says ALARM after these values: all of the last periods are over the threshold."""
    beyond = {"GreaterThanThreshold": float.__gt__, "LessThanThreshold": float.__lt__}[alarm["ComparisonOperator"]]
    last = values[-alarm["EvaluationPeriods"] :]
    missing = alarm["TreatMissingData"] == "breaching"
    return len(last) == alarm["EvaluationPeriods"] and all(
        missing if value is None else beyond(float(value), float(alarm["Threshold"])) for value in last
    )


@pytest.mark.parametrize("name", sorted(monitoring.alarms(NAMES)))
def test_an_alarm_rings_when_it_should_and_not_before(name):
    alarm, (trouble, calm) = monitoring.alarms(NAMES)[name], RINGS[kind_of(name)]
    assert rings(alarm, trouble)
    assert not rings(alarm, calm)
    assert not rings(alarm, [None] * 5) or name == "clock-not-running"


def test_cloudwatch_takes_every_alarm_and_the_dashboard():
    with mock_aws():
        cloud = boto3.client("cloudwatch", region_name="us-east-1")
        for name, alarm in monitoring.alarms(NAMES).items():
            cloud.put_metric_alarm(AlarmName=name, **alarm)
        kept = cloud.describe_alarms(MaxRecords=100)["MetricAlarms"]
        assert {alarm["AlarmName"] for alarm in kept} == monitoring.alarms(NAMES).keys()
        cloud.put_dashboard(DashboardName="overview", DashboardBody=json.dumps(monitoring.dashboard(NAMES)))


def kind_of(alarm: str) -> str:
    """An alarm without the name of its queue, door or table."""
    return next(kind for kind in KINDS if alarm == kind or alarm.startswith(f"{kind}-"))


KINDS: list[str] = [kind.removesuffix("-…") for cells in rows(OPERATIONS, "When an alarm rings")
         for kind in re.findall(r"`([^`]+)`", cells[0])]  # fmt: skip


@pytest.mark.parametrize("alarm", sorted(monitoring.alarms(Names(targets=("gpu",)))))
def test_the_runbook_has_a_row_for_every_alarm(alarm):
    assert kind_of(alarm)


def test_the_runbook_has_no_row_for_an_alarm_that_is_not_there():
    assert {kind_of(alarm) for alarm in monitoring.alarms(NAMES)} == set(KINDS)
