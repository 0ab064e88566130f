"""What a page of a list reads, in exact counts: the same whatever a project holds, or no more than a bound."""

import pytest

from benchmarks.lists import LISTINGS, PAGE, Listing, Stage, moto_tables
from chalicelib.api import execution_lists
from chalicelib.errors import InputException
from chalicelib.vocabulary import Json, JsonObject

EXECUTIONS = "/v2/executions"
FLAT = [listing for listing in LISTINGS if listing.is_flat]
# A batch that ends a hundred bytes over a unit is a unit more: ids and names are not all of one length.
ROUNDING_UNITS = 4.0


@pytest.fixture(scope="module")
def stages() -> list[Stage]:
    """Two services, one of which holds three times as much: many pages of everything."""
    return [Stage(1200, others=200), Stage(3600, others=600)]


def rows_of(answer: JsonObject) -> list[Json]:
    return next(rows for name, rows in answer.items() if name != "next")


@pytest.mark.parametrize("listing", FLAT, ids=lambda listing: listing.name)
def test_a_page_costs_the_same_whatever_the_project_holds(stages: list[Stage], listing: Listing):
    (few, few_counts), (many, many_counts) = (stage.ask(listing) for stage in stages)

    assert len(rows_of(few)) == len(rows_of(many)) == PAGE
    assert few_counts.requests == many_counts.requests
    # Of a state that is rarer than a page there are fewer entries to read.
    assert many_counts.items_read <= 9 * PAGE
    assert abs(many_counts.read_units - few_counts.read_units) <= ROUNDING_UNITS


@pytest.mark.parametrize("listing", FLAT[:17], ids=lambda listing: listing.name)
def test_a_page_costs_no_more_than_its_own_size_asks_for(stages: list[Stage], listing: Listing):
    _, counts = stages[1].ask(listing)

    assert counts.read_units <= 35
    assert sum(counts.requests.values()) <= 13


@pytest.mark.parametrize("sort", ["name", "workflow_name", "state,name", "state"])
@pytest.mark.parametrize("direction", ["asc", "desc"])
def test_by_name_and_by_state_a_page_is_read_from_an_index(stages, monkeypatch, sort, direction):
    monkeypatch.setattr(execution_lists, "EXECUTIONS_SORTED_MAX", 100)
    listing = Listing("sorted", EXECUTIONS, f"sort_keys={sort}&sort_dirs={direction}")

    (few, few_counts), (many, many_counts) = (stage.ask(listing) for stage in stages)

    assert len(rows_of(few)) == len(rows_of(many)) == PAGE
    assert abs(many_counts.read_units - few_counts.read_units) <= ROUNDING_UNITS
    assert many_counts.read_units <= 40


def test_a_rare_state_of_a_workflow_is_found_by_joining_indexes(stages: list[Stage]):
    answer, counts = stages[1].ask(Listing("rare", EXECUTIONS, "workflow_name=rare&state=ERROR"))

    assert {row["state"] for row in rows_of(answer)} == {"ERROR"}
    headers_if_all_were_read = 3600 / 7
    assert counts.read_units < headers_if_all_were_read / 2


@pytest.mark.parametrize("query", ["description=has:needle", "tags=none", "sort_dirs=desc&state_info=has:needle"])
def test_a_filter_that_no_index_knows_looks_at_so_many_and_says_where_to_go_on(stages, monkeypatch, query: str):
    monkeypatch.setattr(execution_lists, "EXECUTIONS_SCANNED_MAX", 500)

    answer, counts = stages[1].ask(Listing("scan", EXECUTIONS, query))

    assert "marker=" in answer["next"]
    assert counts.read_units <= 500


@pytest.mark.parametrize("column", ["updated_at", "description", "id"])
def test_an_order_that_no_index_has_is_refused_before_much_is_read(stages, monkeypatch, column: str):
    monkeypatch.setattr(execution_lists, "EXECUTIONS_SCANNED_MAX", 500)

    with stages[1].meter.measure() as counts, pytest.raises(InputException, match="more than 500 executions to sort"):
        stages[1].ask(Listing("sorted", EXECUTIONS, f"sort_keys={column}"))

    assert counts.read_units <= 50


def test_the_unfinished_executions_of_everyone_cost_what_they_are_and_no_more_than_a_bound(stages: list[Stage]):
    _, counts = stages[1].ask(Listing("running", EXECUTIONS, "state=RUNNING", is_admin=True))

    assert counts.read_units <= 3600 / 50 + 10


def test_the_emulated_cloud_is_asked_as_often_as_is_counted():
    with moto_tables() as make:
        stage = Stage(150, make, others=50)
        memory = Stage(150, others=50)
        for listing in LISTINGS:
            (_, on_moto), (_, in_memory) = stage.ask(listing), memory.ask(listing)
            assert sum(on_moto.requests.values()) == sum(in_memory.requests.values()), listing.name
            assert abs(on_moto.read_units - in_memory.read_units) <= ROUNDING_UNITS, listing.name
