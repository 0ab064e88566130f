"""The resources that the service expects to find: tables, task queues with dead-letter queues, the payload bucket."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from botocore.exceptions import ClientError

from chalicelib import limits
from chalicelib.adapters.aws import Aws
from chalicelib.adapters.tables import create_tables

# Lambda wants a visibility timeout of six times the function's own.
VISIBILITY_TIMEOUTS: Final = 6
RECEIVES_MAX: Final = limits.MESSAGE_RECEIVES_MAX
DEAD_LETTER_SUFFIX: Final = "-dead"
DEAD_LETTER_RETENTION_SEC: Final = 14 * 24 * 3600

QUEUE_TIMEOUTS_SEC: Final[Mapping[str, int]] = {
    "tasks": limits.EXECUTOR_TIMEOUT_SEC,
    "tasks-long": limits.EXECUTOR_LONG_TIMEOUT_SEC,
    "notifications": limits.NOTIFIER_TIMEOUT_SEC,
}

_EXISTS: Final = frozenset({"BucketAlreadyOwnedByYou", "BucketAlreadyExists", "QueueAlreadyExists"})


@dataclass(frozen=True, slots=True)
class CloudNames:
    """What the resources are called; ``queues`` gives the name of each task queue by the name that the service uses."""

    tables: tuple[str, ...]
    queues: Mapping[str, str]
    bucket: str
    # Queues that no door listens to: workers outside do.
    targets: tuple[str, ...] = ()


def names_with_prefix(prefix: str, targets: Iterable[str] = ()) -> CloudNames:
    """The usual names: everything begins with the prefix."""
    return CloudNames(
        tables=(f"{prefix}executions", f"{prefix}definitions"),
        queues={queue: f"{prefix}{queue}" for queue in QUEUE_TIMEOUTS_SEC},
        bucket=f"{prefix}payloads",
        targets=tuple(f"{prefix}{target}" for target in targets),
    )


def create_cloud(aws: Aws, names: CloudNames) -> None:
    """Create what is missing; what is there stays as it is."""
    create_tables(aws, names.tables)
    for queue, name in names.queues.items():
        _create_queue(aws.client("sqs"), name, visibility_sec=VISIBILITY_TIMEOUTS * QUEUE_TIMEOUTS_SEC[queue])
    for name in names.targets:
        _create_queue(aws.client("sqs"), name, visibility_sec=limits.WORKER_LEASE_SEC)
    region = {} if aws.region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": aws.region}}
    _unless_there(aws.client("s3").create_bucket, Bucket=names.bucket, **region)


def _create_queue(client: Any, name: str, *, visibility_sec: int) -> None:
    dead = name + DEAD_LETTER_SUFFIX
    retention = {"MessageRetentionPeriod": str(DEAD_LETTER_RETENTION_SEC)}
    _unless_there(client.create_queue, QueueName=dead, Attributes=retention)
    url = client.get_queue_url(QueueName=dead)["QueueUrl"]
    arn = client.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    attributes = {
        "VisibilityTimeout": str(visibility_sec),
        "RedrivePolicy": json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": RECEIVES_MAX}),
    }
    _unless_there(client.create_queue, QueueName=name, Attributes=attributes)


def _unless_there(create: Any, **request: Any) -> None:
    try:
        create(**request)
    except ClientError as error:
        if error.response["Error"]["Code"].rpartition(".")[2] not in _EXISTS:
            raise
