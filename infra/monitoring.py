"""What watches a deployment: alarms to an SNS topic, and a dashboard. docs/operations.md says what each alarm means.

Merged into the packaged template like the rest of ``resources``. Most of it looks at what AWS measures by itself, which
costs nothing; the metrics of the service (``chalicelib/services/telemetry.py``) come from its log.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from chalicelib.adapters.metrics import NAMESPACE, SERVICE
from chalicelib.limits import EXECUTOR_LONG_TIMEOUT_SEC
from chalicelib.local.cloud import DEAD_LETTER_SUFFIX, VISIBILITY_TIMEOUTS, names_with_prefix
from chalicelib.services.telemetry import Metric
from infra.roles import Names, statements

TOPIC: Final = "MistralAlarms"
DASHBOARD: Final = "MistralDashboard"
STAGE: Final = "api"  # as `.chalice/config.json` has it for every stage

_MINUTE: Final = 60
_FIVE_MINUTES: Final = 300
# How old the oldest message may be: a timer's message waits for 15 minutes on purpose, and that of an executor that
# died comes again when its visibility ends.
_AGES_SEC: Final = {"tasks": 1800, "tasks-long": VISIBILITY_TIMEOUTS * EXECUTOR_LONG_TIMEOUT_SEC + 1800}
_AGE_SEC: Final = 3600
_TIMER_LATE_SEC: Final = 60
_API_LATENCY_MSEC: Final = 10_000
_API_FAILURES: Final = 5
_FUNCTION_FAILURES: Final = 3

Alarm = dict[str, Any]


def api_name(names: Names) -> str:
    """What the API is called, which tells its metrics from those of another deployment."""
    return f"{names.prefix}api"


def resources(names: Names) -> dict[str, Any]:
    """The topic, the alarms, the dashboard, and the name of the API."""
    made: dict[str, Any] = {
        TOPIC: {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": f"{names.prefix}alarms"}},
        f"{TOPIC}Policy": _topic_policy(),
        DASHBOARD: {
            "Type": "AWS::CloudWatch::Dashboard",
            "Properties": {
                "DashboardName": f"{names.prefix}overview",
                "DashboardBody": {"Fn::Sub": json.dumps(dashboard(names), separators=(",", ":"))},
            },
        },
        "RestAPI": {"Properties": {"DefinitionBody": {"info": {"title": api_name(names)}}}},
    }
    for name, alarm in alarms(names).items():
        made[_logical(name)] = {
            "Type": "AWS::CloudWatch::Alarm",
            "Condition": "HasAlarms",
            "Properties": {
                "AlarmName": f"{names.prefix}{name}",
                "AlarmActions": [{"Ref": TOPIC}],
                "OKActions": [{"Ref": TOPIC}],
                **alarm,
            },
        }
    return made


def _logical(alarm: str) -> str:
    return "".join(part.capitalize() for part in alarm.split("-")) + "Alarm"


def _topic_policy() -> dict[str, Any]:
    allowed = {
        "Sid": "AlarmsOfThisAccount",
        "Effect": "Allow",
        "Principal": {"Service": "cloudwatch.amazonaws.com"},
        "Action": "sns:Publish",
        "Resource": {"Ref": TOPIC},
        "Condition": {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}},
    }
    document = {"Version": "2012-10-17", "Statement": [allowed]}
    return {"Type": "AWS::SNS::TopicPolicy", "Properties": {"Topics": [{"Ref": TOPIC}], "PolicyDocument": document}}


# -- alarms


def alarms(names: Names) -> dict[str, Alarm]:
    """Every alarm by its name, without the prefix."""
    made: dict[str, Alarm] = {}
    for queue in _queues(names):
        dead = _queue_metric("ApproximateNumberOfMessagesVisible", f"{names.prefix}{queue}{DEAD_LETTER_SUFFIX}")
        made[f"dead-letters-{queue}"] = _alarm("Messages have failed too often", dead, above=0, statistic="Maximum")
        if queue != "events":
            age = _queue_metric("ApproximateAgeOfOldestMessage", f"{names.prefix}{queue}")
            above = _AGES_SEC.get(queue, _AGE_SEC)
            made[f"old-messages-{queue}"] = _alarm(
                "Work waits for too long", age, above=above, statistic="Maximum", periods=5
            )
    for door in statements(names):
        made |= _alarms_of_door(door, names)
    made["clock-not-running"] = _alarm(
        "Nobody wakes executions and fires cron triggers",
        _function_metric("Invocations", f"{names.prefix}clock"),
        below=1,
        statistic="Sum",
        period_sec=_FIVE_MINUTES,
        missing="breaching",
    )
    return made | _alarms_of_api(names) | _alarms_of_tables(names) | _own_alarms(names)


def _alarms_of_door(door: str, names: Names) -> dict[str, Alarm]:
    function, word = f"{names.prefix}{door}", door.replace("_", "-")
    errors, throttles = _function_metric("Errors", function), _function_metric("Throttles", function)
    return {
        f"errors-{word}": _alarm(
            "The function fails, or runs out of time or memory",
            errors,
            above=_FUNCTION_FAILURES - 1,
            statistic="Sum",
            period_sec=_FIVE_MINUTES,
        ),
        f"throttles-{word}": _alarm("No concurrency is left for the function", throttles, above=0, periods=3),
    }


def _alarms_of_api(names: Names) -> dict[str, Alarm]:
    failures = _alarm(
        "The API fails", _api_metric("5XXError", names), above=_API_FAILURES - 1, period_sec=_FIVE_MINUTES
    )
    slow = _api_metric("Latency", names)
    latency = _alarm("The API is slow", slow, above=_API_LATENCY_MSEC, period_sec=_FIVE_MINUTES, periods=3)
    del latency["Statistic"]
    return {"api-failures": failures, "api-latency": {**latency, "ExtendedStatistic": "p99"}}


def _alarms_of_tables(names: Names) -> dict[str, Alarm]:
    return {
        f"throttled-{kind.lower()}s-{table}": _alarm(
            "DynamoDB refuses what the service asks",
            ("AWS/DynamoDB", f"{kind}ThrottleEvents", {"TableName": f"{names.prefix}{table}"}),
            above=0,
            periods=3,
        )
        for table in ("executions", "definitions")
        for kind in ("Read", "Write")
    }


def _own_alarms(names: Names) -> dict[str, Alarm]:
    late = _alarm(
        "Timers fire late: executors do not keep up",
        _own_metric(Metric.TIMER_LATE_SEC, names),
        above=_TIMER_LATE_SEC,
        period_sec=_FIVE_MINUTES,
        periods=3,
    )
    del late["Statistic"]
    lost = _own_metric(Metric.NOTIFICATIONS_FAILED, names)
    return {
        "timers-late": {**late, "ExtendedStatistic": "p90"},
        "notifications-failed": _alarm("A publisher was not told", lost, above=0, period_sec=_FIVE_MINUTES),
    }


Source = tuple[str, str, Mapping[str, str]]


def _alarm(
    text: str,
    source: Source,
    *,
    above: float | None = None,
    below: float | None = None,
    statistic: str = "Sum",
    period_sec: int = _MINUTE,
    periods: int = 1,
    missing: str = "notBreaching",
) -> Alarm:
    namespace, metric, dimensions = source
    return {
        "AlarmDescription": f"{text}. docs/operations.md: When an alarm rings.",
        "Namespace": namespace,
        "MetricName": metric,
        "Dimensions": [{"Name": name, "Value": value} for name, value in dimensions.items()],
        "Statistic": statistic,
        "Period": period_sec,
        "EvaluationPeriods": periods,
        "Threshold": above if above is not None else below,
        "ComparisonOperator": "GreaterThanThreshold" if above is not None else "LessThanThreshold",
        "TreatMissingData": missing,
    }


def _queues(names: Names) -> list[str]:
    """All queues that have dead letters, without the prefix; the events door has those only."""
    return [*names_with_prefix("", names.targets).queues, *names.targets, "events"]


def _queue_metric(metric: str, queue: str) -> Source:
    return "AWS/SQS", metric, {"QueueName": queue}


def _function_metric(metric: str, function: str) -> Source:
    return "AWS/Lambda", metric, {"FunctionName": function}


def _api_metric(metric: str, names: Names) -> Source:
    return "AWS/ApiGateway", metric, {"ApiName": api_name(names), "Stage": STAGE}


def _own_metric(metric: Metric, names: Names) -> Source:
    return NAMESPACE, metric.value, {SERVICE: names.prefix.rstrip("-")}


# -- the dashboard


def dashboard(names: Names) -> dict[str, Any]:
    """What happens, what fails, what waits, what it costs; ``${AWS::Region}`` is filled in when it is deployed."""
    rows = [
        _row_of_work(names),
        _row_of_times(names),
        _row_of_api(names),
        _row_of_functions(names),
        _row_of_cost(names),
    ]
    return {"widgets": [_placed(graph, x, y) for y, row in enumerate(rows) for x, graph in enumerate(row)]}


Graph = dict[str, Any]


def _row_of_work(names: Names) -> list[Graph]:
    return [
        _graph(title, _own(names, *(each for each in Metric if each.startswith(beginning))))
        for title, beginning in (("Executions", "Executions"), ("Tasks", "Task"), ("Actions", "Actions"))
    ]


def _row_of_times(names: Names) -> list[Graph]:
    troubles = (Metric.LOST_RACES, Metric.MESSAGES_FAILED, Metric.NOTIFICATIONS_TOLD, Metric.NOTIFICATIONS_FAILED)
    return [
        _graph("Turns and actions, p90 ms", _own(names, Metric.TURN_MSEC, Metric.ACTION_MSEC), "p90"),
        _graph("Timers, late by seconds, p90", _own(names, Metric.TIMER_LATE_SEC), "p90"),
        _graph("Races lost, messages failed, notifications", _own(names, *troubles)),
    ]


def _row_of_api(names: Names) -> list[Graph]:
    requests = [_api_metric(metric, names) for metric in ("Count", "4XXError", "5XXError")]
    dead = [
        _queue_metric("ApproximateNumberOfMessagesVisible", f"{names.prefix}{queue}{DEAD_LETTER_SUFFIX}")
        for queue in _queues(names)
    ]
    return [
        _graph("API: requests and failures", requests),
        _graph("API: latency, p99 ms", [_api_metric("Latency", names)], "p99"),
        _graph("Dead letters", dead, "Maximum"),
    ]


def _row_of_functions(names: Names) -> list[Graph]:
    def of_doors(metric: str) -> list[Source]:
        return [_function_metric(metric, names.prefix + door) for door in statements(names)]

    return [
        _graph("Functions: errors", of_doors("Errors")),
        _graph("Functions: throttles", of_doors("Throttles")),
        _graph("Functions: at a time", of_doors("ConcurrentExecutions"), "Maximum"),
    ]


def _row_of_cost(names: Names) -> list[Graph]:
    queues = [names.prefix + queue for queue in _queues(names) if queue != "events"]
    ages = [_queue_metric("ApproximateAgeOfOldestMessage", queue) for queue in queues]
    units: list[Source] = [
        ("AWS/DynamoDB", f"Consumed{kind}CapacityUnits", {"TableName": f"{names.prefix}{table}"})
        for table in ("executions", "definitions")
        for kind in ("Read", "Write")
    ]
    return [
        _graph("Queues: age of the oldest message, s", ages, "Maximum"),
        _graph("Cost: messages", [_queue_metric("NumberOfMessagesSent", queue) for queue in queues]),
        _graph("Cost: units of DynamoDB", units),
    ]


def _own(names: Names, *metrics: Metric) -> list[Source]:
    return [_own_metric(metric, names) for metric in metrics]


def _graph(title: str, sources: Iterable[Source], statistic: str = "Sum") -> Graph:
    return {
        "type": "metric",
        "properties": {
            "title": title,
            "region": "${AWS::Region}",
            "view": "timeSeries",
            "stat": statistic,
            "period": _FIVE_MINUTES,
            "metrics": [
                [namespace, metric, *(part for pair in dimensions.items() for part in pair)]
                for namespace, metric, dimensions in sources
            ],
        },
    }


def _placed(graph: dict[str, Any], x: int, y: int) -> dict[str, Any]:
    return {**graph, "x": 8 * x, "y": 6 * y, "width": 8, "height": 6}
