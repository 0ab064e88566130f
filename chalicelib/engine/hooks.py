"""Where policies act on a task: before its first run, and after each completion.

Order and conditions are Mistral's (engine/policies.py).

Before: pause-before, wait-before, then the checks of the later ones, timeout, concurrency. After: wait-after, fail-on,
retry. They do not run before a retry, after a pause, or before the first run of a join. Time limits of a single
attempt are set before each.
"""

from __future__ import annotations

from chalicelib import policies
from chalicelib.data import replace
from chalicelib.engine.agenda import PauseWorkflow
from chalicelib.engine.contexts import outbound_of
from chalicelib.engine.draft import Draft
from chalicelib.engine.records import TaskExecution, TimerKind
from chalicelib.engine.scope import ContextLayer, task_scope
from chalicelib.engine.world import Engine, evaluate
from chalicelib.lang.specs import PoliciesSpec, RetrySpec
from chalicelib.limits import DELAY_MAX_SEC
from chalicelib.vocabulary import Json, State


def _value(engine: Engine, draft: Draft, task: TaskExecution, raw: Json) -> Json:
    return evaluate(engine, draft, raw, task_scope(draft, task), task) if isinstance(raw, str) else raw


def _seconds(engine: Engine, draft: Draft, task: TaskExecution, policy: str, raw: Json) -> int:
    return policies.seconds(policy, "delay", _value(engine, draft, task, raw))


def before_start(engine: Engine, draft: Draft, task: TaskExecution) -> TaskExecution:
    """Let the policies act before a task runs; afterwards it runs only if it is still RUNNING.

    Raises MistralError, MissingData.
    """
    spec = engine.plan.graph.policies(task.name)
    task = _pause_before(engine, draft, task, spec)
    task = _wait_before(engine, draft, task, spec)
    if spec.wait_after is not None:
        _seconds(engine, draft, task, "WaitAfterPolicy", spec.wait_after)
    if spec.retry is not None:
        _checked_retry(engine, draft, task, spec.retry)
    if spec.timeout is not None:
        delay_sec = _seconds(engine, draft, task, "TimeoutPolicy", spec.timeout)
        if delay_sec:
            task = draft.set_timer(draft.put(task, timeout_sec=delay_sec), TimerKind.TIMEOUT, delay_sec)
    if spec.concurrency is not None:
        value = _value(engine, draft, task, spec.concurrency)
        task = draft.put(task, concurrency=policies.whole_number("ConcurrencyPolicy", "concurrency", value) or None)
    return task


def _pause_before(engine: Engine, draft: Draft, task: TaskExecution, spec: PoliciesSpec) -> TaskExecution:
    if spec.pause_before is None:
        return task
    if not policies.boolean("PauseBeforePolicy", "expr", _value(engine, draft, task, spec.pause_before)):
        return task
    draft.then(PauseWorkflow())
    return draft.put(task, state=State.IDLE, state_info="Set by 'pause-before' policy")


def _wait_before(engine: Engine, draft: Draft, task: TaskExecution, spec: PoliciesSpec) -> TaskExecution:
    if spec.wait_before is None:
        return task
    delay_sec = _seconds(engine, draft, task, "WaitBeforePolicy", spec.wait_before)
    if not delay_sec or task.state is State.IDLE:
        return task
    task = draft.put(
        task,
        state=State.DELAYED,
        state_info=f"Delayed by 'wait-before' policy [delay={delay_sec}]",
        waited_before=True,
    )
    return draft.set_timer(task, TimerKind.WAIT_BEFORE, delay_sec)


def before_attempt(engine: Engine, draft: Draft, task: TaskExecution) -> TaskExecution:
    """Set the time limits of an attempt that is about to run: the first one, a retry, a join that has come together.

    A limit that has run out is set anew for the retry: OpenStack Mistral lets that run without one, possibly for ever.

    Raises MistralError, MissingData.
    """
    if task.timeout_sec is not None and all(timer.kind is not TimerKind.TIMEOUT for timer in task.timers):
        task = draft.set_timer(task, TimerKind.TIMEOUT, task.timeout_sec)
    retry = engine.plan.graph.policies(task.name).retry
    if retry is None or retry.attempt_timeout is None:
        return task
    delay_sec = _seconds(engine, draft, task, "RetryPolicy", retry.attempt_timeout)
    return draft.set_timer(task, TimerKind.ATTEMPT_TIMEOUT, delay_sec) if delay_sec else task


