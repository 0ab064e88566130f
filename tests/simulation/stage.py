"""What the actions of the simulation need of its world."""

from typing import Protocol

from chalicelib.vocabulary import Result


class Stage(Protocol):
    def begins(self, action_execution_id: str) -> None:
        """An action begins to run."""

    def ends(self, action_execution_id: str) -> None:
        """It runs no longer, whether it came to an end or its executor died."""

    def now(self) -> float:
        """The present moment."""

    def poll_begins(self, action_execution_id: str, due_at: float) -> None:
        """An action is asked whether it is done: never before it is due, and by one process at a time."""

    def poll_ends(self, action_execution_id: str) -> None:
        """It has answered, or its executor died."""

    def takes(self, seconds: float) -> None:
        """Let so much time pass; the process may die meanwhile."""

    def doom_of(self, action_execution_id: str) -> str | None:
        """The words in which it failed when its executor died, if it did, in the run to compare with."""

    def answers_later(self, action_execution_id: str, result: Result, seconds: float) -> None:
        """Bring a result through the API after some time."""
