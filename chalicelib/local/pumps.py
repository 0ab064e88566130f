"""Feeds queue messages to the ``executor`` door with the semantics of Lambda's event source mapping.

The law: a message is deleted when the door has handled it. What the door reports as failed, and every message of a call
that raised, stays in the queue until its visibility timeout ends, and the queue's own redrive policy decides when it
has failed often enough.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Final, Protocol

from chalicelib.adapters.memory_queues import MemoryQueue
from chalicelib.adapters.memory_queues import Received as MemoryReceived
from chalicelib.local.context import LambdaContext
from chalicelib.local.wakeup import Activity, Wakeup
from chalicelib.vocabulary import JsonObject

logger = logging.getLogger("mistral.local.pumps")

Door = Callable[[JsonObject, Any], Any]

BATCH_MESSAGES_MAX: Final = 10
IDLE_POLL_SEC: Final = 0.5
FAILURE_PAUSE_SEC: Final = 1.0


@dataclass(frozen=True, slots=True)
class Received:
    """A message as a queue hands it out."""

    message_id: str
    receipt: str
    body: str
    receive_count: int = 1
    sent_msec: int = 0


class Source(Protocol):
    """A queue, as a pump needs it."""

    name: str
    arn: str

    def receive(self, messages_max: int) -> Sequence[Received]:
        """Up to that many visible messages, without waiting; each is hidden for the queue's visibility timeout."""

    def delete(self, received: Sequence[Received]) -> None:
        """Remove these for good."""


class SqsSource:
    """An SQS queue behind a botocore client."""

    def __init__(self, client: Any, name: str, *, visibility_sec: int | None = None) -> None:
        self.name = name
        self._client = client
        # How long others do not see what was received; without it, the queue says so itself.
        self._hidden = {} if visibility_sec is None else {"VisibilityTimeout": visibility_sec}
        self._url = client.get_queue_url(QueueName=name)["QueueUrl"]
        attributes = client.get_queue_attributes(QueueUrl=self._url, AttributeNames=["QueueArn"])
        self.arn = attributes["Attributes"]["QueueArn"]

    def receive(self, messages_max: int) -> Sequence[Received]:
        """Ask SQS without a long poll: an emulator would hold everybody up meanwhile."""
        answer = self._client.receive_message(
            QueueUrl=self._url,
            MaxNumberOfMessages=messages_max,
            WaitTimeSeconds=0,
            MessageSystemAttributeNames=["ApproximateReceiveCount", "SentTimestamp"],
            **self._hidden,
        )
        return [_received(message) for message in answer.get("Messages", ())]

    def delete(self, received: Sequence[Received]) -> None:
        """Delete in one request; at most ten, as they were received."""
        entries = [{"Id": str(index), "ReceiptHandle": each.receipt} for index, each in enumerate(received)]
        self._client.delete_message_batch(QueueUrl=self._url, Entries=entries)


def _received(message: JsonObject) -> Received:
    attributes = message.get("Attributes", {})
    return Received(
        message_id=message["MessageId"],
        receipt=message["ReceiptHandle"],
        body=message["Body"],
        receive_count=int(attributes.get("ApproximateReceiveCount", 1)),
        sent_msec=int(attributes.get("SentTimestamp", 0)),
    )


class MemorySource:
    """A queue of the in-memory twin."""

    def __init__(self, queue: MemoryQueue, name: str, *, visibility_sec: float) -> None:
        self.name = name
        self.arn = f"arn:aws:sqs:local:000000000000:{name}"
        self._queue, self._visibility_sec = queue, visibility_sec

    def receive(self, messages_max: int) -> Sequence[Received]:
        """Take what may be seen now."""
        found = self._queue.receive(self.name, messages_max=messages_max, visibility_sec=self._visibility_sec)
        return [
            Received(each.message_id, each.receipt, json.dumps(each.body), receive_count=each.receive_count)
            for each in found
        ]

    def delete(self, received: Sequence[Received]) -> None:
        """Done with these."""
        for each in received:
            self._queue.delete(MemoryReceived(each.message_id, each.receipt, {}, self.name, each.receive_count))


def sqs_event(received: Sequence[Received], source_arn: str) -> JsonObject:
    """The event that Lambda makes of a batch."""
    return {
        "Records": [
            {
                "messageId": each.message_id,
                "receiptHandle": each.receipt,
                "body": each.body,
                "attributes": {
                    "ApproximateReceiveCount": str(each.receive_count),
                    "ApproximateFirstReceiveTimestamp": str(each.sent_msec),
                    "SentTimestamp": str(each.sent_msec),
                    "SenderId": "local",
                },
                "messageAttributes": {},
                "eventSource": "aws:sqs",
                "eventSourceARN": source_arn,
                "awsRegion": (source_arn.split(":") + [""] * 4)[3],
            }
            for each in received
        ]
    }


