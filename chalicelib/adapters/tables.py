"""``Table`` on DynamoDB, through PynamoDB models.

A condition that does not hold, and DynamoDB's own conflict between transactions, raise ConflictException; throttles,
time-outs and everything else propagate as PynamoDB raises them, after botocore's bounded retries.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from threading import Lock
from typing import Any, Final, cast

from pynamodb.attributes import BinaryAttribute, NumberAttribute, UnicodeAttribute
from pynamodb.connection.table import TableConnection
from pynamodb.exceptions import DoesNotExist, GetError, PutError, PynamoDBException, TransactWriteError
from pynamodb.expressions.condition import Condition
from pynamodb.indexes import GlobalSecondaryIndex, KeysOnlyProjection
from pynamodb.models import Model
from pynamodb.transactions import TransactWrite

from chalicelib.adapters.aws import Aws
from chalicelib.adapters.bounds import bulk_plan, check_address, check_index, check_range, check_writes, chunks
from chalicelib.adapters.schema import (
    BODY,
    EXPIRES_AT,
    KEY,
    PARTITION,
    REVISION,
    TIME_TO_LIVE,
    index_attributes,
    table_definition,
)
from chalicelib.errors import ConflictException
from chalicelib.services.ports import INDEXES, Check, Delete, IndexEntry, IndexKey, Item, Put, Table, Write

GET_BATCH_MAX: Final = 100
WRITE_BATCH_MAX: Final = 25
# How often what DynamoDB left unprocessed of a batch is sent again, and how long to wait at most before that.
BATCH_ATTEMPTS_MAX: Final = 8
BATCH_PAUSE_MAX_SEC: Final = 1.0

CONFLICT_CODES: Final = frozenset({"ConditionalCheckFailedException", "TransactionConflictException"})
CONFLICT_REASONS: Final = frozenset({"ConditionalCheckFailed", "TransactionConflict"})


class StoredItem(Model):
    """An item as it lies in a table; ``model_of`` adds the indexes and the table's name."""

    partition = UnicodeAttribute(hash_key=True, attr_name=PARTITION)
    key = UnicodeAttribute(range_key=True, attr_name=KEY)
    body = BinaryAttribute(legacy_encoding=False, attr_name=BODY)
    revision = NumberAttribute(null=True, attr_name=REVISION)
    # A plain number: PynamoDB's TTLAttribute would bring datetimes for what is a count of seconds everywhere else.
    expires_at_sec = NumberAttribute(null=True, attr_name=EXPIRES_AT)


def model_of(table_name: str) -> type[StoredItem]:
    """The model of one table: ``StoredItem`` with an attribute pair and a keys-only index for each of ``INDEXES``."""
    members: dict[str, Any] = {"__module__": __name__, "Meta": type("Meta", (), {"table_name": table_name})}
    for index in INDEXES:
        hash_name, sort_name = index_attributes(index)
        members[hash_name] = UnicodeAttribute(null=True)
        members[sort_name] = UnicodeAttribute(null=True)
        members[f"by_{index}"] = _index_class(index, hash_name, sort_name)()
    metaclass: Any = type(StoredItem)
    return cast("type[StoredItem]", metaclass("StoredItemOf", (StoredItem,), members))


def _index_class(index: str, hash_name: str, sort_name: str) -> type[GlobalSecondaryIndex[StoredItem]]:
    members = {
        "__module__": __name__,
        "Meta": type("Meta", (), {"index_name": index, "projection": KeysOnlyProjection()}),
        "value": UnicodeAttribute(hash_key=True, attr_name=hash_name),
        "sort": UnicodeAttribute(range_key=True, attr_name=sort_name),
    }
    return type(f"By{index.title()}", (GlobalSecondaryIndex,), members)


