"""Token buckets: in one process, and shared by all."""

import pytest

from chalicelib import limits
from chalicelib.adapters.memory import ManualClock, MemoryTable
from chalicelib.errors import ConflictException
from chalicelib.services.rates import Buckets, ProjectRates, Rate


def allowed(rates, project_id="alpha", asked=1000):
    return sum(rates.take(project_id) == 0 for _ in range(asked))


def test_a_bucket_gives_its_burst_and_then_its_rate():
    clock = ManualClock()
    buckets = Buckets(Rate(2.0, 5), clock)

    assert allowed(buckets) == 5
    assert buckets.take("alpha") == pytest.approx(0.5)
    clock.advance(1)
    assert allowed(buckets) == 2
    clock.advance(3600)
    assert allowed(buckets) == 5


def test_looking_at_a_bucket_takes_nothing():
    buckets = Buckets(Rate(1.0, 1), ManualClock())

    assert [buckets.wait_sec("a") for _ in range(3)] == [0, 0, 0]
    assert buckets.take("a") == 0
    assert buckets.wait_sec("a") == pytest.approx(1.0)


def test_buckets_are_bounded_in_number(monkeypatch):
    monkeypatch.setattr(limits, "RATE_BUCKETS_MAX", 3)
    buckets = Buckets(Rate(1.0, 1), ManualClock())
    for name in "abcdef":
        buckets.take(name)

    assert len(buckets._buckets) == 3
    assert buckets.wait_sec("f") > 0


@pytest.mark.parametrize(("per_sec", "burst"), [(1.0, 1), (10.0, 20), (50.0, 400)])
def test_all_processes_together_keep_to_the_rate(per_sec, burst):
    clock, table = ManualClock(), MemoryTable()
    processes = [ProjectRates(Rate(per_sec, burst), table, clock) for _ in range(5)]

    def all_ask():
        return sum(process.take("alpha") == 0 for _ in range(200) for process in processes)

    assert all_ask() == burst
    total = burst
    for _ in range(20):
        clock.advance(0.5)
        total += all_ask()
    assert 0.8 * per_sec * 10 <= total - burst <= per_sec * 10 + 1


def test_projects_do_not_share():
    clock, table = ManualClock(), MemoryTable()
    rates = ProjectRates(Rate(1.0, 3), table, clock)

    assert (allowed(rates, "alpha"), allowed(rates, "beta"), allowed(rates, "a#b"), allowed(rates, "a%23b")) == (3,) * 4


def test_who_has_to_wait_costs_nothing_until_then():
    class Counted(MemoryTable):
        reads = writes = 0

        def get(self, *arguments, **options):
            self.reads += 1
            return super().get(*arguments, **options)

        def write(self, writes):
            self.writes += 1
            super().write(writes)

    clock, table = ManualClock(), Counted()
    rates = ProjectRates(Rate(10.0, 80), table, clock)

    assert allowed(rates, asked=10_000) == 80
    assert (table.reads, table.writes) == (9, 8)


def test_a_race_for_tokens_is_lost_without_losing_count():
    class Contested(MemoryTable):
        fails = 2

        def write(self, writes):
            if self.fails:
                self.fails -= 1
                raise ConflictException("somebody was faster")
            super().write(writes)

    rates = ProjectRates(Rate(1.0, 3), Contested(), ManualClock())

    assert allowed(rates) == 3


def test_where_everybody_else_is_faster_one_has_to_wait():
    class Lost(MemoryTable):
        def write(self, writes):
            raise ConflictException("somebody was faster")

    assert ProjectRates(Rate(2.0, 3), Lost(), ManualClock()).take("alpha") == pytest.approx(0.5)
