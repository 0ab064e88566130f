"""Alarms and dashboard look at what is there: queues, functions, tables and metrics by the names that they have."""

import json
import re

import cfnlint.api  # type: ignore[import-untyped]
import pytest

from chalicelib.adapters.metrics import NAMESPACE
from chalicelib.services.telemetry import Metric
from infra import monitoring, resources
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
    template = json.dumps({"AWSTemplateFormatVersion": "2010-09-09", "Resources": own})
    assert cfnlint.api.lint(template, [], ["us-east-1"]) == []


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
