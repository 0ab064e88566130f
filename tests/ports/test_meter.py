"""The meter counts what the AWS adapters send, and the units that DynamoDB charges."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any
from uuid import uuid4

import pytest

from chalicelib.adapters.aws import Aws
from chalicelib.adapters.memory import ManualClock, MemoryPayloads, MemoryQueue, MemoryTable
from chalicelib.adapters.payloads import S3Payloads
from chalicelib.adapters.queues import SqsQueue
from chalicelib.adapters.schema import index_entry_bytes, item_bytes
from chalicelib.adapters.tables import DynamoTable, create_tables
from chalicelib.errors import ConflictException
from chalicelib.local import units
from chalicelib.local.meter import Counts, Meter, MeteredPayloads, MeteredQueue, MeteredTable, count_requests
from chalicelib.local.prices import cost_of
from chalicelib.services.ports import Check, Delete, IndexKey, Item, Message, Payloads, Put, Queue, Table

NAMES_BYTES = len("pk" + "p" + "sk" + "a" + "body")
PLACE = IndexKey("v", "1")
MOVED = IndexKey("v", "2")


def an_item(key: str = "a", size: int = 100, *, revision: int = 0, **indexes: IndexKey) -> Item:
    return Item("p", key, bytes(size), revision, indexes)


def work_on(table: Table) -> None:
    """A little of everything, charged alike by AWS and by DynamoDB Local."""
    table.write([Put(an_item(size=3000, revision=1, listing=PLACE, alarm=PLACE), expected=0)])
    table.write([Put(an_item(size=10, revision=2, listing=MOVED, alarm=PLACE), expected=1)])
    table.write([Put(an_item("task#1")), Put(an_item("task#2", 1500, root=PLACE)), Put(an_item("task#3", 6000))])
    table.write([Put(an_item(revision=123, listing=PLACE)), Delete("p", "task#2")])
    table.write([Delete("p", "task#1")])
    table.write([Check("p", "a", 123)])
    table.write_bulk(
        (an_item(f"b{n:03}", 9000, workflow=IndexKey("w", f"{n:03}")) for n in range(60)), [("p", "task#3")]
    )
    table.get("p", ["a"])
    table.get("p", ["never"], consistent=False)
    table.get_many(("p", f"b{n:03}") for n in range(60))
    table.get("p", ["a", "a"])
    table.query("p", prefix="b", limit=7)
    table.query("p", start="b010", end="b019", consistent=False, descending=True)
    table.list_index("workflow", "w", limit=50)
    table.list_index("workflow", "w", after="010", until="030", limit=50)


def work_that_dynamodb_local_charges_less(table: Table) -> None:
    """The three things in which the arithmetic is dearer on purpose."""
    table.write([Put(an_item()), Check("p", "never", 0)])
    table.get("p", ["a", "never"])
    table.query("none")


def work_without_cost(table: Table) -> None:
    """What is never sent."""
    table.write([])
    table.write_bulk([])
    table.get("p", [])
    table.query("p", limit=0)
    table.query("p", start="b", end="a")
    table.list_index("workflow", "w", limit=0)
    table.list_index("workflow", "w", after="b", until="a", limit=5)


def metered(work: Any) -> Counts:
    meter = Meter()
    work(MeteredTable(MemoryTable(), meter))
    return meter.counts()


def a_table(aws: Aws) -> DynamoTable:
    name = f"test-{uuid4()}"
    create_tables(aws, [name])
    return DynamoTable(aws, name)


def test_the_requests_counted_are_those_that_are_sent(moto: Aws):
    table = a_table(moto)
    seen = count_requests(moto.dynamodb().client)
    work_on(table)
    work_that_dynamodb_local_charges_less(table)
    work_without_cost(table)
    counted = metered(work_on).requests + metered(work_that_dynamodb_local_charges_less).requests
    assert counted == seen
    assert set(seen) == {
        "PutItem",
        "DeleteItem",
        "TransactWriteItems",
        "BatchWriteItem",
        "GetItem",
        "BatchGetItem",
        "Query",
    }


def test_a_query_of_many_megabytes_counts_its_pages(moto: Aws):
    def work(table: Table) -> None:
        table.write_bulk(an_item(str(number), 120_000) for number in range(30))
        table.query("p")

    table = a_table(moto)
    seen = count_requests(moto.dynamodb().client)
    work(table)
    counted = metered(work)
    assert abs(counted.requests["Query"] - seen["Query"]) <= 1  # moto reckons a body by its base64
    assert counted.requests["Query"] == 4
    assert counted.read_units == pytest.approx(30 * 120_000 / 4096, abs=5)


def test_what_is_not_found_and_what_is_only_checked_costs_all_the_same():
    counted = metered(work_that_dynamodb_local_charges_less)
    assert (counted.write_units, counted.read_units) == (2 + 2, 1 + 1 + 1)


def test_what_is_never_sent_costs_nothing():
    assert metered(work_without_cost) == Counts()


def test_messages_and_payloads_are_counted_as_they_are_sent(moto: Aws):
    def work(queue: Queue, payloads: Payloads) -> None:
        queue.send([Message({"n": n}, "tasks" if n % 2 else "tasks-long") for n in range(24)])
        queue.send([])
        payloads.put("a", b"12345")
        payloads.put("a", b"12345")
        payloads.get("a")
        payloads.delete(["a"])
        payloads.delete([])
        payloads.put("a", b"12345")

    sqs, s3 = moto.client("sqs"), moto.client("s3")
    urls = {name: sqs.create_queue(QueueName=f"{name}-{uuid4()}")["QueueUrl"] for name in ("tasks", "tasks-long")}
    bucket = f"payloads-{uuid4()}"
    s3.create_bucket(Bucket=bucket)
    seen = [count_requests(sqs), count_requests(s3)]
    work(SqsQueue(moto, urls), S3Payloads(moto, bucket))

    meter = Meter()
    work(MeteredQueue(MemoryQueue(ManualClock()), meter), MeteredPayloads(MemoryPayloads(), meter))
    counted = meter.counts()
    assert counted.requests == seen[0] + seen[1]
    assert counted.requests["SendMessageBatch"] == 4
    assert (counted.messages_sent, counted.payload_puts, counted.payload_gets) == (24, 2, 1)
    assert counted.payload_bytes == 10


@pytest.mark.parametrize(
    ("before", "after", "alone", "in_transaction"),
    [
        (None, an_item(), 1, 2),
        (None, an_item(size=1024 - NAMES_BYTES), 1, 2),
        (None, an_item(size=1025 - NAMES_BYTES), 2, 4),
        (None, an_item(listing=PLACE), 2, 4),
        (an_item(listing=PLACE), an_item(listing=PLACE), 1, 2),
        (an_item(listing=PLACE), an_item(listing=MOVED), 3, 6),
        (an_item(listing=PLACE), an_item(), 2, 4),
        (an_item(listing=PLACE, alarm=PLACE), an_item(alarm=MOVED), 4, 8),
        (an_item(size=5000), an_item(), 5, 10),
        (an_item(size=5000, listing=PLACE), None, 6, 12),
        (None, None, 1, 2),
    ],
)
def test_a_write_is_charged_as_dynamodb_local_charges_it(
    before: Item | None, after: Item | None, alone: int, in_transaction: int
):
    assert units.write_units(before, after) == alone
    assert units.write_units(before, after, in_transaction=True) == in_transaction


@pytest.mark.parametrize(
    ("number", "size"), [(1, 2), (12, 2), (123, 3), (1234567, 5), (1_760_000_000, 3), (1_763_456_789, 6)]
)
def test_a_number_takes_a_byte_for_two_significant_digits_and_one_more(number: int, size: int):
    assert item_bytes(an_item(revision=number)) - item_bytes(an_item()) == len("revision") + size


def test_names_and_texts_count_in_utf8():
    assert item_bytes(Item("é", "🔑", b"x")) == len("pk" + "sk" + "body") + 2 + 4 + 1
    assert index_entry_bytes("root", "v", sort="é", partition="p", key="k") == len("rprspksk") + 5


def test_reads_are_charged_by_started_four_kilobytes_and_half_when_eventual():
    assert units.get_units(None, consistent=True) == 1
    assert units.get_units(an_item(size=4096), consistent=True) == 2
    assert units.get_units(an_item(size=4096), consistent=False) == 1
    assert units.query_units([100] * 80, consistent=True) == (1, 2)
    assert units.query_units([], consistent=False) == (1, 0.5)
    assert units.check_units(an_item(size=5000)) == 4


def test_a_lost_race_is_counted_and_charged():
    meter = Meter()
    table = MeteredTable(MemoryTable(), meter)
    table.write([Put(an_item(size=3000))])
    with meter.measure() as lost, pytest.raises(ConflictException):
        table.write([Put(an_item(), expected=0)])
    assert (lost.conflicts, lost.write_units, lost.items_written) == (1, 3, 0)
    with meter.measure() as lost, pytest.raises(ConflictException):
        table.write([Put(an_item(), expected=0), Put(an_item("b"))])
    assert (lost.conflicts, lost.write_units) == (1, 8)
    assert lost.requests == Counter({"TransactWriteItems": 1})


def test_units_are_told_apart_by_the_kind_of_item():
    counts = metered(
        lambda table: table.write([Put(an_item("header")), Put(an_item("task#1")), Put(an_item("task#2"))])
    )
    assert counts.units_by_kind == {"header": 2, "task": 4}
    assert counts.items_written == 3
    assert counts.bytes_written == sum(item_bytes(an_item(key)) for key in ("header", "task#1", "task#2"))


def test_a_bill_adds_up():
    counts = Counts(write_units=1_000_000, read_units=1_000_000, messages_sent=1_000_000, invocations=1_000_000)
    assert cost_of(counts) == pytest.approx(0.625 + 0.125 + 3 * (0.40 + 0.10) + 0.20)
    assert cost_of(Counts(compute_sec=3600)) == pytest.approx(3600 * 0.5 * 0.0000166667)
    assert cost_of(Counts(payload_puts=1_000_000, payload_gets=1_000_000)) == pytest.approx(5.4)
    assert cost_of(Counts()) == 0


if DYNAMODB_URL := os.environ.get("MISTRAL_TEST_DYNAMODB_URL", ""):

    def test_the_units_counted_are_those_that_dynamodb_local_charges():
        aws = Aws("us-east-1", endpoint_url=DYNAMODB_URL)
        table = a_table(aws)
        charged = {"read": 0.0, "write": 0.0}

        def count(model: Any, parsed: dict[str, Any], **_: Any) -> None:
            found = parsed.get("ConsumedCapacity", [])
            kind = "write" if "Write" in model.name or model.name in {"PutItem", "DeleteItem"} else "read"
            charged[kind] += sum(each["CapacityUnits"] for each in (found if isinstance(found, list) else [found]))

        aws.dynamodb().client.meta.events.register("after-call", count)
        work_on(table)
        counted = metered(work_on)
        assert charged == {"read": counted.read_units, "write": counted.write_units}
