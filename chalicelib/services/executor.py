"""The executor: claim an action, run it, take its result into the next turn, and carry on with what that turn releases.

An SQS message is a thread of work. It is deleted only when the chain that it carried has stopped; if the Lambda dies
in the middle, the message comes again and goes on where the records say.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, replace
from typing import Any, Final

from chalicelib.actions.registry import ActionContext, AwsSettings, EgressPolicy, Registry, perform
from chalicelib.engine.decider import executor_died
from chalicelib.engine.effects import RunAction
from chalicelib.engine.events import ActionCompleted, ClaimExpired, TimerFired
from chalicelib.engine.identity import action_id, task_id
from chalicelib.engine.records import ActionExecution, Claim, TaskExecution, WorkflowExecution
from chalicelib.errors import ConflictException, MistralError, NotFoundException
from chalicelib.services import messages
from chalicelib.services.action_runs import ActionRuns
from chalicelib.services.cron_firing import CronFiring
from chalicelib.services.dispatcher import Carried
from chalicelib.services.engine import EngineService
from chalicelib.services.parking import parking_key
from chalicelib.services.ports import Clock, Item, Put, Queue
from chalicelib.vocabulary import JsonObject, Result, State

_LOG: Final = logging.getLogger("mistral.executor")
_CLAIM_PREFIX: Final = "claim#"
# Time that an executor keeps for the turn after an action, and what it expects of an action that says nothing.
_TURN_RESERVE_SEC: Final = 5.0
_USUAL_ACTION_SEC: Final = 60.0
# A message that was received so often has killed its Lambda each time.
_RECEIVES_MAX: Final = 4
_MESSAGES_AT_ONCE: Final = 10
_CLAIM_ATTEMPTS_MAX: Final = 3


@dataclass(frozen=True, slots=True)
class ExecutorSettings:
    """What actions may use."""

    egress: EgressPolicy
    aws: AwsSettings


@dataclass(slots=True)
class Thread:
    """The carrier behind one message: who it is, and until when it lives (seconds since the epoch)."""

    claimer: str
    deadline: float
    clock: Clock

    def claim_for(self, effect: RunAction) -> Claim | None:
        """A claim on an action that surely fits into the time left."""
        needed_sec = effect.timeout_sec if effect.timeout_sec is not None else _USUAL_ACTION_SEC
        if self.clock.now() + needed_sec + _TURN_RESERVE_SEC > self.deadline:
            return None
        return Claim(self.claimer, round(self.deadline, 3))


class LeaveMessage(Exception):
    """Someone else may still be at this work; look again when the message comes back."""


class Executor:
    """Handles messages of the task queues."""

    def __init__(
        self,
        engine: EngineService,
        registry: Registry,
        action_runs: ActionRuns,
        queue: Queue,
        *,
        clock: Clock,
        settings: ExecutorSettings,
        cron: CronFiring | None = None,
    ) -> None:
        self._engine = engine
        self._store = engine.turns.store
        self._registry = registry
        self._action_runs = action_runs
        self._queue = queue
        self._clock = clock
        self._settings = settings
        self._cron = cron

    def handle_batch(self, records: Sequence[Mapping[str, Any]], remaining_sec: float) -> list[str]:
        """Work on the records of an SQS event; the ids of the messages that are to come again."""
        deadline = self._clock.now() + remaining_sec
        if len(records) == 1:
            return [] if self._is_done(records[0], deadline) else [str(records[0]["messageId"])]
        with ThreadPoolExecutor(max_workers=min(len(records), _MESSAGES_AT_ONCE)) as pool:
            done = list(pool.map(lambda record: self._is_done(record, deadline), records))
        return [str(record["messageId"]) for record, is_done in zip(records, done, strict=True) if not is_done]

    def _is_done(self, record: Mapping[str, Any], deadline: float) -> bool:
        message_id = str(record["messageId"])
        try:
            body = json.loads(record["body"])
            receives = int(record.get("attributes", {}).get("ApproximateReceiveCount", 1))
            self.handle(body, Thread(message_id, deadline, self._clock), receives)
        except LeaveMessage:
            return False
        except NotFoundException:
            # The execution was deleted: there is nothing left to do for it.
            return True
        except Exception:  # noqa: BLE001 - a door: one message that fails does not take its neighbours along
            _LOG.exception("message failed", extra={"mistral": {"info": message_id}})
            return False
        return True

    def handle(self, body: JsonObject, thread: Thread, receives: int = 1) -> None:
        """Work on one message.

        Raises LeaveMessage to have it come again, KeyError and ValueError for one that makes no sense.
        """
        execution_id = body["x"]
        until = thread.deadline - _TURN_RESERVE_SEC
        match body["kind"]:
            case messages.ACTION:
                self._action(execution_id, body["o"], body["n"], thread, receives)
            case messages.TIMER:
                self._timer(execution_id, body, thread, until)
            case messages.START:
                started = self._engine.dispatcher.start_child(execution_id, body["o"], body["n"])
                if started is not None:
                    carried = self._engine.dispatcher.carry_out(*started, until=until, carrier=thread)
                    self._carry_on(carried, thread)
            case messages.TELL:
                self._told(execution_id, body["event"], thread, until)
            case messages.RECONCILE:
                self._carry_on(self._engine.reconcile(execution_id, until=until, carrier=thread), thread)
            case messages.AD_HOC:
                self._action_runs.run(execution_id)
            case messages.CRON if self._cron is not None:
                self._cron.ring(execution_id, body["d"])
            case kind:
                raise ValueError(f"unknown kind of message: {kind!r}")

    # -- events by message

    def _timer(self, execution_id: str, body: JsonObject, thread: Thread, until: float) -> None:
        """A timer's message; one that comes early is sent again, since timers never fire before their time."""
        event = TimerFired(body["o"], body["s"])
        self._carry_on(self._engine.proceed(execution_id, event, until=until, carrier=thread), thread)

    def _told(self, execution_id: str, facts: JsonObject, thread: Thread, until: float) -> None:
        event = messages.told_event(facts)
        carried: Carried | None = None
        if event is not None:
            try:
                carried = self._engine.proceed(execution_id, event, until=until, carrier=thread)
            except ConflictException:
                raise
            except MistralError:
                # What was told has become impossible meanwhile, such as pausing what has ended.
                return
        else:
            told = self._engine.dispatcher.bring_home(facts["by"])
            if told is not None:
                carried = self._engine.dispatcher.carry_out(*told, until=until, carrier=thread)
        self._carry_on(carried, thread)

    # -- actions

    def _action(self, execution_id: str, ordinal: int, number: int, thread: Thread, receives: int) -> None:
        found = self._engine.turns.look_up(execution_id, ordinal, number)
        if found is None:
            return
        header, task, action = found
        if task is not None and action is not None and action.result is not None and task.has_items:
            # The item's record was written, and its process died before the header counted it.
            event = ActionCompleted(ordinal, number, action.result)
            until = thread.deadline - _TURN_RESERVE_SEC
            self._carry_on(self._engine.proceed(execution_id, event, until=until, carrier=thread), thread)
            return
        if task is None or action is None or action.state is not State.RUNNING:
            # The chain went on without this message, or died further on: whatever is owed is found in the records.
            if receives > 1:
                self._carry_on(
                    self._engine.reconcile(execution_id, until=thread.deadline - _TURN_RESERVE_SEC, carrier=thread),
                    thread,
                )
            return
        if action.claim is not None and not task.has_items:
            self._claimed_in_header(header, ordinal, action, thread)
            return
        if task.has_items:
            may_run = self._may_run_item(header, task, action, thread, receives)
        else:
            may_run = self._may_run(header, ordinal, action, thread, receives)
        if may_run:
            self._run_chain(Carried(execution_id, _effect(ordinal, action)), header, task, action, thread)

    def _claimed_in_header(
        self, header: WorkflowExecution, ordinal: int, action: ActionExecution, thread: Thread
    ) -> None:
        claim = action.claim
        assert claim is not None
        if claim.deadline > self._clock.now():
            if claim.claimer == thread.claimer:
                raise LeaveMessage
            return
        until = thread.deadline - _TURN_RESERVE_SEC
        event = ClaimExpired(ordinal, action.number)
        self._carry_on(self._engine.proceed(header.id, event, until=until, carrier=thread), thread)

    def _may_run(
        self, header: WorkflowExecution, ordinal: int, action: ActionExecution, thread: Thread, receives: int
    ) -> bool:
        """Claim an action by its own record: so one without safe-rerun never runs twice."""
        key = f"{_CLAIM_PREFIX}{ordinal:05x}#{action.number:05x}"
        claim = Claim(thread.claimer, round(thread.deadline, 3))
        body = json.dumps([claim.claimer, claim.deadline]).encode()
        try:
            self._store.table.write([Put(Item(header.id, key, body, revision=1), expected=0)])
            return True
        except ConflictException:
            pass
        item = self._store.table.get(header.id, [key]).get(key)
        if item is None:
            raise LeaveMessage
        claimer, deadline = json.loads(item.body)
        if deadline is None or self._has_result(header, ordinal, action):
            return False
        if deadline > self._clock.now():
            if claimer == thread.claimer:
                raise LeaveMessage
            return False
        if action.safe_rerun and receives < _RECEIVES_MAX:
            return self._take_over(header, key, body, item.revision)
        self._fail(header, ordinal, action, thread)
        return False

    def _may_run_item(
        self, header: WorkflowExecution, task: TaskExecution, action: ActionExecution, thread: Thread, receives: int
    ) -> bool:
        """As ``_may_run`` for an item, whose claim stands in its record."""
        for _ in range(_CLAIM_ATTEMPTS_MAX):
            if not self._is_free(header, task.ordinal, action, thread, receives):
                return False
            claimed = replace(action, claim=Claim(thread.claimer, round(thread.deadline, 3)))
            try:
                self._engine.turns.claim_item(header.id, task.ordinal, claimed)
                return True
            except ConflictException:
                # Someone was faster, or what was read was stale: the record says which.
                present = self._store.action(header, task, action.number)
            if present is None or present.state is not State.RUNNING:
                return False
            action = present
        raise LeaveMessage

    def _is_free(
        self, header: WorkflowExecution, ordinal: int, action: ActionExecution, thread: Thread, receives: int
    ) -> bool:
        """Whether nobody alive runs an item; one that must not run twice ends in ERROR when its executor is dead."""
        claim = action.claim
        if claim is not None:
            if claim.deadline > self._clock.now():
                if claim.claimer == thread.claimer:
                    raise LeaveMessage
                return False
            if not action.safe_rerun or receives >= _RECEIVES_MAX:
                self._fail(header, ordinal, action, thread)
                return False
        return True

    def _take_over(self, header: WorkflowExecution, key: str, body: bytes, revision: int) -> bool:
        try:
            self._store.table.write([Put(Item(header.id, key, body, revision=revision + 1), expected=revision)])
        except ConflictException:
            return False
        return True

    def _has_result(self, header: WorkflowExecution, ordinal: int, action: ActionExecution) -> bool:
        """Whether the result is parked already: then a sweep takes it in, and the action is not run again."""
        key = parking_key(ordinal, action.number)
        if not self._store.table.get(header.id, [key]):
            return False
        self._engine.turns.sweep(header.id)
        return True

    def _fail(self, header: WorkflowExecution, ordinal: int, action: ActionExecution, thread: Thread) -> None:
        event = ActionCompleted(ordinal, action.number, Result(error=executor_died(action.name)))
        until = thread.deadline - _TURN_RESERVE_SEC
        self._carry_on(self._engine.proceed(header.id, event, until=until, carrier=thread), thread)

    def _carry_on(self, carried: Carried | None, thread: Thread) -> None:
        """Run the action that the thread has claimed, and those that follow from it."""
        if carried is None:
            return
        header = self._engine.turns.latest(carried.execution_id)
        task = header.frontier.get(carried.effect.ordinal) if header is not None else None
        action = self._store.action(header, task, carried.effect.number) if header is not None and task else None
        if header is not None and task is not None and action is not None:
            self._run_chain(carried, header, task, action, thread)

    def _run_chain(
        self, carried: Carried, header: WorkflowExecution, task: TaskExecution, action: ActionExecution, thread: Thread
    ) -> None:
        """Run an action, take its result home, and go on with an action that this released, until there is none."""
        until = thread.deadline - _TURN_RESERVE_SEC
        while True:
            result = self._run(header, task, action, thread)
            if result is None:
                self._mark_started(header, task, action)
                return
            event = ActionCompleted(task.ordinal, action.number, result)
            following = self._engine.proceed(carried.execution_id, event, until=until, carrier=thread)
            if following is None:
                return
            latest = self._engine.turns.latest(following.execution_id)
            next_task = latest.frontier.get(following.effect.ordinal) if latest is not None else None
            next_action = None
            if latest is not None and next_task is not None:
                next_action = self._engine.turns.known_action(latest, next_task, following.effect.number)
            if latest is None or next_task is None or next_action is None:
                return
            carried, header, task, action = following, latest, next_task, next_action

    def _run(
        self, header: WorkflowExecution, task: TaskExecution, action: ActionExecution, thread: Thread
    ) -> Result | None:
        """The result of an action; ``None`` for an asynchronous one that has been started well."""
        name, value = (action.base.name, action.base.input) if action.base else (action.name, action.input)
        runnable = self._registry.find(name)
        if runnable is None:
            return Result(error=f"The action '{name}' is not known to this executor.")
        identifier = action_id(header.id, task.ordinal, action.number)
        left_sec = thread.deadline - self._clock.now() - _TURN_RESERVE_SEC
        limit_sec = left_sec if action.timeout_sec is None else min(left_sec, action.timeout_sec)
        context = ActionContext(
            workflow_execution_id=header.public,
            task_execution_id=task_id(header.id, task.ordinal),
            action_execution_id=identifier,
            workflow_name=header.workflow_name,
            callback_url=f"/v2/action_executions/{identifier}",
            project_id=header.project_id,
            deadline_sec=limit_sec,
            egress=self._settings.egress,
            aws=self._settings.aws,
        )
        data = self._input(header, value)
        if action.timeout_sec is None:
            result = perform(runnable, data, context)
        else:
            result = _within(limit_sec, lambda: perform(runnable, data, context))
        if not runnable.is_sync and result.state is State.SUCCESS:
            return None
        return result

    def _input(self, header: WorkflowExecution, value: Any) -> JsonObject:
        data: JsonObject = self._store.value(header.id, value) or {}
        return data

    def _mark_started(self, header: WorkflowExecution, task: TaskExecution, action: ActionExecution) -> None:
        """An asynchronous action has been started: whoever finds its claim knows that it is not to be started again."""
        if action.revision:
            current = self._store.action(header, task, action.number)
            if current is not None and not current.state.is_completed:
                self._store.write_item(header.id, task.ordinal, replace(current, claim=Claim("started", math.inf)))
            return
        key = f"{_CLAIM_PREFIX}{task.ordinal:05x}#{action.number:05x}"
        body = json.dumps(["started", None]).encode()
        self._store.table.write_bulk([Item(header.id, key, body, revision=2)])


def _effect(ordinal: int, action: ActionExecution) -> RunAction:
    return RunAction(ordinal, action.number, action.is_pure, action.target, action.timeout_sec)


def _within(limit_sec: float, act: Any) -> Result:
    """Run an action for so long at most. One that does not stop is left to itself; its late result is dropped."""
    pool = ThreadPoolExecutor(max_workers=1)
    try:
        return pool.submit(act).result(timeout=max(0.0, limit_sec))  # type: ignore[no-any-return]
    except FutureTimeoutError:
        return Result(error=f"The action raised an exception [msg='Timeout after {limit_sec:g} seconds']")
    finally:
        pool.shutdown(wait=False)
