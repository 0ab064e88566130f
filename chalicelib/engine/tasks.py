"""A task's life: created, started, run, completed, published, gone on from.

Reference: Mistral's engine/tasks.py, engine/task_handler.py.

A failure of the definition itself (an expression, a parameter, a policy of the wrong type) is a forced failure: task
and workflow end in ERROR, and no clause is consulted. ``decider`` turns every ``MistralError`` that leaves a function
of this module into one.
"""

from __future__ import annotations

from chalicelib.data import replace
from chalicelib.engine import hooks, items, reverse
from chalicelib.engine.agenda import CheckWorkflow, Command, CompleteTask, ContinueTask, Dispatch, RefreshJoins, RunTask
from chalicelib.engine.contexts import deep_merge, merge, node_for, outbound_of
from chalicelib.engine.direct import JoinVerdict, join_verdict, next_commands
from chalicelib.engine.draft import Draft
from chalicelib.engine.invocations import TaskFailure, schedule
from chalicelib.engine.plain import plain
from chalicelib.engine.records import (
    EMPTY_CONTEXT,
    Arrival,
    JoinProgress,
    TaskExecution,
    TaskType,
    TriggeredBy,
    inbound_context,
)
from chalicelib.engine.scope import publish_scope
from chalicelib.engine.sizes import check_size, cut
from chalicelib.engine.world import Engine, evaluate
from chalicelib.errors import MistralError
from chalicelib.limits import STATE_INFO_CHARACTERS_MAX, TASKS_PER_EXECUTION_MAX
from chalicelib.vocabulary import JsonObject, State


def create(engine: Engine, draft: Draft, command: RunTask) -> None:
    """Create the task that a command names: IDLE and about to start, or, if it is a join, one more arrival at it."""
    spec = engine.plan.spec.tasks[command.name]
    if spec.join is not None:
        _arrive(engine, draft, command)
        return
    if engine.plan.spec.type == "reverse" and not reverse.is_first(engine, draft, command.name):
        return
    task = _new_task(engine, draft, command.name, State.IDLE, command.context, triggered_by=command.triggered_by)
    if engine.plan.spec.type == "reverse":
        task = _receive(engine, draft, task)
    draft.starts.append(task.ordinal)


def _new_task(
    engine: Engine,
    draft: Draft,
    name: str,
    state: State,
    context: int,
    *,
    triggered_by: tuple[TriggeredBy, ...] = (),
    state_info: str | None = None,
) -> TaskExecution:
    if draft.next_ordinal > TASKS_PER_EXECUTION_MAX:
        raise MistralError(
            f"An execution may have {TASKS_PER_EXECUTION_MAX} tasks at most: is there an endless loop through '{name}'?"
        )
    spec = engine.plan.spec.tasks[name]
    ordinal = draft.take_ordinal()
    if engine.plan.remembers(name) or engine.plan.spec.type == "reverse":
        draft.named[name] = ordinal
    if engine.plan.has_joins:
        draft.seen &= ~engine.plan.task_bit[name]
        draft.fired &= ~engine.plan.edges_of.get(name, 0)
    return draft.put(
        TaskExecution(
            ordinal=ordinal,
            name=name,
            type=TaskType.WORKFLOW if spec.workflow is not None else TaskType.ACTION,
            state=state,
            state_info=state_info,
            created_at=draft.now,
            in_context=context,
            triggered_by=triggered_by,
            has_items=spec.with_items is not None,
        )
    )


# -- joins


def _arrive(engine: Engine, draft: Draft, command: RunTask) -> None:
    """An inbound task reaches its join: the one record of the join waits, also when it has run before."""
    progress = draft.joins.get(command.name)
    waiting = "Task is waiting."
    if progress is None:
        task = _new_task(engine, draft, command.name, State.WAITING, EMPTY_CONTEXT, state_info=waiting)
        progress = JoinProgress(task.ordinal)
    else:
        task = draft.task(progress.ordinal)
        if task.state is not State.WAITING:
            forget_outcome(draft, task)
            draft.put(task, state=State.WAITING, state_info=waiting)
    # Of several executions of an inbound task the latest counts, so a join in a loop does not grow with it.
    for trigger in command.triggered_by:
        edge = engine.plan.edge_number(draft.task(trigger.ordinal).name, command.name)
        arrival = Arrival(trigger.ordinal, trigger.event, command.context, edge)
        progress = replace(progress, arrivals=(*(a for a in progress.arrivals if a.edge != edge), arrival))
    draft.joins[command.name] = progress
    draft.then(RefreshJoins(command.name))


