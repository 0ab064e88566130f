"""Cron-triggers fire: each due time once, in time, and whatever happens to the doors."""

import json
from dataclasses import replace
from itertools import pairwise
from random import Random
from typing import Any

import pytest

from chalicelib.adapters.memory import MemoryTable, SeededEntropy
from chalicelib.engine.identity import derived_execution_id
from chalicelib.errors import UnknownFormatError
from chalicelib.services import messages
from chalicelib.services.definition_records import Kind
from chalicelib.services.definition_rules import Placement
from chalicelib.services.schedules import next_match
from chalicelib.services.trigger_records import RECORD_KEY, TriggerKind, decode, record_partition
from chalicelib.vocabulary import State
from tests.unit.services.baton import Baton
from tests.unit.services.trigger_stage import BEGIN, MINE, MINUTE, TriggerStage

FIRST_MINUTE = 1_700_000_040.0
EVERY_MINUTE = "* * * * *"


@pytest.fixture
def stage():
    made = TriggerStage()
    made.upload("w")
    return made


def lose_messages(stage):
    """No message that has been sent so far ever comes."""
    for received in stage.queue.receive(now=stage.clock.now() + 3600, messages_max=1000):
        stage.queue.delete(received)
    stage.queue.sent.clear()


def cron_messages(stage):
    return [message for message in stage.queue.sent if message.body["kind"] == messages.CRON]


# -- one trigger, one door


def test_nothing_fires_before_its_time(stage):
    trigger = stage.cron(pattern=EVERY_MINUTE)
    stage.clock.set(FIRST_MINUTE - 0.001)
    stage.tick()
    assert stage.executions() == []
    assert stage.stored(trigger) == trigger


def test_what_is_due_starts_and_the_trigger_moves_on(stage):
    stage.upload("takes", text="input: [a], tasks: {t: {action: std.echo output=<% $.a %>}}")
    params = {"env": {"k": 1}, "more": True}
    trigger = stage.cron(
        workflow="takes", pattern="*/5 * * * *", workflow_input={"a": 1}, workflow_params=params, remaining_executions=2
    )
    stage.clock.set(trigger.next_execution_time)
    stage.tick()

    [execution] = stage.executions("takes")
    assert json.loads(execution.description) == {
        "description": f"Workflow execution created by cron trigger '({trigger.id})'.",
        "triggered_by": {"type": "cron_trigger", "id": trigger.id},
    }
    store = stage.container.executions
    started_with = store.value(execution.id, execution.params)
    assert (started_with["env"], started_with["more"]) == ({"k": 1}, True)
    assert (execution.project_id, store.value(execution.id, execution.input)) == ("mine", {"a": 1})
    moved = stage.stored(trigger)
    assert moved.next_execution_time == trigger.next_execution_time + 300
    assert (moved.remaining_executions, moved.updated_at, moved.last_error) == (1, stage.clock.now(), None)


def test_a_trigger_goes_with_its_last_execution(stage):
    trigger = stage.cron(pattern=EVERY_MINUTE, remaining_executions=2)
    for minute in range(3):
        stage.clock.set(FIRST_MINUTE + minute * MINUTE)
        stage.tick()
    assert stage.stored(trigger) is None
    assert len(stage.executions()) == 2
    stage.cron(pattern=EVERY_MINUTE)


def test_a_trigger_without_a_pattern_fires_once_at_its_time(stage):
    trigger = stage.cron(first_execution_time="2023-11-14 22:30")
    stage.clock.set(trigger.next_execution_time)
    stage.tick()
    assert len(stage.executions()) == 1
    assert stage.stored(trigger) is None


def test_a_pattern_that_no_time_fits_any_more_ends_its_trigger(stage):
    trigger = stage.cron(pattern="14 22 14 11 * 0 2023")
    stage.clock.set(FIRST_MINUTE)
    stage.tick()
    assert len(stage.executions()) == 1
    assert stage.stored(trigger) is None


def test_after_its_first_time_a_trigger_follows_its_pattern(stage):
    trigger = stage.cron(pattern="*/10 * * * *", first_execution_time="2023-11-14 22:15")
    stage.clock.set(trigger.next_execution_time)
    stage.tick()
    assert stage.stored(trigger).next_execution_time == trigger.next_execution_time + 5 * MINUTE


