"""Events start the workflows of the triggers that wait for them, once for each event."""

import json
from dataclasses import replace

import pytest

from chalicelib.adapters.memory import MemoryTable, SeededEntropy
from chalicelib.errors import MistralError
from chalicelib.services.definition_records import Kind
from chalicelib.services.definition_rules import Placement
from chalicelib.services.event_door import EventDefinition, event_definitions
from chalicelib.services.triggers import EventChanges
from chalicelib.settings import Settings
from tests.markdown import ROOT, blocks
from tests.unit.services.baton import Crash, Runner, Turns
from tests.unit.services.trigger_stage import ADMIN, MINE, THEIRS, TriggerStage


def event(number=1, *, source="x", topic="t", **detail):
    """An event as EventBridge delivers it."""
    return {
        "version": "0",
        "id": f"event-{number}",
        "source": source,
        "detail-type": topic,
        "account": "123456789012",
        "time": "2023-11-14T22:13:20Z",
        "region": "us-east-1",
        "resources": [],
        "detail": {"event_type": "e", "context": {"project_id": "mine", "user_id": "me"}, **detail},
    }


@pytest.fixture
def stage():
    return TriggerStage(auth="authorizer", stage="dev")


def started_with(stage, workflow="w", project_id="mine"):
    store = stage.container.executions
    return [store.value(found.id, found.params) for found in stage.executions(workflow, project_id)]


def handle(stage, *arguments, **detail):
    return stage.container.event_door.handle(event(*arguments, **detail))


def test_an_event_starts_what_waits_for_it(stage):
    trigger = stage.waiting_for(stage.upload("w").id, workflow_params={"env": {"k": 1}, "event_params": "not this"})
    assert handle(stage, publisher="compute.host", timestamp="2023-11-14 22:13:20.5") == 1

    [execution] = stage.executions()
    assert json.loads(execution.description) == {
        "description": f"Workflow execution created by event trigger '({trigger.id})'.",
        "triggered_by": {"type": "event_trigger", "id": trigger.id, "name": "e"},
    }
    [params] = started_with(stage)
    assert params["env"] == {"k": 1}
    assert params["event_params"] == {
        "service": "compute.host",
        "project_id": "mine",
        "user_id": "me",
        "timestamp": "2023-11-14 22:13:20.5",
    }


def test_what_an_event_does_not_say_is_taken_from_its_envelope(stage):
    stage.waiting_for(stage.upload("w").id)
    handle(stage)
    [params] = started_with(stage)
    assert (params["event_params"]["service"], params["event_params"]["timestamp"]) == ("x", "2023-11-14T22:13:20Z")


def test_an_event_that_comes_again_starts_nothing_more(stage):
    stage.waiting_for(stage.upload("w").id)
    for number in (1, 1, 2, 1):
        handle(stage, number)
    assert len(stage.executions()) == 2


@pytest.mark.parametrize("other", [{"source": "y"}, {"topic": "T"}, {"event_type": "e.start"}])
def test_only_exactly_what_it_waits_for_fires_a_trigger(stage, other):
    stage.waiting_for(stage.upload("w").id)
    assert handle(stage, **other) == 0
    assert stage.executions() == []


@pytest.mark.parametrize("detail", [None, "text", {}, {"event_type": 5}, {"event_type": None}])
def test_an_event_without_a_type_fires_nothing(stage, detail):
    stage.waiting_for(stage.upload("w").id)
    assert stage.container.event_door.handle({**event(), "detail": detail}) == 0


def test_a_private_trigger_fires_for_its_own_project_only(stage):
    for access in (MINE, THEIRS):
        stage.waiting_for(stage.upload("w", access).id, access=access)
    assert handle(stage) == 1
    assert (len(stage.executions()), stage.executions(project_id="theirs")) == (1, [])
    for context in ({}, None, "mine", {"project_id": "others"}):
        assert handle(stage, 2, context=context) == 0


def test_a_public_trigger_fires_for_all_projects_as_its_owner(stage):
    stage.waiting_for(stage.upload("w", ADMIN).id, access=ADMIN, scope="public")
    handle(stage, context={"project_id": "others"})
    handle(stage, 2, context={})
    assert len(stage.executions(project_id="admin")) == 2


