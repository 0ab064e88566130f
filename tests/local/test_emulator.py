"""What the changed moto must keep under threads and as tables grow; a new version of moto is tested by these."""

import itertools
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest.mock import patch

import pytest
from botocore.exceptions import ClientError
from moto.dynamodb.models.dynamo_type import Item as MotoItem

from chalicelib.adapters.aws import Aws
from chalicelib.adapters.schema import table_definition
from chalicelib.local import moto_shim
from chalicelib.local.cloud import create_cloud, names_with_prefix
from chalicelib.local.emulator import safe_moto

TABLE = "races"
THREADS = 8


@pytest.fixture(scope="module")
def aws() -> Iterator[Aws]:
    with safe_moto():
        yield Aws("us-east-1")


@pytest.fixture
def table(aws: Aws) -> Iterator[Any]:
    client = aws.client("dynamodb")
    client.create_table(**table_definition(TABLE))
    yield client
    client.delete_table(TableName=TABLE)


def address(key: str, partition: str = "p") -> dict[str, Any]:
    return {"pk": {"S": partition}, "sk": {"S": key}}


def put(client: Any, key: str, partition: str = "p", **attributes: Any) -> None:
    client.put_item(TableName=TABLE, Item={**address(key, partition), **attributes})


def number(client: Any, key: str) -> int:
    return int(client.get_item(TableName=TABLE, Key=address(key))["Item"]["revision"]["N"])


def in_threads(work: Callable[[int], Any]) -> list[Any]:
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(work, range(THREADS)))


def query(client: Any, **wishes: Any) -> dict[str, Any]:
    partition = wishes.pop("partition", "p")
    condition = wishes.pop("condition", "pk = :p")
    values = {":p": {"S": partition}, **wishes.pop("values", {})}
    answer: dict[str, Any] = client.query(
        TableName=TABLE, KeyConditionExpression=condition, ExpressionAttributeValues=values, **wishes
    )
    return answer


def keys(answer: dict[str, Any]) -> list[str]:
    return [item["sk"]["S"] for item in answer["Items"]]


def all_keys(client: Any, **wishes: Any) -> list[str]:
    found: list[str] = []
    start: dict[str, Any] = {}
    for _ in range(1000):
        answer = query(
            client,
            **{name: dict(value) if isinstance(value, dict) else value for name, value in wishes.items()},
            **start,
        )
        found += keys(answer)
        if "LastEvaluatedKey" not in answer:
            return found
        start = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}
    raise AssertionError("paging does not end")


def test_no_append_of_concurrent_writers_is_lost(table: Any) -> None:
    put(table, "list", entries={"L": []})

    def append(writer: int) -> None:
        for entry in range(40):
            table.update_item(
                TableName=TABLE,
                Key=address("list"),
                UpdateExpression="SET entries = list_append(entries, :new)",
                ExpressionAttributeValues={":new": {"L": [{"S": f"{writer}-{entry}"}]}},
            )

    in_threads(append)
    entries = table.get_item(TableName=TABLE, Key=address("list"))["Item"]["entries"]["L"]
    assert {entry["S"] for entry in entries} == {
        f"{writer}-{entry}" for writer in range(THREADS) for entry in range(40)
    }
    assert len(entries) == THREADS * 40


def test_each_compare_and_set_has_one_winner(table: Any) -> None:
    put(table, "cas", revision={"N": "0"})

    def compete(_writer: int) -> int:
        won = 0
        for _ in range(40):
            seen = number(table, "cas")
            try:
                table.put_item(
                    TableName=TABLE,
                    Item={**address("cas"), "revision": {"N": str(seen + 1)}},
                    ConditionExpression="revision = :seen",
                    ExpressionAttributeValues={":seen": {"N": str(seen)}},
                )
                won += 1
            except table.exceptions.ConditionalCheckFailedException:
                pass
        return won

    assert sum(in_threads(compete)) == number(table, "cas") > 0


