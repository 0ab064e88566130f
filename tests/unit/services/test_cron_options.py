"""What cron-triggers do beyond Mistral: zones, overlap, catching up, jitter, deadlines, pauses, runs by request."""

import json
import logging
from dataclasses import replace

import pytest

from chalicelib import limits
from chalicelib.adapters.memory import MemoryTable
from chalicelib.engine.events import StopRequested
from chalicelib.engine.identity import derived_execution_id
from chalicelib.errors import InputException, InvalidModelException, NotAllowedException, WorkflowException
from chalicelib.services import cron_rules, triggered_starts
from chalicelib.services.cron_alerts import LoggedAlerts
from chalicelib.services.cron_firing import CronFiring
from chalicelib.services.cron_options import CronOptions, Overlap
from chalicelib.services.cron_plans import CronTimes
from chalicelib.services.definition_records import Kind
from chalicelib.services.definition_rules import Placement
from chalicelib.services.schedules import moment_of, shown
from chalicelib.services.trigger_records import encode
from chalicelib.services.trigger_store import TriggerStore
from chalicelib.vocabulary import State
from tests.unit.services.trigger_stage import ADMIN, BEGIN, MINE, MINUTE, THEIRS, TriggerStage

FIRST_MINUTE = 1_700_000_040.0
EVERY_MINUTE = "* * * * *"
LASTING = "tasks: {t: {action: std.async_noop}}"
HOUR = 3600.0


class Stage(TriggerStage):
    """The usual stage, with a workflow that lasts until it is stopped, and eyes on the alerts."""

    def __init__(self):
        super().__init__()
        self.upload("w")
        self.upload("long", text=LASTING)
        logging.getLogger("mistral").setLevel(logging.INFO)

    def at(self, moment):
        """Let messages and the clock door come until a moment, minute by minute."""
        while self.clock.now() < moment:
            self.pass_time(min(moment, self.clock.now() + MINUTE))
            self.tick()
            self.deliver()

    def opted(self, name="c", workflow="w", pattern=EVERY_MINUTE, access=MINE, **options):
        times = {key: options.pop(key) for key in ("run_at", "remaining_executions") if key in options}
        return self.cron(name, workflow, access, pattern=pattern, options=CronOptions(**options), **times)

    def stop(self, execution, state=State.ERROR):
        return self.container.engine.handle(execution.id, StopRequested(state, "stopped"))

    def due_times(self, trigger, workflow="w"):
        """The due times whose executions exist, seconds behind the first minute."""
        ids = {execution.id for execution in self.executions(workflow)}
        return [
            at
            for at in range(0, 24 * 3600, 60)
            if derived_execution_id("cron_trigger", trigger.id, f"{FIRST_MINUTE + at:.3f}") in ids
        ]


@pytest.fixture
def stage():
    return Stage()


@pytest.fixture
def alerts(caplog):
    caplog.set_level(logging.INFO, logger="mistral")
    return lambda: [record.getMessage() for record in caplog.records if record.name == "mistral.alerts"]


# -- records


def test_a_plain_trigger_is_stored_as_before(stage):
    trigger = stage.cron(pattern=EVERY_MINUTE)
    item = encode(trigger, stage.ports.payloads)
    assert trigger.options == CronOptions()
    optional = replace(trigger, options=CronOptions(time_zone="Europe/Berlin"))
    assert len(item.body) < len(encode(optional, stage.ports.payloads).body)


def test_all_that_is_wanted_is_stored_and_read_again(stage):
    options = CronOptions(
        time_zone="Europe/Berlin",
        overlap=Overlap.QUEUE,
        catch_up_sec=60,
        jitter_sec=5,
        start_within_sec=30,
        end_within_sec=600,
    )
    trigger = stage.cron(pattern=EVERY_MINUTE, options=options)
    course = replace(
        trigger.course,
        queued=(1.0, 2.5),
        watched=((1.0, "x"),),
        failures=3,
        paused_at=4.0,
        missed={"kind": "k", "at": "then"},
    )
    changed = replace(trigger, course=course, revision=trigger.revision + 1)
    stage_store(stage).replace(changed, trigger)
    assert stage.stored(trigger) == changed


