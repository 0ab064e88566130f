"""What only the DynamoDB table has: its shape, and its patience with a throttled table."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError
from pynamodb.connection.base import Connection
from pynamodb.exceptions import GetError, PutError

from chalicelib.adapters.aws import Aws
from chalicelib.adapters.schema import EXPIRES_AT, KEY, PARTITION, table_definition
from chalicelib.adapters.tables import BATCH_ATTEMPTS_MAX, DynamoTable, create_tables, model_of
from chalicelib.services.ports import Item, Put

Answer = dict[str, Any]


class Throttled:
    """Stands before a connection and leaves all but the first request of each batch unprocessed, so many times."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, times: int) -> None:
        self.times = times
        self.calls = 0
        dispatch = Connection.dispatch

        def throttled(connection: Connection, operation: str, arguments: Answer) -> Answer:
            requests = arguments.get("RequestItems")
            if not requests or self.times <= 0:
                return dispatch(connection, operation, arguments)
            self.times -= 1
            self.calls += 1
            [(name, body)] = requests.items()
            if operation == "BatchGetItem":
                left = {"Keys": body["Keys"][1:]}
                answer = dispatch(connection, operation, {"RequestItems": {name: {**body, "Keys": body["Keys"][:1]}}})
                return {**answer, "UnprocessedKeys": {name: left} if left["Keys"] else {}}
            dispatch(connection, operation, {"RequestItems": {name: body[:1]}})
            return {"UnprocessedItems": {name: body[1:]} if body[1:] else {}}

        monkeypatch.setattr(Connection, "dispatch", throttled)


def _by_name(key_schema: list[dict[str, str]]) -> dict[str, str]:
    return {entry["AttributeName"]: entry["KeyType"] for entry in key_schema}


def test_the_models_have_the_shape_of_the_definition():
    definition = table_definition("executions")
    schema: Any = model_of("executions")._get_schema()
    attributes = {entry["AttributeName"] for entry in definition["AttributeDefinitions"]}
    assert {entry["AttributeName"] for entry in schema["attribute_definitions"]} == attributes
    assert _by_name(schema["key_schema"]) == {PARTITION: "HASH", KEY: "RANGE"}
    by_name = {index["index_name"]: index for index in schema["global_secondary_indexes"]}
    assert len(by_name) == len(definition["GlobalSecondaryIndexes"])
    for index in definition["GlobalSecondaryIndexes"]:
        assert _by_name(by_name[index["IndexName"]]["key_schema"]) == _by_name(index["KeySchema"])
        assert by_name[index["IndexName"]]["projection"] == index["Projection"]


def test_tables_are_created_once_and_forget_expired_items(moto: Aws):
    one, two = f"one-{uuid4()}", f"two-{uuid4()}"
    create_tables(moto, [one])
    create_tables(moto, [one, two])
    client = moto.client("dynamodb")
    assert {one, two} <= set(client.list_tables()["TableNames"])
    ttl = client.describe_time_to_live(TableName=two)["TimeToLiveDescription"]
    assert ttl == {"TimeToLiveStatus": "ENABLED", "AttributeName": EXPIRES_AT}


def test_two_tables_of_one_process_share_their_client(moto: Aws):
    names = [f"one-{uuid4()}", f"two-{uuid4()}"]
    create_tables(moto, names)
    one, two = (DynamoTable(moto, name) for name in names)
    one.write([Put(Item("p", "a", b"1"))])
    two.write([Put(Item("p", "a", b"2"))])
    DynamoTable(moto, names[1]).write([Put(Item("p", "b", b"3"))])
    assert one.get("p", ["a"])["a"].body == b"1"
    assert [item.body for item in two.query("p")] == [b"2", b"3"]
    assert moto.dynamodb() is moto.dynamodb()
    assert moto.client("sqs") is moto.client("sqs")


def test_a_body_is_stored_as_its_own_bytes(dynamo_table: DynamoTable):
    dynamo_table.write([Put(Item("p", "a", bytes(range(256))))])
    raw = dynamo_table._aws.client("dynamodb").get_item(
        TableName=dynamo_table.table_name, Key={PARTITION: {"S": "p"}, KEY: {"S": "a"}}
    )["Item"]
    assert raw == {PARTITION: {"S": "p"}, KEY: {"S": "a"}, "body": {"B": bytes(range(256))}}


def test_what_a_batch_leaves_unread_is_asked_for_again(dynamo_table: DynamoTable, monkeypatch: pytest.MonkeyPatch):
    dynamo_table.write_bulk(Item("p", str(number), b"") for number in range(5))
    throttled = Throttled(monkeypatch, times=3)
    assert len(dynamo_table.get("p", [str(number) for number in range(5)])) == 5
    assert throttled.calls == 3


def test_what_a_batch_leaves_unwritten_is_sent_again(dynamo_table: DynamoTable, monkeypatch: pytest.MonkeyPatch):
    dynamo_table.write([Put(Item("p", "0", b""))])
    throttled = Throttled(monkeypatch, times=3)
    dynamo_table.write_bulk([Item("p", str(number), b"") for number in range(1, 6)], [("p", "0")])
    assert [item.key for item in dynamo_table.query("p")] == ["1", "2", "3", "4", "5"]
    assert throttled.calls == 3


def test_a_table_that_stays_throttled_ends_in_an_error(dynamo_table: DynamoTable, monkeypatch: pytest.MonkeyPatch):
    pauses: list[float] = []
    monkeypatch.setattr(dynamo_table, "_pause", pauses.append)
    many = [Item("p", str(number), b"") for number in range(20)]
    Throttled(monkeypatch, times=BATCH_ATTEMPTS_MAX)
    with pytest.raises(PutError, match="left 12 writes undone"):
        dynamo_table.write_bulk(many)
    assert len(pauses) == BATCH_ATTEMPTS_MAX
    assert all(pause <= 1 for pause in pauses)
    Throttled(monkeypatch, times=BATCH_ATTEMPTS_MAX)
    with pytest.raises(GetError, match="left 12 reads undone"):
        dynamo_table.get("p", [item.key for item in many])


def test_what_is_no_conflict_propagates(moto: Aws):
    table = DynamoTable(moto, "never-created")
    with pytest.raises(PutError) as caught:
        table.write([Put(Item("p", "a", b""), expected=0)])
    assert isinstance(caught.value.cause, ClientError)
    assert caught.value.cause_response_code == "ResourceNotFoundException"
