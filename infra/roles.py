"""What each door may do on AWS, and what the actions of workflows may do: a role each, and nothing that is not used.

`python -m infra.roles` writes `.chalice/policy-DOOR.json`, which Chalice makes the roles from; in the packaged template
the same statements stand with the account's and the region's own names. tests/test_infra_calls.py holds them against
the calls that the doors really make.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from chalicelib.adapters.payloads import KEY_PREFIX, SHARED_PREFIX
from chalicelib.local.cloud import DEAD_LETTER_SUFFIX, names_with_prefix
from infra.parameters import KEY, NO_VALUE

PREFIX: Final = "mistral-"
SECRETS: Final = "mistral/"
FOLDER: Final = Path(__file__).resolve().parents[1] / ".chalice"
ACTION_ROLE: Final = "MistralActionRole"

_READ: Final = ("dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:Query")
_WRITE: Final = (
    "dynamodb:BatchWriteItem",
    "dynamodb:ConditionCheckItem",
    "dynamodb:DeleteItem",
    "dynamodb:PutItem",
)
_HEAR: Final = ("sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage")

# Why a resource cannot be named more closely, by the statement; a test finds each `*` that stands in a role here.
WILDCARDS: Final[Mapping[str, str]] = {
    "Trace": "X-Ray has no resources: AWS demands the asterisk",
    "WriteLog": "the streams of its own log group, whose names Lambda makes up",
    "ReadState": "the indexes of the tables that it names",
    "WriteState": "the indexes of the tables that it names",
    "DeleteLargeValues": "the objects under one prefix of the service's own bucket",
    "KeepLargeValues": "the objects under one prefix of the service's own bucket",
    "ShareLargeAnswers": "the objects under one prefix of the service's own bucket",
    "ReadSecretsOfActions": "the operator's secrets for actions, under one prefix",
    "ActAsRoles": "roles that workflows name, here or in other accounts; each says itself whom it trusts",
    "TellPublishers": "buses and topics that begin with the service's prefix",
}

# Granted, though no run of the tests calls it, and why.
UNCALLED: Final[Mapping[str, str]] = {
    "logs:CreateLogStream": "Lambda writes the log, not the program",
    "logs:PutLogEvents": "Lambda writes the log, not the program",
    "xray:PutTelemetryRecords": "Lambda sends the traces, not the program",
    "xray:PutTraceSegments": "Lambda sends the traces, not the program",
    "sqs:ChangeMessageVisibility": "Lambda takes the messages from the queue, not the program",
    "sqs:DeleteMessage": "Lambda takes the messages from the queue, not the program",
    "sqs:GetQueueAttributes": "Lambda takes the messages from the queue, not the program",
    "sqs:ReceiveMessage": "Lambda takes the messages from the queue, not the program",
}

# Statements about resources that no call of the program reaches, and why.
UNREACHED: Final[Mapping[str, str]] = {
    "WriteLog": "Lambda writes the log, not the program",
    "Trace": "Lambda sends the traces, not the program",
    "TakeWork": "Lambda takes the messages from the queue, not the program",
    "KeepFailedEvents": "Lambda sends an event there with which the function has failed for the last time",
}

# What a turn may need. Each door carries executions on by the same code, hence may need it all.
OF_TURNS: Final = frozenset({*_READ, *_WRITE, "s3:GetObject", "s3:PutObject", "sqs:SendMessage"})
# Granted to a single door, though no run of the tests calls it there, and why.
UNCALLED_BY_DOORS: Final[Mapping[tuple[str, str], str]] = {
    ("authorizer", "dynamodb:PutItem"): "counts the requests of a project where MISTRAL_RATE_PER_SEC bounds them",
    ("clock", "s3:DeleteObject"): "deletes what has expired where there is such a policy, as the API does",
    ("clock", "s3:ListBucket"): "deletes what has expired where there is such a policy, as the API does",
    ("executor_long", "secretsmanager:GetSecretValue"): "runs actions as the other executor does",
    ("executor_long", "ssm:GetParameter"): "runs actions as the other executor does",
    ("executor_long", "sts:AssumeRole"): "runs actions as the other executor does",
}


@dataclass(frozen=True, slots=True)
class Statement:
    """What is allowed, in CloudFormation's words: ARNs may name the partition, region and account of the stack."""

    sid: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    condition: Mapping[str, Any] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """As it stands in the template."""
        return self._with([_sub(resource) for resource in self.resources])

    def anywhere(self) -> dict[str, Any]:
        """As it stands in Chalice's policy files, which know neither region nor account."""
        return self._with([_starred(resource) for resource in self.resources])

    def _with(self, resources: list[Any]) -> dict[str, Any]:
        made = {"Sid": self.sid, "Effect": "Allow", "Action": list(self.actions), "Resource": resources}
        return made | ({"Condition": dict(self.condition)} if self.condition else {})