def test_each_round_of_competing_transactions_has_one_winner(table: Any) -> None:
    put(table, "count", revision={"N": "0"})

    def compete(writer: int) -> int:
        won = 0
        for turn in range(30):
            try:
                table.transact_write_items(TransactItems=transaction(turn, writer))
                won += 1
            except table.exceptions.TransactionCanceledException:
                pass
        return won

    def transaction(turn: int, writer: int) -> list[dict[str, Any]]:
        count = {"TableName": TABLE, "Key": address("count"), "UpdateExpression": "ADD revision :one"}
        return [
            {"Update": {**count, "ExpressionAttributeValues": {":one": {"N": "1"}}}},
            {
                "Put": {
                    "TableName": TABLE,
                    "Item": {**address(f"turn-{turn}"), "winner": {"N": str(writer)}},
                    "ConditionExpression": "attribute_not_exists(pk)",
                }
            },
        ]

    assert sum(in_threads(compete)) == 30
    assert number(table, "count") == 30


def test_a_cancelled_transaction_changes_nothing_and_says_why(table: Any) -> None:
    put(table, "there", revision={"N": "1"}, entries={"L": [{"S": "old"}]})
    put(table, "doomed", revision={"N": "7"}, lp={"S": "shelf"}, ls={"S": "1"})
    assert listed(table, "shelf") == ["doomed"]
    refused = {"TableName": TABLE, "Key": address("there"), "ConditionExpression": "revision = :no"}
    grow = {"TableName": TABLE, "Key": address("there"), "UpdateExpression": "SET entries = list_append(entries, :new)"}
    new = {"TableName": TABLE, "Item": {**address("new"), "lp": {"S": "shelf"}, "ls": {"S": "2"}}}
    with pytest.raises(ClientError, match="multiple operations on one item"):
        table.transact_write_items(
            TransactItems=[
                {"Put": new},
                {"Delete": {"TableName": TABLE, "Key": address("doomed")}},
                {"Update": {**grow, "ExpressionAttributeValues": {":new": {"L": [{"S": "more"}]}}}},
                {
                    "ConditionCheck": {
                        **refused,
                        "Key": address("doomed"),
                        "ExpressionAttributeValues": {":no": {"N": "2"}},
                    }
                },
            ]
        )
    with pytest.raises(table.exceptions.TransactionCanceledException) as caught:
        table.transact_write_items(
            TransactItems=[
                {"Put": new},
                {"Delete": {"TableName": TABLE, "Key": address("doomed")}},
                {"ConditionCheck": {**refused, "ExpressionAttributeValues": {":no": {"N": "2"}}}},
            ]
        )
    reasons = [reason["Code"] for reason in caught.value.response["CancellationReasons"]]
    assert reasons == ["None", "None", "ConditionalCheckFailed"]
    assert keys(query(table)) == ["doomed", "there"]
    assert listed(table, "shelf") == ["doomed"]
    there = table.get_item(TableName=TABLE, Key=address("there"))["Item"]
    assert there["entries"] == {"L": [{"S": "old"}]}


def listed(client: Any, shelf: str, **wishes: Any) -> list[str]:
    values = {":shelf": {"S": shelf}}
    answer = client.query(
        TableName=TABLE,
        IndexName="listing",
        KeyConditionExpression="lp = :shelf",
        ExpressionAttributeValues=values,
        **wishes,
    )
    return keys(answer)


@pytest.mark.parametrize("forward", [True, False])
@pytest.mark.parametrize("limit", [None, 1, 3, 50])
@pytest.mark.parametrize(
    ("condition", "values", "chosen"),
    [
        ("pk = :p", {}, range(20)),
        ("pk = :p AND begins_with(sk, :a)", {":a": {"S": "k-1"}}, range(10, 20)),
        ("pk = :p AND sk BETWEEN :a AND :b", {":a": {"S": "k-05"}, ":b": {"S": "k-09"}}, range(5, 10)),
        ("pk = :p AND sk > :a", {":a": {"S": "k-15"}}, range(16, 20)),
        ("pk = :p AND sk <= :a", {":a": {"S": "k-02"}}, range(3)),
        ("pk = :p AND sk = :a", {":a": {"S": "k-07"}}, range(7, 8)),
        ("pk = :p AND begins_with(sk, :a)", {":a": {"S": "none"}}, range(0)),
    ],
)
def test_a_query_pages_through_exactly_the_keys_that_it_asks_for(
    table: Any, condition: str, values: dict[str, Any], chosen: range, limit: int | None, *, forward: bool
) -> None:
    for position in reversed(range(20)):
        put(table, f"k-{position:02}")
        put(table, f"k-{position:02}", "other")
    wishes: dict[str, Any] = {"condition": condition, "values": values, "ScanIndexForward": forward}
    if limit:
        wishes["Limit"] = limit
    expected = [f"k-{position:02}" for position in chosen]
    assert all_keys(table, **wishes) == (expected if forward else expected[::-1])


