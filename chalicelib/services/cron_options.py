"""What Mistral's cron-triggers cannot do, as optional parts of a record: what is wanted, and how far it has come."""

from __future__ import annotations

from enum import StrEnum

from chalicelib import limits
from chalicelib.data import dataclass
from chalicelib.errors import InvalidModelException
from chalicelib.vocabulary import JsonObject


class Overlap(StrEnum):
    """What a trigger does at its time while its previous run has not ended."""

    ALLOW = "allow"
    SKIP = "skip"
    QUEUE = "queue"
    CANCEL_PREVIOUS = "cancel-previous"


@dataclass(frozen=True, slots=True, kw_only=True)
class CronOptions:
    """What is wanted beyond Mistral; all defaults together are Mistral's cron-trigger.

    ``catch_up_sec``: how far back missed times each get an execution. ``jitter_sec``: the most that a start is put off.
    ``start_within_sec`` and ``end_within_sec``: when, after its due time, a run is to have started and ended.
    """

    time_zone: str | None = None
    overlap: Overlap = Overlap.ALLOW
    catch_up_sec: int = 0
    jitter_sec: int = 0
    start_within_sec: int | None = None
    end_within_sec: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CronCourse:
    """What has become of a trigger, beyond what Mistral knows of it. Times are seconds since the epoch.

    ``due_at``: the time that jitter has put off. ``is_over``: no time is left, but something is queued or watched.
    ``decided_for``: the due time whose start is decided, whatever the previous run does meanwhile. ``queued``: due
    times that wait. ``watched``: due time and execution of the runs whose end is awaited. ``failures``: refused starts
    in a row. ``alerted_for``: the due time of which it has been told that it did not start. ``missed``: the latest
    alert.
    """

    due_at: float | None = None
    is_over: bool = False
    decided_for: float | None = None
    last_execution_id: str | None = None
    queued: tuple[float, ...] = ()
    watched: tuple[tuple[float, str], ...] = ()
    failures: int = 0
    paused_at: float | None = None
    paused_reason: str | None = None
    alerted_for: float | None = None
    missed: JsonObject | None = None


def options_of(data: JsonObject) -> CronOptions:
    """Stored options."""
    return CronOptions(**{**data, "overlap": Overlap(data["overlap"])})


def course_of(data: JsonObject) -> CronCourse:
    """A stored course."""
    watched = tuple((due_at, execution_id) for due_at, execution_id in data["watched"])
    return CronCourse(**{**data, "queued": tuple(data["queued"]), "watched": watched})


def check_options(options: CronOptions) -> None:
    """Refuse numbers out of their bounds. Raises InvalidModelException naming the field."""
    for name, least, most in (
        ("catch_up_sec", 0, limits.CRON_CATCH_UP_MAX_SEC),
        ("jitter_sec", 0, limits.CRON_JITTER_MAX_SEC),
        ("start_within_sec", 1, limits.CRON_DEADLINE_MAX_SEC),
        ("end_within_sec", 1, limits.CRON_DEADLINE_MAX_SEC),
    ):
        value = getattr(options, name)
        if value is not None and not least <= value <= most:
            raise InvalidModelException(f"{name} is {value}; it must be from {least} to {most} seconds.")
    start, end = options.start_within_sec, options.end_within_sec
    if start is not None and end is not None and end < start:
        raise InvalidModelException(f"end_within_sec is {end}, less than start_within_sec, which is {start}.")
    if start is not None and start <= options.jitter_sec:
        raise InvalidModelException(
            f"start_within_sec is {start}: with a jitter_sec of {options.jitter_sec} no run might start in time; "
            "both count from the due time."
        )
