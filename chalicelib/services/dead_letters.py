"""Dead letters: messages that failed too often, what they were for, and how they are sent once more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from chalicelib.data import dataclass
from chalicelib.errors import NotFoundException
from chalicelib.limits import REDRIVE_MESSAGES_MAX
from chalicelib.services import messages
from chalicelib.services.execution_store import ExecutionStore
from chalicelib.vocabulary import JsonObject

# Where Lambda keeps the event that a function failed with, in what it sends to the queue for those.
FAILED_EVENT: Final = "requestPayload"
# Messages whose `x` is no execution.
_OF_TRIGGERS: Final = frozenset({messages.CRON, messages.CRON_RUN})


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message as it lies there; ``body`` is empty where it is no JSON object. Seconds since the epoch."""

    message_id: str
    body: JsonObject
    sent_at: float


class DeadLetters(Protocol):
    """The dead-letter queues, each by the name of the queue that its messages come from."""

    def queues(self) -> Sequence[str]:
        """The names of those that can be re-driven."""

    def size(self, queue: str) -> int:
        """About how many messages lie there. Raises NotFoundException for a queue that is not there."""

    def sample(self, queue: str, limit: int) -> list[DeadLetter]:
        """Some of them; they stay where they are."""

    def move(self, queue: str, limit: int) -> int:
        """Send up to so many of them again to where they come from; how many it were.

        One that is sent and could not be deleted comes twice, which harms nothing.
        """


def redrive(letters: DeadLetters, queue: str) -> int:
    """Send the dead letters of a queue again, those that lie there now; how many it were.

    Every message may be handled twice: what is done already changes nothing. Raises NotFoundException.
    """
    if queue not in letters.queues():
        raise NotFoundException(f"There is no queue {queue}; there are: {', '.join(letters.queues())}.")
    return letters.move(queue, min(letters.size(queue), REDRIVE_MESSAGES_MAX))


def story_of(letter: DeadLetter, store: ExecutionStore) -> str:
    """What a message was for, and what has become of that."""
    event = letter.body.get(FAILED_EVENT)
    if isinstance(event, dict):
        return f"event {event.get('id')} of {event.get('source')}: {event.get('detail-type')}"
    kind, subject = letter.body.get("kind"), letter.body.get("x")
    if not isinstance(kind, str):
        return "no message of this service"
    if kind == messages.ALERT:
        return "an alert for a publisher of the service"
    if not isinstance(subject, str) or kind == messages.MAINTENANCE:
        return f"{kind}"
    if kind in _OF_TRIGGERS:
        return f"{kind} of cron-trigger {subject}"
    if kind == messages.AD_HOC:
        return f"{kind} of action execution {subject}"
    header = store.header(subject)
    if header is None:
        return f"{kind} for execution {subject}, which is not there any more"
    return f"{kind} for execution {header.public} of {header.workflow_name}, which is {header.state}"