def test_without_authentication_an_event_of_nobody_is_everybodys():
    stage = TriggerStage()
    access = replace(MINE, project_id="<default-project>")
    stage.waiting_for(stage.upload("w", access).id, access=access)
    assert handle(stage, context={}) == 1


def test_several_triggers_wait_for_one_event(stage):
    for name in ("a", "b", "c"):
        stage.waiting_for(stage.upload(name).id)
    assert handle(stage) == 3


def test_a_trigger_that_was_changed_fires_as_it_is_now(stage):
    first, second = stage.upload("a"), stage.upload("b")
    trigger = stage.waiting_for(first.id)
    stage.triggers.update_event(MINE, trigger.id, EventChanges(workflow_id=second.id))
    handle(stage)
    assert (len(stage.executions("a")), len(stage.executions("b"))) == (0, 1)


def test_a_start_that_is_refused_is_recorded_and_the_others_go_on(stage):
    broken = stage.waiting_for(stage.upload("a").id)
    stage.waiting_for(stage.upload("b").id)
    text = b"version: '2.0'\na: {input: [must], tasks: {t: {action: std.noop}}}"
    stage.container.definitions.update(Kind.WORKFLOW, MINE, text, Placement())
    assert handle(stage) == 2
    assert "missing=['must']" in stage.stored(broken).last_error
    assert len(stage.executions("b")) == 1

    stage.container.definitions.update(Kind.WORKFLOW, MINE, text.replace(b"[must]", b"[{must: 1}]"), Placement())
    handle(stage, 2)
    assert stage.stored(broken).last_error is None


class BrokenTable(MemoryTable):
    """Executions of one workflow cannot be written."""

    broken = ""

    def write(self, writes):
        if self.broken and any(self.broken in str(getattr(write, "item", "")) for write in writes):
            raise OSError("the table is away")
        super().write(writes)


def test_a_failure_of_ours_asks_for_the_event_again(stage):
    table = BrokenTable()
    stage.ports = replace(stage.ports, executions=table)
    stage.container = stage.process()
    for name in ("aaaa", "bbbb"):
        stage.waiting_for(stage.upload(name).id)
    table.broken = "sort='aaaa"
    with pytest.raises(MistralError, match="has still to fire 1 triggers; it did fire 1"):
        handle(stage)
    assert len(stage.executions("bbbb")) == 1
    table.broken = ""
    assert handle(stage) == 2
    assert (len(stage.executions("aaaa")), len(stage.executions("bbbb"))) == (1, 1)


def test_what_there_is_no_time_for_asks_for_the_event_again(stage):
    stage.waiting_for(stage.upload("w").id)
    with pytest.raises(MistralError, match="still to fire 1"):
        stage.container.event_door.handle(event(), until=stage.clock.now())
    assert stage.executions() == []


class Sole(Turns):
    """A baton that nobody else wants."""

    def wait(self, number):
        """At once."""


@pytest.mark.parametrize("seed", range(5))
def test_a_crash_at_any_call_and_a_second_delivery_start_each_workflow_once(seed):
    for calls in range(40):
        stage = TriggerStage(auth="authorizer", stage="dev")
        for name in ("a", "b"):
            stage.waiting_for(stage.upload(name).id)
        runner = Runner(0, Sole(), SeededEntropy(seed * 100 + calls)._random)
        runner.calls_left = calls
        ports = stage.ports
        guarded = {name: runner.guard(getattr(ports, name)) for name in ("executions", "definitions", "queue")}
        process = stage.process(**guarded)
        try:
            process.event_door.handle(event())
            has_crashed = False
        except Crash:
            has_crashed = True
        handle(stage)
        assert (len(stage.executions("a")), len(stage.executions("b"))) == (1, 1)
        if not has_crashed:
            break
    else:
        raise AssertionError("there are more calls than this test tries")
    assert calls > 5


# -- what workflows are told


