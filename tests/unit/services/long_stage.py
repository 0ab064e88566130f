"""A service over long times: the clock jumps from one moment at which something is due to the next."""

import json

from chalicelib.services.definition_records import Kind
from chalicelib.services.definition_rules import Placement
from chalicelib.services.engine import StartRequest
from chalicelib.services.execution_places import ALARM_SHARDS, alarm_value
from chalicelib.services.messages import TASKS, TASKS_LONG
from chalicelib.services.ports import INDEX_ALARM
from chalicelib.wiring import assemble
from tests.unit.services.trigger_stage import EXECUTOR_SEC, MINE, TriggerStage

MINUTE_SEC = 60.0
DAY_SEC = 24 * 3600.0
STEPS_MAX = 20_000


class LongStage(TriggerStage):
    """The clock door rings in the minutes in which it would find something, messages come when they may be seen."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.visibility_sec = 720.0
        self.wake_ups = 0
        self.handled = 0

    def start(self, text, name="w"):
        """Start a new workflow; the id of its execution."""
        body = f"version: '2.0'\n{name}:\n{text}".encode()
        self.define(body)
        return self.container.engine.start(StartRequest("mine", name)).id

    def header(self, execution_id):
        return self.container.executions.header(execution_id)

    def alarms(self):
        """Every entry of the index of alarms: when, and whose."""
        store = self.container.executions
        shards = range(ALARM_SHARDS)
        entries = [e for shard in shards for e in store.list_index(INDEX_ALARM, alarm_value(shard), limit=10_000)]
        return sorted((float(entry.sort.partition("|")[0]), entry.partition) for entry in entries)

    def lose_messages(self):
        """Whatever is under way never arrives; how many there were."""
        lost = 0
        for name in (TASKS, TASKS_LONG):
            for received in self.queue.receive(name, messages_max=1000, now=self.clock.now() + 10 * DAY_SEC):
                self.queue.delete(received)
                lost += 1
        return lost

    def next_moment(self):
        moments = [at for name in (TASKS, TASKS_LONG) if (at := self.queue.next_visible_at(name)) is not None]
        alarms = self.alarms()
        if alarms:
            moments.append((max(alarms[0][0], self.clock.now()) // MINUTE_SEC + 1) * MINUTE_SEC)
        return min(moments, default=None)

    def go_on(self, until=None, *, enough=lambda: False):
        """Live on to a moment, or until nothing is left to do, or it is enough; the moment reached."""
        for _ in range(STEPS_MAX):
            moment = self.next_moment()
            if enough() or moment is None or (until is not None and moment > until):
                break
            self.clock.set(max(moment, self.clock.now()))
            if self.clock.now() % MINUTE_SEC == 0:
                self.wake_ups += bool(self.container.clock_door.tick())
            self.deliver_all()
        else:
            raise AssertionError("it goes on and on")
        if until is not None and not enough():
            self.clock.set(max(until, self.clock.now()))
        return self.clock.now()

    def deliver_all(self):
        """Every message that may be seen, each to a process that knows nothing yet."""
        for name in (TASKS, TASKS_LONG):
            for received in self.queue.receive(name, messages_max=1000, visibility_sec=self.visibility_sec):
                self.handled += 1
                attributes = {"ApproximateReceiveCount": str(received.receive_count)}
                record = {"messageId": received.message_id, "body": json.dumps(received.body), "attributes": attributes}
                self.container.engine.turns.forget()
                if not self.container.executor.handle_batch([record], EXECUTOR_SEC):
                    self.queue.delete(received)

    def define(self, body):
        self.container.definitions.create(Kind.WORKFLOW, MINE, body, Placement())

    def with_registry(self, registry):
        """Executors that have other actions."""
        self.container = assemble(self.settings, self.ports, registry)
