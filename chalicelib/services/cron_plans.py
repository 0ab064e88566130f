"""When a new cron-trigger is to fire: what was asked for, checked; nothing is stored here."""

from __future__ import annotations

from dataclasses import field

from chalicelib.data import dataclass, replace
from chalicelib.errors import InputException, InvalidModelException
from chalicelib.limits import CRON_WATCHED_MAX
from chalicelib.services.cron_options import CronOptions, check_options
from chalicelib.services.schedules import NO_PATTERN, check_pattern, first_time, moment_of, shown, upcoming
from chalicelib.services.time_zones import check_zone

_TIMES_SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class CronTimes:
    """The times that are asked for. ``first_execution_time``, and ``run_at`` for a single run, are text."""

    pattern: str | None = None
    first_execution_time: str | None = None
    remaining_executions: int | None = None
    run_at: str | None = None
    options: CronOptions = field(default_factory=CronOptions)


@dataclass(frozen=True, slots=True, kw_only=True)
class CronPlan:
    """What a record needs to know of its times; moments are seconds since the epoch."""

    pattern: str
    count: int | None
    first: float | None
    due_at: float
    options: CronOptions


def planned(times: CronTimes, now: float) -> CronPlan:
    """The plan of a new trigger. Raises InputException and InvalidModelException for what makes no sense."""
    options = times.options
    if options.time_zone is not None:
        options = replace(options, time_zone=check_zone(options.time_zone))
    check_options(options)
    first = None if times.first_execution_time is None else first_time(times.first_execution_time, now)
    if times.run_at is not None:
        first = _only_time(times, options, now)
    count = _count(times, first)
    if not times.pattern:
        assert first is not None
        return CronPlan(pattern=NO_PATTERN, count=1, first=first, due_at=first, options=options)
    due_at = check_pattern(times.pattern, now, options.time_zone)
    due_at = due_at if first is None else first
    _check_watch(times.pattern, options, due_at)
    return CronPlan(pattern=times.pattern, count=count, first=first, due_at=due_at, options=options)


def _count(times: CronTimes, first: float | None) -> int | None:
    count = times.remaining_executions
    if count is not None and count < 1:
        raise InputException(
            f"Invalid input for field/attribute remaining_executions. Value: '{count}'. "
            "Value should be greater or equal to 1"
        )
    if not times.pattern and first is None:
        raise InvalidModelException("Pattern or first_execution_time must be specified.")
    if not times.pattern and count is not None and count > 1:
        raise InvalidModelException("Pattern must be provided if count is superior to 1.")
    return count


def _only_time(times: CronTimes, options: CronOptions, now: float) -> float:
    if times.pattern or times.first_execution_time is not None:
        raise InvalidModelException("run_at is the only time of a trigger: leave pattern and first_execution_time out.")
    moment = moment_of("run_at", times.run_at or "", options.time_zone)
    if moment <= now:
        raise InvalidModelException(
            f"run_at must be in the future: it was understood as {shown(moment, options.time_zone)}, "
            f"and it is {shown(now, options.time_zone)} now."
        )
    return moment


def _check_watch(pattern: str, options: CronOptions, due_at: float) -> None:
    """Refuse to watch more runs at a time than a record holds."""
    if options.end_within_sec is None:
        return
    following = upcoming(pattern, due_at, CRON_WATCHED_MAX, options.time_zone)
    if len(following) == CRON_WATCHED_MAX and following[-1] <= due_at + options.end_within_sec:
        times = ", ".join(shown(moment, options.time_zone) for moment in following[:_TIMES_SHOWN])
        raise InvalidModelException(
            f"end_within_sec is {options.end_within_sec}: the pattern would start more than {CRON_WATCHED_MAX} runs "
            f"in that time, and no more are watched at once; its times after the first are {times}, …"
        )
