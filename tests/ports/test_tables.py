"""What every ``Table`` promises, on every backend."""

from __future__ import annotations

import pytest

from chalicelib.adapters.bounds import check_item
from chalicelib.errors import ConflictException, SizeLimitExceededException
from chalicelib.services.ports import Check, Delete, IndexEntry, IndexKey, Item, Put, Table

ALL_BYTES = bytes(range(256))


def an_item(
    key: str = "header", body: bytes = b"{}", *, partition: str = "p", revision: int = 0, **indexes: str
) -> Item:
    places = {index: IndexKey(*place.split("/")) for index, place in indexes.items()}
    return Item(partition, key, body, revision, places)


def keys(items: list[Item]) -> list[str]:
    return [item.key for item in items]


def sorts(entries: list[IndexEntry]) -> list[str]:
    return [entry.sort for entry in entries]


# --- get


def test_an_item_comes_back_as_it_was_written(table: Table):
    item = Item(
        "p", "header", ALL_BYTES, 7, {"listing": IndexKey("v", "1"), "alarm": IndexKey("w", "2")}, 1_760_000_000
    )
    table.write([Put(item)])
    assert table.get("p", ["header"]) == {"header": item}


def test_an_empty_body_and_odd_keys_survive(table: Table):
    items = [an_item(key, b"") for key in ("ключ", "鍵#1", "🔑", "a b/c\n", "é", "e\u0301")]
    table.write_bulk(items)
    assert table.get("p", [item.key for item in items]) == {item.key: item for item in items}


def test_what_does_not_exist_is_left_out(table: Table):
    table.write([Put(an_item("a"))])
    assert table.get("p", ["a", "b"]).keys() == {"a"}
    assert table.get("p", ["b"]) == {}
    assert table.get("q", ["a"]) == {}


def test_asking_for_nothing_gives_nothing(table: Table):
    assert table.get("p", []) == {}
    assert table.get_many([]) == {}
    assert table.query("p") == []
    assert table.query("p", limit=0) == []
    assert table.list_index("listing", "v", limit=0) == []
    assert table.list_index("listing", "v", limit=10) == []
    table.write([])
    table.write_bulk([])


def test_more_keys_than_one_request_holds_are_all_found(table: Table):
    table.write_bulk(an_item(f"task#{number:03}") for number in range(230))
    found = table.get("p", [f"task#{number:03}" for number in range(230)])
    assert len(found) == 230


def test_a_key_that_is_asked_for_twice_is_found_once(table: Table):
    table.write([Put(an_item("a"))])
    assert table.get("p", ["a", "a"]).keys() == {"a"}
    assert table.get_many([("p", "a"), ("p", "a"), ("p", "b")]).keys() == {("p", "a")}


def test_items_of_several_partitions_come_in_one_call(table: Table):
    items = [an_item(partition=partition) for partition in ("p", "q", "r")]
    table.write_bulk(items)
    assert table.get_many((item.partition, item.key) for item in items) == {(i.partition, i.key): i for i in items}


def test_more_bytes_than_one_batch_answers_are_all_found(dynamo_table: Table):
    table = dynamo_table
    table.write_bulk(an_item(str(number), bytes(390_000)) for number in range(44))
    assert len(table.get("p", [str(number) for number in range(44)])) == 44


def test_the_store_shares_nothing_with_its_callers(table: Table):
    indexes = {"listing": IndexKey("v", "1")}
    table.write([Put(Item("p", "a", b"1", indexes=indexes))])
    indexes["listing"] = IndexKey("v", "2")
    found = table.get("p", ["a"])["a"]
    assert isinstance(found.indexes, dict)
    found.indexes.clear()
    assert table.get("p", ["a"])["a"].indexes == {"listing": IndexKey("v", "1")}


# --- query


def test_a_query_gives_one_partition_in_the_order_of_its_keys(table: Table):
    written = ["b", "a", "z", "é", "ﬀ", "🔑", "B", "10", "9"]
    table.write_bulk([an_item(key) for key in written] + [an_item("a", partition="q")])
    assert keys(table.query("p")) == sorted(written)
    assert keys(table.query("p", descending=True)) == sorted(written, reverse=True)
    assert keys(table.query("p", consistent=False)) == sorted(written)


