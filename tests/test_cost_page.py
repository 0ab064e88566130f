"""The figures of docs/cost.md are what is counted and multiplied today."""

import re

import pytest

from benchmarks import users
from chalicelib.local import estimate
from chalicelib.local.prices import PRICES
from chalicelib.local.rehearsal import Rehearsal
from tests.markdown import ROOT, rows

PAGE = ROOT / "docs" / "cost.md"
# A change that moves a figure by less need not renew the page: `python -m benchmarks users`.
CLOSE = 0.15


def test_the_table_of_prices_is_the_code():
    told = {cells[0]: (float(cells[1]), cells[2], cells[3] == "yes") for cells in rows(PAGE, "Prices")[1:]}
    assert told == {price.what: (price.usd, price.per, price.in_estimates) for price in PRICES}


@pytest.mark.parametrize("user", users.USERS, ids=lambda user: user.name)
def test_the_month_of_a_user_costs_what_the_page_says(user: users.User):
    [told] = re.findall(rf"^{re.escape(user.name)} +([\d,]+) +(.*)$", PAGE.read_text("utf-8"), re.MULTILINE)
    assert told[0] == f"{user.runs:,}"
    month = users.month_of(user)
    real = [month.own_dollars, month.actions_dollars]
    real += [other.dollars * user.runs if other.dollars is not None else -1.0 for other in month.elsewhere]
    shown = [-1.0 if text == "-" else float(text) for text in told[1].split()]
    assert shown == pytest.approx(real, rel=CLOSE, abs=0.006)


def test_a_month_in_which_nothing_runs_costs_what_the_page_says():
    text = PAGE.read_text("utf-8")
    idle = users.idle()
    for line in idle:
        [told] = re.findall(rf"^{re.escape(line.what)} +([\d,]+) ", text, re.MULTILINE)
        assert told == f"{line.amount:,.0f}"
    assert re.findall(r"^all +([\d.]+)$", text, re.MULTILINE) == [f"{estimate.total(idle):.2f}"]


def test_the_queries_of_the_clock_are_as_many_as_the_page_says():
    tick = Rehearsal().idle_tick
    assert (tick.requests["Query"], tick.requests["GetItem"], tick.read_units) == (16, 1, 9)
    assert "16 short queries and reads one item: 9 read" in PAGE.read_text("utf-8")