def test_an_index_follows_every_kind_of_write(table: Any) -> None:
    def shelve(key: str, shelf: str, sort: str) -> None:
        put(table, key, lp={"S": shelf}, ls={"S": sort})

    shelve("a", "one", "2")
    assert listed(table, "one") == ["a"]
    shelve("b", "one", "1")
    put(table, "unlisted")
    assert listed(table, "one") == ["b", "a"]
    assert listed(table, "one", ScanIndexForward=False, Limit=1) == ["a"]
    shelve("a", "two", "1")
    assert (listed(table, "one"), listed(table, "two")) == (["b"], ["a"])
    table.update_item(
        TableName=TABLE,
        Key=address("a"),
        UpdateExpression="SET lp = :one REMOVE entries",
        ExpressionAttributeValues={":one": {"S": "one"}},
    )
    assert (listed(table, "one"), listed(table, "two")) == (["a", "b"], [])
    table.batch_write_item(RequestItems={TABLE: [{"DeleteRequest": {"Key": address("b")}}]})
    table.transact_write_items(TransactItems=[{"Delete": {"TableName": TABLE, "Key": address("unlisted")}}])
    assert listed(table, "one") == ["a"]
    table.delete_item(TableName=TABLE, Key=address("a"))
    assert listed(table, "one") == []


def test_the_direct_way_answers_as_the_ordinary_one_does(table: Any) -> None:
    item = {
        **address("rich"),
        "body": {"B": b"\x00\xff bytes"},
        "many": {"BS": [b"\x01", b"\x02"]},
        "map": {"M": {"list": {"L": [{"NULL": True}, {"BOOL": False}, {"N": "1.5"}, {"B": b"deep"}]}}},
        "words": {"SS": ["a", "b"]},
    }
    calls: list[tuple[str, dict[str, Any]]] = [
        ("put_item", {"TableName": TABLE, "Item": item, "ReturnValues": "ALL_OLD"}),
        ("get_item", {"TableName": TABLE, "Key": address("rich")}),
        ("get_item", {"TableName": TABLE, "Key": address("absent")}),
        ("batch_get_item", {"RequestItems": {TABLE: {"Keys": [address("rich"), address("absent")]}}}),
        ("transact_get_items", {"TransactItems": [{"Get": {"TableName": TABLE, "Key": address("rich")}}]}),
        ("transact_write_items", {"TransactItems": [{"Put": {"TableName": TABLE, "Item": item}}]}),
        ("batch_write_item", {"RequestItems": {TABLE: [{"PutRequest": {"Item": item}}]}}),
        (
            "query",
            {
                "TableName": TABLE,
                "KeyConditionExpression": "pk = :p",
                "ExpressionAttributeValues": {":p": {"S": "p"}},
                "Limit": 1,
                "ReturnConsumedCapacity": "TOTAL",
            },
        ),
        (
            "update_item",
            {
                "TableName": TABLE,
                "Key": address("rich"),
                "UpdateExpression": "SET flag = :yes",
                "ExpressionAttributeValues": {":yes": {"BOOL": True}},
                "ReturnValues": "ALL_NEW",
            },
        ),
        ("delete_item", {"TableName": TABLE, "Key": address("rich"), "ReturnValues": "ALL_OLD"}),
    ]

    def answers() -> list[dict[str, Any]]:
        found = [getattr(table, name)(**request) for name, request in calls]
        return [{name: value for name, value in answer.items() if name != "ResponseMetadata"} for answer in found]

    direct = answers()
    with patch.object(moto_shim, "_DIRECT", {}):
        ordinary = answers()
    assert direct == ordinary
    assert direct[1]["Item"] == item