def test_times_that_were_missed_are_one(stage):
    trigger = stage.cron(pattern=EVERY_MINUTE, remaining_executions=10)
    stage.clock.set(FIRST_MINUTE + 3600 + 7)
    stage.tick()

    assert [execution.id for execution in stage.executions()] == [id_for(trigger, FIRST_MINUTE)]
    moved = stage.stored(trigger)
    assert (moved.next_execution_time, moved.remaining_executions) == (FIRST_MINUTE + 3660, 9)


def id_for(trigger, due_at):
    return derived_execution_id("cron_trigger", trigger.id, f"{due_at:.3f}")


# -- starts that fail


def test_a_start_that_fails_is_recorded_and_the_trigger_goes_on(stage, caplog):
    trigger = stage.cron(pattern=EVERY_MINUTE)
    update = b"version: '2.0'\nw: {input: [a], tasks: {t: {action: std.noop}}}"
    stage.container.definitions.update(Kind.WORKFLOW, MINE, update, Placement())
    stage.clock.set(FIRST_MINUTE)
    stage.tick()

    failed = stage.stored(trigger)
    assert "missing=['a']" in failed.last_error
    assert failed.next_execution_time == FIRST_MINUTE + MINUTE
    assert "cannot start its workflow" in caplog.text
    stage.container.definitions.update(Kind.WORKFLOW, MINE, update.replace(b"[a]", b"[{a: 1}]"), Placement())
    stage.clock.set(FIRST_MINUTE + MINUTE)
    stage.tick()
    assert stage.stored(trigger).last_error is None
    assert len(stage.executions()) == 1


class BrokenTable(MemoryTable):
    """Executions cannot be written for a while."""

    error = None

    def write(self, writes):
        if self.error is not None:
            raise self.error
        super().write(writes)


@pytest.fixture
def broken():
    made = TriggerStage()
    table = BrokenTable()
    made.ports = replace(made.ports, executions=table)
    made.container = made.process()
    made.upload("w")
    return made, table


def test_a_failure_of_ours_is_tried_again_at_the_next_tick(broken):
    stage, table = broken
    trigger, other = stage.cron(pattern=EVERY_MINUTE), stage.cron("d", pattern="0 0 1 1 *")
    stage.clock.set(FIRST_MINUTE)
    table.error = OSError("the table is away")
    stage.tick()
    assert stage.stored(trigger) == trigger
    table.error = None
    stage.clock.advance(MINUTE)
    stage.tick()
    assert [execution.id for execution in stage.executions()] == [id_for(trigger, FIRST_MINUTE)]
    assert stage.stored(other) == other


@pytest.mark.parametrize("error", [OSError("the table is away"), UnknownFormatError("format 7")])
def test_a_failure_of_ours_is_not_tried_for_ever(broken, error):
    stage, table = broken
    trigger = stage.cron(pattern=EVERY_MINUTE)
    table.error = error
    stage.clock.set(FIRST_MINUTE + 600)
    stage.tick()
    moved = stage.stored(trigger)
    assert "could not be started within 600 seconds" in moved.last_error
    assert moved.next_execution_time == FIRST_MINUTE + 660


# -- accuracy


def test_a_new_trigger_does_not_wait_for_the_clock_to_come(stage):
    stage.cron(pattern="* * * * * 30")
    stage.cron("later", pattern="0 0 1 1 *")
    assert [message.delay_sec for message in cron_messages(stage)] == [10]
    stage.pass_time(BEGIN + 10)
    assert len(stage.executions()) == 1


@pytest.mark.parametrize("phase", [0.0, 1.0, 20.0, 37.4, 59.9])
def test_a_trigger_fires_within_a_second_wherever_in_the_minute_the_clock_comes(stage, phase):
    stage.cron(pattern=EVERY_MINUTE)
    stage.cron("half", pattern="* * * * * 30")
    for minute in range(10):
        stage.pass_time(BEGIN + phase + minute * MINUTE)
        stage.tick()

    lateness = [execution.created_at % 30 for execution in stage.executions()]
    assert max(lateness) < 1
    assert len(lateness) >= 2 * 8


