"""Triggers and members on every backend: what a table in memory allows, DynamoDB allows too."""

from dataclasses import replace

import pytest

from chalicelib import limits
from chalicelib.errors import DuplicateEntryException, NotFoundException, WorkflowException
from chalicelib.services.definition_records import Kind
from chalicelib.services.members import MemberStatus
from chalicelib.services.trigger_records import TriggerKind
from chalicelib.services.triggers import EventChanges
from tests.unit.services.trigger_stage import ADMIN, BEGIN, MINE, THEIRS, TriggerStage


@pytest.fixture
def stage(table):
    made = TriggerStage()
    made.ports = replace(made.ports, definitions=table)
    made.container = made.process()
    return made


def test_a_cron_trigger_lives_from_its_creation_to_its_last_execution(stage):
    name = "\U0001f600" * limits.TRIGGER_NAME_CHARACTERS_MAX
    stage.upload("w", ADMIN)
    wanted = {"pattern": "* * * * *", "first_execution_time": "2023-11-14 22:15", "remaining_executions": 2}
    trigger = stage.cron(name, access=ADMIN, scope="public", **wanted)
    for again in (name, "other"):
        with pytest.raises(DuplicateEntryException):
            stage.cron(again, access=ADMIN, **wanted)
    assert stage.triggers.get(TriggerKind.CRON, MINE, name) == trigger
    assert stage.all_cron(MINE) == stage.all_cron(ADMIN) == [trigger]
    with pytest.raises(WorkflowException, match=trigger.id):
        stage.container.definitions.delete(Kind.WORKFLOW, ADMIN, "w")

    for minute in range(4):
        stage.clock.set(trigger.next_execution_time + minute * 60)
        stage.tick()
    assert len(stage.executions(project_id="admin")) == 2
    assert stage.all_cron(ADMIN) == []
    stage.container.definitions.delete(Kind.WORKFLOW, ADMIN, "w")


def test_only_what_is_due_is_found_in_time(stage):
    stage.upload("w")
    for number in range(20):
        stage.cron(f"c{number}", pattern=f"{number * 3} * * * *")
    fired = []
    for minute in range(1, 61):
        stage.clock.set(BEGIN - BEGIN % 60 + minute * 60)
        fired.append(stage.tick())
    assert sum(fired) == 20
    assert max(fired) == 1


def test_an_event_trigger_is_found_by_its_event_wherever_it_moves(stage):
    first, second = stage.upload("a"), stage.upload("b")
    trigger = stage.waiting_for(first.id, event="\u20ac" * limits.EVENT_SELECTOR_CHARACTERS_MAX)
    stage.triggers.update_event(MINE, trigger.id, EventChanges(workflow_id=second.id))
    detail = {"event_type": trigger.event, "context": {"project_id": "mine"}}
    event = {"id": "1", "source": "x", "detail-type": "t", "time": "now", "detail": detail}
    assert [stage.container.event_door.handle(event) for _ in range(2)] == [1, 1]
    assert (len(stage.executions("a")), len(stage.executions("b"))) == (0, 1)
    stage.container.definitions.delete(Kind.WORKFLOW, MINE, "a")


def test_a_workflow_is_shared_until_it_goes(stage):
    workflow = stage.upload("w")
    members, definitions = stage.container.members, stage.container.definitions
    members.add(MINE, workflow.id, "theirs")
    with pytest.raises(DuplicateEntryException):
        members.add(MINE, workflow.id, "theirs")
    members.answer(THEIRS, workflow.id, "theirs", MemberStatus.ACCEPTED)
    assert list(definitions.browse(Kind.WORKFLOW, THEIRS)) == [workflow]
    definitions.delete(Kind.WORKFLOW, MINE, "w")
    assert list(definitions.browse(Kind.WORKFLOW, THEIRS)) == []
    with pytest.raises(NotFoundException):
        members.get(MINE, workflow.id, "theirs")
