"""Actions that are not done yet: asked again after a while, without a process that waits for them.

The law: whoever asks holds the claim, so that nobody asks at the same time, and never before its time. Each "not yet"
has a number: the message that asks carries it, and one for an earlier number changes nothing. The note is written
before the message is sent, so a process that dies between the two is healed by the redelivery of its own message, or by
the alarm.
"""

from __future__ import annotations

import json
import math
from enum import Enum, auto
from typing import Final

from chalicelib.actions.registry import Action, Pending, Polling
from chalicelib.data import replace
from chalicelib.engine.effects import RunAction
from chalicelib.engine.records import ActionExecution, Claim, Poll, TaskExecution, WorkflowExecution
from chalicelib.errors import ConflictException
from chalicelib.limits import DELAY_MAX_SEC, DELAYED_MESSAGE_MAX_SEC, POLL_DELAY_MIN_SEC, POLL_MEMO_BYTES_MAX
from chalicelib.services.carriers import LeaveMessage, Thread
from chalicelib.services.claims import RECEIVES_MAX, Claims, Held
from chalicelib.services.dispatcher import Dispatcher
from chalicelib.services.ports import Clock
from chalicelib.vocabulary import Result

_RACES_MAX: Final = 3
# What an action has said is lost when its note is not written: whoever holds that tries more often.
_NOTE_RACES_MAX: Final = 12


class Hopeless(Exception):
    """Asking has killed its process again and again."""


class Step(Enum):
    """What a message has to do with an action that is not done."""

    ASK = auto()
    # Someone asks at this moment, or has died while asking.
    LEAVE = auto()
    # The message that is to ask may be missing, or comes too early.
    SEND = auto()
    DROP = auto()
    GIVE_UP = auto()


def step_for(claim: Claim, *, number: int | None, receives: int, now: float) -> Step:
    """What is to be done. ``number`` is the message's; one that only looks after an action has none."""
    poll = claim.poll
    assert poll is not None
    if claim.deadline > now:
        return Step.LEAVE
    if number is not None and number != poll.number:
        # Its own work is done. If it comes again, its process may have died before it sent the next message.
        return Step.SEND if receives > 1 and number + 1 == poll.number else Step.DROP
    if now < poll.due_at:
        # One that only looks after the action leaves the message alone that is under way; if that is lost, the next
        # alarm finds the action overdue.
        return Step.SEND if number is not None or receives > 1 else Step.DROP
    return Step.GIVE_UP if receives >= RECEIVES_MAX else Step.ASK


def next_poll(pending: Pending, last: Poll | None, now: float) -> Poll:
    """What is to be kept of an action that says "not yet"."""
    delay_sec = min(max(pending.delay_sec, POLL_DELAY_MIN_SEC), DELAY_MAX_SEC)
    return Poll((last.number if last else 0) + 1, round(now + delay_sec, 3), pending.data)


def poll_delay_sec(poll: Poll, now: float) -> int:
    """The delay of the message that asks; where it cannot be that long, the message comes early, and is sent on."""
    return min(max(0, math.ceil(poll.due_at - now)), DELAYED_MESSAGE_MAX_SEC)


def answer_of(runnable: Action, result: Result) -> Result:
    """What an action answered, or the error that it may not answer so."""
    if not isinstance(result, Pending):
        return result
    if runnable.polling is Polling.NEVER:
        return Result(error=f"The action '{runnable.name}' says that it is not done, but is not declared with polling.")
    try:
        size = len(json.dumps(result.data, allow_nan=False))
    except (TypeError, ValueError) as error:
        return Result(error=f"The note of the action '{runnable.name}' for its next run is not JSON: {error}")
    if size > POLL_MEMO_BYTES_MAX:
        return Result(
            error=f"The note of the action '{runnable.name}' for its next run has {size} bytes; the most is "
            f"{POLL_MEMO_BYTES_MAX}."
        )
    return result


class Polls:
    """The actions of executions that are asked again."""

    def __init__(self, claims: Claims, dispatcher: Dispatcher, clock: Clock) -> None:
        self._claims = claims
        self._dispatcher = dispatcher
        self._clock = clock

    def take(
        self,
        header: WorkflowExecution,
        task: TaskExecution,
        action: ActionExecution,
        thread: Thread,
        *,
        number: int | None,
        receives: int,
    ) -> Held | None:
        """Claim an action that is to be asked now; ``None`` if it is not, or not by this message.

        Raises LeaveMessage while it is unknown whether the present claimer lives, Hopeless.
        """
        claim: Claim | None = None
        for _ in range(_RACES_MAX):
            held = self._claims.find(header, task, action)
            if held is None or held.claim.poll is None:
                return None
            if claim is not None and held.claim == claim:
                # Our own claim, of which the answer got lost.
                return held
            step = step_for(held.claim, number=number, receives=receives, now=self._clock.now())
            if step is Step.GIVE_UP:
                raise Hopeless
            if step is Step.LEAVE and held.claim.claimer == thread.claimer:
                raise LeaveMessage
            if step is Step.SEND:
                self._send(header, task, action, held.claim.poll)
            if step is not Step.ASK:
                return None
            claim = replace(thread.claim(), poll=held.claim.poll)
            try:
                return self._claims.write(header, task, action, held, claim)
            except ConflictException:
                continue
        raise LeaveMessage

    def keep(
        self,
        header: WorkflowExecution,
        task: TaskExecution,
        action: ActionExecution,
        thread: Thread,
        *,
        pending: Pending,
        held: Held | None,
    ) -> None:
        """Note that an action is not done, give its claim back, and send the message that asks again.

        Nothing happens if the claim has gone to another, or the action has ended. Raises LeaveMessage.
        """
        poll = next_poll(pending, held.claim.poll if held is not None else None, self._clock.now())
        noted = Claim("", 0.0, poll)
        for _ in range(_NOTE_RACES_MAX):
            held = held or self._claims.find(header, task, action)
            is_noted = held is not None and held.claim == noted
            if held is None or not (is_noted or held.claim.claimer == thread.claimer):
                return
            try:
                # It is there already where the answer to the writing got lost.
                if not is_noted:
                    self._claims.write(header, task, action, held, noted)
            except ConflictException:
                held = None
                continue
            self._send(header, task, action, poll)
            return
        raise LeaveMessage

    def _send(self, header: WorkflowExecution, task: TaskExecution, action: ActionExecution, poll: Poll) -> None:
        effect = RunAction(task.ordinal, action.number, action.is_pure, action.target, action.timeout_sec)
        self._dispatcher.send_poll(header, effect, poll.number, poll_delay_sec(poll, self._clock.now()))
