"""The template that Chalice merges into its own: tables, queues, bucket, and what its decorators cannot say.

`python -m infra.resources [TARGET ...]` writes `infra/resources.json`, with a queue for each target; a test holds the
file (without targets) against this module. `make package` makes its own, with the names of the stage. Shapes, names
and times come from where the emulated cloud takes them, so that the two cannot drift apart.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from chalicelib.adapters.payloads import SHARED_PREFIX
from chalicelib.adapters.schema import TIME_TO_LIVE, table_definition
from chalicelib.limits import WORKER_LEASE_SEC
from chalicelib.local.cloud import (
    DEAD_LETTER_RETENTION_SEC,
    DEAD_LETTER_SUFFIX,
    QUEUE_TIMEOUTS_SEC,
    RECEIVES_MAX,
    VISIBILITY_TIMEOUTS,
    names_with_prefix,
)
from infra import functions, gateway, monitoring, roles, signing
from infra.functions import BUCKET, logical
from infra.parameters import CONDITIONS, KEY, NO_VALUE, PARAMETERS, with_key
from infra.roles import Names

FILE: Final = Path(__file__).with_name("resources.json")
_INCOMPLETE_UPLOADS_DAYS: Final = 7
_SHARED_DAYS: Final = 1  # the shortest there is; the signed addresses live for minutes


def template(targets: Iterable[str] = ()) -> dict[str, Any]:
    """Everything to merge, by the usual names; with a queue for each target that workers listen to."""
    return template_for(Names(targets=tuple(targets)))


def template_for(made: Names) -> dict[str, Any]:
    """Everything to merge, as CloudFormation with SAM, by the names of a stage."""
    names = names_with_prefix(made.prefix, made.targets)
    resources: dict[str, Any] = {}
    for table in names.tables:
        resources[logical(table, "Table")] = _table(table)
    times = {name: VISIBILITY_TIMEOUTS * QUEUE_TIMEOUTS_SEC[queue] for queue, name in names.queues.items()}
    for name, visibility_sec in (times | dict.fromkeys(names.targets, WORKER_LEASE_SEC)).items():
        dead = logical(name, "DeadLetters")
        resources[dead] = _queue(name + DEAD_LETTER_SUFFIX, MessageRetentionPeriod=DEAD_LETTER_RETENTION_SEC)
        resources[logical(name, "Queue")] = _queue(
            name,
            VisibilityTimeout=visibility_sec,
            RedrivePolicy={"deadLetterTargetArn": {"Fn::GetAtt": [dead, "Arn"]}, "maxReceiveCount": RECEIVES_MAX},
        )
    resources[BUCKET] = _bucket(names.bucket)
    resources[f"{BUCKET}Policy"] = _encrypted_connections_only()
    dead_events, name, retention_sec = functions.dead_events(made)
    resources[dead_events] = _queue(name, MessageRetentionPeriod=retention_sec)
    for more in (
        functions.resources(made, dead_events),
        gateway.resources(),
        signing.resources(made),
        roles.resources(made),
        monitoring.resources(made),
    ):
        resources = _merged(resources, more)
    return {"Parameters": PARAMETERS, "Conditions": CONDITIONS, "Resources": resources}


def _merged(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Both, with what both have merged likewise."""
    result = dict(one)
    for name, value in other.items():
        known = result.get(name)
        result[name] = _merged(known, value) if isinstance(known, dict) and isinstance(value, dict) else value
    return result


def _table(name: str) -> dict[str, Any]:
    return {
        "Type": "AWS::DynamoDB::Table",
        "DeletionPolicy": "Retain",
        "UpdateReplacePolicy": "Retain",
        "Properties": table_definition(name)
        | {
            "TimeToLiveSpecification": TIME_TO_LIVE,
            "SSESpecification": {"SSEEnabled": True, "SSEType": "KMS", "KMSMasterKeyId": with_key(KEY)},
            "DeletionProtectionEnabled": True,
            "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True},
        },
    }


def _queue(name: str, **properties: Any) -> dict[str, Any]:
    return {
        "Type": "AWS::SQS::Queue",
        "Properties": {
            "QueueName": name,
            "SqsManagedSseEnabled": with_key(NO_VALUE, True),
            "KmsMasterKeyId": with_key(KEY),
            **properties,
        },
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
                "ServerSideEncryptionConfiguration": [
                    {
                        "BucketKeyEnabled": with_key(True),
                        "ServerSideEncryptionByDefault": {
                            "SSEAlgorithm": with_key("aws:kms", "AES256"),
                            "KMSMasterKeyID": with_key(KEY),
                        },
                    }
                ]
            },
            "PublicAccessBlockConfiguration": {
                "BlockPublicAcls": True,
                "BlockPublicPolicy": True,
                "IgnorePublicAcls": True,
                "RestrictPublicBuckets": True,
            },
            # A browser's page is sent here for a large answer; only a signed address opens anything.
            "CorsConfiguration": {
                "CorsRules": [{"AllowedMethods": ["GET"], "AllowedOrigins": ["*"], "AllowedHeaders": ["*"]}]
            },
            "LifecycleConfiguration": {
                "Rules": [
                    {
                        "Id": "abandoned-uploads",
                        "Status": "Enabled",
                        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": _INCOMPLETE_UPLOADS_DAYS},
                    },
                    {
                        "Id": "shared-answers",
                        "Status": "Enabled",
                        "Prefix": SHARED_PREFIX,
                        "ExpirationInDays": _SHARED_DAYS,
                    },
                ]
            },
        },
    }


def _encrypted_connections_only() -> dict[str, Any]:
    arn = {"Fn::GetAtt": [BUCKET, "Arn"]}
    refused = {
        "Sid": "EncryptedConnectionsOnly",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [arn, {"Fn::Join": ["", [arn, "/*"]]}],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    return {
        "Type": "AWS::S3::BucketPolicy",
        "DeletionPolicy": "Retain",
        "UpdateReplacePolicy": "Retain",
        "Properties": {
            "Bucket": {"Ref": BUCKET},
            "PolicyDocument": {"Version": "2012-10-17", "Statement": [refused]},
        },
    }


def text(targets: Iterable[str] = ()) -> str:
    """The file's text."""
    return json.dumps(template(targets), indent=2) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(sys.argv[1:]), encoding="utf-8")
