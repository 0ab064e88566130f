"""What a draft notes for the history while decisions are taken: see ``history``."""

from __future__ import annotations

from dataclasses import field
from typing import Any

from chalicelib.data import dataclass
from chalicelib.engine.needs import Need
from chalicelib.vocabulary import Json, Result


@dataclass(slots=True)
class Log:
    """The part of a draft that becomes the next entry of the history.

    ``lost`` are results that no record holds any more, by ordinal and number of their action. ``seen`` are items, by
    ordinal and number, that a decision found finished before an event told of them.
    """

    seed: str = ""
    moment: float = 0.0
    steps: list[Json] = field(default_factory=list)
    asked: dict[Need, Any] = field(default_factory=dict)
    random: int = 0
    birth: dict[str, Json] = field(default_factory=dict)
    lost: list[tuple[int, int, Result]] = field(default_factory=list)
    is_forced: bool = False
    seen: set[tuple[int, int]] = field(default_factory=set)

    def fork(self) -> Log:
        """A copy that can be thrown away."""
        copy = Log(self.seed, self.moment, list(self.steps), dict(self.asked), self.random, self.birth, list(self.lost))
        copy.seen = set(self.seen)
        return copy
