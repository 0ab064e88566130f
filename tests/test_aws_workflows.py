"""Workflows that use ``aws.*`` on an emulated AWS, from the definition to the output."""

from __future__ import annotations

import boto3
import pytest
from moto import mock_aws

from chalicelib.errors import InvalidModelException
from tests.in_memory import World

WAITING = """
version: '2.0'
provision:
  output:
    found: <% $.found %>
  tasks:
    wait:
      action: aws.s3.wait_bucket_exists
      input:
        Bucket: later
        delay: 10
      on-success: look
    later:
      wait-before: 35
      action: aws.s3.create_bucket
      input:
        Bucket: later
        CreateBucketConfiguration:
          LocationConstraint: eu-west-1
    look:
      action: aws.s3.list_buckets query="Buckets[].Name"
      publish:
        found: <% task().result %>
each:
  input: [instances]
  tasks:
    wait:
      with-items: id in <% $.instances %>
      action: aws.ec2.wait_instance_running
      input:
        InstanceIds: [<% $.id %>]
        query: Reservations[0].Instances[0].InstanceId
      publish:
        running: <% task().result %>
never:
  tasks:
    wait:
      action: aws.s3.wait_bucket_exists Bucket="never" delay=5 max_attempts=3
      publish-on-error:
        why: <% task().result %>
      on-error: over
    over:
      action: std.noop
large:
  input: [key]
  tasks:
    get:
      action: aws.s3.get_object Bucket="bucket" Key=<% $.key %>
"""


@pytest.fixture
def world():
    with mock_aws():
        world = World(region="eu-west-1")
        world.upload(WAITING)
        yield world


def test_a_waiter_waits_until_another_task_has_made_what_it_waits_for(world):
    began = world.clock.now()
    finished = world.run("provision")
    assert finished.state == "SUCCESS"
    assert finished.output["found"] == ["later"]
    assert 35 <= world.clock.now() - began <= 60


def test_waiters_wait_for_each_item(world):
    ec2 = boto3.client("ec2", region_name="eu-west-1")
    image = ec2.describe_images()["Images"][0]["ImageId"]
    started = ec2.run_instances(ImageId=image, MinCount=3, MaxCount=3)["Instances"]
    ids = [instance["InstanceId"] for instance in started]
    finished = world.run("each", {"instances": ids})
    assert finished.state == "SUCCESS"
    assert finished.output["running"] == ids
    assert world.run("each", {"instances": ["i-00000000000000000"]}).state == "ERROR"


def test_what_never_comes_is_an_error_that_can_be_handled(world):
    finished = world.run("never")
    assert finished.state == "SUCCESS"
    assert "had not come after 3 attempts" in str(finished.output)


def test_a_result_larger_than_a_field_is_an_error_that_says_so(world):
    s3 = boto3.client("s3", region_name="eu-west-1")
    s3.create_bucket(Bucket="bucket", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    s3.put_object(Bucket="bucket", Key="fits", Body=b"x" * 1_000_000)
    s3.put_object(Bucket="bucket", Key="too much", Body=b"x" * 1_100_000)
    assert world.run("large", {"key": "fits"}).state == "SUCCESS"
    finished = world.run("large", {"key": "too much"})
    assert finished.state == "ERROR"
    assert "size limit exceeded" in finished.header.state_info.lower()


def test_a_waiter_that_does_not_exist_is_refused_when_it_is_uploaded(world):
    with pytest.raises(InvalidModelException, match="did you mean aws"):
        world.upload("version: '2.0'\nw:\n  tasks:\n    a: {action: aws.s3.wait_bucket_exist}\n")