def stage_store(stage):
    return TriggerStore(stage.ports.definitions, stage.ports.payloads)


# -- time zones


def test_a_trigger_follows_the_clocks_of_its_zone(stage):
    stage.clock.set(moment_of("x", "2026-03-27 12:00"))
    trigger = stage.opted(pattern="30 2 * * *", time_zone="europe/berlin")
    assert trigger.options.time_zone == "Europe/Berlin"
    seen = []
    for _ in range(4):
        seen.append(shown(stage.stored(trigger).next_execution_time, "Europe/Berlin"))
        stage.clock.set(stage.stored(trigger).next_execution_time)
        stage.tick()
    assert seen == [
        "2026-03-28T02:30:00+01:00",
        "2026-03-29T03:00:00+02:00",
        "2026-03-30T02:30:00+02:00",
        "2026-03-31T02:30:00+02:00",
    ]
    assert len(stage.executions()) == 4


def test_the_workflow_is_told_what_it_was_scheduled_for(stage):
    output = "{at: <% execution().params.cron_params.local_time %>}"
    stage.upload("told", text=f"output: {output}, tasks: {{t: {{action: std.noop}}}}")
    trigger = stage.opted(workflow="told", pattern="0 3 * * *", time_zone="Asia/Tokyo")
    stage.clock.set(trigger.next_execution_time + 30)
    stage.tick()
    [execution] = stage.executions("told")
    store = stage.container.executions
    assert store.value(execution.id, execution.output) == {"at": "2023-11-16T03:00:00+09:00"}
    assert store.value(execution.id, execution.params)["cron_params"] == {
        "started_by": "schedule",
        "scheduled_for": "2023-11-15 18:00:00",
        "local_time": "2023-11-16T03:00:00+09:00",
    }


# -- one time, to the second


def test_a_trigger_may_run_once_at_a_second(stage):
    trigger = stage.opted(pattern=None, run_at="2023-11-14 22:14:05")
    assert (trigger.next_execution_time, trigger.remaining_executions) == (BEGIN + 45, 1)
    stage.pass_time(BEGIN + 44.9)
    assert stage.executions() == []
    stage.pass_time(BEGIN + 46)
    assert len(stage.executions()) == 1
    assert stage.stored(trigger) is None


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"run_at": "2023-11-14 22:13:20", "pattern": None}, "run_at must be in the future: it was understood as"),
        ({"run_at": "2030-01-01 00:00"}, "run_at is the only time of a trigger"),
        ({"run_at": "2030-01-01 00:00", "pattern": None, "remaining_executions": 2}, "Pattern must be provided"),
        ({"time_zone": "Europe/Brelin"}, "did you mean Europe/Berlin"),
        ({"catch_up_sec": -1}, "catch_up_sec is -1; it must be from 0 to 604800"),
        ({"jitter_sec": 86_401}, "jitter_sec is 86401"),
        ({"start_within_sec": 0}, "start_within_sec is 0; it must be from 1"),
        ({"end_within_sec": 3_000_000}, "end_within_sec is 3000000"),
        ({"start_within_sec": 60, "end_within_sec": 30}, "less than start_within_sec"),
        ({"start_within_sec": 60, "jitter_sec": 60}, "no run might start in time"),
        ({"end_within_sec": 3600}, "more than 50 runs in that time.*its times after the first are 2023-11-14T22:15:00"),
    ],
)
def test_what_makes_no_sense_is_refused(stage, wanted, words):
    with pytest.raises(InvalidModelException, match=words):
        stage.opted(**wanted)
    assert stage.all_cron() == []


# -- overlap


def test_runs_may_overlap_unless_it_is_said_otherwise(stage):
    stage.opted(workflow="long", time_zone="UTC")
    stage.at(FIRST_MINUTE + 2 * MINUTE)
    assert [execution.state for execution in stage.executions("long")] == [State.RUNNING] * 3


def test_skip_starts_nothing_while_the_previous_run_goes_on(stage):
    trigger = stage.opted(workflow="long", overlap=Overlap.SKIP, remaining_executions=2)
    stage.at(FIRST_MINUTE + 3 * MINUTE)
    [first] = stage.executions("long")
    assert stage.stored(trigger).remaining_executions == 1
    stage.stop(first)
    stage.at(FIRST_MINUTE + 4 * MINUTE)
    assert stage.due_times(trigger, "long") == [0, 240]
    assert stage.stored(trigger) is None


