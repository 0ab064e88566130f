"""Clocks, and where fresh identity comes from."""

from __future__ import annotations

import time

import pytest

from chalicelib.adapters.clock import SystemClock, SystemEntropy
from chalicelib.adapters.memory import ManualClock, MemoryTable, SeededEntropy
from chalicelib.services.ports import Entropy, Item


def test_the_system_clock_tells_seconds_since_the_epoch():
    before = time.time()
    assert before <= SystemClock().now() <= time.time()


def test_a_manual_clock_stands_until_it_is_moved_and_never_goes_back():
    clock = ManualClock(100)
    assert clock.now() == clock.now() == 100
    assert clock.advance(2.5) == clock.now() == 102.5
    clock.set(200)
    assert clock.now() == 200
    with pytest.raises(ValueError, match="does not go back"):
        clock.set(199)


@pytest.mark.parametrize("entropy", [SystemEntropy(), SeededEntropy(1)])
def test_tokens_are_sixteen_bytes_and_never_the_same(entropy: Entropy):
    tokens = {entropy.token() for _ in range(100)}
    assert len(tokens) == 100
    assert {len(token) for token in tokens} == {16}


def test_a_seed_decides_all_tokens():
    one, same, other = SeededEntropy(1), SeededEntropy(1), SeededEntropy(2)
    tokens = [one.token() for _ in range(3)]
    assert tokens == [same.token() for _ in range(3)]
    assert tokens != [other.token() for _ in range(3)]


def test_the_memory_table_forgets_what_has_expired_when_told_the_time():
    table = MemoryTable()
    table.write_bulk(Item("p", key, b"", expires_at_sec=at) for key, at in (("a", 10), ("b", 20), ("c", None)))
    assert table.remove_expired(15) == 1
    assert [item.key for item in table.query("p")] == ["b", "c"]
