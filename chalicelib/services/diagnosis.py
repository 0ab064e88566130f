"""What is wrong with a deployment, as far as its records show: executions that do not move, orphans, dead letters.

Looking costs a bounded number of reads. The longest overdue are looked at first: they are where the index of alarms
begins.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import field
from enum import StrEnum
from typing import Final, Protocol

from chalicelib.data import dataclass, replace
from chalicelib.engine.identity import task_id
from chalicelib.engine.moment import timestamp
from chalicelib.engine.records import ActionExecution, Claim, TaskExecution, WorkflowExecution
from chalicelib.engine.sealing import HEADER_KEY
from chalicelib.errors import MistralError, NotFoundException
from chalicelib.limits import (
    DOCTOR_EXECUTIONS_MAX,
    DOCTOR_OVERDUE_SEC,
    DOCTOR_PAYLOADS_MAX,
    DOCTOR_SAMPLES_MAX,
)
from chalicelib.services.claims import claim_key, read_claim
from chalicelib.services.dead_letters import DeadLetters, redrive, story_of
from chalicelib.services.engine import EngineService
from chalicelib.services.execution_places import ALARM_SHARDS, alarm_value, everyone_values
from chalicelib.services.ports import INDEX_ALARM, INDEX_EVERYONE, Clock
from chalicelib.vocabulary import JsonObject, State

_UNFINISHED: Final = (State.IDLE, State.RUNNING, State.PAUSED)
_READ_AT_ONCE: Final = 100
_REPAIR_SEC: Final = 60.0


class Problem(StrEnum):
    """The kinds of findings."""

    STUCK = "stuck-execution"
    NO_ALARM = "execution-without-alarm"
    TIMER = "overdue-timer"
    CLAIM = "expired-claim"
    NO_PARENT = "child-without-parent"
    PAYLOAD = "payload-without-execution"
    DEAD_LETTERS = "dead-letters"
    CLOCK = "clock-not-ticking"
    DRIFT = "drift"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong: what, with what, and what to do next. ``is_repaired``: by this run."""

    problem: Problem
    subject: str
    text: str
    next_step: str
    facts: JsonObject = field(default_factory=dict)
    is_repaired: bool = False

    def document(self) -> JsonObject:
        """As JSON."""
        return {
            "problem": self.problem.value,
            "subject": self.subject,
            "text": self.text,
            "next": self.next_step,
            "repaired": self.is_repaired,
            **({"facts": self.facts} if self.facts else {}),
        }


class PayloadOwners(Protocol):
    """Whose payloads there are."""

    def owners(self, limit: int) -> Iterable[str]:
        """The executions, up to so many, that large values are kept for; values of the last day do not count."""


