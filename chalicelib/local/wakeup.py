"""Knows when a queue is worth a look: at once when a message was sent, later when a delayed one falls due.

An idle pump can therefore poll slowly and still begin within a millisecond.
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


class Wakeup:
    """The alarm clock of one queue, in seconds on the clock ``now``."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
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

    def pause_sec(self, most_sec: float) -> float:
        """How long nothing is expected: 0 when a look is due now, never more than ``most_sec``."""
        with self._condition:
            return self._pause_sec(most_sec)

    def wait(self, most_sec: float) -> None:
        """Return when a look is worth while, or after ``most_sec``."""
        with self._condition:
            deadline_sec = self._now() + most_sec
            while (pause_sec := self._pause_sec(deadline_sec - self._now())) > 0:
                self._condition.wait(pause_sec)
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
