"""Lambda's event source mapping, on a queue whose time stands still until a test moves it."""

import threading
from collections.abc import Sequence
from typing import Any

import pytest

from chalicelib.adapters.memory import ManualClock, MemoryQueue
from chalicelib.local.pumps import MemorySource, Pump, Received, handled, shares, sqs_event
from chalicelib.local.wakeup import Wakeup, watching_memory
from chalicelib.services.ports import Message

VISIBILITY_SEC = 60.0


class Door:
    """Notes what it is given; fails what it is told to fail."""

    def __init__(self, *, failing: Sequence[str] = (), broken: bool = False) -> None:
        self.batches: list[list[str]] = []
        self.contexts: list[Any] = []
        self._failing, self._broken = failing, broken

    def __call__(self, event: Any, context: Any) -> Any:
        self.batches.append([record["body"] for record in event["Records"]])
        self.contexts.append(context)
        if self._broken:
            raise RuntimeError("out of memory")
        failed = [record["messageId"] for record in event["Records"] if record["body"] in self._failing]
        return {"batchItemFailures": [{"itemIdentifier": identity} for identity in failed]}


class Line:
    """A queue in memory with a pump on it; ``pass_on`` does on this thread what the pump's threads do."""

    def __init__(self, door: Door, *, workers: int = 2, receives_max: int | None = None) -> None:
        self.clock = ManualClock()
        self.queue = MemoryQueue(self.clock, receives_max=receives_max)
        self.source = MemorySource(self.queue, "tasks", visibility_sec=VISIBILITY_SEC)
        self.pump = Pump(
            self.source, door, wakeup=Wakeup(self.clock.now), workers=workers, timeout_sec=120, now=self.clock.now
        )

    def send(self, *bodies: str, delay_sec: int = 0) -> None:
        self.queue.send([Message({"id": body}, delay_sec=delay_sec) for body in bodies])

    def pass_on(self) -> int:
        received = list(self.source.receive(10))
        if received:
            self.pump.deliver(received)
        return len(received)


def body(identity: str) -> str:
    return f'{{"id": "{identity}"}}'


def test_what_the_door_has_handled_is_deleted() -> None:
    door = Door()
    line = Line(door)
    line.send("a", "b")
    assert line.pass_on() == 2
    assert door.batches == [[body("a"), body("b")]]
    line.clock.advance(VISIBILITY_SEC)
    assert line.pass_on() == line.queue.size() == 0


def test_what_the_door_reports_as_failed_comes_again_after_the_visibility_timeout() -> None:
    door = Door(failing=[body("b")])
    line = Line(door)
    line.send("a", "b", "c")
    line.pass_on()
    assert line.queue.size() == 1
    line.clock.advance(VISIBILITY_SEC - 1)
    assert line.pass_on() == 0
    line.clock.advance(1)
    assert line.pass_on() == 1
    assert door.batches[1] == [body("b")]


def test_a_door_that_raises_leaves_the_whole_batch() -> None:
    line = Line(Door(broken=True))
    line.send("a", "b")
    line.pass_on()
    assert line.queue.size() == 2
    line.clock.advance(VISIBILITY_SEC)
    assert line.pass_on() == 2


def test_a_poison_message_becomes_a_dead_letter_by_the_queues_own_policy() -> None:
    door = Door(failing=[body("poison")])
    line = Line(door, receives_max=3)
    line.send("poison", "good")
    for _ in range(5):
        line.pass_on()
        line.clock.advance(VISIBILITY_SEC)
    assert line.queue.dead["tasks"] == [{"id": "poison"}]
    assert sum(batch.count(body("good")) for batch in door.batches) == 1
    assert line.queue.size() == 0


def test_the_door_knows_its_time_and_how_often_a_message_came() -> None:
    door = Door(broken=True)
    line = Line(door)
    line.send("a")
    line.pass_on()
    assert door.contexts[0].get_remaining_time_in_millis() == 120_000
    line.clock.advance(VISIBILITY_SEC)
    assert door.contexts[0].get_remaining_time_in_millis() == 60_000
    assert line.source.receive(1)[0].receive_count == 2
    line.clock.advance(1000)
    assert door.contexts[0].get_remaining_time_in_millis() == 0


def received(*identities: str) -> list[Received]:
    return [Received(identity, f"receipt-{identity}", "{}") for identity in identities]


