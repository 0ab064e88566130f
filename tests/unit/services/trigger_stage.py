"""A service in memory with triggers, on a clock that is moved by hand; several processes may share its world."""

import json
from dataclasses import replace

from chalicelib.actions.registry import Registry
from chalicelib.adapters.memory import ManualClock, MemoryPayloads, MemoryQueue, MemoryTable, SeededEntropy
from chalicelib.services.definition_records import Kind
from chalicelib.services.definition_rules import Access, Placement
from chalicelib.services.execution_places import name_prefix
from chalicelib.services.ports import INDEX_WORKFLOW
from chalicelib.services.trigger_records import TriggerKind
from chalicelib.services.triggers import CronRequest, EventRequest
from chalicelib.settings import Settings
from chalicelib.wiring import Ports, assemble

REGISTRY = Registry()
MINE = Access("mine")
THEIRS = Access("theirs")
ADMIN = Access("admin", is_admin=True)
MINUTE = 60.0
# 2023-11-14 22:13:20
BEGIN = 1_700_000_000.0
EXECUTOR_SEC = 120.0


class PatientClock(ManualClock):
    """Nobody waits in earnest for a race to be over."""

    def pause(self, seconds):
        """No time passes."""


class TriggerStage:
    """One process, and the world that it shares with others."""

    def __init__(self, **settings):
        self.clock = PatientClock(BEGIN)
        self.queue = MemoryQueue(self.clock)
        self.ports = Ports(MemoryTable(), MemoryTable(), self.queue, MemoryPayloads(), self.clock, SeededEntropy(3))
        self.settings = Settings(storage="memory", egress_local=True, **settings)
        self.container = assemble(self.settings, self.ports, REGISTRY)

    def process(self, **ports):
        """Another process on the same world, as far as it does not get ports of its own."""
        return assemble(self.settings, replace(self.ports, **ports), REGISTRY)

    @property
    def triggers(self):
        return self.container.triggers

    def upload(self, name, access=MINE, scope="private", text="tasks: {t: {action: std.noop}}"):
        body = f"version: '2.0'\n{name}: {{{text}}}\n".encode()
        [record] = self.container.definitions.create(Kind.WORKFLOW, access, body, Placement(scope=scope))
        return record

    def cron(self, name="c", workflow="w", access=MINE, **wanted):
        values = {"workflow_input": {}, "workflow_params": {}, "pattern": None, **wanted}
        return self.triggers.create_cron(access, CronRequest(name=name, workflow=workflow, **values))

    def waiting_for(self, workflow_id, access=MINE, **wanted):
        values = {"workflow_input": {}, "workflow_params": {}, "exchange": "x", "topic": "t", "event": "e", **wanted}
        return self.triggers.create_event(access, EventRequest(name="e", workflow_id=workflow_id, **values))

    def stored(self, trigger):
        """A trigger as it is now, or nothing."""
        return self.triggers.find_id(trigger.kind, ADMIN, trigger.id)

    def all_cron(self, access=MINE):
        return list(self.triggers.browse(TriggerKind.CRON, access))

    def tick(self):
        return self.container.clock_door.tick()

    def deliver(self, container=None):
        """Handle every message that may be seen now; how many there were."""
        count = 0
        for received in self.queue.receive(messages_max=1000):
            count += 1
            record = {"messageId": received.message_id, "body": json.dumps(received.body), "attributes": {}}
            if not (container or self.container).executor.handle_batch([record], EXECUTOR_SEC):
                self.queue.delete(received)
        return count

    def pass_time(self, until):
        """Let all messages come in their time, until a moment."""
        while (at := self.queue.next_visible_at("tasks")) is not None and at <= until:
            self.clock.set(max(at, self.clock.now()))
            self.deliver()
        self.clock.set(until)

    def executions(self, workflow="w", project_id="mine"):
        """The executions of a workflow, the oldest first."""
        store = self.container.executions
        first = name_prefix(workflow)
        entries = store.list_index(INDEX_WORKFLOW, project_id, after=first, until=first + "~", limit=10_000)
        return [store.header(entry.partition) for entry in entries]