def test_queue_starts_what_has_waited_one_after_the_other(stage):
    trigger = stage.opted(workflow="long", overlap=Overlap.QUEUE)
    stage.at(FIRST_MINUTE + 2 * MINUTE + 30)
    assert stage.due_times(trigger, "long") == [0]
    assert stage.stored(trigger).course.queued == (FIRST_MINUTE + 60, FIRST_MINUTE + 120)
    for expected in ([0, 60], [0, 60, 120]):
        stage.stop(stage.executions("long")[-1])
        stage.tick()
        assert stage.due_times(trigger, "long") == expected
        stage.tick()
        assert stage.due_times(trigger, "long") == expected
    assert stage.stored(trigger).course.queued == ()


def test_what_is_queued_follows_soon_when_runs_are_short(stage):
    trigger = stage.opted(workflow="long", overlap=Overlap.QUEUE)
    stage.at(FIRST_MINUTE + 10 * MINUTE)
    update = b"version: '2.0'\nlong: {tasks: {t: {action: std.noop}}}"
    stage.container.definitions.update(Kind.WORKFLOW, MINE, update, Placement())
    stage.stop(stage.executions("long")[0])
    before = stage.clock.now()
    stage.at(before + 3 * MINUTE)
    assert len(stage.executions("long")) == 14
    assert stage.stored(trigger).course.queued == ()


def test_the_last_run_may_wait_behind_others(stage):
    trigger = stage.opted(workflow="long", overlap=Overlap.QUEUE, remaining_executions=2)
    stage.at(FIRST_MINUTE + 5 * MINUTE)
    waiting = stage.stored(trigger)
    assert (waiting.course.is_over, waiting.remaining_executions) == (True, 0)
    stage.stop(stage.executions("long")[0])
    stage.tick()
    assert stage.due_times(trigger, "long") == [0, 60]
    assert stage.stored(trigger) is None


def test_a_queue_has_an_end(stage, alerts):
    trigger = stage.opted(workflow="long", pattern="* * * * * */10", overlap=Overlap.QUEUE)
    stage.at(FIRST_MINUTE + 20 * MINUTE)
    stored = stage.stored(trigger)
    assert len(stored.course.queued) == limits.CRON_QUEUED_MAX
    assert "and 100 more were waiting" in alerts()[-1]
    assert "and 100 more were waiting" in stored.course.missed["message"]


def test_cancel_previous_makes_room(stage):
    trigger = stage.opted(workflow="long", overlap=Overlap.CANCEL_PREVIOUS)
    stage.at(FIRST_MINUTE + 2 * MINUTE)
    assert [execution.state for execution in stage.executions("long")] == [State.CANCELLED] * 2 + [State.RUNNING]
    assert "The next run of the cron trigger 'c' has begun" in stage.executions("long")[0].state_info
    assert stage.due_times(trigger, "long") == [0, 60, 120]


# -- catching up


def test_what_was_missed_within_the_window_is_caught_up_with(stage):
    trigger = stage.opted(catch_up_sec=180)
    stage.clock.set(FIRST_MINUTE + 10 * MINUTE)
    stage.tick()
    stage.pass_time(stage.clock.now() + 1)
    # The earliest missed time is always made up for, as without the option.
    assert stage.due_times(trigger) == [0, 480, 540, 600]
    assert stage.stored(trigger).next_execution_time == FIRST_MINUTE + 11 * MINUTE


# -- jitter


def test_jitter_is_always_the_same_for_a_trigger_and_a_time():
    found = [cron_rules.jitter("t", FIRST_MINUTE + step, 30) for step in range(500)]
    assert found == [cron_rules.jitter("t", FIRST_MINUTE + step, 30) for step in range(500)]
    assert (min(found), max(found)) == (0, 30)
    assert cron_rules.jitter("t", FIRST_MINUTE, 0) == 0


