"""``DeadLetters`` on SQS, and its twin in memory."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from chalicelib.adapters.aws import Aws
from chalicelib.adapters.memory_queues import MemoryQueue
from chalicelib.errors import NotFoundException
from chalicelib.services.dead_letters import FAILED_EVENT, DeadLetter, DeadLetters
from chalicelib.services.ports import Message
from chalicelib.vocabulary import JsonObject

_BATCH_MAX: Final = 10
# For so long nobody else sees what is being moved.
_MOVING_SEC: Final = 60


class SqsDeadLetters(DeadLetters):
    """``names`` gives the name of each queue by the name that the service uses; its dead letters have the suffix.

    ``functions`` likewise gives functions, whose dead letters are events that Lambda could not bring them: each is
    brought to its function again.
    """

    def __init__(
        self, aws: Aws, names: Mapping[str, str], *, suffix: str, functions: Mapping[str, str] | None = None
    ) -> None:
        self._aws = aws
        self._functions = dict(functions or {})
        self._names = dict(names) | self._functions
        self._suffix = suffix

    def queues(self) -> Sequence[str]:
        """See ``DeadLetters``."""
        return tuple(self._names)

    def size(self, queue: str) -> int:
        """See ``DeadLetters``."""
        wanted = ["ApproximateNumberOfMessages"]
        answer = self._client.get_queue_attributes(QueueUrl=self._dead(queue), AttributeNames=wanted)
        return int(answer["Attributes"][wanted[0]])

    def sample(self, queue: str, limit: int) -> list[DeadLetter]:
        """See ``DeadLetters``; they can be seen again at once, so that one may come twice and is told once."""
        found: dict[str, DeadLetter] = {}
        for _ in range(-(-limit // _BATCH_MAX)):
            received = self._received(queue, min(limit, _BATCH_MAX), visibility_sec=0)
            found |= {message["MessageId"]: _letter(message) for message in received}
        return list(found.values())[:limit]

    def move(self, queue: str, limit: int) -> int:
        """See ``DeadLetters``. Raises ClientError."""
        moved = 0
        send = self._to_function if queue in self._functions else self._to_queue
        while moved < limit:
            received = self._received(queue, min(limit - moved, _BATCH_MAX), visibility_sec=_MOVING_SEC)
            if not received:
                break
            sent = send(self._names[queue], received)
            done = [{"Id": str(at), "ReceiptHandle": each["ReceiptHandle"]} for at, each in enumerate(sent)]
            if not done:
                break
            self._client.delete_message_batch(QueueUrl=self._dead(queue), Entries=done)
            moved += len(done)
        return moved

    def _to_queue(self, name: str, received: Sequence[JsonObject]) -> list[JsonObject]:
        """Send them to where they come from; those that are there."""
        entries = [{"Id": str(at), "MessageBody": message["Body"]} for at, message in enumerate(received)]
        answer = self._client.send_message_batch(QueueUrl=self._url(name), Entries=entries)
        return [received[int(each["Id"])] for each in answer.get("Successful", ())]

    def _to_function(self, name: str, received: Sequence[JsonObject]) -> list[JsonObject]:
        """Have Lambda bring the events to the function; those that it has taken. What is no event stays."""
        client = self._aws.client("lambda")
        taken = []
        for message in received:
            event = _body(message).get(FAILED_EVENT)
            if isinstance(event, dict):
                client.invoke(FunctionName=name, InvocationType="Event", Payload=json.dumps(event).encode())
                taken.append(message)
        return taken

    @property
    def _client(self) -> Any:
        return self._aws.client("sqs")

    def _received(self, queue: str, limit: int, *, visibility_sec: int) -> list[JsonObject]:
        answer = self._client.receive_message(
            QueueUrl=self._dead(queue),
            MaxNumberOfMessages=limit,
            VisibilityTimeout=visibility_sec,
            WaitTimeSeconds=1,
            MessageSystemAttributeNames=["SentTimestamp"],
        )
        messages: list[JsonObject] = answer.get("Messages", [])
        return messages

    def _dead(self, queue: str) -> str:
        return self._url(self._names[queue] + self._suffix)

    def _url(self, name: str) -> str:
        try:
            url: str = self._client.get_queue_url(QueueName=name)["QueueUrl"]
        except self._client.exceptions.QueueDoesNotExist as error:
            raise NotFoundException(f"There is no queue {name}; deploy again.") from error
        return url


def _body(message: JsonObject) -> JsonObject:
    try:
        body = json.loads(message["Body"])
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _letter(message: JsonObject) -> DeadLetter:
    sent_msec = int(message.get("Attributes", {}).get("SentTimestamp", 0))
    return DeadLetter(message["MessageId"], _body(message), sent_msec / 1000)


class MemoryDeadLetters(DeadLetters):
    """The dead letters of a ``MemoryQueue``."""

    def __init__(self, queue: MemoryQueue) -> None:
        self._queue = queue

    def queues(self) -> Sequence[str]:
        """See ``DeadLetters``."""
        return tuple(self._queue.dead)

    def size(self, queue: str) -> int:
        """See ``DeadLetters``."""
        return len(self._of(queue))

    def sample(self, queue: str, limit: int) -> list[DeadLetter]:
        """See ``DeadLetters``."""
        return [DeadLetter(str(number), dict(body), 0.0) for number, body in enumerate(self._of(queue)[:limit])]

    def move(self, queue: str, limit: int) -> int:
        """See ``DeadLetters``."""
        dead = self._of(queue)
        moving = dead[:limit]
        self._queue.send([Message(body, queue=queue) for body in moving])
        del dead[: len(moving)]
        return len(moving)

    def _of(self, queue: str) -> list[JsonObject]:
        if queue not in self._queue.dead:
            raise NotFoundException(f"There is no queue {queue}.")
        return self._queue.dead[queue]
