"""The executor: claim an action, run it, take its result into the next turn, and carry on with what that turn releases.

An SQS message is a thread of work. It is deleted only when the chain that it carried has stopped; if the Lambda dies
in the middle, the message comes again and goes on where the records say.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from chalicelib.actions.registry import (
    Pending,
    Polling,
    Registry,
)
from chalicelib.data import replace
from chalicelib.engine.decider import executor_died
from chalicelib.engine.effects import RunAction
from chalicelib.engine.events import ActionCompleted, ClaimExpired, TimerFired
from chalicelib.engine.records import ActionExecution, TaskExecution, WorkflowExecution, is_superseded
from chalicelib.errors import ConflictException, MistralError, NotFoundException
from chalicelib.limits import SUBWORKFLOW_DEPTH_MAX
from chalicelib.services import messages
from chalicelib.services.action_calls import ActionCalls, ExecutorSettings
from chalicelib.services.action_runs import ActionRuns
from chalicelib.services.alerts import Alerts
from chalicelib.services.batches import receives_of, waited_sec_of, worked_on
from chalicelib.services.carriers import TURN_RESERVE_SEC, Lease, LeaveMessage, Thread
from chalicelib.services.claims import Claims, Held, claim_body, claim_key, has_killed, read_claim
from chalicelib.services.cron_firing import CronFiring
from chalicelib.services.dispatcher import Carried
from chalicelib.services.engine import EngineService
from chalicelib.services.maintenance import Maintenance
from chalicelib.services.patience import patient_until
from chalicelib.services.poison import Deadly, Poison
from chalicelib.services.polls import Hopeless, Polls
from chalicelib.services.ports import Clock, Item, Put, Queue
from chalicelib.services.telemetry import Metric
from chalicelib.vocabulary import JsonObject, Result, State

_LOG: Final = logging.getLogger("mistral.executor")
_CLAIM_ATTEMPTS_MAX: Final = 3
_TOO_LATE: Final = "The attempt that it belongs to is over."


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
        maintenance: Maintenance | None = None,
        alerts: Alerts | None = None,
    ) -> None:
        self._engine = engine
        self._telemetry = engine.turns.telemetry
        self._store = engine.turns.store
        self._registry = registry
        self._action_runs = action_runs
        self._queue = queue
        self._clock = clock
        self._cron = cron
        self._maintenance = maintenance
        self._poison = Poison(engine, clock, alerts)
        self._claims = Claims(engine.turns)
        self._calls = ActionCalls(engine.turns, registry, action_runs, self._claims, clock=clock, settings=settings)
        self._polls = Polls(self._claims, engine.dispatcher, clock)

    def handle_batch(self, records: Sequence[Mapping[str, Any]], remaining_sec: float) -> list[str]:
        """Work on the records of an SQS event; the ids of the messages that are to come again."""
        return worked_on(records, self._clock.now() + remaining_sec, self._clock, self.is_done)

    def is_done(self, record: Mapping[str, Any], deadline: float, lease: Lease | None = None) -> bool:
        """Work on one record of an SQS event; whether its message may be deleted. A worker works by a lease."""
        message_id = str(record["messageId"])
        try:
            body = json.loads(record["body"])
            thread = Thread(message_id, deadline, self._clock, lease, waited_sec_of(record, body, self._clock.now()))
            with self._poison.survived(record, deadline - TURN_RESERVE_SEC):
                self.handle(body, thread, receives_of(record))
        except (LeaveMessage, Deadly):
            return False
        except Exception as error:  # noqa: BLE001 - a door: one message that fails does not take its neighbours along
            if isinstance(error, NotFoundException) and self._poison.is_gone(record):
                return True
            self._telemetry.count(Metric.MESSAGES_FAILED)
            _LOG.exception("message failed", extra={"mistral": {"info": message_id}})
            self._poison.failed(record, error, deadline - TURN_RESERVE_SEC)
            return False
        return True

    def handle(self, body: JsonObject, thread: Thread, receives: int = 1) -> None:
        """Work on one message, patiently.

        Raises LeaveMessage to have it come again, KeyError and ValueError for one that makes no sense.
        """
        with patient_until(thread.deadline - TURN_RESERVE_SEC):
            self._handle(body, thread, receives)

    def _handle(self, body: JsonObject, thread: Thread, receives: int) -> None:
        execution_id = body["x"]
        until = thread.deadline - TURN_RESERVE_SEC
        match body["kind"]:
            case messages.ACTION:
                self._action(execution_id, body["o"], body["n"], thread, receives=receives, poll_number=body.get("p"))
            case messages.TIMER:
                self._timer(execution_id, body, thread, until)
                self._heal(execution_id, thread, receives)
            case messages.START:
                started = self._engine.dispatcher.start_child(execution_id, body["o"], body["n"])
                if started is not None:
                    carried = self._engine.dispatcher.carry_out(*started, until=until, carrier=thread)
                    self._carry_on(carried, thread)
            case messages.TELL:
                self._told(execution_id, body["event"], thread, until)
                self._heal(execution_id, thread, receives)
            case messages.RECONCILE:
                self._carry_on(self._engine.reconcile(execution_id, until=until, carrier=thread), thread)
            case messages.AD_HOC:
                self._action_runs.run(execution_id, thread, body.get("p"), receives)
            case messages.CRON if self._cron is not None:
                # In maintenance the trigger stays due: the clock door finds it when that is over.
                if self._maintenance is None or self._maintenance.lets_start:
                    self._cron.ring(execution_id, body["d"])
            case messages.MAINTENANCE if self._maintenance is not None:
                self._maintenance.step(body, until)
            case messages.CRON_RUN if self._cron is not None:
                starts = self._maintenance is None or self._maintenance.lets_start
                (self._cron.run_past if starts else self._cron.put_off)(execution_id, body["d"])
            case kind:
                raise ValueError(f"unknown kind of message: {kind!r}")

    # -- events by message

    def _heal(self, execution_id: str, thread: Thread, receives: int) -> None:
        """A message that comes again may have been taken in by a Lambda that died before it did what followed.

        What followed from the end of a sub-workflow is found in its parent.
        """
        until = thread.deadline - TURN_RESERVE_SEC
        for _ in range(SUBWORKFLOW_DEPTH_MAX if receives > 1 else 0):
            self._carry_on(self._engine.reconcile(execution_id, until=until, carrier=thread), thread)
            header = self._engine.turns.latest(execution_id)
            if header is None or header.parent is None or not header.state.is_completed:
                return
            execution_id = header.parent.execution_id

    def _timer(self, execution_id: str, body: JsonObject, thread: Thread, until: float) -> None:
        """A timer's message; one that comes early is sent again, since timers never fire before their time."""
        event = TimerFired(body["o"], body["s"])
        self._telemetry.measure(Metric.TIMER_LATE_SEC, max(0.0, self._clock.now() - body["d"]))
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

    def _action(
        self, execution_id: str, ordinal: int, number: int, thread: Thread, *, receives: int, poll_number: int | None
    ) -> None:
        found = self._engine.turns.look_up(execution_id, ordinal, number)
        if found is None:
            return
        header, task, action = found
        if task is not None and action is not None and action.result is not None and task.has_items:
            # The item's record was written, and its process died before the header counted it.
            event = ActionCompleted(ordinal, number, action.result)
            until = thread.deadline - TURN_RESERVE_SEC
            self._carry_on(self._engine.proceed(execution_id, event, until=until, carrier=thread), thread)
            self._heal(execution_id, thread, receives)
            return
        if task is None or action is None or action.state is not State.RUNNING:
            # The chain went on without this message, or died further on: whatever is owed is found in the records.
            self._heal(execution_id, thread, receives)
            return
        if poll_number is not None or (action.claim is not None and action.claim.poll is not None):
            self._ask(header, task, action, thread, receives=receives, poll_number=poll_number)
            return
        if action.claim is not None and not task.has_items:
            self._claimed_in_header(header, ordinal, action, thread)
            return
        if task.has_items:
            may_run = self._may_run_item(header, task, action, thread, receives)
        else:
            may_run = self._may_run(header, task, action, thread, receives)
        if may_run and is_superseded(task, action):
            # It had not begun, or its executor is dead: to run it now would keep the next attempt company.
            event = ActionCompleted(ordinal, number, Result(error=_TOO_LATE, cancel=True))
            until = thread.deadline - TURN_RESERVE_SEC
            self._carry_on(self._engine.proceed(execution_id, event, until=until, carrier=thread), thread)
        elif may_run:
            self._run_chain(Carried(execution_id, _effect(ordinal, action)), header, task, action, thread)

    def _ask(
        self,
        header: WorkflowExecution,
        task: TaskExecution,
        action: ActionExecution,
        thread: Thread,
        *,
        receives: int,
        poll_number: int | None,
    ) -> None:
        """Ask an action that was not done whether it is done now, if it is time, and nobody else does.

        Nobody waits for it in a workflow that was cancelled: it ends with it.
        """
        if header.state is State.CANCELLED:
            event = ActionCompleted(task.ordinal, action.number, Result(error=header.state_info, cancel=True))
            until = thread.deadline - TURN_RESERVE_SEC
            self._carry_on(self._engine.proceed(header.id, event, until=until, carrier=thread), thread)
            return
        try:
            held = self._polls.take(header, task, action, thread, number=poll_number, receives=receives)
        except Hopeless:
            self._fail(header, task.ordinal, action, thread, is_given_up=True)
            return
        if held is not None:
            carried = Carried(header.id, _effect(task.ordinal, action))
            self._run_chain(carried, header, task, held.item or action, thread, held=held)

    def _claimed_in_header(
        self, header: WorkflowExecution, ordinal: int, action: ActionExecution, thread: Thread
    ) -> None:
        claim = action.claim
        assert claim is not None
        if claim.deadline > self._clock.now():
            if claim.claimer == thread.claimer:
                raise LeaveMessage
            return
        # It runs again by a message of its own, whose receipts count how many processes it has killed.
        event = ClaimExpired(ordinal, action.number)
        self._engine.proceed(header.id, event, until=thread.deadline - TURN_RESERVE_SEC)

    def _may_run(
        self, header: WorkflowExecution, task: TaskExecution, action: ActionExecution, thread: Thread, receives: int
    ) -> bool:
        """Claim an action by its own record: so one without safe-rerun never runs twice."""
        ordinal = task.ordinal
        key = claim_key(ordinal, action)
        body = claim_body(thread.claim())
        try:
            self._store.table.write([Put(Item(header.id, key, body, revision=1), expected=0)])
            return True
        except ConflictException:
            pass
        item = self._store.table.get(header.id, [key]).get(key)
        if item is None:
            raise LeaveMessage
        if (item.revision, item.body) == (1, body):
            # Our own claim, of which the answer got lost.
            return True
        found = read_claim(item.body)
        if math.isinf(found.deadline) or self._claims.has_result(header, ordinal, action):
            return False
        if found.poll is not None:
            self._ask(header, task, action, thread, receives=receives, poll_number=None)
            return False
        if found.deadline > self._clock.now():
            if found.claimer == thread.claimer:
                raise LeaveMessage
            return False
        may_rerun = self._may_rerun(action)
        if may_rerun and not has_killed(receives, item.revision):
            return self._claims.take_over(header, key, body, item.revision)
        self._fail(header, ordinal, action, thread, is_given_up=may_rerun)
        return False

    def _may_run_item(
        self, header: WorkflowExecution, task: TaskExecution, action: ActionExecution, thread: Thread, receives: int
    ) -> bool:
        """As ``_may_run`` for an item, whose claim stands in its record."""
        for _ in range(_CLAIM_ATTEMPTS_MAX):
            if not self._is_free(header, task.ordinal, action, thread, receives):
                return False
            claimed = replace(action, claim=thread.claim())
            try:
                self._engine.turns.claim_item(header.id, task.ordinal, claimed)
                return True
            except ConflictException:
                # Someone was faster, or what was read was stale: the record says which.
                present = self._store.action(header, task, action.number)
            if present is not None and (present.revision, present.claim) == (action.revision + 1, claimed.claim):
                return True
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
            if claim.poll is not None:
                # What was read was stale: it has run, and is to be asked.
                raise LeaveMessage
            if claim.deadline > self._clock.now():
                if claim.claimer == thread.claimer:
                    raise LeaveMessage
                return False
            # The record of an item had a revision before its first claim.
            may_rerun = self._may_rerun(action)
            if not may_rerun or has_killed(receives, action.revision - 1):
                self._fail(header, ordinal, action, thread, is_given_up=may_rerun)
                return False
        return True

    def _may_rerun(self, action: ActionExecution) -> bool:
        """Whether it may run again when its executor is dead; one that only looks always may."""
        found = self._registry.find(action.base.name if action.base else action.name)
        return action.safe_rerun or (found is not None and found.polling is Polling.ONLY)

    def _fail(
        self, header: WorkflowExecution, ordinal: int, action: ActionExecution, thread: Thread, *, is_given_up: bool
    ) -> None:
        error = executor_died(action.name, is_given_up=is_given_up)
        event = ActionCompleted(ordinal, action.number, Result(error=error))
        until = thread.deadline - TURN_RESERVE_SEC
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
        self,
        carried: Carried,
        header: WorkflowExecution,
        task: TaskExecution,
        action: ActionExecution,
        thread: Thread,
        *,
        held: Held | None = None,
    ) -> None:
        """Run an action, take its result home, and go on with an action that this released, until there is none."""
        until = thread.deadline - TURN_RESERVE_SEC
        while True:
            poll = held.claim.poll if held is not None else None
            result = self._calls.run(header, task, action, thread, poll)
            if isinstance(result, Pending):
                self._polls.keep(header, task, action, thread, pending=result, held=held)
                return
            if result is None:
                self._claims.mark_started(header, task, action)
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
            carried, header, task, action, held = following, latest, next_task, next_action, None


def _effect(ordinal: int, action: ActionExecution) -> RunAction:
    return RunAction(ordinal, action.number, action.is_pure, action.target, action.timeout_sec)
