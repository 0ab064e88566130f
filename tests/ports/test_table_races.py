"""Many writers at once: every conditional write has one winner, and no index entry is left behind."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from chalicelib.errors import ConflictException
from chalicelib.services.ports import IndexKey, Item, Put, Table, Write

WRITERS = 8
ROUNDS = 12


def wins(table: Table, writes: list[Write]) -> bool:
    try:
        table.write(writes)
    except ConflictException:
        return False
    return True


def race(attempt: Callable[[int], bool]) -> list[int]:
    """Let all writers start together; give those that won."""
    start = Barrier(WRITERS)

    def run(writer: int) -> bool:
        start.wait(timeout=30)
        return attempt(writer)

    with ThreadPoolExecutor(WRITERS) as pool:
        return [writer for writer, won in enumerate(pool.map(run, range(WRITERS))) if won]


def a_revision(number: int, writer: int) -> Item:
    return Item("p", "header", b"%d" % writer, number, {"alarm": IndexKey("shard", f"{number}-{writer}")})


def test_each_revision_has_exactly_one_winner(table: Table):
    for number in range(ROUNDS):
        winners = race(lambda writer, n=number: wins(table, [Put(a_revision(n + 1, writer), expected=n)]))  # type: ignore[misc]
        assert len(winners) == 1
        found = table.get("p", ["header"])["header"]
        assert (found.revision, found.body) == (number + 1, b"%d" % winners[0])
        assert [entry.sort for entry in table.list_index("alarm", "shard", limit=99)] == [f"{number + 1}-{winners[0]}"]


def test_of_rival_transactions_one_wins_and_the_others_leave_nothing(table: Table):
    def attempt(number: int, writer: int) -> bool:
        own = Item("p", f"task#{number:02}#{writer}", b"{}")
        return wins(table, [Put(a_revision(number + 1, writer), expected=number), Put(own, expected=0)])

    expected: list[str] = []
    for number in range(ROUNDS):
        winners = race(lambda writer, n=number: attempt(n, writer))  # type: ignore[misc]
        assert len(winners) <= 1  # DynamoDB may cancel all of them as conflicts with one another
        if not winners:
            winners = [writer for writer in (0,) if attempt(number, writer)]
        expected.append(f"task#{number:02}#{winners[0]}")
    assert [item.key for item in table.query("p", prefix="task#")] == expected


def test_a_counter_that_all_writers_raise_loses_no_step(table: Table):
    table.write([Put(Item("p", "counter", b"", 1), expected=0)])

    def raise_it(writer: int) -> bool:
        for _ in range(ROUNDS):
            done = False
            while not done:
                revision = table.get("p", ["counter"])["counter"].revision
                done = wins(table, [Put(Item("p", "counter", b"", revision + 1), expected=revision)])
        return True

    assert len(race(raise_it)) == WRITERS
    assert table.get("p", ["counter"])["counter"].revision == 1 + WRITERS * ROUNDS


def test_transactions_that_touch_different_items_do_not_wipe_one_another(table: Table):
    def fill(writer: int) -> bool:
        for number in range(ROUNDS):
            pair = [Item("p", f"{writer}#{number:02}#{half}", b"") for half in "ab"]
            while not wins(table, [Put(item, expected=0) for item in pair]):
                pass
            wins(table, [Put(pair[0], expected=0), Put(Item("p", "never", b""))])
        return True

    race(fill)
    assert len(table.query("p")) == WRITERS * ROUNDS * 2