def _sub(text: str) -> Any:
    return {"Fn::Sub": text} if "${" in text else text


def _starred(text: str) -> str:
    for name in ("Partition", "Region", "AccountId"):
        text = text.replace(f"${{AWS::{name}}}", "*")
    return text


def _arn(service: str, rest: str) -> str:
    return f"arn:${{AWS::Partition}}:{service}:${{AWS::Region}}:${{AWS::AccountId}}:{rest}"


@dataclass(frozen=True, slots=True)
class Names:
    """What the roles are about.

    ``webhook_secret`` is the ARN of a secret that the operator keeps, or empty; ``generates_webhook_secret``: the
    operator has none, so the stack makes one.
    """

    prefix: str = PREFIX
    targets: tuple[str, ...] = ()
    secrets: str = SECRETS
    webhook_secret: str = ""
    generates_webhook_secret: bool = True

    @property
    def bucket(self) -> str:
        """The ARN of the bucket."""
        return f"arn:${{AWS::Partition}}:s3:::{self.prefix}payloads-${{AWS::AccountId}}-${{AWS::Region}}"

    @property
    def queues(self) -> tuple[str, ...]:
        """The names of all queues that work is sent to."""
        names = names_with_prefix(self.prefix, self.targets)
        return (*names.queues.values(), *names.targets)

    @property
    def action_roles(self) -> str:
        """What the names of roles begin with that actions may act as."""
        return f"{self.prefix}actions-"


def _always(door: str, names: Names) -> tuple[Statement, ...]:
    group = _arn("logs", f"log-group:/aws/lambda/{names.prefix}{door}:*")
    return (
        Statement("WriteLog", ("logs:CreateLogStream", "logs:PutLogEvents"), (group,)),
        Statement("Trace", ("xray:PutTelemetryRecords", "xray:PutTraceSegments"), ("*",)),
    )


def _state(names: Names) -> tuple[Statement, ...]:
    on = [_arn("dynamodb", f"table/{names.prefix}{table}") for table in _BOTH]
    return (
        Statement("ReadState", _READ, (*on, *(f"{table}/index/*" for table in on))),
        Statement("WriteState", _WRITE, tuple(on)),
    )


def _authorizing(names: Names) -> tuple[Statement, ...]:
    """Looking up an API key, and counting the requests of a project."""
    table = (_arn("dynamodb", f"table/{names.prefix}definitions"),)
    return Statement("ReadState", ("dynamodb:GetItem",), table), Statement("WriteState", ("dynamodb:PutItem",), table)


_BOTH: Final = ("executions", "definitions")


def _turns(names: Names) -> tuple[Statement, ...]:
    """Carrying executions on: every door but the authorizer may have to."""
    secret = (
        (Statement("ReadWebhookSecret", ("secretsmanager:GetSecretValue",), (names.webhook_secret,)),)
        if names.webhook_secret
        else ()
    )
    return (
        *_state(names),
        Statement(
            "SendWork", ("sqs:GetQueueUrl", "sqs:SendMessage"), tuple(_arn("sqs", name) for name in names.queues)
        ),
        Statement("KeepLargeValues", ("s3:GetObject", "s3:PutObject"), (f"{names.bucket}/{KEY_PREFIX}*",)),
        *secret,
    )


def _deleting(names: Names) -> tuple[Statement, ...]:
    only = {"StringLike": {"s3:prefix": f"{KEY_PREFIX}*"}}
    return (
        Statement("DeleteLargeValues", ("s3:DeleteObject",), (f"{names.bucket}/{KEY_PREFIX}*",)),
        Statement("FindLargeValues", ("s3:ListBucket",), (names.bucket,), only),
    )


def _hearing(names: Names, queue: str) -> Statement:
    return Statement("TakeWork", _HEAR, (_arn("sqs", f"{names.prefix}{queue}"),))


def _acting(names: Names) -> tuple[Statement, ...]:
    secrets = (_arn("secretsmanager", f"secret:{names.secrets}*"), _arn("ssm", f"parameter/{names.secrets}*"))
    roles = f"arn:${{AWS::Partition}}:iam::*:role/{names.action_roles}*"
    return (
        Statement("ReadSecretsOfActions", ("secretsmanager:GetSecretValue", "ssm:GetParameter"), secrets),
        Statement("ActAsRoles", ("sts:AssumeRole",), (roles,)),
    )