@pytest.mark.parametrize("answer", [None, {}, {"batchItemFailures": []}, {"batchItemFailures": None}, "anything"])
def test_an_answer_without_failures_handles_all(answer: Any) -> None:
    assert handled(answer, received("a", "b")) == received("a", "b")


@pytest.mark.parametrize("stranger", ["x", "", None])
def test_a_report_about_a_stranger_fails_the_whole_batch(stranger: str | None) -> None:
    report = {"batchItemFailures": [{"itemIdentifier": "a"}, {"itemIdentifier": stranger}]}
    assert handled(report, received("a", "b")) == []


def test_the_event_is_shaped_as_lambdas() -> None:
    message = Received("id", "receipt", "{}", receive_count=2, sent_msec=1000)
    (record,) = sqs_event([message], "arn:aws:sqs:eu-west-1:1:tasks")["Records"]
    assert record["messageId"] == "id"
    assert record["receiptHandle"] == "receipt"
    assert record["attributes"]["ApproximateReceiveCount"] == "2"
    assert record["attributes"]["SentTimestamp"] == "1000"
    assert record["eventSource"] == "aws:sqs"
    assert record["awsRegion"] == "eu-west-1"


@pytest.mark.parametrize(
    ("messages", "hands", "sizes"), [(3, 8, [1, 1, 1]), (10, 4, [3, 3, 2, 2]), (5, 1, [5]), (0, 3, [])]
)
def test_messages_are_spread_over_the_idle_hands(messages: int, hands: int, sizes: list[int]) -> None:
    given = received(*map(str, range(messages)))
    parts = shares(given, hands)
    assert [len(part) for part in parts] == sizes
    assert sorted(each.message_id for part in parts for each in part) == sorted(each.message_id for each in given)


def test_workers_run_messages_side_by_side_and_a_send_wakes_them() -> None:
    queue = MemoryQueue(ManualClock())
    wakeup = Wakeup()
    together = threading.Barrier(4)
    done = threading.Semaphore(0)

    def door(_event: Any, _context: Any) -> None:
        together.wait(timeout=30)  # passes only when four messages are inside at once
        done.release()

    pump = Pump(MemorySource(queue, "tasks", visibility_sec=60), door, wakeup=wakeup, workers=4, timeout_sec=60)
    with watching_memory(queue, {"tasks": wakeup}):
        pump.start()
        for turn in range(3):
            queue.send([Message({"turn": turn, "number": number}) for number in range(4)])
            for _ in range(4):
                assert done.acquire(timeout=30)
    pump.stop()
    assert pump.join(30)
    assert queue.size() == 0


def test_a_stopped_pump_takes_no_more_and_lets_what_runs_end() -> None:
    queue = MemoryQueue(ManualClock())
    wakeup = Wakeup()
    inside, go_on = threading.Event(), threading.Event()
    ended = []

    def door(event: Any, _context: Any) -> None:
        inside.set()
        go_on.wait(timeout=30)
        ended.append(event["Records"][0]["body"])

    pump = Pump(MemorySource(queue, "tasks", visibility_sec=60), door, wakeup=wakeup, workers=1, timeout_sec=60)
    queue.send([Message({"id": "first"})])
    pump.start()
    assert inside.wait(timeout=30)
    pump.stop()
    queue.send([Message({"id": "second"})])
    assert not pump.join(0)
    go_on.set()
    assert pump.join(30)
    assert ended == [body("first")]
    assert queue.size() == 1


def test_a_queue_that_cannot_be_read_for_once_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chalicelib.local.pumps.FAILURE_PAUSE_SEC", 0)
    queue = MemoryQueue(ManualClock())
    arrived = threading.Event()

    class Flaky(MemorySource):
        tries = 0

        def receive(self, messages_max: int) -> Sequence[Received]:
            self.tries += 1
            if self.tries == 1:
                raise ConnectionError("not yet")
            return super().receive(messages_max)

    queue.send([Message({"id": "a"})])
    source = Flaky(queue, "tasks", visibility_sec=60)
    pump = Pump(source, lambda _event, _context: arrived.set(), wakeup=Wakeup(), workers=1, timeout_sec=60)
    pump.start()
    assert arrived.wait(timeout=30)
    pump.stop()
    assert pump.join(30)
