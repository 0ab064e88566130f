"""Knows when a queue is worth a look: at once when a message was sent, later when a delayed one falls due.

An idle pump can therefore poll slowly and still begin within a millisecond. Who waits for a wake-up is not at work; who
is, ``Activity`` counts.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Condition
from typing import Any, Final
from unittest.mock import patch

from botocore.handlers import BUILTIN_HANDLERS

from chalicelib.adapters.memory_queues import MemoryQueue
from chalicelib.services.ports import Message

DUE_TIMES_MAX: Final = 100_000
_SENT: Final = "mistral_local_sent"


class Activity:
    """How many are at work: threads that feed, hands, the clock door, requests."""

    def __init__(self) -> None:
        self._condition = Condition()
        self._count = 0
        self._when_busy: Callable[[], None] = lambda: None

    def when_busy(self, act: Callable[[], None]) -> None:
        """What is done whenever somebody begins while nobody was at work."""
        self._when_busy = act

    def enter(self) -> None:
        """Somebody begins to work."""
        with self._condition:
            if self._count == 0:
                self._when_busy()
            self._count += 1
            self._condition.notify_all()

    def leave(self) -> None:
        """Somebody has ended."""
        with self._condition:
            self._count -= 1
            self._condition.notify_all()

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Somebody is at work as long as the block lasts."""
        self.enter()
        try:
            yield
        finally:
            self.leave()

    @contextmanager
    def held(self) -> Iterator[bool]:
        """Nobody begins or ends as long as the block lasts; gives whether nobody is at work."""
        with self._condition:
            yield self._count == 0

    def wait_idle(self, timeout_sec: float) -> bool:
        """Until nobody is at work; whether that came in time."""
        with self._condition:
            return self._condition.wait_for(lambda: self._count == 0, timeout_sec)

    def wait_busy(self, timeout_sec: float) -> bool:
        """Until somebody is at work; whether that came in time."""
        with self._condition:
            return self._condition.wait_for(lambda: self._count > 0, timeout_sec)


class Wakeup:
    """The alarm clock of one queue, in seconds on the clock ``now``; who waits for it counts as one at work before."""

    def __init__(self, now: Callable[[], float] = time.monotonic, activity: Activity | None = None) -> None:
        self._now = now
        self._activity = activity
        self._condition = Condition()
        self._due_sec: list[float] = []
        self._awake = False

    def sent(self, delay_sec: float = 0.0) -> None:
        """A message was sent that may be received after ``delay_sec``."""
        with self._condition:
            if delay_sec <= 0:
                self._awake = True
            elif len(self._due_sec) < DUE_TIMES_MAX:  # beyond it, the slow poll finds them
                heapq.heappush(self._due_sec, self._now() + delay_sec)
            self._condition.notify_all()

    def interrupt(self) -> None:
        """End the present or the next wait."""
        self.sent()

    def look(self) -> None:
        """Time has been moved: whoever waits looks again at what is due."""
        with self._condition:
            self._condition.notify_all()

    @property
    def is_called(self) -> bool:
        """Whether a look is due now."""
        return self.pause_sec(1.0) == 0

    def next_due(self) -> float | None:
        """When the next delayed message is due, if there is one."""
        with self._condition:
            return self._due_sec[0] if self._due_sec else None

    def pause_sec(self, most_sec: float) -> float:
        """How long nothing is expected: 0 when a look is due now, never more than ``most_sec``."""
        with self._condition:
            return self._pause_sec(most_sec)

    def wait(self, most_sec: float) -> None:
        """Return when a look is worth while, or after ``most_sec``."""
        with self._condition:
            deadline_sec = self._now() + most_sec
            if self._activity is not None:
                self._activity.leave()
            try:
                while (pause_sec := self._pause_sec(deadline_sec - self._now())) > 0:
                    self._condition.wait(pause_sec)
            finally:
                # Before it is forgotten that a look was due: somebody is at work, or somebody is called, all the time.
                if self._activity is not None:
                    self._activity.enter()
            self._awake = False

    def _pause_sec(self, most_sec: float) -> float:
        now_sec = self._now()
        while self._due_sec and self._due_sec[0] <= now_sec:
            heapq.heappop(self._due_sec)
            self._awake = True
        if self._awake:
            return 0.0
        return max(0.0, min([most_sec, *(due_sec - now_sec for due_sec in self._due_sec[:1])]))


@contextmanager
def watching_sqs(queues: Mapping[str, Wakeup]) -> Iterator[None]:
    """Wake the queue of each SQS send in this process, by queue name; for clients that are made within the block."""

    def remember(params: Any, context: Any, **_event: object) -> None:
        entries = params.get("Entries") or [params]
        name = str(params.get("QueueUrl", "")).rpartition("/")[2]
        context[_SENT] = [(name, int(entry.get("DelaySeconds") or 0)) for entry in entries]

    def announce(context: Any, **_event: object) -> None:
        for name, delay_sec in context.get(_SENT, ()):
            if name in queues:
                queues[name].sent(delay_sec)

    hooks: list[tuple[str, Callable[..., None]]] = [
        (f"{moment}.sqs.{operation}", hook)
        for moment, hook in (("before-parameter-build", remember), ("after-call", announce))
        for operation in ("SendMessage", "SendMessageBatch")
    ]
    BUILTIN_HANDLERS.extend(hooks)
    try:
        yield
    finally:
        for hook in hooks:
            BUILTIN_HANDLERS.remove(hook)


@contextmanager
def watching_memory(queue: MemoryQueue, queues: Mapping[str, Wakeup]) -> Iterator[None]:
    """Wake a queue of the in-memory twin at each send."""
    send = queue.send

    def send_and_wake(messages: Sequence[Message]) -> None:
        send(messages)
        for message in messages:
            queues[message.queue].sent(message.delay_sec)

    with patch.object(queue, "send", send_and_wake):
        yield
