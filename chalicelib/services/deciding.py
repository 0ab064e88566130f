"""Deciding, with what it takes: records and definitions are fetched as decisions ask, pure actions are run at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from typing import TypeVar

from chalicelib.actions.registry import ActionContext, Registry, perform
from chalicelib.data import dataclass
from chalicelib.engine.decider import decide
from chalicelib.engine.draft import Draft
from chalicelib.engine.effects import RunAction
from chalicelib.engine.events import ActionCompleted, Event
from chalicelib.engine.history import note
from chalicelib.engine.identity import action_id
from chalicelib.engine.moment import Moment
from chalicelib.engine.needs import MissingData, Need, NeedsData
from chalicelib.engine.records import WorkflowExecution
from chalicelib.engine.world import Engine
from chalicelib.expressions.evaluator import Options
from chalicelib.limits import ALARM_INTERVAL_SEC, SUBWORKFLOW_DEPTH_MAX
from chalicelib.services.definitions import Definitions
from chalicelib.services.execution_store import ExecutionStore
from chalicelib.services.findings import Findings
from chalicelib.services.ports import Clock
from chalicelib.vocabulary import JsonObject, State

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class TurnSettings:
    """What a turn may use; times in seconds."""

    expressions: Options
    field_bytes_max: int
    alarm_interval_sec: float = ALARM_INTERVAL_SEC
    # The service's own publishers, by name.
    publishers: Mapping[str, JsonObject] = field(default_factory=dict)


class Decisions:
    """Takes decisions about executions."""

    def __init__(
        self,
        store: ExecutionStore,
        definitions: Definitions,
        registry: Registry,
        clock: Clock,
        settings: TurnSettings,
    ) -> None:
        self._store = store
        self._definitions = definitions
        self._registry = registry
        self._clock = clock
        self._settings = settings
        self._findings = Findings(store, definitions, registry, settings.expressions)

    def engine_for(self, header: WorkflowExecution) -> Engine:
        """What deciding about an execution needs, now."""
        return Engine(
            self._definitions.plan(header.definition_hash),
            Moment(round(self._clock.now(), 3), str(header.revision)),
            self._settings.expressions,
            self._settings.field_bytes_max,
            SUBWORKFLOW_DEPTH_MAX,
            self._settings.publishers,
        )

    def decided(self, draft: Draft, event: Event, engine: Engine, *, is_pure: bool = False) -> Draft:
        """The draft after an event, which is noted in its history; ``is_pure``: the action ran within this turn.

        Raises the MistralError of a refused request.
        """
        while True:
            answer = decide(draft, event, engine)
            if not isinstance(answer, NeedsData):
                note(draft, answer, event, seed=engine.moment.seed, is_pure=is_pure)
                return answer
            self._load(draft, answer.needs)

    def answered(self, draft: Draft, question: Callable[[], T]) -> T:
        """The answer to a question about a draft, with whatever it takes loaded."""
        while True:
            try:
                return question()
            except MissingData as missing:
                needs = missing.needs
            self._load(draft, needs)

    def _load(self, draft: Draft, needs: tuple[Need, ...]) -> None:
        for need in self._store.load(draft.header, draft.loaded, needs):
            draft.loaded.found[need] = self._findings.find(draft.header, need)

    def run_pure(self, draft: Draft, effect: RunAction) -> ActionCompleted | None:
        """The result of a pure action, run here; ``None`` for one that is not to be run, or ends by another's word."""
        task = draft.task(effect.ordinal)
        action = self.answered(draft, lambda: draft.action(task, effect.number))
        if action is None or action.state is not State.RUNNING:
            return None
        name, value = (action.base.name, action.base.input) if action.base else (action.name, action.input)
        runnable = self._registry.find(name)
        if runnable is None or not runnable.is_sync:
            return None
        context = ActionContext(
            workflow_execution_id=draft.header.public,
            task_execution_id=None,
            action_execution_id=action_id(draft.header.id, effect.ordinal, effect.number),
            workflow_name=draft.header.workflow_name,
            callback_url=None,
            project_id=draft.header.project_id,
            deadline_sec=None,
        )
        data = self.answered(draft, lambda: draft.resolve_object(value))
        return ActionCompleted(effect.ordinal, effect.number, perform(runnable, data, context))
