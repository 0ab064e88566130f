"""Fairness between tenants: one with many items does not keep another one waiting."""

from dataclasses import replace

import pytest

from benchmarks.fairness import Case, play
from chalicelib.adapters.memory import ManualClock
from chalicelib.adapters.queues import group_of
from chalicelib.engine.effects import RunAction
from chalicelib.limits import CARRIED_ITEMS_MAX_SEC, CARRIED_WHILE_OTHERS_WAIT_MAX_SEC, QUEUE_BUSY_AFTER_SEC
from chalicelib.services.batches import waited_sec_of
from chalicelib.services.carriers import Thread

# The large run is `python -m benchmarks fairness`, of 100,000 items.
ALONE = Case(0, quiet_runs=16)
MOST = 2.0


@pytest.mark.parametrize("concurrency", [0, 100, 10])
def test_a_tenant_with_many_items_slows_another_one_by_less_than_two(concurrency: int):
    beside = play(replace(ALONE, items_count=800, concurrency=concurrency))
    assert beside.noisy_was_at_work
    assert beside.mean_sec < MOST * play(ALONE).mean_sec


def test_in_a_queue_without_tenants_the_other_one_waits_for_all_the_items():
    beside = play(replace(ALONE, items_count=400, is_fair=False, quiet_runs=4))
    assert beside.mean_sec > 5 * MOST * play(ALONE).mean_sec


def _thread_after(seconds: float, waited_sec: float) -> Thread:
    clock = ManualClock(1000.0)
    thread = Thread("m", 1000.0 + 900, clock, waited_sec=waited_sec)
    clock.advance(seconds)
    return thread


def test_who_finds_a_busy_queue_soon_looks_into_it_again():
    action = RunAction(1, 0)
    assert _thread_after(0.0, QUEUE_BUSY_AFTER_SEC).claim_for(action) is not None
    assert _thread_after(CARRIED_WHILE_OTHERS_WAIT_MAX_SEC, QUEUE_BUSY_AFTER_SEC).claim_for(action) is None
    assert _thread_after(CARRIED_WHILE_OTHERS_WAIT_MAX_SEC, 0.0).claim_for(action) is not None


def test_nobody_carries_on_with_items_for_long():
    action = RunAction(1, 0)
    assert _thread_after(CARRIED_ITEMS_MAX_SEC / 2, 0.0).claim_for(action, is_item=True) is not None
    assert _thread_after(CARRIED_ITEMS_MAX_SEC, 0.0).claim_for(action, is_item=True) is None
    assert _thread_after(CARRIED_ITEMS_MAX_SEC, 0.0).claim_for(action) is not None


def test_a_message_has_waited_since_it_was_sent_or_since_it_was_due():
    record = {"attributes": {"SentTimestamp": "990000"}}
    assert waited_sec_of(record, {"kind": "action"}, 1000.0) == 10
    assert waited_sec_of(record, {"kind": "timer", "d": 998.0}, 1000.0) == 2
    assert waited_sec_of(record, {"kind": "action", "p": 1}, 1000.0) == 0
    assert waited_sec_of({}, {"kind": "action"}, 1000.0) == 0


def test_a_tenant_whose_name_sqs_would_refuse_has_a_group_of_its_own():
    assert group_of("acme-1") == "acme-1"
    assert group_of("a b") != group_of("a c")
    assert len(group_of("ü" * 80)) == 64
