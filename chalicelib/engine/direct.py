"""DirectWorkflowController: which commands follow a task, and when a join may start.

A join is judged by the last execution of each inbound task: whether it has completed, and whether its transition to the
join was taken. Both are bit sets in the header, so no finished task is read (reference: Mistral's
workflow/direct_workflow.py).
"""

from __future__ import annotations

from chalicelib.data import dataclass
from chalicelib.engine.agenda import Command, Noop, RunTask, SetWorkflowState
from chalicelib.engine.contexts import outbound_of
from chalicelib.engine.draft import Draft
from chalicelib.engine.plain import plain
from chalicelib.engine.records import EMPTY_CONTEXT, TaskExecution, TriggeredBy
from chalicelib.engine.scope import outbound_scope
from chalicelib.engine.world import Engine, evaluate
from chalicelib.lang.specs import NextSpec
from chalicelib.vocabulary import State

_COMMAND_STATES = {"fail": State.ERROR, "succeed": State.SUCCESS, "pause": State.PAUSED}


def start_commands(engine: Engine) -> list[Command]:
    """A command for each task that nothing leads to."""
    return [RunTask(name, EMPTY_CONTEXT) for name in engine.plan.graph.start_tasks]


def next_commands(engine: Engine, draft: Draft, task: TaskExecution) -> list[Command]:
    """What follows a completed task: its clauses in Mistral's order, guards evaluated. Raises EvaluationException."""
    chosen: list[tuple[str, NextSpec]] = []
    graph = engine.plan.graph

    def follow(event: str) -> None:
        chosen.extend((event, link) for link in graph.clause(task.name, event) if _is_open(engine, draft, task, link))

    match task.state:
        case State.ERROR:
            follow("on-error")
        case State.SUCCESS:
            follow("on-success")
        case State.SKIPPED:
            follow("on-skip")
            if not chosen:
                follow("on-success")
        case _:
            return []
    if task.state is not State.SKIPPED:
        follow("on-complete")
    return [_command(engine, draft, task, event, link) for event, link in chosen]


def _is_open(engine: Engine, draft: Draft, task: TaskExecution, link: NextSpec) -> bool:
    if not link.guard:
        return True
    return bool(evaluate(engine, draft, link.guard, outbound_scope(draft, task, outbound_of(task)), task))


def _command(engine: Engine, draft: Draft, task: TaskExecution, event: str, link: NextSpec) -> Command:
    handles_error = event == "on-error"
    if not engine.plan.graph.is_command(link.name):
        return RunTask(link.name, outbound_of(task), (TriggeredBy(task.ordinal, event),), handles_error)
    if link.name == "noop":
        return Noop(handles_error)
    message = None
    if link.params:
        scope = outbound_scope(draft, task, outbound_of(task))
        message = plain(evaluate(engine, draft, dict(link.params), scope, task)).get("msg")
    return SetWorkflowState(link.name, _COMMAND_STATES[link.name], message, task.ordinal, event, handles_error)


@dataclass(frozen=True, slots=True)
class JoinVerdict:
    """What is to become of a join: RUNNING, ERROR with a reason, or WAITING."""

    state: State
    state_info: str | None = None


def join_verdict(engine: Engine, draft: Draft, name: str) -> JoinVerdict:
    """The logical state of a join, from the state of its inbound tasks."""
    plan = engine.plan
    inbound = plan.graph.inbound(name)
    needed = plan.graph.join_cardinality(name)
    running_names = _names_in_frontier(draft)
    arrived = {arrival.edge for arrival in draft.joins[name].arrivals} if name in draft.joins else set()
    triggered = 0
    failed = []
    for source in inbound:
        if source in running_names:
            continue
        if draft.seen & plan.task_bit[source]:
            if not draft.fired & plan.edge_bit[source, name]:
                failed.append(source)
            elif plan.edge_number(source, name) in arrived:
                # One that is still under way, as behind a pause, is waited for: it would make the join run again.
                triggered += 1
        elif not _is_reachable(engine, draft, source, running_names):
            failed.append(source)
    if triggered >= needed:
        return JoinVerdict(State.RUNNING)
    if len(failed) > len(inbound) - needed:
        return JoinVerdict(State.ERROR, f"Failed by tasks: {failed}")
    return JoinVerdict(State.WAITING)


def _names_in_frontier(draft: Draft) -> set[str]:
    return {task.name for task in draft.frontier.values()}


def _is_reachable(engine: Engine, draft: Draft, name: str, running_names: set[str]) -> bool:
    """Whether a task that has no execution may still get one.

    Some way leads to it from a task that runs, or whose transition was taken.
    """
    plan = engine.plan
    visited = {name}
    pending = [name]
    while pending:
        target = pending.pop()
        for source in plan.graph.inbound(target):
            if source in running_names:
                return True
            if draft.seen & plan.task_bit[source]:
                if draft.fired & plan.edge_bit[source, target]:
                    return True
            elif source not in visited:
                visited.add(source)
                pending.append(source)
    return False
