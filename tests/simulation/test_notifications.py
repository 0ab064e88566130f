"""Publishers in an unkind world: each hears of every event that it wants, in order, whatever dies, is lost or repeated.

What they heard is held against the notices that the executions have stored (``oracles.Watcher``); what the notices
say, against the states that the executions went through.
"""

import logging
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.simulation.faults import Delivery, Fault, OneFault
from tests.simulation.runs import check_redelivery, plan_of, run_plan
from tests.simulation.workflows import Case
from tests.simulation.world import Circumstances, World

SEEDS_PER_BATCH = 10
CALLS_MAX = 2000
PUBLISHERS = {
    "notify": [
        {"type": "noop", "name": "all"},
        {"type": "noop", "name": "ends", "event_types": ["WORKFLOW_SUCCEEDED", "WORKFLOW_FAILED", "TASK_FAILED"]},
        {"type": "noop", "name": "starts", "event_types": ["WORKFLOW_LAUNCHED", "TASK_LAUNCHED"]},
    ]
}
FAMILY = """
version: '2.0'
family:
  tasks:
    first: {action: sim.work value=1, on-success: [left, right]}
    left: {workflow: child, on-complete: end}
    right: {action: std.fail, retry: {count: 1, delay: 2}, on-complete: end}
    end: {action: std.noop, join: all}
child:
  tasks:
    only: {action: sim.work value=2, wait-before: 3}
"""


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def family(circumstances: Circumstances, seed: int = 0) -> World:
    world = World(FAMILY, seed, circumstances)
    world.start("family", {}, PUBLISHERS)
    world.run()
    return world


def events_of(world: World, depth: int) -> list[tuple[str, str | None]]:
    header = next(header for header in world.headers() if header.depth == depth)
    return [(notice.name, notice.event) for notice in world.store.notices(header.id, 0)]


def test_what_is_told_is_what_became_of_the_executions():
    world = family(Circumstances())

    assert events_of(world, 1) == [
        ("child", "WORKFLOW_LAUNCHED"),
        ("only", "TASK_LAUNCHED"),
        ("only", None),
        ("only", "TASK_LAUNCHED"),
        ("only", "TASK_SUCCEEDED"),
        ("child", "WORKFLOW_SUCCEEDED"),
    ]
    assert [event for name, event in events_of(world, 0) if name == "right"] == [
        "TASK_LAUNCHED",
        "TASK_FAILED",
        None,
        "TASK_LAUNCHED",
        "TASK_FAILED",
    ]


@pytest.mark.parametrize("kind", [Fault.CRASH_BEFORE, Fault.CRASH_AFTER])
def test_a_crash_at_any_call_leaves_no_event_untold(kind: Fault):
    calls = family(Circumstances(faults=OneFault(-1, Fault.NONE), clocks=1)).port_calls
    assert 0 < calls < CALLS_MAX

    for call in range(1, calls + 1):
        world = family(Circumstances(faults=OneFault(call, kind), clocks=1))
        check_redelivery(world)


@pytest.mark.parametrize("seed", range(12))
def test_deaf_publishers_and_lost_late_or_repeated_messages_leave_no_event_untold(seed: int):
    delivery = Delivery(lost=0.2, duplicated=0.3, late=0.3, late_max_sec=60.0, in_order=False)

    world = family(Circumstances(delivery=delivery, doors=3, deaf=0.3), seed)

    assert world.told["all", "client-0"]


@pytest.mark.parametrize("batch", range(4))
def test_every_seed_tells_its_publishers(batch: int):
    faults = []
    for seed in range(batch * SEEDS_PER_BATCH, (batch + 1) * SEEDS_PER_BATCH):
        plan = plan_of(seed)
        case: Case = replace(plan.case, params={**plan.case.params, **PUBLISHERS})
        plan = replace(plan, case=case, circumstances=replace(plan.circumstances, deaf=0.2))
        try:
            run_plan(plan)
        except Exception as error:  # noqa: BLE001 - whatever goes wrong belongs to its seed
            faults.append(f"seed {seed}: {type(error).__name__}: {error}"[:600])
    assert faults == []