def test_a_prefix_selects_what_begins_with_it(table: Table):
    table.write_bulk(an_item(key) for key in ("task", "task#", "task#1", "task#\U0010ffff", "task$", "tas", "ta"))
    assert keys(table.query("p", prefix="task#")) == ["task#", "task#1", "task#\U0010ffff"]
    assert keys(table.query("p", prefix="task#", descending=True, limit=2)) == ["task#\U0010ffff", "task#1"]
    assert keys(table.query("p", prefix="none")) == []


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        ("b", None, "bcd"),
        (None, "b", "ab"),
        ("b", "c", "bc"),
        ("c", "c", "c"),
        ("c", "b", ""),
        ("bb", "bc", ""),
        (None, None, "abcd"),
    ],
)
def test_both_bounds_of_a_query_are_included(table: Table, start: str | None, end: str | None, expected: str):
    table.write_bulk(an_item(key) for key in "abcd")
    assert "".join(keys(table.query("p", start=start, end=end))) == expected
    assert "".join(keys(table.query("p", start=start, end=end, descending=True))) == expected[::-1]


def test_a_limit_gives_the_first_ones_in_the_given_direction(table: Table):
    table.write_bulk(an_item(key) for key in "abcd")
    assert keys(table.query("p", limit=2)) == ["a", "b"]
    assert keys(table.query("p", limit=2, descending=True)) == ["d", "c"]
    assert keys(table.query("p", limit=9)) == ["a", "b", "c", "d"]
    assert keys(table.query("p", start="b", limit=1)) == ["b"]


def test_a_query_goes_on_beyond_one_megabyte(table: Table):
    table.write_bulk(an_item(f"{number:02}", bytes(300_000)) for number in range(10))
    assert keys(table.query("p")) == [f"{number:02}" for number in range(10)]
    assert keys(table.query("p", descending=True, limit=7)) == [f"{number:02}" for number in range(9, 2, -1)]


def test_a_query_by_prefix_and_bounds_at_once_is_refused(table: Table):
    with pytest.raises(ValueError, match="not by both"):
        table.query("p", prefix="a", start="b")


# --- write


def test_an_unconditional_put_replaces_all_of_what_was_there(table: Table):
    table.write([Put(Item("p", "a", b"1", 5, {"listing": IndexKey("v", "1")}, 99))])
    table.write([Put(an_item("a", b"2"))])
    assert table.get("p", ["a"])["a"] == an_item("a", b"2")
    assert table.list_index("listing", "v", limit=10) == []


def test_a_put_that_expects_absence_happens_once(table: Table):
    table.write([Put(an_item("a", b"1"), expected=0)])
    with pytest.raises(ConflictException):
        table.write([Put(an_item("a", b"2"), expected=0)])
    assert table.get("p", ["a"])["a"].body == b"1"


def test_a_put_that_expects_a_revision_needs_exactly_that_one(table: Table):
    table.write([Put(an_item("a", revision=3))])
    for expected in (2, 4, 0):
        with pytest.raises(ConflictException):
            table.write([Put(an_item("a", revision=9), expected=expected)])
    table.write([Put(an_item("a", revision=4), expected=3)])
    assert table.get("p", ["a"])["a"].revision == 4


def test_a_put_that_expects_a_revision_of_nothing_conflicts(table: Table):
    with pytest.raises(ConflictException):
        table.write([Put(an_item("a", revision=2), expected=1)])
    assert table.get("p", ["a"]) == {}


def test_an_item_without_revision_is_not_absent_and_has_no_revision(table: Table):
    table.write([Put(an_item("a"))])
    with pytest.raises(ConflictException):
        table.write([Put(an_item("a"), expected=0)])
    with pytest.raises(ConflictException):
        table.write([Put(an_item("a"), expected=1)])


def test_deleting_what_is_absent_is_no_error(table: Table):
    table.write([Delete("p", "a")])
    assert table.get("p", ["a"]) == {}


def test_a_conditional_delete_needs_its_revision(table: Table):
    table.write([Put(an_item("a", revision=2))])
    with pytest.raises(ConflictException):
        table.write([Delete("p", "a", expected=1)])
    table.write([Delete("p", "a", expected=2)])
    assert table.get("p", ["a"]) == {}
    with pytest.raises(ConflictException):
        table.write([Delete("p", "a", expected=2)])


