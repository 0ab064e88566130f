"""Cron-triggers in an unkind world: once for each due time, through a thousand days."""

import logging
from collections.abc import Iterator

import pytest

from tests.simulation.cron import BEGIN, CASES, DAY, CronWorld, due_times

DAYS = 1000


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("seed", [1])
def test_each_due_time_of_a_thousand_days_has_its_one_execution(seed: int):
    world = CronWorld(seed, DAYS)
    world.run()
    counts = {case.name: world.check(case) for case in CASES}
    assert counts["berlin"] == DAYS
    assert counts["leap"] == 1
    assert sum(counts.values()) > 2 * DAYS
    # The world was unkind indeed.
    assert len(world.outages) >= 5
    assert world.crashes >= 100
    assert min(world.lost, world.doubled) >= 100


@pytest.mark.parametrize("seed", range(2, 5))
def test_so_has_each_of_a_hundred_days_in_other_ways(seed: int):
    world = CronWorld(seed, 100)
    world.run()
    for case in CASES:
        world.check(case)


def test_the_same_seed_is_the_same_world():
    worlds = [CronWorld(11, 40) for _ in range(2)]
    for world in worlds:
        world.run()
    first, second = ([*world.outages, world.crashes, world.lost, world.doubled] for world in worlds)
    assert first == second
    assert worlds[0].started(CASES[1]) == worlds[1].started(CASES[1])


def test_days_with_changing_clocks_are_among_them():
    shown = {case.name: len(due_times(case, BEGIN, BEGIN + 366 * DAY)) for case in CASES}
    # Hours of Sundays in two months, one of them without an hour and one with an hour more.
    assert shown["sundays"] == 24 * 9
    assert shown["berlin"] == 366
