"""The turn: load, decide, run what is pure, decide again until quiet, save in one transaction.

A lost race decides again. Events of one execution that meet in this process are decided in one turn (``desks``).
A result that keeps losing its race to other processes is parked (``parking``), so that whoever wins takes it along.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from chalicelib.actions.registry import Polling, Registry
from chalicelib.data import replace
from chalicelib.engine.draft import Draft
from chalicelib.engine.effects import RunAction
from chalicelib.engine.events import ActionCompleted, Continued, Event, StartRequested
from chalicelib.engine.records import ActionExecution, TaskExecution, WorkflowExecution
from chalicelib.engine.sealing import HEADER_KEY, Transition, seal
from chalicelib.engine.world import Engine
from chalicelib.errors import ConflictException, MistralError, NotFoundException
from chalicelib.limits import LOST_RACES_BEFORE_PARKING, TURN_DECISIONS_MAX, TURN_RECORDS_MAX
from chalicelib.services.alarms import wake_at
from chalicelib.services.deciding import Decisions, TurnSettings
from chalicelib.services.definitions import Definitions
from chalicelib.services.desks import Carrier, Desks, Outcome, Submission, Tried
from chalicelib.services.execution_store import ExecutionStore
from chalicelib.services.parking import Parking
from chalicelib.services.ports import Clock
from chalicelib.services.sessions import Session, Sessions
from chalicelib.services.telemetry import NO_TELEMETRY, TURN, Metric, Telemetry
from chalicelib.vocabulary import State

__all__ = ["Carrier", "Observer", "Outcome", "TurnSettings", "Turns"]

RACES_MAX: Final = 50

T = TypeVar("T")

# Told of every commit: the header before and after, and what was written.
Observer = Callable[[WorkflowExecution, WorkflowExecution, Transition], None]


class Turns:
    """Applies events to executions."""

    def __init__(
        self,
        store: ExecutionStore,
        definitions: Definitions,
        registry: Registry,
        clock: Clock,
        settings: TurnSettings,
        *,
        pause: Callable[[float], None],
        observe: Observer | None = None,
        telemetry: Telemetry = NO_TELEMETRY,
    ) -> None:
        self.telemetry = telemetry
        self.store = store
        self.definitions = definitions
        self._clock = clock
        self._settings = settings
        self._pause = pause
        self._observe = observe
        self._registry = registry
        self._decisions = Decisions(store, definitions, registry, clock, settings)
        self._sessions = Sessions()
        self._desks = Desks()
        self._parking = Parking(store.table)
        # Executions of which the present turn has committed a wave.
        self._in_waves: set[str] = set()

    # -- the way in

    def submit(self, execution_id: str, event: Event, carrier: Carrier | None = None) -> Outcome:
        """Apply one event.

        Raises NotFoundException, the MistralError of a refused request, ConflictException after too many lost races.
        """
        submission = Submission(event, carrier)
        self._desks.visit(execution_id, submission, lambda batch: self._turn(execution_id, batch))
        return submission.answer()

    def begin(self, draft: Draft) -> Outcome:
        """Store a new execution with its first turn. Raises ConflictException if it exists already."""
        with self.telemetry.timed(TURN, {"execution": draft.header.id}):
            try:
                return self._begun(draft)
            finally:
                self._in_waves.discard(draft.header.id)

    def _begun(self, draft: Draft) -> Outcome:
        session = Session(draft.header, draft.loaded, facts_at=self._clock.now())
        engine = self.engine_for(draft.header)
        started = self._decisions.decided(draft, StartRequested(), engine)
        try:
            outcome, _ = self._commit(session, self._quiet(session, started, engine), [])
        except ConflictException:
            if not session.header.revision:
                raise
            # It was born in an earlier wave of this turn, and someone else has gone on with it.
            return self.submit(draft.header.id, Continued())
        self._sessions.put(draft.header.id, session)
        return outcome

    def header(self, execution_id: str) -> WorkflowExecution | None:
        """The header as it is stored now."""
        return self.store.header(execution_id)

    def is_gone(self, execution_id: str) -> bool:
        """Whether there is no such execution, now; a record of it that is missing is another matter."""
        return HEADER_KEY not in self.store.table.get(execution_id, [HEADER_KEY])

    def forget(self) -> None:
        """Forget all executions, as a process does that has not worked on any of them."""
        self._sessions.clear()

    def look_up(
        self, execution_id: str, ordinal: int, number: int
    ) -> tuple[WorkflowExecution, TaskExecution | None, ActionExecution | None] | None:
        """An action of an unfinished task as it is stored now; what is read is kept for the turn that follows."""
        header = self.store.glimpse(execution_id, ordinal)
        if header is None:
            return None
        session = self._sessions.get(execution_id)
        if session is not None and session.header.revision < header.revision:
            self._sessions.drop(execution_id)
            session = None
        if session is None:
            session = Session(header)
            if not header.fronts:
                self._sessions.put(execution_id, session)
        task = header.frontier.get(ordinal)
        # A stale item shows when it is claimed, and costs half of a fresh one; that it is missing must be certain.
        action = self.store.action(header, task, number, is_fresh=False) if task is not None else None
        if task is not None and action is None:
            action = self.store.action(header, task, number)
        if task is not None and task.has_items and action is not None:
            session.loaded.items.setdefault(ordinal, {})[number] = action
        return header, task, action

    def known_action(self, header: WorkflowExecution, task: TaskExecution, number: int) -> ActionExecution | None:
        """An action of an unfinished task, from what this process knows if it can be."""
        session = self._sessions.get(header.id)
        known = session.loaded.items.get(task.ordinal, {}).get(number) if session is not None else None
        return known or self.store.action(header, task, number)

    def claim_item(self, execution_id: str, ordinal: int, action: ActionExecution) -> None:
        """Write an item's record with its new claim. Raises ConflictException."""
        written = self.store.write_item(execution_id, ordinal, action)
        session = self._sessions.get(execution_id)
        if session is not None:
            session.loaded.items.setdefault(ordinal, {})[action.number] = written

    def latest(self, execution_id: str) -> WorkflowExecution | None:
        """The header as this process last committed or saw it."""
        session = self._sessions.get(execution_id)
        return session.header if session is not None else self.store.header(execution_id)

    def engine_for(self, header: WorkflowExecution) -> Engine:
        """What deciding about an execution needs, now."""
        return self._decisions.engine_for(header)

    def answered(self, draft: Draft, question: Callable[[], T]) -> T:
        """The answer to a question about a draft, with whatever it takes loaded."""
        return self._decisions.answered(draft, question)

    # -- one turn, tried until it is committed

    def _turn(self, execution_id: str, batch: list[Submission]) -> None:
        with self.telemetry.timed(TURN, {"execution": execution_id}):
            try:
                self._raced(execution_id, batch)
            finally:
                self._in_waves.discard(execution_id)

    def _raced(self, execution_id: str, batch: list[Submission]) -> None:
        for race in range(RACES_MAX):
            try:
                self._attempt(execution_id, batch, race)
                return
            except ConflictException:
                self.telemetry.count(Metric.LOST_RACES)
                self._sessions.drop(execution_id)
                if race + 1 >= LOST_RACES_BEFORE_PARKING:
                    self._park(execution_id, batch)
                # The delay grows and differs between contenders; which number exactly does not matter.
                self._pause(min(0.005 * 2 ** min(race, 6), 0.25) * (0.5 + (hash((execution_id, race)) % 100) / 200))
            except BaseException as error:
                self._sessions.drop(execution_id)
                for submission in batch:
                    if not submission.is_done:
                        submission.error = error
                if not isinstance(error, Exception):
                    raise
                return
        for submission in batch:
            submission.error = submission.error or ConflictException(
                f"Execution {execution_id} is too busy; try again."
            )

    def _session(self, execution_id: str, *, is_fresh: bool) -> Session:
        session = None if is_fresh else self._sessions.get(execution_id)
        if session is None:
            header = self.store.header(execution_id)
            if header is None:
                raise NotFoundException(f"WorkflowExecution not found [id={execution_id}]")
            session = Session(header)
            self._sessions.put(execution_id, session)
        session.begin(self._clock.now())
        return session

    def _attempt(self, execution_id: str, batch: list[Submission], race: int) -> None:
        is_remembered = race == 0 and self._sessions.get(execution_id) is not None
        session = self._session(execution_id, is_fresh=race > 0)
        revision = session.header.revision
        draft = Draft(session.header, session.loaded)
        engine = self.engine_for(session.header)
        parked = self._parking.parked(execution_id) if race > 0 else {}
        for event in parked.values():
            draft = self._quiet(session, self._decisions.decided(draft, event, engine), engine)
        refused: list[tuple[Submission, MistralError]] = []
        for submission in batch:
            if submission.is_done:
                continue
            try:
                decided = self._decisions.decided(draft, submission.event, engine)
            except ConflictException:
                raise
            except MistralError as error:
                refused.append((submission, error))
                continue
            draft = self._quiet(session, decided, engine)
        if race > 0 and execution_id in self._in_waves:
            # A wave of a lost attempt was committed: what it released is taken up again.
            draft = self._quiet(session, self._decisions.decided(draft, Continued(), engine), engine)
        if is_remembered and session.header.revision == revision and not draft.is_changed():
            # Nothing would be written, so nothing would show that what this process remembers is stale: look again.
            self._sessions.drop(execution_id)
            self._attempt(execution_id, batch, race)
            return
        is_refused = {id(submission) for submission, _ in refused}
        outcome, by = self._commit(session, draft, [s for s in batch if not s.is_done and id(s) not in is_refused])
        if parked:
            self._parking.clear(execution_id, parked)
        for submission, refusal in refused:
            submission.error = refusal
        self._hand_out(batch, outcome, by)

    @staticmethod
    def _hand_out(batch: list[Submission], outcome: Outcome, by: Submission | None) -> None:
        """One caller gets the effects to carry out, the others just learn the state."""
        open_ones = [submission for submission in batch if not submission.is_done]
        for submission in open_ones:
            submission.outcome = Outcome(outcome.header, is_news=False)
        if open_ones:
            chosen = by or next((s for s in open_ones if s.carrier is not None), open_ones[0])
            chosen.outcome = outcome

    # -- deciding

    def _quiet(self, session: Session, draft: Draft, engine: Engine) -> Draft:
        """Run the pure actions that a decision released, and decide about their results, until there are none."""
        for _ in range(TURN_DECISIONS_MAX):
            at, effect = next(
                ((i, e) for i, e in enumerate(draft.effects) if isinstance(e, RunAction) and e.is_pure), (0, None)
            )
            # An item that was born in this draft takes no further record when it ends, and is written once.
            is_counted = effect is not None and effect.number in draft.items.get(effect.ordinal, ())
            if draft.touched >= TURN_RECORDS_MAX and not is_counted:
                draft = self._wave(session, draft)
            if effect is None:
                return draft
            draft.effects[at : at + 1] = []
            event = self._decisions.run_pure(draft, effect)
            if event is not None:
                draft = self._decisions.decided(draft, event, engine, is_pure=True)
        return draft

    def _wave(self, session: Session, draft: Draft) -> Draft:
        """Commit what one transaction holds, and go on from there with the effects that are still owed."""
        effects = draft.effects
        draft.effects = []
        self._save(session, draft)
        self._in_waves.add(session.header.id)
        following = Draft(session.header, session.loaded)
        following.effects = effects
        return following

    # -- committing

    def _commit(
        self, session: Session, draft: Draft, submissions: list[Submission]
    ) -> tuple[Outcome, Submission | None]:
        """Write the turn; its outcome, and whose carrier has claimed the action in it. Raises ConflictException."""
        carriers = [submission for submission in submissions if submission.carrier is not None]
        held = next((submission for submission in carriers if self._is_held(draft, submission.tried)), None)
        by = held or next((submission for submission in carriers if self._claims(draft, submission)), None)
        carried = by.tried.carried if by is not None and by.tried is not None else None
        effects = tuple(effect for effect in draft.effects if effect is not carried)
        if held is not None and held.tried is not None:
            effects = (*held.tried.effects, *effects)
        rang = draft.header.wake_at is not None and draft.header.wake_at <= self._clock.now()
        if draft.is_changed() or rang or not session.header.revision:
            self._save(session, draft)
        return Outcome(session.header, effects, carried), by

    def _is_held(self, draft: Draft, tried: Tried | None) -> bool:
        """Whether a turn took effect though its answer got lost, and others wrote since: its claim is there."""
        # As it is stored: in the draft the action may just have been created once more.
        task = draft.header.frontier.get(tried.carried.ordinal) if tried is not None else None
        if tried is None or task is None or tried.carried.number >= task.next_number:
            return False
        action = self.store.action(draft.header, task, tried.carried.number)
        return action is not None and action.claim == tried.claim and action.state is State.RUNNING

    def _claims(self, draft: Draft, submission: Submission) -> bool:
        """Claim for a carrier an action that this turn releases, in the same transaction; whether there is one."""
        assert submission.carrier is not None
        submission.tried = None
        for effect in draft.effects:
            if not isinstance(effect, RunAction) or effect.is_pure or effect.target is not None:
                continue
            task = draft.frontier.get(effect.ordinal)
            if task is None:
                continue
            action = draft.action(task, effect.number)
            if task.has_items and (action is None or action.revision):
                continue
            if action is None or not action.is_sync or action.state is not State.RUNNING:
                continue
            claim = submission.carrier.claim_for(effect, is_item=task.has_items)
            if claim is None or self._is_polled(action):
                continue
            draft.put_action(task, replace(action, claim=claim))
            others = tuple(other for other in draft.effects if other is not effect)
            submission.tried = Tried(effect, claim, others)
            return True
        return False

    def _is_polled(self, action: ActionExecution) -> bool:
        """Whether an action may be asked again and again, so that its claim should not stand in the header."""
        found = self._registry.find(action.base.name if action.base else action.name)
        return found is not None and found.polling is not Polling.NEVER

    def _save(self, session: Session, draft: Draft) -> None:
        now = round(self._clock.now(), 3)
        alarm = wake_at(draft, now=now, interval_sec=self._settings.alarm_interval_sec)
        transition = self.answered(draft, lambda: seal(draft, wake_at=alarm, now=now))
        before = session.header
        self.store.save(transition)
        session.advance(transition)
        if self._observe is not None:
            self._observe(before, session.header, transition)

    def _park(self, execution_id: str, batch: list[Submission]) -> None:
        for submission in batch:
            if isinstance(submission.event, ActionCompleted) and not (submission.is_parked or submission.is_done):
                self._parking.park(execution_id, submission.event)
                submission.is_parked = True

    def sweep(self, execution_id: str) -> Outcome:
        """Take in whatever results are parked, and go on where the records say."""
        for event in self._parking.parked(execution_id).values():
            self.submit(execution_id, event)
        return self.submit(execution_id, Continued())
