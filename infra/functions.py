"""What Chalice's decorators cannot say of the Lambda functions: names, logs, concurrency, failures, what they are told.

Merged into the packaged template, where each door is a function already.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from chalicelib.local.cloud import DEAD_LETTER_RETENTION_SEC, DEAD_LETTER_SUFFIX
from infra.roles import ACTION_ROLE, Names, statements

BUCKET: Final = "MistralPayloadsBucket"
_EVENT_RETRIES_MAX: Final = 2  # the most that Lambda does
# The door, its queue, and the parameter that bounds how many run at a time.
_HEARING: Final = {
    "executor": ("tasks", "ExecutorConcurrency"),
    "executor_long": ("tasks-long", "LongExecutorConcurrency"),
    "notifier": ("notifications", "NotifierConcurrency"),
}


def logical(name: str, kind: str) -> str:
    """A resource's name in the template, from its own."""
    return "".join(part.capitalize() for part in name.split("-")) + kind


def function_name(door: str) -> str:
    """The logical name that Chalice gives a door's function."""
    return "APIHandler" if door == "api_handler" else "".join(part.capitalize() for part in door.split("_"))


def resources(names: Names, dead_events: str) -> dict[str, Any]:
    """Additions to every function, and its log; ``dead_events`` is the logical name of a queue."""
    made: dict[str, Any] = {}
    for door in statements(names):
        function = function_name(door)
        name = f"{names.prefix}{door}"
        log = f"{function}Log"
        made[log] = {
            "Type": "AWS::Logs::LogGroup",
            "Properties": {"LogGroupName": f"/aws/lambda/{name}", "RetentionInDays": {"Ref": "LogRetentionDays"}},
        }
        properties: dict[str, Any] = {
            "FunctionName": name,
            "LoggingConfig": {"LogGroup": {"Ref": log}},
            "Environment": {"Variables": _told(door, names)},
        }
        if door in _HEARING:
            properties["Events"] = _heard(function, *_HEARING[door], names)
        made[function] = {"Properties": properties}
    made["Events"]["Properties"]["EventInvokeConfig"] = {
        "MaximumRetryAttempts": _EVENT_RETRIES_MAX,
        "DestinationConfig": {"OnFailure": {"Type": "SQS", "Destination": {"Fn::GetAtt": [dead_events, "Arn"]}}},
    }
    # The next minute does what this one could not.
    made["Clock"]["Properties"]["EventInvokeConfig"] = {"MaximumRetryAttempts": 0, "MaximumEventAgeInSeconds": 60}
    return made


def _told(door: str, names: Names) -> dict[str, Any]:
    told: dict[str, Any] = {"MISTRAL_TABLE_PREFIX": names.prefix}
    if door != "authorizer":
        told["MISTRAL_PAYLOAD_BUCKET"] = {"Ref": BUCKET}
    if door in ("executor", "executor_long"):
        told["MISTRAL_ACTION_ROLE_ARN"] = {"Fn::GetAtt": [ACTION_ROLE, "Arn"]}
    return told


def _heard(function: str, queue: str, concurrency: str, names: Names) -> dict[str, Any]:
    """A message that fails comes again without its neighbours, and so many functions listen at a time."""
    return {
        f"{function}SqsEventSource": {
            "Properties": {
                # In this form, which Chalice's own has too, it replaces that; it makes the function wait for the queue.
                "Queue": {"Fn::Sub": f"${{{logical(names.prefix + queue, 'Queue')}.Arn}}"},
                "FunctionResponseTypes": ["ReportBatchItemFailures"],
                "ScalingConfig": {"MaximumConcurrency": {"Ref": concurrency}},
            }
        }
    }


def located(template: Mapping[str, Any], bucket: Any, key: Any) -> dict[str, Any]:
    """A packaged template, its functions' code named by where it was uploaded to."""
    made = {name: dict(each) if isinstance(each, dict) else each for name, each in template.items()}
    for name, resource in made["Resources"].items():
        if resource["Type"] == "AWS::Serverless::Function":
            code = {"CodeUri": {"Bucket": bucket, "Key": key}}
            made["Resources"][name] = {**resource, "Properties": {**resource["Properties"], **code}}
    return made


def dead_events(names: Names) -> tuple[str, str, int]:
    """Where an event lies that the door failed with: logical name, name, and for how long."""
    name = f"{names.prefix}events{DEAD_LETTER_SUFFIX}"
    return logical(name, "Queue"), name, DEAD_LETTER_RETENTION_SEC
