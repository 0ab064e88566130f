"""The words every layer shares: states, results and plain JSON data.

This module imports nothing of the project and holds no behaviour beyond the tables that give the words their meaning.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final, TypeAlias

from chalicelib.data import dataclass

# Deliberately loose: JSON arrives from YAML, HTTP and actions, and is checked at the edges where it enters.
Json: TypeAlias = Any
JsonObject: TypeAlias = dict[str, Any]


class State(StrEnum):
    """A state of a workflow, task or action execution, spelled as the API shows it."""

    IDLE = "IDLE"
    WAITING = "WAITING"
    RUNNING = "RUNNING"
    DELAYED = "DELAYED"
    PAUSED = "PAUSED"
    SUCCESS = "SUCCESS"
    CANCELLED = "CANCELLED"
    ERROR = "ERROR"
    SKIPPED = "SKIPPED"

    @property
    def is_completed(self) -> bool:
        """Whether nothing more happens by itself in this state."""
        return self in COMPLETED


COMPLETED: Final = frozenset({State.SUCCESS, State.ERROR, State.CANCELLED, State.SKIPPED})

# Which state may follow which, for changes that are asked for from outside (reference: Mistral's workflow/states.py).
# A state may always "become" itself.
MAY_BECOME: Final[dict[State, frozenset[State]]] = {
    State.IDLE: frozenset({State.RUNNING, State.ERROR, State.CANCELLED}),
    State.WAITING: frozenset({State.RUNNING}),
    State.RUNNING: frozenset({State.PAUSED, State.DELAYED, State.SUCCESS, State.ERROR, State.CANCELLED}),
    State.DELAYED: frozenset({State.RUNNING, State.ERROR, State.CANCELLED}),
    State.PAUSED: frozenset({State.RUNNING, State.ERROR, State.CANCELLED}),
    State.SUCCESS: frozenset(),
    State.CANCELLED: frozenset({State.RUNNING}),
    State.ERROR: frozenset({State.RUNNING, State.SKIPPED}),
    State.SKIPPED: frozenset(),
}


def may_become(current: State, wanted: State) -> bool:
    """Whether a requested change from ``current`` to ``wanted`` is legal."""
    return current is wanted or wanted in MAY_BECOME[current]


@dataclass(frozen=True, slots=True)
class Result:
    """What an action came to: data, an error value, or a cancellation."""

    data: Json = None
    error: Json = None
    cancel: bool = False

    @property
    def state(self) -> State:
        """The completed state that an action execution takes with this result."""
        if self.cancel:
            return State.CANCELLED
        return State.SUCCESS if self.error is None else State.ERROR

    @property
    def value(self) -> Json:
        """The data of a success, the error value of anything else."""
        return self.data if self.state is State.SUCCESS else self.error
