"""Runs that may not overlap do not, whatever crashes and however many doors look at once; and none is started twice."""

import json
from dataclasses import replace
from random import Random

import pytest

from chalicelib.adapters.memory import MemoryTable, SeededEntropy
from chalicelib.engine.events import StopRequested
from chalicelib.engine.identity import derived_execution_id
from chalicelib.errors import ConflictException, MistralError
from chalicelib.services import messages
from chalicelib.services.cron_alerts import LoggedAlerts
from chalicelib.services.cron_options import CronOptions, Overlap
from chalicelib.services.cron_runs import CronRuns
from chalicelib.services.ports import Put
from chalicelib.services.trigger_store import TriggerStore
from chalicelib.vocabulary import State
from tests.unit.services.baton import Baton, Crash
from tests.unit.services.trigger_stage import MINUTE, TriggerStage

FIRST_MINUTE = 1_700_000_040.0


class Executions(MemoryTable):
    """Remembers in which order executions were created."""

    def __init__(self):
        super().__init__()
        self.order = []

    def write(self, writes):
        super().write(writes)
        for write in writes:
            if isinstance(write, Put) and write.item.partition not in self.order:
                self.order.append(write.item.partition)


class Races:
    """Two or three processes tick, take messages and stop runs, all at once; some die."""

    def __init__(self, seed, overlap):
        self.random = Random(seed)
        self.stage = TriggerStage()
        self.table = Executions()
        self.stage.ports = replace(self.stage.ports, executions=self.table)
        self.stage.container = self.stage.process()
        self.stage.upload("w", text="tasks: {t: {action: std.async_noop}}")
        self.trigger = self.stage.cron(pattern="* * * * *", options=CronOptions(overlap=overlap))
        self.crashes = 0

    def go_on(self):
        self.stage.clock.advance(self.random.choice([20, 61]))
        baton = Baton(self.random)
        others = self.random.choice([self._tick, self._deliver, self._look])
        baton.run(self._look, self._stop, others)
        self.crashes += baton.crashes
        assert len(self.running()) <= 1, "two runs at once"

    def running(self):
        headers = [self.stage.container.executions.header(identifier) for identifier in self.table.order]
        return [header for header in headers if header is not None and not header.state.is_completed]

    def due_times(self):
        """The due times of all executions, in the order in which these were created."""
        ids = {
            derived_execution_id("cron_trigger", self.trigger.id, f"{FIRST_MINUTE + 60 * minute:.3f}"): minute
            for minute in range(600)
        }
        return [ids[identifier] for identifier in self.table.order]

    def _process(self, runner):
        runner.calls_left = self.random.choice([None, None, self.random.randrange(30)])
        ports = self.stage.ports
        return self.stage.process(
            executions=runner.guard(ports.executions),
            definitions=runner.guard(ports.definitions),
            queue=runner.guard(ports.queue),
            entropy=SeededEntropy(self.random.randrange(2**32)),
        )

    def _tick(self, runner):
        self._process(runner).clock_door.tick()

    def _deliver(self, runner):
        process = self._process(runner)
        for received in self.stage.queue.receive(messages_max=3, visibility_sec=30):
            record = {"messageId": received.message_id, "body": json.dumps(received.body), "attributes": {}}
            if not process.executor.handle_batch([record], 120.0):
                self.stage.queue.delete(received)

    def _look(self, runner):
        """A message that says no more than that the trigger is to be looked after."""
        process = self._process(runner)
        body = json.dumps(messages.cron_message(self.trigger.id, 0.0).body)
        process.executor.handle_batch([{"messageId": "m", "body": body, "attributes": {}}], 120.0)

    def _stop(self, runner):
        process = self._process(runner)
        for header in self.running():
            try:
                process.engine.handle(header.id, StopRequested(State.ERROR, "stopped"))
            except MistralError:
                continue

    def stop_all(self):
        """Every run ends."""
        for header in self.running():
            self.stage.container.engine.handle(header.id, StopRequested(State.ERROR, "stopped"))

    def come_to_rest(self):
        """Nothing crashes any more, and every run is stopped as soon as it has begun."""
        for _ in range(100):
            self.stage.clock.advance(MINUTE / 2)
            self.stage.tick()
            self.stage.deliver()
            self.stop_all()


@pytest.mark.parametrize("overlap", [Overlap.SKIP, Overlap.QUEUE])
@pytest.mark.parametrize("seed", range(4))
def test_one_run_at_a_time_and_each_time_once(seed, overlap):
    races = Races(f"{seed} {overlap}", overlap)
    for _ in range(40):
        races.go_on()
    races.come_to_rest()
    due_times = races.due_times()
    assert due_times == sorted(set(due_times)), "started twice, or out of order"
    assert len(due_times) >= 5
    if overlap is Overlap.QUEUE:
        assert races.stage.stored(races.trigger).course.queued == ()


def test_the_doors_of_that_test_do_crash():
    races = Races("1", Overlap.SKIP)
    for _ in range(40):
        races.go_on()
    assert races.crashes >= 5


class Hooked(TriggerStore):
    """Does something before each write that replaces a trigger."""

    def __init__(self, stage, before):
        super().__init__(stage.ports.definitions, stage.ports.payloads)
        self._before = before

    def replace(self, new, old, demands=()):
        self._before(new)
        super().replace(new, old, demands)


def test_who_saw_the_previous_run_end_is_not_overruled_by_who_did_not():
    races = Races("", Overlap.SKIP)
    stage, clock = races.stage, races.stage.clock
    clock.set(FIRST_MINUTE)
    stage.tick()
    clock.set(FIRST_MINUTE + 60)

    def dies_before_moving_on(new):
        if new.course.decided_for is None:
            raise Crash

    def before_the_slow_one_writes(_new):
        races.stop_all()
        quick = CronRuns(Hooked(stage, dies_before_moving_on), stage.container.engine, clock, LoggedAlerts())
        with pytest.raises(Crash):
            quick.attend(stage.stored(races.trigger))

    slow = CronRuns(Hooked(stage, before_the_slow_one_writes), stage.container.engine, clock, LoggedAlerts())
    with pytest.raises(ConflictException):
        slow.attend(stage.stored(races.trigger))
    for minute in (1, 2, 3):
        clock.set(FIRST_MINUTE + 60 * minute)
        stage.tick()
        assert len(races.running()) == 1
    assert races.due_times() == [0, 1]
