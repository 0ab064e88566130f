"""What stock moto needs before threads may share it and before a table may grow.

Stock moto loses updates under concurrent writers, copies whole tables in a transaction and scans the whole table for a
query; it also keeps every object it ever made. Each cure here is one replaced method, put back when ``installed()``
ends:

- one re-entrant lock for each service around the handling of a request;
- a transaction remembers the items that it names, and nothing else;
- a query looks at its partition, or at the entries of its index value, and no further than its limit;
- a queue is read from its head, and a long poll lets other callers in while it waits;
- hot, successful calls of DynamoDB and SQS skip the signing, sending and parsing of HTTP. A call that fails is made
  again in full, so that every error is moto's own.

Only the versions in ``TESTED_VERSIONS`` are changed: tests/local/test_emulator.py says what must hold for another one.
"""

from __future__ import annotations

import copy
import functools
import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from threading import Condition, RLock
from types import SimpleNamespace
from typing import Any, Final
from unittest.mock import patch

from botocore.awsrequest import AWSResponse
from botocore.handlers import BUILTIN_HANDLERS
from moto import __version__ as moto_version
from moto.core import responses as core_responses
from moto.core.botocore_stubber import BotocoreStubber
from moto.core.common_models import BaseModel
from moto.core.models import DEFAULT_ACCOUNT_ID, botocore_stubber
from moto.core.parse import PROTOCOL_PARSERS
from moto.core.utils import camelcase_to_underscores, get_service_model, method_names_from_class
from moto.dynamodb import models as dynamodb_models
from moto.dynamodb.models import DynamoDBBackend
from moto.dynamodb.models.table import Table
from moto.dynamodb.responses import DynamoHandler
from moto.sqs import models as sqs_models
from moto.sqs.exceptions import ReceiptHandleIsInvalid
from moto.sqs.models import Queue
from moto.sqs.responses import SQSResponse

from chalicelib.local.narrow import Asked, forget_entry, narrowed_items, record_entry
from chalicelib.local.problems import EmulatorVersionError

TESTED_VERSIONS: Final = frozenset({"5.2.5"})

# By service: what handles its requests, and the methods for its hot operations.
_DIRECT: Final[dict[str, tuple[Callable[[], Any], dict[str, str]]]] = {
    "dynamodb": (
        DynamoHandler,
        {
            "BatchGetItem": "batch_get_item",
            "BatchWriteItem": "batch_write_item",
            "DeleteItem": "delete_item",
            "GetItem": "get_item",
            "PutItem": "put_item",
            "Query": "query",
            "TransactGetItems": "transact_get_items",
            "TransactWriteItems": "transact_write_items",
            "UpdateItem": "update_item",
        },
    ),
    "sqs": (
        SQSResponse,
        {
            "DeleteMessage": "delete_message",
            "DeleteMessageBatch": "delete_message_batch",
            "ReceiveMessage": "receive_message",
            "SendMessageBatch": "send_message_batch",
        },
    ),
}
_DELETED_HANDLES_MAX: Final = 10_000
_LONG_POLL_STEP_SEC: Final = 1.0
_SIGNED_SERVICE: Final = re.compile(r"Credential=[^/]+/\d+/[^/]+/([^/]+)/")


Answer = tuple[AWSResponse, dict[str, Any]]


class _Locks:
    """One condition over a re-entrant lock for each service; a waiter on it lets other callers of its service in."""

    def __init__(self) -> None:
        self._guard = RLock()
        self._conditions: dict[str, Condition] = {}

    def of(self, service: str) -> Condition:
        with self._guard:
            if service not in self._conditions:
                self._conditions[service] = Condition(RLock())
            return self._conditions[service]


_locks = _Locks()


@contextmanager
def installed() -> Iterator[None]:
    """Change moto for the time of the block. Raises EmulatorVersionError when this moto is not a tested one."""
    if moto_version not in TESTED_VERSIONS:
        tested = ", ".join(sorted(TESTED_VERSIONS))
        raise EmulatorVersionError(
            f"moto {moto_version} is installed, but the emulated cloud was tested with moto {tested} only: "
            f"install that version, or choose --storage memory, or give the address of another emulator as --storage"
        )
    with ExitStack() as stack:
        for owner, name, replacement in _replacements():
            stack.enter_context(patch.object(owner, name, replacement))
        for service in _DIRECT:
            hook = (f"before-call.{service}", _answer_directly)
            BUILTIN_HANDLERS.append(hook)
            stack.callback(BUILTIN_HANDLERS.remove, hook)
        yield


