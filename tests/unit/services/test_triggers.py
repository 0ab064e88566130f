"""Triggers are created, found, changed and removed; workflows that they use stay."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from chalicelib import limits
from chalicelib.adapters.memory import MemoryTable
from chalicelib.errors import (
    DuplicateEntryException,
    InputException,
    InvalidModelException,
    NotAllowedException,
    NotFoundException,
    SizeLimitExceededException,
    UnknownFormatError,
    WorkflowException,
)
from chalicelib.services.definition_records import Kind
from chalicelib.services.definition_rules import Placement
from chalicelib.services.ports import Put
from chalicelib.services.schedules import NO_PATTERN
from chalicelib.services.trigger_records import TriggerKind, decode, encode
from chalicelib.services.triggers import EventChanges
from tests.unit.services.trigger_stage import ADMIN, BEGIN, MINE, THEIRS, TriggerStage

YEARLY = "0 0 1 1 *"
LATER = "2199-01-01 00:00"


@pytest.fixture
def stage():
    made = TriggerStage()
    made.upload("w")
    return made


# -- creating cron-triggers


def test_a_trigger_is_found_by_name_and_by_id(stage):
    trigger = stage.cron(pattern=YEARLY, remaining_executions=3)

    for identifier in ("c", trigger.id, trigger.id.upper()):
        assert stage.triggers.get(TriggerKind.CRON, MINE, identifier) == trigger
    assert (trigger.remaining_executions, trigger.next_execution_time) == (3, 1_704_067_200.0)
    assert stage.all_cron() == [trigger]


def test_a_trigger_without_a_pattern_runs_once(stage):
    trigger = stage.cron(first_execution_time=LATER)

    assert (trigger.pattern, trigger.remaining_executions) == (NO_PATTERN, 1)
    assert trigger.next_execution_time == trigger.first_execution_time


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({}, "Pattern or first_execution_time must be specified"),
        ({"remaining_executions": 2}, "Pattern or first_execution_time must be specified"),
        ({"pattern": ""}, "Pattern or first_execution_time must be specified"),
        ({"pattern": "not cron"}, "not valid: not cron"),
        ({"pattern": "0 0 31 2 *", "first_execution_time": LATER}, "no moment in the next fifty years"),
        ({"first_execution_time": LATER, "remaining_executions": 2}, "Pattern must be provided if count is superior"),
        ({"first_execution_time": "2001-01-01 00:00"}, "at least 1 minute in the future"),
        ({"first_execution_time": ""}, "YYYY-MM-DD HH:MM"),
        ({"name": "x" * 201, "pattern": YEARLY}, "the most is 200"),
        ({"name": "\ud800", "pattern": YEARLY}, "half of a surrogate pair"),
    ],
)
def test_what_cannot_be_a_trigger_is_refused(stage, wanted, words):
    with pytest.raises(InvalidModelException, match=words):
        stage.cron(**wanted)
    assert stage.all_cron() == []


@pytest.mark.parametrize("count", [0, -1])
def test_a_trigger_runs_once_at_least(stage, count):
    with pytest.raises(InputException, match="greater or equal to 1"):
        stage.cron(pattern=YEARLY, remaining_executions=count)


def test_the_input_is_checked_when_the_trigger_is_created(stage):
    stage.upload("needs", text="input: [a, {b: 2}], tasks: {t: {action: std.noop}}")
    stage.upload("back", text="type: reverse, input: [a], tasks: {t: {action: std.noop}}")

    with pytest.raises(InputException, match=r"name=needs, class=DirectWorkflowSpec, missing=\['a'\]"):
        stage.cron(workflow="needs", pattern=YEARLY, workflow_input={"b": 1})
    with pytest.raises(InputException, match=r"class=ReverseWorkflowSpec, missing=\['a'\], unexpected=\['c'\]"):
        stage.cron(workflow="back", pattern=YEARLY, workflow_input={"c": 1})
    assert stage.cron(workflow="needs", pattern=YEARLY, workflow_input={"a": None}).workflow_input == {"a": None}


def test_a_workflow_that_is_not_there_cannot_be_triggered(stage):
    stage.upload("theirs", THEIRS)
    stage.container.definitions.create(
        Kind.WORKFLOW, MINE, b"version: '2.0'\nelsewhere: {tasks: {t: {action: std.noop}}}", Placement(namespace="n")
    )
    for workflow in ("nope", "theirs", "elsewhere", None):
        with pytest.raises(NotFoundException, match="Workflow not found"):
            stage.cron(workflow=workflow, pattern=YEARLY)


def test_too_much_input_is_refused(stage):
    stage.upload("takes", text="input: [a], tasks: {t: {action: std.noop}}")
    with pytest.raises(SizeLimitExceededException, match="field=workflow_input"):
        stage.cron(workflow="takes", pattern=YEARLY, workflow_input={"a": "x" * limits.FIELD_BYTES_MAX})


def test_a_name_is_taken_in_its_project_only(stage):
    stage.upload("w", THEIRS)
    stage.cron(pattern=YEARLY)
    with pytest.raises(DuplicateEntryException, match=r"Duplicate entry for cron trigger \['name', 'project_id'\]: c"):
        stage.cron(pattern="0 0 2 1 *")
    stage.cron(pattern=YEARLY, access=THEIRS)


def test_two_triggers_may_not_be_the_same_in_all_but_the_name(stage):
    same = {"pattern": YEARLY, "first_execution_time": LATER, "remaining_executions": 2}
    first = stage.cron("a", **same)
    with pytest.raises(DuplicateEntryException, match=r"Duplicate entry for cron trigger \['workflow_name'"):
        stage.cron("b", **same)
    stage.cron("c", **{**same, "remaining_executions": 3})
    stage.cron("d", workflow_params={"env": {}}, **same)
    stage.triggers.delete(TriggerKind.CRON, MINE, first.id)
    stage.cron("b", **same)


def test_two_triggers_may_be_the_same_where_something_is_not_said(stage):
    for name in ("a", "b"):
        stage.cron(name, pattern=YEARLY)
    for name in ("c", "d"):
        stage.cron(name, pattern=YEARLY, remaining_executions=2)


def test_only_an_admin_publishes(stage):
    stage.upload("w", ADMIN)
    with pytest.raises(NotAllowedException):
        stage.cron(pattern=YEARLY, scope="public")
    public = stage.cron("everyones", pattern=YEARLY, scope="public", access=ADMIN)

    assert stage.triggers.get(TriggerKind.CRON, THEIRS, "everyones") == public
    assert stage.all_cron(THEIRS) == [public]
    with pytest.raises(NotAllowedException, match="Can not access CronTrigger resource of other projects"):
        stage.triggers.delete(TriggerKind.CRON, THEIRS, "everyones")


def test_ones_own_trigger_comes_before_a_public_one_of_the_same_name(stage):
    stage.upload("w", ADMIN)
    stage.cron(pattern=YEARLY, scope="public", access=ADMIN)
    mine = stage.cron(pattern=YEARLY)
    assert stage.triggers.get(TriggerKind.CRON, MINE, "c") == mine


def test_no_project_sees_another_ones_trigger(stage):
    trigger = stage.cron(pattern=YEARLY)
    for identifier in ("c", trigger.id):
        with pytest.raises(NotFoundException, match=r"Cron trigger not found \[identifier="):
            stage.triggers.get(TriggerKind.CRON, THEIRS, identifier)
        with pytest.raises(NotFoundException):
            stage.triggers.delete(TriggerKind.CRON, THEIRS, identifier)
    assert stage.all_cron(THEIRS) == []
    assert stage.all_cron(ADMIN) == [trigger]


def test_what_is_deleted_leaves_nothing_behind(stage):
    empty = contents(stage)
    first = stage.cron(pattern=YEARLY, first_execution_time=LATER, remaining_executions=2)
    second = stage.waiting_for(first.workflow_id)
    stage.triggers.delete(TriggerKind.CRON, MINE, "c")
    stage.triggers.delete(TriggerKind.EVENT, MINE, second.id)

    with pytest.raises(NotFoundException):
        stage.triggers.get(TriggerKind.CRON, MINE, "c")
    assert contents(stage) - empty == {(f"users#{first.workflow_id}", "!latest")}


def contents(stage):
    return {
        (partition, key) for partition, stored in stage.ports.definitions._partitions.items() for key in stored.keys
    }


def test_large_input_is_kept_beside_the_record(stage):
    stage.upload("takes", text="input: [a], tasks: {t: {action: std.noop}}")
    text = "".join(chr(33 + number * number % 90) + str(number) for number in range(100_000))
    trigger = stage.cron(workflow="takes", pattern=YEARLY, workflow_input={"a": text})
    assert stage.stored(trigger).workflow_input == {"a": text}


def test_a_trigger_in_a_format_from_the_future_is_not_guessed_at(stage, monkeypatch):
    trigger = stage.cron(pattern=YEARLY)
    monkeypatch.setattr("chalicelib.services.trigger_records.FORMAT_VERSION", 2)
    item = encode(trigger, stage.ports.payloads)
    monkeypatch.undo()
    with pytest.raises(UnknownFormatError, match="format 2"):
        decode(item, stage.ports.payloads)


# -- event-triggers


def test_an_event_trigger_is_unique_by_what_it_waits_for(stage):
    workflow, other = stage.upload("a"), stage.upload("b")
    stage.waiting_for(workflow.id)
    with pytest.raises(
        DuplicateEntryException, match=r"Duplicate entry for EventTrigger \['exchange', 'topic', 'event'"
    ):
        stage.waiting_for(workflow.id)
    stage.waiting_for(workflow.id, event="f")
    stage.waiting_for(other.id)


@pytest.mark.parametrize("name", ["exchange", "topic", "event"])
def test_what_an_event_trigger_waits_for_is_bounded(stage, name):
    workflow = stage.upload("a")
    with pytest.raises(InvalidModelException, match=f"The {name} .* has 81 characters; the most is 80"):
        stage.waiting_for(workflow.id, **{name: "x" * 81})


def test_an_event_trigger_can_move_to_another_workflow(stage):
    first, second = stage.upload("a"), stage.upload("b")
    moving, standing = stage.waiting_for(first.id), stage.waiting_for(first.id, event="f")
    moved = stage.triggers.update_event(MINE, moving.id, EventChanges(workflow_id=second.id, name="new"))

    assert (moved.workflow_id, moved.name, moved.updated_at) == (second.id, "new", BEGIN)
    assert stage.waiting_for(first.id).workflow_id == first.id
    with pytest.raises(DuplicateEntryException):
        stage.waiting_for(second.id)
    with pytest.raises(WorkflowException, match=moved.id):
        stage.container.definitions.delete(Kind.WORKFLOW, MINE, "b")
    with pytest.raises(NotFoundException, match="Workflow not found"):
        stage.triggers.update_event(MINE, standing.id, EventChanges(workflow_id=moved.id))


def test_an_event_trigger_cannot_move_where_there_is_one_already(stage):
    first, second = stage.upload("a"), stage.upload("b")
    moving = stage.waiting_for(first.id)
    stage.waiting_for(second.id)
    with pytest.raises(DuplicateEntryException):
        stage.triggers.update_event(MINE, moving.id, EventChanges(workflow_id=second.id))
    assert stage.stored(moving) == moving


def test_a_change_that_changes_nothing_is_none(stage):
    trigger = stage.waiting_for(stage.upload("a").id)
    assert stage.triggers.update_event(MINE, trigger.id, EventChanges(name="e")) == trigger
    assert stage.stored(trigger).updated_at is None


# -- the workflows that triggers use


def test_a_workflow_stays_as_long_as_a_trigger_uses_it(stage):
    workflow = stage.upload("a")
    cron = stage.cron(workflow="a", pattern=YEARLY)
    event = stage.waiting_for(workflow.id)
    delete = stage.container.definitions.delete

    with pytest.raises(WorkflowException, match=f"cron triggers associated.*workflow_identifier=a, .*{cron.id}"):
        delete(Kind.WORKFLOW, MINE, "a")
    stage.triggers.delete(TriggerKind.CRON, MINE, cron.id)
    with pytest.raises(WorkflowException, match=f"event triggers associated.*{event.id}"):
        delete(Kind.WORKFLOW, MINE, "a")
    stage.triggers.delete(TriggerKind.EVENT, MINE, event.id)
    delete(Kind.WORKFLOW, MINE, "a")


def test_a_public_workflow_stays_public_while_others_have_triggers_on_it(stage):
    stage.upload("everyones", ADMIN, scope="public")
    trigger = stage.cron(workflow="everyones", pattern=YEARLY)
    text = b"version: '2.0'\neveryones: {tasks: {t: {action: std.fail}}}"
    update = stage.container.definitions.update

    with pytest.raises(NotAllowedException, match="has cron triggers associated in other tenants"):
        update(Kind.WORKFLOW, ADMIN, text, Placement())
    stage.triggers.delete(TriggerKind.CRON, MINE, trigger.id)
    update(Kind.WORKFLOW, ADMIN, text, Placement())


def test_a_public_workflow_of_a_workbook_stays_public_too(stage):
    text = b"version: '2.0'\nname: book\nworkflows: {inner: {tasks: {t: {action: std.noop}}}}"
    definitions = stage.container.definitions
    definitions.create(Kind.WORKBOOK, ADMIN, text, Placement(scope="public"))
    stage.cron(workflow="book.inner", pattern=YEARLY)
    with pytest.raises(NotAllowedException, match="has cron triggers associated in other tenants"):
        definitions.update(Kind.WORKBOOK, ADMIN, text, Placement())
    assert definitions.get(Kind.WORKBOOK, MINE, "book").is_public


class MeetingTable(MemoryTable):
    """Lets something happen between the reads of a writer and its write."""

    before_write: Callable[[], object] | None = None

    def write(self, writes):
        met, self.before_write = self.before_write, None
        if met is not None:
            met()
        super().write(writes)


def meeting_process(stage):
    table = MeetingTable()
    table._partitions, table._indexes = stage.ports.definitions._partitions, stage.ports.definitions._indexes
    return table, stage.process(definitions=table)


def test_a_workflow_is_not_deleted_under_a_trigger_that_comes_at_the_same_time(stage):
    table, process = meeting_process(stage)
    table.before_write = lambda: stage.cron(pattern=YEARLY)
    with pytest.raises(WorkflowException, match="cron triggers associated"):
        process.definitions.delete(Kind.WORKFLOW, MINE, "w")


def test_a_trigger_does_not_begin_to_use_a_workflow_that_goes_at_the_same_time(stage):
    table, process = meeting_process(stage)
    table.before_write = lambda: stage.container.definitions.delete(Kind.WORKFLOW, MINE, "w")
    stage.container = process
    with pytest.raises(NotFoundException, match="Workflow not found"):
        stage.cron(pattern=YEARLY)
    assert stage.all_cron() == []


def test_a_trigger_deleted_while_another_changes_it_is_gone(stage):
    trigger = stage.waiting_for(stage.upload("a").id)
    table, process = meeting_process(stage)
    table.before_write = lambda: stage.triggers.delete(TriggerKind.EVENT, MINE, trigger.id)
    with pytest.raises(NotFoundException, match="Event trigger not found"):
        process.triggers.update_event(MINE, trigger.id, EventChanges(name="new"))


def test_of_many_creations_of_one_name_one_succeeds(stage):
    barrier = Barrier(8)

    def create(_number):
        barrier.wait()
        try:
            return stage.cron(pattern=YEARLY)
        except DuplicateEntryException:
            return None

    with ThreadPoolExecutor(8) as pool:
        created = [trigger for trigger in pool.map(create, range(8)) if trigger is not None]
    assert stage.all_cron() == created
    assert len(created) == 1


# -- lists


def test_a_list_has_everything_once_and_goes_on_behind_any_item(stage):
    stage.upload("w", ADMIN)
    made = []
    for number in range(230):
        stage.clock.advance(number % 2)
        access, scope = (ADMIN, "public") if number % 5 == 0 else (MINE, "private")
        made.append(stage.cron(f"c{number}", pattern=YEARLY, access=access, scope=scope))
    made.sort(key=lambda trigger: (trigger.created_at, trigger.id))

    assert stage.all_cron() == stage.all_cron(ADMIN) == made
    for at in (0, 99, 100, 229):
        assert list(stage.triggers.browse(TriggerKind.CRON, MINE, after=made[at])) == made[at + 1 :]


def test_an_entry_of_the_index_whose_trigger_is_gone_is_passed_over(stage):
    trigger = stage.cron(pattern=YEARLY)
    item = encode(trigger, stage.ports.payloads)
    gone = type(item)("trigger#gone", item.key, item.body, indexes=item.indexes)
    stage.ports.definitions.write([Put(gone)])
    assert stage.all_cron() == [trigger]
