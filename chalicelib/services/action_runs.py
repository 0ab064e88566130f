"""Actions that run on their own, without a workflow: ``POST /v2/action_executions`` and what follows from it.

One is run at once, or stored in a partition of its own and run by an executor. Its id is an address like any other, of
the task with ordinal 0, which does not exist: so ids tell these action executions from those of tasks.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import chain
from typing import Final

from chalicelib.actions.dynamic import DynamicAction
from chalicelib.actions.registry import (
    Action,
    ActionContext,
    AwsSettings,
    EgressPolicy,
    Pending,
    Polling,
    Registry,
    comes_later,
    perform,
)
from chalicelib.actions.secrets import Secrets, holds_references
from chalicelib.data import dataclass, replace
from chalicelib.engine.decider import executor_died
from chalicelib.engine.identity import Kind, action_id, address_of, execution_id_from
from chalicelib.engine.invocations import check_input, with_defaults
from chalicelib.engine.moment import Moment
from chalicelib.engine.records import ActionExecution, Claim, Invocation, Poll, WorkflowExecution
from chalicelib.engine.sizes import check_size
from chalicelib.errors import (
    ConflictException,
    InputException,
    InvalidActionException,
    InvalidResultException,
    NotFoundException,
)
from chalicelib.expressions import evaluator
from chalicelib.expressions.options import DEFAULT, Options
from chalicelib.lang.specs import ActionSpec
from chalicelib.limits import EXECUTOR_LONG_TIMEOUT_SEC, EXECUTOR_TIMEOUT_SEC, FIELD_BYTES_MAX
from chalicelib.services import messages
from chalicelib.services.action_run_records import RECORD_KEY, ActionRun, RunRequest, listing_value, pack, unpack
from chalicelib.services.carriers import Lease, Thread, kept_alive, timed_out, within
from chalicelib.services.definitions import Definitions
from chalicelib.services.detached import DetachedWorld
from chalicelib.services.execution_places import everyones_actions
from chalicelib.services.journal import log_action
from chalicelib.services.polls import Step, answer_of, next_poll, poll_delay_sec, step_for
from chalicelib.services.ports import (
    INDEX_EVERYONE,
    INDEX_LISTING,
    Clock,
    Delete,
    Entropy,
    Message,
    Put,
    Queue,
    Table,
)
from chalicelib.services.telemetry import ACTION, NO_TELEMETRY, Telemetry, counted_action
from chalicelib.vocabulary import Json, JsonObject, Result, State

_CLAIMER: Final = "executor"
# An action that is run while a client waits must end before API Gateway loses patience.
INLINE_TIMEOUT_SEC: Final = 25.0
_TURN_RESERVE_SEC: Final = 10.0
_CHAIN_LINKS_MAX: Final = 100
_LOOK_FIRST_SEC: Final = 0.05  # how soon one looks for the result of an action that another process runs
_LOOK_MAX_SEC: Final = 1.0  # and how rarely in the end


@dataclass(frozen=True, slots=True)
class _Resolved:
    """What a name and an input come to: the runnable action, its input, and the ad-hoc actions around it."""

    runnable: Action
    input: JsonObject
    chain: tuple[ActionSpec, ...] = ()


class ActionRuns:
    """Runs actions on their own, and keeps those that are to be kept."""

    def __init__(  # noqa: PLR0917 - the world, in the order of the ports
        self,
        table: Table,
        definitions: Definitions,
        registry: Registry,
        queue: Queue,
        clock: Clock,
        entropy: Entropy,
        *,
        egress: EgressPolicy,
        aws: AwsSettings,
        expressions: Options = DEFAULT,
        field_bytes_max: int = FIELD_BYTES_MAX,
        pause: Callable[[float], None] = time.sleep,
        secrets: Secrets | None = None,
        telemetry: Telemetry = NO_TELEMETRY,
    ) -> None:
        self._telemetry = telemetry
        self._table = table
        self._definitions = definitions
        self._registry = registry
        self._queue = queue
        self._clock = clock
        self._entropy = entropy
        self._egress = egress
        self._aws = aws
        self._expressions = expressions
        self._field_bytes_max = field_bytes_max
        self._pause = pause
        self._secrets = secrets

    # -- starting

    def start(self, request: RunRequest) -> ActionRun:
        """Run an action now, or store it and have it run.

        Raises InvalidActionException, InputException, EvaluationException, SizeLimitExceededException.
        """
        check_size(request.input, "input", self._field_bytes_max)
        resolved = self._resolve(request.project_id, request.name, request.namespace, request.input)
        is_sync = resolved.runnable.is_sync
        if request.run_sync and not is_sync:
            raise InputException("Action does not support synchronous execution.")
        now = self._clock.now()
        action = ActionExecution(
            number=0,
            name=request.name,
            state=State.RUNNING,
            created_at=now,
            updated_at=now,
            input=request.input,
            is_sync=is_sync,
            base=Invocation(resolved.runnable.name, resolved.input) if resolved.chain else None,
            target=request.target,
            timeout_sec=request.timeout_sec,
        )
        run = ActionRun(None, request.project_id, action, request.namespace, request.description)
        if not request.run_sync and (request.save_result or not is_sync):
            return self._schedule(replace(run, id=self._new_id()))
        is_polled = resolved.runnable.polling is not Polling.NEVER
        if isinstance(resolved.runnable, DynamicAction) or is_polled or holds_references(resolved.input):
            return self._run_elsewhere(run, is_kept=request.save_result)
        if request.save_result:
            run = replace(run, id=self._new_id())
        result = self._perform(run, resolved, INLINE_TIMEOUT_SEC)
        run = replace(run, action=replace(action, state=result.state, result=result, updated_at=self._clock.now()))
        if request.save_result:
            self._save(run)
        log_action(run.id, action.name, run.project_id, State.RUNNING, run.action.state)
        return run

    def find_dynamic(self, header: WorkflowExecution, name: str) -> Action | None:
        """The dynamic action that a name means to an execution."""
        return self._definitions.code_sources.find_action(header.project_id, name, header.workflow_namespace)

    def _run_elsewhere(self, run: ActionRun, *, is_kept: bool) -> ActionRun:
        """Have an executor run it, and wait for what comes of it.

        What users upload never runs in the API, secrets are never read there, and only executors ask again.
        """
        begun = self._schedule(replace(run, id=self._new_id()))
        assert begun.id is not None
        waited_sec, pause_sec = 0.0, _LOOK_FIRST_SEC
        ended = begun
        while not ended.action.state.is_completed and waited_sec < INLINE_TIMEOUT_SEC:
            self._pause(pause_sec)
            waited_sec += pause_sec
            pause_sec = min(_LOOK_MAX_SEC, 2 * pause_sec)
            ended = self.find(begun.id) or ended
        if is_kept:
            return ended
        self._table.write([Delete(begun.id, RECORD_KEY)])
        ended = replace(ended, id=None)
        if ended.action.state.is_completed:
            return ended
        result = Result(error=f"The action did not end within {INLINE_TIMEOUT_SEC:g} seconds; save its result instead.")
        return replace(ended, action=replace(ended.action, state=result.state, result=result))

    def _new_id(self) -> str:
        return action_id(execution_id_from(self._entropy.token()), 0, 0)

    def _schedule(self, run: ActionRun) -> ActionRun:
        run = self._save(run)
        action = run.action
        log_action(run.id, action.name, run.project_id, None, action.state)
        is_long = action.timeout_sec is not None and action.timeout_sec > EXECUTOR_TIMEOUT_SEC - _TURN_RESERVE_SEC
        queue = action.target or (messages.TASKS_LONG if is_long else messages.TASKS)
        try:
            self._queue.send([Message({"kind": messages.AD_HOC, "x": run.id}, queue=queue, tenant=run.project_id)])
        except ValueError as error:
            assert run.id is not None
            self._table.write([Delete(run.id, RECORD_KEY)])
            raise InputException(f"The action cannot be sent to the target {action.target}: {error}") from error
        return run

    def _resolve(self, project_id: str, name: str, namespace: str, value: JsonObject) -> _Resolved:
        """Follow an ad-hoc action to its base; its expressions see the action's own input, and no execution."""
        chain: list[ActionSpec] = []
        sought = name
        while (found := self._definitions.find_action(project_id, sought, namespace)) is not None:
            if len(chain) >= _CHAIN_LINKS_MAX or any(link is found or link.name == found.name for link in chain):
                raise InvalidActionException(f"Found a cycle in an ad-hoc action chain [action_name={sought}]")
            check_input(sought, "AdHocAction", found.input, value, error=InvalidActionException)
            chain.append(found)
            value = self._evaluate(dict(found.base_input), with_defaults(found.input, value))
            sought = found.base
        runnable = self._registry.find(sought)
        if runnable is None:
            runnable = self._definitions.code_sources.find_action(project_id, sought, namespace)
        if runnable is None:
            likely = self._registry.names_like(sought)
            hint = f"; did you mean {', '.join(likely)}?" if likely else ""
            raise InvalidActionException(f"Failed to find action [action_name={sought}]{hint}")
        runnable.check(value)
        runnable.check_values(value)
        return _Resolved(runnable, value, tuple(chain))

    def _evaluate(self, data: Json, context: Json) -> Json:
        world = DetachedWorld(Moment(self._clock.now(), self._entropy.token().hex()))
        return evaluator.evaluate(data, context, world, self._expressions)

    # -- running

    def run(
        self, identifier: str, carrier: Thread | None = None, poll_number: int | None = None, receives: int = 1
    ) -> None:
        """Run a stored action; for the executor. What has been run already is not run again, but asked if it is done.

        Raises ConflictException while another executor may still be at it: the message is to come again.
        """
        run = self.find(identifier)
        if run is None or run.action.state.is_completed:
            return
        claim = run.action.claim
        if claim is not None and claim.poll is None:
            self._look_after(run, claim)
            return
        claimer = carrier.claimer if carrier is not None else _CLAIMER
        if claim is not None and not self._may_ask(run, claim, claimer, poll_number=poll_number, receives=receives):
            return
        lease = carrier.lease if carrier is not None else None
        limit_sec = self._limit_sec(run.action, carrier)
        duration_sec = lease.duration_sec if lease is not None else limit_sec + _TURN_RESERVE_SEC
        poll = claim.poll if claim is not None else None
        run = self._save(replace(run, action=replace(run.action, claim=self._claim(claimer, duration_sec, poll))))
        try:
            resolved = self._resolve(run.project_id, run.action.name, run.namespace, run.action.input)
        except (InvalidActionException, InputException) as error:
            self.complete(run, Result(error=error.message))
            return
        with kept_alive(lease, lambda: self._renew(identifier, lease)):
            result = self._perform(run, resolved, limit_sec, is_executor=True)
        if isinstance(result, Pending):
            self._keep(identifier, claimer, result)
        # Only a failure to start ends an asynchronous action here; its result comes through the API.
        elif not comes_later(resolved.runnable, result):
            self._finish(identifier, result)

    def _may_ask(self, run: ActionRun, claim: Claim, claimer: str, *, poll_number: int | None, receives: int) -> bool:
        """Whether it is time to ask an action that was not done. Raises ConflictException as ``run``."""
        now, timeout_sec = self._clock.now(), run.action.timeout_sec
        match step_for(claim, number=poll_number, receives=receives, now=now):
            case Step.LEAVE if claim.claimer == claimer:
                raise ConflictException(f"The action execution {run.id} may still be asked by a dead executor.")
            case Step.SEND if claim.poll is not None:
                self._send_poll(run, claim.poll)
            case Step.GIVE_UP:
                self.complete(run, Result(error=executor_died(run.action.name, is_given_up=True)))
            case Step.ASK if timeout_sec is not None and now >= run.action.created_at + timeout_sec:
                self.complete(run, Result(error=timed_out(timeout_sec)))
            case Step.ASK:
                return True
        return False

    def _keep(self, identifier: str, claimer: str, pending: Pending) -> None:
        """Note that an action is not done, and have it asked again, unless it has ended meanwhile."""
        run = self.find(identifier)
        if run is None or run.action.claim is None or run.action.claim.claimer != claimer:
            return
        poll = next_poll(pending, run.action.claim.poll, self._clock.now())
        if run.action.timeout_sec is not None:
            poll = replace(poll, due_at=min(poll.due_at, run.action.created_at + run.action.timeout_sec))
        self._send_poll(self._save(replace(run, action=replace(run.action, claim=Claim("", 0.0, poll)))), poll)

    def _send_poll(self, run: ActionRun, poll: Poll) -> None:
        body = {"kind": messages.AD_HOC, "x": run.id, "p": poll.number}
        delay_sec = poll_delay_sec(poll, self._clock.now())
        self._queue.send([Message(body, queue=run.action.target or messages.TASKS, delay_sec=delay_sec)])

    def _look_after(self, run: ActionRun, claim: Claim) -> None:
        if not run.action.is_sync:
            return
        if claim.deadline > self._clock.now():
            raise ConflictException(f"The action execution {run.id} is being run by another executor.")
        self.complete(run, Result(error=executor_died(run.action.name)))

    def _claim(self, claimer: str, duration_sec: float, poll: Poll | None) -> Claim:
        return Claim(claimer, round(self._clock.now() + duration_sec, 3), poll)

    def _renew(self, identifier: str, lease: Lease | None) -> None:
        run = self.find(identifier)
        claim = run.action.claim if run is not None and not run.action.state.is_completed else None
        if lease is not None and run is not None and claim is not None:
            claim = self._claim(claim.claimer, lease.duration_sec, claim.poll)
            self._save(replace(run, action=replace(run.action, claim=claim)))

    def _limit_sec(self, action: ActionExecution, carrier: Thread | None) -> float:
        if carrier is not None and carrier.lease is not None:
            left_sec = carrier.deadline - self._clock.now() - _TURN_RESERVE_SEC
            return left_sec if action.timeout_sec is None else min(left_sec, action.timeout_sec)
        usual = EXECUTOR_TIMEOUT_SEC - _TURN_RESERVE_SEC
        longest = EXECUTOR_LONG_TIMEOUT_SEC - _TURN_RESERVE_SEC
        return usual if action.timeout_sec is None else min(longest, action.timeout_sec)

    def _finish(self, identifier: str, result: Result) -> None:
        """Keep the result, unless someone has completed the action in the meantime."""
        run = self.find(identifier)
        if run is not None and not run.action.state.is_completed:
            self.complete(run, result)

    def _perform(self, run: ActionRun, resolved: _Resolved, limit_sec: float, *, is_executor: bool = False) -> Result:
        """What the action answers, timed and counted as those of tasks are."""
        told = {"action": run.id or "", "name": run.action.name}
        with self._telemetry.timed(ACTION, told):
            called = self._called(run, resolved, limit_sec, is_executor=is_executor)
        result = answer_of(resolved.runnable, called)
        if not isinstance(result, Pending):
            counted_action(self._telemetry, None if comes_later(resolved.runnable, result) else result)
        return result

    def _called(self, run: ActionRun, resolved: _Resolved, limit_sec: float, *, is_executor: bool) -> Result:
        timeout_sec = run.action.timeout_sec
        limit_sec = limit_sec if timeout_sec is None else min(limit_sec, timeout_sec)
        context = ActionContext(
            action_execution_id=run.id,
            callback_url=f"/v2/action_executions/{run.id}" if run.id else None,
            project_id=run.project_id,
            deadline_sec=limit_sec,
            egress=self._egress,
            aws=self._aws,
            is_executor=is_executor,
            secrets=self._secrets if is_executor else None,
            pending=run.action.claim.poll.memo if run.action.claim and run.action.claim.poll else None,
        )
        result = within(limit_sec, lambda: perform(resolved.runnable, resolved.input, context))
        if result.state is not State.SUCCESS or isinstance(result, Pending) or comes_later(resolved.runnable, result):
            return result
        return self._transformed(resolved, result)

    def _transformed(self, resolved: _Resolved, result: Result) -> Result:
        data = result.data
        try:
            for spec in reversed(resolved.chain):
                if spec.output is not None:
                    data = self._evaluate(spec.output, data)
            check_size(data, "output", self._field_bytes_max)
        except Exception as error:  # noqa: BLE001 - whatever the output's expressions do, the action has run
            return Result(error=f"The output of the action cannot be made: {error}")
        return Result(data=data)

    # -- reading and changing

    def find(self, identifier: str) -> ActionRun | None:
        """A stored one, whatever its project; ``None`` if there is none."""
        address = address_of(identifier)
        if address is None or address.kind is not Kind.ACTION or address.ordinal != 0:
            return None
        item = self._table.get(identifier, [RECORD_KEY]).get(RECORD_KEY)
        return None if item is None else unpack(item)

    def newest(self, project_id: str | None, limit: int) -> list[ActionRun]:
        """The stored ones of a project, or (``None``) of all projects, the newest first."""
        if project_id is None:
            lists = [(INDEX_EVERYONE, value) for value in everyones_actions()]
        else:
            lists = [(INDEX_LISTING, listing_value(project_id))]
        pages = [self._table.list_index(*one, descending=True, limit=limit) for one in lists]
        entries = sorted(chain.from_iterable(pages), key=lambda entry: entry.sort, reverse=True)[:limit]
        found = self._table.get_many([(entry.partition, entry.key) for entry in entries])
        return [unpack(found[place]) for entry in entries if (place := (entry.partition, entry.key)) in found]

    def complete(self, run: ActionRun, result: Result) -> ActionRun:
        """Give it its result. Raises InvalidResultException when it has one, ConflictException for a lost race."""
        if run.action.state.is_completed:
            raise InvalidResultException(
                f"Action execution already completed [id={run.id}, state={run.action.state}]; its result stays."
            )
        check_size(result.value, "output", self._field_bytes_max)
        now = self._clock.now()
        done = replace(run.action, state=result.state, result=result, accepted=True, updated_at=now, claim=None)
        saved = self._save(replace(run, action=done))
        log_action(run.id, run.action.name, run.project_id, run.action.state, done.state)
        return saved

    def change_state(self, run: ActionRun, state: State) -> ActionRun:
        """Pause it or set it running again; nothing but the state is touched. Raises ConflictException."""
        if run.action.state is state:
            return run
        return self._save(replace(run, action=replace(run.action, state=state, updated_at=self._clock.now())))

    def delete(self, run: ActionRun) -> None:
        """Forget a stored one. Raises NotFoundException for one that was never stored."""
        if run.id is None:
            raise NotFoundException("The action execution was not stored.")
        self._table.write([Delete(run.id, RECORD_KEY)])

    def _save(self, run: ActionRun) -> ActionRun:
        assert run.id is not None
        saved = replace(run, revision=run.revision + 1)
        self._table.write([Put(pack(saved), expected=run.revision)])
        return saved
