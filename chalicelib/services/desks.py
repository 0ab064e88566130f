"""Where events of one execution meet in this process: whoever holds the execution takes all that wait (flat combining).

So a hundred results that arrive while a turn is being written go into the next one together, and threads of one process
do not fight over a header.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import field
from typing import Protocol

from chalicelib.data import dataclass
from chalicelib.engine.effects import Effect, RunAction
from chalicelib.engine.events import Event
from chalicelib.engine.records import Claim, WorkflowExecution


class Carrier(Protocol):
    """Someone who can run one more action right after a turn: an executor with time left."""

    def claim_for(self, effect: RunAction, *, is_item: bool = False) -> Claim | None:
        """A claim on this action if it can be run here and now, else ``None``; ``is_item``: it is one of many."""


@dataclass(slots=True)
class Outcome:
    """What became of an event: the header after its turn, effects to carry out, an action to carry on with."""

    header: WorkflowExecution
    effects: tuple[Effect, ...] = ()
    carried: RunAction | None = None
    is_news: bool = True


@dataclass(frozen=True, slots=True)
class Tried:
    """An action that was claimed in a turn, which may have been lost; and the other effects of that turn."""

    carried: RunAction
    claim: Claim
    effects: tuple[Effect, ...]


@dataclass(slots=True)
class Submission:
    """An event with whoever brought it, and what became of it: an outcome or an error.

    ``tried`` is what its carrier claimed in the turn that was tried last.
    """

    event: Event
    carrier: Carrier | None
    outcome: Outcome | None = None
    error: BaseException | None = None
    is_parked: bool = False
    tried: Tried | None = None

    @property
    def is_done(self) -> bool:
        """Whether it has been decided about."""
        return self.outcome is not None or self.error is not None

    def answer(self) -> Outcome:
        """What became of it. Raises what it was refused with."""
        if self.error is not None:
            raise self.error
        assert self.outcome is not None
        return self.outcome


@dataclass(slots=True)
class _Desk:
    lock: threading.Lock = field(default_factory=threading.Lock)
    waiting: list[Submission] = field(default_factory=list)
    visitors: int = 0


class Desks:
    """One desk for each execution that is being worked on; a desk without visitors is gone."""

    def __init__(self) -> None:
        self._desks: dict[str, _Desk] = {}
        self._lock = threading.Lock()

    def visit(self, execution_id: str, submission: Submission, serve: Callable[[list[Submission]], None]) -> None:
        """Wait for one's turn, and serve all that wait unless someone has served this one meanwhile."""
        desk = self._sit_down(execution_id, submission)
        try:
            with desk.lock:
                if not submission.is_done:
                    batch, desk.waiting = desk.waiting, []
                    serve(batch)
        finally:
            self._stand_up(execution_id, desk)

    def _sit_down(self, execution_id: str, submission: Submission) -> _Desk:
        with self._lock:
            desk = self._desks.setdefault(execution_id, _Desk())
            desk.visitors += 1
            desk.waiting.append(submission)
            return desk

    def _stand_up(self, execution_id: str, desk: _Desk) -> None:
        with self._lock:
            desk.visitors -= 1
            if not desk.visitors:
                self._desks.pop(execution_id, None)
