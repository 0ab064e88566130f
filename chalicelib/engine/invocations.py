"""From what a task says to an action execution.

Names are resolved, input is evaluated and checked, ad-hoc actions are unrolled to their base.

Two kinds of failure, as on Mistral: a ``TaskFailure`` ends the task in ERROR as a failed action would (its ``on-error``
is followed); any other ``MistralError`` is a fault of the definition and fails task and workflow at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from chalicelib.data import dataclass
from chalicelib.engine.contexts import deep_merge
from chalicelib.engine.draft import Draft
from chalicelib.engine.effects import RunAction, StartSubworkflow
from chalicelib.engine.identity import child_execution_id, task_id
from chalicelib.engine.needs import NeedAction, NeedWorkflow
from chalicelib.engine.plain import plain
from chalicelib.engine.records import ActionExecution, Invocation, TaskExecution
from chalicelib.engine.scope import ad_hoc_scope, target_scope, task_scope, timeout_scope
from chalicelib.engine.sizes import check_size
from chalicelib.engine.world import Engine, evaluate
from chalicelib.errors import (
    EvaluationException,
    InputException,
    InvalidActionException,
    MistralError,
    SizeLimitExceededException,
)
from chalicelib.lang.specs import ActionSpec, InputSpec, TaskSpec
from chalicelib.limits import ACTIONS_PER_TASK_MAX
from chalicelib.vocabulary import Json, JsonObject, Result, State


class TaskFailure(MistralError):
    """The task fails as it would by a failed action."""


@runtime_checkable
class ActionDescriptor(Protocol):
    """What the engine must know of a runnable action; the registry's actions are such."""

    @property
    def name(self) -> str:
        """The action's full name."""

    @property
    def is_sync(self) -> bool:
        """Whether its return value is its result."""

    def check(self, input: JsonObject) -> None:
        """Refuse missing and unexpected parameters. Raises InvalidActionException."""

    def check_values(self, input: JsonObject) -> None:
        """Refuse values that the action cannot be made with. Raises MistralError."""

    def is_pure(self, input: JsonObject) -> bool:
        """Whether it may be repeated, does nothing outside, and is instant."""


@dataclass(frozen=True, slots=True)
class WorkflowFacts:
    """What a parent must know of a workflow to start it."""

    id: str
    name: str
    namespace: str
    definition_hash: str
    input: tuple[InputSpec, ...]
    workbook_name: str | None = None


def schedule(
    engine: Engine,
    draft: Draft,
    task: TaskExecution,
    *,
    number: int,
    index: int = 0,
    item: Mapping[str, Json] | None = None,
) -> TaskExecution:
    """Create the action execution or sub-workflow of a task (or of one of its items), and ask for it to be run.

    Raises TaskFailure, MistralError (forced failure), MissingData.
    """
    if number > ACTIONS_PER_TASK_MAX:
        raise TaskFailure(f"Task '{task.name}' has run {number} times: no execution of a task may run more often.")
    spec = engine.plan.spec.tasks[task.name]
    scope = task_scope(draft, task, item)
    if spec.workflow is not None:
        action_input = _evaluated_input(engine, draft, task, spec, scope)
        return _schedule_workflow(engine, draft, task, spec, action_input, number=number, index=index)
    action_input = _action_input(engine, draft, task, spec, scope)
    return _schedule_action(engine, draft, task, spec, action_input, number=number, index=index)


def _evaluated_input(
    engine: Engine, draft: Draft, task: TaskExecution, spec: TaskSpec, scope: Mapping[str, Json]
) -> JsonObject:
    value = plain(evaluate(engine, draft, spec.input, scope, task)) if spec.input else {}
    if not isinstance(value, dict):
        raise InputException(
            f"Wrong dynamic input for task: {task.name}. Dict type is expected. "
            f"Actual type: {type(value).__name__}. Actual value: {str(value)[:200]}"
        )
    return value


def _action_input(
    engine: Engine, draft: Draft, task: TaskExecution, spec: TaskSpec, scope: Mapping[str, Json]
) -> JsonObject:
    value = _evaluated_input(engine, draft, task, spec, scope)
    params = draft.resolve(draft.params) or {}
    env = draft.resolve(params.get("env")) or {}
    all_defaults = env.get("__actions") or {}
    defaults = all_defaults.get(spec.action) if isinstance(all_defaults, dict) and spec.action else None
    if not isinstance(all_defaults, dict) or not isinstance(defaults, (dict, type(None))):
        raise InputException(
            "The environment's '__actions' must be an object of objects: default inputs by action name."
        )
    return deep_merge(value, defaults, overwrite=False) if defaults else value


