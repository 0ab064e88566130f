"""When a pump looks at its queue."""

from chalicelib.adapters.aws import Aws
from chalicelib.adapters.memory import ManualClock, MemoryQueue
from chalicelib.local.emulator import safe_moto
from chalicelib.local.wakeup import Wakeup, watching_memory, watching_sqs
from chalicelib.services.ports import Message


def test_nothing_sent_is_a_whole_pause() -> None:
    assert Wakeup(ManualClock().now).pause_sec(0.5) == 0.5


def test_a_message_without_delay_is_looked_for_at_once_and_only_once() -> None:
    wakeup = Wakeup(ManualClock().now)
    wakeup.sent()
    assert wakeup.pause_sec(0.5) == 0
    wakeup.wait(0.5)
    assert wakeup.pause_sec(0.5) == 0.5


def test_a_delayed_message_is_looked_for_when_it_is_due() -> None:
    clock = ManualClock()
    wakeup = Wakeup(clock.now)
    wakeup.sent(10)
    wakeup.sent(3)
    assert wakeup.pause_sec(60) == 3
    assert wakeup.pause_sec(0.5) == 0.5
    clock.advance(3)
    assert wakeup.pause_sec(60) == 0
    wakeup.wait(60)
    assert wakeup.pause_sec(60) == 7


def test_an_sqs_send_wakes_the_queue_that_it_names() -> None:
    clock = ManualClock()
    short, long = Wakeup(clock.now), Wakeup(clock.now)
    with safe_moto(), watching_sqs({"short": short, "long": long}):
        client = Aws("us-east-1").client("sqs")
        urls = {name: client.create_queue(QueueName=name)["QueueUrl"] for name in ("short", "long", "other")}
        client.send_message(QueueUrl=urls["other"], MessageBody="x")
        assert (short.pause_sec(9), long.pause_sec(9)) == (9, 9)
        client.send_message(QueueUrl=urls["short"], MessageBody="x")
        assert (short.pause_sec(9), long.pause_sec(9)) == (0, 9)
        entries = [{"Id": str(delay_sec), "MessageBody": "x", "DelaySeconds": delay_sec} for delay_sec in (7, 4)]
        client.send_message_batch(QueueUrl=urls["long"], Entries=entries)
        assert long.pause_sec(9) == 4


def test_a_send_to_the_twin_wakes_its_queue_while_it_is_watched() -> None:
    clock = ManualClock()
    queue, wakeups = MemoryQueue(clock), {"tasks": Wakeup(clock.now), "tasks-long": Wakeup(clock.now)}
    with watching_memory(queue, wakeups):
        queue.send([Message({}, queue="tasks-long"), Message({}, delay_sec=5)])
    queue.send([Message({}, delay_sec=1)])
    assert wakeups["tasks-long"].pause_sec(9) == 0
    assert wakeups["tasks"].pause_sec(9) == 5
    assert queue.size() == 2