def check_error_is_worded_alike(call: Callable[[], object]) -> None:
    def error() -> dict[str, Any]:
        with pytest.raises(ClientError) as caught:
            call()
        answer: dict[str, Any] = caught.value.response["Error"]
        return answer

    direct = error()
    with patch.object(moto_shim, "_DIRECT", {}):
        assert error() == direct
    assert direct["Code"]


@pytest.mark.parametrize(
    ("operation", "request_"),
    [
        ("put_item", {"Item": {**address("there")}, "ConditionExpression": "attribute_not_exists(pk)"}),
        ("get_item", {"Key": {"pk": {"S": "p"}}}),
        ("get_item", {"Key": address("there"), "TableName": "absent"}),
        ("put_item", {"Item": {**address("big"), "body": {"B": b"x" * 500_000}}}),
    ],
)
def test_an_error_is_worded_as_the_ordinary_way_words_it(table: Any, operation: str, request_: dict[str, Any]) -> None:
    put(table, "there")

    check_error_is_worded_alike(lambda: getattr(table, operation)(**{"TableName": TABLE, **request_}))


def test_the_work_of_a_query_does_not_grow_with_the_table(table: Any) -> None:
    def looked_at() -> int:
        with patch.object(MotoItem, "size", autospec=True, side_effect=MotoItem.size) as size:
            query(table)
            listed(table, "shelf")
        return size.call_count

    put(table, "one", lp={"S": "shelf"}, ls={"S": "1"})
    few = looked_at()
    for position in range(300):
        put(table, "one", f"q-{position}", lp={"S": f"other-{position}"}, ls={"S": "1"})
    with patch("moto.dynamodb.models.table.Table.all_items", autospec=True) as all_items:
        all_items.side_effect = lambda view: [item for found in view.items.values() for item in found.values()]
        assert looked_at() == few
        assert max(len(call.args[0].items) for call in all_items.call_args_list) == 1


def test_a_transaction_copies_no_table(table: Any) -> None:
    with patch("moto.dynamodb.models.table.Table.__reduce_ex__", side_effect=AssertionError("a table was copied")):
        table.transact_write_items(TransactItems=[{"Put": {"TableName": TABLE, "Item": address(key)}} for key in "abc"])
    assert keys(query(table)) == ["a", "b", "c"]


def test_nothing_is_remembered_of_items_that_are_gone(table: Any) -> None:
    remembered: list[object] = vars(MotoItem)["instances_tracked"]
    before = len(remembered)
    for _ in range(5):
        put(table, "again")
    assert len(remembered) == before


def test_every_message_is_received_once_by_many_readers(aws: Aws) -> None:
    client = aws.client("sqs")
    url = client.create_queue(QueueName="many")["QueueUrl"]
    for start in range(0, 200, 10):
        entries = [{"Id": str(each), "MessageBody": str(start + each)} for each in range(10)]
        client.send_message_batch(QueueUrl=url, Entries=entries)

    def read(_reader: int) -> list[str]:
        bodies = []
        while messages := client.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            bodies += [message["Body"] for message in messages]
            handles = [{"Id": str(at), "ReceiptHandle": each["ReceiptHandle"]} for at, each in enumerate(messages)]
            client.delete_message_batch(QueueUrl=url, Entries=handles)
        return bodies

    bodies = list(itertools.chain.from_iterable(in_threads(read)))
    assert sorted(bodies, key=int) == [str(number) for number in range(200)]
    attributes = client.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert attributes["ApproximateNumberOfMessages"] == attributes["ApproximateNumberOfMessagesNotVisible"] == "0"


