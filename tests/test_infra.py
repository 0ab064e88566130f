"""The template of a deployment agrees with the emulated cloud, and with the doors."""

import json
from typing import Any

import app
from chalicelib import limits
from chalicelib.adapters.payloads import SHARED_PREFIX
from chalicelib.adapters.schema import TIME_TO_LIVE, table_definition
from chalicelib.local.cloud import names_with_prefix
from infra import resources, roles


def _by_type(kind: str) -> dict[str, dict[str, Any]]:
    return {
        name: resource["Properties"]
        for name, resource in resources.template()["Resources"].items()
        if resource.get("Type") == kind
    }


def test_the_template_on_file_is_the_generated_one():
    assert resources.FILE.read_text(encoding="utf-8") == resources.text()
    assert json.loads(resources.text()) == resources.template()


def test_the_deployed_tables_have_the_keys_and_indexes_that_the_code_expects():
    tables = _by_type("AWS::DynamoDB::Table")
    names = names_with_prefix(roles.PREFIX).tables
    assert sorted(table["TableName"] for table in tables.values()) == sorted(names)
    for table in tables.values():
        assert table_definition(table["TableName"]).items() <= table.items()


def test_each_queue_that_a_door_listens_to_is_there_with_its_dead_letters_and_time_for_six_tries():
    queues = {queue["QueueName"]: queue for queue in _by_type("AWS::SQS::Queue").values()}
    heard = {config.queue for config in app.app.event_sources if hasattr(config, "queue") and config.queue}
    assert heard == {name for name in queues if not name.endswith("-dead")}
    for name in heard:
        assert f"{name}-dead" in queues
    assert queues["mistral-tasks"]["VisibilityTimeout"] == 6 * limits.EXECUTOR_TIMEOUT_SEC
    assert queues["mistral-tasks-long"]["VisibilityTimeout"] == 6 * limits.EXECUTOR_LONG_TIMEOUT_SEC


def test_a_target_gets_a_queue_of_its_own_that_no_door_listens_to():
    added = resources.template(["gpu"])["Resources"].keys() - resources.template()["Resources"].keys()
    assert added == {"MistralGpuQueue", "MistralGpuDeadLetters", "DeadLettersGpuAlarm", "OldMessagesGpuAlarm"}
    queue = resources.template(["gpu"])["Resources"]["MistralGpuQueue"]["Properties"]
    assert (queue["QueueName"], queue["VisibilityTimeout"]) == ("mistral-gpu", limits.WORKER_LEASE_SEC)
    assert names_with_prefix("mistral-", ["gpu"]).targets == ("mistral-gpu",)


def test_one_failing_message_does_not_bring_back_its_neighbours():
    for function in ("Executor", "ExecutorLong", "Notifier"):
        events = resources.template()["Resources"][function]["Properties"]["Events"]
        assert events[f"{function}SqsEventSource"]["Properties"]["FunctionResponseTypes"] == ["ReportBatchItemFailures"]


def test_the_bucket_is_closed_and_encrypted():
    (bucket,) = _by_type("AWS::S3::Bucket").values()
    assert all(bucket["PublicAccessBlockConfiguration"].values())
    assert bucket["BucketEncryption"]
    policy = resources.template()["Resources"]["MistralPayloadsBucketPolicy"]["Properties"]["PolicyDocument"]
    [refused] = policy["Statement"]
    assert (refused["Effect"], refused["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})


def test_what_is_stored_is_protected():
    for table in _by_type("AWS::DynamoDB::Table").values():
        assert table["DeletionProtectionEnabled"] is True
        assert table["SSESpecification"]["SSEEnabled"] is True
        assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
        assert table["TimeToLiveSpecification"] == TIME_TO_LIVE
    key = {"Ref": "KmsKeyArn"}
    stored = ("AWS::DynamoDB::Table", "AWS::SQS::Queue", "AWS::S3::Bucket", "AWS::SecretsManager::Secret")
    for resource in (found for kind in stored for found in _by_type(kind).values()):
        assert json.dumps(key) in json.dumps(resource)


def test_shared_answers_are_deleted_from_the_bucket_and_open_to_browsers():
    (bucket,) = _by_type("AWS::S3::Bucket").values()
    rules = {rule["Id"]: rule for rule in bucket["LifecycleConfiguration"]["Rules"]}
    assert (rules["shared-answers"]["Prefix"], rules["shared-answers"]["ExpirationInDays"]) == (SHARED_PREFIX, 1)
    assert "Prefix" not in rules["abandoned-uploads"]
    assert all("ExpirationInDays" not in rule for name, rule in rules.items() if name != "shared-answers")
    (cors,) = bucket["CorsConfiguration"]["CorsRules"]
    assert cors["AllowedMethods"] == ["GET"]


def test_an_event_that_fails_too_often_is_kept():
    made = resources.template()["Resources"]
    config = made["Events"]["Properties"]["EventInvokeConfig"]
    [dead, _] = config["DestinationConfig"]["OnFailure"]["Destination"]["Fn::GetAtt"]
    assert config["MaximumRetryAttempts"] == 2
    assert made[dead]["Properties"]["QueueName"] == "mistral-events-dead"
