"""Each role allows what its door calls, and nothing that no door calls but what is named with a reason."""

import ast
import json
import re
from typing import Any
from unittest.mock import patch

import boto3
import pytest

from chalicelib import limits
from infra import roles
from infra.package import ROOT
from infra.parameters import PARAMETERS
from tests.deployed import DOORS, Call, deployed, packaged_template
from tests.markdown import rows
from tests.planted import SECRET_VALUES

ACCOUNT = "123456789012"
LARGE = "x" * 100_000
WORKFLOWS = """
version: '2.0'
inner:
  input: [text]
  output: {text: <% $.text %>}
  tasks:
    say: {action: std.echo output=<% $.text %>, publish: {text: <% task().result %>}}
outer:
  input: [text]
  output: {text: <% $.text %>, secret: <% $.secret %>}
  tasks:
    one: {workflow: inner text=<% $.text %>, on-success: [secret, object]}
    secret:
      action: std.echo output='secret://key'
      publish: {secret: <% task().result %>}
      on-success: parameter
    parameter: {action: std.echo output='secret://ssm/key'}
    object: {action: aws.s3.list_buckets}
waiting:
  tasks:
    wait: {action: std.async_noop, timeout: 3000}
"""
# Which IAM actions an operation needs, where they are not called the same.
ACTIONS = {
    ("s3", "ListObjectsV2"): ["s3:ListBucket"],
    ("s3", "DeleteObjects"): ["s3:DeleteObject"],
    ("sqs", "SendMessageBatch"): ["sqs:SendMessage"],
}
OF_TRANSACTIONS = {"Put": "PutItem", "Delete": "DeleteItem", "ConditionCheck": "ConditionCheckItem"}


def needed(call: Call) -> list[tuple[str, str]]:
    """The IAM actions and the resources that a call needs."""
    service, operation, request = call.service, call.operation, call.request
    base = f"arn:aws:{service}:us-east-1:{ACCOUNT}:"
    match service:
        case "dynamodb" if operation == "TransactWriteItems":
            return [
                (f"dynamodb:{OF_TRANSACTIONS[kind]}", f"{base}table/{what['TableName']}")
                for item in request["TransactItems"]
                for kind, what in item.items()
            ]
        case "dynamodb" if "RequestItems" in request:
            return [(f"dynamodb:{operation}", f"{base}table/{table}") for table in request["RequestItems"]]
        case "dynamodb":
            index = f"/index/{request['IndexName']}" if "IndexName" in request else ""
            return [(f"dynamodb:{operation}", f"{base}table/{request['TableName']}{index}")]
        case "sqs":
            resources = [base + (request.get("QueueName") or request["QueueUrl"].rpartition("/")[2])]
        case "s3":
            keys = [one["Key"] for one in request.get("Delete", {}).get("Objects", ())] or [request.get("Key", "")]
            resources = [f"arn:aws:s3:::{request['Bucket']}" + (f"/{key}" if key else "") for key in keys]
        case "secretsmanager":
            resources = [f"{base}secret:{request['SecretId']}-AbCdEf"]
        case "ssm":
            resources = [f"{base}parameter{request['Name']}"]
        case "sts":
            resources = [request["RoleArn"]]
        case "events":
            resources = [f"{base}event-bus/{entry['EventBusName']}" for entry in request["Entries"]]
        case "sns":
            resources = [request["TopicArn"]]
        case _:
            raise AssertionError(f"{call.door} calls {service} {operation}")
    actions = ACTIONS.get((service, operation), [f"{service}:{operation}"])
    return [(action, resource) for action in actions for resource in resources]


def matches(pattern: str, value: str) -> bool:
    """IAM's way: an asterisk is any text, a question mark any character."""
    return re.fullmatch(re.escape(pattern).replace(r"\*", ".*").replace(r"\?", "."), value) is not None


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def allows(document: list[dict[str, Any]], action: str, resource: str) -> bool:
    """What IAM decides by these statements: a denial counts more than any permission."""
    effects = {
        statement["Effect"]
        for statement in document
        if any(matches(pattern, action) for pattern in listed(statement["Action"]))
        and any(matches(pattern, resource) for pattern in listed(statement["Resource"]))
    }
    return effects == {"Allow"}


