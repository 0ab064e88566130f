"""Actions that run on their own tell what those of tasks tell: metrics, spans, a line of the log for each state."""

import logging

import pytest

from chalicelib.services.action_run_records import RunRequest
from chalicelib.services.telemetry import ACTION, NoTelemetry
from tests.unit.services.test_telemetry import Measured


def runs(world, **request):
    """Start one, and let an executor do what there is to do."""
    world.container.action_runs.start(RunRequest("p1", **request))
    while (at := world.queue.next_visible_at("tasks")) is not None:
        world.clock.set(max(at, world.clock.now()))
        for received in world.queue.receive("tasks", messages_max=1):
            world.container.action_runs.run(received.body["x"])
            world.queue.delete(received)


@pytest.mark.parametrize("is_saved", [False, True], ids=["at once", "by an executor"])
@pytest.mark.parametrize(
    ("name", "metric"),
    [("std.echo", "ActionsSucceeded"), ("std.fail", "ActionsFailed"), ("std.async_noop", "ActionsStarted")],
)
def test_an_action_on_its_own_is_counted_and_timed_once(name, metric, is_saved):
    world = Measured(metrics="emf")
    with world.telemetry.invocation("executor", "r"):
        runs(world, name=name, input={"output": 1} if name == "std.echo" else {}, save_result=is_saved)
    [line] = world.told()
    assert {key for key in line if key.startswith("Actions")} == {metric}
    assert line[metric] == 1
    assert len(line["ActionMsec"]) == 1


def test_its_states_are_lines_of_the_log_with_its_id_and_no_values(caplog):
    world = Measured()
    with caplog.at_level(logging.INFO, "mistral"):
        runs(world, name="std.echo", input={"output": "a value"}, save_result=True)
    told = [record.mistral for record in caplog.records]
    assert [(each["before"], each["after"]) for each in told] == [(None, "RUNNING"), ("RUNNING", "SUCCESS")]
    assert {each["action"] for each in told} == {"std.echo"}
    assert len({each["action_execution"] for each in told} - {None}) == 1
    assert "a value" not in caplog.text


class Noted(NoTelemetry):
    """Remembers what was timed."""

    def __init__(self):
        self.spans: list[tuple[str, dict[str, str]]] = []

    def timed(self, kind, facts):
        self.spans.append((kind, dict(facts)))
        return super().timed(kind, facts)


def test_it_is_a_span_with_its_name_and_id():
    world, noted = Measured(), Noted()
    world.container.action_runs._telemetry = noted
    runs(world, name="std.echo", input={"output": 1}, save_result=True)
    [(kind, facts)] = noted.spans
    assert (kind, facts["name"]) == (ACTION, "std.echo")
    assert world.container.action_runs.find(facts["action"]) is not None
