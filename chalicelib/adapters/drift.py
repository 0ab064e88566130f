"""What a deployment has, held against what the code expects: tables, indexes, queues, bucket, and the clock."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from botocore.exceptions import ClientError

from chalicelib.adapters.aws import Aws
from chalicelib.adapters.payloads import KEY_PREFIX
from chalicelib.adapters.schema import TIME_TO_LIVE, table_definition
from chalicelib.data import dataclass
from chalicelib.services.diagnosis import Finding, Problem

NOT_THERE: Final = "it is not there"
_DEPLOY: Final = "deploy again: the template describes it"
_OWNER: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_YOUNG: Final = timedelta(days=1)
_CLOCK_LOOK_BACK: Final = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Expected:
    """What the code expects: names, and the attributes of queues (those of the dead-letter queues included)."""

    tables: tuple[str, ...]
    queues: Mapping[str, Mapping[str, str]]
    bucket: str
    clock: str
    dead_letter_queues: Mapping[str, str] = field(default_factory=dict)


class Inspection:
    """Asks AWS what there is. The local service has neither functions nor rules: there is no clock to ask for."""

    def __init__(self, aws: Aws, expected: Expected, *, has_clock: bool, now: Callable[[], float] = time.time) -> None:
        self._aws = aws
        self._expected = expected
        self._has_clock = has_clock
        self._now = now

    def findings(self) -> list[Finding]:
        """All differences. Raises ClientError for what may not be asked."""
        return [*self._tables(), *self._queues(), *self._bucket(), *self._clock()]

    def owners(self, limit: int) -> Iterator[str]:
        """See ``PayloadOwners``."""
        s3 = self._aws.client("s3")
        pages = s3.get_paginator("list_objects_v2").paginate(
            Bucket=self._expected.bucket,
            Prefix=KEY_PREFIX,
            Delimiter="/",
            PaginationConfig={"MaxItems": limit},
        )
        try:
            found = [each["Prefix"] for page in pages for each in page.get("CommonPrefixes", ())]
        except ClientError as error:
            if _code(error) in ("NoSuchBucket", "404"):
                return
            raise
        for prefix in found[:limit]:
            owner = prefix.removeprefix(KEY_PREFIX).rstrip("/")
            if _OWNER.fullmatch(owner) and self._is_old(prefix):
                yield owner

    def _is_old(self, prefix: str) -> bool:
        """Values are stored before the execution that they belong to."""
        first = self._aws.client("s3").list_objects_v2(Bucket=self._expected.bucket, Prefix=prefix, MaxKeys=1)
        young = datetime.fromtimestamp(self._now(), UTC) - _YOUNG
        return all(each["LastModified"] < young for each in first.get("Contents", ()))

    # -- tables

    def _tables(self) -> Iterator[Finding]:
        client = self._aws.client("dynamodb")
        for name in self._expected.tables:
            try:
                found = client.describe_table(TableName=name)["Table"]
            except ClientError as error:
                if _code(error) != "ResourceNotFoundException":
                    raise
                yield _drift(name, NOT_THERE)
                continue
            yield from (_drift(name, text) for text in _table_differences(table_definition(name), found))
            lives = client.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
            is_on = lives.get("TimeToLiveStatus") in ("ENABLED", "ENABLING")
            if not is_on or lives.get("AttributeName") != TIME_TO_LIVE["AttributeName"]:
                yield _drift(name, f"items do not expire by {TIME_TO_LIVE['AttributeName']}")

    # -- queues

    def _queues(self) -> Iterator[Finding]:
        client = self._aws.client("sqs")
        for name, wanted in self._expected.queues.items():
            try:
                url = client.get_queue_url(QueueName=name)["QueueUrl"]
            except client.exceptions.QueueDoesNotExist:
                yield _drift(name, NOT_THERE)
                continue
            found = client.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
            for attribute, value in wanted.items():
                if found.get(attribute) != value:
                    yield _drift(name, f"{attribute} is {found.get(attribute)}, not {value}")
            dead = self._expected.dead_letter_queues.get(name)
            if dead is not None:
                policy = json.loads(found.get("RedrivePolicy") or "{}")
                if not str(policy.get("deadLetterTargetArn", "")).endswith(f":{dead}"):
                    yield _drift(name, f"messages that fail too often do not go to {dead}")

    def _bucket(self) -> Iterator[Finding]:
        try:
            self._aws.client("s3").head_bucket(Bucket=self._expected.bucket)
        except ClientError as error:
            if _code(error) not in ("404", "NoSuchBucket"):
                raise
            yield _drift(self._expected.bucket, NOT_THERE)

    # -- the clock

    def _clock(self) -> Iterator[Finding]:
        if not self._has_clock:
            return
        name = self._expected.clock
        try:
            function = self._aws.client("lambda").get_function(FunctionName=name)
        except ClientError as error:
            if _code(error) != "ResourceNotFoundException":
                raise
            yield Finding(Problem.CLOCK, name, "there is no such function: nothing rings alarms", _DEPLOY)
            return
        rules = self._rules(function["Configuration"]["FunctionArn"])
        if "ENABLED" not in rules.values():
            text = f"no rule invokes it, of {len(rules)} that name it" if rules else "no rule names it"
            step = "enable its rule (aws events enable-rule --name NAME), or deploy again"
            yield Finding(Problem.CLOCK, name, text, step, {"rules": rules})
        elif not self._invocations(name):
            minutes = int(_CLOCK_LOOK_BACK.total_seconds() // 60)
            step = "look for throttles (concurrency of the account) and for errors in its log"
            yield Finding(Problem.CLOCK, name, f"it was not invoked in the last {minutes} minutes", step)

    def _rules(self, function_arn: str) -> dict[str, str]:
        events = self._aws.client("events")
        names = events.list_rule_names_by_target(TargetArn=function_arn)["RuleNames"]
        return {name: events.describe_rule(Name=name)["State"] for name in names}

    def _invocations(self, function: str) -> float:
        now = datetime.fromtimestamp(self._now(), UTC)
        answer = self._aws.client("cloudwatch").get_metric_statistics(
            Namespace="AWS/Lambda",
            MetricName="Invocations",
            Dimensions=[{"Name": "FunctionName", "Value": function}],
            StartTime=now - _CLOCK_LOOK_BACK,
            EndTime=now,
            Period=60,
            Statistics=["Sum"],
        )
        return float(sum(point["Sum"] for point in answer["Datapoints"]))


def _drift(subject: str, text: str) -> Finding:
    return Finding(Problem.DRIFT, subject, text, _DEPLOY)


def _table_differences(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[str]:
    if found.get("TableStatus", "ACTIVE") not in ("ACTIVE", "UPDATING"):
        yield f"its status is {found['TableStatus']}"
    if found["KeySchema"] != wanted["KeySchema"]:
        yield f"its keys are {_keys(found['KeySchema'])}, not {_keys(wanted['KeySchema'])}"
    billing = found.get("BillingModeSummary", {}).get("BillingMode")
    if billing != wanted["BillingMode"]:
        yield f"it is billed as {billing or 'PROVISIONED'}, not {wanted['BillingMode']}"
    indexes = {each["IndexName"]: each for each in found.get("GlobalSecondaryIndexes", ())}
    for index in wanted["GlobalSecondaryIndexes"]:
        present = indexes.pop(index["IndexName"], None)
        if present is None:
            yield f"index {index['IndexName']}: {NOT_THERE}"
        elif present["KeySchema"] != index["KeySchema"]:
            yield f"the keys of index {index['IndexName']} are {_keys(present['KeySchema'])}"
        elif present["Projection"]["ProjectionType"] != index["Projection"]["ProjectionType"]:
            yield f"index {index['IndexName']} holds {present['Projection']['ProjectionType']}"
        elif present.get("IndexStatus", "ACTIVE") != "ACTIVE":
            yield f"index {index['IndexName']} is {present['IndexStatus']}"
    if indexes:
        yield f"it has more indexes, which every write pays for: {', '.join(sorted(indexes))}"


def _keys(schema: Iterable[Mapping[str, str]]) -> str:
    return " ".join(each["AttributeName"] for each in schema)


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", "")).rpartition(".")[2]