def _schedule_action(
    engine: Engine,
    draft: Draft,
    task: TaskExecution,
    spec: TaskSpec,
    action_input: JsonObject,
    *,
    number: int,
    index: int,
) -> TaskExecution:
    target = _target(engine, draft, task, spec, action_input)
    name, descriptor = _find_action(engine, draft, task, spec)
    _check_parameters(name, descriptor, action_input)
    if isinstance(descriptor, ActionSpec):
        action_input = with_defaults(descriptor.input, action_input)
    base, runnable = _unroll(engine, draft, task, name, descriptor, action_input=action_input)
    base_input = action_input if base is None else base.input
    try:
        runnable.check_values(base_input)
        check_size(action_input, "input", engine.field_bytes_max)
    except SizeLimitExceededException as error:
        raise TaskFailure(error.message) from error
    except MistralError as error:
        raise TaskFailure(f"Failed to instantiate an action [action_desc={name}]: {error.message}") from error
    timeout = _timeout_sec(engine, draft, task, spec)
    action = ActionExecution(
        number=number,
        name=name,
        state=State.RUNNING,
        created_at=draft.now,
        updated_at=draft.now,
        input=action_input,
        index=index,
        is_sync=runnable.is_sync,
        is_pure=runnable.is_pure(base_input) and target is None,
        base=base,
        target=target,
        timeout_sec=timeout,
        safe_rerun=bool(engine.plan.graph.safe_rerun(task.name)),
    )
    task = draft.put(task, next_number=max(task.next_number, number + 1))
    task = draft.put_action(task, action)
    if not task.has_items:
        draft.kept_apart[task.ordinal] = draft.kept_apart.get(task.ordinal, 0) + (1 if base is None else 2)
    draft.emit(RunAction(task.ordinal, number, action.is_pure, action.target, timeout))
    return task


def _target(engine: Engine, draft: Draft, task: TaskExecution, spec: TaskSpec, action_input: JsonObject) -> str | None:
    if spec.target is None:
        return None
    try:
        target = evaluate(engine, draft, spec.target, target_scope(draft, task, action_input))
    except EvaluationException as error:
        raise _in_items(spec, error) from error
    return target if isinstance(target, str) else None


def _in_items(spec: TaskSpec, error: MistralError) -> MistralError:
    """A wrong name or target fails a with-items task as a failed action does, and any other task by force."""
    return TaskFailure(error.message) if spec.with_items is not None else error


def _find_action(
    engine: Engine, draft: Draft, task: TaskExecution, spec: TaskSpec
) -> tuple[str, ActionSpec | ActionDescriptor]:
    try:
        name = evaluate(engine, draft, spec.action, task_scope(draft, task), task) if spec.action else None
    except EvaluationException as error:
        raise _in_items(spec, error) from error
    name = name or "std.noop"
    namespace = draft.header.workflow_namespace
    workbook = draft.header.workbook_name
    for candidate in ([f"{workbook}.{name}"] if workbook else []) + [str(name)]:
        found = draft.ask(NeedAction(candidate, namespace))
        if found is not None:
            return candidate, found
    raise _in_items(spec, InvalidActionException(f"Failed to find action [action_name={name}, namespace={namespace}]"))


def _check_parameters(name: str, descriptor: ActionSpec | ActionDescriptor, action_input: JsonObject) -> None:
    if isinstance(descriptor, ActionSpec):
        check_input(name, "AdHocAction", descriptor.input, action_input, error=InvalidActionException)
    else:
        descriptor.check(action_input)


def check_input(
    name: str,
    kind: str,
    declared: tuple[InputSpec, ...],
    given: Mapping[str, Json],
    *,
    error: type[MistralError] = InputException,
) -> None:
    """Refuse input that misses a required name or brings an undeclared one. Raises ``error``."""
    missing = [spec.name for spec in declared if spec.required and spec.name not in given]
    unexpected = sorted(set(given) - {spec.name for spec in declared})
    if missing or unexpected:
        parts = [f"name={name}", f"class={kind}"]
        parts += [f"missing={missing}"] if missing else []
        parts += [f"unexpected={unexpected}"] if unexpected else []
        raise error(f"Invalid input [{', '.join(parts)}]")


def with_defaults(declared: tuple[InputSpec, ...], given: Mapping[str, Json]) -> JsonObject:
    """The given input with declared defaults filled in, unevaluated."""
    value = dict(given)
    for spec in declared:
        if not spec.required and spec.name not in value:
            value[spec.name] = spec.default
    return value


