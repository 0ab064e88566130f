"""The estimate of a run holds on the real adapters: what it counts is what they send."""

from collections import Counter
from dataclasses import replace
from uuid import uuid4

from benchmarks.workloads import fork
from chalicelib.adapters.aws import Aws
from chalicelib.adapters.payloads import S3Payloads
from chalicelib.adapters.queues import SqsQueue
from chalicelib.adapters.tables import DynamoTable, create_tables
from chalicelib.local.answers import Script
from chalicelib.local.meter import count_requests
from chalicelib.local.rehearsal import Rehearsal, World, in_memory, scripted

WRITES = {"PutItem", "DeleteItem", "TransactWriteItems", "BatchWriteItem"}


def test_a_run_on_the_adapters_sends_the_writes_and_messages_that_were_estimated(moto: Aws):
    text = fork(4, "std.sleep seconds=0")
    estimated = scripted(lambda names: Script({}, 100, names))
    estimated.upload(text)
    expected = estimated.play("work", {}, {}).counts

    tables = [f"cost-{uuid4()}" for _ in range(2)]
    create_tables(moto, tables)
    bucket = f"cost-{uuid4()}"
    moto.client("s3").create_bucket(Bucket=bucket)
    executions, definitions = (DynamoTable(moto, name) for name in tables)
    usual = in_memory()
    real = Rehearsal(None, World(executions, definitions, S3Payloads(moto, bucket), usual.queue, usual.clock))
    real.upload(text)
    seen = count_requests(moto.dynamodb().client)
    played = real.play("work", {}, {})

    # Of reads there are more: the meter looks past itself at what is overwritten, and who plays looks for alarms.
    assert Counter({name: times for name, times in seen.items() if name in WRITES}) == Counter(
        {name: times for name, times in expected.requests.items() if name in WRITES}
    )
    # What actions answer is not the same, and so are its bytes; units are what is paid.
    assert replace(played.counts, bytes_written=0) == replace(expected, bytes_written=0)

    sqs = moto.client("sqs")
    urls = {name: sqs.create_queue(QueueName=f"{name}-{uuid4()}")["QueueUrl"] for name in ("tasks", "tasks-long")}
    sent = count_requests(sqs)
    for message in usual.queue.sent:
        SqsQueue(moto, urls).send([message])
    assert sent["SendMessageBatch"] == played.counts.messages_sent
