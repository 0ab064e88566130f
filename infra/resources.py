"""The template that Chalice merges into its own: tables, queues, bucket, and what its decorators cannot say.

`python -m infra.resources` writes `infra/resources.json`; a test holds the file against this module. Shapes, names and
times come from where the emulated cloud takes them, so that the two cannot drift apart.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from chalicelib.adapters.schema import TIME_TO_LIVE, table_definition
from chalicelib.local.cloud import (
    DEAD_LETTER_RETENTION_SEC,
    DEAD_LETTER_SUFFIX,
    QUEUE_TIMEOUTS_SEC,
    RECEIVES_MAX,
    VISIBILITY_TIMEOUTS,
    names_with_prefix,
)

PREFIX: Final = "mistral-"
FILE: Final = Path(__file__).with_name("resources.json")
_INCOMPLETE_UPLOADS_DAYS: Final = 7


def template() -> dict[str, Any]:
    """Everything to merge, as CloudFormation with SAM."""
    names = names_with_prefix(PREFIX)
    resources: dict[str, Any] = {}
    for table in names.tables:
        resources[_logical(table, "Table")] = _table(table)
    for queue, name in names.queues.items():
        dead = _logical(name, "DeadLetters")
        resources[dead] = _queue(name + DEAD_LETTER_SUFFIX, MessageRetentionPeriod=DEAD_LETTER_RETENTION_SEC)
        resources[_logical(name, "Queue")] = _queue(
            name,
            VisibilityTimeout=VISIBILITY_TIMEOUTS * QUEUE_TIMEOUTS_SEC[queue],
            RedrivePolicy={"deadLetterTargetArn": {"Fn::GetAtt": [dead, "Arn"]}, "maxReceiveCount": RECEIVES_MAX},
        )
    resources["MistralPayloadsBucket"] = _bucket(names.bucket)
    return {"Resources": resources | _partial_batches()}


def _logical(name: str, kind: str) -> str:
    return "".join(part.capitalize() for part in name.split("-")) + kind


def _table(name: str) -> dict[str, Any]:
    return {
        "Type": "AWS::DynamoDB::Table",
        "DeletionPolicy": "Retain",
        "UpdateReplacePolicy": "Retain",
        "Properties": table_definition(name)
        | {
            "TimeToLiveSpecification": TIME_TO_LIVE,
            "SSESpecification": {"SSEEnabled": True},
            "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True},
        },
    }


def _queue(name: str, **properties: Any) -> dict[str, Any]:
    return {
        "Type": "AWS::SQS::Queue",
        "Properties": {"QueueName": name, "SqsManagedSseEnabled": True, **properties},
    }


def _bucket(name: str) -> dict[str, Any]:
    # A bucket's name is one for all of AWS: the account makes it ours.
    return {
        "Type": "AWS::S3::Bucket",
        "DeletionPolicy": "Retain",
        "UpdateReplacePolicy": "Retain",
        "Properties": {
            "BucketName": {"Fn::Sub": f"{name}-${{AWS::AccountId}}-${{AWS::Region}}"},
            "BucketEncryption": {
                "ServerSideEncryptionConfiguration": [{"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]
            },
            "PublicAccessBlockConfiguration": {
                "BlockPublicAcls": True,
                "BlockPublicPolicy": True,
                "IgnorePublicAcls": True,
                "RestrictPublicBuckets": True,
            },
            "LifecycleConfiguration": {
                "Rules": [
                    {
                        "Id": "abandoned-uploads",
                        "Status": "Enabled",
                        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": _INCOMPLETE_UPLOADS_DAYS},
                    }
                ]
            },
        },
    }


def _partial_batches() -> dict[str, Any]:
    """A message that fails comes again without its neighbours: Chalice has no option for it, the template has."""
    return {
        function: {
            "Properties": {
                "Events": {
                    f"{function}SqsEventSource": {"Properties": {"FunctionResponseTypes": ["ReportBatchItemFailures"]}}
                }
            }
        }
        for function in ("Executor", "ExecutorLong")
    }


def text() -> str:
    """The file's text."""
    return json.dumps(template(), indent=2) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
