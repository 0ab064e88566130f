"""A case: definitions, how to start them, what happens from outside meanwhile. Plain data, equal on every server."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(slots=True)
class Case:
    """What is played.

    ``answers`` maps the name of a task to what its asynchronous actions are completed with, one after the other; the
    last one serves all that follow. A task whose list is empty is never answered. ``steps`` are done in their order,
    before the end is awaited: ``{"quiet": [names]}`` waits until nothing runs but the named tasks, ``{"end": true}``
    for the end; ``{"execution": BODY}`` and ``{"task": NAME, "body": BODY}`` are PUT requests.
    """

    seed: int
    about: str
    actions: list[str] = field(default_factory=list)
    workbooks: list[str] = field(default_factory=list)
    workflows: list[str] = field(default_factory=list)
    environments: list[dict[str, Any]] = field(default_factory=list)
    start: dict[str, Any] | None = None
    answers: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    steps: list[dict[str, Any]] = field(default_factory=list)
    # A case for which only real time will do: actions that sleep beside timers.
    real_time: bool = False

    def as_json(self) -> dict[str, Any]:
        """The case as plain JSON."""
        return asdict(self)

    @property
    def is_spoiled(self) -> bool:
        """Whether a definition was given a fault."""
        return "mutated" in self.about

    @property
    def digest(self) -> str:
        """The same for equal cases only."""
        text = json.dumps(self.as_json(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:24]