def refresh_joins(engine: Engine, draft: Draft, task_name: str) -> None:
    """Look at every join that a task can influence.

    And at the task itself if it is one; start or fail those that are decided.
    """
    if draft.is_paused:
        return
    graph = engine.plan.graph
    names = (
        (task_name, *graph.reachable_joins(task_name)) if task_name in graph.joins else graph.reachable_joins(task_name)
    )
    for name in dict.fromkeys(names):
        progress = draft.joins.get(name)
        if progress is None or draft.is_completed:
            continue
        task = draft.frontier.get(progress.ordinal)
        # A join that waits for its retry is not to be started before its time.
        if task is None or task.state is not State.WAITING or any(timer.kind == "retry" for timer in task.timers):
            continue
        _decide_join(draft, task, progress, join_verdict(engine, draft, name))


def _decide_join(draft: Draft, task: TaskExecution, progress: JoinProgress, verdict: JoinVerdict) -> None:
    match verdict.state:
        case State.RUNNING:
            draft.put(task, triggered_by=_triggers(progress))
            draft.then(ContinueTask(task.ordinal, expected=State.WAITING))
        case State.ERROR:
            draft.then(CompleteTask(task.ordinal, State.ERROR, verdict.state_info))
        case _:
            return


def _triggers(progress: JoinProgress) -> tuple[TriggeredBy, ...]:
    return tuple(TriggeredBy(arrival.ordinal, arrival.event) for arrival in progress.arrivals)


def _receive(engine: Engine, draft: Draft, task: TaskExecution) -> TaskExecution:
    """Bring the inbound context of a join or a reverse task up to date with all that have arrived."""
    if engine.plan.spec.type == "reverse":
        references = reverse.upstream_contexts(engine, draft, task.name)
    elif (progress := draft.joins.get(task.name)) is not None:
        references = [arrival.context for arrival in progress.arrivals]
    else:
        return task
    reference, node = merge(draft, references)
    if node is not None:
        number = draft.take_ordinal() if task.went_on else task.ordinal
        draft.contexts[number] = node
        reference = inbound_context(number)
    return draft.put(task, in_context=reference) if reference != task.in_context else task


# -- running


def start(engine: Engine, draft: Draft, task: TaskExecution) -> None:
    """A new task's first run: policies, then its action. Raises MistralError, MissingData."""
    task = draft.put(task, state=State.RUNNING, started_at=draft.now)
    task = hooks.before_start(engine, draft, task)
    if task.state is State.RUNNING:
        _run(engine, draft, task)


def continue_task(engine: Engine, draft: Draft, step: ContinueTask) -> None:
    """An existing task runs (again). Raises MistralError, MissingData."""
    task = draft.task(step.ordinal)
    if step.expected is not None and task.state is not step.expected:
        return
    starts_now = task.state in (State.WAITING, State.IDLE) or step.is_rerun
    task = draft.put(
        task,
        state=State.RUNNING,
        state_info=None,
        processed=False,
        **results_anew(task),
        started_at=draft.now if starts_now else task.started_at,
        finished_at=None,
        timers=tuple(timer for timer in task.timers if timer.kind == "timeout" and not step.is_rerun),
    )
    if step.is_rerun:
        task = hooks.before_start(engine, draft, task)
        if task.state is not State.RUNNING:
            return
    task = _receive(engine, draft, task)
    if any(action.accepted for action in task.actions) or task.has_items:
        task = hooks.drop_results(draft, task, only_failed=not step.reset)
    _run(engine, draft, task)


