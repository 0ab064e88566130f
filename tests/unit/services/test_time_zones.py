"""Cron patterns on the clocks of time zones: the days on which clocks change, and names that are no zones."""

from datetime import timedelta
from random import Random

import pytest

from chalicelib.errors import InvalidModelException
from chalicelib.services.schedules import moment_of, next_match, shown, upcoming
from chalicelib.services.time_zones import check_zone, local_time

BERLIN, NEW_YORK, LORD_HOWE = "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"
ZONES = (BERLIN, NEW_YORK, LORD_HOWE, "America/Havana", "Atlantic/Azores", "Africa/Casablanca")


def fires(pattern, zone, day, hours=24):
    """When a pattern fires in the hours from the midnight of a day on, as clocks there show it."""
    begin = moment_of("day", day, zone)
    found = upcoming(pattern, begin - 1, 200, zone)
    return [shown(at, zone)[11:] for at in found if at < begin + hours * 3600]


@pytest.mark.parametrize(
    ("zone", "day", "pattern", "times"),
    [
        # A time that does not exist fires at the first instant after the gap.
        (BERLIN, "2026-03-29", "30 2 * * *", ["03:00:00+02:00"]),
        (NEW_YORK, "2026-03-08", "30 2 * * *", ["03:00:00-04:00"]),
        (LORD_HOWE, "2026-10-04", "15 2 * * *", ["02:30:00+11:00"]),
        # Several of them are one, also with a time that matches where the gap ends.
        (BERLIN, "2026-03-29", "*/20 2 * * *", ["03:00:00+02:00"]),
        (NEW_YORK, "2026-03-08", "0 2,3 * * *", ["03:00:00-04:00"]),
        (LORD_HOWE, "2026-10-04", "0,29,30 2 * * *", ["02:30:00+11:00"]),
        # What is beside the gap fires at its time.
        (BERLIN, "2026-03-29", "59 1 * * *", ["01:59:00+01:00"]),
        (BERLIN, "2026-03-29", "0 3 * * *", ["03:00:00+02:00"]),
        # Of a time that comes twice the first one fires.
        (BERLIN, "2026-10-25", "30 2 * * *", ["02:30:00+02:00"]),
        (NEW_YORK, "2026-11-01", "30 1 * * *", ["01:30:00-04:00"]),
        (LORD_HOWE, "2026-04-05", "45 1 * * *", ["01:45:00+11:00"]),
        (NEW_YORK, "2026-11-01", "*/30 1 * * *", ["01:00:00-04:00", "01:30:00-04:00"]),
        (LORD_HOWE, "2026-04-05", "*/20 1 * * *", ["01:00:00+11:00", "01:20:00+11:00", "01:40:00+11:00"]),
    ],
)  # fmt: skip
def test_each_time_on_the_clock_fires_once_on_days_when_clocks_change(zone, day, pattern, times):
    assert fires(pattern, zone, day) == times


@pytest.mark.parametrize(
    ("zone", "day", "minute", "times"),
    [
        (BERLIN, "2026-03-29", 30, ["00:30:00+01:00", "01:30:00+01:00", "03:30:00+02:00"]),
        (BERLIN, "2026-10-25", 30, ["00:30:00+02:00", "01:30:00+02:00", "02:30:00+02:00", "02:30:00+01:00"]),
        (NEW_YORK, "2026-03-08", 0, ["00:00:00-05:00", "01:00:00-05:00", "03:00:00-04:00"]),
        (NEW_YORK, "2026-11-01", 0, ["00:00:00-04:00", "01:00:00-04:00", "01:00:00-05:00", "02:00:00-05:00"]),
        (LORD_HOWE, "2026-10-04", 15, ["00:15:00+10:30", "01:15:00+10:30", "03:15:00+11:00"]),
        (LORD_HOWE, "2026-04-05", 45, ["00:45:00+11:00", "01:45:00+11:00", "01:45:00+10:30", "02:45:00+10:30"]),
    ],
)
def test_a_pattern_of_every_hour_fires_whenever_the_clock_shows_it(zone, day, minute, times):
    assert fires(f"{minute} * * * *", zone, day)[: len(times)] == times


@pytest.mark.parametrize("zone", [BERLIN, NEW_YORK, LORD_HOWE])
def test_every_five_minutes_is_every_five_minutes_all_year(zone):
    begin = moment_of("day", "2026-01-01", zone)
    for day in range(0, 365, 4):
        at = begin + day * 86400
        assert upcoming("*/5 * * * *", at, 12, zone) == [at + 300 * step for step in range(1, 13)]
    for change in ("2026-03-08 06:30", "2026-11-01 04:30", "2026-03-28 23:30", "2026-10-24 23:30"):
        at = moment_of("change", change)
        assert upcoming("*/5 * * * *", at, 40, zone) == [at + 300 * step for step in range(1, 41)]


def clock_minutes(zone, begin, end):
    """Every minute between two instants, with what a clock shows; by brute force."""
    at = begin
    while at < end:
        yield at, local_time(at, zone).replace(tzinfo=None)
        at += 60


def by_brute_force(zone, begin, end, minutes, hours):
    """The rule, word for word: a time fires when the clock first shows it, or first shows something beyond it."""
    wanted = set()
    day = local_time(begin, zone).replace(tzinfo=None, hour=0, minute=0)
    for step in range(6 * 24 * 60):
        wall = day + timedelta(minutes=step)
        if wall.minute in minutes and (hours is None or wall.hour in hours):
            wanted.add(wall)
    furthest = None
    for at, wall in clock_minutes(zone, begin, end):
        if hours is None:
            if wall in wanted:
                yield at
        elif furthest is not None and any(furthest < each <= wall for each in wanted if each > furthest):
            yield at
        furthest = wall if furthest is None else max(wall, furthest)


