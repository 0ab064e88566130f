"""The engine service: what the API, the executor and the clock ask of executions."""

from __future__ import annotations

from dataclasses import field
from typing import Final

from chalicelib.data import dataclass
from chalicelib.engine.creation import Birth
from chalicelib.engine.draft import Draft, Loaded
from chalicelib.engine.effects import Effect, RunAction, StartSubworkflow, Tell
from chalicelib.engine.events import (
    ActionUpdated,
    ClaimExpired,
    Continued,
    Event,
    PauseRequested,
    Revived,
    StopRequested,
)
from chalicelib.engine.identity import execution_id_from, partition_of
from chalicelib.engine.reconcile import owed_effects, owed_notices
from chalicelib.engine.records import WorkflowExecution
from chalicelib.errors import ConflictException, DuplicateEntryException, NotFoundException
from chalicelib.services.definitions import Definitions
from chalicelib.services.desks import Carrier, Outcome
from chalicelib.services.dispatcher import Carried, Dispatcher
from chalicelib.services.ports import Clock, Entropy
from chalicelib.services.turns import Turns
from chalicelib.vocabulary import JsonObject, State

# How long an API request may go on taking other executions along before the rest goes by message.
API_BUDGET_SEC: Final = 5.0


@dataclass(frozen=True, slots=True)
class StartRequest:
    """A start, as the API or a trigger asks for it."""

    project_id: str
    workflow_identifier: str
    namespace: str = ""
    input: JsonObject = field(default_factory=dict)
    params: JsonObject = field(default_factory=dict)
    description: str | None = None
    execution_id: str | None = None
    security: JsonObject | None = None