def create_tables(aws: Aws, table_names: Iterable[str]) -> None:
    """Create the missing tables, as ``schema`` describes them. For emulators; AWS gets them from the template."""
    client = aws.client("dynamodb")
    for table_name in table_names:
        try:
            client.create_table(**table_definition(table_name))
        except client.exceptions.ResourceInUseException:
            continue
        client.get_waiter("table_exists").wait(TableName=table_name, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
        client.update_time_to_live(TableName=table_name, TimeToLiveSpecification=TIME_TO_LIVE)


class DynamoTable(Table):
    """One table of DynamoDB."""

    def __init__(self, aws: Aws, table_name: str, *, pause: Callable[[float], None] = time.sleep) -> None:
        self.table_name = table_name
        self._aws = aws
        self._pause = pause
        self._unconnected = model_of(table_name)
        self._connected: type[StoredItem] | None = None
        self._lock = Lock()

    def get(self, partition: str, keys: Sequence[str], *, consistent: bool = True) -> dict[str, Item]:
        """See ``Table``; one GetItem for one key, else BatchGetItem by hundreds."""
        found = self.get_many(((partition, key) for key in keys), consistent=consistent)
        return {key: item for (_, key), item in found.items()}

    def get_many(
        self, addresses: Iterable[tuple[str, str]], *, consistent: bool = False
    ) -> dict[tuple[str, str], Item]:
        """See ``Table``; items of any partitions share a batch."""
        wanted = list(dict.fromkeys(addresses))
        for address in wanted:
            check_address(*address)
        if len(wanted) == 1:
            return self._get_one(*wanted[0], consistent=consistent)
        return {
            (item.partition, item.key): item
            for batch in chunks(wanted, GET_BATCH_MAX)
            for item in self._get_batch(batch, consistent=consistent)
        }

    def query(
        self,
        partition: str,
        *,
        prefix: str = "",
        start: str | None = None,
        end: str | None = None,
        descending: bool = False,
        limit: int | None = None,
        consistent: bool = True,
    ) -> list[Item]:
        """See ``Table``; pages of 1 MB are joined."""
        check_range(prefix, start, end)
        check_address(partition, "-")
        if (limit is not None and limit <= 0) or _is_empty_range(start, end):
            return []
        model = self._model()
        found = model.query(
            partition,
            range_key_condition=model.key.startswith(prefix) if prefix else _between(model.key, start, end),
            consistent_read=consistent,
            scan_index_forward=not descending,
            limit=limit,
        )
        return [_item_of(stored) for stored in found]

    def write(self, writes: Sequence[Write]) -> None:
        """See ``Table``; PutItem or DeleteItem for one write, TransactWriteItems for several.

        A transaction that botocore repeats after a time-out counts once (it has a token). A single conditional write
        has none: when its first attempt came through unanswered, the repetition raises ConflictException, and the
        caller who reads again finds its own write.
        """
        check_writes(writes)
        try:
            match writes:
                case []:
                    return
                case [Put(item, expected)]:
                    self._stored(item).save(_condition(expected))
                case [Delete(partition, key, expected)]:
                    self._model()(partition, key).delete(_condition(expected))
                case _:
                    self._transact(writes)
        except PynamoDBException as error:
            if _is_conflict(error):
                raise ConflictException(
                    f"Another writer was faster in table {self.table_name}: read again, then decide again."
                ) from error
            raise

    def write_bulk(self, items: Iterable[Item], deletes: Iterable[tuple[str, str]] = ()) -> None:
        """See ``Table``; BatchWriteItem by twenty-fives."""
        plan = bulk_plan(items, deletes)
        for batch in chunks(list(plan.items()), WRITE_BATCH_MAX):
            puts: list[Any] = [self._stored(item).serialize() for _, item in batch if item is not None]
            removals: list[Any] = [_key_of(*address) for address, item in batch if item is None]
            self._write_batch(puts, removals)

    def list_index(
        self,
        index: str,
        value: str,
        *,
        after: str | None = None,
        until: str | None = None,
        descending: bool = False,
        limit: int,
    ) -> list[IndexEntry]:
        """See ``Table``; one Query of a global secondary index, which follows the table within about a second."""
        check_index(index)
        check_address(value, "-")
        lowest, highest = (until, after) if descending else (after, until)
        if limit <= 0 or _is_empty_range(lowest, highest):
            return []
        sort_name = index_attributes(index)[1]
        condition, page = self._index_condition(sort_name, after=after, until=until, descending=descending), limit
        if after is not None and until is not None:
            page += 1  # DynamoDB has no condition that excludes one end only: `after` itself comes along and is dropped
        found = self._model().query(
            value,
            index_name=index,
            range_key_condition=condition,
            scan_index_forward=not descending,
            page_size=page,
        )
        entries = (IndexEntry(stored.partition, stored.key, getattr(stored, sort_name)) for stored in found)
        return list(islice((entry for entry in entries if entry.sort != after), limit))

    def _index_condition(
        self, sort_name: str, *, after: str | None, until: str | None, descending: bool
    ) -> Condition | None:
        sort = getattr(self._model(), sort_name)
        if after is not None and until is None:
            return cast("Condition", sort < after if descending else sort > after)
        return _between(sort, until, after) if descending else _between(sort, after, until)

    def _get_one(self, partition: str, key: str, *, consistent: bool) -> dict[tuple[str, str], Item]:
        try:
            return {(partition, key): _item_of(self._model().get(partition, key, consistent_read=consistent))}
        except DoesNotExist:
            return {}

    def _get_batch(self, addresses: Sequence[tuple[str, str]], *, consistent: bool) -> Iterable[Item]:
        # On the connection: Model.batch_get repeats what is unprocessed at once and without end.
        connection, model = self._connection(), self._model()
        keys: list[Any] = [_key_of(*address) for address in addresses]
        for attempt in range(BATCH_ATTEMPTS_MAX):
            answer = connection.batch_get_item(keys, consistent_read=consistent)
            for raw in answer["Responses"].get(self.table_name, []):
                yield _item_of(model.from_raw_data(raw))
            keys = answer.get("UnprocessedKeys", {}).get(self.table_name, {}).get("Keys", [])
            if not keys:
                return
            self._wait_after(attempt)
        raise GetError(f"Table {self.table_name} left {len(keys)} reads undone; it is throttled: try later.")

    def _write_batch(self, puts: list[Any], removals: list[Any]) -> None:
        connection = self._connection()
        for attempt in range(BATCH_ATTEMPTS_MAX):
            answer = connection.batch_write_item(put_items=puts, delete_items=removals)
            left = answer.get("UnprocessedItems", {}).get(self.table_name, [])
            if not left:
                return
            puts = [request["PutRequest"]["Item"] for request in left if "PutRequest" in request]
            removals = [request["DeleteRequest"]["Key"] for request in left if "DeleteRequest" in request]
            self._wait_after(attempt)
        undone = len(puts) + len(removals)
        raise PutError(f"Table {self.table_name} left {undone} writes undone; it is throttled: try later.")

    def _transact(self, writes: Sequence[Write]) -> None:
        model = self._model()
        with TransactWrite(connection=self._connection().connection) as transaction:
            for write in writes:
                condition = _condition(write.expected)
                match write:
                    case Put(item):
                        transaction.save(self._stored(item), condition)
                    case Delete(partition, key):
                        transaction.delete(model(partition, key), condition)
                    case Check(partition, key):
                        transaction.condition_check(model, partition, key, condition)

    def _stored(self, item: Item) -> StoredItem:
        values: dict[str, Any] = {}
        for index, place in item.indexes.items():
            hash_name, sort_name = index_attributes(index)
            values[hash_name], values[sort_name] = place.value, place.sort
        return self._model()(
            partition=item.partition,
            key=item.key,
            body=item.body,
            revision=item.revision or None,
            expires_at_sec=item.expires_at_sec,
            **values,
        )

    def _model(self) -> type[StoredItem]:
        """The model, joined to the process's one connection on first use."""
        if self._connected is None:
            with self._lock:
                if self._connected is None:
                    table, shared = self._unconnected._get_connection(), self._aws.dynamodb()
                    # Two tables objects of one process may name the same table: its description is added once.
                    shared._tables.setdefault(self.table_name, table.get_meta_table())
                    table.connection = shared
                    self._connected = self._unconnected
        return self._connected

    def _connection(self) -> TableConnection:
        return self._model()._get_connection()

    def _wait_after(self, attempt: int) -> None:
        most_sec = min(BATCH_PAUSE_MAX_SEC, 0.05 * 2**attempt)
        self._pause(random.uniform(most_sec / 2, most_sec))  # noqa: S311 - jitter


def _item_of(stored: StoredItem) -> Item:
    values = stored.attribute_values
    indexes: dict[str, IndexKey] = {}
    for index in INDEXES:
        hash_name, sort_name = index_attributes(index)
        if hash_name in values:
            indexes[index] = IndexKey(values[hash_name], values[sort_name])
    expires_at_sec = values.get("expires_at_sec")
    return Item(
        partition=stored.partition,
        key=stored.key,
        body=stored.body,
        revision=int(values.get("revision") or 0),
        indexes=indexes,
        expires_at_sec=None if expires_at_sec is None else int(expires_at_sec),
    )


def _key_of(partition: str, key: str) -> dict[str, dict[str, str]]:
    return {PARTITION: {"S": partition}, KEY: {"S": key}}


def _condition(expected: int | None) -> Condition | None:
    """What DynamoDB has to find, for an expected revision."""
    if expected is None:
        return None
    return StoredItem.revision == expected if expected else StoredItem.partition.does_not_exist()


def _between(attribute: Any, lowest: str | None, highest: str | None) -> Condition | None:
    if lowest is not None and highest is not None:
        return cast("Condition", attribute.between(lowest, highest))
    if lowest is not None:
        return cast("Condition", attribute >= lowest)
    return None if highest is None else cast("Condition", attribute <= highest)


def _is_empty_range(lowest: str | None, highest: str | None) -> bool:
    """Whether nothing can lie between; DynamoDB would refuse to look."""
    return lowest is not None and highest is not None and lowest > highest


def _is_conflict(error: PynamoDBException) -> bool:
    if isinstance(error, TransactWriteError):
        codes = {reason.code for reason in error.cancellation_reasons if reason is not None}
        if codes & CONFLICT_REASONS:
            return True
    return error.cause_response_code in CONFLICT_CODES
