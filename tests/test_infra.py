"""The template of a deployment agrees with the emulated cloud, and with the doors."""

import json
from typing import Any

import app
from chalicelib import limits
from chalicelib.adapters.schema import table_definition
from chalicelib.local.cloud import names_with_prefix
from infra import resources


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
    names = names_with_prefix(resources.PREFIX).tables
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


def test_one_failing_message_does_not_bring_back_its_neighbours():
    for function in ("Executor", "ExecutorLong"):
        events = resources.template()["Resources"][function]["Properties"]["Events"]
        assert events[f"{function}SqsEventSource"]["Properties"]["FunctionResponseTypes"] == ["ReportBatchItemFailures"]


def test_the_bucket_is_closed_and_encrypted():
    (bucket,) = _by_type("AWS::S3::Bucket").values()
    assert all(bucket["PublicAccessBlockConfiguration"].values())
    assert bucket["BucketEncryption"]
