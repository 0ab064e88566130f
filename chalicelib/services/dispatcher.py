"""Carrying out effects after a commit.

Actions and timers become messages; other executions are taken along in the same process while there is time.

Everything here may be repeated, lost or done late: ``reconcile`` derives from the records whatever did not happen.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable
from typing import assert_never

from chalicelib.data import dataclass, replace
from chalicelib.engine.creation import Birth, create
from chalicelib.engine.draft import Draft, Loaded
from chalicelib.engine.effects import Continue, Notify, RunAction, SetTimer, StartSubworkflow, Tell
from chalicelib.engine.events import (
    ActionCompleted,
    ActionUpdated,
    Continued,
    Event,
    PauseRequested,
    ResumeRequested,
)
from chalicelib.engine.records import ActionExecution, Parent, WorkflowExecution
from chalicelib.engine.workflow import outcome_of
from chalicelib.errors import ConflictException, MistralError, NotFoundException
from chalicelib.limits import DELAYED_MESSAGE_MAX_SEC, MESSAGES_HELD_MAX, WAVE_AGAIN_SEC
from chalicelib.services import messages
from chalicelib.services.desks import Carrier, Outcome
from chalicelib.services.ports import Clock, Message, Queue
from chalicelib.services.turns import Turns
from chalicelib.vocabulary import Result, State


@dataclass(frozen=True, slots=True)
class Carried:
    """An action that the carrier has claimed and now runs."""

    execution_id: str
    effect: RunAction


@dataclass(frozen=True, slots=True)
class _Work:
    """Something to be done with another execution, now or by message; ``subject``: see ``_subject``."""

    do: Callable[[Carrier | None], tuple[str, Outcome] | None]
    message: Message
    subject: object = None


class Dispatcher:
    """Carries out the effects of turns."""

    def __init__(self, turns: Turns, queue: Queue, clock: Clock, targets: frozenset[str] = frozenset()) -> None:
        self._targets = targets
        self._turns = turns
        self._queue = queue
        self._clock = clock

    def carry_out(
        self, execution_id: str, outcome: Outcome, *, until: float, carrier: Carrier | None = None
    ) -> Carried | None:
        """Carry out the effects of a turn and of every turn that follows; what there is no time for goes by message.

        ``until`` is a moment in seconds. Returns the action that the carrier has taken on, if any.
        """
        carried = Carried(execution_id, outcome.carried) if outcome.carried else None
        work: deque[_Work] = deque()
        held: list[Message] = []
        self._sort(execution_id, outcome, work, held)
        try:
            while work:
                if self._clock.now() >= until:
                    held += _of_tenant(outcome.header.project_id, [piece.message for piece in work])
                    break
                piece = work.popleft()
                followed = piece.do(carrier if carried is None else None)
                if followed is None:
                    continue
                other_id, following = followed
                if following.carried is not None:
                    carried = Carried(other_id, following.carried)
                self._sort(other_id, following, work, held)
        finally:
            self._flush(held)
        return carried

    def _flush(self, held: list[Message]) -> None:
        if held:
            out = list(held)
            held.clear()
            self._queue.send(out)

    def _sort(self, execution_id: str, outcome: Outcome, work: deque[_Work], held: list[Message]) -> None:
        """Queue work with other executions, and send messages.

        They are held while more of the same is released in waves: results that come in between would take the header
        from the next wave, again and again.
        """
        now = self._clock.now()
        out: list[Message] = []
        for effect in outcome.effects:
            match effect:
                case RunAction(is_pure=True):
                    work.append(self._telling(execution_id, execution_id, Continued()))
                case RunAction():
                    out.append(messages.action_message(execution_id, effect, self._targets))
                case SetTimer():
                    delay_sec = max(0, math.ceil(effect.due_at - now))
                    # A timer further away is the alarm's: it wakes the execution in time.
                    if delay_sec <= DELAYED_MESSAGE_MAX_SEC:
                        timer = messages.timer_message(
                            execution_id, effect.ordinal, effect.stamp, effect.due_at, delay_sec
                        )
                        out.append(timer)
                case StartSubworkflow():
                    work.append(self._starting(execution_id, effect))
                case Tell():
                    _append_word(work, self._telling(execution_id, effect.execution_id, effect.event))
                case Notify():
                    out.append(messages.notices_message(execution_id, effect.publisher))
                case Continue():
                    work.append(self._next_wave(outcome.header))
                case _:
                    assert_never(effect)
        held += _of_tenant(outcome.header.project_id, out)
        if not any(isinstance(effect, Continue) for effect in outcome.effects) or len(held) >= MESSAGES_HELD_MAX:
            self._flush(held)

    def _next_wave(self, header: WorkflowExecution) -> _Work:
        telling = self._telling(header.id, header.id, Continued())

        def make(carrier: Carrier | None) -> tuple[str, Outcome] | None:
            try:
                return telling.do(carrier)
            except ConflictException:
                self.put_off_wave(header)
                return None

        return replace(telling, do=make)

    def put_off_wave(self, header: WorkflowExecution) -> None:
        """Have the next wave made later: results come in faster than it can be, until fewer of them are under way."""
        wave = messages.tell_message(header.id, Continued(), told_by=header.id)
        self._queue.send(_of_tenant(header.project_id, [replace(wave, delay_sec=WAVE_AGAIN_SEC)]))

    def look_after(self, header: WorkflowExecution) -> None:
        """Have an executor look for what an execution owes."""
        self._queue.send(_of_tenant(header.project_id, [messages.reconcile_message(header.id)]))

    def send_poll(self, header: WorkflowExecution, effect: RunAction, number: int, delay_sec: int) -> None:
        """Have an action asked again after a delay."""
        poll = messages.poll_message(header.id, effect, number, delay_sec, self._targets)
        self._queue.send(_of_tenant(header.project_id, [poll]))

    def _telling(self, told_by: str, execution_id: str, event: Event) -> _Work:
        def tell(carrier: Carrier | None) -> tuple[str, Outcome] | None:
            try:
                return execution_id, self._turns.submit(execution_id, event, carrier)
            except NotFoundException:
                return None
            except ConflictException:
                raise
            except MistralError:
                # What one execution tells another may have become impossible meanwhile, such as pausing what has ended.
                return None

        return _Work(tell, messages.tell_message(execution_id, event, told_by=told_by), _subject(execution_id, event))

    # -- sub-workflows

    def _starting(self, parent_id: str, effect: StartSubworkflow) -> _Work:
        return _Work(
            lambda _: self.start_child(parent_id, effect.ordinal, effect.number),
            messages.start_message(parent_id, effect.ordinal, effect.number),
        )

    def start_child(self, parent_id: str, ordinal: int, number: int) -> tuple[str, Outcome] | None:
        """Start the sub-workflow that stands for an action execution; if it has ended, bring its result home."""
        parent = self._turns.header(parent_id)
        action = self.action_of(parent, ordinal, number) if parent is not None else None
        if parent is None or action is None or action.execution_id is None or action.state.is_completed:
            return None
        try:
            birth = self._birth(parent, ordinal, action)
            return action.execution_id, self.begin(birth)
        except ConflictException:
            return self.bring_home(action.execution_id)
        except MistralError as error:
            event = ActionCompleted(ordinal, number, Result(error={"result": error.message}))
            return parent_id, self._turns.submit(parent_id, event)

    def action_of(self, header: WorkflowExecution, ordinal: int, number: int) -> ActionExecution | None:
        """An action execution of a task, finished or not."""
        task = self._turns.store.task(header, ordinal)
        return None if task is None else self._turns.store.action(header, task, number)

    def _birth(self, parent: WorkflowExecution, ordinal: int, action: ActionExecution) -> Birth:
        store = self._turns.store
        assert action.base is not None
        started_with = store.value(parent.id, action.base.input)
        params = dict(store.value(parent.id, started_with["params"]))
        facts = self._turns.definitions.find_workflow(parent.project_id, action.base.name, started_with["namespace"])
        if facts is None:
            raise NotFoundException(f"Failed to find workflow [name={action.base.name}]")
        environment = None
        if isinstance(params.get("env"), str):
            environment = self._turns.definitions.environment(parent.project_id, params["env"])
        return Birth(
            id=action.execution_id or "",
            project_id=parent.project_id,
            facts=facts,
            input=store.value(parent.id, action.input) or {},
            params=params,
            description="sub-workflow execution",
            parent=Parent(parent.id, ordinal, action.number, action.index),
            root_execution_id=parent.root_execution_id or parent.public,
            depth=parent.depth + 1,
            environment=environment,
        )

    def begin(self, birth: Birth) -> Outcome:
        """Create an execution and take its first turn.

        Raises MistralError where it cannot start, ConflictException if it exists.
        """
        loaded = Loaded()
        unborn = Draft(_unborn(birth), loaded)
        engine = self._turns.engine_for(unborn.header)
        return self._turns.begin(self._turns.answered(unborn, lambda: create(engine, birth, loaded)))

    def bring_home(self, child_id: str) -> tuple[str, Outcome] | None:
        """Hand the result of a completed sub-workflow to its parent again; nothing while it runs."""
        child = self._turns.header(child_id)
        if child is None or child.parent is None:
            return None
        draft = Draft(child, Loaded())
        result = self._turns.answered(draft, lambda: outcome_of(draft))
        if result is None:
            return None
        parent = child.parent
        return parent.execution_id, self._turns.submit(
            parent.execution_id, ActionCompleted(parent.ordinal, parent.number, result, child.stamp)
        )


def _of_tenant(tenant: str, out: Iterable[Message]) -> list[Message]:
    return [replace(message, tenant=tenant) for message in out]


def _subject(execution_id: str, event: Event) -> object:
    """What a word about pausing and resuming is about: of two words about the same, only the later one counts."""
    match event:
        case PauseRequested() | ResumeRequested():
            return execution_id
        case ActionUpdated():
            return execution_id, event.ordinal, event.number
        case _:
            return None


def _append_word(work: deque[_Work], word: _Work) -> None:
    """Queue a word in place of an earlier one about the same.

    Otherwise a pause and a resumption that are under way at once would follow each other through a family for ever.
    """
    if word.subject is not None:
        for earlier in [piece for piece in work if piece.subject == word.subject]:
            work.remove(earlier)
    work.append(word)


def _unborn(birth: Birth) -> WorkflowExecution:
    """Enough of a header to ask about an execution that does not exist yet; never stored."""
    return WorkflowExecution(
        id=birth.id,
        project_id=birth.project_id,
        workflow_name=birth.facts.name,
        workflow_id=birth.facts.id,
        definition_hash=birth.facts.definition_hash,
        state=State.IDLE,
        created_at=0.0,
        updated_at=0.0,
        root_execution_id=birth.root_execution_id,
    )