def _run(engine: Engine, draft: Draft, task: TaskExecution) -> None:
    task = hooks.before_attempt(engine, draft, task)
    try:
        if task.has_items:
            items.run(engine, draft, task)
        else:
            schedule(engine, draft, task, number=task.next_number)
    except TaskFailure as failure:
        draft.then(CompleteTask(task.ordinal, State.ERROR, failure.message))


# -- completing


def complete(engine: Engine, draft: Draft, step: CompleteTask) -> None:
    """End a task, in Mistral's order: state, inbound context, publish, policies, next commands.

    Raises MistralError, MissingData.
    """
    task = draft.task(step.ordinal)
    if task.state.is_completed and not step.skip:
        return
    forget_outcome(draft, task)
    task = draft.put(
        task,
        state=step.state,
        state_info=cut(step.state_info, STATE_INFO_CHARACTERS_MAX),
        finished_at=draft.now,
        item_values=None,
        # Whoever ends before it began, such as by its time limit, no longer waits for its beginning;
        # a retry has its own time, and its own attempt.
        timers=tuple(timer for timer in task.timers if timer.kind not in ("wait-before", "attempt-timeout")),
    )
    progress = draft.joins.get(task.name)
    if progress is not None and task.triggered_by != _triggers(progress):
        task = _receive(engine, draft, task)
    draft.shown = 0
    task = _publish(engine, draft, task)
    drops = not engine.plan.spec.tasks[task.name].keep_result and task.type is TaskType.ACTION
    # What `task()` has shown when publishing it shows to policies and clauses, too: so it is on Mistral, by its cache.
    is_shown = draft.shown == task.ordinal
    if drops and not is_shown:
        task = _drop_outputs(draft, task)
    try:
        _after_publishing(engine, draft, task, step)
    finally:
        if drops and is_shown:
            _drop_outputs(draft, draft.task(step.ordinal))


def _after_publishing(engine: Engine, draft: Draft, task: TaskExecution, step: CompleteTask) -> None:
    if not step.skip:
        task = hooks.after_complete(engine, draft, task)
    if task.state.is_completed:
        _go_on(engine, draft, draft.put(task, timers=()), step.action_name)


def forget_outcome(draft: Draft, task: TaskExecution) -> None:
    """A task that ran before leaves the books of ends, failures, cancellations and arrivals."""
    draft.ends.pop(task.ordinal, None)
    draft.failures = tuple(o for o in draft.failures if o != task.ordinal)
    draft.cancellations = tuple(o for o in draft.cancellations if o != task.ordinal)
    draft.unprocessed = tuple(o for o in draft.unprocessed if o != task.ordinal)
    for name, _ in (task.next_tasks or ()) if task.went_on else ():
        progress = draft.joins.get(name)
        if progress is not None:
            kept = tuple(arrival for arrival in progress.arrivals if arrival.ordinal != task.ordinal)
            draft.joins[name] = replace(progress, arrivals=kept)


def _publish(engine: Engine, draft: Draft, task: TaskExecution) -> TaskExecution:
    if task.state not in (State.SUCCESS, State.ERROR, State.SKIPPED):
        return task
    spec = engine.plan.graph.publish(task.name, task.state)
    if spec is None:
        return _hand_on(draft, task)
    scope = publish_scope(draft, task)
    published = None if spec.branch is None else plain(evaluate(engine, draft, dict(spec.branch), scope, task))
    if spec.global_ is not None:
        shared = plain(evaluate(engine, draft, dict(spec.global_), scope, task))
        variables = draft.resolve(draft.variables) or {}
        met = {name: draft.resolve(value) if name in shared else value for name, value in variables.items()}
        draft.variables = deep_merge(met, shared)
    check_size(published, "published", engine.field_bytes_max)
    return _hand_on(draft, draft.put(task, published=published))