def test_jitter_puts_starts_off_and_loses_none(stage):
    trigger = stage.opted(jitter_sec=150)
    stage.at(FIRST_MINUTE + 30 * MINUTE)
    assert set(stage.due_times(trigger)) >= {60 * step for step in range(28)}
    for execution in stage.executions():
        late = [
            execution.created_at - FIRST_MINUTE - at
            for at in stage.due_times(trigger)
            if derived_execution_id("cron_trigger", trigger.id, f"{FIRST_MINUTE + at:.3f}") == execution.id
        ]
        assert 0 <= late[0] <= 150 + 62
    assert stage.stored(trigger).due_at % 60 == 0


def test_many_triggers_of_one_time_are_spread(stage):
    due = {stage.opted(f"c{number}", jitter_sec=600).next_execution_time for number in range(40)}
    assert len(due) > 30
    assert max(due) - min(due) > 300


# -- deadlines


def test_a_run_that_does_not_end_in_time_is_told_of_once(stage, alerts):
    trigger = stage.opted(workflow="long", pattern="0 * * * *", end_within_sec=300)
    due = trigger.next_execution_time
    stage.at(due + 299)
    assert alerts() == []
    stage.at(due + 20 * MINUTE)
    [alert] = alerts()
    assert alert.startswith("CRON_TRIGGER_NOT_ENDED: c: The run of 2023-11-14 23:00:00 UTC has not ended within 300")
    missed = stage.stored(trigger).course.missed
    [execution] = stage.executions("long")
    assert (missed["kind"], missed["execution_id"]) == ("CRON_TRIGGER_NOT_ENDED", execution.id)
    assert missed["at"] == "2023-11-14 23:05:00"


def test_a_run_that_ends_in_time_is_not_told_of(stage, alerts):
    trigger = stage.opted(workflow="long", pattern="0 * * * *", end_within_sec=300)
    stage.at(trigger.next_execution_time + 200)
    stage.stop(stage.executions("long")[0])
    stage.at(stage.clock.now() + 1000)
    assert alerts() == []
    assert stage.stored(trigger).course.watched == ()


def test_the_end_of_the_last_run_is_watched_too(stage, alerts):
    trigger = stage.opted(workflow="long", pattern=None, run_at="2023-11-14 22:14", end_within_sec=120)
    stage.at(FIRST_MINUTE + 30)
    assert stage.stored(trigger).course.is_over
    stage.at(FIRST_MINUTE + 3 * MINUTE)
    assert len(alerts()) == 1
    assert stage.stored(trigger) is None


def test_a_run_that_starts_late_is_told_of(stage, alerts):
    trigger = stage.opted(pattern="0 * * * *", start_within_sec=30)
    stage.clock.set(trigger.next_execution_time + 31)
    stage.tick()
    [alert] = alerts()
    assert "CRON_TRIGGER_STARTED_LATE" in alert
    assert "started 31 seconds after its time" in alert


def test_a_run_in_time_is_not_told_of(stage, alerts):
    stage.opted(start_within_sec=30)
    stage.at(FIRST_MINUTE + 5 * MINUTE)
    assert alerts() == []
    assert len(stage.executions()) == 6


def test_times_that_passed_without_a_run_are_told_of(stage, alerts):
    stage.opted(start_within_sec=3600)
    stage.clock.set(FIRST_MINUTE + 5 * MINUTE)
    stage.tick()
    [alert] = alerts()
    assert alert == (
        "CRON_TRIGGER_TIMES_MISSED: c: The times from 2023-11-14 22:15:00 UTC until 2023-11-14 22:19:00 UTC "
        "have passed without a run."
    )


def test_a_run_that_is_refused_or_held_back_is_told_of(stage, alerts):
    stage.opted(workflow="long", overlap=Overlap.SKIP, start_within_sec=30)
    stage.at(FIRST_MINUTE + MINUTE)
    assert "was not started: the one before it had not ended" in alerts()[-1]
    stage.opted("q", workflow="long", overlap=Overlap.QUEUE, start_within_sec=30)
    stage.at(FIRST_MINUTE + 4 * MINUTE)
    waiting = [alert for alert in alerts() if "still waits for the one before it" in alert]
    assert len(waiting) == 1


class BrokenTable(MemoryTable):
    """Executions cannot be written for a while."""

    error: Exception | None = None

    def write(self, writes):
        if self.error is not None:
            raise self.error
        super().write(writes)


