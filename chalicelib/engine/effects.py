"""What the core may ask of the world.

An effect is derived from the records (``reconcile`` finds it again), so losing one loses nothing.
"""

from __future__ import annotations

from chalicelib.data import dataclass
from chalicelib.engine.events import Event


@dataclass(frozen=True, slots=True)
class RunAction:
    """Run this action execution."""

    ordinal: int
    number: int
    is_pure: bool = False
    target: str | None = None
    timeout_sec: float | None = None


@dataclass(frozen=True, slots=True)
class StartSubworkflow:
    """Start the child execution that stands for this action execution.

    What it is started with stands in that record.
    """

    ordinal: int
    number: int
    execution_id: str


@dataclass(frozen=True, slots=True)
class SetTimer:
    """Send ``TimerFired(ordinal, stamp)`` at this moment, never before."""

    ordinal: int
    stamp: int
    due_at: float


@dataclass(frozen=True, slots=True)
class Tell:
    """Hand an event to another execution: a child, or the parent."""

    execution_id: str
    event: Event


@dataclass(frozen=True, slots=True)
class Continue:
    """There is more to do than one transaction holds: hand ``Continued`` to this execution."""


@dataclass(frozen=True, slots=True)
class Notify:
    """There are notices for the publisher of this number."""

    publisher: int


Effect = RunAction | StartSubworkflow | SetTimer | Tell | Continue | Notify
