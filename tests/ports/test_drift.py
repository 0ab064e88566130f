"""The clock of a deployment on AWS: its function, its rule, its invocations."""

from datetime import timedelta
from types import SimpleNamespace

import pytest
from botocore.exceptions import ClientError

from chalicelib.adapters.drift import Expected, Inspection

ARN = "arn:aws:lambda:us-east-1:123456789012:function:mine-clock"
EXPECTED = Expected(tables=(), queues={}, bucket="b", clock="mine-clock")


class Cloud:
    """The answers of AWS, by service; what was asked is remembered."""

    endpoint_url = None

    def __init__(self, rules, invocations, *, has_function=True):
        self.rules, self.invocations, self.has_function = rules, invocations, has_function
        self.asked = {}

    def client(self, service):
        return {
            "dynamodb": None,
            "sqs": None,
            "s3": SimpleNamespace(head_bucket=lambda **_: None),
            "lambda": SimpleNamespace(get_function=self.function),
            "events": SimpleNamespace(
                list_rule_names_by_target=lambda TargetArn: {"RuleNames": list(self.rules) if TargetArn == ARN else []},
                describe_rule=lambda Name: {"State": self.rules[Name]},
            ),
            "cloudwatch": SimpleNamespace(get_metric_statistics=self.statistics),
        }[service]

    def function(self, FunctionName):
        if not self.has_function:
            raise ClientError({"Error": {"Code": "ResourceNotFoundException"}}, "GetFunction")
        assert FunctionName == "mine-clock"
        return {"Configuration": {"FunctionArn": ARN}}

    def statistics(self, **asked):
        self.asked = asked
        return {"Datapoints": [{"Sum": float(number)} for number in self.invocations]}


def findings(cloud, *, has_clock=True):
    return [(each.problem.value, each.text) for each in Inspection(cloud, EXPECTED, has_clock=has_clock).findings()]


def test_a_clock_that_rings_is_well():
    cloud = Cloud({"rule": "ENABLED"}, [1] * 10)
    assert findings(cloud) == []
    assert cloud.asked["Dimensions"] == [{"Name": "FunctionName", "Value": "mine-clock"}]
    assert cloud.asked["EndTime"] - cloud.asked["StartTime"] == timedelta(minutes=10)


@pytest.mark.parametrize(
    ("cloud", "text"),
    [
        (Cloud({}, [1], has_function=False), "there is no such function: nothing rings alarms"),
        (Cloud({}, [1]), "no rule names it"),
        (Cloud({"rule": "DISABLED"}, [1]), "no rule invokes it, of 1 that name it"),
        (Cloud({"rule": "ENABLED"}, []), "it was not invoked in the last 10 minutes"),
    ],
)
def test_why_a_clock_does_not_ring_is_said(cloud, text):
    assert findings(cloud) == [("clock-not-ticking", text)]


def test_the_local_service_has_no_clock_to_ask_for():
    assert findings(Cloud({}, [], has_function=False), has_clock=False) == []


def test_what_may_not_be_asked_is_an_error_and_not_a_finding(monkeypatch):
    cloud = Cloud({}, [])

    def refused(**_):
        raise ClientError({"Error": {"Code": "AccessDeniedException"}}, "GetFunction")

    monkeypatch.setattr(cloud, "function", refused)
    with pytest.raises(ClientError, match="AccessDenied"):
        findings(cloud)