def test_every_second_is_every_second_without_messages_growing_in_number(stage):
    stage.cron(pattern="* * * * * *")
    for minute in range(5):
        stage.pass_time(BEGIN + minute * MINUTE)
        stage.tick()
    stage.pass_time(BEGIN + 5 * MINUTE)

    seconds = [int(execution.created_at - BEGIN) for execution in stage.executions()]
    assert seconds == list(range(1, 301))
    assert len(cron_messages(stage)) <= 300 + 10


def test_a_lost_message_costs_a_minute_at_most(stage):
    trigger = stage.cron(pattern="* * * * * */10")
    stage.tick()
    lose_messages(stage)
    stage.pass_time(BEGIN + MINUTE)
    stage.tick()
    stage.pass_time(BEGIN + 2 * MINUTE)
    assert stage.stored(trigger).next_execution_time > BEGIN + 2 * MINUTE
    assert len(stage.executions()) >= 6


def test_a_message_for_a_trigger_that_has_moved_on_changes_nothing(stage):
    trigger = stage.cron(pattern=EVERY_MINUTE)
    lose_messages(stage)
    stage.queue.send([messages.cron_message(trigger.id, FIRST_MINUTE - MINUTE)])
    assert stage.deliver() == 1
    assert stage.stored(trigger) == trigger
    assert stage.executions() == []
    assert len(cron_messages(stage)) == 1


def test_a_message_for_a_trigger_that_is_gone_is_done(stage):
    trigger = stage.cron(pattern=EVERY_MINUTE)
    stage.triggers.delete(TriggerKind.CRON, MINE, "c")
    lose_messages(stage)
    stage.queue.send([messages.cron_message(trigger.id, FIRST_MINUTE)])
    stage.deliver()
    assert stage.queue.size() == 0


def test_a_message_that_comes_early_is_sent_again(stage):
    trigger = stage.cron(pattern=EVERY_MINUTE)
    lose_messages(stage)
    stage.queue.send([messages.cron_message(trigger.id, FIRST_MINUTE)])
    stage.deliver()
    assert stage.executions() == []
    assert [message.delay_sec for message in cron_messages(stage)] == [0, 40]
    stage.pass_time(FIRST_MINUTE)
    assert len(stage.executions()) == 1


# -- many at once


def test_many_triggers_of_one_minute_all_fire(stage):
    for number in range(450):
        stage.cron(f"c{number}", pattern=EVERY_MINUTE)
    stage.clock.set(FIRST_MINUTE)
    assert stage.tick() == 450
    assert len(stage.executions()) == 450
    assert {trigger.next_execution_time for trigger in stage.all_cron()} == {FIRST_MINUTE + MINUTE}


def test_what_the_door_has_no_time_for_goes_on_by_message(stage):
    for number in range(60):
        stage.cron(f"c{number}", pattern=EVERY_MINUTE)
    lose_messages(stage)
    stage.clock.set(FIRST_MINUTE)
    stage.container.clock_door.tick(until=FIRST_MINUTE)
    assert stage.executions() == []
    assert len(cron_messages(stage)) == 60
    while stage.deliver():
        pass
    assert len(stage.executions()) == 60


def test_a_tick_looks_at_what_is_due_only(stage):
    for number in range(300):
        stage.cron(f"c{number}", pattern="0 0 1 1 *")
    stage.cron(pattern=EVERY_MINUTE)
    table = CountingTable(stage.ports.definitions)
    process = stage.process(definitions=table)
    stage.clock.set(FIRST_MINUTE)
    process.clock_door.tick()
    assert len(stage.executions()) == 1
    assert table.entries <= 2
    assert table.items < 10


class CountingTable:
    """Counts the entries and items that were read."""

    def __init__(self, table):
        self._table, self.entries, self.items = table, 0, 0

    def __getattr__(self, name):
        return getattr(self._table, name)

    def list_index(self, *arguments, **options):
        found = self._table.list_index(*arguments, **options)
        self.entries += len(found)
        return found

    def get_many(self, *arguments, **options):
        found = self._table.get_many(*arguments, **options)
        self.items += len(found)
        return found


# -- two doors at once, and crashes anywhere

PATTERNS: dict[str, dict[str, Any]] = {
    "minutely": {"pattern": EVERY_MINUTE},
    "twice": {"pattern": EVERY_MINUTE, "remaining_executions": 2},
    "often": {"pattern": "* * * * * */20"},
    "seldom": {"pattern": "*/3 * * * *", "remaining_executions": 3},
    "once": {"first_execution_time": "2023-11-14 22:16"},
}


