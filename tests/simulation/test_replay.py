"""Histories: from them the records of an execution can be made again, after each turn and at the end."""

from dataclasses import replace

import pytest

from chalicelib.engine.events import ActionCompleted, ActionUpdated, RerunRequested, SkipRequested
from chalicelib.engine.records import ActionExecution
from chalicelib.services.execution_history import turns
from chalicelib.vocabulary import Result, State
from tests.simulation.rebuilding import differences, replay_of
from tests.simulation.runs import bounds, check_history, start, undisturbed
from tests.simulation.workflows import CORPUS, Case
from tests.simulation.world import World


@pytest.mark.parametrize("title", CORPUS)
@pytest.mark.parametrize("small", [False, True], ids=["as it is", "within small bounds"])
def test_every_workflow_is_made_again_from_its_history(title: str, small: bool):
    with bounds(small=small):
        check_history(undisturbed(CORPUS[title]))


def test_a_history_cut_short_gives_the_execution_as_it_was_then():
    world = undisturbed(CORPUS["a chain of real actions"])
    header = world.headers()[0]

    states = [
        (str(replayed.header.state), sorted(task.name for task in replayed.tasks.values()))
        for turns_max in (1, 2, 3, 4)
        for replayed in (replay_of(world).replay(header, turns_max=turns_max),)
    ]

    assert states == [
        ("RUNNING", ["a"]),
        ("RUNNING", ["a", "b"]),
        ("RUNNING", ["a", "b", "c"]),
        ("SUCCESS", ["a", "b", "c"]),
    ]


def test_values_that_change_later_are_made_again_as_they_were_at_the_beginning():
    world = undisturbed(
        Case("""
version: '2.0'
main:
  vars: {n: <% uuid() %>, large: <% str(0) * 50000 %>}
  tasks:
    a: {action: sim.work value=1, publish: {x: <% random() %>}, on-success: b}
    b:
      action: sim.work value=2
      keep-result: false
      on-success: {publish: {branch: {b: <% task().result %>}, global: {n: <% uuid() %>}}, next: c}
    c: {action: sim.work value=<% $.b %>, publish: {n: <% $.n %>, at: <% execution().updated_at %>}}
""")
    )

    assert world.headers()[0].state == "SUCCESS"
    check_history(world)


def test_pages_of_history_are_written_before_their_header_and_read_in_order():
    world = undisturbed(long_chain(60))
    header = world.headers()[0]
    found = list(turns(world.store, header))

    assert header.turns_paged > 0
    assert [turn.number for turn in found] == list(range(len(found)))
    assert [turn.number for turn in turns(world.store, header, first=17)] == list(range(17, len(found)))
    assert differences(world, header) == []


def test_a_history_that_was_changed_shows():
    world = undisturbed(CORPUS["a fork and its join"])
    header = world.headers()[0]
    base, first, *others = header.turns
    wrong = replace(header, turns=(base, first, *others[:-1]))

    assert differences(world, wrong)


def long_chain(length: int) -> Case:
    tasks = [f"    t{n}: {{action: sim.work, on-success: t{n + 1}}}" for n in range(length)]
    return Case("\n".join(["version: '2.0'", "main:", "  tasks:", *tasks, f"    t{length}: {{action: std.noop}}"]))


def test_operators_commands_with_an_environment_are_made_again():
    case = CORPUS["a failure that is not handled"]
    world = World(case.text)
    start(world, case)
    world.run()
    header = world.headers()[0]
    failed = next(task for task in world.store.tasks(header) if task.state == "ERROR")
    world.watcher.revives = True
    world.sends(header.id, RerunRequested(failed.ordinal, reset=True, env={"password": "hidden", "long": "x" * 40_000}))
    world.run()
    world.sends(header.id, SkipRequested(failed.ordinal))
    world.run()

    assert world.headers()[0].state == "SUCCESS"
    check_history(world)


def test_an_action_that_ended_twice_is_made_again_with_both_its_results():
    world = World("version: '2.0'\nmain:\n  tasks:\n    t: {action: std.async_noop}\n")
    world.watcher.revives = True
    first, again, second = (
        ActionCompleted(1, 0, Result(error="first")),
        ActionUpdated(1, 0, State.RUNNING),
        ActionCompleted(1, 0, Result(data="second")),
    )
    world.start("main")
    world.appoint(1.0, lambda: world.sends(world.headers()[0].id, first))
    world.run()
    for event in (again, second):
        world.sends(world.headers()[0].id, event)
        world.run()

    assert [action.result for action in actions_of(world)] == [Result(data="second")]
    check_history(world)


def actions_of(world: World) -> list[ActionExecution]:
    header = world.headers()[0]
    return [action for task in world.store.tasks(header) for action in world.store.actions(header, task)]
