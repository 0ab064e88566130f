"""The workloads whose cost is budgeted, run on metered ports in memory: exact counts, no time in them.

Messages are handled one at a time, by an executor that is warm (it has the definitions) but has not seen the execution
before, as if each message met another Lambda: the dearest way in which a busy service works.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from chalicelib.adapters.memory import ManualClock, MemoryPayloads, MemoryQueue, MemoryTable, SeededEntropy
from chalicelib.engine.records import WorkflowExecution
from chalicelib.local.meter import Counts, Meter, MeteredPayloads, MeteredQueue, MeteredTable
from chalicelib.services.definition_records import Kind
from chalicelib.services.definitions import Access, Placement
from chalicelib.services.engine import StartRequest
from chalicelib.settings import Settings
from chalicelib.vocabulary import JsonObject, State
from chalicelib.wiring import Ports, assemble

PROJECT = "bench"
REAL_ACTION = "std.sleep seconds=0"
_HEAD = "version: '2.0'\nwork:\n"


def chain(length: int, action: str) -> str:
    """A chain of tasks, each started by the one before."""
    tasks = []
    for index in range(length):
        following = f", on-success: t{index + 1}" if index + 1 < length else ""
        tasks.append(f"    t{index}: {{action: {action}{following}}}\n")
    return _HEAD + "  tasks:\n" + "".join(tasks)


def fork(width: int, action: str) -> str:
    """A task that starts many others, which all meet in a join."""
    names = ", ".join(f"b{index}" for index in range(width))
    branches = "".join(f"    b{index}: {{action: {action}, on-success: meet}}\n" for index in range(width))
    return f"{_HEAD}  tasks:\n    begin: {{on-success: [{names}]}}\n{branches}    meet: {{join: all}}\n"


def items(count: int, action: str, concurrency: int = 0) -> str:
    """One task over many items."""
    limit = f"      concurrency: {concurrency}\n" if concurrency else ""
    return (
        f"{_HEAD}  tasks:\n    each:\n      with-items: i in <% range({count}) %>\n{limit}      action: {action}\n"
        "      keep-result: false\n"
    )


def large_context(tasks: int, value_bytes: int) -> str:
    """A chain in which each task publishes a large value of its own."""
    lines = []
    for index in range(tasks):
        following = f"\n      on-success: t{index + 1}" if index + 1 < tasks else ""
        lines.append(
            f"    t{index}:\n      action: std.noop\n      publish:\n"
            f"        v{index}: \"{{{{ ('{index:02d}' ~ _.seed) * {value_bytes // 34} }}}}\"{following}\n"
        )
    return f"{_HEAD}  input: [seed]\n  output: {{done: true}}\n  tasks:\n" + "".join(lines)


@dataclass(frozen=True, slots=True)
class Budget:
    """The most that a task of a workload may cost, on average over its execution."""

    write_units: float
    read_units: float
    messages: float


@dataclass(frozen=True, slots=True)
class Workload:
    """A definition, how many tasks or items it stands for, and its budget per task."""

    name: str
    text: str
    tasks: int
    budget: Budget
    input: JsonObject | None = None


WORKLOADS = (
    Workload("chain of 1,000 pure actions", chain(1000, "std.noop"), 1000, Budget(1.5, 0.1, 0)),
    Workload("chain of 100 real actions", chain(100, REAL_ACTION), 100, Budget(5, 1, 0.05)),
    Workload("fork of 100 real actions and join", fork(100, REAL_ACTION), 102, Budget(8, 3, 1.1)),
    Workload("with-items, 1,000 real actions", items(1000, REAL_ACTION), 1000, Budget(4, 1.5, 1.1)),
    Workload("with-items, 1,000 real, concurrency 10", items(1000, REAL_ACTION, 10), 1000, Budget(4, 1.5, 1.1)),
    Workload("one real task", chain(1, REAL_ACTION), 1, Budget(14, 3, 1)),
)


class _RememberingPayloads(MemoryPayloads):
    """Payloads that keep everything ever written, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []

    def put(self, digest: str, data: bytes) -> None:
        self.written.append(data)
        super().put(digest, data)


class World:
    """The service on metered ports, and an executor that takes its messages."""

    def __init__(self, on_commit: Callable[[], None] | None = None) -> None:
        self.meter = Meter()
        self.clock = ManualClock(1_800_000_000.0)
        self.queue = MemoryQueue(self.clock)
        self.payloads = _RememberingPayloads()
        self._ports = Ports(
            executions=MeteredTable(MemoryTable(), self.meter),
            definitions=MeteredTable(MemoryTable(), self.meter),
            queue=MeteredQueue(self.queue, self.meter),
            payloads=MeteredPayloads(self.payloads, self.meter),
            clock=self.clock,
            entropy=SeededEntropy(1),
        )
        self.api = assemble(Settings(storage="memory"), self._ports)
        self.executor = assemble(
            Settings(storage="memory"), self._ports, observe=lambda *_: on_commit() if on_commit is not None else None
        )

    def upload(self, text: str) -> None:
        """Store a definition."""
        self.api.definitions.create(Kind.WORKFLOW, Access(PROJECT), text.encode(), Placement())

    def start(self, workflow_input: JsonObject | None = None) -> WorkflowExecution:
        """Start the uploaded workflow by the API."""
        return self.api.engine.start(StartRequest(PROJECT, "work", input=workflow_input or {}))

    def drain(self, on_message: Callable[[int], None] | None = None, *, warm: bool = False) -> int:
        """Handle messages until none is left; how many there were.

        Each in a fresh process, or all in one that is ``warm``.
        """
        handled = 0
        while received := self.queue.receive("tasks", messages_max=1, now=self.clock.now(), visibility_sec=720):
            message = received[0]
            record = {
                "messageId": message.message_id,
                "body": json.dumps(message.body),
                "attributes": {"ApproximateReceiveCount": str(message.receive_count)},
            }
            if not warm:
                self.executor.engine.turns.forget()
            failed = self.executor.executor.handle_batch([record], 110.0)
            if not failed:
                self.queue.delete(message)
            handled += 1
            if on_message is not None:
                on_message(handled)
        return handled


@contextmanager
def _measured(world: World) -> Iterator[list[Counts]]:
    before = world.meter.counts()
    spent: list[Counts] = []
    yield spent
    spent.append(world.meter.counts().minus(before))


def measure(workload: Workload, *, warm: bool = False) -> Counts:
    """What one execution of a workload costs in all. Raises AssertionError if it does not succeed."""
    world = World()
    world.upload(workload.text)
    world.start(workload.input)
    world.drain(warm=warm)
    # Definitions found for the first execution are not fresh enough for the second.
    world.clock.advance(60)
    with _measured(world) as spent:
        header = world.start(workload.input)
        world.drain(warm=warm)
    ended = world.api.executions.header(header.id)
    assert ended is not None
    assert ended.state is State.SUCCESS, f"{workload.name}: {ended.state} {ended.state_info}"
    return spent[0]


def per_task(counts: Counts, tasks: int) -> Budget:
    """Counts as averages, in the shape of a budget."""
    return Budget(counts.write_units / tasks, counts.read_units / tasks, counts.messages_sent / tasks)


def scaled(workload: Workload, text: str, tasks: int) -> Workload:
    """The same workload in another size."""
    return replace(workload, text=text, tasks=tasks)