def after_complete(engine: Engine, draft: Draft, task: TaskExecution) -> TaskExecution:
    """Let the policies act on a completed task: it may be DELAYED, WAITING or ERROR afterwards.

    Raises MistralError, MissingData.
    """
    spec = engine.plan.graph.policies(task.name)
    if spec.wait_after is not None and not task.waited_after:
        delay_sec = _seconds(engine, draft, task, "WaitAfterPolicy", spec.wait_after)
        if delay_sec:
            task = draft.put(
                task,
                result_after_wait=(task.state, task.state_info),
                state=State.DELAYED,
                state_info=f"Delayed by 'wait-after' policy [delay={delay_sec}]",
                waited_after=True,
            )
            task = draft.set_timer(task, TimerKind.WAIT_AFTER, delay_sec)
    if spec.fail_on is not None:
        failed = _value(engine, draft, task, spec.fail_on)
        if failed and task.state is State.SUCCESS:
            task = draft.put(task, state=State.ERROR, state_info="Failed by 'fail-on' policy")
    if spec.retry is not None:
        task = _retry(engine, draft, task, spec.retry)
    return task


def _checked_retry(engine: Engine, draft: Draft, task: TaskExecution, spec: RetrySpec) -> tuple[int, int]:
    count = policies.whole_number("RetryPolicy", "count", _value(engine, draft, task, spec.count))
    return count, _seconds(engine, draft, task, "RetryPolicy", spec.delay)


def _rules(engine: Engine, draft: Draft, task: TaskExecution, spec: RetrySpec) -> policies.RetryRules:
    count, delay_sec = _checked_retry(engine, draft, task, spec)
    scope = task_scope(draft, task, ContextLayer(draft, outbound_of(task)))
    continue_on = None
    if spec.continue_on:
        continue_on = bool(evaluate(engine, draft, spec.continue_on, scope, task))
    break_on = bool(evaluate(engine, draft, spec.break_on, scope, task)) if spec.break_on else False
    backoff = 1.0 if spec.backoff is None else _value(engine, draft, task, spec.backoff)
    jitter = 0.0 if spec.jitter is None else _value(engine, draft, task, spec.jitter)
    delay_max = DELAY_MAX_SEC if spec.max_delay is None else _value(engine, draft, task, spec.max_delay)
    return policies.RetryRules(
        count=count,
        delay_sec=delay_sec,
        break_on=break_on,
        continue_on=continue_on,
        backoff=policies.number("RetryPolicy", "backoff", backoff, minimum=1, maximum=100),
        delay_max_sec=policies.seconds("RetryPolicy", "max-delay", delay_max),
        jitter=policies.number("RetryPolicy", "jitter", jitter, minimum=0, maximum=1),
    )


def _retry(engine: Engine, draft: Draft, task: TaskExecution, spec: RetrySpec) -> TaskExecution:
    rules = _rules(engine, draft, task, spec)
    chance = engine.moment.fraction(draft.header.id, "jitter", str(task.ordinal), str(task.retry_no))
    delay_sec = policies.retry_delay_sec(rules, task.state, task.retry_no, chance=chance)
    if delay_sec is None:
        # Mistral forgets the count when it stops, so that a later rerun or re-armed join starts counting anew.
        return draft.put(task, retry_no=0) if task.retry_no and task.state.is_completed else task
    task = drop_results(draft, task)
    is_join = engine.plan.spec.tasks[task.name].join is not None
    shown = int(delay_sec) if delay_sec == int(delay_sec) else round(delay_sec, 3)
    task = draft.put(
        task,
        retry_no=task.retry_no + 1,
        state=State.WAITING if is_join else State.DELAYED,
        state_info=f"Delayed by 'retry' policy [delay={shown}]",
    )
    return draft.set_timer(task, TimerKind.RETRY, delay_sec)


def _cut_off_from(task: TaskExecution) -> int | None:
    is_cut_off = task.items is not None and task.items.started != task.items.finished
    return task.accepted_from if is_cut_off and task.cut_off_from is None else task.cut_off_from


def drop_results(draft: Draft, task: TaskExecution, *, only_failed: bool = False) -> TaskExecution:
    """Take back the acceptance of a task's results: of all, or just of the failed and cancelled ones.

    All means that items start anew.
    """
    if not only_failed:
        task = draft.put(
            task,
            items=None,
            item_values=None,
            accepted_from=task.next_number,
            cut_off_from=_cut_off_from(task),
        )
    if task.has_items:
        return task
    for action in draft.actions(task):
        if action.accepted and (not only_failed or action.state in (State.ERROR, State.CANCELLED)):
            task = draft.put_action(task, replace(action, accepted=False))
    return task