def _replacements() -> list[tuple[Any, str, Any]]:
    return [
        (BotocoreStubber, "process_request", _locked_dispatch(BotocoreStubber.process_request)),
        (BaseModel, "__new__", _untracked),
        (core_responses, "method_names_from_class", functools.cache(method_names_from_class)),
        (core_responses, "camelcase_to_underscores", functools.cache(camelcase_to_underscores)),
        (dynamodb_models, "copy", SimpleNamespace(deepcopy=_copy_all_but_tables)),
        (DynamoDBBackend, "transact_write_items", _with_rollback(DynamoDBBackend.transact_write_items)),
        (DynamoDBBackend, "update_item", _recording_update(DynamoDBBackend.update_item)),
        (Table, "put_item", _recording_put(Table.put_item)),
        (Table, "delete_item", _forgetting_delete(Table.delete_item)),
        (Table, "query", _narrow_query(Table.query)),
        (sqs_models, "camelcase_to_underscores", functools.cache(camelcase_to_underscores)),
        (Queue, "messages", property(_visible_messages)),
        (Queue, "approximate_number_of_messages", property(lambda queue: _count(queue, "ready"))),
        (Queue, "approximate_number_of_messages_delayed", property(lambda queue: _count(queue, "delayed"))),
        (Queue, "approximate_number_of_messages_not_visible", property(lambda queue: _count(queue, "hidden"))),
        (Queue, "add_message", _announcing_add(Queue.add_message)),
        (Queue, "delete_message", _delete_message),
        (Queue, "wait_for_messages", _wait_for_messages),
    ]


# ---------------------------------------------------------------------------------------------------------------------
# Every service


def _locked_dispatch(original: Callable[..., Any]) -> Callable[..., Any]:
    def process_request(stubber: Any, request: Any) -> Any:
        authorization = request.headers.get("Authorization", "")
        if isinstance(authorization, bytes):
            authorization = authorization.decode("latin-1")
        signed = _SIGNED_SERVICE.search(authorization)
        with _locks.of(signed.group(1) if signed else ""):
            return original(stubber, request)

    return process_request


def _untracked(cls: type[Any], *_args: object, **_kwargs: object) -> Any:
    return object.__new__(cls)


def _answer_directly(model: Any, params: Any, context: Any, **_event: object) -> Answer | None:
    """Answer a hot call that succeeds without HTTP in between; ``None`` leaves it to the ordinary way."""
    service = model.service_model.service_name
    make_handler, methods = _DIRECT.get(service, (None, {}))
    method = methods.get(model.name)
    host = params.get("url", "").partition("://")[2]
    if (
        make_handler is None
        or method is None
        or not botocore_stubber.enabled
        or ".amazonaws.com" not in host
        or "MOTO_ACCOUNT_ID" in os.environ
    ):
        return None
    handler = make_handler()
    handler.region = context["client_region"]
    handler.current_account = DEFAULT_ACCOUNT_ID
    handler.headers, handler.querystring, handler.uri_match = {}, {}, {}
    operation = get_service_model(service).operation_model(model.name)
    parser = PROTOCOL_PARSERS["json"](operation, map_type=dict)
    request: Any = {
        "method": "POST",
        "values": {},
        "headers": {},
        "body": params["body"],
        "url_path": "/",
        "url_params": {},
    }
    handler.body = handler.params = parser.parse(request)
    try:
        with _locks.of(service):
            result = getattr(handler, method)().result or {}
    except Exception:  # noqa: BLE001 - whatever it is, the ordinary way words it as moto does
        return None
    answer = {name: value for name, value in result.items() if name in model.output_shape.members and value is not None}
    answer["ResponseMetadata"] = {"HTTPStatusCode": 200, "HTTPHeaders": {}, "RetryAttempts": 0, "RequestId": "emulated"}
    return AWSResponse(params["url"], 200, {}, None), answer


# ---------------------------------------------------------------------------------------------------------------------
# DynamoDB


def _copy_all_but_tables(value: Any) -> Any:
    return value if isinstance(value, Table) else copy.deepcopy(value)


def _with_rollback(original: Callable[..., None]) -> Callable[..., None]:
    """The transaction puts back the items it names; moto's own restoring of whole tables then finds them unchanged."""

    def transact_write_items(backend: DynamoDBBackend, transact_items: list[dict[str, Any]]) -> None:
        before = [_named_item(backend, item) for item in transact_items]
        try:
            original(backend, transact_items)
        except Exception:
            for named in before:
                if named is not None:
                    _put_back(*named)
            raise

    return transact_write_items