def _unroll(
    engine: Engine,
    draft: Draft,
    task: TaskExecution,
    name: str,
    descriptor: ActionSpec | ActionDescriptor,
    *,
    action_input: JsonObject,
) -> tuple[Invocation | None, ActionDescriptor]:
    """Follow an ad-hoc action to its base. Raises TaskFailure where a link is missing or does not fit."""
    seen = [name]
    base: Invocation | None = None
    while isinstance(descriptor, ActionSpec):
        given = with_defaults(descriptor.input, action_input)
        try:
            action_input = plain(evaluate(engine, draft, dict(descriptor.base_input), ad_hoc_scope(draft, task, given)))
            name = descriptor.base
            if name in seen:
                raise InvalidActionException(f"Found a cycle in an ad-hoc action chain [action_name={name}]")
            found = draft.ask(NeedAction(name, draft.header.workflow_namespace))
            if found is None:
                raise InvalidActionException(f"Failed to find action [action_name={name}]")
            seen.append(name)
            descriptor = found
            _check_parameters(name, found, action_input)
        except MistralError as error:
            raise TaskFailure(f"Failed to instantiate an action [action_desc={seen[0]}]: {error.message}") from error
        base = Invocation(name, action_input)
    return base, descriptor


def transform(engine: Engine, draft: Draft, action: ActionExecution, result: Result) -> Result:
    """Pass a result of an ad-hoc action through the outputs of its chain, innermost first.

    Raises EvaluationException.
    """
    if action.base is None:
        return result
    chain = []
    name = action.name
    while isinstance(descriptor := draft.ask(NeedAction(name, draft.header.workflow_namespace)), ActionSpec):
        chain.append(descriptor)
        name = descriptor.base
    data = result.data
    for spec in reversed(chain):
        if spec.output is not None:
            # A falsy value is an empty context for Mistral, which leaves the template as it is.
            data = evaluate(engine, draft, spec.output, data) if data else spec.output
    return Result(data=data if result.state is State.SUCCESS else None, error=result.error, cancel=result.cancel)


def _timeout_sec(engine: Engine, draft: Draft, task: TaskExecution, spec: TaskSpec) -> float | None:
    retry = spec.policies.retry
    limits = [spec.policies.timeout, retry.attempt_timeout if retry is not None else None]
    scope = timeout_scope(draft, task)
    known = [evaluate(engine, draft, limit, scope) if isinstance(limit, str) else limit for limit in limits]
    return min((float(limit) for limit in known if isinstance(limit, (int, float)) and limit > 0), default=None)


def _schedule_workflow(
    engine: Engine,
    draft: Draft,
    task: TaskExecution,
    spec: TaskSpec,
    workflow_input: JsonObject,
    *,
    number: int,
    index: int,
) -> TaskExecution:
    header = draft.header
    name = evaluate(engine, draft, spec.workflow, task_scope(draft, task), task)
    facts = _find_workflow(draft, str(name))
    if header.depth + 1 > engine.subworkflow_depth_max:
        raise TaskFailure(
            f"Sub-workflows are nested more than {engine.subworkflow_depth_max} deep: does '{name}' call itself?"
        )
    declared = {declared.name for declared in facts.input}
    child_input = {key: value for key, value in workflow_input.items() if key in declared}
    extra = {key: value for key, value in workflow_input.items() if key not in declared}
    try:
        check_input(facts.name, "WorkflowSpec", facts.input, child_input)
    except InputException as error:
        raise TaskFailure(error.message) from error
    child_id = child_execution_id(header.id, task.ordinal, number)
    params = {
        "root_execution_id": header.root_execution_id or header.public,
        "task_execution_id": task_id(header.id, task.ordinal),
        "index": index,
        "namespace": _namespace(draft),
        **extra,
    }
    notify = (draft.resolve(draft.params) or {}).get("notify")
    if notify:
        params["notify"] = notify
    child = ActionExecution(
        number=number,
        name=facts.name,
        state=State.RUNNING,
        created_at=draft.now,
        updated_at=draft.now,
        input=child_input,
        base=Invocation(facts.name, {"namespace": facts.namespace, "params": params}),
        index=index,
        execution_id=child_id,
    )
    task = draft.put(task, next_number=max(task.next_number, number + 1))
    task = draft.put_action(task, child)
    if not task.has_items:
        draft.kept_apart[task.ordinal] = draft.kept_apart.get(task.ordinal, 0) + 2
    draft.emit(StartSubworkflow(task.ordinal, number, child_id))
    return task


def _namespace(draft: Draft) -> str:
    params = draft.resolve(draft.params) or {}
    return str(params.get("namespace") or draft.header.workflow_namespace)


def _find_workflow(draft: Draft, name: str) -> WorkflowFacts:
    namespace = _namespace(draft)
    workbook = draft.header.workbook_name
    for candidate in ([f"{workbook}.{name}"] if workbook else []) + [name]:
        facts: WorkflowFacts | None = draft.ask(NeedWorkflow(candidate, namespace))
        if facts is not None:
            return facts
    raise TaskFailure(f"Failed to find workflow [name={name}] [namespace={namespace}]")