def test_a_lonely_check_only_checks(table: Table):
    table.write([Put(an_item("a", revision=2))])
    table.write([Check("p", "a", 2)])
    table.write([Check("p", "b", 0)])
    with pytest.raises(ConflictException):
        table.write([Check("p", "a", 1)])
    assert keys(table.query("p")) == ["a"]


def test_a_transaction_does_all_of_its_writes(table: Table):
    table.write_bulk([an_item("a", revision=1), an_item("b", revision=1), an_item("c", revision=1)])
    table.write(
        [
            Put(an_item("a", revision=2), expected=1),
            Delete("p", "b", expected=1),
            Check("p", "c", 1),
            Put(an_item("d", partition="q"), expected=0),
        ]
    )
    assert keys(table.query("p")) == ["a", "c"]
    assert keys(table.query("q")) == ["d"]
    assert table.get("p", ["a"])["a"].revision == 2


@pytest.mark.parametrize(
    "failing",
    [
        Put(an_item("b"), expected=1),
        Put(an_item("a2"), expected=0),
        Delete("p", "a2", expected=9),
        Check("p", "b", 3),
        Check("p", "a2", 0),
    ],
)
def test_a_transaction_with_one_condition_that_fails_does_nothing(table: Table, failing: Put | Delete | Check):
    table.write_bulk([an_item("a", b"old"), an_item("a2", revision=2)])
    with pytest.raises(ConflictException):
        table.write([Put(an_item("a", b"new", listing="v/1")), Put(an_item("c")), failing])
    assert keys(table.query("p")) == ["a", "a2"]
    assert table.get("p", ["a"])["a"].body == b"old"
    assert table.list_index("listing", "v", limit=10) == []


def test_a_transaction_of_a_hundred_items_is_written(table: Table):
    table.write([Put(an_item(f"{number:03}", listing=f"v/{number:03}"), expected=0) for number in range(100)])
    assert len(table.query("p")) == 100
    assert len(table.list_index("listing", "v", limit=1000)) == 100


def test_a_transaction_of_more_than_a_hundred_items_is_refused_with_its_number(table: Table):
    with pytest.raises(ValueError, match=r"transaction of 101 writes; the most is 100"):
        table.write([Put(an_item(f"{number:03}")) for number in range(101)])
    assert table.query("p") == []


def test_a_transaction_that_names_one_item_twice_is_refused(table: Table):
    with pytest.raises(ValueError, match="twice"):
        table.write([Put(an_item("a")), Check("p", "a", 0)])


def test_a_transaction_beyond_four_megabytes_is_refused(table: Table):
    with pytest.raises(SizeLimitExceededException, match="transaction of"):
        table.write([Put(an_item(str(number), bytes(390_000))) for number in range(11)])
    assert table.query("p") == []


def test_an_item_beyond_400_kilobytes_is_refused_and_one_below_is_not(table: Table):
    room = 400 * 1024 - len("pk" + "p" + "sk" + "a" + "body")
    assert check_item(an_item("a", bytes(room))) == 400 * 1024
    table.write([Put(an_item("a", bytes(300_000)))])  # moto reckons a body by its base64
    with pytest.raises(SizeLimitExceededException, match="payload store"):
        table.write([Put(an_item("a", bytes(room + 1)))])
    with pytest.raises(SizeLimitExceededException):
        table.write_bulk([an_item("a", bytes(room + 1))])
    assert len(table.get("p", ["a"])["a"].body) == 300_000


@pytest.mark.parametrize(
    "item",
    [
        an_item(""),
        an_item(partition=""),
        an_item("k" * 1025),
        an_item(partition="é" * 1025),
        an_item(listing="v/"),
        an_item(nowhere="v/1"),
    ],
)
def test_an_item_whose_keys_no_table_takes_is_refused(table: Table, item: Item):
    with pytest.raises(ValueError, match=r"must have 1 to|names index"):
        table.write([Put(item)])
    with pytest.raises(ValueError, match=r"must have 1 to|names index"):
        table.write_bulk([item])


