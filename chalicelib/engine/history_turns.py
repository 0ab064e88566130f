"""The entries of a history as they are read: turns, and what happened in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from typing import Any, Final

from chalicelib.data import dataclass, replace
from chalicelib.engine import codec
from chalicelib.engine.events import (
    ActionCompleted,
    ActionUpdated,
    ClaimExpired,
    Continued,
    DescriptionChanged,
    Event,
    PauseRequested,
    RerunRequested,
    ResumeRequested,
    Revived,
    Settled,
    SkipRequested,
    StartRequested,
    StopRequested,
    TimerFired,
)
from chalicelib.vocabulary import Json, Result, State

# What a count of new tasks begins with.
CREATED: Final = "+"


@dataclass(frozen=True, slots=True)
class Happened:
    """An event as it was applied.

    ``timer`` is the kind of the timer that fired; ``is_pure``: the action ran within the turn.
    ``written`` are the items, by ordinal and number, whose records had been finished before, as the decision saw.
    """

    event: Event
    timer: str = ""
    is_pure: bool = False
    written: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Turn:
    """One entry: ``steps`` are events, and numbers of pure actions that ran at once.

    ``moment`` in seconds. A turn of several transactions has an entry for each, with one ``seed``: the revision of the
    header that it began with. ``base_updated_at`` is when that header was stored. ``created`` are the ordinals of the
    tasks that came into being, ``state`` the new state of the execution if it changed, ``found`` what was found anew
    for questions that decisions asked, by digest. ``random`` is how many random values were drawn before. ``lost`` are
    results that the records do not hold any more: of sub-workflows that run again, of tasks that keep no result.
    """

    number: int
    seed: int
    moment: float
    base_updated_at: float
    steps: tuple[Happened | int, ...]
    created: range = range(0)
    state: State | None = None
    found: Mapping[str, str] = field(default_factory=dict)
    random: int = 0
    lost: tuple[tuple[int, int, Result], ...] = ()


@dataclass(slots=True)
class Place:
    """What entries are counted from: a seed, a time in milliseconds, the next ordinal."""

    seed: int
    millis: int
    ordinal: int

    @staticmethod
    def of(entries: Sequence[Any]) -> Place:
        """The place behind some entries, of which the first says where they begin."""
        place = Place(*entries[0])
        for entry in entries[1:]:
            place.pass_by(entry)
        return place

    def pass_by(self, entry: Sequence[Any]) -> None:
        """Take what an entry adds."""
        self.seed += entry[0] + 1
        self.millis += entry[1]
        self.ordinal += sum(int(part) for part in entry[2:] if isinstance(part, str) and part[0] == CREATED)


def unpack_page(body: bytes) -> list[Json]:
    """The entries of a page."""
    entries: list[Json] = codec.unpack_json(body)
    return entries


def turns_of(number: int, entries: Sequence[Any], created_at: float) -> Iterator[Turn]:
    """Entries as they were meant, numbered from ``number`` on; ``created_at`` is the execution's."""
    place = Place(*entries[0])
    for at, entry in enumerate(entries[1:], start=number):
        before = replace(place)
        place.pass_by(entry)
        yield _turn(at, entry, before, place, created_at)


def _turn(number: int, entry: Sequence[Any], before: Place, place: Place, created_at: float) -> Turn:
    steps: list[Happened | int] = []
    state: State | None = None
    extras: Mapping[str, Any] = {}
    for part in entry[2:]:
        if isinstance(part, int):
            steps.append(part)
        elif isinstance(part, str):
            state = state if part[0] == CREATED else State(part)
        elif isinstance(part, dict):
            extras = part
        else:
            steps.append(_decode(part))
    return Turn(
        number,
        seed=place.seed,
        moment=round(created_at + place.millis / 1000, 3),
        base_updated_at=round(created_at + (before.millis + extras.get("u", 0)) / 1000, 3),
        steps=tuple(steps),
        created=range(before.ordinal, place.ordinal),
        state=state,
        found=extras.get("f", {}),
        random=extras.get("z", 0),
        lost=tuple((o, n, codec.decode_result(result)) for o, n, result in extras.get("r", ())),
    )


def _decode(part: list[Any]) -> Happened:
    if isinstance(part[0], int):
        return _decode_completed(*part)
    letter, *rest = part
    match letter:
        case "b":
            return Happened(StartRequested())
        case "g":
            happened = _decode(rest[1])
            seen = tuple((ordinal, number) for ordinal, number in rest[0])
            return replace(happened, written=(*happened.written, *seen))
        case "c":
            return Happened(Continued(), written=tuple((ordinal, number) for ordinal, number in rest))
        case "t":
            return Happened(TimerFired(rest[0], rest[1]), timer=rest[2])
        case "x":
            return Happened(ClaimExpired(*rest))
        case "u":
            return Happened(ActionUpdated(rest[0], rest[1], State(rest[2]), rest[3]))
        case _:
            return Happened(_decode_request(letter, rest))


def _decode_completed(ordinal: int, number: int, stamp: int = 0, marks: str = "") -> Happened:
    settled = Settled.FORCED if "f" in marks else Settled.KEPT
    event = ActionCompleted(ordinal, number, Result(), stamp, settled)
    return Happened(event, is_pure="p" in marks, written=((ordinal, number),) if "w" in marks else ())


def _decode_request(letter: str, rest: list[Any]) -> Event:
    match letter:
        case "p":
            return PauseRequested(*rest)
        case "r":
            return ResumeRequested(_value(rest[0]), rest[1])
        case "e":
            return StopRequested(State(rest[0]), rest[1], rest[2])
        case "n":
            return RerunRequested(rest[0], rest[1], _value(rest[2]))
        case "k":
            return SkipRequested(rest[0], _value(rest[1]))
        case "v":
            return Revived(*rest)
        case "d":
            return DescriptionChanged(rest[0], _value(rest[1]))
        case _:
            raise ValueError(f"An unknown entry in a history: {letter!r}.")


def _value(value: Json) -> Any:
    return codec.decode_members(value)