class Doctor:
    """Finds what is wrong, and repairs on request what can be repaired without harm."""

    def __init__(self, engine: EngineService, letters: DeadLetters, owners: PayloadOwners, clock: Clock) -> None:
        self._engine = engine
        self._store = engine.turns.store
        self._letters = letters
        self._owners = owners
        self._clock = clock

    def findings(self, *, repairs: bool = False) -> list[Finding]:
        """All of them, the executions first; with ``repairs`` those that could be repaired say so."""
        found = [*self._executions(), *self._dead_letters(), *self._payloads()]
        return [self._repaired(finding) for finding in found] if repairs else found

    # -- executions

    def _executions(self) -> Iterator[Finding]:
        seen: set[str] = set()
        overdue = 0
        for header in self._unfinished():
            if header.id in seen:
                continue
            seen.add(header.id)
            findings = list(self._of_execution(header))
            overdue += any(finding.problem is Problem.STUCK for finding in findings)
            yield from findings
        if overdue:
            yield _clock_suspected(overdue)

    def _unfinished(self) -> Iterator[WorkflowExecution]:
        """Those that are in the index of alarms, the most overdue first, then those that should be there."""
        share = DOCTOR_EXECUTIONS_MAX // ALARM_SHARDS
        for shard in range(ALARM_SHARDS):
            yield from self._listed(INDEX_ALARM, alarm_value(shard), share)
        values = everyone_values(_UNFINISHED)
        for value in values:
            for header in self._listed(INDEX_EVERYONE, value, DOCTOR_EXECUTIONS_MAX // len(values), newest=True):
                if not header.state.is_completed:
                    yield header

    def _listed(self, index: str, value: str, limit: int, *, newest: bool = False) -> Iterator[WorkflowExecution]:
        entries = self._store.list_index(index, value, limit=limit, descending=newest)
        for start in range(0, len(entries), _READ_AT_ONCE):
            ids = [entry.partition for entry in entries[start : start + _READ_AT_ONCE] if entry.key == HEADER_KEY]
            yield from self._store.headers(ids).values()

    def _of_execution(self, header: WorkflowExecution) -> Iterator[Finding]:
        late = self._clock.now() - DOCTOR_OVERDUE_SEC
        if header.wake_at is None and not header.state.is_completed:
            text = (
                f"execution of {header.workflow_name} is {header.state} and has no alarm: a lost message is not noticed"
            )
            step = f"mistral execution-update {header.public} -s PAUSED, and -s RUNNING again, sets one"
            yield Finding(Problem.NO_ALARM, header.public, text, step, {"project": header.project_id})
        if header.wake_at is not None and header.wake_at < late:
            text = (
                f"execution of {header.workflow_name} is {header.state}; its alarm was due at "
                f"{timestamp(header.wake_at)}, and nobody has looked after it"
            )
            yield self._finding(Problem.STUCK, header, text)
        if header.state is State.RUNNING:
            yield from self._timers(header, late)
            yield from self._claims(header, late)
        if header.parent is not None and self._store.header(header.parent.execution_id) is None:
            text = (
                f"sub-workflow execution of {header.workflow_name} is {header.state}; its parent is not there any more"
            )
            step = f"mistral execution-delete --force {header.public}, if nobody needs its result"
            facts = {"parent": header.parent.execution_id, "project": header.project_id}
            yield Finding(Problem.NO_PARENT, header.public, text, step, facts)

    def _timers(self, header: WorkflowExecution, late: float) -> Iterator[Finding]:
        timers = [(task, timer) for task in header.frontier.values() for timer in task.timers if timer.due_at < late]
        if timers:
            task, timer = min(timers, key=lambda pair: pair[1].due_at)
            text = (
                f"timer {timer.kind} of task {task.name} of {header.workflow_name} was due at {timestamp(timer.due_at)}"
                f" ({len(timers)} such timers)"
            )
            yield self._finding(Problem.TIMER, header, text, task=task_id(header.id, task.ordinal))

    def _claims(self, header: WorkflowExecution, late: float) -> Iterator[Finding]:
        expired = [
            (task, action) for task, action in self._running(header) if self._is_dead(header, task, action, late)
        ]
        if expired:
            task, action = expired[0]
            text = (
                f"action {action.name} of task {task.name} of {header.workflow_name}: its executor died, and nobody has"
                f" noticed ({len(expired)} such actions)"
            )
            yield self._finding(Problem.CLAIM, header, text, task=task_id(header.id, task.ordinal))

    def _running(self, header: WorkflowExecution) -> Iterator[tuple[TaskExecution, ActionExecution]]:
        """Some of the actions that executors should be at."""
        left = DOCTOR_SAMPLES_MAX
        for task in header.frontier.values():
            actions = self._store.actions(header, task) if task.has_items else task.actions
            for action in actions:
                if action.is_sync and action.state is State.RUNNING and action.execution_id is None:
                    yield task, action
                    left -= 1
                    if not left:
                        return

    def _is_dead(self, header: WorkflowExecution, task: TaskExecution, action: ActionExecution, late: float) -> bool:
        claim = action.claim
        if claim is None and not task.has_items:
            key = claim_key(task.ordinal, action)
            item = self._store.table.get(header.id, [key], consistent=False).get(key)
            claim = None if item is None else read_claim(item.body)
        return claim is not None and _ends_at(claim) < late

    def _finding(self, problem: Problem, header: WorkflowExecution, text: str, **facts: str) -> Finding:
        step = f"doctor --fix looks after it; then see why: mistral execution-get-report {header.public}"
        told = {"execution_id": header.id, "project": header.project_id, **facts}
        return Finding(problem, header.public, text, step, told)

    # -- queues and payloads

    def _dead_letters(self) -> Iterator[Finding]:
        for queue in self._letters.queues():
            try:
                size = self._letters.size(queue)
            except NotFoundException:
                continue  # the queue is missing, which is drift
            if size:
                samples = self._letters.sample(queue, DOCTOR_SAMPLES_MAX)
                stories = [f"{story_of(letter, self._store)} [message {letter.message_id}]" for letter in samples]
                step = (
                    "search the log for the messages' ids to see why they failed; when the cause is gone, "
                    "doctor --fix sends them again"
                )
                text = f"{size} messages have failed too often"
                yield Finding(Problem.DEAD_LETTERS, queue, text, step, {"count": size, "samples": stories})

    def _payloads(self) -> Iterator[Finding]:
        owners = list(self._owners.owners(DOCTOR_PAYLOADS_MAX))
        known = self._store.table.get_many((owner, HEADER_KEY) for owner in owners)
        lost = [owner for owner in owners if (owner, HEADER_KEY) not in known]
        if lost:
            text = f"large values of {len(lost)} executions that are not there any more, of {len(owners)} looked at"
            step = "they cost storage and harm nothing; delete what lies below payloads/EXECUTION_ID/ in the bucket"
            yield Finding(Problem.PAYLOAD, "bucket", text, step, {"executions": lost[:DOCTOR_SAMPLES_MAX]})

    # -- repairs

    def _repaired(self, finding: Finding) -> Finding:
        repair: Callable[[Finding], bool] | None = None
        if finding.problem in (Problem.STUCK, Problem.TIMER, Problem.CLAIM):
            repair = self._reconciled
        elif finding.problem is Problem.DEAD_LETTERS:
            repair = self._redriven
        return replace(finding, is_repaired=True) if repair is not None and repair(finding) else finding

    def _reconciled(self, finding: Finding) -> bool:
        """Have an execution do what it owes, as its alarm would; whether nothing of this is wrong with it now."""
        execution_id = finding.facts["execution_id"]
        try:
            self._engine.reconcile(execution_id, until=self._clock.now() + _REPAIR_SEC)
        except MistralError:
            return False
        header = self._store.header(execution_id)
        return header is None or header.state.is_completed or _is_watched(header, self._clock.now())

    def _redriven(self, finding: Finding) -> bool:
        return redrive(self._letters, finding.subject) > 0


def _ends_at(claim: Claim) -> float:
    """When somebody should have come back to what is claimed."""
    if claim.poll is not None:
        return max(claim.deadline, claim.poll.due_at)
    return claim.deadline if not math.isinf(claim.deadline) else math.inf


def _is_watched(header: WorkflowExecution, now: float) -> bool:
    """Whether the alarm will ring: what was owed has been sent, and if it is lost again, that is noticed."""
    return header.wake_at is not None and header.wake_at > now


def _clock_suspected(overdue: int) -> Finding:
    text = (
        f"{overdue} alarms have been overdue for more than {DOCTOR_OVERDUE_SEC // 60} minutes: the clock door should "
    )
    text += "have rung them, and an executor have answered"
    step = "look whether the clock is invoked every minute without errors, and whether executors take messages"
    return Finding(Problem.CLOCK, "clock", text, step, {"overdue": overdue})
