"""A service on either backend, with queues that hand messages out again and have dead letters, as SQS does."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from uuid import uuid4

from chalicelib.actions.registry import ActionContext, FunctionAction, Registry, action
from chalicelib.adapters.aws import Aws
from chalicelib.adapters.memory import ManualClock, MemoryPayloads, MemoryQueue, MemoryTable, SeededEntropy
from chalicelib.adapters.payloads import S3Payloads
from chalicelib.adapters.queues import SqsQueue
from chalicelib.adapters.tables import DynamoTable
from chalicelib.engine.records import TaskExecution, WorkflowExecution
from chalicelib.limits import MESSAGE_RECEIVES_MAX
from chalicelib.local.cloud import create_cloud, names_with_prefix
from chalicelib.local.emulator import safe_moto
from chalicelib.services.definition_records import Kind
from chalicelib.services.definition_rules import Access, Placement
from chalicelib.services.engine import StartRequest
from chalicelib.services.ports import Message, Payloads, Queue, Table
from chalicelib.settings import Settings
from chalicelib.vocabulary import Json
from chalicelib.wiring import Ports, assemble

BACKENDS = ("memory", "moto")
PROJECT = "project"
EXECUTOR_SEC = 120.0
ROUNDS_MAX = 60
Record = Mapping[str, Any]


class Died(BaseException):
    """The process is gone."""


class Site:
    """The service; ``actions`` are what ``test.<name>`` does, and ``runs`` what ran."""

    def __init__(self, tables: tuple[Table, Table], queue: Queue, payloads: Payloads) -> None:
        self.clock = ManualClock(1_700_000_000.0)
        self.queue, self.payloads = queue, payloads
        self.runs: list[str] = []
        self.actions: dict[str, Callable[[], Json]] = {}
        registry = Registry()
        for made in (self._work(), self._later()):
            registry._built_in[made.name] = made
        settings = Settings(storage="memory", egress_local=True)
        self.ports = Ports(*tables, queue, payloads, self.clock, SeededEntropy(1))
        self.made = assemble(settings, self.ports, registry)
        self.table = tables[0]

    def _work(self) -> FunctionAction:
        @action("test.work")
        def work(context: ActionContext, name: str, value: Json = None) -> Json:
            """Do what the test wants under this name."""
            self.runs.append(name)
            does = self.actions.get(name)
            return does() if does else "done"

        return work

    @staticmethod
    def _later() -> FunctionAction:
        @action("test.later", sync=False)
        def later(context: ActionContext) -> None:
            """Be completed from outside."""

        return later

    # -- the queue, as the backend has it

    def receive(self) -> list[tuple[Record, object]]:
        """A batch, hidden for a moment only."""
        raise NotImplementedError

    def delete(self, handle: object) -> None:
        raise NotImplementedError

    def dead(self) -> list[str]:
        """The texts of the dead letters."""
        raise NotImplementedError

    def put(self, text: str) -> None:
        """A message of any text."""
        raise NotImplementedError

    # -- what tests do

    def start(self, text: str, workflow: str = "main", **given: Json) -> str:
        """Upload a definition and start a workflow of it; its id."""
        self.made.definitions.create(Kind.WORKFLOW, Access(PROJECT), f"version: '2.0'\n{text}".encode(), Placement())
        return self.start_again(workflow, **given)

    def start_again(self, workflow: str, **given: Json) -> str:
        return self.made.engine.start(StartRequest(PROJECT, workflow, input=given)).id

    def settle(self) -> int:
        """Deliver messages until there are none, two minutes after each other; how often a process died."""
        deaths = 0
        for _ in range(ROUNDS_MAX):
            batch = self.receive()
            if not batch:
                return deaths
            deaths += self.deliver(batch)
            # What a dead process had claimed is free by then, and what was hidden is seen again.
            self.clock.set(self.clock.now() + EXECUTOR_SEC + 10)
        raise AssertionError("messages come again and again")

    def deliver(self, batch: list[tuple[Record, object]]) -> int:
        """One invocation; 1 if its process died."""
        try:
            failed = self.made.executor.handle_batch([record for record, _ in batch], EXECUTOR_SEC)
        except Died:
            self.made.engine.turns.forget()
            return 1
        for record, handle in batch:
            if record["messageId"] not in failed:
                self.delete(handle)
        return 0

    def header(self, execution_id: str) -> WorkflowExecution:
        found = self.made.executions.header(execution_id)
        assert found is not None
        return found

    def task(self, execution_id: str, name: str) -> TaskExecution:
        return next(t for t in self.made.executions.tasks(self.header(execution_id)) if t.name == name)


class MemorySite(Site):
    def __init__(self) -> None:
        super().__init__((MemoryTable(), MemoryTable()), self._queue(), MemoryPayloads())

    def _queue(self) -> MemoryQueue:
        self.beginning = ManualClock(1_700_000_000.0)
        return MemoryQueue(self.beginning, receives_max=MESSAGE_RECEIVES_MAX)

    def receive(self) -> list[tuple[Record, object]]:
        assert isinstance(self.queue, MemoryQueue)
        found = self.queue.receive(now=self.clock.now(), visibility_sec=EXECUTOR_SEC)
        return [(_record(each.message_id, json.dumps(each.body), each.receive_count), each) for each in found]

    def delete(self, handle: Any) -> None:
        assert isinstance(self.queue, MemoryQueue)
        self.queue.delete(handle)

    def dead(self) -> list[str]:
        assert isinstance(self.queue, MemoryQueue)
        return [json.dumps(body) for body in self.queue.dead["tasks"]]

    def put(self, text: str) -> None:
        try:
            body = json.loads(text)
        except ValueError:
            body = text
        self.queue.send([Message(body)])


class _HastyQueue(SqsQueue):
    """Nobody waits for the delay of a message: moto would, in real time."""

    def send(self, messages: Sequence[Message]) -> None:
        super().send([replace(message, delay_sec=0) for message in messages])


class MotoSite(Site):
    def __init__(self) -> None:
        prefix = f"poison-{uuid4()}-"
        aws = Aws("us-east-1")
        names = names_with_prefix(prefix)
        create_cloud(aws, names)
        self.sqs = aws.client("sqs")
        urls = {queue: self.sqs.get_queue_url(QueueName=name)["QueueUrl"] for queue, name in names.queues.items()}
        self.url, self.dead_url = urls["tasks"], f"{urls['tasks']}-dead"
        tables = (DynamoTable(aws, names.tables[0]), DynamoTable(aws, names.tables[1]))
        super().__init__(tables, _HastyQueue(aws, urls), S3Payloads(aws, names.bucket))

    def receive(self) -> list[tuple[Record, object]]:
        answer = self.sqs.receive_message(
            QueueUrl=self.url,
            MaxNumberOfMessages=10,
            VisibilityTimeout=0,
            MessageSystemAttributeNames=["ApproximateReceiveCount"],
        )
        return [
            (_record(m["MessageId"], m["Body"], int(m["Attributes"]["ApproximateReceiveCount"])), m["ReceiptHandle"])
            for m in answer.get("Messages", ())
        ]

    def delete(self, handle: object) -> None:
        self.sqs.delete_message(QueueUrl=self.url, ReceiptHandle=handle)

    def dead(self) -> list[str]:
        found = self.sqs.receive_message(QueueUrl=self.dead_url, MaxNumberOfMessages=10, VisibilityTimeout=0)
        return [message["Body"] for message in found.get("Messages", ())]

    def put(self, text: str) -> None:
        self.sqs.send_message(QueueUrl=self.url, MessageBody=text)


def _record(message_id: str, text: str, receives: int) -> Record:
    return {"messageId": message_id, "body": text, "attributes": {"ApproximateReceiveCount": str(receives)}}


@contextmanager
def site_on(backend: str) -> Iterator[Site]:
    """A new service on a backend."""
    if backend == "memory":
        yield MemorySite()
        return
    with safe_moto():
        yield MotoSite()


__all__ = ["BACKENDS", "Died", "Site", "site_on"]
