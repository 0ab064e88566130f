"""What this process knows of executions it is working on: the last committed header, and records loaded so far.

A session may be stale; committing on condition of the header's revision shows it. Records other than the header never
change without it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import field
from typing import Final

from chalicelib.data import dataclass
from chalicelib.engine.draft import Loaded
from chalicelib.engine.needs import NeedAction, NeedWorkflow
from chalicelib.engine.records import WorkflowExecution
from chalicelib.engine.sealing import Transition

_DEFINITIONS_FRESH_SEC: Final = 2.0
_PAYLOADS_KEPT: Final = 64


@dataclass(slots=True)
class Session:
    """One execution as this process last saw it."""

    header: WorkflowExecution
    loaded: Loaded = field(default_factory=Loaded)
    facts_at: float = 0.0

    def begin(self, now: float) -> None:
        """Forget what may have changed elsewhere: answers about other executions at once, definitions after a while."""
        keeps_definitions = now - self.facts_at < _DEFINITIONS_FRESH_SEC
        self.loaded.found = {
            need: value
            for need, value in self.loaded.found.items()
            if keeps_definitions and isinstance(need, (NeedAction, NeedWorkflow))
        }
        if not keeps_definitions:
            self.facts_at = now
        if len(self.loaded.payloads) > _PAYLOADS_KEPT:
            self.loaded.payloads.clear()

    def advance(self, transition: Transition) -> None:
        """Take over what has just been committed."""
        self.header = transition.header
        self.loaded.tasks.update(transition.tasks)
        self.loaded.pages.update(transition.pages)
        self.loaded.contexts.update(transition.contexts)
        for ordinal, items in transition.items.items():
            self.loaded.items.setdefault(ordinal, {}).update(items)
        self.loaded.values.update(transition.values)
        self.loaded.payloads.update(transition.payload_values)


class Sessions:
    """A bounded number of sessions, the least recently used forgotten first."""

    def __init__(self, capacity: int = 256) -> None:
        self._capacity = capacity
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, execution_id: str) -> Session | None:
        """The session of an execution, if there is one."""
        with self._lock:
            session = self._sessions.get(execution_id)
            if session is not None:
                self._sessions.move_to_end(execution_id)
            return session

    def put(self, execution_id: str, session: Session) -> None:
        """Remember a session."""
        with self._lock:
            self._sessions[execution_id] = session
            self._sessions.move_to_end(execution_id)
            while len(self._sessions) > self._capacity:
                self._sessions.popitem(last=False)

    def clear(self) -> None:
        """Forget every session."""
        with self._lock:
            self._sessions.clear()

    def drop(self, execution_id: str) -> None:
        """Forget a session that proved stale."""
        with self._lock:
            self._sessions.pop(execution_id, None)