def test_a_run_that_fails_through_our_fault_is_told_of_once_and_tried_on(alerts):
    stage = Stage()
    table = BrokenTable()
    stage.ports = replace(stage.ports, executions=table)
    stage.container = stage.process()
    trigger = stage.opted(pattern="0 * * * *", start_within_sec=90)
    table.error = OSError("the table is away")
    for minute in range(5):
        stage.clock.set(trigger.next_execution_time + minute * MINUTE)
        stage.tick()
    [alert] = alerts()
    assert "CRON_TRIGGER_NOT_STARTED" in alert
    assert "the table is away" in alert
    table.error = None
    stage.clock.advance(MINUTE)
    stage.tick()
    assert len(stage.executions()) == 1
    assert len(alerts()) == 1


def test_a_listener_that_fails_stops_nothing(stage, caplog):
    class Deaf(LoggedAlerts):
        def alert(self, name, message, *, project_id, subject, facts=None):
            raise OSError("nobody there")

    trigger = stage.opted(pattern="0 * * * *", start_within_sec=30)
    firing = CronFiring(stage_store(stage), stage.container.engine, stage.queue, stage.clock, alerts=Deaf())
    stage.clock.set(trigger.next_execution_time + 40)
    firing.tick(stage.clock.now() + 10)
    assert len(stage.executions()) == 1
    assert "could not be passed on" in caplog.text


# -- failures in a row


def refuse_input(stage, name="w"):
    update = f"version: '2.0'\n{name}: {{input: [a], tasks: {{t: {{action: std.noop}}}}}}".encode()
    stage.container.definitions.update(Kind.WORKFLOW, MINE, update, Placement())


def test_after_too_many_refusals_in_a_row_a_trigger_pauses_and_says_so(stage, alerts):
    trigger = stage.cron(pattern=EVERY_MINUTE)
    refuse_input(stage)
    stage.at(FIRST_MINUTE + (limits.CRON_FAILURES_MAX - 2) * MINUTE)
    assert stage.stored(trigger).course.failures == limits.CRON_FAILURES_MAX - 1
    assert alerts() == []
    stage.at(FIRST_MINUTE + 100 * MINUTE)
    paused = stage.stored(trigger)
    assert paused.course.failures == limits.CRON_FAILURES_MAX
    assert "20 starts in a row have been refused" in paused.course.paused_reason
    [alert] = alerts()
    assert alert.startswith("CRON_TRIGGER_PAUSED: c: It has paused: 20 starts")
    assert paused.wake_at is None


def test_a_start_that_succeeds_begins_the_count_anew(stage):
    trigger = stage.cron(pattern=EVERY_MINUTE)
    refuse_input(stage)
    stage.at(FIRST_MINUTE + 3 * MINUTE)
    stage.container.definitions.update(
        Kind.WORKFLOW, MINE, b"version: '2.0'\nw: {tasks: {t: {action: std.noop}}}", Placement()
    )
    stage.at(FIRST_MINUTE + 4 * MINUTE)
    assert stage.stored(trigger).course == stage.cron("new", pattern="0 0 1 1 *").course


# -- people


def desk(stage):
    return stage.container.cron_desk


def test_a_paused_trigger_does_not_fire_and_a_resumed_one_makes_nothing_up(stage):
    trigger = stage.cron(pattern=EVERY_MINUTE)
    paused = desk(stage).pause(MINE, "c")
    assert (paused.course.paused_at, paused.course.paused_reason) == (BEGIN, "Paused by request.")
    assert desk(stage).pause(MINE, "c") == paused
    stage.at(FIRST_MINUTE + 5 * MINUTE + 30)
    assert stage.executions() == []
    resumed = desk(stage).resume(MINE, "c")
    assert resumed.next_execution_time == FIRST_MINUTE + 6 * MINUTE
    assert desk(stage).resume(MINE, "c") == resumed
    stage.at(FIRST_MINUTE + 7 * MINUTE)
    assert stage.due_times(trigger) == [360, 420]


def test_a_trigger_that_is_paused_before_its_time_keeps_that_time(stage):
    trigger = stage.cron(pattern=EVERY_MINUTE, first_execution_time="2023-11-14 22:30")
    desk(stage).pause(MINE, "c")
    assert desk(stage).resume(MINE, "c").next_execution_time == trigger.next_execution_time


