"""Runs a definition in memory: the real parser, engine and executor, with a clock that jumps over every wait."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from chalicelib.adapters.memory import ManualClock, MemoryPayloads, MemoryQueue, MemoryTable, SeededEntropy
from chalicelib.engine.records import TaskExecution, WorkflowExecution
from chalicelib.lang import loader
from chalicelib.services.definition_records import Kind
from chalicelib.services.definition_rules import Access, Placement
from chalicelib.services.engine import StartRequest
from chalicelib.services.messages import TASKS, TASKS_LONG
from chalicelib.settings import Settings
from chalicelib.wiring import Container, Ports, assemble

PROJECT = "docs"
MESSAGES_MAX = 500
EXECUTOR_SEC = 120.0


@dataclass(frozen=True)
class Finished:
    """An execution that stands still, with its tasks and its values loaded."""

    header: WorkflowExecution
    tasks: list[TaskExecution]
    output: Any

    @property
    def state(self) -> str:
        """The workflow's state."""
        return str(self.header.state)

    def count(self, name: str) -> int:
        """How many executions a task has."""
        return sum(task.name == name for task in self.tasks)


class World:
    """One service in memory."""

    def __init__(self, **settings: Any) -> None:
        self.clock = ManualClock()
        self.queue = MemoryQueue(self.clock)
        ports = Ports(MemoryTable(), MemoryTable(), self.queue, MemoryPayloads(), self.clock, SeededEntropy())
        self.container: Container = assemble(Settings(storage="memory", egress_local=True, **settings), ports)

    def upload(self, text: str) -> list[str]:
        """Store what a document defines; the names of its workflows, in their order."""
        data = loader.load(text).data
        kind = Kind.WORKBOOK if isinstance(data.get("name"), str) else Kind.WORKFLOW
        if all("base" in body for name, body in data.items() if name != "version" and isinstance(body, dict)):
            kind = Kind.ACTION if kind is Kind.WORKFLOW else kind
        stored = self.container.definitions.create(kind, Access(PROJECT), text.encode(), Placement())
        return [record.name for record in stored if record.kind is Kind.WORKFLOW]

    def run(
        self,
        workflow: str,
        input: dict[str, Any] | None = None,
        params: dict[str, Any] | None = None,
        *,
        until: Callable[[WorkflowExecution], bool] = lambda header: header.state.is_completed,
    ) -> Finished:
        """Start a workflow and go on until it stands still."""
        engine = self.container.engine
        header = engine.start(StartRequest(PROJECT, workflow, input=input or {}, params=params or {}))
        return self.go_on(header.id, until)

    def go_on(self, execution_id: str, until: Callable[[WorkflowExecution], bool]) -> Finished:
        """Feed the executor, and let time pass, until the execution is as wanted or nothing is left to do."""
        store = self.container.executions
        for _ in range(MESSAGES_MAX):
            header = store.header(execution_id)
            assert header is not None
            if until(header) or not self._work(header.wake_at):
                break
        else:
            raise AssertionError(f"{execution_id} does not come to an end")
        header = store.header(execution_id)
        assert header is not None
        output = store.value(header.id, header.output)
        return Finished(header, store.tasks(header), output)

    def _work(self, wake_at: float | None) -> bool:
        """Do what is due next: a message, or the alarm of the execution. Whether there was anything."""
        due = [(at, queue) for queue in (TASKS, TASKS_LONG) if (at := self.queue.next_visible_at(queue)) is not None]
        if wake_at is not None and wake_at < min(due, default=(wake_at + 1, ""))[0]:
            self.clock.set(max(wake_at, self.clock.now()))
            self.container.clock_door.tick()
            return True
        if not due:
            return False
        at, queue = min(due)
        self.clock.set(max(at, self.clock.now()))
        for received in self.queue.receive(queue, messages_max=1):
            attributes = {"ApproximateReceiveCount": str(received.receive_count)}
            record = {"messageId": received.message_id, "body": json.dumps(received.body), "attributes": attributes}
            if not self.container.executor.handle_batch([record], EXECUTOR_SEC):
                self.queue.delete(received)
        return True
