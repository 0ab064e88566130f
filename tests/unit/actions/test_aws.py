"""``aws.*`` actions, made of botocore's models, against an emulated AWS."""

from __future__ import annotations

import base64
import io
import json
import threading
import zipfile

import pytest
from moto import mock_aws

from chalicelib.actions import aws_operations
from chalicelib.actions.action import Action
from chalicelib.actions.aws import AwsActions
from chalicelib.actions.aws_clients import AwsClients
from chalicelib.actions.aws_models import AwsModels
from chalicelib.actions.registry import ActionContext, AwsSettings, perform
from chalicelib.errors import InvalidActionException
from chalicelib.vocabulary import Json, Result
from tests.unit.actions.http_server import http_server

CONTEXT = ActionContext(action_execution_id="an-id", aws=AwsSettings(region="eu-west-1"), deadline_sec=100)


@pytest.fixture
def aws():
    """A fresh source inside an emulated AWS: clients of an earlier emulation are of no use."""
    with mock_aws(config={"lambda": {"use_docker": False}}):
        yield AwsActions()


@pytest.fixture(scope="module")
def models() -> AwsActions:
    return AwsActions()


def found(source: AwsActions, name: str) -> Action:
    action = source.find(name)
    assert action is not None
    return action


def call(source: AwsActions, name: str, context: ActionContext = CONTEXT, **input: Json) -> Result:
    action = found(source, name)
    action.check(input)
    return perform(action, input, context)


def fault(source: AwsActions, name: str, **input: Json) -> str:
    with pytest.raises(InvalidActionException) as caught:
        found(source, name).check(input)
    return caught.value.message


# -- calls ------------------------------------------------------------------------------------------------------------


def test_an_instance_is_started_found_and_terminated(aws):
    image = call(aws, "aws.ec2.describe_images", query="Images[0].ImageId").data
    started = call(aws, "aws.ec2.run_instances", ImageId=image, MinCount=1, MaxCount=1, InstanceType="t3.micro")
    assert started.error is None
    instance = started.data["Instances"][0]
    assert "ResponseMetadata" not in started.data
    assert instance["LaunchTime"].endswith("+00:00")
    json.dumps(started.data)
    states = call(
        aws,
        "aws.ec2.describe_instances",
        InstanceIds=[instance["InstanceId"]],
        query="Reservations[].Instances[].State.Name",
    )
    assert states.data == ["running"]
    ended = call(aws, "aws.ec2.terminate_instances", InstanceIds=[instance["InstanceId"]])
    assert ended.data["TerminatingInstances"][0]["CurrentState"]["Name"] in {"shutting-down", "terminated"}


