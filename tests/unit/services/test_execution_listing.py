"""Executions read through the indexes are those that a search of everything finds, in the same order."""

from dataclasses import replace
from functools import cache
from itertools import islice
from random import Random

import pytest

from chalicelib.adapters.memory import MemoryPayloads, MemoryTable
from chalicelib.engine import codec
from chalicelib.engine.identity import execution_id_from
from chalicelib.engine.records import WorkflowExecution
from chalicelib.engine.sealing import HEADER_KEY
from chalicelib.errors import InputException
from chalicelib.services import execution_listing
from chalicelib.services.execution_listing import (
    EXECUTION_STATES,
    UNFINISHED,
    ExecutionListing,
    ExecutionSelection,
    Order,
)
from chalicelib.services.execution_places import places_of
from chalicelib.services.execution_store import ExecutionStore
from chalicelib.services.ports import Item
from chalicelib.vocabulary import State

PROJECTS = ("mine", "other", "mine|x")
# Names that are beginnings of others, that have separators in them, and that are too long for an index.
NAMES = ("a", "ab", "a|b", "a\0b", "é" * 255, "é" * 254 + "f")
COUNT = 500


@cache
def population(seed):
    """Executions of several projects, states, names and roots; some of one moment; unfinished ones have an alarm."""
    random = Random(seed)
    found = []
    for at in range(COUNT):
        state = random.choices(EXECUTION_STATES, weights=(1, 2, 1, 90, 4, 2))[0]
        moment = 1000.0 + at // 3
        found.append(
            WorkflowExecution(
                id=execution_id_from(random.randbytes(16)),
                project_id=random.choices(PROJECTS, weights=(8, 2, 1))[0],
                workflow_name=random.choices(NAMES, weights=(20, 5, 2, 2, 1, 1))[0],
                workflow_id="w",
                definition_hash="h",
                state=state,
                created_at=moment,
                updated_at=moment,
                root_execution_id=random.choice((None, "r1", "r2")),
                wake_at=moment + random.random() * 100 if state in UNFINISHED else None,
                revision=1,
            )
        )
    return found


@cache
def listing_of(seed):
    headers = population(seed)
    table = MemoryTable()
    table.write_bulk(Item(header.id, HEADER_KEY, codec.pack_header(header), 1, places_of(header)) for header in headers)
    return ExecutionListing(ExecutionStore(table, MemoryPayloads()))


def random_selection(random):
    """Any selection, but of all projects in order of creation only."""
    project_id = random.choice([None, *PROJECTS])
    orders = [Order.CREATED_AT, Order.CREATED_AT, Order.STATE, Order.NAME]
    return ExecutionSelection(
        project_id=project_id,
        states=tuple(s for s in EXECUTION_STATES if random.random() < 0.5)
        if random.random() < 0.6
        else EXECUTION_STATES,
        workflow_names=random.choice([None, None, (random.choice(NAMES),), ("a", "ab"), ()]),
        root_execution_id=random.choice([None, None, "r1", "none"]),
        is_root=random.random() < 0.3,
        order=random.choice(orders if project_id is not None else orders[:1]),
        descending=random.random() < 0.5,
        since=random.choice([None, None, 1030]),
        until=random.choice([None, None, 1100]),
        page=random.choice([1, 7, 20, 1000]),
    )


def searched(headers, selection):
    """What the selection means."""

    def fits(header):
        since, until = selection.since, selection.until
        is_in_time = (since is None or header.created_at >= since) and (until is None or header.created_at < until + 1)
        return selection.fits(header) and (is_in_time or selection.order is Order.NAME)

    found = sorted(filter(fits, headers), key=lambda header: (header.created_at, header.id))
    match selection.order:
        case Order.CREATED_AT:
            return found[::-1] if selection.descending else found
        case Order.STATE:
            return sorted(found, key=lambda header: header.state, reverse=selection.descending)
        case Order.NAME:
            by_name = sorted(found, key=lambda header: header.workflow_name.encode()[:900].decode(errors="ignore"))
            return by_name[::-1] if selection.descending else by_name


@pytest.mark.parametrize("seed", range(120))
def test_what_is_listed_is_what_a_search_finds(seed, monkeypatch):
    monkeypatch.setattr(execution_listing, "_HEADERS_TRIED", 10)
    random = Random(1000 + seed)
    monkeypatch.setattr(execution_listing, "_FEW", random.choice([0, 10]))
    headers = population(seed % 3)
    listing = listing_of(seed % 3)
    selection = random_selection(random)

    looked = list(listing.look(selection))

    expected = searched(headers, selection)
    assert [one.header.id for one in looked if one.header is not None] == [header.id for header in expected]
    if expected:
        at = random.randrange(len(expected))
        rest = listing.look(replace(selection, after=expected[at]))
        assert [one.header for one in rest if one.header is not None] == expected[at + 1 :]


@pytest.mark.parametrize("seed", range(40))
def test_an_execution_that_was_only_looked_at_marks_where_to_go_on(seed, monkeypatch):
    monkeypatch.setattr(execution_listing, "_HEADERS_TRIED", 10)
    monkeypatch.setattr(execution_listing, "_FEW", 0)
    headers = population(0)
    by_id = {header.id: header for header in headers}
    listing = listing_of(0)
    selection = ExecutionSelection(
        "mine", (State.ERROR, State.CANCELLED), workflow_names=("a",), descending=bool(seed % 2)
    )
    expected = [one.header for one in listing.look(selection) if one.header is not None]

    first = list(islice(listing.look(selection), 5 + seed))
    last = by_id[first[-1].execution_id]
    rest = list(listing.look(replace(selection, after=last)))

    assert [one.header for one in [*first, *rest] if one.header is not None] == expected


def test_a_count_ends_when_it_has_counted_enough():
    headers = population(1)
    listing = listing_of(1)
    for selection in (
        ExecutionSelection("mine"),
        ExecutionSelection("mine", (State.SUCCESS,), workflow_names=("a",)),
        ExecutionSelection("mine", is_root=True, descending=True),
        ExecutionSelection("none"),
    ):
        count = sum(map(selection.fits, headers))
        assert not listing.has_more_than(count, selection)
        assert listing.has_more_than(count - 1, selection) or not count


def test_too_many_unfinished_executions_of_everyone_are_refused_with_advice(monkeypatch):
    monkeypatch.setattr(execution_listing, "EXECUTIONS_SCANNED_MAX", 10)
    listing = listing_of(2)

    with pytest.raises(InputException, match="choose one with project_id"):
        list(listing.look(ExecutionSelection(None, (State.RUNNING,))))