def test_expectations_that_no_item_meets_are_refused(table: Table):
    with pytest.raises(ValueError, match="expects revision -1"):
        table.write([Put(an_item(), expected=-1)])
    with pytest.raises(ValueError, match="expects revision 0"):
        table.write([Delete("p", "a", expected=0)])


# --- write_bulk


def test_a_bulk_write_takes_any_number_of_puts_and_deletes(table: Table):
    table.write_bulk(an_item(f"{number:03}") for number in range(120))
    table.write_bulk((an_item(f"{number:03}") for number in range(120, 140)), (("p", f"{n:03}") for n in range(1, 120)))
    assert keys(table.query("p")) == ["000", *(f"{number:03}" for number in range(120, 140))]


def test_in_a_bulk_write_the_last_mention_of_an_item_counts(table: Table):
    table.write_bulk([an_item("a", b"1"), an_item("a", b"2"), an_item("b")], [("p", "b"), ("p", "never")])
    assert [(item.key, item.body) for item in table.query("p")] == [("a", b"2")]


def test_a_bulk_write_heeds_no_revision_and_keeps_the_indexes(table: Table):
    table.write([Put(an_item("a", revision=5, listing="v/1"))])
    table.write_bulk([an_item("a", revision=2, listing="v/2")])
    assert table.get("p", ["a"])["a"].revision == 2
    assert sorts(table.list_index("listing", "v", limit=10)) == ["2"]


# --- list_index


def test_an_index_gives_addresses_in_sort_order(table: Table):
    table.write_bulk(
        [
            an_item("x", partition="p1", listing="v/2", workflow="w/2"),
            an_item("y", partition="p2", listing="v/1"),
            an_item("z", partition="p3", listing="other/1"),
            an_item("none"),
        ]
    )
    assert table.list_index("listing", "v", limit=10) == [IndexEntry("p2", "y", "1"), IndexEntry("p1", "x", "2")]
    assert table.list_index("workflow", "w", limit=10) == [IndexEntry("p1", "x", "2")]
    assert table.list_index("root", "v", limit=10) == []


@pytest.mark.parametrize(
    ("after", "until", "ascending", "descending"),
    [
        (None, None, "abcde", "edcba"),
        ("b", None, "cde", "a"),
        (None, "c", "abc", "edc"),
        ("b", "d", "cd", ""),
        ("d", "b", "", "cb"),
        ("c", "c", "", ""),
        ("bb", "cc", "c", ""),
        ("e", None, "", "dcba"),
        ("a", "z", "bcde", ""),
    ],
)
def test_after_is_left_out_and_until_is_included(
    table: Table, after: str | None, until: str | None, ascending: str, descending: str
):
    table.write_bulk(an_item(sort, listing=f"v/{sort}") for sort in "abcde")
    for backwards, expected in ((False, ascending), (True, descending)):
        for limit in (1, 2, 5, 9):
            found = table.list_index("listing", "v", after=after, until=until, descending=backwards, limit=limit)
            assert "".join(sorts(found)) == expected[:limit]


def test_an_index_can_be_walked_page_by_page(table: Table):
    table.write_bulk(an_item(f"{number:02}", listing=f"v/{number:02}") for number in range(25))
    walked: list[str] = []
    while page := sorts(table.list_index("listing", "v", after=walked[-1] if walked else None, limit=10)):
        walked += page
    assert walked == [f"{number:02}" for number in range(25)]


def test_an_item_moves_within_its_index_and_leaves_it(table: Table):
    table.write([Put(an_item("a", alarm="shard/5"))])
    table.write([Put(an_item("a", alarm="shard/7"))])
    assert sorts(table.list_index("alarm", "shard", limit=10)) == ["7"]
    table.write([Put(an_item("a", alarm="other/7"))])
    assert table.list_index("alarm", "shard", limit=10) == []
    table.write([Delete("p", "a"), Check("p", "b", 0)])
    assert table.list_index("alarm", "other", limit=10) == []


def test_an_index_that_no_table_has_is_refused(table: Table):
    with pytest.raises(ValueError, match="no index 'nowhere'"):
        table.list_index("nowhere", "v", limit=1)
