"""Replay: the records of an execution made again from its history, by the engine and without a table to write to.

What the history leaves to the records is read there: results of actions, input, large values. What only says who is at
work just now is not made again: claims, alarms, revisions, and how far publishers were told.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import field
from typing import Any, Final

from chalicelib.actions.registry import Registry
from chalicelib.data import dataclass, replace
from chalicelib.engine.decider import decide
from chalicelib.engine.draft import Draft, Loaded
from chalicelib.engine.effects import Effect, RunAction
from chalicelib.engine.events import (
    ActionCompleted,
    ClaimExpired,
    Continued,
    DescriptionChanged,
    Event,
    RerunRequested,
    ResumeRequested,
    Settled,
    SkipRequested,
    StartRequested,
)
from chalicelib.engine.history import BUILT_IN, KEPT, NOTHING, birth_key, found_key, found_value, question_of
from chalicelib.engine.history_turns import Happened, Turn
from chalicelib.engine.moment import Moment
from chalicelib.engine.needs import MissingData, Need, NeedAction, NeedContext, NeedPayload, NeedsData, NeedValue
from chalicelib.engine.records import (
    ActionExecution,
    Claim,
    PayloadRef,
    TaskExecution,
    WorkflowExecution,
)
from chalicelib.engine.sealing import Transition, seal
from chalicelib.engine.world import Engine
from chalicelib.errors import MistralError
from chalicelib.limits import SUBWORKFLOW_DEPTH_MAX
from chalicelib.services.deciding import TurnSettings
from chalicelib.services.definitions import Definitions
from chalicelib.services.execution_history import turns
from chalicelib.services.execution_store import ExecutionStore
from chalicelib.services.sessions import Session
from chalicelib.vocabulary import Json, Result, State

_NOBODY: Final = Claim("", 0.0)


class NotReplayable(MistralError):
    """A history and the records do not fit together."""


@dataclass(slots=True)
class Replayed:
    """What a replay came to: the header, and all tasks and items, values among them as they are stored."""

    header: WorkflowExecution
    tasks: dict[int, TaskExecution] = field(default_factory=dict)
    items: dict[int, dict[int, ActionExecution]] = field(default_factory=dict)


class Replay:
    """Makes executions again."""

    def __init__(
        self, store: ExecutionStore, definitions: Definitions, registry: Registry, settings: TurnSettings
    ) -> None:
        self._store = store
        self._definitions = definitions
        self._registry = registry
        self._settings = settings

    def replay(self, stored: WorkflowExecution, *, turns_max: int | None = None) -> Replayed:
        """The execution after its whole history, or after its first turns. Raises NotReplayable."""
        history = list(turns(self._store, stored))
        if not history or not (isinstance(first := history[0].steps[0], Happened) and first.event == StartRequested()):
            raise NotReplayable(f"The history of execution {stored.public} does not begin with its start.")
        run = _Run(self, stored, history)
        for turn in history[:turns_max]:
            run.take(turn)
        return run.replayed()

    # -- what a run asks for

    def engine_for(self, header: WorkflowExecution, turn: Turn) -> Engine:
        """The engine as it was in a turn."""
        return Engine(
            self._definitions.plan(header.definition_hash),
            Moment(turn.moment, str(turn.seed)),
            self._settings.expressions,
            self._settings.field_bytes_max,
            SUBWORKFLOW_DEPTH_MAX,
            self._settings.publishers,
        )

    def birth_of(self, stored: WorkflowExecution, turn: Turn) -> Draft:
        """The draft that the first turn began with."""
        read = self._store.value
        kept = {
            name: self._store.record_value(stored.id, birth_key(letter)) if letter in stored.kept else None
            for letter, name in KEPT.items()
        }
        header = WorkflowExecution(
            **{name: getattr(stored, name) for name in _UNCHANGING},
            state=State.IDLE,
            updated_at=stored.created_at,
            description=kept["description"] if "D" in stored.kept else stored.description,
            input=read(stored.id, stored.input),
        )
        draft = Draft(header, Loaded())
        draft.params = kept["params"] if "P" in stored.kept else read(stored.id, stored.params)
        draft.variables = kept["variables"] if "V" in stored.kept else read(stored.id, stored.variables)
        draft.subscriptions = tuple(replace(each, last=0, told=0) for each in stored.subscriptions)
        draft.fresh_random = turn.random
        return draft

    def item_of(self, stored: WorkflowExecution, ordinal: int, number: int) -> ActionExecution:
        """The record of an item. Raises NotReplayable."""
        task = self._store.task(stored, ordinal)
        action = self._store.action(stored, task, number) if task is not None else None
        if action is None:
            raise NotReplayable(f"Item {number} of task {ordinal} has no record.")
        return action

    def result_of(self, stored: WorkflowExecution, ordinal: int, number: int) -> Result:
        """The result that the records hold. Raises NotReplayable."""
        task = self._store.task(stored, ordinal)
        action = self._store.action(stored, task, number) if task is not None else None
        if action is None or action.result is None:
            raise NotReplayable(f"The records hold no result of action {number} of task {ordinal}.")
        return self.read(stored, action.result)

    def read(self, stored: WorkflowExecution, result: Result) -> Result:
        """A result with its value, wherever it lives."""
        value = self._store.value(stored.id, result.value)
        return Result(data=value) if result.error is None else Result(error=value, cancel=result.cancel)

    def value(self, stored: WorkflowExecution, value: Json) -> Json:
        """A value, wherever it lives."""
        return self._store.value(stored.id, value)

    def found(self, stored: WorkflowExecution, need: Need, digest: str | None) -> Any:
        """What was found for a need then. Raises NotReplayable."""
        if digest == NOTHING:
            return None
        if digest is None or digest == BUILT_IN:
            if not isinstance(need, NeedAction):
                raise NotReplayable(f"The history does not say what was found for {need}.")
            found = self._registry.find(need.name)
            return found or self._definitions.code_sources.find_action(stored.project_id, need.name, need.namespace)
        answer = self._store.record_value(stored.id, found_key(digest))
        return found_value(answer, lambda definition_hash: self._definitions.plan(definition_hash).spec.input)

    def payload(self, digest: str) -> Json:
        """A large value."""
        return self._store.value("", PayloadRef(digest, 0))


_UNCHANGING: Final = (
    "id",
    "project_id",
    "workflow_name",
    "workflow_id",
    "definition_hash",
    "created_at",
    "public_id",
    "workflow_namespace",
    "workbook_name",
    "tags",
    "root_execution_id",
    "parent",
    "depth",
)


def _with_action(task: TaskExecution, action: ActionExecution) -> TaskExecution:
    return replace(task, actions=tuple(action if a.number == action.number else a for a in task.actions))


class _Run:
    """One replay under way."""

    def __init__(self, replay: Replay, stored: WorkflowExecution, turns: Sequence[Turn]) -> None:
        self._turns = turns
        self._replay = replay
        self._stored = stored
        self._findings: dict[str, str] = {}
        self._earlier = self._lost()
        self._session: Session | None = None
        self._effects: list[Effect] = []
        self._seed = -1

    def _lost(self) -> dict[tuple[int, int], deque[Result]]:
        """Results that the records do not hold any more, by action, in order."""
        found: dict[tuple[int, int], deque[Result]] = {}
        for turn in self._turns:
            for ordinal, number, result in turn.lost:
                found.setdefault((ordinal, number), deque()).append(result)
        return found

    def replayed(self) -> Replayed:
        if self._session is None:
            raise NotReplayable(f"Execution {self._stored.public} has no history.")
        header, loaded = self._session.header, self._session.loaded
        return Replayed(header, {**loaded.tasks, **header.tail, **header.frontier}, loaded.items)

    def take(self, turn: Turn) -> None:
        """Apply one turn."""
        self._findings.update(turn.found)
        draft = self._begin(turn)
        engine = self._replay.engine_for(draft.header, turn)
        for step in turn.steps:
            if isinstance(step, int):
                for _ in range(step):
                    draft = self._pure(draft, engine)
            else:
                draft = self._happened(draft, engine, step)
        self._store(draft, turn)

    def _begin(self, turn: Turn) -> Draft:
        if self._session is None:
            draft = self._replay.birth_of(self._stored, turn)
            self._session = Session(draft.header, draft.loaded)
        else:
            header = replace(self._session.header, updated_at=turn.base_updated_at)
            self._session.loaded.found = {}
            draft = Draft(header, self._session.loaded)
            draft.fresh_random = turn.random
        # A wave goes on with the effects of the one before; whoever begins anew has none.
        draft.effects = self._effects if turn.seed == self._seed else []
        self._seed = turn.seed
        return draft

    def _happened(self, draft: Draft, engine: Engine, step: Happened) -> Draft:
        event = step.event
        for ordinal, number in step.written:
            written = self._written(ordinal, number, is_counted=isinstance(event, Continued))
            draft.loaded.items.setdefault(ordinal, {})[number] = written
        if isinstance(event, ActionCompleted):
            if step.is_pure:
                self._take_effect(draft, event.ordinal, event.number)
            return self._decided(draft, replace(event, result=self._result(event.ordinal, event.number)), engine)
        if isinstance(event, ClaimExpired):
            task = draft.task(event.ordinal)
            action = draft.action(task, event.number)
            if action is not None and task.has_items:
                draft.loaded.items[task.ordinal][action.number] = replace(action, claim=_NOBODY)
            elif action is not None:
                draft.frontier[task.ordinal] = _with_action(task, replace(action, claim=_NOBODY))
        return self._decided(draft, self._with_values(event), engine)

    def _written(self, ordinal: int, number: int, *, is_counted: bool) -> ActionExecution:
        """The record of an item as it was finished first, if it has run again since."""
        item = self._replay.item_of(self._stored, ordinal, number)
        earlier = self._earlier.get((ordinal, number))
        if not earlier:
            return item
        result = earlier.popleft() if is_counted else earlier[0]
        return replace(item, state=result.state, result=result, accepted=True, heard=0)

    def _with_values(self, event: Event) -> Event:
        if isinstance(event, ResumeRequested | RerunRequested | SkipRequested | DescriptionChanged):
            return replace(event, env=self._replay.value(self._stored, event.env))
        return event

    def _pure(self, draft: Draft, engine: Engine) -> Draft:
        """Run the first pure action that the turn would have run."""
        for effect in [each for each in draft.effects if isinstance(each, RunAction) and each.is_pure]:
            draft.effects.remove(effect)
            task = draft.task(effect.ordinal)
            action = draft.action(task, effect.number)
            if action is None or action.state is not State.RUNNING:
                continue
            event = ActionCompleted(
                effect.ordinal, effect.number, self._result(effect.ordinal, effect.number), settled=Settled.KEPT
            )
            return self._decided(draft, event, engine)
        raise NotReplayable("The history tells of a pure action that nothing has released.")

    @staticmethod
    def _take_effect(draft: Draft, ordinal: int, number: int) -> None:
        draft.effects[:] = [
            each
            for each in draft.effects
            if not (isinstance(each, RunAction) and (each.ordinal, each.number) == (ordinal, number))
        ]

    def _result(self, ordinal: int, number: int) -> Result:
        earlier = self._earlier.get((ordinal, number))
        if earlier:
            return self._replay.read(self._stored, earlier.popleft())
        return self._replay.result_of(self._stored, ordinal, number)

    def _decided(self, draft: Draft, event: Event, engine: Engine) -> Draft:
        while True:
            answer = decide(draft, event, engine)
            if not isinstance(answer, NeedsData):
                return answer
            self._load(draft, answer.needs)

    def _load(self, draft: Draft, needs: tuple[Need, ...]) -> None:
        for need in needs:
            if isinstance(need, NeedPayload):
                draft.loaded.payloads[need.digest] = self._replay.payload(need.digest)
            elif isinstance(need, NeedValue | NeedContext):
                raise NotReplayable(f"The replay has not come to {need}.")
            else:
                draft.loaded.found[need] = self._replay.found(self._stored, need, self._findings.get(question_of(need)))

    def _store(self, draft: Draft, turn: Turn) -> None:
        assert self._session is not None
        transition = self._sealed(draft, turn)
        self._session.advance(transition)
        self._session.loaded.has_all_tasks = True
        self._session.loaded.all_items = set(self._session.loaded.items)
        self._effects = list(draft.effects)

    def _sealed(self, draft: Draft, turn: Turn) -> Transition:
        while True:
            try:
                return seal(draft, wake_at=None, now=turn.moment)
            except MissingData as missing:
                needs = missing.needs
            self._load(draft, needs)