def test_a_trigger_whose_only_time_has_passed_cannot_be_resumed(stage):
    stage.opted(pattern=None, run_at="2023-11-14 22:14")
    desk(stage).pause(MINE, "c")
    stage.at(FIRST_MINUTE + MINUTE)
    with pytest.raises(InvalidModelException, match="has no time left: its last one, 2023-11-14T22:14:00"):
        desk(stage).resume(MINE, "c")


def test_a_run_that_began_while_its_trigger_was_paused_counts(stage):
    trigger = stage.cron(pattern=EVERY_MINUTE, remaining_executions=3)
    stage.clock.set(FIRST_MINUTE + 5)
    # The door has started the run; before it moves the trigger on, somebody pauses it.
    triggered_starts.start(stage.container.engine, trigger, cron_rules.cause_of(FIRST_MINUTE))
    desk(stage).pause(MINE, "c")
    resumed = desk(stage).resume(MINE, "c")
    assert (resumed.next_execution_time, resumed.remaining_executions) == (FIRST_MINUTE + MINUTE, 2)


def test_run_now_starts_one_run_for_a_key_and_leaves_the_trigger_alone(stage):
    trigger = stage.cron(pattern="0 0 1 1 *", remaining_executions=1)
    first = desk(stage).run(MINE, "c", "k")
    again = desk(stage).run(MINE, "c", "k")
    other = desk(stage).run(MINE, "c")
    assert (first.execution_id, first.state) == (again.execution_id, State.SUCCESS)
    assert len({first.execution_id, other.execution_id}) == 2
    assert len(stage.executions()) == 2
    assert stage.stored(trigger) == trigger
    told = stage.container.executions.value(first.execution_id, stage.executions()[0].params)
    assert told["cron_params"]["started_by"] == "request"


def test_run_now_says_what_refuses_it(stage):
    stage.cron(pattern="0 0 1 1 *")
    refuse_input(stage)
    with pytest.raises(WorkflowException, match=r"missing=\['a'\]"):
        desk(stage).run(MINE, "c")
    with pytest.raises(InputException, match="key has 0 characters"):
        desk(stage).run(MINE, "c", "")


def test_others_may_look_ahead_at_a_public_trigger_and_no_more(stage):
    stage.upload("w", ADMIN)
    stage.cron("everyones", pattern="0 0 1 1 *", scope="public", access=ADMIN)
    assert len(desk(stage).upcoming(THEIRS, "everyones", 2)) == 2
    for act in (desk(stage).pause, desk(stage).resume, desk(stage).run):
        with pytest.raises(NotAllowedException):
            act(THEIRS, "everyones")
    with pytest.raises(NotAllowedException):
        desk(stage).backfill(THEIRS, "everyones", first="2023-01-01", last="2023-01-02")


def test_a_backfill_starts_each_time_of_a_range_once(stage):
    trigger = stage.opted(pattern="0 * * * *", time_zone="Europe/Berlin")
    asked = {"first": "2023-11-14 10:00", "last": "2023-11-14 13:30"}
    planned = desk(stage).backfill(MINE, "c", dry_run=True, **asked)
    assert [shown(run.due_at, "Europe/Berlin")[11:16] for run in planned] == ["10:00", "11:00", "12:00", "13:00"]
    assert stage.executions() == []
    desk(stage).backfill(MINE, "c", **asked)
    stage.deliver()
    assert [run.state for run in desk(stage).backfill(MINE, "c", **asked)] == [State.SUCCESS] * 4
    stage.deliver()
    assert {execution.id for execution in stage.executions()} == {run.execution_id for run in planned}
    assert stage.stored(trigger) == trigger
    told = stage.executions()[0]
    assert stage.container.executions.value(told.id, told.params)["cron_params"]["started_by"] == "backfill"


def test_a_backfill_waits_for_the_end_of_maintenance(stage):
    stage.cron(pattern="0 * * * *")
    stage.container.maintenance.change("PAUSED")
    desk(stage).backfill(MINE, "c", first="2023-11-14 10:00", last="2023-11-14 11:00")
    stage.pass_time(BEGIN + HOUR / 2)
    assert stage.executions() == []
    stage.container.maintenance.change("RUNNING")
    stage.pass_time(BEGIN + HOUR / 2 + 900)
    assert len(stage.executions()) == 2


