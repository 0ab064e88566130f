"""When patterns are due, and which of them are refused."""

from datetime import UTC, datetime

import pytest

from chalicelib.errors import InvalidModelException
from chalicelib.services.schedules import check_pattern, first_time, next_match


def moment(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


NOW = moment("2026-11-23 16:17:08")


@pytest.mark.parametrize(
    ("pattern", "due"),
    [
        ("0 0 1 1 *", "2027-01-01 00:00:00"),
        ("*/5 * * * *", "2026-11-23 16:20:00"),
        ("* * * * * *", "2026-11-23 16:17:09"),
        ("0 0 1 1 * 30", "2027-01-01 00:00:30"),
        ("0 0 1 1 * 0 2030", "2030-01-01 00:00:00"),
        ("0 0 1-7 * 1", "2026-11-30 00:00:00"),
        ("0 0 30 2 0", "2027-02-07 00:00:00"),
        ("0 0 29 2 *", "2028-02-29 00:00:00"),
        ("0 0 * * 7", "2026-11-29 00:00:00"),
        ("0 0 l * *", "2026-11-30 00:00:00"),
        ("0 0 * * L5", "2026-11-27 00:00:00"),
        ("5 4 * * sun", "2026-11-29 04:05:00"),
        ("59-0 * * * *", "2026-11-23 16:59:00"),
        ("@hourly", "2026-11-23 17:00:00"),
        ("@HOURLY", "2026-11-23 17:00:00"),
        ("@yearly", "2027-01-01 00:00:00"),
        ("@annually", "2027-01-01 00:00:00"),
        ("@monthly", "2026-12-01 00:00:00"),
        ("@weekly", "2026-11-29 00:00:00"),
        ("@daily", "2026-11-24 00:00:00"),
        ("@midnight", "2026-11-24 00:00:00"),
        ("  0 0 1 1 *  ", "2027-01-01 00:00:00"),
    ],
)
def test_a_pattern_is_due_when_openstack_mistral_says(pattern, due):
    assert check_pattern(pattern, NOW) == moment(due)


@pytest.mark.parametrize(
    "pattern",
    ["not cron", "@reboot", "60 * * * *", "h * * * *", "* * * * * * * *", "? ? ? ? ?", "*/0 * * * *", "1/0 * * * *"],
)
def test_what_is_no_pattern_is_refused_with_the_reason(pattern):
    with pytest.raises(InvalidModelException, match=r"The specified pattern is not valid: .+ \(.+\)"):
        check_pattern(pattern, NOW)


@pytest.mark.parametrize("pattern", ["0 0 31 2 *", "0 0 30 2 *", "0 0 1 1 * 0 2001"])
def test_a_pattern_that_no_day_fits_is_refused(pattern):
    with pytest.raises(InvalidModelException, match="no moment in the next fifty years fits it"):
        check_pattern(pattern, NOW)


def test_a_pattern_of_many_characters_is_refused_before_it_is_looked_at():
    with pytest.raises(InvalidModelException, match="101 characters; the most is 100"):
        check_pattern("1," * 46 + "1 * * * *"[:9], NOW)


def test_the_next_match_lies_behind_the_moment_itself():
    assert next_match("* * * * *", moment("2026-11-23 16:00:00")) == moment("2026-11-23 16:01:00")
    assert next_match("0 0 1 1 * 0 2030", moment("2030-01-01 00:00:00")) is None


@pytest.mark.parametrize("text", ["2199-01-01 00:00", "2199-1-1 0:0"])
def test_a_first_time_is_utc(text):
    assert first_time(text, NOW) == moment("2199-01-01 00:00:00")


@pytest.mark.parametrize(
    "text", ["2199-01-01 00:00:00", "2199-01-01T00:00", "tomorrow", "", "2199-01-01 00:00 ", "2199-13-01 00:00"]
)
def test_a_first_time_in_another_form_is_refused(text):
    with pytest.raises(InvalidModelException, match="write it as YYYY-MM-DD HH:MM, in UTC"):
        first_time(text, NOW)


def test_a_first_time_is_a_minute_ahead_at_least():
    assert first_time("2026-11-23 16:19", NOW) == moment("2026-11-23 16:19:00")
    assert first_time("2026-11-23 16:19", moment("2026-11-23 16:18:00")) == moment("2026-11-23 16:19:00")
    with pytest.raises(InvalidModelException, match="at least 1 minute in the future"):
        first_time("2026-11-23 16:18", NOW)