def policies_of(role: str) -> list[dict[str, Any]]:
    """The statements of a role as it was made, with everything resolved."""
    iam = boto3.client("iam")
    names = iam.list_role_policies(RoleName=role)["PolicyNames"]
    documents = [iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"] for name in names]
    # The emulator keeps what came by CloudFormation as Python writes it.
    parsed = [ast.literal_eval(document) if isinstance(document, str) else document for document in documents]
    return [statement for document in parsed for statement in document["Statement"]]


class Seen:
    """What a run through all doors has called, and what the roles say."""

    def __init__(self, calls: list[Call], statements: dict[str, list[dict[str, Any]]], actions: Any) -> None:
        self.calls = calls
        self.statements = statements
        self.of_actions = actions


@pytest.fixture(scope="module")
def seen():
    with deployed() as deployment:
        prepare(deployment)
        tour(deployment)
        by_function = {
            found["FunctionName"].removeprefix("mistral-"): found["Role"].rpartition("/")[2]
            for found in boto3.client("lambda").list_functions()["Functions"]
        }
        statements = {door: policies_of(by_function[door]) for door in DOORS}
        yield Seen(deployment.calls, statements, policies_of("mistral-actions-us-east-1"))


def prepare(deployment):
    boto3.client("secretsmanager").create_secret(Name="mistral/p1/key", SecretString=SECRET_VALUES[0])
    boto3.client("ssm").put_parameter(Name="/mistral/p1/key", Value=SECRET_VALUES[1], Type="SecureString")
    boto3.client("events").create_event_bus(Name="mistral-news")
    boto3.client("sns").create_topic(Name="mistral-news")
    container = deployment.containers["notifier"]
    assert container.settings.table_prefix == "mistral-"


def publishers():
    topic = f"arn:aws:sns:us-east-1:{ACCOUNT}:mistral-news"
    return [{"type": "eventbridge", "bus": "mistral-news"}, {"type": "sns", "topic_arn": topic}]


def tour(deployment):
    """Everything that a door may have to do on AWS."""
    ask = deployment.request
    ask("POST", "/v2/workflows", WORKFLOWS)
    ask("POST", "/v2/environments", {"name": "wide", "variables": {"text": LARGE}})
    given = {"workflow_name": "outer", "input": {"text": LARGE}, "params": {"notify": publishers()}}
    execution = ask("POST", "/v2/executions", given)
    deployment.work()
    ended = ask("GET", f"/v2/executions/{execution['id']}")
    assert ended["state"] == "SUCCESS", ended
    for path in ("executions", "tasks", "action_executions", "workflows"):
        assert ask("GET", f"/v2/{path}")[path]
    ask("DELETE", f"/v2/executions/{execution['id']}")

    with patch.object(limits, "RESPONSE_BYTES_MAX", 100):  # beyond which an answer is fetched from the bucket
        ask("GET", "/v2/workflows")

    waiting = ask("POST", "/v2/executions", {"workflow_name": "waiting"})
    deployment.work()
    [action] = ask("GET", "/v2/action_executions", query={"state": "RUNNING"})["action_executions"]
    ask("PUT", f"/v2/action_executions/{action['id']}", {"state": "SUCCESS", "output": {"text": LARGE}})
    deployment.work()
    assert ask("GET", f"/v2/executions/{waiting['id']}")["state"] == "SUCCESS"

    inner = {"workflow_name": "inner", "workflow_input": {"text": LARGE}}
    ask("POST", "/v2/cron_triggers", {"name": "often", "pattern": "* * * * *", **inner})
    exchange = {"exchange": "nova", "topic": "notifications", "event": "made"}
    workflows = ask("GET", "/v2/workflows", query={"name": "inner"})["workflows"]
    ask("POST", "/v2/event_triggers", {"name": "made", "workflow_id": workflows[0]["id"], **exchange,
                                       "workflow_input": {"text": LARGE}})  # fmt: skip
    deployment.happen({"version": "0", "id": "e-1", "account": ACCOUNT, "region": "us-east-1", "resources": [],
                       "time": "2026-11-23T16:00:00Z", "source": "nova", "detail-type": "notifications",
                       "detail": {"event_type": "made", "context": {"project_id": "p1"}, "payload": {}}})  # fmt: skip
    deployment.tick()
    deployment.work()
    ask("DELETE", "/v2/cron_triggers/often")


def test_each_role_allows_what_its_door_calls(seen):
    called = {(call.door, action, resource) for call in seen.calls for action, resource in as_themselves(seen, call)}
    refused = [one for one in sorted(called) if not allows(seen.statements[one[0]], one[1], one[2])]
    assert refused == []
    assert {door for door, _, _ in called} == set(DOORS)


def as_themselves(seen, call):
    """What a door calls as itself: an action's own call, here the list of all buckets, is made as its role."""
    return [] if call.operation == "ListBuckets" else needed(call)


def test_nothing_is_granted_that_no_door_calls_but_what_is_named_with_a_reason(seen):
    called = {(call.door, action) for call in seen.calls for action, _ in as_themselves(seen, call)}
    granted = {
        (door, action)
        for door, statements in seen.statements.items()
        for statement in statements
        for action in listed(statement["Action"])
    }
    uncalled = {one for one in granted - called if one[1] not in roles.UNCALLED}
    of_turns = {one for one in uncalled if one[1] in roles.OF_TURNS and one[0] != "authorizer"}
    assert uncalled - of_turns == roles.UNCALLED_BY_DOORS.keys()
    assert {action for _, action in called} >= roles.OF_TURNS
    assert not {action for _, action in called} & roles.UNCALLED.keys()


def test_no_resource_is_named_that_no_door_reaches_by_that_statement_but_those_named_with_a_reason(seen):
    called = {one for call in seen.calls for one in as_themselves(seen, call)}
    unreached = {
        statement["Sid"]
        for statements in seen.statements.values()
        for statement in statements
        for resource in listed(statement["Resource"])
        if not any(action in listed(statement["Action"]) and matches(resource, on) for action, on in called)
    }
    assert unreached == roles.UNREACHED.keys()


def test_actions_are_their_own_role_which_never_touches_the_service(seen):
    assumed = {call.request["RoleArn"] for call in seen.calls if call.service == "sts"}
    assert assumed == {f"arn:aws:iam::{ACCOUNT}:role/mistral-actions-us-east-1"}
    [denied] = seen.of_actions
    assert (denied["Effect"], denied["Action"]) == ("Deny", "*")
    operators = [{"Effect": "Allow", "Action": "*", "Resource": "*"}, denied]
    assert allows(operators, "dynamodb:PutItem", f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/orders")
    # Whatever the doors do as themselves with what belongs to the service, actions may not do.
    reached = {one for call in seen.calls if call.service != "sts" for one in as_themselves(seen, call)}
    reached = {one for one in reached if "mistral-news" not in one[1]}
    assert [one for one in sorted(reached) if allows(operators, *one)] == []


def test_what_stands_with_an_asterisk_has_a_reason(seen):
    starred = {
        statement["Sid"]
        for statements in seen.statements.values()
        for statement in statements
        if any("*" in text for text in (*listed(statement["Action"]), *listed(statement["Resource"])))
    }
    assert starred <= roles.WILDCARDS.keys()
    assert not [action for statements in seen.statements.values() for statement in statements
                for action in listed(statement["Action"]) if "*" in action]  # fmt: skip
    assert [statement["Sid"] for statements in seen.statements.values() for statement in statements
            if statement["Resource"] == ["*"]] == ["Trace"] * len(DOORS)  # fmt: skip


def test_a_call_that_a_role_does_not_allow_is_found(seen):
    stranger = Call("authorizer", "dynamodb", "DeleteItem", {"TableName": "mistral-executions"})
    [(action, resource)] = needed(stranger)
    assert not allows(seen.statements["authorizer"], action, resource)


def test_the_policy_files_of_chalice_are_the_generated_ones():
    for door in DOORS:
        assert roles.policy_file(door).read_text("utf-8") == roles.policy_text(door)
    files = {path.name for path in roles.FOLDER.glob("policy*.json")}
    assert files == {roles.policy_file(door).name for door in DOORS}


def test_no_door_is_given_more_time_than_its_queue_waits_for():
    config = json.loads((ROOT / ".chalice" / "config.json").read_text("utf-8"))["lambda_functions"]
    made = packaged_template()["Resources"]
    assert config.keys() == set(DOORS)
    assert config["executor"]["lambda_timeout"] * 6 == made["MistralTasksQueue"]["Properties"]["VisibilityTimeout"]
    long = made["MistralTasksLongQueue"]["Properties"]["VisibilityTimeout"]
    assert config["executor_long"]["lambda_timeout"] * 6 == long


def test_the_table_of_parameters_is_the_template():
    told = {cells[0].strip("`"): cells[1].strip("`") for cells in rows(ROOT / "docs" / "deployment.md", "Parameters")
            if "`" in cells[0]}  # fmt: skip
    assert told == {name: str(one["Default"]) for name, one in PARAMETERS.items()}