def _hand_on(draft: Draft, task: TaskExecution) -> TaskExecution:
    """Set what a task hands on.

    A context that others have received is never changed: a task that runs again gets a new one.
    """
    node = node_for(draft, task, draft.resolve_object(task.published))
    if not task.went_on or (task.context is None and task.out_context is None):
        return draft.put(task, context=node, out_context=None) if node is not task.context else task
    if node is None:
        return draft.put(task, out_context=task.in_context)
    number = draft.take_ordinal()
    draft.contexts[number] = node
    return draft.put(task, out_context=inbound_context(number))


def _drop_outputs(draft: Draft, task: TaskExecution) -> TaskExecution:
    draft.log.lost += [(task.ordinal, a.number, a.result) for a in task.actions if a.result is not None]
    actions = tuple(replace(action, result=None) for action in task.actions)
    return draft.put(task, actions=actions, results_dropped=True)


def results_anew(task: TaskExecution) -> JsonObject:
    """The fields of a task that runs again: what comes now is kept until it ends, what was dropped stays so."""
    return {"results_dropped": False, "dropped_below": task.next_number} if task.results_dropped else {}


def _go_on(engine: Engine, draft: Draft, task: TaskExecution, action_name: str) -> None:
    commands: list[Command] = []
    if engine.plan.spec.type == "reverse":
        reverse.note_success(engine, draft, task)
    if not draft.is_completed:
        commands = find_next_commands(engine, draft, task)
    next_tasks = tuple((c.name, c.event or "") for c in commands if isinstance(c, RunTask))
    handled = task.state is State.ERROR and any(command.handles_error for command in commands)
    task = draft.put(task, next_tasks=next_tasks, error_handled=handled, processed=True, went_on=True)
    _keep_books(engine, draft, task)
    if draft.is_paused:
        draft.unprocessed = (*draft.unprocessed, task.ordinal)
    else:
        draft.then(Dispatch(tuple(commands), task.ordinal, action_name))
        draft.then(CheckWorkflow())
    if engine.plan.has_joins:
        draft.then(RefreshJoins(task.name))


def find_next_commands(engine: Engine, draft: Draft, task: TaskExecution) -> list[Command]:
    """What a completed task leads to, by the kind of its workflow. Raises EvaluationException, MissingData."""
    if engine.plan.spec.type == "reverse":
        return reverse.next_commands(engine, draft)
    return next_commands(engine, draft, task)


def _keep_books(engine: Engine, draft: Draft, task: TaskExecution) -> None:
    if not task.has_next_tasks:
        draft.ends[task.ordinal] = outbound_of(task)
    if task.state is State.ERROR and not task.error_handled:
        draft.failures = (*draft.failures, task.ordinal)
    if task.state is State.CANCELLED:
        draft.cancellations = (*draft.cancellations, task.ordinal)
    if engine.plan.has_joins:
        _note_transitions(engine, draft, task)
    if engine.plan.spec.type == "reverse":
        reverse.keep_books(draft, task)


def _note_transitions(engine: Engine, draft: Draft, task: TaskExecution) -> None:
    """For joins: the task has completed, and these of its transitions were taken.

    The latest execution of a name counts.
    """
    draft.seen |= engine.plan.task_bit[task.name]
    draft.fired &= ~engine.plan.edges_of.get(task.name, 0)
    for name, _ in task.next_tasks or ():
        draft.fired |= engine.plan.edge_bit.get((task.name, name), 0)


def fail(engine: Engine, draft: Draft, ordinal: int, message: str) -> None:
    """Force a task into ERROR without publishing or going on; the workflow is failed by the caller."""
    task = draft.task(ordinal)
    # What a task was about to lead to when its commands failed still counts: it is no end of the workflow.
    next_tasks = task.next_tasks if task.state.is_completed else None
    forget_outcome(draft, task)
    task = draft.put(
        task,
        state=State.ERROR,
        state_info=cut(message, STATE_INFO_CHARACTERS_MAX),
        finished_at=draft.now,
        timers=(),
        processed=False,
        next_tasks=next_tasks,
        error_handled=False,
        item_values=None,
    )
    draft.failures = (*draft.failures, ordinal)
    if not task.has_next_tasks:
        draft.ends[ordinal] = outbound_of(task)
    if engine.plan.has_joins:
        _note_transitions(engine, draft, task)
