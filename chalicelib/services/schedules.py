"""When a cron-trigger is due: Mistral's cron patterns and first times. All moments are UTC.

A pattern has five columns; a sixth one is seconds, a seventh years; or it is an alias such as ``@hourly``.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from croniter import croniter

from chalicelib.errors import InvalidModelException
from chalicelib.limits import CRON_PATTERN_CHARACTERS_MAX, FIRST_EXECUTION_LEAD_MIN_SEC

# What Mistral stores for a trigger without a pattern; being run once, it never comes to use it.
NO_PATTERN: Final = "0 0 30 2 0"
_FIRST_TIME_FORMAT: Final = "%Y-%m-%d %H:%M"


def next_match(pattern: str, after: float) -> float | None:
    """The first moment after another one at which a pattern is due; ``None`` when there is none in fifty years.

    Raises InvalidModelException for what is no pattern.
    """
    try:
        schedule = croniter(pattern, after)
    except (ValueError, KeyError) as error:
        raise InvalidModelException(f"The specified pattern is not valid: {pattern} ({error})") from error
    try:
        due: float = schedule.get_next(float)
    except ValueError:
        return None
    return due


def check_pattern(pattern: str, now: float) -> float:
    """The first moment after ``now`` at which a pattern is due. Raises InvalidModelException when there is none."""
    if len(pattern) > CRON_PATTERN_CHARACTERS_MAX:
        raise InvalidModelException(
            f"The specified pattern is not valid: it has {len(pattern)} characters; the most is "
            f"{CRON_PATTERN_CHARACTERS_MAX}."
        )
    due = next_match(pattern, now)
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
