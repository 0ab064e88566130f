"""The shape of a table, said once: emulator, deployed template, models and the counting of units all read it here.

Both tables (``executions`` and ``definitions``) have this shape. ``table_definition`` is in the form of DynamoDB's
CreateTable; its members have the same names as the properties of CloudFormation's ``AWS::DynamoDB::Table``.
"""

from __future__ import annotations

from math import ceil
from typing import Any, Final

from chalicelib.services.ports import INDEXES, Item

PARTITION: Final = "pk"
KEY: Final = "sk"
BODY: Final = "body"
REVISION: Final = "revision"
EXPIRES_AT: Final = "expires_at"

# DynamoDB deletes an item some time (up to days) after this second since the epoch.
TIME_TO_LIVE: Final = {"AttributeName": EXPIRES_AT, "Enabled": True}


def index_attributes(index: str) -> tuple[str, str]:
    """The names of the hash and of the sort attribute of an index: short, since each item pays for their bytes."""
    return f"{index[0]}p", f"{index[0]}s"


def table_definition(table_name: str) -> dict[str, Any]:
    """A table as CreateTable wants it: keys, keys-only indexes, paid by request. Add ``TIME_TO_LIVE`` afterwards."""
    names = [PARTITION, KEY, *(name for index in INDEXES for name in index_attributes(index))]
    return {
        "TableName": table_name,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{"AttributeName": name, "AttributeType": "S"} for name in names],
        "KeySchema": _key_schema(PARTITION, KEY),
        "GlobalSecondaryIndexes": [
            {
                "IndexName": index,
                "KeySchema": _key_schema(*index_attributes(index)),
                "Projection": {"ProjectionType": "KEYS_ONLY"},
            }
            for index in INDEXES
        ],
    }


def _key_schema(hash_name: str, sort_name: str) -> list[dict[str, str]]:
    return [
        {"AttributeName": hash_name, "KeyType": "HASH"},
        {"AttributeName": sort_name, "KeyType": "RANGE"},
    ]


def item_bytes(item: Item) -> int:
    """The size of an item as DynamoDB reckons it: names and values of all its attributes."""
    size = _text(PARTITION, item.partition) + _text(KEY, item.key) + len(BODY) + len(item.body)
    if item.revision:
        size += len(REVISION) + _number_bytes(item.revision)
    if item.expires_at_sec is not None:
        size += len(EXPIRES_AT) + _number_bytes(item.expires_at_sec)
    for index, place in item.indexes.items():
        hash_name, sort_name = index_attributes(index)
        size += _text(hash_name, place.value) + _text(sort_name, place.sort)
    return size


def index_entry_bytes(index: str, value: str, *, sort: str, partition: str, key: str) -> int:
    """The size of an entry of a keys-only index: the index's own keys and the table's."""
    hash_name, sort_name = index_attributes(index)
    return _text(hash_name, value) + _text(sort_name, sort) + _text(PARTITION, partition) + _text(KEY, key)


def _text(name: str, value: str) -> int:
    return len(name) + len(value.encode())


def _number_bytes(number: int) -> int:
    """Two significant digits a byte, and one byte more; zeros at the end are not significant."""
    digits = len(str(abs(number)).rstrip("0"))
    return ceil(digits / 2) + 1 + (number < 0)
