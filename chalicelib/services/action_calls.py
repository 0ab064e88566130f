"""Calling an action for a task: what it is told, how long it may take, and what its answer means."""

from __future__ import annotations

from typing import Any

from chalicelib.actions.registry import (
    ActionContext,
    AwsSettings,
    EgressPolicy,
    Pending,
    Registry,
    comes_later,
    perform,
)
from chalicelib.actions.secrets import Secrets
from chalicelib.data import dataclass
from chalicelib.engine.identity import action_id, task_id
from chalicelib.engine.records import ActionExecution, Poll, TaskExecution, WorkflowExecution
from chalicelib.expressions.webhook_tokens import Grant, Subject, SubjectKind, WebhookSigner
from chalicelib.limits import WEBHOOK_LIFE_SEC
from chalicelib.services.action_runs import ActionRuns
from chalicelib.services.carriers import TURN_RESERVE_SEC, Thread, kept_alive, within
from chalicelib.services.claims import Claims
from chalicelib.services.poison import is_lasting, reason_of
from chalicelib.services.polls import answer_of
from chalicelib.services.ports import Clock
from chalicelib.services.telemetry import ACTION, counted_action
from chalicelib.services.turns import Turns
from chalicelib.vocabulary import JsonObject, Result


@dataclass(frozen=True, slots=True)
class ExecutorSettings:
    """What actions may use."""

    egress: EgressPolicy
    aws: AwsSettings
    webhooks: WebhookSigner | None = None
    secrets: Secrets | None = None


class ActionCalls:
    """Runs the actions that the executor has claimed."""

    def __init__(
        self,
        turns: Turns,
        registry: Registry,
        action_runs: ActionRuns,
        claims: Claims,
        *,
        clock: Clock,
        settings: ExecutorSettings,
    ) -> None:
        self._turns = turns
        self._registry = registry
        self._action_runs = action_runs
        self._claims = claims
        self._clock = clock
        self._settings = settings

    def run(
        self,
        header: WorkflowExecution,
        task: TaskExecution,
        action: ActionExecution,
        thread: Thread,
        poll: Poll | None,
    ) -> Result | None:
        """The result of an action; ``None`` for an asynchronous one that has been started well."""
        name, value = (action.base.name, action.base.input) if action.base else (action.name, action.input)
        runnable = self._registry.find(name) or self._action_runs.find_dynamic(header, name)
        if runnable is None:
            return Result(error=f"The action '{name}' is not known to this executor.")
        identifier = action_id(header.id, task.ordinal, action.number)
        left_sec = thread.deadline - self._clock.now() - TURN_RESERVE_SEC
        limit_sec = left_sec if action.timeout_sec is None else min(left_sec, action.timeout_sec)
        context = ActionContext(
            workflow_execution_id=header.public,
            task_execution_id=task_id(header.id, task.ordinal),
            action_execution_id=identifier,
            workflow_name=header.workflow_name,
            callback_url=f"/v2/action_executions/{identifier}",
            webhook_url=None if runnable.is_sync else self._webhook_url(header, identifier),
            project_id=header.project_id,
            deadline_sec=limit_sec,
            egress=self._settings.egress,
            aws=self._settings.aws,
            is_executor=True,
            secrets=self._settings.secrets,
            pending=poll.memo if poll is not None else None,
        )
        try:
            data = self._input(header, value)
        except Exception as error:
            if not is_lasting(error):
                raise
            return Result(error=f"The input of the action '{name}' cannot be read: {reason_of(error)}")
        told = {"execution": header.public, "task": context.task_execution_id or "", "action": identifier, "name": name}
        beating = kept_alive(thread.lease, lambda: self._claims.renew(header, task, action, thread))
        with self._turns.telemetry.timed(ACTION, told), beating:
            if action.timeout_sec is None:
                result = perform(runnable, data, context)
            else:
                result = within(limit_sec, lambda: perform(runnable, data, context))
        answer = None if comes_later(runnable, result) else answer_of(runnable, result)
        if not isinstance(answer, Pending):
            counted_action(self._turns.telemetry, answer)
        return answer

    def _webhook_url(self, header: WorkflowExecution, identifier: str) -> str | None:
        """What an asynchronous action may hand on to whoever is to complete it."""
        signer = self._settings.webhooks
        if signer is None:
            return None
        now = self._clock.now()
        subject = Subject(SubjectKind.ACTION, identifier, header.project_id)
        return signer.url(Grant(subject, now, now + WEBHOOK_LIFE_SEC))

    def _input(self, header: WorkflowExecution, value: Any) -> JsonObject:
        data: JsonObject = self._turns.store.value(header.id, value) or {}
        return data