def test_definitions_say_what_a_workflow_is_told():
    definitions = json.dumps(
        [
            {"event_types": ["compute.*"], "properties": {"all": True}},
            {
                "event_types": "compute.instance.*",
                "properties": {
                    "id": "<% $.payload.id %>",
                    "who": "{{ _.context.user_id }}",
                    "of": "<% $.event_type %>",
                },
            },
        ]
    )
    settings = Settings.from_environment({"MISTRAL_EVENT_DEFINITIONS": definitions})
    stage = TriggerStage(event_definitions=settings.event_definitions)
    for name, waited in (("a", "compute.instance.create"), ("b", "compute.host"), ("c", "network")):
        stage.waiting_for(stage.upload(name).id, event=waited)
        handle(stage, event_type=waited, payload={"id": 7})

    told = {name: started_with(stage, name)[0]["event_params"] for name in ("a", "b", "c")}
    assert told["a"] == {"id": 7, "who": "me", "of": "compute.instance.create"}
    assert told["b"] == {"all": True}
    assert told["c"]["service"] == "x"


def test_a_property_that_fails_is_recorded():
    definition = EventDefinition(("*",), {"x": "<% $.payload.nothing.more %>", "y": "{{ _.nothing.more }}"})
    stage = TriggerStage(event_definitions=(definition,))
    trigger = stage.waiting_for(stage.upload("w").id)
    assert handle(stage) == 1
    assert stage.stored(trigger).last_error
    assert stage.executions() == []


@pytest.mark.parametrize("text", ["{", "5", "[5]", '[{"event_types": "a"}]', '[{"event_types": 5, "properties": {}}]'])
def test_definitions_that_make_no_sense_are_refused(text):
    with pytest.raises(MistralError, match="MISTRAL_EVENT_DEFINITIONS is a JSON list"):
        event_definitions(text)


def test_no_definitions_are_none():
    assert event_definitions("") == event_definitions("[]") == ()


def test_the_examples_of_the_documentation_do_what_they_say():
    examples = [json.loads(block.text) for block in blocks("text", ROOT / "docs/triggers.md")]
    [sent] = [one for one in examples if "Source" in one]
    [definitions] = [one for one in examples if isinstance(one, list)]
    [asked] = [one for one in examples if "workflow_params" in one]
    detail = json.loads(sent["Detail"])
    stage = TriggerStage(event_definitions=event_definitions(json.dumps(definitions)), auth="authorizer", stage="dev")
    owner = replace(MINE, project_id=detail["context"]["project_id"])
    workflow = stage.upload("w", owner, text="input: [size, vm_id], tasks: {t: {action: std.noop}}")
    names = {name: asked[name] for name in ("exchange", "topic", "event", "workflow_input", "workflow_params")}
    assert names["event"] == detail["event_type"]
    stage.waiting_for(workflow.id, access=owner, **names)
    assert stage.container.event_door.handle(event(source=sent["Source"], topic=sent["DetailType"], **detail)) == 1
    [params] = started_with(stage, project_id=owner.project_id)
    assert params["event_params"] == {"instance_id": "i-1", "resource": "compute.host1"}
    assert "event_input" not in params
    [execution] = stage.executions(project_id=owner.project_id)
    assert stage.container.executions.value(execution.id, execution.input) == {"size": "small", "vm_id": "i-1"}


def test_an_event_of_aws_has_its_kind_for_a_type_and_its_detail_for_a_payload():
    stage = TriggerStage()
    access = replace(MINE, project_id="<default-project>")
    workflow = stage.upload("w", access, text="input: [key], tasks: {t: {action: std.noop}}")
    stage.waiting_for(
        workflow.id,
        access=access,
        exchange="aws.s3",
        topic="Object Created",
        event="Object Created",
        workflow_params={"event_input": {"key": "<% $.payload.object.key %>"}},
    )
    delivered = event(source="aws.s3", topic="Object Created")
    delivered["detail"] = {"bucket": {"name": "b"}, "object": {"key": "a.txt"}}
    assert stage.container.event_door.handle(delivered) == 1
    [execution] = stage.executions(project_id=access.project_id)
    assert stage.container.executions.value(execution.id, execution.input) == {"key": "a.txt"}


def test_an_input_that_an_event_cannot_fill_is_recorded():
    stage = TriggerStage(auth="authorizer", stage="dev")
    trigger = stage.waiting_for(stage.upload("w").id, workflow_params={"event_input": "<% $.payload.id %>"})
    assert handle(stage, payload={"id": 7}) == 1
    assert "event_input gives no object" in stage.stored(trigger).last_error
    assert stage.executions() == []