class RememberingTable(MemoryTable):
    """Keeps every record of a trigger that was ever stored."""

    def __init__(self):
        super().__init__()
        self.history = {}

    def write(self, writes):
        super().write(writes)
        for write in writes:
            item = getattr(write, "item", None)
            if item is not None and item.key == RECORD_KEY:
                self.history.setdefault(item.partition, []).append(item)


class Chaos:
    """Ticks and messages of several processes at once, some of which die."""

    def __init__(self, seed):
        self.random = Random(seed)
        self.stage = TriggerStage()
        self.table = RememberingTable()
        self.stage.ports = replace(self.stage.ports, definitions=self.table)
        self.stage.container = self.stage.process()
        for name in PATTERNS:
            self.stage.upload(name)
        self.triggers = {name: self.stage.cron(name, workflow=name, **wanted) for name, wanted in PATTERNS.items()}
        self.crashes = 0

    def go_on(self):
        """Let some time pass, then open several doors at once."""
        self.stage.clock.advance(self.random.choice([1, 7, 20, 45, 60, 61, 150]))
        baton = Baton(self.random)
        doors = [self.random.choice([self._tick, self._tick, self._deliver]) for _ in range(self.random.choice([2, 3]))]
        baton.run(*doors)
        self.crashes += baton.crashes

    def _process(self, runner):
        """A cold start whose first calls work, or all of them."""
        runner.calls_left = self.random.choice([None, self.random.randrange(10, 25), self.random.randrange(15, 60)])
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
        """Some messages get lost, some are delivered again."""
        process = self._process(runner)
        for received in self.stage.queue.receive(messages_max=5, visibility_sec=30):
            if self.random.random() < 0.1:
                self.stage.queue.delete(received)
                continue
            record = {"messageId": received.message_id, "body": json.dumps(received.body), "attributes": {}}
            if not process.executor.handle_batch([record], 120.0) and self.random.random() < 0.8:
                self.stage.queue.delete(received)

    def records_of(self, trigger) -> list[Any]:
        """All revisions of a trigger."""
        return [decode(item, self.stage.ports.payloads) for item in self.table.history[record_partition(trigger.id)]]

    def check(self, name, *, is_quiet):
        """Every due time that a trigger has left behind has its execution; nothing else has."""
        trigger = self.triggers[name]
        records = self.records_of(trigger)
        due = [record.next_execution_time for record in records]
        assert len(set(due)) == len(due), "a due time came twice"
        executions = self.stage.executions(name)
        started = {execution.id: execution.created_at for execution in executions}
        assert len(started) == len(executions)
        now = self.stage.stored(trigger)
        passed = due if now is None else due[:-1]
        may_be = {id_for(trigger, moment): moment for moment in due}
        assert {id_for(trigger, moment) for moment in passed} <= set(started) <= set(may_be)
        assert all(created_at >= may_be[identifier] for identifier, created_at in started.items()), "fired early"
        for before, after in pairwise(records):
            expected = next_match(trigger.pattern, max(before.next_execution_time, after.updated_at))
            assert after.next_execution_time == expected
        if is_quiet:
            assert len(started) == len(passed)
            assert all(execution.state is State.SUCCESS for execution in executions)
            if trigger.count is not None:
                left = 0 if now is None else now.remaining_executions
                assert len(started) + left == trigger.count


@pytest.mark.parametrize("seed", range(40))
def test_each_due_time_starts_one_execution_whatever_crashes_and_overlaps(seed):
    chaos = Chaos(seed)
    for _ in range(8):
        chaos.go_on()
        for name in PATTERNS:
            chaos.check(name, is_quiet=False)
    chaos.stage.tick()
    # What a crash has left undone, the alarms of the executions find.
    for _ in range(3):
        chaos.stage.clock.advance(700)
        chaos.stage.tick()
        while chaos.stage.deliver():
            pass
    for name in PATTERNS:
        chaos.check(name, is_quiet=True)


def test_the_doors_of_that_test_do_crash():
    chaos = Chaos(1)
    for _ in range(20):
        chaos.go_on()
    assert chaos.crashes >= 8
