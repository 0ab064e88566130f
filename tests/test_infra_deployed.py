"""The packaged template, deployed on the emulator: a workflow runs through what came of it."""

import json
from urllib.parse import urlsplit

import boto3
import pytest

from chalicelib.adapters.schema import TIME_TO_LIVE, table_definition
from chalicelib.local import doctor
from chalicelib.local.main import main
from chalicelib.settings import Settings
from tests.deployed import DOORS, STACK, deployed, emulated_template, expanded_text, packaged_template

WORKFLOW = """
version: '2.0'
release:
  input: [parts, text]
  output: {done: <% $.done %>, text: <% $.text %>}
  tasks:
    build:
      with-items: part in <% $.parts %>
      action: std.echo output=<% $.part %>
      publish: {done: <% task().result %>}
      on-success: tell
    tell: {action: aws.s3.list_buckets, timeout: 300}
"""


@pytest.fixture(scope="module")
def deployment():
    with deployed() as made:
        yield made


def test_a_workflow_runs_from_its_upload_to_its_output_on_what_was_deployed(deployment):
    deployment.request("POST", "/v2/workflows", WORKFLOW)
    given = {"workflow_name": "release", "input": {"parts": [1, 2, 3], "text": "x" * 100_000}}

    execution = deployment.request("POST", "/v2/executions", given)
    deployment.work()

    ended = deployment.request("GET", f"/v2/executions/{execution['id']}")
    assert (ended["state"], ended["project_id"]) == ("SUCCESS", "p1")
    assert json.loads(ended["output"])["done"] == [1, 2, 3]
    bucket = deployment.environments["executor"]["MISTRAL_PAYLOAD_BUCKET"]
    assert boto3.client("s3").list_objects_v2(Bucket=bucket)["KeyCount"] > 0


def test_a_webhook_works_at_once_with_the_secret_that_the_stack_generates(deployment):
    deployment.request("POST", "/v2/workflows", "version: '2.0'\nasks: {tasks: {answer: {action: std.async_noop}}}\n")
    execution = deployment.request("POST", "/v2/executions", {"workflow_name": "asks"})
    deployment.work()
    [action] = deployment.request("GET", "/v2/action_executions", query={"state": "RUNNING"})["action_executions"]
    webhook = deployment.request("POST", f"/v2/action_executions/{action['id']}/webhook", {})["url"]

    deployment.request("POST", urlsplit(webhook).path.removeprefix("/api"), {"approved": True})
    deployment.work()

    assert deployment.request("GET", f"/v2/executions/{execution['id']}")["state"] == "SUCCESS"


def test_the_tables_have_the_keys_indexes_and_attributes_that_the_code_expects(deployment):
    client = boto3.client("dynamodb")
    for name in ("mistral-executions", "mistral-definitions"):
        table, expected = client.describe_table(TableName=name)["Table"], table_definition(name)
        assert table["KeySchema"] == expected["KeySchema"]
        assert table["AttributeDefinitions"] == expected["AttributeDefinitions"]
        indexes = {index["IndexName"]: index for index in table["GlobalSecondaryIndexes"]}
        assert indexes.keys() == {index["IndexName"] for index in expected["GlobalSecondaryIndexes"]}
        for index in expected["GlobalSecondaryIndexes"]:
            assert indexes[index["IndexName"]]["KeySchema"] == index["KeySchema"]
            assert indexes[index["IndexName"]]["Projection"] == index["Projection"]
        assert table["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
        assert table["DeletionProtectionEnabled"] is True
    assert TIME_TO_LIVE["Enabled"] is True


def test_every_door_is_a_function_and_every_queue_has_its_dead_letters(deployment):
    functions = {found["FunctionName"] for found in boto3.client("lambda").list_functions()["Functions"]}
    assert functions == {f"mistral-{door}" for door in DOORS}
    assert deployment.heard == {
        "executor": "mistral-tasks",
        "executor_long": "mistral-tasks-long",
        "notifier": "mistral-notifications",
    }
    sqs = boto3.client("sqs")
    for queue in deployment.heard.values():
        attributes = sqs.get_queue_attributes(
            QueueUrl=sqs.get_queue_url(QueueName=queue)["QueueUrl"], AttributeNames=["All"]
        )["Attributes"]
        assert json.loads(attributes["RedrivePolicy"])["deadLetterTargetArn"].endswith(f":{queue}-dead")


@pytest.mark.parametrize("queue", ["tasks", "tasks-long", "notifications", "events"])
def test_the_dead_letters_of_every_queue_are_sent_again_by_one_command(deployment, monkeypatch, capsys, queue):
    for name, value in deployment.environments["clock"].items():
        monkeypatch.setenv(name, value)
    sqs = boto3.client("sqs")
    url = sqs.get_queue_url(QueueName=f"mistral-{queue}-dead")["QueueUrl"]
    body = {"requestPayload": {"id": "e-1"}} if queue == "events" else {"kind": "reconcile", "x": "gone"}
    sqs.send_message(QueueUrl=url, MessageBody=json.dumps(body))

    assert main(["doctor", "--redrive", queue]) == 0

    assert capsys.readouterr().out == f"1 messages sent again to {queue}\n"
    left = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert left["ApproximateNumberOfMessages"] == left["ApproximateNumberOfMessagesNotVisible"] == "0"


def test_every_dead_letter_queue_of_the_stack_is_one_that_the_command_knows(deployment):
    environment = deployment.environments["clock"]
    known = doctor.expected(Settings.from_environment(environment)).queues
    names = {url.rpartition("/")[2] for url in boto3.client("sqs").list_queues()["QueueUrls"]}
    assert {name for name in names if name.endswith("-dead")} == {name for name in known if name.endswith("-dead")}


def test_every_log_is_kept_for_a_bounded_time(deployment):
    groups = boto3.client("logs").describe_log_groups()["logGroups"]
    assert {group["logGroupName"]: group["retentionInDays"] for group in groups} == {
        f"/aws/lambda/mistral-{door}": 30 for door in DOORS
    }


def test_no_more_is_left_out_on_the_emulator_than_must_be(deployment):
    whole, emulated = json.loads(expanded_text())["Resources"], emulated_template()["Resources"]
    alarms = ("AWS::CloudWatch::", "AWS::SNS::TopicPolicy")
    left_out = {name for name in whole.keys() - emulated if not whole[name]["Type"].startswith(alarms)}
    assert len(left_out) == 11, left_out
    resources = boto3.client("cloudformation").list_stack_resources(StackName=STACK)["StackResourceSummaries"]
    made = {resource["LogicalResourceId"] for resource in resources if resource["LogicalResourceId"]}
    assert emulated_template()["Resources"].keys() - made == {"MistralKeyPolicy"}  # its condition does not hold


def test_the_stages_do_not_meet_in_one_account():
    names = {
        stage: {
            json.dumps(value)
            for resource in packaged_template(stage)["Resources"].values()
            if resource["Type"] != "AWS::Lambda::Permission"
            for name, value in resource["Properties"].items()
            if name in ("BucketName", "RoleName", "TableName", "QueueName", "FunctionName", "LogGroupName")
        }
        for stage in ("dev", "prod")
    }
    assert len(names["dev"]) == len(names["prod"]) > 20
    assert names["dev"] & names["prod"] == set()