def handled(answer: Any, received: Sequence[Received]) -> list[Received]:
    """Which messages a door's answer declares done; as in Lambda, a report that names a stranger fails the batch."""
    failures = answer.get("batchItemFailures") if isinstance(answer, dict) else None
    if not failures:
        return list(received)
    failed = {failure.get("itemIdentifier") for failure in failures}
    if not failed <= {each.message_id for each in received}:
        return []
    return [each for each in received if each.message_id not in failed]


def shares(received: Sequence[Received], hands: int) -> list[list[Received]]:
    """Spread messages over idle hands, as evenly as can be: nobody waits behind another while a hand is free."""
    parts = min(hands, len(received))
    return [list(received[start::parts]) for start in range(parts)]


class Pump:
    """Moves the messages of one source through one door, on threads of its own."""

    def __init__(
        self,
        source: Source,
        door: Door,
        *,
        wakeup: Wakeup,
        workers: int,
        timeout_sec: float,
        after: Callable[[], None] = lambda: None,
        now: Callable[[], float] = time.monotonic,
        activity: Activity | None = None,
    ) -> None:
        self._source, self._door, self._wakeup = source, door, wakeup
        self._activity = activity or Activity()
        self._workers, self._timeout_sec = workers, timeout_sec
        self._after, self._now = after, now
        self._idle = threading.Semaphore(workers)
        self._jobs: SimpleQueue[list[Received] | None] = SimpleQueue()
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin."""
        for number in range(self._workers):
            self._spawn(self._work, f"{self._source.name}-{number}")
        self._spawn(self._feed, f"{self._source.name}-feed")

    def stop(self) -> None:
        """Take no more; what runs goes on. Returns at once."""
        self._stopping.set()
        self._wakeup.interrupt()
        for _ in range(self._workers):
            self._jobs.put(None)

    def join(self, timeout_sec: float) -> bool:
        """Wait for what runs; whether all of it ended in that time."""
        deadline_sec = time.monotonic() + timeout_sec
        for thread in self._threads:
            thread.join(max(0.0, deadline_sec - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def deliver(self, received: list[Received]) -> None:
        """Call the door with one batch and delete what it handled."""
        context = LambdaContext(self._source.name, deadline_sec=self._now() + self._timeout_sec, now=self._now)
        try:
            answer = self._door(sqs_event(received, self._source.arn), context)
        except Exception:
            logger.exception("The executor failed; %d message(s) stay in %s", len(received), self._source.name)
            return
        done = handled(answer, received)
        if len(done) < len(received):
            logger.info("%d message(s) stay in %s for another try", len(received) - len(done), self._source.name)
        if done:
            self._source.delete(done)

    def take(self) -> int:
        """Hand out what is ready to idle workers; how many messages there were."""
        hands = self._reserve()
        try:
            received = [] if self._stopping.is_set() else self._source.receive(BATCH_MESSAGES_MAX)
        except Exception:
            self._idle.release(hands)
            raise
        parts = shares(received, hands)
        if len(parts) < hands:
            self._idle.release(hands - len(parts))
        for part in parts:
            self._activity.enter()
            self._jobs.put(part)
        return len(received)

    def _reserve(self) -> int:
        self._idle.acquire()
        hands = 1
        while hands < BATCH_MESSAGES_MAX and self._idle.acquire(blocking=False):
            hands += 1
        return hands

    def _feed(self) -> None:
        with self._activity.busy():
            while not self._stopping.is_set():
                try:
                    found = self.take()
                except Exception:
                    logger.exception("Cannot read the queue %s; trying again", self._source.name)
                    self._stopping.wait(FAILURE_PAUSE_SEC)
                    continue
                if not found:
                    self._wakeup.wait(IDLE_POLL_SEC)

    def _work(self) -> None:
        while (received := self._jobs.get()) is not None:
            try:
                self.deliver(received)
            except Exception:
                logger.exception("Cannot delete from the queue %s; the messages will come again", self._source.name)
            finally:
                self._idle.release()
                self._after()
                self._activity.leave()

    def _spawn(self, target: Callable[[], None], name: str) -> None:
        thread = threading.Thread(target=target, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()