@pytest.mark.parametrize(
    "zone", [BERLIN, NEW_YORK, LORD_HOWE, "America/Havana", "Atlantic/Azores", "Africa/Casablanca"]
)
@pytest.mark.parametrize("seed", range(3))
def test_the_rule_holds_around_every_change_of_the_clocks(zone, seed):
    random = Random(f"{zone} {seed}")
    for change in changes_of(zone):
        begin = change - 86400 - change % 60
        minutes = sorted(random.sample(range(60), 2))
        hours = None if random.random() < 0.4 else sorted([*random.sample(range(5), 2), 23])
        pattern = f"{','.join(map(str, minutes))} {'*' if hours is None else ','.join(map(str, hours))} * * *"
        expected = list(by_brute_force(zone, begin, begin + 2 * 86400, minutes, hours))
        found = upcoming(pattern, begin, len(expected) + 1, zone)
        assert [at for at in found if at < begin + 2 * 86400] == expected, (zone, pattern, shown(change, zone))


def changes_of(zone):
    """The changes of a zone's clocks in two years, to the minute."""
    at = moment_of("begin", "2024-01-01")
    before = None
    for step in range(2 * 365 * 24 * 2):
        offset = local_time(at + step * 1800, zone).utcoffset()
        if before is not None and offset != before:
            yield at + step * 1800
        before = offset


def test_seconds_go_on_through_a_change_of_the_clocks():
    before = moment_of("x", "2026-03-29 01:59:50", BERLIN)
    assert upcoming("* * * * * */5", before, 4, BERLIN) == [before + 5, before + 10, before + 15, before + 20]
    twice = moment_of("x", "2026-10-25 02:59:50", BERLIN)
    assert upcoming("* * * * * */5", twice, 4, BERLIN) == [twice + 5, twice + 10, twice + 15, twice + 20]


def test_a_repeated_midnight_is_seen_although_its_pattern_is_of_that_day_only():
    # Havana goes back from one o'clock to midnight on this day.
    begin = moment_of("x", "2024-11-03 00:45", "America/Havana")
    [again] = upcoming("30 * 3 11 *", begin, 1, "America/Havana")
    assert shown(again, "America/Havana") == "2024-11-03T00:30:00-05:00"


def test_a_day_that_a_zone_left_out_fires_at_its_end():
    # Samoa had no 30 December 2011.
    [at] = upcoming("0 12 30 12 *", moment_of("x", "2011-12-28"), 1, "Pacific/Apia")
    assert shown(at, "Pacific/Apia") == "2011-12-31T00:00:00+14:00"


def test_without_a_zone_all_is_utc():
    at = moment_of("x", "2026-03-29 00:00")
    assert next_match("30 2 * * *", at) == next_match("30 2 * * *", at, "UTC") == at + 2.5 * 3600


@pytest.mark.parametrize(
    ("text", "zone", "expected"),
    [
        ("2026-12-01 10:00:30", None, "2026-12-01T10:00:30+00:00"),
        ("2026-12-01T10:00", BERLIN, "2026-12-01T09:00:00+00:00"),
        ("2026-12-01T10:00:30+05:30", BERLIN, "2026-12-01T04:30:30+00:00"),
        ("2026-12-01T10:00:30Z", NEW_YORK, "2026-12-01T10:00:30+00:00"),
        ("2026-03-29 02:30", BERLIN, "2026-03-29T01:00:00+00:00"),
        ("2026-10-25 02:30", BERLIN, "2026-10-25T00:30:00+00:00"),
    ],
)
def test_a_moment_is_on_the_clocks_of_its_zone_unless_it_says_otherwise(text, zone, expected):
    assert shown(moment_of("run_at", text, zone)) == expected


@pytest.mark.parametrize("text", ["", "tomorrow", "2026-02-30 10:00", "2026-12-01 25:00", "9999-12-31T23:59:59-12:00"])
def test_what_is_no_moment_is_refused_with_its_field(text):
    with pytest.raises(InvalidModelException, match=r"run_at: .* is no moment; write it as YYYY-MM-DD HH:MM:SS"):
        moment_of("run_at", text, BERLIN)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("Berlin", "did you mean Europe/Berlin"),
        ("Europe/Brelin", "did you mean Europe/Berlin"),
        ("New York", "did you mean America/New_York"),
        ("Mars/Phobos", "give an IANA name such as Europe/Berlin"),
        ("../../etc/passwd", "give an IANA name"),
        ("", "give an IANA name"),
    ],
)
def test_an_unknown_zone_is_refused_with_a_suggestion(name, hint):
    with pytest.raises(InvalidModelException, match=hint):
        check_zone(name)


def test_the_letters_of_a_zone_may_be_small():
    assert check_zone("europe/berlin") == BERLIN
    assert check_zone(" utc ") == "UTC"


def test_where_no_time_is_left_there_is_none():
    assert next_match("0 0 1 1 * 0 2020", moment_of("x", "2026-01-01"), BERLIN) is None
    assert next_match("0 * 1 1 * 0 2020", moment_of("x", "2026-01-01"), BERLIN) is None
    assert len(upcoming("0 0 1 1 * 0 2027", moment_of("x", "2026-01-01"), 5, BERLIN)) == 1