def test_a_time_that_has_had_its_run_is_not_filled_again(stage):
    stage.cron(pattern=EVERY_MINUTE)
    stage.at(FIRST_MINUTE + 2 * MINUTE)
    asked = {"first": "2023-11-14 22:13", "last": "2023-11-14 22:16"}
    assert [run.state for run in desk(stage).backfill(MINE, "c", **asked)] == [None] + [State.SUCCESS] * 3
    stage.deliver()
    assert len(stage.executions()) == 4


def test_runs_that_may_not_overlap_are_filled_one_after_the_other(stage):
    trigger = stage.opted(workflow="long", pattern="0 * * * *", overlap=Overlap.SKIP)
    desk(stage).backfill(MINE, "c", first="2023-11-14 10:00", last="2023-11-14 12:00")
    for number in range(1, 4):
        stage.tick()
        stage.deliver()
        assert len(stage.executions("long")) == number
        stage.stop(stage.executions("long")[-1])
    assert stage.stored(trigger).course.queued == ()
    with pytest.raises(InvalidModelException, match=r"101 runs would have to be queued.*room for 100"):
        desk(stage).backfill(MINE, "c", first="2023-11-01 00:00", last="2023-11-05 04:00")


@pytest.mark.parametrize(
    ("first", "last", "words"),
    [
        ("2023-11-14 12:00", "2023-11-14 11:00", "is later than to"),
        ("2023-11-14 12:00", "2023-11-15 11:00", "is in the future"),
        ("2023-01-01", "2023-11-14", "more than 500 times in this range"),
        ("then", "2023-11-14", "from: 'then' is no moment"),
    ],
)
def test_a_range_that_makes_no_sense_is_refused(stage, first, last, words):
    stage.cron(pattern=EVERY_MINUTE)
    with pytest.raises(InvalidModelException, match=words):
        desk(stage).backfill(MINE, "c", first=first, last=last)


def test_a_trigger_without_a_pattern_has_no_past(stage):
    stage.opted(pattern=None, run_at="2030-01-01 00:00")
    with pytest.raises(InvalidModelException, match="has no pattern, hence no past times"):
        desk(stage).backfill(MINE, "c", first="2023-11-14 10:00", last="2023-11-14 11:00")


def test_the_next_times_are_told_of_what_is_stored_and_what_is_not(stage):
    trigger = stage.opted(pattern="0 9 * * 1-5", time_zone="America/New_York", jitter_sec=60, remaining_executions=3)
    times = desk(stage).upcoming(MINE, "c", 5)
    assert [shown(time.due_at, "America/New_York")[:16] for time in times] == [
        "2023-11-15T09:00",
        "2023-11-16T09:00",
        "2023-11-17T09:00",
    ]
    assert times[0].starts_at == trigger.next_execution_time
    assert all(0 <= time.starts_at - time.due_at <= 60 for time in times)
    asked = CronTimes(pattern="0 9 * * 1-5", options=CronOptions(time_zone="America/New_York"))
    assert [time.due_at for time in desk(stage).preview(asked, 3)] == [time.due_at for time in times]
    assert len(desk(stage).preview(CronTimes(run_at="2030-01-01 10:00:05"), 5)) == 1
    desk(stage).pause(MINE, "c")
    assert desk(stage).upcoming(MINE, "c", 5) == []


@pytest.mark.parametrize("count", [0, 101])
def test_a_preview_is_bounded(stage, count):
    with pytest.raises(InputException, match="it must be from 1 to 100"):
        desk(stage).preview(CronTimes(pattern=EVERY_MINUTE), count)


def test_messages_hold_ids_and_moments_only(stage):
    stage.cron(pattern=EVERY_MINUTE)
    desk(stage).backfill(MINE, "c", first="2023-11-14 22:12", last="2023-11-14 22:13")
    for message in stage.queue.sent:
        assert set(message.body) == {"kind", "x", "d"}
        assert len(json.dumps(message.body)) < 120
