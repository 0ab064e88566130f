"""When a cron-trigger is due: Mistral's cron patterns and first times.

A pattern has five columns; a sixth one is seconds, a seventh years; or it is an alias such as ``@hourly``. Without a
time zone all moments are UTC. With one, a pattern is about what the clocks there show:

- A pattern of certain hours fires once for each matching time on the clock. A time that is skipped when clocks go
  forward fires at the first instant after the gap (several of them: once); of a time that comes twice the first counts.
- A pattern of every hour fires whenever the clock matches: nothing is made up for skipped times, and times that come
  twice fire twice. So ``*/5 * * * *`` goes on every five minutes.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from croniter import croniter

from chalicelib.errors import InvalidModelException
from chalicelib.limits import CRON_PATTERN_CHARACTERS_MAX, FIRST_EXECUTION_LEAD_MIN_SEC
from chalicelib.services.time_zones import end_of_gap, instants_of, local_time, offset_sec, repetition

# What Mistral stores for a trigger without a pattern; being run once, it never comes to use it.
NO_PATTERN: Final = "0 0 30 2 0"
_FIRST_TIME_FORMAT: Final = "%Y-%m-%d %H:%M"
_EVERY: Final = ["*"]
# The year 9999 is the last one that a date can have, in whatever zone it is shown.
_MOMENTS_END: Final = datetime(9999, 1, 1, tzinfo=UTC).timestamp()


def next_match(pattern: str, after: float, zone: str | None = None) -> float | None:
    """The first moment after another one at which a pattern is due; ``None`` when there is none in fifty years.

    Raises InvalidModelException for what is no pattern.
    """
    if zone is not None:
        return _next_in_zone(pattern, after, zone)
    return next(_walk(_parsed(pattern, after)), None)


def upcoming(pattern: str, after: float, count: int, zone: str | None = None) -> list[float]:
    """The next moments at which a pattern is due; fewer where there are no more of them."""
    found: list[float] = []
    while len(found) < count and (due := next_match(pattern, after, zone)) is not None:
        found.append(due)
        after = due
    return found


def _parsed(pattern: str, after: float) -> croniter:
    try:
        return croniter(pattern, after)
    except (ValueError, KeyError) as error:
        raise InvalidModelException(f"The specified pattern is not valid: {pattern} ({error})") from error


def _walk(schedule: croniter) -> Iterator[float]:
    while True:
        try:
            due: float = schedule.get_next(float)
        except ValueError:
            return
        yield due


def _next_in_zone(pattern: str, after: float, zone: str) -> float | None:
    wall = after + offset_sec(after, zone)
    schedule = _parsed(pattern, wall)
    if schedule.expanded[1] == _EVERY:
        return _next_of_every_hour(pattern, schedule, after, zone)
    again = repetition(after, zone)
    if again is not None and after >= again[0]:
        # The second time round: all up to the end of the repeated times has had its turn.
        schedule = _parsed(pattern, again[0] + offset_sec(again[0], zone) + again[1] - 1)
    for matched in _walk(schedule):
        instants = instants_of(matched, zone)
        instant = instants[0] if instants else end_of_gap(matched, zone)
        if instant > after:
            return instant
    return None


def _next_of_every_hour(pattern: str, schedule: croniter, after: float, zone: str) -> float | None:
    found = _first_shown(pattern, schedule, after, zone)
    again = repetition(after, zone)
    if again is not None and after < again[0] and (found is None or found >= again[0]):
        # The clock will go back behind what it shows now.
        change = again[0]
        found = _first_shown(pattern, _parsed(pattern, change + offset_sec(change, zone) - 1), change - 1, zone)
    return found


def _first_shown(pattern: str, schedule: croniter, after: float, zone: str) -> float | None:
    """The first instant after another one at which a clock shows a matching time, from where a schedule stands."""
    while (matched := next(_walk(schedule), None)) is not None:
        instants = instants_of(matched, zone)
        for instant in instants:
            if instant > after:
                return instant
        if not instants:
            end = end_of_gap(matched, zone)
            schedule = _parsed(pattern, end + offset_sec(end, zone) - 1)
    return None


def check_pattern(pattern: str, now: float, zone: str | None = None) -> float:
    """The first moment after ``now`` at which a pattern is due. Raises InvalidModelException when there is none."""
    if len(pattern) > CRON_PATTERN_CHARACTERS_MAX:
        raise InvalidModelException(
            f"The specified pattern is not valid: it has {len(pattern)} characters; the most is "
            f"{CRON_PATTERN_CHARACTERS_MAX}."
        )
    due = next_match(pattern, now, zone)
    if due is None:
        raise InvalidModelException(
            f"The specified pattern is not valid: {pattern} (no moment in the next fifty years fits it)"
        )
    return due


def first_time(text: str, now: float) -> float:
    """The moment that a ``first_execution_time`` names.

    Raises InvalidModelException when it is not written as ``YYYY-MM-DD HH:MM``, or too near.
    """
    try:
        moment = datetime.strptime(text, _FIRST_TIME_FORMAT).replace(tzinfo=UTC).timestamp()
    except ValueError as error:
        raise InvalidModelException(f"first_execution_time: {error}; write it as YYYY-MM-DD HH:MM, in UTC.") from error
    if moment < now + FIRST_EXECUTION_LEAD_MIN_SEC:
        raise InvalidModelException("first_execution_time must be at least 1 minute in the future.")
    return moment


def moment_of(name: str, text: str, zone: str | None = None) -> float:
    """The moment that a text names: ``YYYY-MM-DD HH:MM[:SS]`` on the clocks of a zone, or with an offset or ``Z``.

    A time that comes twice is the first one; a skipped one is the first instant after the gap. Raises
    InvalidModelException naming the field.
    """
    try:
        moment = _moment(datetime.fromisoformat(text.strip()), zone)
        if not 0 <= moment < _MOMENTS_END:
            raise ValueError(text)
    except (ValueError, OverflowError) as error:
        raise InvalidModelException(
            f"{name}: '{text[:80]}' is no moment; write it as YYYY-MM-DD HH:MM:SS, with +01:00 or Z behind it if it "
            f"is not of the trigger's time zone."
        ) from error
    return moment


def _moment(read: datetime, zone: str | None) -> float:
    if read.tzinfo is not None or zone is None:
        return (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()
    wall = read.replace(tzinfo=UTC).timestamp()
    instants = instants_of(wall, zone)
    return instants[0] if instants else end_of_gap(wall, zone)


def shown(instant: float, zone: str | None = None) -> str:
    """A moment for people and programs: ISO 8601 with the offset of the zone, to the second."""
    return local_time(instant, zone).isoformat(timespec="seconds")
