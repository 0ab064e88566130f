"""What every ``DeadLetters`` promises, on the emulator and in memory."""

import json
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest

from chalicelib.adapters.dead_letters import MemoryDeadLetters, SqsDeadLetters
from chalicelib.adapters.memory import ManualClock, MemoryPayloads, MemoryQueue, MemoryTable
from chalicelib.errors import NotFoundException
from chalicelib.services.dead_letters import DeadLetter, DeadLetters, redrive, story_of
from chalicelib.services.execution_store import ExecutionStore


@dataclass
class World:
    """Dead letters, how one gets there, and what has come back to the queue."""

    letters: DeadLetters
    put: Any
    returned: Any


def in_memory() -> World:
    queue = MemoryQueue(ManualClock())

    def returned():
        return [received.body for received in queue.receive("tasks", messages_max=1000)]

    return World(MemoryDeadLetters(queue), queue.dead["tasks"].append, returned)


def on(aws) -> World:
    client, name = aws.client("sqs"), f"tasks-{uuid4()}"
    source = client.create_queue(QueueName=name)["QueueUrl"]
    dead = client.create_queue(QueueName=f"{name}-dead")["QueueUrl"]

    def put(body):
        client.send_message(QueueUrl=dead, MessageBody=json.dumps(body))

    def returned():
        bodies = []
        while found := client.receive_message(QueueUrl=source, MaxNumberOfMessages=10).get("Messages"):
            bodies += [json.loads(each["Body"]) for each in found]
        return bodies

    return World(SqsDeadLetters(aws, {"tasks": name, "absent": f"{name}-absent"}, suffix="-dead"), put, returned)


@pytest.fixture(params=["memory", "moto"])
def world(request):
    return in_memory() if request.param == "memory" else on(request.getfixturevalue("moto"))


def test_a_sample_leaves_the_letters_where_they_are(world):
    for number in range(3):
        world.put({"kind": "reconcile", "x": str(number)})
    assert world.letters.size("tasks") == 3
    assert {letter.body["x"] for letter in world.letters.sample("tasks", 10)} == {"0", "1", "2"}
    assert world.letters.size("tasks") == 3
    assert world.returned() == []


def test_letters_that_are_sent_again_are_in_their_queue_once_and_dead_no_more(world):
    for number in range(13):
        world.put({"n": number})
    assert redrive(world.letters, "tasks") == 13
    assert world.letters.size("tasks") == 0
    assert sorted(body["n"] for body in world.returned()) == list(range(13))
    assert redrive(world.letters, "tasks") == 0


def test_no_more_than_was_asked_for_is_moved(world):
    for number in range(5):
        world.put({"n": number})
    assert world.letters.move("tasks", 2) == 2
    assert len(world.returned()) == 2
    assert world.letters.size("tasks") == 3


def test_a_queue_that_is_not_there_is_said(world):
    with pytest.raises(NotFoundException, match="no queue"):
        redrive(world.letters, "nowhere")
    with pytest.raises(NotFoundException, match="absent"):
        redrive(world.letters, "absent")


class WithFunctions:
    """An emulated AWS, whose functions are lists of the events that they are brought."""

    def __init__(self, aws):
        self._aws = aws
        self.brought: list[tuple[str, str, Any]] = []

    def client(self, name):
        return self if name == "lambda" else self._aws.client(name)

    def invoke(self, *, FunctionName, InvocationType, Payload):
        self.brought.append((FunctionName, InvocationType, json.loads(Payload)))


def test_an_event_that_a_function_failed_with_is_brought_to_it_again_and_what_is_none_stays(moto):
    aws: Any = WithFunctions(moto)
    client, name = moto.client("sqs"), f"events-{uuid4()}"
    url = client.create_queue(QueueName=f"{name}-dead")["QueueUrl"]
    letters = SqsDeadLetters(aws, {}, suffix="-dead", functions={"events": name})
    event = {"id": "e-1", "source": "nova", "detail-type": "notifications", "detail": {}}
    failed = {"version": "1.0", "requestContext": {"condition": "RetriesExhausted"}, "requestPayload": event}
    for body in (json.dumps(failed), "nonsense"):
        client.send_message(QueueUrl=url, MessageBody=body)

    assert letters.queues() == ("events",)
    assert redrive(letters, "events") == 1

    assert aws.brought == [(name, "Event", event)]
    asked = client.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert int(asked["ApproximateNumberOfMessages"]) + int(asked["ApproximateNumberOfMessagesNotVisible"]) == 1


@pytest.mark.parametrize(
    ("body", "story"),
    [
        ({}, "no message of this service"),
        ({"kind": "alert", "p": "s1"}, "an alert for a publisher of the service"),
        ({"kind": "maintenance", "x": ""}, "maintenance"),
        ({"kind": "cron", "x": "t"}, "cron of cron-trigger t"),
        ({"kind": "ad-hoc", "x": "r"}, "ad-hoc of action execution r"),
        (
            {"requestPayload": {"id": "e-1", "source": "nova", "detail-type": "notifications"}},
            "event e-1 of nova: notifications",
        ),
        ({"kind": "timer", "x": "e"}, "timer for execution e, which is not there any more"),
    ],
)
def test_the_story_of_a_letter_says_what_it_was_for(body, story):
    assert story_of(DeadLetter("m", body, 0.0), ExecutionStore(MemoryTable(), MemoryPayloads())) == story
