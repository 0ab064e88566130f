"""Time zones, and which instant a time on the wall clock is. All data comes from the pinned package ``tzdata``.

A wall-clock time is written here as the seconds since the epoch that it would be if the zone were UTC. Where clocks go
forward there is a *gap*, whose times no clock shows; where they go back, times come twice. Which of them count is said
in ``schedules.py``.
"""

from __future__ import annotations

import difflib
from datetime import UTC, datetime
from functools import cache, lru_cache
from importlib import resources
from typing import Final
from zoneinfo import ZoneInfo

from chalicelib.errors import InvalidModelException
from chalicelib.limits import TIME_ZONES_CACHED_MAX

_SHOWN_CHARACTERS_MAX: Final = 80


def check_zone(name: str) -> str:
    """The name of a zone as the IANA database writes it. Raises InvalidModelException with a suggestion for others."""
    names = _names()
    known = names.get(name.strip().lower())
    if known is not None:
        return known
    word = name.strip().lower()
    cities = {each.rpartition("/")[2]: each for each in names}
    near = [cities[city] for city in difflib.get_close_matches(word.rpartition("/")[2], cities, n=2, cutoff=0.75)]
    near += difflib.get_close_matches(word, names, n=2, cutoff=0.7)
    suggested = list(dict.fromkeys(names[each] for each in near))
    hint = f"; did you mean {' or '.join(suggested)}?" if suggested else "; give an IANA name such as Europe/Berlin."
    raise InvalidModelException(f"The time zone '{name[:_SHOWN_CHARACTERS_MAX]}' is not known{hint}")


@cache
def _names() -> dict[str, str]:
    """Every zone by its name in small letters."""
    names = resources.files("tzdata").joinpath("zones").read_text("utf-8").split()
    return {name.lower(): name for name in names}


@lru_cache(maxsize=TIME_ZONES_CACHED_MAX)
def _zone(name: str) -> ZoneInfo:
    *folders, file = check_zone(name).split("/")
    source = resources.files("tzdata").joinpath("zoneinfo", *folders, file)
    with source.open("rb") as data:
        return ZoneInfo.from_file(data, name)


def local_time(instant: float, zone: str | None) -> datetime:
    """What the clocks of a zone show at an instant; without a zone, UTC."""
    return datetime.fromtimestamp(instant, UTC if zone is None else _zone(zone))


def offset_sec(instant: float, zone: str) -> float:
    """How far the clocks of a zone are ahead of UTC at an instant."""
    offset = local_time(instant, zone).utcoffset()
    assert offset is not None
    return offset.total_seconds()


def instants_of(wall: float, zone: str) -> tuple[float, ...]:
    """The instants when clocks show a wall-clock time: one; two where it comes twice; none in a gap."""
    naive = datetime.fromtimestamp(wall, UTC).replace(tzinfo=_zone(zone))
    found = sorted({naive.replace(fold=fold).timestamp() for fold in (0, 1)})
    return tuple(instant for instant in found if instant + offset_sec(instant, zone) == wall)


def end_of_gap(wall: float, zone: str) -> float:
    """The first instant after the gap in which a wall-clock time lies."""
    naive = datetime.fromtimestamp(wall, UTC).replace(tzinfo=_zone(zone))
    first, last = sorted(naive.replace(fold=fold).timestamp() for fold in (0, 1))
    return change_between(first, last, zone)


def change_between(first: float, last: float, zone: str) -> float:
    """The instant, after ``first`` and not after ``last``, from which the clocks differ from those of ``first``."""
    before = offset_sec(first, zone)
    low, high = int(first), int(last)
    while high - low > 1:
        middle = (low + high) // 2
        if offset_sec(middle, zone) == before:
            low = middle
        else:
            high = middle
    return float(high)


def repetition(instant: float, zone: str) -> tuple[float, float] | None:
    """Where clocks go back, and by how much, when the time that they show at an instant comes twice; else ``None``."""
    wall = instant + offset_sec(instant, zone)
    twice = instants_of(wall, zone)
    if len(twice) < 2:
        return None
    change = change_between(twice[0], twice[1], zone)
    return change, offset_sec(twice[0], zone) - offset_sec(change, zone)