def test_an_object_comes_back_from_s3_as_text_or_as_base64(aws):
    call(aws, "aws.s3.create_bucket", Bucket="bucket", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    call(aws, "aws.s3.put_object", Bucket="bucket", Key="text", Body="grüße")
    call(aws, "aws.s3.put_object", Bucket="bucket", Key="bytes", Body={"base64": "//4A"})
    assert call(aws, "aws.s3.get_object", Bucket="bucket", Key="text").data["Body"] == "grüße"
    assert call(aws, "aws.s3.get_object", Bucket="bucket", Key="bytes").data["Body"] == {"base64": "//4A"}


def test_an_object_beyond_the_bound_is_refused(aws, monkeypatch):
    monkeypatch.setattr("chalicelib.actions.aws_values.AWS_STREAM_BYTES_MAX", 3)
    call(aws, "aws.s3.create_bucket", Bucket="bucket", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    call(aws, "aws.s3.put_object", Bucket="bucket", Key="three", Body="abc")
    call(aws, "aws.s3.put_object", Bucket="bucket", Key="four", Body="abcd")
    assert call(aws, "aws.s3.get_object", Bucket="bucket", Key="three").data["Body"] == "abc"
    assert "larger than 3 bytes" in call(aws, "aws.s3.get_object", Bucket="bucket", Key="four").error


def test_items_are_put_and_all_pages_of_them_scanned(aws, monkeypatch):
    call(
        aws,
        "aws.dynamodb.create_table",
        TableName="t",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    for number in range(5):
        call(aws, "aws.dynamodb.put_item", TableName="t", Item={"id": {"S": str(number)}, "n": {"N": "1"}})
    one_page = call(aws, "aws.dynamodb.scan", TableName="t", Limit=2)
    assert len(one_page.data["Items"]) == 2
    query = "sort(Items[].id.S)"
    assert call(aws, "aws.dynamodb.scan", TableName="t", Limit=2, paginate=True, query=query).data == list("01234")
    monkeypatch.setattr(aws_operations, "AWS_PAGED_ITEMS_MAX", 3)
    bounded = call(aws, "aws.dynamodb.scan", TableName="t", Limit=2, paginate=True).data
    assert len(bounded["Items"]) == 3
    assert bounded["NextToken"]
    monkeypatch.setattr(aws_operations, "AWS_PAGED_ITEMS_MAX", 1000)
    monkeypatch.setattr(aws_operations, "AWS_PAGES_MAX", 2)
    assert "more than 2 pages" in call(aws, "aws.dynamodb.scan", TableName="t", Limit=1, paginate=True).error


def test_a_message_goes_through_sqs(aws):
    url = call(aws, "aws.sqs.create_queue", QueueName="q", query="QueueUrl").data
    call(aws, "aws.sqs.send_message", QueueUrl=url, MessageBody="hello")
    assert call(aws, "aws.sqs.receive_message", QueueUrl=url, query="Messages[0].Body").data == "hello"


def test_a_secret_is_kept_with_a_token_made_of_the_action_execution(aws):
    first = call(aws, "aws.secretsmanager.create_secret", Name="s", SecretString="x").data
    assert call(aws, "aws.secretsmanager.get_secret_value", SecretId="s", query="SecretString").data == "x"
    other = ActionContext(action_execution_id="other", aws=AwsSettings(region="eu-west-1"))
    second = call(aws, "aws.secretsmanager.create_secret", other, Name="s2", SecretString="x").data
    third = call(aws, "aws.secretsmanager.create_secret", Name="s3", SecretString="x").data
    assert first["VersionId"] == third["VersionId"] != second["VersionId"]


def test_a_token_that_is_given_is_kept(aws):
    token = "00000000-0000-0000-0000-000000000001"
    given = call(aws, "aws.secretsmanager.create_secret", Name="s", SecretString="x", ClientRequestToken=token)
    assert given.data["VersionId"] == token


def test_the_region_can_be_given_and_defaults_to_the_settings(aws):
    zones = "AvailabilityZones[0].RegionName"
    assert call(aws, "aws.ec2.describe_availability_zones", query=zones).data == "eu-west-1"
    elsewhere = call(aws, "aws.ec2.describe_availability_zones", query=zones, region="us-west-2")
    assert elsewhere.data == "us-west-2"
    assert "failed: " in call(aws, "aws.ec2.describe_availability_zones", region="not a region").error


def test_a_null_is_not_sent(aws):
    assert call(aws, "aws.ec2.describe_instances", InstanceIds=None, Filters=None, region=None, query=None).data == {
        "Reservations": []
    }


def test_an_answer_of_aws_that_is_an_error_names_its_code(aws):
    error = call(aws, "aws.ec2.describe_instances", InstanceIds=["i-00000000000000000"]).error
    assert error.startswith(
        "The action raised an exception [action=aws.ec2.describe_instances, action_ex_id=an-id, "
        "msg='aws.ec2.describe_instances failed: [InvalidInstanceID.NotFound] The instance ID"
    )


def test_a_query_that_does_not_fit_the_result_is_an_error(aws):
    error = call(aws, "aws.ec2.describe_instances", query="length(`5`)").error
    assert "aws.ec2.describe_instances failed: " in error


def test_base64_text_that_is_none_is_refused(aws):
    expected = "Invalid value for parameter Body: not base64"
    assert expected in fault(aws, "aws.s3.put_object", Bucket="bucket", Key="k", Body={"base64": "?"})
    unchecked = perform(
        found(aws, "aws.s3.put_object"), {"Bucket": "bucket", "Key": "k", "Body": {"base64": "?"}}, CONTEXT
    )
    assert expected in unchecked.error


def test_lambda_is_invoked_with_text_and_answers_text(aws):
    role = call(aws, "aws.iam.create_role", RoleName="r", AssumeRolePolicyDocument="{}", query="Role.Arn").data
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("f.py", "")
    code = {"ZipFile": {"base64": base64.b64encode(package.getvalue()).decode()}}
    call(aws, "aws.lambda.create_function", FunctionName="f", Role=role, Code=code, Runtime="python3.12", Handler="f.f")
    assert "Payload" in call(aws, "aws.lambda.invoke", FunctionName="f", Payload='{"a": 1}').data


def test_the_endpoint_of_the_settings_is_called_and_buckets_stay_in_the_path():
    with http_server() as server:
        context = ActionContext(aws=AwsSettings(region="us-east-1", endpoint_url=server.url), deadline_sec=30)
        result = perform(found(AwsActions(), "aws.s3.get_object"), {"Bucket": "echo", "Key": "k"}, context)
        assert result.error is None
        assert server.received[0].path == "/echo/k"
        assert "mistral-serverless" in server.received[0].headers["User-Agent"]


def test_a_call_that_may_have_happened_is_not_repeated_when_its_time_is_over():
    with http_server() as server:
        context = ActionContext(aws=AwsSettings(region="us-east-1", endpoint_url=server.url), deadline_sec=1)
        result = perform(found(AwsActions(), "aws.s3.get_object"), {"Bucket": "silent", "Key": "k"}, context)
        assert "Read timeout" in result.error
        assert len(server.received) == 1


# -- checks -----------------------------------------------------------------------------------------------------------


def test_wrong_names_bring_the_right_ones(models):
    message = fault(models, "aws.ec2.run_instances", image_id="ami-1", MinCount=1)
    assert "Invalid input [name=aws.ec2.run_instances, " in message
    assert "missing=['MaxCount'], unexpected=['image_id']]" in message
    assert "did you mean ImageId instead of image_id?" in message


def test_every_wrong_value_is_reported_with_its_place(models):
    message = fault(
        models,
        "aws.ec2.run_instances",
        MinCount="one",
        MaxCount=1,
        TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Kee": "a"}]}],
    )
    assert "Invalid type for parameter MinCount" in message
    assert 'Unknown parameter in TagSpecifications[0].Tags[0]: "Kee"' in message


def test_a_slip_in_a_value_is_reported_and_a_new_value_passes(models):
    check = {"MinCount": 1, "MaxCount": 1}
    assert "did you mean 'terminate'?" in fault(
        models, "aws.ec2.run_instances", **check, InstanceInitiatedShutdownBehavior="terminat"
    )
    assert "did you mean 't3.micro'?" in fault(models, "aws.ec2.run_instances", **check, InstanceType="T3.micro")
    found(models, "aws.ec2.run_instances").check({**check, "InstanceType": "z99.huge"})
    found(models, "aws.ec2.create_volume").check({"AvailabilityZone": "eu-west-1a", "VolumeType": "gp7"})


def test_expressions_pass_for_any_value(models):
    found(models, "aws.ec2.run_instances").check(
        {
            "MinCount": "<% $.n %>",
            "MaxCount": "{{ _.n }}",
            "TagSpecifications": "<% $.tags %>",
            "InstanceType": "<% $.type %>",
            "query": "<% $.q %>",
            "region": "<% $.r %>",
        }
    )
    assert "Kee" in fault(models, "aws.ec2.create_tags", Resources="<% $.r %>", Tags=[{"Kee": "<% $.x %>"}])


def test_extras_are_checked(models):
    assert "query is not a JMESPath expression" in fault(models, "aws.ec2.describe_instances", query="a[")
    assert "query must be text" in fault(models, "aws.ec2.describe_instances", query=5)
    assert "region must be text" in fault(models, "aws.ec2.describe_instances", region=5)
    assert "paginate must be true or false" in fault(models, "aws.ec2.describe_instances", paginate="yes")
    assert "aws.ec2.run_instances has no pages" in fault(
        models, "aws.ec2.run_instances", MinCount=1, MaxCount=1, paginate=True
    )
    found(models, "aws.ec2.describe_instances").check({"paginate": False, "query": None, "region": None})


def test_an_operation_without_input_takes_the_extras_only(models):
    action = found(models, "aws.sts.get_caller_identity")
    assert action.signature_text == "region=null, role_arn=null, query=null, paginate=false"
    action.check({})
    assert "unexpected=['x']" in fault(models, "aws.sts.get_caller_identity", x=1)


def test_an_extra_steps_aside_for_a_member_of_its_name(models):
    action = found(models, "aws.cloudsearchdomain.search")
    names = [parameter.name for parameter in action.parameters]
    assert names[0] == "query"
    assert "aws_query" in names
    action.check({"query": "star", "aws_query": "hits.hit[]"})


def test_parameters_are_described(models):
    action = found(models, "aws.ec2.run_instances")
    by_name = {parameter.name: parameter for parameter in action.parameters}
    assert by_name["MinCount"].required
    assert by_name["MinCount"].type == "integer"
    assert by_name["TagSpecifications"].type == "array"
    assert not by_name["ClientToken"].required
    assert action.description.startswith("Launches the specified number of instances")
    assert not any("<" in parameter.description and ">" in parameter.description for parameter in action.parameters)


def test_a_required_idempotency_token_need_not_be_given(models):
    action = found(models, "aws.datazone.create_domain")
    token = {parameter.name: parameter for parameter in action.parameters}["clientToken"]
    assert not token.required


def test_every_call_is_an_effect(models):
    action = found(models, "aws.ec2.describe_instances")
    assert not action.is_pure({})
    assert action.is_sync


# -- bounds -----------------------------------------------------------------------------------------------------------


def test_names_are_complete_and_in_order(models):
    names = list(models.names(prefix="aws.dynamodb"))
    assert names == sorted(names)
    assert {"aws.dynamodb.put_item", "aws.dynamodbstreams.get_records"} <= set(names)
    assert list(models.names(after="aws.sqs.tag_queue", prefix="aws.sqs."))[-1] == "aws.sqs.untag_queue"


def test_models_that_were_read_do_not_pile_up():
    models = AwsModels()
    for service in models.services[:12]:
        name = next(iter(models.operations(service)))
        assert models.operation(service, name) is not None
    kept = [key for key in models.loader._cache if key[0] == "load_service_model"]
    assert 0 < len(kept) <= 8


def test_clients_are_kept_shared_and_bounded(monkeypatch):
    monkeypatch.setattr("chalicelib.actions.aws_clients.AWS_CLIENTS_MAX", 2)
    clients = AwsClients(AwsModels())

    def client(region: str, deadline_sec: float | None = 100) -> Json:
        return clients.client("sqs", region=region, endpoint_url=None, deadline_sec=deadline_sec)

    first = client("us-east-1")
    assert client("us-east-1", 91) is first
    assert first.meta.config.read_timeout == 90
    assert client("us-east-1", 0.5).meta.config.read_timeout == 1
    assert client("us-east-1", None).meta.config.read_timeout == 900
    assert client("us-east-1") is not first


def test_threads_get_one_client():
    clients = AwsClients(AwsModels())
    got: list[Json] = []
    threads = [
        threading.Thread(
            target=lambda: got.append(clients.client("sqs", region="us-east-1", endpoint_url=None, deadline_sec=60))
        )
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(client) for client in got}) == 1
