"""The turn: load, decide, run what is pure, decide again until quiet, save in one transaction.

A lost race decides again. Events of one execution that meet in this process are decided in one turn: each caller leaves
its event, and whoever holds the execution takes them all. A result that keeps losing its race to other processes is
parked in an item of its own first, so that whoever wins takes it along.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from chalicelib.actions.registry import ActionContext, Registry, perform
from chalicelib.engine import codec
from chalicelib.engine.decider import decide
from chalicelib.engine.draft import Draft
from chalicelib.engine.effects import Effect, RunAction
from chalicelib.engine.events import ActionCompleted, Continued, Event, StartRequested
from chalicelib.engine.identity import action_id
from chalicelib.engine.moment import Moment
from chalicelib.engine.needs import MissingData, Need, NeedsData
from chalicelib.engine.records import ActionExecution, Claim, TaskExecution, WorkflowExecution
from chalicelib.engine.sealing import Transition, seal
from chalicelib.engine.world import Engine
from chalicelib.errors import ConflictException, MistralError, NotFoundException
from chalicelib.expressions.evaluator import Options
from chalicelib.limits import (
    ALARM_INTERVAL_SEC,
    DELAYED_MESSAGE_MAX_SEC,
    LOST_RACES_BEFORE_PARKING,
    SUBWORKFLOW_DEPTH_MAX,
    TURN_DECISIONS_MAX,
    TURN_RECORDS_MAX,
)
from chalicelib.services.definitions import Definitions
from chalicelib.services.execution_store import PARKED_PREFIX, ExecutionStore
from chalicelib.services.findings import Findings
from chalicelib.services.ports import Clock, Item
from chalicelib.services.sessions import Session, Sessions
from chalicelib.vocabulary import State

RACES_MAX: Final = 50
_FAR_TIMER_LEAD_SEC: Final = DELAYED_MESSAGE_MAX_SEC - 300


# Told of every commit: the header before and after, and what was written.
Observer = Callable[[WorkflowExecution, WorkflowExecution, Transition], None]


class Carrier(Protocol):
    """Someone who can run one more action right after a turn: an executor with time left."""

    def claim_for(self, effect: RunAction) -> Claim | None:
        """A claim on this action if it can be run here and now, else ``None``."""


@dataclass(slots=True)
class Outcome:
    """What became of an event: the header after its turn, effects to be carried out, an action to be carried on with."""

    header: WorkflowExecution
    effects: tuple[Effect, ...] = ()
    carried: RunAction | None = None
    is_news: bool = True


@dataclass(slots=True)
class _Submission:
    event: Event
    carrier: Carrier | None
    outcome: Outcome | None = None
    error: BaseException | None = None
    is_parked: bool = False

    @property
    def is_done(self) -> bool:
        return self.outcome is not None or self.error is not None


@dataclass(slots=True)
class _Desk:
    """Where events of one execution wait for whoever holds it."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    waiting: list[_Submission] = field(default_factory=list)
    visitors: int = 0


