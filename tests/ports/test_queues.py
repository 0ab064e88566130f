"""What every ``Queue`` promises, seen from the receiving side; and the twin's own promises."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError

from chalicelib.adapters.aws import Aws
from chalicelib.adapters.memory import ManualClock, MemoryQueue, Received
from chalicelib.adapters.queues import SEND_ATTEMPTS_MAX, SqsQueue, group_of
from chalicelib.errors import SizeLimitExceededException
from chalicelib.services.ports import Message, Queue

Drain = Callable[[str], list[Any]]


@pytest.fixture
def sqs(moto: Aws) -> tuple[SqsQueue, dict[str, str]]:
    client = moto.client("sqs")
    urls = {name: client.create_queue(QueueName=f"{name}-{uuid4()}")["QueueUrl"] for name in ("tasks", "tasks-long")}
    return SqsQueue(moto, urls, pause=lambda seconds: None), urls


@pytest.fixture(params=["memory", "moto"])
def queue_and_drain(request: pytest.FixtureRequest) -> Iterator[tuple[Queue, Drain]]:
    """A queue, and how to take all that is visible in one of its names."""
    if request.param == "memory":
        memory = MemoryQueue(ManualClock())
        yield memory, lambda name: [received.body for received in memory.receive(name, messages_max=10_000)]
        return
    queue, urls = request.getfixturevalue("sqs")
    client = request.getfixturevalue("moto").client("sqs")

    def drain(name: str) -> list[Any]:
        bodies: list[Any] = []
        while found := client.receive_message(QueueUrl=urls[name], MaxNumberOfMessages=10).get("Messages"):
            bodies += [json.loads(message["Body"]) for message in found]
        return bodies

    yield queue, drain


def test_every_message_arrives_at_its_own_queue(queue_and_drain: tuple[Queue, Drain]):
    queue, drain = queue_and_drain
    queue.send([Message({"n": number}, "tasks" if number % 3 else "tasks-long") for number in range(37)])
    assert sorted(body["n"] for body in drain("tasks")) == [number for number in range(37) if number % 3]
    assert sorted(body["n"] for body in drain("tasks-long")) == list(range(0, 37, 3))


def test_a_delayed_message_is_not_visible_yet(queue_and_drain: tuple[Queue, Drain]):
    queue, drain = queue_and_drain
    queue.send([Message({"n": 1}, delay_sec=900), Message({"n": 2})])
    assert drain("tasks") == [{"n": 2}]


def test_a_body_arrives_as_it_was_sent(queue_and_drain: tuple[Queue, Drain]):
    queue, drain = queue_and_drain
    body = {"ключ": ["鍵", "🔑", None, True, 1.5, {"": ""}]}
    queue.send([Message(body)])
    body.clear()
    assert drain("tasks") == [{"ключ": ["鍵", "🔑", None, True, 1.5, {"": ""}]}]


def test_sending_nothing_sends_nothing(queue_and_drain: tuple[Queue, Drain]):
    queue, drain = queue_and_drain
    queue.send([])
    assert drain("tasks") == []


@pytest.mark.parametrize(
    "wrong",
    [Message({}, delay_sec=901), Message({}, delay_sec=-1), Message({}, delay_sec=0.5), Message({}, "nowhere")],  # type: ignore[arg-type]
)
def test_one_impossible_message_stops_all_before_any_is_sent(queue_and_drain: tuple[Queue, Drain], wrong: Message):
    queue, drain = queue_and_drain
    with pytest.raises(ValueError, match=r"no queue 'nowhere'|whole seconds"):
        queue.send([Message({"n": 1}), wrong])
    assert drain("tasks") == []


# --- SQS


def requests_of(client: Any, operation: str) -> list[dict[str, Any]]:
    """The bodies of the requests that a client sends from now on."""
    seen: list[dict[str, Any]] = []
    client.meta.events.register(
        f"provide-client-params.sqs.{operation}", lambda params, **_: seen.append(json.loads(json.dumps(params)))
    )
    return seen


def test_messages_go_by_tens(sqs: tuple[SqsQueue, dict[str, str]], moto: Aws):
    seen = requests_of(moto.client("sqs"), "SendMessageBatch")
    sqs[0].send([Message({"n": number}) for number in range(25)])
    assert [len(request["Entries"]) for request in seen] == [10, 10, 5]


def test_a_batch_stays_below_256_kilobytes(sqs: tuple[SqsQueue, dict[str, str]], moto: Aws):
    seen = requests_of(moto.client("sqs"), "SendMessageBatch")
    sqs[0].send([Message({"x": "é" * 20_000}) for _ in range(4)])  # 120,000 bytes each as JSON
    assert [len(request["Entries"]) for request in seen] == [2, 2]


def test_a_message_that_no_batch_holds_is_refused(sqs: tuple[SqsQueue, dict[str, str]]):
    with pytest.raises(SizeLimitExceededException, match="send an id"):
        sqs[0].send([Message({"x": "x" * 300_000})])


class RefusingClient:
    """An SQS client that refuses the entries with these bodies, so many times."""

    def __init__(self, refused: set[str], times: int, *, sender_fault: bool = False) -> None:
        self.refused, self.times, self.sender_fault = refused, times, sender_fault
        self.sent: list[list[str]] = []

    def send_message_batch(self, *, QueueUrl: str, Entries: list[dict[str, Any]]) -> dict[str, Any]:
        self.sent.append([entry["MessageBody"] for entry in Entries])
        self.times -= 1
        return {
            "Failed": [
                {"Id": entry["Id"], "Code": "Busy", "Message": "not now", "SenderFault": self.sender_fault}
                for entry in Entries
                if self.times >= 0 and entry["MessageBody"] in self.refused
            ]
        }


class OneClient(Aws):
    """An AWS that is nothing but one client."""

    def __init__(self, client: Any) -> None:
        super().__init__("us-east-1")
        self._only = client

    def client(self, service: str) -> Any:
        return self._only


def a_refused_queue(client: RefusingClient) -> SqsQueue:
    return SqsQueue(OneClient(client), {"tasks": "url"}, pause=lambda seconds: None)


def test_only_what_was_refused_is_sent_again():
    client = RefusingClient({'{"n":1}', '{"n":3}'}, times=2)
    a_refused_queue(client).send([Message({"n": number}) for number in range(4)])
    assert client.sent[1:] == [['{"n":1}', '{"n":3}']] * 2


def test_what_stays_refused_is_an_error():
    client = RefusingClient({'{"n":1}'}, times=99)
    with pytest.raises(ClientError, match="1 messages to queue 'tasks' were not sent: not now"):
        a_refused_queue(client).send([Message({"n": 0}), Message({"n": 1})])
    assert len(client.sent) == SEND_ATTEMPTS_MAX


def test_what_is_refused_as_wrong_is_not_sent_again():
    client = RefusingClient({'{"n":1}'}, times=99, sender_fault=True)
    with pytest.raises(ClientError):
        a_refused_queue(client).send([Message({"n": 1})])
    assert len(client.sent) == 1


# --- the receiving side of the twin


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1000.0)


@pytest.fixture
def queue(clock: ManualClock) -> MemoryQueue:
    return MemoryQueue(clock, receives_max=3)


def only(received: list[Received]) -> Received:
    assert len(received) == 1
    return received[0]


def test_a_received_message_is_hidden_until_its_visibility_ends(queue: MemoryQueue, clock: ManualClock):
    queue.send([Message({"n": 1})])
    first = only(queue.receive(visibility_sec=30))
    assert first.receive_count == 1
    assert queue.receive() == []
    assert queue.next_visible_at() == 1030
    clock.advance(30)
    second = only(queue.receive())
    assert (second.receive_count, second.message_id) == (2, first.message_id)
    assert second.receipt != first.receipt


def test_a_deleted_message_is_gone(queue: MemoryQueue, clock: ManualClock):
    queue.send([Message({"n": 1})])
    assert queue.delete(only(queue.receive(visibility_sec=30)))
    clock.advance(1000)
    assert queue.receive() == []
    assert queue.size() == 0
    assert queue.next_visible_at() is None


def test_a_receipt_from_an_earlier_delivery_deletes_nothing(queue: MemoryQueue, clock: ManualClock):
    queue.send([Message({"n": 1})])
    first = only(queue.receive(visibility_sec=30))
    clock.advance(30)
    second = only(queue.receive(visibility_sec=30))
    assert not queue.delete(first)
    assert not queue.change_visibility(first, 0)
    assert queue.delete(second)
    assert not queue.delete(second)


def test_a_visibility_can_be_shortened_and_lengthened(queue: MemoryQueue, clock: ManualClock):
    queue.send([Message({"n": 1})])
    first = only(queue.receive(visibility_sec=30))
    assert queue.change_visibility(first, 100)
    clock.advance(99)
    assert queue.receive() == []
    assert queue.change_visibility(first, 0)
    assert only(queue.receive()).receive_count == 2


def test_a_message_received_too_often_becomes_a_dead_letter(queue: MemoryQueue, clock: ManualClock):
    queue.send([Message({"n": 1})])
    for _ in range(3):
        assert only(queue.receive(visibility_sec=1)).body == {"n": 1}
        clock.advance(1)
    assert queue.receive() == []
    assert queue.dead["tasks"] == [{"n": 1}]
    assert queue.size() == 0


def test_messages_are_received_when_due_and_in_order(queue: MemoryQueue, clock: ManualClock):
    queue.send([Message({"n": 1}, delay_sec=5), Message({"n": 2}), Message({"n": 3}), Message({"n": 4}, delay_sec=2)])
    assert [received.body["n"] for received in queue.receive(messages_max=1)] == [2]
    assert [received.body["n"] for received in queue.receive()] == [3]
    assert queue.next_visible_at() == 1002
    assert [received.body["n"] for received in queue.receive(now=1005)] == [4, 1]


def test_what_was_sent_is_remembered_with_its_delay(queue: MemoryQueue):
    messages = [Message({"n": 1}, delay_sec=5), Message({"n": 2}, "tasks-long")]
    queue.send(messages)
    assert list(queue.sent) == messages


def test_messages_stand_in_the_group_of_their_tenant(sqs: tuple[SqsQueue, dict[str, str]], moto: Aws):
    queue, urls = sqs
    queue.send([Message({"n": 1}, tenant="acme"), Message({"n": 2}, tenant="a b"), Message({"n": 3})])
    received = moto.client("sqs").receive_message(
        QueueUrl=urls["tasks"], MaxNumberOfMessages=10, MessageSystemAttributeNames=["MessageGroupId"]
    )["Messages"]
    groups = {each["Body"]: each.get("Attributes", {}).get("MessageGroupId") for each in received}
    assert groups == {'{"n":1}': "acme", '{"n":2}': group_of("a b"), '{"n":3}': None}
