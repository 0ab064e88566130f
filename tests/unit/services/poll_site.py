"""A service in memory, whose messages a test takes one by one, and whose action ``my.poll`` is not done at once."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from chalicelib.actions.registry import ActionContext, Pending, Polling, action
from chalicelib.adapters.memory import ManualClock, MemoryPayloads, MemoryQueue, MemoryTable, SeededEntropy
from chalicelib.local.meter import Meter, MeteredQueue, MeteredTable
from chalicelib.services.definition_records import Kind
from chalicelib.services.definition_rules import Access, Placement
from chalicelib.services.engine import StartRequest
from chalicelib.services.messages import TASKS, TASKS_LONG
from chalicelib.settings import Settings
from chalicelib.vocabulary import Json
from chalicelib.wiring import Container, Ports, assemble

EXECUTOR_SEC = 120.0
VISIBILITY_SEC = 720.0
STEPS_MAX = 500


class Died(BaseException):
    """The process is gone."""


class Site:
    """A service in memory whose action ``my.poll`` says "not yet" a few times."""

    def __init__(self, *, polling: Polling = Polling.AFTER_START, **settings: Any) -> None:
        self.clock = ManualClock()
        self.queue = MemoryQueue(self.clock, queues=(TASKS, TASKS_LONG, "notifications", "gpu"))
        self.meter = Meter()
        table = MeteredTable(MemoryTable(), self.meter)
        queue = MeteredQueue(self.queue, self.meter)
        ports = Ports(table, MemoryTable(), queue, MemoryPayloads(), self.clock, SeededEntropy(1))
        self.container: Container = assemble(Settings(storage="memory", **settings), ports)
        self.starts = 0
        self.asked_at: list[float] = []
        self.dies_at: int | None = None
        self.memo: Json = None

        @action("my.poll", polling=polling)
        def poll(context: ActionContext, times: int = 3, delay: float = 30.0, value: Json = "done") -> Json:
            """Say "not yet" so many times."""
            if context.pending is None:
                self.starts += 1
            self.asked_at.append(self.clock.now())
            if self.dies_at == len(self.asked_at):
                raise Died
            asked = (context.pending or {}).get("asked", 0)
            if asked == times:
                return value
            return Pending({"asked": asked + 1} if self.memo is None else self.memo, delay_sec=delay)

        self.container.registry._built_in["my.poll"] = poll

    def start(self, tasks: str) -> str:
        text = f"version: '2.0'\nw:\n  tasks:\n{tasks}"
        self.container.definitions.create(Kind.WORKFLOW, Access("p"), text.encode(), Placement())
        return self.container.engine.start(StartRequest("p", "w")).id

    def due(self) -> list[tuple[float, str]]:
        return [(at, name) for name in (TASKS, TASKS_LONG) if (at := self.queue.next_visible_at(name)) is not None]

    def take(self) -> Any:
        """The next message, at its time; hidden from now on."""
        at, name = min(self.due())
        self.clock.set(max(at, self.clock.now()))
        (received,) = self.queue.receive(name, messages_max=1, visibility_sec=VISIBILITY_SEC)
        return received

    def deliver(self, received: Any, receive_count: int | None = None) -> None:
        """Hand a message to a process that knows nothing yet."""
        count = received.receive_count if receive_count is None else receive_count
        attributes = {"ApproximateReceiveCount": str(count)}
        record = {"messageId": received.message_id, "body": json.dumps(received.body), "attributes": attributes}
        self.container.engine.turns.forget()
        if not self.container.executor.handle_batch([record], EXECUTOR_SEC):
            self.queue.delete(received)

    def queue_length(self) -> int:
        """How many messages are under way."""
        return sum(map(len, self.queue._waiting.values()))

    def lose_all(self) -> None:
        """Whatever is under way never arrives."""
        for name in (TASKS, TASKS_LONG):
            for received in self.queue.receive(name, messages_max=1000, now=self.clock.now() + 10_000):
                self.queue.delete(received)

    def step(self) -> bool:
        if not self.due():
            return False
        received = self.take()
        with suppress(Died):
            self.deliver(received)
        return True

    def go_on(self) -> None:
        for _ in range(STEPS_MAX):
            if not self.step():
                return
        raise AssertionError("it goes on and on")

    def ring(self, execution_id: str) -> None:
        """The alarm of an execution."""
        wake_at = self.header(execution_id).wake_at
        assert wake_at is not None
        self.clock.set(max(wake_at, self.clock.now()))
        self.container.clock_door.tick()

    def header(self, execution_id: str) -> Any:
        return self.container.executions.header(execution_id)

    def results(self, execution_id: str) -> list[Json]:
        store, header = self.container.executions, self.header(execution_id)
        return [
            store.value(execution_id, found.result.value) if found.result else None
            for task in store.tasks(header)
            for found in store.actions(header, task)
        ]