@dataclass(frozen=True, slots=True)
class TurnSettings:
    """What a turn may use; times in seconds."""

    expressions: Options
    field_bytes_max: int
    alarm_interval_sec: float = ALARM_INTERVAL_SEC


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
    ) -> None:
        self.store = store
        self.definitions = definitions
        self._registry = registry
        self._clock = clock
        self._settings = settings
        self._pause = pause
        self._observe = observe
        self._findings = Findings(store, definitions, registry, settings.expressions)
        self._sessions = Sessions()
        self._desks: dict[str, _Desk] = {}
        self._desks_lock = threading.Lock()

    # -- the way in

    def submit(self, execution_id: str, event: Event, carrier: Carrier | None = None) -> Outcome:
        """Apply one event.

        Raises NotFoundException, the MistralError of a refused request, ConflictException after too many lost races.
        """
        submission = _Submission(event, carrier)
        desk = self._sit_down(execution_id, submission)
        try:
            with desk.lock:
                if not submission.is_done:
                    batch, desk.waiting = desk.waiting, []
                    self._turn(execution_id, batch)
        finally:
            self._stand_up(execution_id, desk)
        if submission.error is not None:
            raise submission.error
        assert submission.outcome is not None
        return submission.outcome

    def _sit_down(self, execution_id: str, submission: _Submission) -> _Desk:
        with self._desks_lock:
            desk = self._desks.setdefault(execution_id, _Desk())
            desk.visitors += 1
            desk.waiting.append(submission)
            return desk

    def _stand_up(self, execution_id: str, desk: _Desk) -> None:
        with self._desks_lock:
            desk.visitors -= 1
            if not desk.visitors:
                self._desks.pop(execution_id, None)

    def begin(self, draft: Draft) -> Outcome:
        """Store a new execution with its first turn. Raises ConflictException if it exists already."""
        session = Session(draft.header, draft.loaded, facts_at=self._clock.now())
        engine = self.engine_for(draft.header)
        started = self._decided(session, draft, StartRequested(), engine)
        try:
            outcome = self._commit(session, self._quiet(session, started, engine), [])
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
        # A stale item costs a lost condition when it is claimed, and the message comes again: half the price of a fresh one.
        action = self.store.action(header, task, number, is_fresh=False) if task is not None else None
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

    def engine_for(self, header: WorkflowExecution, salt: str = "") -> Engine:
        """What deciding about an execution needs."""
        return Engine(
            self.definitions.plan(header.definition_hash),
            Moment(round(self._clock.now(), 3), f"{header.revision}{salt}"),
            self._settings.expressions,
            self._settings.field_bytes_max,
            SUBWORKFLOW_DEPTH_MAX,
        )

    # -- one turn, tried until it is committed

    def _turn(self, execution_id: str, batch: list[_Submission]) -> None:
        for race in range(RACES_MAX):
            try:
                self._attempt(execution_id, batch, race)
                return
            except ConflictException:
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

    def _attempt(self, execution_id: str, batch: list[_Submission], race: int) -> None:
        is_remembered = race == 0 and self._sessions.get(execution_id) is not None
        session = self._session(execution_id, is_fresh=race > 0)
        revision = session.header.revision
        draft = Draft(session.header, session.loaded)
        engine = self.engine_for(session.header)
        parked = self._parked(execution_id) if race > 0 else {}
        for event in parked.values():
            draft = self._quiet(session, self._decided(session, draft, event, engine), engine)
        refused: list[tuple[_Submission, MistralError]] = []
        for submission in batch:
            if submission.is_done:
                continue
            try:
                decided = self._decided(session, draft, submission.event, engine)
            except MistralError as error:
                refused.append((submission, error))
                continue
            draft = self._quiet(session, decided, engine)
        if race > 0:
            # A wave of the lost attempt may have been committed: what it released is taken up again.
            draft = self._quiet(session, self._decided(session, draft, Continued(), engine), engine)
        if is_remembered and session.header.revision == revision and not draft.is_changed():
            # Nothing would be written, so nothing would show that what this process remembers is stale: look again.
            self._sessions.drop(execution_id)
            self._attempt(execution_id, batch, race)
            return
        outcome = self._commit(session, draft, [s for s in batch if not s.is_done and s.carrier is not None])
        if parked:
            self.store.table.write_bulk([], [(execution_id, key) for key in parked])
        for submission, error in refused:
            submission.error = error
        self._hand_out(batch, outcome)

    @staticmethod
    def _hand_out(batch: list[_Submission], outcome: Outcome) -> None:
        """One caller gets the effects to carry out, the others just learn the state."""
        open_ones = [submission for submission in batch if not submission.is_done]
        for submission in open_ones:
            submission.outcome = Outcome(outcome.header, is_news=False)
        if open_ones:
            chosen = next((s for s in open_ones if s.carrier is not None), open_ones[0])
            chosen.outcome = outcome

    # -- deciding

    def _decided(self, session: Session, draft: Draft, event: Event, engine: Engine) -> Draft:
        while True:
            answer = decide(draft, event, engine)
            if not isinstance(answer, NeedsData):
                return answer
            self.load(draft.header, draft, answer.needs)

    def load(self, header: WorkflowExecution, draft: Draft, needs: tuple[Need, ...]) -> None:
        """Bring what a decision lacks."""
        for need in self.store.load(header, draft.loaded, needs):
            draft.loaded.found[need] = self._findings.find(header, need)

    def _quiet(self, session: Session, draft: Draft, engine: Engine) -> Draft:
        """Run the pure actions that a decision released, and decide about their results, until there are none."""
        for _ in range(TURN_DECISIONS_MAX):
            if draft.touched >= TURN_RECORDS_MAX:
                draft = self._wave(session, draft)
            at = next((i for i, e in enumerate(draft.effects) if isinstance(e, RunAction) and e.is_pure), None)
            if at is None:
                return draft
            effect = draft.effects[at]
            assert isinstance(effect, RunAction)
            draft.effects[at : at + 1] = []
            event = self._run_pure(draft, effect)
            if event is not None:
                draft = self._decided(session, draft, event, engine)
        return draft

    def _wave(self, session: Session, draft: Draft) -> Draft:
        """Commit what one transaction holds, and go on from there with the effects that are still owed."""
        effects = draft.effects
        draft.effects = []
        self._save(session, draft)
        following = Draft(session.header, session.loaded)
        following.effects = effects
        return following

    def _run_pure(self, draft: Draft, effect: RunAction) -> ActionCompleted | None:
        task = draft.task(effect.ordinal)
        action = self._action(draft, task, effect.number)
        if action is None or action.state is not State.RUNNING:
            return None
        name, value = (action.base.name, action.base.input) if action.base else (action.name, action.input)
        runnable = self._registry.find(name)
        if runnable is None or not runnable.is_sync:
            return None
        context = ActionContext(
            workflow_execution_id=draft.header.public,
            task_execution_id=None,
            action_execution_id=self.action_id(draft.header, effect),
            workflow_name=draft.header.workflow_name,
            callback_url=None,
            project_id=draft.header.project_id,
            deadline_sec=None,
        )
        data = self._resolved(draft, value)
        return ActionCompleted(effect.ordinal, effect.number, perform(runnable, data, context))

    @staticmethod
    def action_id(header: WorkflowExecution, effect: RunAction) -> str:
        """The id of the action execution that an effect is about."""
        return action_id(header.id, effect.ordinal, effect.number)

    def _action(self, draft: Draft, task: TaskExecution, number: int) -> ActionExecution | None:
        while True:
            try:
                return draft.action(task, number)
            except MissingData as missing:
                self.load(draft.header, draft, missing.needs)

    def _resolved(self, draft: Draft, value: object) -> dict[str, object]:
        while True:
            try:
                return draft.resolve_object(value)
            except MissingData as missing:
                self.load(draft.header, draft, missing.needs)

    # -- committing

    def _commit(self, session: Session, draft: Draft, carriers: list[_Submission]) -> Outcome:
        carried = None
        for submission in carriers:
            carried = self._claimed(draft, submission)
            if carried is not None:
                break
        rang = draft.header.wake_at is not None and draft.header.wake_at <= self._clock.now()
        if draft.is_changed() or rang or not session.header.revision:
            self._save(session, draft)
        effects = tuple(effect for effect in draft.effects if effect is not carried)
        return Outcome(session.header, effects, carried)

    def _claimed(self, draft: Draft, submission: _Submission) -> RunAction | None:
        """Claim for a carrier one of the actions that this turn releases, in the same transaction."""
        assert submission.carrier is not None
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
            claim = submission.carrier.claim_for(effect)
            if claim is None:
                continue
            draft.put_action(task, replace(action, claim=claim))
            return effect
        return None

    def _save(self, session: Session, draft: Draft) -> None:
        now = round(self._clock.now(), 3)
        wake_at = self._wake_at(draft, now)
        while True:
            try:
                transition = seal(draft, wake_at=wake_at, now=now)
                break
            except MissingData as missing:
                self.load(draft.header, draft, missing.needs)
        before = session.header
        self.store.save(transition)
        session.advance(transition)
        if self._observe is not None:
            self._observe(before, session.header, transition)

    def _wake_at(self, draft: Draft, now: float) -> float | None:
        """When the alarm is to ring: it moves only when it must, since moving it costs two index writes."""
        if draft.is_completed and not any(_moves(task) for task in draft.frontier.values()):
            return None
        due = [timer.due_at for task in draft.frontier.values() for timer in task.timers]
        due += [timer.due_at for timer in draft.timers]
        far = [moment - _FAR_TIMER_LEAD_SEC for moment in due if moment - now > DELAYED_MESSAGE_MAX_SEC]
        current = draft.header.wake_at
        if current is None or current <= now:
            current = now + self._interval(draft, now)
        return min([current, *far])

    def _interval(self, draft: Draft, now: float) -> float:
        """The longer an execution only waits for others, the more rarely it is looked at: up to six hours."""
        interval = self._settings.alarm_interval_sec
        waits_for_us = any(
            action.is_sync and action.state is State.RUNNING and action.execution_id is None
            for task in draft.frontier.values()
            for action in task.actions
        )
        if waits_for_us or not draft.header.revision:
            return interval
        return min(max(interval, now - draft.header.created_at), 6 * 3600.0)

    # -- parked results

    def _park(self, execution_id: str, batch: list[_Submission]) -> None:
        for submission in batch:
            event = submission.event
            if submission.is_parked or submission.is_done or not isinstance(event, ActionCompleted):
                continue
            key = f"{PARKED_PREFIX}{event.ordinal:05x}#{event.number:05x}"
            self.store.table.write_bulk([Item(execution_id, key, codec.pack_result(event.result))])
            submission.is_parked = True

    def _parked(self, execution_id: str) -> dict[str, ActionCompleted]:
        found = {}
        for item in self.store.table.query(execution_id, prefix=PARKED_PREFIX, limit=TURN_RECORDS_MAX):
            ordinal, number = (int(part, 16) for part in item.key.removeprefix(PARKED_PREFIX).split("#"))
            found[item.key] = ActionCompleted(ordinal, number, codec.unpack_result(item.body))
        return found

    def sweep(self, execution_id: str) -> Outcome:
        """Take in whatever results are parked, and go on where the records say."""
        for event in self._parked(execution_id).values():
            self.submit(execution_id, event)
        return self.submit(execution_id, Continued())


def _moves(task: TaskExecution) -> bool:
    """Whether an unfinished task goes on although its workflow has ended: a join that waits, or a task that is paused, does not."""
    return task.state in (State.RUNNING, State.DELAYED) or (task.state is State.IDLE and task.started_at is None)