def _named_item(backend: DynamoDBBackend, transact_item: dict[str, Any]) -> tuple[Table, Any, Any, Any] | None:
    kind, operation = next(iter(transact_item.items()))
    table = backend.tables.get(operation.get("TableName", ""))
    key = operation.get("Item" if kind == "Put" else "Key", {})
    if table is None or any(name not in key for name in table.table_key_attrs):
        return None  # the transaction itself will complain
    hash_key, range_key = backend.get_keys_value(table, key)
    item = table.get_item(hash_key, range_key)
    return table, hash_key, range_key, copy.deepcopy(item) if kind == "Update" else item


def _put_back(table: Table, hash_key: Any, range_key: Any, item: Any) -> None:
    forget_entry(table, hash_key, range_key)
    if item is None:
        if range_key is None:
            table.items.pop(hash_key, None)
        else:
            table.items[hash_key].pop(range_key, None)
        return
    if range_key is None:
        table.items[hash_key] = item
    else:
        table.items[hash_key][range_key] = item
    record_entry(table, item)


def _recording_update(original: Callable[..., Any]) -> Callable[..., Any]:
    def update_item(backend: DynamoDBBackend, table_name: str, *args: Any, **kwargs: Any) -> Any:
        item = original(backend, table_name, *args, **kwargs)
        record_entry(backend.get_table(table_name), item)
        return item

    return update_item


def _recording_put(original: Callable[..., Any]) -> Callable[..., Any]:
    def put_item(table: Table, *args: Any, **kwargs: Any) -> Any:
        item = original(table, *args, **kwargs)
        record_entry(table, item)
        return item

    return put_item


def _forgetting_delete(original: Callable[..., Any]) -> Callable[..., Any]:
    def delete_item(table: Table, hash_key: Any, range_key: Any) -> Any:
        forget_entry(table, hash_key, range_key)
        return original(table, hash_key, range_key)

    return delete_item


def _narrow_query(original: Callable[..., Any]) -> Callable[..., Any]:
    def query(table: Table, *args: Any, **conditions: Any) -> Any:
        hash_key, comparison, operands, limit, start, forward, _projection, index_name = args[:8]
        asked = Asked(
            hash_key=hash_key,
            comparison=comparison,
            operands=operands,
            limit=limit,
            start=start,
            forward=forward,
            index_name=index_name,
            conditions=conditions,
        )
        view: Any = copy.copy(table)
        view.items = narrowed_items(table, asked)
        return original(view, *args, **conditions)

    return query


# ---------------------------------------------------------------------------------------------------------------------
# SQS


def _visible_messages(queue: Any) -> Iterator[Any]:
    """What may be received, from the head, found while the caller asks for more."""
    now_msec = sqs_models.unix_time_millis()  # type: ignore[attr-defined]
    return (
        message
        for message in list(queue._messages)
        if now_msec > message.visible_at and now_msec >= message.delayed_until
    )


def _count(queue: Any, kind: str) -> int:
    now_msec = sqs_models.unix_time_millis()  # type: ignore[attr-defined]
    messages = list(queue._messages)
    if kind == "ready":
        return sum(1 for message in messages if now_msec > message.visible_at and now_msec >= message.delayed_until)
    if kind == "delayed":
        return sum(1 for message in messages if now_msec < message.delayed_until)
    return sum(1 for message in messages if now_msec <= message.visible_at)


def _announcing_add(original: Callable[..., None]) -> Callable[..., None]:
    def add_message(queue: Queue, message: Any) -> None:
        condition = _locks.of("sqs")
        with condition:
            original(queue, message)
            condition.notify_all()

    return add_message


def _wait_for_messages(_queue: Queue, timeout: float) -> None:
    condition = _locks.of("sqs")
    with condition:
        condition.wait(min(timeout, _LONG_POLL_STEP_SEC))


def _delete_message(queue: Any, receipt_handle: str) -> None:
    if receipt_handle in queue.deleted_messages:
        return
    found = next((message for message in queue._messages if message.had_receipt_handle(receipt_handle)), None)
    if found is None:
        raise ReceiptHandleIsInvalid()
    if len(queue.deleted_messages) > _DELETED_HANDLES_MAX:
        queue.deleted_messages.clear()
    queue.pending_messages.discard(found)
    queue.deleted_messages.update(found.all_receipt_handles)
    queue._messages.remove(found)
