"""``aws.<service>.wait_<waiter>``: botocore's waiters, one look at a time."""

from __future__ import annotations

from typing import Any

import pytest
from moto import mock_aws

from chalicelib.actions.action import ActionContext, AwsSettings, Pending, Polling, perform
from chalicelib.actions.aws import AwsActions
from chalicelib.errors import InvalidActionException
from chalicelib.vocabulary import Json, JsonObject, Result
from tests.unit.actions.json_service import Answers, json_service


@pytest.fixture
def aws():
    with mock_aws():
        yield AwsActions(pause=lambda _: None)


@pytest.fixture(scope="module")
def models() -> AwsActions:
    return AwsActions()


def look(
    source: AwsActions, name: str, pending: JsonObject | None = None, url: str | None = None, **input: Json
) -> Result:
    found = source.find(name)
    assert found is not None
    found.check(input)
    place = AwsSettings(region="eu-west-1", endpoint_url=url)
    return perform(found, input, ActionContext(aws=place, deadline_sec=100, pending=pending))


def fault(source: AwsActions, name: str, **input: Json) -> str:
    found = source.find(name)
    assert found is not None
    with pytest.raises(InvalidActionException) as caught:
        found.check(input)
    return caught.value.message


def call(source: AwsActions, name: str, **input: Json) -> Any:
    result = look(source, name, **input)
    assert result.error is None, result.error
    return result.data


def test_a_running_instance_ends_the_waiting_with_the_last_answer(aws):
    image = call(aws, "aws.ec2.describe_images", query="Images[0].ImageId")
    started = call(aws, "aws.ec2.run_instances", ImageId=image, MinCount=1, MaxCount=1, query="Instances[0].InstanceId")
    query = "Reservations[].Instances[].State.Name"
    assert call(aws, "aws.ec2.wait_instance_running", InstanceIds=[started], query=query) == ["running"]


def test_what_is_not_there_yet_is_looked_for_again_and_counted(aws):
    first = look(aws, "aws.s3.wait_bucket_exists", Bucket="later")
    assert isinstance(first, Pending)
    assert (first.data, first.delay_sec) == ({"attempts": 1}, 5)
    second = look(aws, "aws.s3.wait_bucket_exists", first.data, Bucket="later", delay=0.5 + 1)
    assert isinstance(second, Pending)
    assert (second.data, second.delay_sec) == ({"attempts": 2}, 1.5)
    call(aws, "aws.s3.create_bucket", Bucket="later", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    assert look(aws, "aws.s3.wait_bucket_exists", second.data, Bucket="later").state == "SUCCESS"


def test_the_last_attempt_fails(aws):
    over = look(aws, "aws.s3.wait_bucket_exists", {"attempts": 19}, Bucket="never")
    assert "aws.s3.wait_bucket_exists failed: what it waits for had not come after 20 attempts" in over.error
    sooner = look(aws, "aws.s3.wait_bucket_exists", Bucket="never", max_attempts=1)
    assert "after 1 attempts" in sooner.error


def test_an_error_that_the_waiter_waits_for_is_its_success(aws):
    assert look(aws, "aws.dynamodb.wait_table_not_exists", TableName="t").error is None


def test_a_failure_that_cannot_become_a_success_is_told_at_once(aws):
    image = call(aws, "aws.ec2.describe_images", query="Images[0].ImageId")
    started = call(aws, "aws.ec2.run_instances", ImageId=image, MinCount=1, MaxCount=1, query="Instances[0].InstanceId")
    call(aws, "aws.ec2.terminate_instances", InstanceIds=[started])
    error = look(aws, "aws.ec2.wait_instance_running", InstanceIds=[started]).error
    assert "Waiter encountered a terminal failure state" in error
    assert "terminated" in error


def test_an_error_of_aws_that_no_acceptor_knows_fails(aws):
    error = look(aws, "aws.ec2.wait_volume_available", VolumeIds=["vol-00000000000000000"]).error
    assert "aws.ec2.wait_volume_available failed: An error occurred (InvalidVolume.NotFound)" in error


def test_a_throttled_look_is_no_failure(models):
    answers: Answers = {"DescribeTable": lambda _: (400, {"__type": "ThrottlingException", "message": "slowly"})}
    with json_service(answers) as service:
        result = look(models, "aws.dynamodb.wait_table_exists", url=service.url, TableName="t")
    assert isinstance(result, Pending)


def test_waiters_are_listed_with_their_parameters(models):
    names = list(models.names(prefix="aws.ec2.wait_"))
    assert "aws.ec2.wait_instance_running" in names
    assert names == sorted(names)
    found = models.find("aws.ec2.wait_instance_running")
    assert found is not None
    assert found.polling is Polling.ONLY
    shown = {parameter.name: parameter for parameter in found.parameters}
    assert (shown["delay"].default, shown["max_attempts"].default) == (15, 40)
    assert "InstanceIds" in shown
    assert "paginate" not in shown
    assert "describe_instances" in found.description


def test_every_waiter_can_be_found_and_none_hides_an_operation(models):
    seen = 0
    for service in models._models.services:
        waiters = models._models.waiters(service)
        assert not waiters.keys() & models._models.operations(service).keys()
        assert all(models._models.waiter(service, name) is not None for name in waiters)
        seen += len(waiters)
    assert seen > 300


def test_a_wrong_delay_or_number_of_attempts_is_refused(models):
    name = "aws.ec2.wait_instance_running"
    for delay in (0, -1, "5", True, 1e12):
        assert "delay must be a number of seconds" in fault(models, name, delay=delay)
    for attempts in (0, 1.5, "5", 10**9):
        assert "max_attempts must be a whole number" in fault(models, name, max_attempts=attempts)
    found = models.find(name)
    assert found is not None
    found.check({"delay": "<% $.d %>", "max_attempts": "{{ _.n }}", "InstanceIds": "<% $.ids %>"})
    assert "did you mean InstanceIds instead of instance_ids?" in fault(models, name, instance_ids=["i-1"])