class EngineService:
    """Starts executions and brings events to them."""

    def __init__(
        self, turns: Turns, dispatcher: Dispatcher, definitions: Definitions, clock: Clock, entropy: Entropy
    ) -> None:
        self.turns = turns
        self.dispatcher = dispatcher
        self._definitions = definitions
        self._clock = clock
        self._entropy = entropy

    def start(self, request: StartRequest) -> WorkflowExecution:
        """Start an execution and take its first turn.

        A chosen id that exists already gives the existing execution, and nothing is started.
        Raises NotFoundException for an unknown workflow; InputException, EvaluationException and WorkflowException for
        what cannot be started.
        """
        chosen = request.execution_id
        execution_id = partition_of(chosen) if chosen else execution_id_from(self._entropy.token())
        if chosen and (existing := self._existing(request, execution_id)) is not None:
            return existing
        facts = self._definitions.workflow_for_start(request.project_id, request.workflow_identifier, request.namespace)
        env = request.params.get("env")
        birth = Birth(
            id=execution_id,
            project_id=request.project_id,
            facts=facts,
            input=request.input,
            params=request.params,
            public_id=chosen or "",
            description=request.description,
            environment=self._definitions.environment(request.project_id, env)
            if isinstance(env, str) and env
            else None,
            security=request.security,
        )
        try:
            outcome = self.dispatcher.begin(birth)
        except ConflictException:
            existing = self._existing(request, execution_id)
            if existing is None:
                raise
            return existing
        return self._finish(execution_id, outcome)

    def _existing(self, request: StartRequest, execution_id: str) -> WorkflowExecution | None:
        header = self.turns.header(execution_id)
        if header is not None and header.project_id != request.project_id:
            raise DuplicateEntryException(f"Duplicate entry for WorkflowExecution ['id']: {request.execution_id}")
        return header

    def handle(self, execution_id: str, event: Event) -> WorkflowExecution:
        """Bring an event to an execution. Raises NotFoundException, and MistralError where the request is refused."""
        return self._finish(execution_id, self.turns.submit(execution_id, event))

    def _finish(self, execution_id: str, outcome: Outcome) -> WorkflowExecution:
        if not outcome.effects:
            return outcome.header
        self.dispatcher.carry_out(execution_id, outcome, until=self._clock.now() + API_BUDGET_SEC)
        return self.turns.latest(execution_id) or outcome.header

    def proceed(
        self, execution_id: str, event: Event, *, until: float, carrier: Carrier | None = None
    ) -> Carried | None:
        """Bring an event to an execution on behalf of a carrier, and say what the carrier is to run next.

        Raises NotFoundException for a record that is missing; an execution that is gone has just nothing to be done.
        """
        try:
            outcome = self.turns.submit(execution_id, event, carrier)
        except NotFoundException:
            if not self.turns.is_gone(execution_id):
                raise
            return None
        except ConflictException:
            header = self.turns.header(execution_id)
            if not isinstance(event, Continued) or header is None:
                raise
            self.dispatcher.put_off_wave(header)
            return None
        return self.dispatcher.carry_out(execution_id, outcome, until=until, carrier=carrier)

    # -- healing

    def reconcile(self, execution_id: str, *, until: float, carrier: Carrier | None = None) -> Carried | None:
        """Carry out whatever an execution still owes: after a redelivery, and when its alarm rings."""
        try:
            outcome = self.turns.sweep(execution_id)
        except NotFoundException:
            if not self.turns.is_gone(execution_id):
                raise
            return None
        self.dispatcher.carry_out(execution_id, outcome, until=until)
        header = self.turns.header(execution_id)
        if header is None or (header.state.is_completed and not header.frontier):
            self._remind_parent(execution_id, header, until)
            if header is not None:
                self.dispatcher.carry_out(execution_id, Outcome(header, tuple(owed_notices(header))), until=until)
            return None
        self._follow_parent(header, until)
        effects = self._owed(header)
        return self.dispatcher.carry_out(execution_id, Outcome(header, tuple(effects)), until=until, carrier=carrier)

    def _owed(self, header: WorkflowExecution) -> list[Effect]:
        draft = Draft(header, Loaded())
        owed = self.turns.answered(draft, lambda: owed_effects(draft))
        effects: list[Effect] = []
        for effect in owed:
            if isinstance(effect, RunAction):
                action = draft.action(draft.task(effect.ordinal), effect.number)
                if action is not None and action.claim is not None and action.claim.poll is None:
                    # Claimed with the header: if its executor is dead, the event below says what becomes of it.
                    self.turns.submit(header.id, ClaimExpired(effect.ordinal, effect.number))
                    if action.safe_rerun and action.claim.deadline <= self._clock.now():
                        effects.append(effect)
                    continue
            if isinstance(effect, StartSubworkflow):
                child = self.turns.header(effect.execution_id)
                if child is not None and not child.state.is_completed:
                    if child.revision == 1:
                        # Who gave birth to it may have died before it sent what followed.
                        self.dispatcher.look_after(child)
                    effects += self._state_not_heard(draft, effect, child)
                    continue
            effects.append(effect)
        return effects

    @staticmethod
    def _state_not_heard(draft: Draft, effect: StartSubworkflow, child: WorkflowExecution) -> list[Effect]:
        """The state of a sub-workflow, told once more; its stamp says whether its parent has heard of it."""
        action = draft.action(draft.task(effect.ordinal), effect.number)
        if action is None or action.state is child.state or child.state not in (State.RUNNING, State.PAUSED):
            return []
        return [Tell(draft.header.id, ActionUpdated(effect.ordinal, effect.number, child.state, child.stamp))]

    def _remind_parent(self, execution_id: str, header: WorkflowExecution | None, until: float) -> None:
        if header is not None and header.parent is not None:
            told = self.dispatcher.bring_home(execution_id)
            if told is not None:
                self.dispatcher.carry_out(told[0], told[1], until=until)

    def _follow_parent(self, header: WorkflowExecution, until: float) -> None:
        """A sub-workflow looks whether its parent was cancelled, paused or left behind by a rerun unnoticed."""
        if header.parent is None:
            return
        parent = self.turns.header(header.parent.execution_id)
        if parent is None:
            return
        event: Event | None = None
        target = header.id
        if parent.state is State.CANCELLED:
            event = StopRequested(State.CANCELLED, parent.state_info)
        elif parent.state is State.PAUSED and header.state is State.RUNNING and not _has_paused_task(parent):
            event = PauseRequested()
        elif self._is_left_behind(parent, header):
            event = Revived(header.parent.ordinal, header.parent.number)
            target = parent.id
        if event is not None and not header.state.is_completed:
            # Told rather than done: it may have become impossible since the header was read.
            self.dispatcher.carry_out(header.id, Outcome(header, (Tell(target, event),)), until=until)

    def _is_left_behind(self, parent: WorkflowExecution, child: WorkflowExecution) -> bool:
        """Whether a parent holds a result of a child that runs: then the child was rerun since."""
        assert child.parent is not None
        action = self.dispatcher.action_of(parent, child.parent.ordinal, child.parent.number)
        if action is None or not action.state.is_completed:
            return False
        # The child is read after its parent: its first end may have come between the two readings.
        present = self.turns.header(child.id)
        return present is not None and not present.state.is_completed


def _has_paused_task(header: WorkflowExecution) -> bool:
    return any(task.state is State.PAUSED for task in header.frontier.values())
