"""What tests of the core start from: definitions as text, executions driven event by event, and their records as bytes.

Every turn is decided twice: by a process that remembers what it saw, and by one that knows nothing but the stored
bytes. Both must write the same. So what matters to a decision is stored, or the first test that needs it fails.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import pytest

from chalicelib.actions.registry import ActionContext, Registry, perform
from chalicelib.engine import codec
from chalicelib.engine.creation import Birth, create
from chalicelib.engine.decider import decide
from chalicelib.engine.draft import Draft, Loaded, effective_actions
from chalicelib.engine.effects import Continue, Effect, RunAction, SetTimer, StartSubworkflow, Tell
from chalicelib.engine.events import (
    ActionCompleted,
    Continued,
    Event,
    PauseRequested,
    RerunRequested,
    ResumeRequested,
    SkipRequested,
    StartRequested,
    StopRequested,
    TimerFired,
)
from chalicelib.engine.fronts import front_key, united
from chalicelib.engine.identity import derived_execution_id, partition_of
from chalicelib.engine.invocations import WorkflowFacts
from chalicelib.engine.moment import Moment
from chalicelib.engine.needs import (
    MissingData,
    Need,
    NeedAction,
    NeedAllTasks,
    NeedContext,
    NeedExecutions,
    NeedItem,
    NeedItems,
    NeedPayload,
    NeedRootEnvironment,
    NeedsData,
    NeedTask,
    NeedTasks,
    NeedValue,
    NeedWorkflow,
)
from chalicelib.engine.plan import Plan
from chalicelib.engine.records import ActionExecution, Parent, PayloadRef, TaskExecution, ValueRef, WorkflowExecution
from chalicelib.engine.sealing import (
    HEADER_KEY,
    TASK_PREFIX,
    Transition,
    context_key,
    item_key,
    items_prefix,
    payload_value,
    seal,
    task_key,
)
from chalicelib.engine.world import Engine, ExecutionWorld
from chalicelib.errors import MistralError
from chalicelib.expressions.options import Options
from chalicelib.lang.graph import WorkflowGraph
from chalicelib.lang.parser import parse_action_list, parse_workflow_list
from chalicelib.limits import TRANSACTION_WRITES_MAX, TURN_DECISIONS_MAX, TURN_RECORDS_MAX
from chalicelib.vocabulary import Json, JsonObject, Result, State

BEGINNING = 1_700_000_000.0
PROJECT = "project"
DECISIONS_PER_TEST_MAX = 20_000


def a_plan(text: str, name: str | None = None) -> Plan:
    """The compiled workflow of a text without the version line; of several the last, or the named one."""
    specs = {spec.name: spec for spec in parse_workflow_list("version: '2.0'\n" + text)}
    return Plan(WorkflowGraph(specs[name or list(specs)[-1]]))


@dataclass
class Library:
    """Definitions in memory."""

    plans: dict[str, Plan] = field(default_factory=dict)
    facts: dict[str, WorkflowFacts] = field(default_factory=dict)
    actions: dict[str, Any] = field(default_factory=dict)
    registry: Registry = field(default_factory=Registry)

    def add_workflows(self, text: str, *, workbook: str | None = None) -> None:
        """Take in workflows; a running execution keeps the definition that it started with."""
        for spec in parse_workflow_list("version: '2.0'\n" + text):
            digest = f"{spec.name}@{len(self.plans)}"
            name = f"{workbook}.{spec.name}" if workbook else spec.name
            self.plans[digest] = Plan(WorkflowGraph(spec))
            self.facts[name] = WorkflowFacts(f"id-{name}", name, "", digest, spec.input, workbook)

    def add_actions(self, text: str) -> None:
        """Take in ad-hoc actions."""
        for spec in parse_action_list("version: '2.0'\n" + text):
            self.actions[spec.name] = spec

    def action(self, name: str) -> Any:
        """An ad-hoc action, or one of the registry."""
        return self.actions.get(name) or self.registry.find(name)


@dataclass
class Stored:
    """One execution as bytes."""

    records: dict[str, bytes] = field(default_factory=dict)
    revisions: dict[str, int] = field(default_factory=dict)
    payloads: dict[str, bytes] = field(default_factory=dict)

    def copy(self) -> Stored:
        """Another one with the same records."""
        return Stored(dict(self.records), dict(self.revisions), dict(self.payloads))

    @property
    def header(self) -> WorkflowExecution:
        """The header, decoded, with the whole frontier."""
        header = codec.unpack_header(self.records[HEADER_KEY])
        pages = [self.records[front_key(bucket)] for bucket in header.fronts]
        return replace(header, frontier=united(header.frontier, pages)) if pages else header

    def save(self, transition: Transition) -> None:
        """Write a transition as one transaction, on the conditions that it names."""
        together = len(transition.records) + len(transition.together) + len(transition.removed) + 1
        assert together <= TRANSACTION_WRITES_MAX, "a transition must fit into one transaction"
        for key, (body, expected) in {**transition.singles, **transition.together}.items():
            assert self.revisions.get(key, 0) == expected
            self.records[key] = body
            self.revisions[key] = expected + 1
        for key, body in transition.bulk.items():
            self.records[key] = body
            self.revisions[key] = 1
        self.records.update(transition.records)
        self.payloads.update(transition.payloads)
        for key in transition.removed:
            del self.records[key]
        self.records[HEADER_KEY] = transition.header_body

    def load(self, loaded: Loaded, needs: Iterable[Need]) -> list[Need]:
        """Meet the needs that are records; give back the others."""
        others: list[Need] = []
        for need in needs:
            match need:
                case NeedTask():
                    first = max(key for key in self._keys(TASK_PREFIX) if key <= task_key(need.ordinal))
                    self._load_page(loaded, first)
                    assert need.ordinal in loaded.tasks, f"task {need.ordinal} is on no page"
                case NeedAllTasks():
                    for key in self._keys(TASK_PREFIX):
                        self._load_page(loaded, key)
                    loaded.has_all_tasks = True
                case NeedContext():
                    loaded.contexts[need.ordinal] = codec.unpack_context(self.records[context_key(need.ordinal)])
                case NeedValue():
                    loaded.values[need.key] = codec.unpack_value(self.records[need.key])
                case NeedPayload():
                    loaded.payloads[need.digest] = payload_value(self.payloads[need.digest])
                case NeedItems():
                    for key in self._keys(items_prefix(need.ordinal)):
                        self._load_item(loaded, need.ordinal, key)
                    loaded.all_items.add(need.ordinal)
                case NeedItem():
                    self._load_item(loaded, need.ordinal, item_key(need.ordinal, need.number))
                case _:
                    others.append(need)
        return others

    def _keys(self, prefix: str) -> list[str]:
        return sorted(key for key in self.records if key.startswith(prefix))

    def _load_page(self, loaded: Loaded, key: str) -> None:
        page = codec.unpack_tasks(self.records[key])
        first = int(key.removeprefix(TASK_PREFIX), 16)
        loaded.pages[first] = tuple(task.ordinal for task in page)
        loaded.tasks.update({task.ordinal: replace(task, page=first) for task in page})

    def _load_item(self, loaded: Loaded, ordinal: int, key: str) -> None:
        action = replace(codec.unpack_action(self.records[key]), revision=self.revisions[key])
        loaded.items.setdefault(ordinal, {}).setdefault(action.number, action)


@dataclass
class Memory:
    """What a process remembers of an execution: the header as it last saved it, and records loaded so far."""

    header: WorkflowExecution
    loaded: Loaded = field(default_factory=Loaded)

    def advance(self, transition: Transition) -> None:
        """Take over what has just been saved."""
        self.header = transition.header
        self.loaded.tasks.update(transition.tasks)
        self.loaded.pages.update(transition.pages)
        self.loaded.contexts.update(transition.contexts)
        for ordinal, items in transition.items.items():
            self.loaded.items.setdefault(ordinal, {}).update(items)
        self.loaded.values.update(transition.values)
        self.loaded.payloads.update(transition.payload_values)

    def forget_answers(self) -> None:
        """Answers about the world outside the execution hold for one turn."""
        self.loaded.found.clear()


@dataclass
class Turn:
    """What one process made of an event."""

    stored: Stored
    memory: Memory
    effects: list[Effect]
    transitions: list[Transition]


class Cloud:
    """Executions as bytes, the effects that they owe, and a clock that only tests move."""

    def __init__(
        self,
        workflows: str = "",
        *,
        actions: str = "",
        environments: Mapping[str, JsonObject] | None = None,
        field_bytes_max: int = 1 << 20,
        depth_max: int = 100,
    ) -> None:
        self.library = Library()
        if workflows:
            self.library.add_workflows(workflows)
        if actions:
            self.library.add_actions(actions)
        self.environments = dict(environments or {})
        self.now = BEGINNING
        self.executions: dict[str, Stored] = {}
        self.memories: dict[str, Memory] = {}
        self.owed: deque[tuple[str, Effect]] = deque()
        self.released: list[tuple[str, RunAction]] = []
        self.timers: list[tuple[str, SetTimer]] = []
        self.history: list[tuple[str, Transition]] = []
        self.holds = False
        self.steps_only = False
        self._field_bytes_max = field_bytes_max
        self._depth_max = depth_max
        self._decisions = 0

    # -- starting

    def start(
        self,
        name: str | None = None,
        input: JsonObject | None = None,
        *,
        params: JsonObject | None = None,
        public_id: str = "",
        security: JsonObject | None = None,
    ) -> Any:
        """Start a workflow (the last one defined, unless named) and do all that follows at once.

        Gives its ``Execution``, untyped: what such a handle shows changes with every event, which a type checker that
        has seen one assertion does not believe.
        """
        facts = self.library.facts[name or list(self.library.facts)[-1]]
        params = params or {}
        env = params.get("env")
        birth = Birth(
            id=partition_of(public_id) if public_id else derived_execution_id("test", str(len(self.executions))),
            public_id=public_id,
            project_id=PROJECT,
            facts=facts,
            input=input or {},
            params=params,
            environment=self.environments.get(env) if isinstance(env, str) else None,
            security=security,
        )
        self.begin(birth)
        self.settle()
        return Execution(self, birth.id)

    def begin(self, birth: Birth) -> None:
        """Store a new execution with its first turn."""
        drafts = [self._created(birth) for _ in range(2)]
        turns = [self._play(Stored(), Memory(draft.header, draft.loaded), draft, StartRequested()) for draft in drafts]
        self._adopt(birth.id, *turns)

    def _created(self, birth: Birth) -> Draft:
        loaded = Loaded()
        unborn = WorkflowExecution(
            id=birth.id,
            project_id=PROJECT,
            workflow_name=birth.facts.name,
            workflow_id=birth.facts.id,
            definition_hash=birth.facts.definition_hash,
            state=State.IDLE,
            created_at=0,
            updated_at=0,
            root_execution_id=birth.root_execution_id,
        )
        while True:
            try:
                return create(self.engine(unborn), birth, loaded)
            except MissingData as missing:
                self._load(Stored(), unborn, loaded, missing.needs)

    # -- events

    def submit(self, execution_id: str, event: Event) -> list[Effect]:
        """Decide about one event as a warm and as a cold process, compare, and save. Gives back the effects owed."""
        before = self.executions[execution_id]
        memory = self.memories.get(execution_id) or Memory(before.header)
        memory.forget_answers()
        cold = Memory(before.header)
        turns = []
        for known in (memory, cold):
            turns.append(self._play(before.copy(), known, Draft(known.header, known.loaded), event))
        return self._adopt(execution_id, *turns)

    def _adopt(self, execution_id: str, warm: Turn, cold: Turn) -> list[Effect]:
        if warm.stored.records != cold.stored.records:
            self._tell_apart(warm, cold)
        assert warm.stored.payloads == cold.stored.payloads
        assert warm.effects == cold.effects
        self.executions[execution_id] = warm.stored
        self.memories[execution_id] = warm.memory
        self.history += [(execution_id, transition) for transition in warm.transitions]
        self.owed += [(execution_id, effect) for effect in warm.effects]
        return warm.effects

    def _tell_apart(self, warm: Turn, cold: Turn) -> None:
        """Fail, and say in plain words which records a warm and a cold process wrote differently."""
        ours, theirs = warm.stored.records, cold.stored.records
        for key in sorted(ours.keys() | theirs.keys()):
            assert unpacked(ours.get(key)) == unpacked(theirs.get(key)), f"warm and cold differ in {key}"
        pytest.fail("warm and cold wrote the same in different words")

    def _play(self, stored: Stored, memory: Memory, draft: Draft, event: Event) -> Turn:
        turn = Turn(stored, memory, [], [])
        draft = self._quiet(turn, self._decided(turn, draft, event))
        if draft.is_changed() or not turn.memory.header.revision:
            self._save(turn, draft)
        turn.effects = draft.effects
        return turn

    def _decided(self, turn: Turn, draft: Draft, event: Event) -> Draft:
        engine = self.engine(turn.memory.header)
        while True:
            self._decisions += 1
            assert self._decisions < DECISIONS_PER_TEST_MAX, "this never ends"
            answer = decide(draft, event, engine)
            if not isinstance(answer, NeedsData):
                return answer
            self._load(turn.stored, draft.header, draft.loaded, answer.needs)

    def _quiet(self, turn: Turn, draft: Draft) -> Draft:
        for _ in range(TURN_DECISIONS_MAX):
            if draft.touched >= TURN_RECORDS_MAX or (self.steps_only and draft.is_changed()):
                effects, draft.effects = draft.effects, []
                self._save(turn, draft)
                if self.steps_only:
                    turn.memory = Memory(turn.stored.header)
                draft = Draft(turn.memory.header, turn.memory.loaded)
                draft.effects = effects
            effect = next((e for e in draft.effects if isinstance(e, RunAction) and e.is_pure), None)
            if effect is None:
                return draft
            draft.effects.remove(effect)
            event = self._run_pure(turn, draft, effect)
            if event is not None:
                draft = self._decided(turn, draft, event)
        return draft

    def _run_pure(self, turn: Turn, draft: Draft, effect: RunAction) -> ActionCompleted | None:
        action = self._insist(turn, draft, lambda: draft.action(draft.task(effect.ordinal), effect.number))
        if action is None or action.state is not State.RUNNING:
            return None
        name, given = (action.base.name, action.base.input) if action.base else (action.name, action.input)
        data = self._insist(turn, draft, lambda: draft.resolve_object(given))
        runnable = self.library.registry.find(name)
        assert runnable is not None
        return ActionCompleted(effect.ordinal, effect.number, perform(runnable, data, _CONTEXT))

    def _insist(self, turn: Turn, draft: Draft, ask: Callable[[], Any]) -> Any:
        while True:
            try:
                return ask()
            except MissingData as missing:
                self._load(turn.stored, draft.header, draft.loaded, missing.needs)

    def _save(self, turn: Turn, draft: Draft) -> None:
        transition = self._insist(turn, draft, lambda: seal(draft, wake_at=None, now=self.now))
        turn.stored.save(transition)
        turn.memory.advance(transition)
        turn.transitions.append(transition)

    def engine(self, header: WorkflowExecution) -> Engine:
        """What deciding about an execution needs."""
        return Engine(
            self.library.plans[header.definition_hash],
            Moment(self.now, str(header.revision)),
            Options(),
            self._field_bytes_max,
            self._depth_max,
        )

    # -- what the shell finds

    def _load(self, stored: Stored, header: WorkflowExecution, loaded: Loaded, needs: Iterable[Need]) -> None:
        for need in stored.load(loaded, needs):
            loaded.found[need] = self._find(need)

    def _find(self, need: Need) -> Any:
        match need:
            case NeedAction():
                return self.library.action(need.name)
            case NeedWorkflow():
                return self.library.facts.get(need.name)
            case NeedRootEnvironment():
                return Execution(self, partition_of(need.root_execution_id)).params.get("env") or {}
            case NeedTasks():
                return self._described(need)
            case NeedExecutions():
                return [{"id": Execution(self, key).header.public} for key in self.executions]
            case _:
                raise AssertionError(need)

    def _described(self, need: NeedTasks) -> list[JsonObject]:
        wanted = need.workflow_execution_id
        ids = list(self.executions) if wanted is None else [partition_of(wanted)]
        found: list[JsonObject] = []
        for key in ids:
            execution = Execution(self, key)
            draft = Draft(execution.header, Loaded())
            world = ExecutionWorld(draft, self.engine(draft.header))
            turn = Turn(execution.stored, Memory(draft.header), [], [])
            public = draft.header.public
            ask = partial(world.tasks, public, need.recursive, need.state, need.flat)
            found += self._insist(turn, draft, ask)
        return found

    # -- effects

    def settle(self) -> None:
        """Carry out what is owed to other executions, until nothing is; actions and timers wait for the test."""
        while self.owed and not self.holds:
            self.carry_out(*self.owed.popleft())

    def carry_out(self, execution_id: str, effect: Effect) -> None:
        """Carry out one effect. A message to an execution that does not exist, or that refuses it, is lost."""
        match effect:
            case RunAction(is_pure=True) | Continue():
                self.submit(execution_id, Continued())
            case RunAction():
                self.released.append((execution_id, effect))
            case SetTimer():
                self.timers.append((execution_id, effect))
            case StartSubworkflow():
                self._start_child(execution_id, effect)
            case Tell() if effect.execution_id in self.executions:
                self.tell(effect.execution_id, effect.event)

    def tell(self, execution_id: str, event: Event) -> None:
        """Bring an execution an event that another one sends; what it refuses is lost."""
        try:
            self.submit(execution_id, event)
        except MistralError:
            return

    def _start_child(self, parent_id: str, effect: StartSubworkflow) -> None:
        if effect.execution_id in self.executions:
            return
        parent = Execution(self, parent_id)
        task = parent.of_ordinal(effect.ordinal)
        action = next(action for action in parent.actions_of(task) if action.number == effect.number)
        assert action.base is not None
        started_with = parent.resolved(action.base.input)
        birth = Birth(
            id=effect.execution_id,
            project_id=PROJECT,
            facts=self.library.facts[action.base.name],
            input=parent.resolved(action.input) or {},
            params=started_with["params"],
            description="sub-workflow execution",
            parent=Parent(parent_id, effect.ordinal, effect.number, action.index),
            root_execution_id=parent.header.root_execution_id or parent.header.public,
            depth=parent.header.depth + 1,
            environment=self.environments.get(str(started_with["params"].get("env"))),
        )
        try:
            self.begin(birth)
        except MistralError as error:
            failed = Result(error={"result": error.message})
            self.submit(parent_id, ActionCompleted(effect.ordinal, effect.number, failed))

    # -- time

    def pass_time(self, seconds: float) -> None:
        """Move the clock and fire, in order, the timers that have become due on the way."""
        until = self.now + seconds
        while True:
            due = sorted((t for t in self.timers if t[1].due_at <= until), key=lambda t: t[1].due_at)
            if not due:
                break
            execution_id, timer = due[0]
            self.timers.remove(due[0])
            self.now = max(self.now, timer.due_at)
            self.submit(execution_id, TimerFired(timer.ordinal, timer.stamp))
            self.settle()
        self.now = until


_CONTEXT = ActionContext(
    workflow_execution_id=None,
    task_execution_id=None,
    action_execution_id=None,
    workflow_name=None,
    callback_url=None,
    project_id=PROJECT,
    deadline_sec=None,
)


def unpacked(body: bytes | None) -> Any:
    """A stored body as plain data."""
    return None if body is None else codec._unpack(body)


@dataclass(frozen=True)
class Execution:
    """A handle on one stored execution: everything it shows is read from the bytes."""

    cloud: Cloud
    id: str

    # -- looking

    @property
    def stored(self) -> Stored:
        """Its records."""
        return self.cloud.executions[self.id]

    @property
    def header(self) -> WorkflowExecution:
        """Its header."""
        return self.stored.header

    @property
    def state(self) -> State:
        """Its state."""
        return self.header.state

    @property
    def state_info(self) -> str | None:
        """Why it is in its state."""
        return self.header.state_info

    @property
    def output(self) -> Json:
        """Its output."""
        return self.resolved(self.header.output)

    @property
    def params(self) -> JsonObject:
        """Its start parameters, environment included."""
        params: JsonObject = self.resolved(self.header.params) or {}
        return params

    @property
    def variables(self) -> JsonObject:
        """Its ``vars`` and globals, without what the engine adds."""
        variables = self.resolved(self.header.variables) or {}
        return {name: value for name, value in variables.items() if name not in ("__execution", "openstack")}

    def resolved(self, value: Json) -> Json:
        """The data behind a value that may be a reference, or has members that are."""
        if isinstance(value, ValueRef):
            return self.resolved(codec.unpack_value(self.stored.records[value.key]))
        if isinstance(value, PayloadRef):
            return payload_value(self.stored.payloads[value.digest])
        if isinstance(value, dict):
            return {key: self.resolved(member) for key, member in value.items()}
        return value

    def all_tasks(self) -> list[TaskExecution]:
        """Every task execution, in order of creation."""
        loaded = Loaded()
        self.stored.load(loaded, [NeedAllTasks()])
        header = self.header
        known = {**loaded.tasks, **header.tail, **header.frontier}
        return [known[ordinal] for ordinal in sorted(known)]

    def of_ordinal(self, ordinal: int) -> TaskExecution:
        """The task execution with this ordinal."""
        return next(task for task in self.all_tasks() if task.ordinal == ordinal)

    def runs(self, name: str) -> list[TaskExecution]:
        """Every task execution of a name."""
        return [task for task in self.all_tasks() if task.name == name]

    def task(self, name: str) -> TaskExecution:
        """The only task execution of a name."""
        (task,) = self.runs(name)
        return task

    @property
    def names(self) -> list[str]:
        """The names of all task executions, in order of creation."""
        return [task.name for task in self.all_tasks()]

    @property
    def states(self) -> dict[str, str]:
        """The state of each task, by name; of the last one where a name ran several times."""
        return {task.name: str(task.state) for task in self.all_tasks()}

    def published(self, name: str) -> Json:
        """What a task published."""
        return self.resolved(self.task(name).published)

    def actions_of(self, task: TaskExecution) -> list[ActionExecution]:
        """The action executions of a task, with their acceptance as it now is."""
        if not task.has_items:
            return sorted(task.actions, key=lambda action: action.number)
        loaded = Loaded()
        self.stored.load(loaded, [NeedItems(task.ordinal)])
        items = loaded.items.get(task.ordinal, {})
        return effective_actions(task, [items[number] for number in sorted(items)])

    def actions(self, name: str) -> list[ActionExecution]:
        """The action executions of the last task execution of a name."""
        return self.actions_of(self.runs(name)[-1])

    def input_of(self, name: str, number: int = 0) -> Json:
        """The evaluated input of an action execution."""
        return self.resolved(self.actions(name)[number].input)

    def inputs_of(self, name: str) -> list[Json]:
        """The evaluated inputs of all action executions of a task."""
        return [self.resolved(action.input) for action in self.actions(name)]

    def results_of(self, name: str) -> list[Json]:
        """What the action executions of a task came to."""
        return [self.resolved(action.result.value) if action.result else None for action in self.actions(name)]

    def child(self, name: str, number: int = 0) -> Execution:
        """The sub-workflow execution that stands for a task."""
        child_id = self.actions(name)[number].execution_id
        assert child_id is not None
        return Execution(self.cloud, child_id)

    def released(self, name: str) -> int:
        """How many actions of a task's last execution were handed to executors."""
        ordinal = self.runs(name)[-1].ordinal
        return sum(1 for key, effect in self.cloud.released if key == self.id and effect.ordinal == ordinal)

    def view(self) -> Json:
        """Everything a user sees, but for ids and times."""
        return {
            "state": str(self.state),
            "output": self.output,
            "variables": self.variables,
            "tasks": [
                {
                    "name": task.name,
                    "state": str(task.state),
                    "published": self.resolved(task.published),
                    "next": task.next_tasks,
                    "actions": [self._action_view(action) for action in self.actions_of(task)],
                }
                for task in self.all_tasks()
            ],
        }

    def _action_view(self, action: ActionExecution) -> Json:
        if action.execution_id is not None:
            return Execution(self.cloud, action.execution_id).view()
        value = self.resolved(action.result.value) if action.result else None
        return [action.name, str(action.state), action.accepted, self.resolved(action.input), value]

    # -- acting

    def send(self, event: Event) -> Execution:
        """Bring it an event, and carry out what follows for other executions."""
        self.cloud.submit(self.id, event)
        self.cloud.settle()
        return self

    def changes(self, event: Event) -> bool:
        """Bring it an event, and say whether anything was written or asked for."""
        before = dict(self.stored.records)
        effects = self.cloud.submit(self.id, event)
        self.cloud.settle()
        return bool(effects) or self.stored.records != before

    def complete(self, name: str, data: Json = None, *, index: int | None = None) -> Execution:
        """End the running action of a task (or of one of its items) successfully."""
        return self.finish(name, Result(data=data), index=index)

    def fail(self, name: str, error: Json = "broken", *, index: int | None = None) -> Execution:
        """End the running action of a task (or of one of its items) in error."""
        return self.finish(name, Result(error=error), index=index)

    def cancel_action(self, name: str, *, index: int | None = None) -> Execution:
        """Cancel the running action of a task (or of one of its items)."""
        return self.finish(name, Result(cancel=True), index=index)

    def finish(self, name: str, result: Result, *, index: int | None = None) -> Execution:
        """End the last running action of a task with a result."""
        task = next(task for task in reversed(self.runs(name)) if not task.state.is_completed)
        running = [action for action in self.actions_of(task) if action.state is State.RUNNING]
        action = next(action for action in reversed(running) if index is None or action.index == index)
        return self.send(ActionCompleted(task.ordinal, action.number, result))

    def pause(self) -> Execution:
        """Ask for a pause."""
        return self.send(PauseRequested())

    def resume(self, env: JsonObject | None = None) -> Execution:
        """Ask to go on."""
        return self.send(ResumeRequested(env))

    def stop(self, state: State, message: str | None = None) -> Execution:
        """Ask for an end."""
        return self.send(StopRequested(state, message))

    def rerun(self, name: str, *, reset: bool = True, env: JsonObject | None = None) -> Execution:
        """Ask for another run of a failed task."""
        return self.send(RerunRequested(self.runs(name)[-1].ordinal, reset, env))

    def skip(self, name: str) -> Execution:
        """Ask to leave a failed task behind."""
        return self.send(SkipRequested(self.runs(name)[-1].ordinal))


def run(workflows: str, input: JsonObject | None = None, **more: Any) -> Any:
    """Define workflows, start the last one, and do all that follows at once. Gives its ``Execution``."""
    start = {name: more.pop(name) for name in ("params", "public_id", "security") if name in more}
    return Cloud(workflows, **more).start(None, input, **start)
