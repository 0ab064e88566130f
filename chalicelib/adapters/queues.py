"""``Queue`` on SQS standard queues.

A message names its tenant as its group. On a standard queue a group orders nothing: it makes the queue fair, so that
tenants with few messages do not wait behind one with many.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from botocore.exceptions import ClientError

from chalicelib.adapters.aws import Aws
from chalicelib.adapters.bounds import check_message
from chalicelib.errors import SizeLimitExceededException
from chalicelib.services.ports import Message, Queue

BATCH_MESSAGES_MAX: Final = 10
# SQS takes 1 MiB today; 256 KB is what every emulator and every older region takes, and ids never come near it.
BATCH_BYTES_MAX: Final = 256 * 1024
SEND_ATTEMPTS_MAX: Final = 4
# What SQS takes as the name of a group.
_GROUP: Final = re.compile(r"[!-~]{1,128}")

Entry = dict[str, Any]


class SqsQueue(Queue):
    """The task queues of one deployment. ``urls`` gives the address of each queue by its name."""

    def __init__(self, aws: Aws, urls: Mapping[str, str], *, pause: Callable[[float], None] = time.sleep) -> None:
        self._aws = aws
        self._urls = dict(urls)
        self._pause = pause

    def send(self, messages: Sequence[Message]) -> None:
        """See ``Queue``; SendMessageBatch by tens. What SQS refuses is sent again a few times, then ClientError."""
        for message in messages:
            check_message(message, self._urls)
        for queue in dict.fromkeys(message.queue for message in messages):
            for batch in _batches([message for message in messages if message.queue == queue]):
                self._send_batch(queue, batch)

    def _send_batch(self, queue: str, entries: list[Entry]) -> None:
        client = self._aws.client("sqs")
        for attempt in range(SEND_ATTEMPTS_MAX):
            answer = client.send_message_batch(QueueUrl=self._urls[queue], Entries=entries)
            failed = {failure["Id"]: failure for failure in answer.get("Failed", ())}
            if not failed:
                return
            last_try = attempt == SEND_ATTEMPTS_MAX - 1
            if last_try or any(failure.get("SenderFault") for failure in failed.values()):
                raise _not_sent(queue, list(failed.values()))
            entries = [entry for entry in entries if entry["Id"] in failed]
            self._pause(0.05 * 2**attempt)


def _batches(messages: Sequence[Message]) -> Iterator[list[Entry]]:
    """The messages of one queue in requests that SQS takes."""
    batch: list[Entry] = []
    size = 0
    for message in messages:
        text = json.dumps(message.body, separators=(",", ":"))
        if len(text) > BATCH_BYTES_MAX:
            raise SizeLimitExceededException(
                f"A message of {len(text)} bytes to queue {message.queue!r}; the most is {BATCH_BYTES_MAX}:"
                " send an id and keep the value in the payload store."
            )
        if len(batch) == BATCH_MESSAGES_MAX or (batch and size + len(text) > BATCH_BYTES_MAX):
            yield batch
            batch, size = [], 0
        entry: Entry = {"Id": str(len(batch)), "MessageBody": text, "DelaySeconds": message.delay_sec}
        if message.tenant:
            entry["MessageGroupId"] = group_of(message.tenant)
        batch.append(entry)
        size += len(text)
    if batch:
        yield batch


def group_of(tenant: str) -> str:
    """The name of a tenant's group: its own, or the digest of one that SQS would not take."""
    return tenant if _GROUP.fullmatch(tenant) else hashlib.sha256(tenant.encode()).hexdigest()


def _not_sent(queue: str, failures: list[dict[str, Any]]) -> ClientError:
    first = failures[0]
    message = f"{len(failures)} messages to queue {queue!r} were not sent: {first.get('Message', 'no reason given')}"
    return ClientError({"Error": {"Code": first.get("Code", "Unknown"), "Message": message}}, "SendMessageBatch")
