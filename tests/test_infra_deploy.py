"""`make deploy` and `make destroy`, against the emulator."""

import json
import os
from unittest.mock import patch

import boto3
import pytest
from botocore.client import BaseClient
from moto import mock_aws

from infra import deploy
from infra.package import PACKAGE, SAM
from tests.deployed import emulated_template

QUICK = {"Delay": 0, "MaxAttempts": 20}
TARGET = deploy.Target("prod", "us-east-1", QUICK)


@pytest.fixture
def cloud():
    with (
        mock_aws(config={"lambda": {"use_docker": False}}),
        patch.dict(os.environ, {"AWS_DEFAULT_REGION": "us-east-1"}),
    ):
        yield boto3.client("cloudformation")


@pytest.fixture
def folder(tmp_path):
    """What was packaged: only tables, queues and bucket, for the emulator expands no functions."""
    made = emulated_template()
    kinds = ("AWS::DynamoDB::Table", "AWS::SQS::Queue", "AWS::S3::Bucket")
    made["Resources"] = {name: one for name, one in made["Resources"].items() if one["Type"] in kinds}
    (tmp_path / SAM).write_text(json.dumps(made), encoding="utf-8")
    (tmp_path / PACKAGE).write_bytes(b"a package")
    return tmp_path


def test_a_stack_is_created_and_its_package_lies_in_a_closed_bucket(cloud, folder):
    deploy.up(TARGET, folder, {"LogRetentionDays": "90"})
    [stack] = cloud.describe_stacks(StackName="mistral-prod")["Stacks"]
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    assert {"ParameterKey": "LogRetentionDays", "ParameterValue": "90"} in stack["Parameters"]
    bucket = TARGET.code_bucket()
    s3 = boto3.client("s3")
    assert s3.list_objects_v2(Bucket=bucket, Prefix="mistral-prod/")["KeyCount"] == 2
    assert all(s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"].values())


def test_an_update_keeps_what_was_chosen_before(cloud, folder):
    deploy.up(TARGET, folder, {"LogRetentionDays": "90"})
    made = json.loads((folder / SAM).read_text("utf-8"))
    made["Resources"]["MistralTasksQueue"]["Properties"]["VisibilityTimeout"] = 900
    (folder / SAM).write_text(json.dumps(made), encoding="utf-8")
    requests = []

    def noted(client, operation, request):
        requests.extend([request] if operation == "CreateChangeSet" else [])
        return original(client, operation, request)

    original = BaseClient._make_api_call
    with patch.object(BaseClient, "_make_api_call", noted):
        deploy.up(TARGET, folder, {"ApiBurst": "300"})
    assert requests[0]["ChangeSetType"] == "UPDATE"
    first, *others = requests[0]["Parameters"]
    assert first == {"ParameterKey": "ApiBurst", "ParameterValue": "300"}
    assert {"ParameterKey": "LogRetentionDays", "UsePreviousValue": True} in others
    assert {tuple(other) for other in others} == {("ParameterKey", "UsePreviousValue")}


def test_functions_are_given_their_package_by_its_content(folder):
    made = {"Resources": {"Door": {"Type": "AWS::Serverless::Function", "Properties": {"CodeUri": "./deployment.zip"}}}}
    (folder / SAM).write_text(json.dumps(made), encoding="utf-8")
    text = deploy.template_with_code(folder, "code", "mistral-prod/1.zip")
    properties = json.loads(text)["Resources"]["Door"]["Properties"]
    assert properties["CodeUri"] == {"Bucket": "code", "Key": "mistral-prod/1.zip"}


def test_what_is_stored_outlives_the_stack_unless_it_is_told_to_go(cloud, folder):
    deploy.up(TARGET, folder, {})
    bucket = "mistral-payloads-123456789012-us-east-1"
    kept = deploy.down(TARGET)
    assert sorted(kept) == ["mistral-definitions", "mistral-executions", bucket]
    assert TARGET.status() is None


def test_everything_goes_when_that_is_asked_for(cloud, folder):
    deploy.up(TARGET, folder, {})
    boto3.client("s3").put_object(Bucket="mistral-payloads-123456789012-us-east-1", Key="payloads/a", Body=b"a")
    assert deploy.down(TARGET, delete_data=True) == []
    assert boto3.client("dynamodb").list_tables()["TableNames"] == []
    assert [found["Name"] for found in boto3.client("s3").list_buckets()["Buckets"]] == [TARGET.code_bucket()]


def test_what_is_not_there_cannot_be_taken_away(cloud):
    with pytest.raises(deploy.DeployError, match="no stack mistral-prod in us-east-1"):
        deploy.down(TARGET)


def test_a_parameter_without_a_value_is_refused(capsys):
    with pytest.raises(SystemExit):
        deploy.main(["up", "--parameter", "LogRetentionDays"])
    assert "NAME=VALUE" in capsys.readouterr().err