def test_the_direct_way_answers_for_queues_as_the_ordinary_one_does(aws: Aws) -> None:
    client = aws.client("sqs")

    def answers(name: str) -> list[Any]:
        url = client.create_queue(QueueName=name)["QueueUrl"]
        entries = [
            {"Id": "1", "MessageBody": "one", "MessageGroupId": "tenant"},
            {"Id": "2", "MessageBody": "two", "DelaySeconds": 600},
        ]
        sent = client.send_message_batch(QueueUrl=url, Entries=entries)
        asked = ["ApproximateReceiveCount", "MessageGroupId"]
        received = client.receive_message(QueueUrl=url, MessageSystemAttributeNames=asked)
        [message] = received["Messages"]
        gone = client.delete_message_batch(
            QueueUrl=url,
            Entries=[
                {"Id": "1", "ReceiptHandle": message["ReceiptHandle"]},
                {"Id": "2", "ReceiptHandle": "wrong"},
            ],
        )
        empty = client.receive_message(QueueUrl=url, WaitTimeSeconds=0)
        message.update(MessageId=len(message["MessageId"]), ReceiptHandle=len(message["ReceiptHandle"]))
        for entry in sent["Successful"]:
            entry["MessageId"] = len(entry["MessageId"])
        found = (sent, received, gone, empty)
        return [{name: value for name, value in each.items() if name != "ResponseMetadata"} for each in found]

    direct = answers("direct")
    with patch.object(moto_shim, "_DIRECT", {}):
        assert direct == answers("ordinary")
    assert direct[1]["Messages"][0]["Attributes"] == {"ApproximateReceiveCount": "1", "MessageGroupId": "tenant"}


@pytest.mark.parametrize(
    ("operation", "request_"),
    [
        ("receive_message", {"MaxNumberOfMessages": 11}),
        ("receive_message", {"QueueUrl": "https://sqs.us-east-1.amazonaws.com/123456789012/absent"}),
        ("delete_message", {"ReceiptHandle": "wrong"}),
        ("send_message_batch", {"Entries": []}),
    ],
)
def test_an_error_of_a_queue_is_worded_as_the_ordinary_way_words_it(
    aws: Aws, operation: str, request_: dict[str, Any]
) -> None:
    client = aws.client("sqs")
    url = client.create_queue(QueueName="errors")["QueueUrl"]

    check_error_is_worded_alike(lambda: getattr(client, operation)(**{"QueueUrl": url, **request_}))


def test_a_message_that_is_received_too_often_becomes_a_dead_letter(aws: Aws) -> None:
    client = aws.client("sqs")
    names = names_with_prefix("mistral-")
    create_cloud(aws, names)
    url = client.get_queue_url(QueueName=names.queues["tasks"])["QueueUrl"]
    dead = client.get_queue_url(QueueName=names.queues["tasks"] + "-dead")["QueueUrl"]
    client.send_message(QueueUrl=url, MessageBody="poison")
    for _ in range(5):
        assert client.receive_message(QueueUrl=url, VisibilityTimeout=0)["Messages"][0]["Body"] == "poison"
    assert "Messages" not in client.receive_message(QueueUrl=url, VisibilityTimeout=0)
    assert client.receive_message(QueueUrl=dead)["Messages"][0]["Body"] == "poison"


def test_a_long_poll_lets_the_sender_in_and_ends_when_it_has_sent(aws: Aws) -> None:
    client = aws.client("sqs")
    url = client.create_queue(QueueName="slow")["QueueUrl"]
    with ThreadPoolExecutor(1) as pool:
        began = time.monotonic()
        poll = pool.submit(client.receive_message, QueueUrl=url, WaitTimeSeconds=20)
        client.send_message(QueueUrl=url, MessageBody="at last")
        assert poll.result(timeout=18)["Messages"][0]["Body"] == "at last"
    assert time.monotonic() - began < 18


def test_the_cloud_can_be_created_again_over_what_is_there(aws: Aws) -> None:
    names = names_with_prefix("mine-")
    create_cloud(aws, names)
    aws.client("s3").put_object(Bucket=names.bucket, Key="kept", Body=b"data")
    create_cloud(aws, names)
    assert aws.client("s3").get_object(Bucket=names.bucket, Key="kept")["Body"].read() == b"data"
    assert set(names.tables) <= set(aws.client("dynamodb").list_tables()["TableNames"])
    limits = aws.client("dynamodb").describe_time_to_live(TableName=names.tables[0])["TimeToLiveDescription"]
    assert limits["TimeToLiveStatus"] == "ENABLED"
