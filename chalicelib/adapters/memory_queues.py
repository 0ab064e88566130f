"""``Queue`` in memory, with the receiving side that SQS has."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from heapq import heappop, heappush
from itertools import count
from json import dumps, loads
from threading import Lock
from typing import Final

from chalicelib.adapters.bounds import check_message
from chalicelib.data import dataclass, replace
from chalicelib.services.ports import Clock, Message, Queue
from chalicelib.vocabulary import JsonObject

SENT_REMEMBERED_MAX: Final = 100_000


@dataclass(frozen=True, slots=True)
class Received:
    """A message in the hands of a receiver; ``receive_count`` begins at 1, ``receipt`` is good until redelivery."""

    message_id: str
    receipt: str
    body: JsonObject
    queue: str
    receive_count: int


@dataclass(slots=True)
class _Waiting:
    text: str
    receive_count: int = 0


class MemoryQueue(Queue):
    """Task queues in memory, with SQS's delay, visibility timeout, redelivery and dead letters.

    ``sent`` remembers the latest messages in order; ``dead`` holds, by queue, the bodies that were received too often.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        queues: Sequence[str] = ("tasks", "tasks-long", "notifications"),
        receives_max: int | None = None,
    ) -> None:
        self.sent: deque[Message] = deque(maxlen=SENT_REMEMBERED_MAX)
        self.dead: dict[str, list[JsonObject]] = {queue: [] for queue in queues}
        self._clock = clock
        self._receives_max = receives_max
        self._lock = Lock()
        self._count = count(1)
        self._waiting: dict[str, dict[int, _Waiting]] = {queue: {} for queue in queues}
        # By queue: when a message may be seen, the number of this showing, and of the message. Only the showing that
        # _showings has for the message is valid; the others are dropped when they come up.
        self._times: dict[str, list[tuple[float, int, int]]] = {queue: [] for queue in queues}
        self._showings: dict[int, tuple[float, int]] = {}

    def send(self, messages: Sequence[Message]) -> None:
        """See ``Queue``."""
        for message in messages:
            check_message(message, self._waiting)
        texts = [dumps(message.body) for message in messages]
        now = self._clock.now()
        with self._lock:
            for message, text in zip(messages, texts, strict=True):
                number = next(self._count)
                self._waiting[message.queue][number] = _Waiting(text)
                self._show(message.queue, number, now + message.delay_sec, next(self._count))
                self.sent.append(replace(message, body=loads(text)))

    def receive(
        self, queue: str = "tasks", *, messages_max: int = 10, now: float | None = None, visibility_sec: float = 120
    ) -> list[Received]:
        """Take messages that may be seen now, oldest first, and hide them from others for a while."""
        moment = self._clock.now() if now is None else now
        found: list[Received] = []
        with self._lock:
            while len(found) < messages_max and (number := self._next_visible(queue, moment)) is not None:
                waiting = self._waiting[queue][number]
                if self._receives_max is not None and waiting.receive_count >= self._receives_max:
                    self._forget(queue, number)
                    self.dead[queue].append(loads(waiting.text))
                    continue
                waiting.receive_count += 1
                showing = next(self._count)
                self._show(queue, number, moment + visibility_sec, showing)
                body = loads(waiting.text)
                found.append(Received(str(number), _receipt(number, showing), body, queue, waiting.receive_count))
        return found

    def delete(self, received: Received) -> bool:
        """Done with a message. ``False``: it was delivered again meanwhile, or deleted, and this changes nothing."""
        with self._lock:
            if not self._is_current(received):
                return False
            self._forget(received.queue, int(received.message_id))
            return True

    def change_visibility(self, received: Received, visibility_sec: float, *, now: float | None = None) -> bool:
        """Show a message again after so many seconds from now (0: at once); ``False`` as in ``delete``."""
        moment = self._clock.now() if now is None else now
        with self._lock:
            if not self._is_current(received):
                return False
            number = int(received.message_id)
            showing = self._showings[number][1]  # the receipt stays good
            self._show(received.queue, number, moment + visibility_sec, showing)
            return True

    def next_visible_at(self, queue: str = "tasks") -> float | None:
        """When the next message of a queue may be seen; ``None`` when there is none."""
        with self._lock:
            self._drop_stale(queue)
            return self._times[queue][0][0] if self._times[queue] else None

    def size(self, queue: str = "tasks") -> int:
        """How many messages there are: visible, delayed and in the hands of receivers."""
        with self._lock:
            return len(self._waiting[queue])

    def _show(self, queue: str, number: int, visible_at: float, showing: int) -> None:
        self._showings[number] = (visible_at, showing)
        heappush(self._times[queue], (visible_at, showing, number))

    def _next_visible(self, queue: str, moment: float) -> int | None:
        self._drop_stale(queue)
        times = self._times[queue]
        return heappop(times)[2] if times and times[0][0] <= moment else None

    def _drop_stale(self, queue: str) -> None:
        times = self._times[queue]
        while times and self._showings.get(times[0][2]) != times[0][:2]:
            heappop(times)

    def _forget(self, queue: str, number: int) -> None:
        del self._waiting[queue][number], self._showings[number]

    def _is_current(self, received: Received) -> bool:
        showing = self._showings.get(int(received.message_id))
        return showing is not None and received.receipt == _receipt(received.message_id, showing[1])


def _receipt(number: int | str, showing: int) -> str:
    return f"{number}/{showing}"