def statements(names: Names) -> dict[str, tuple[Statement, ...]]:
    """What each door may do, by the names of Chalice."""
    executing = (*_turns(names), *_acting(names))
    publishing = (
        _arn("events", f"event-bus/{names.prefix}*"),
        _arn("sns", f"{names.prefix}*"),
    )
    shared = (f"{names.bucket}/{SHARED_PREFIX}*",)
    dead = _arn("sqs", f"{names.prefix}events{DEAD_LETTER_SUFFIX}")
    doors: dict[str, tuple[Statement, ...]] = {
        "api_handler": (
            *_turns(names),
            *_deleting(names),
            Statement("ShareLargeAnswers", ("s3:GetObject", "s3:PutObject"), shared),
        ),
        "authorizer": _authorizing(names),
        "executor": (*executing, _hearing(names, "tasks")),
        "executor_long": (*executing, _hearing(names, "tasks-long")),
        "notifier": (
            *_turns(names),
            _hearing(names, "notifications"),
            Statement("TellPublishers", ("events:PutEvents", "sns:Publish"), publishing),
        ),
        "clock": (*_turns(names), *_deleting(names)),
        "events": (*_turns(names), Statement("KeepFailedEvents", ("sqs:SendMessage",), (dead,))),
    }
    return {door: (*_always(door, names), *own) for door, own in doors.items()}


def role_name(door: str) -> str:
    """The logical name that Chalice gives a door's role."""
    return "".join(part.capitalize() for part in door.split("_")) + "Role"


def resources(names: Names) -> dict[str, Any]:
    """The policies of Chalice's roles, and the role that actions act as."""
    made: dict[str, Any] = {
        role_name(door): {"Properties": {"Policies": [_policy("Door", [each.document() for each in allowed])]}}
        for door, allowed in statements(names).items()
    }
    key = {"Sid": "UseKey", "Effect": "Allow", "Action": ["kms:Decrypt", "kms:GenerateDataKey"], "Resource": KEY}
    made["MistralKeyPolicy"] = {
        "Type": "AWS::IAM::Policy",
        "Condition": "HasKmsKey",
        "Properties": _policy("Key", [key]) | {"Roles": [{"Ref": role_name(door)} for door in statements(names)]},
    }
    return made | {ACTION_ROLE: _action_role(names)}


def _policy(name: str, allowed: list[dict[str, Any]]) -> dict[str, Any]:
    return {"PolicyName": name, "PolicyDocument": {"Version": "2012-10-17", "Statement": allowed}}


def _action_role(names: Names) -> dict[str, Any]:
    """Whom `aws.*` actions act as: may do what the operator attaches, and never touch the service itself."""
    own = [
        *(_arn("dynamodb", f"table/{names.prefix}{table}") for table in _BOTH),
        *(_arn("dynamodb", f"table/{names.prefix}{table}/*") for table in _BOTH),
        *(_arn("sqs", queue) for queue in names.queues),
        *(_arn("sqs", f"{queue}{DEAD_LETTER_SUFFIX}") for queue in (*names.queues, f"{names.prefix}events")),
        names.bucket,
        f"{names.bucket}/*",
        _arn("secretsmanager", f"secret:{names.prefix}token-secret*"),
        _arn("secretsmanager", f"secret:{names.prefix}webhook-secret*"),
        _arn("secretsmanager", f"secret:{names.secrets}*"),
        _arn("ssm", f"parameter/{names.secrets}*"),
        *(_arn("lambda", f"function:{names.prefix}{door}") for door in statements(names)),
        *(_arn("lambda", f"function:{names.prefix}{door}:*") for door in statements(names)),
        *(_arn("logs", f"log-group:/aws/lambda/{names.prefix}{door}:*") for door in statements(names)),
        f"arn:${{AWS::Partition}}:iam::${{AWS::AccountId}}:role/{names.prefix}actions-${{AWS::Region}}",
    ]
    denied = {"Sid": "NeverTheService", "Effect": "Deny", "Action": "*", "Resource": [_sub(arn) for arn in own]}
    trusted = [{"Fn::GetAtt": [role_name(door), "Arn"]} for door in ("executor", "executor_long")]
    return {
        "Type": "AWS::IAM::Role",
        "Properties": {
            "RoleName": _sub(f"{names.action_roles}${{AWS::Region}}"),
            "AssumeRolePolicyDocument": {
                "Version": "2012-10-17",
                "Statement": [{"Effect": "Allow", "Principal": {"AWS": trusted}, "Action": "sts:AssumeRole"}],
            },
            "ManagedPolicyArns": {"Fn::If": ["HasActionPolicies", {"Ref": "ActionPolicyArns"}, NO_VALUE]},
            "Policies": [_policy("NeverTheService", [denied])],
        },
    }


def policy_file(door: str) -> Path:
    """Where Chalice finds the policy of a door."""
    return FOLDER / f"policy-{door.replace('_', '-')}.json"


def policy_text(door: str) -> str:
    """What stands there."""
    allowed = [statement.anywhere() for statement in statements(Names())[door]]
    return json.dumps({"Version": "2012-10-17", "Statement": allowed}, indent=2) + "\n"


if __name__ == "__main__":
    for each in statements(Names()):
        policy_file(each).write_text(policy_text(each), encoding="utf-8")
