"""The moment: what looks random follows from it."""

from datetime import UTC, datetime
from uuid import UUID

from chalicelib.engine.moment import Moment, timestamp


def test_a_time_is_shown_to_the_second_in_utc():
    assert timestamp(0.9) == "1970-01-01 00:00:00"
    assert timestamp(None) is None


def test_the_same_moment_gives_the_same_and_another_seed_something_else():
    assert Moment(1, "s").uuid("a") == Moment(2, "s").uuid("a")
    assert Moment(1, "s").uuid("a") != Moment(1, "t").uuid("a")
    assert UUID(Moment(1).uuid("a")).version == 4
    assert 0 <= Moment(1).fraction("x") < 1
    assert Moment(0).as_datetime() == datetime(1970, 1, 1, tzinfo=UTC)
