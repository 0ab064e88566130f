"""What expressions may ask about an execution: the answers to ``task()``, ``execution()`` and their like."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime

from chalicelib.data import dataclass
from chalicelib.engine.draft import Draft
from chalicelib.engine.identity import task_id
from chalicelib.engine.moment import Moment, timestamp
from chalicelib.engine.needs import NeedExecutions, NeedTasks
from chalicelib.engine.plan import Plan
from chalicelib.engine.records import ActionExecution, TaskExecution, TaskType, is_dropped
from chalicelib.errors import EvaluationException
from chalicelib.expressions import evaluator
from chalicelib.expressions.evaluator import Options
from chalicelib.expressions.webhook_tokens import Grant, Subject, SubjectKind
from chalicelib.limits import WEBHOOK_LIFE_MAX_SEC
from chalicelib.vocabulary import Json, JsonObject


@dataclass(slots=True)
class Engine:
    """What every part of a decision needs beside the draft: the compiled workflow, the moment and the settings."""

    plan: Plan
    moment: Moment
    expressions: Options
    field_bytes_max: int
    subworkflow_depth_max: int = 100
    # The service's own publishers, by name: a new execution tells them too.
    publishers: Mapping[str, JsonObject] = field(default_factory=dict)


@dataclass(slots=True)
class ExecutionWorld:
    """The world of one expression; ``current`` is the task it belongs to, if any."""

    draft: Draft
    engine: Engine
    current: TaskExecution | None = None

    @property
    def has_current_task(self) -> bool:
        """Whether ``task()`` without a name means something here."""
        return self.current is not None

    def execution(self) -> JsonObject:
        """The workflow execution, as Mistral shows it to expressions: neither state nor output."""
        header = self.draft.header
        return {
            "id": header.public,
            "name": header.workflow_name,
            "spec": dict(self.engine.plan.spec.data),
            "input": self.draft.resolve_object(header.input),
            "params": self.draft.resolve_object(self.draft.params),
            "created_at": timestamp(header.created_at),
            "updated_at": timestamp(header.updated_at),
            "root_execution_id": header.root_execution_id,
        }

    def task(self, name: str | None) -> JsonObject | None:
        """The current task, or the last execution of the named one."""
        if self.current is not None and name is None:
            self.draft.shown = self.current.ordinal
        if self.current is not None and (name is None or name == self.current.name):
            return self.describe(self.draft.task(self.current.ordinal))
        ordinal = self.draft.named.get(name) if name is not None else None
        return None if ordinal is None else self.describe(self.draft.task(ordinal))

    def describe(self, task: TaskExecution) -> JsonObject:
        """A task execution as expressions see it."""
        spec = self.engine.plan.spec.tasks.get(task.name)
        return {
            "id": task_id(self.draft.header.id, task.ordinal),
            "name": task.name,
            "spec": dict(spec.data) if spec else {},
            "state": str(task.state),
            "state_info": task.state_info,
            "result": task_result(self.draft, task),
            "published": self.draft.resolve_object(task.published) if task.published is not None else None,
            "type": str(task.type),
            "workflow_execution_id": self.draft.header.public,
            "created_at": timestamp(task.created_at),
            "updated_at": timestamp(task.updated_at),
        }

    def tasks(
        self, workflow_execution_id: str | None, recursive: bool, state: str | None, flat: bool
    ) -> list[JsonObject]:
        """Task executions of a workflow execution, or of the whole project; asked of the shell."""
        if workflow_execution_id == self.draft.header.public:
            return self._own_tasks(recursive, state, flat)
        found: list[JsonObject] = self.draft.ask(NeedTasks(workflow_execution_id, recursive, state, flat))
        if workflow_execution_id is None:
            # The shell knows what is stored; this execution's tasks are newer here.
            found = [task for task in found if task["workflow_execution_id"] != self.draft.header.public]
            found += self._own_tasks(False, state, False)
        return found

    def _own_tasks(self, recursive: bool, state: str | None, flat: bool) -> list[JsonObject]:
        chosen = []
        nested = []
        for task in self.draft.all_tasks():
            below: list[JsonObject] = []
            if recursive and task.type is TaskType.WORKFLOW:
                for action in self.draft.actions(task):
                    below += self.draft.ask(NeedTasks(action.execution_id, True, state, flat))
            nested += below
            if state is not None and task.state != state:
                continue
            if flat and any(inner["state"] == task.state for inner in below):
                continue
            chosen.append(self.describe(task))
        return chosen + nested

    def executions(
        self,
        id: str | None,
        root_execution_id: str | None,
        state: str | None,
        from_time: str | None,
        to_time: str | None,
    ) -> list[JsonObject]:
        """Workflow executions of the project; asked of the shell."""
        found: list[JsonObject] = self.draft.ask(NeedExecutions(id, root_execution_id, state, from_time, to_time))
        return found

    def webhook_url(self, task_name: str, expires_sec: int) -> str:
        """A signed URL for the latest execution of a task. Raises EvaluationException."""
        signer = self.engine.expressions.webhooks
        if signer is None:
            raise EvaluationException("webhook_url() needs the setting MISTRAL_WEBHOOK_SECRET, which has no value.")
        if not 1 <= expires_sec <= WEBHOOK_LIFE_MAX_SEC:
            raise EvaluationException(f"webhook_url() takes 1 to {WEBHOOK_LIFE_MAX_SEC} seconds, not {expires_sec}.")
        ordinal = self.draft.named.get(task_name)
        if ordinal is None:
            raise EvaluationException(f"webhook_url('{task_name}'): no task of that name has begun; start it before.")
        header, now = self.draft.header, self.engine.moment.now
        subject = Subject(SubjectKind.TASK, task_id(header.id, ordinal), header.project_id)
        return signer.url(Grant(subject, now, now + expires_sec))

    def global_(self, name: str) -> Json:
        """A value of the workflow's own variables: globals and ``vars``."""
        variables = self.draft.resolve(self.draft.variables) or {}
        return self.draft.resolve(variables.get(name))

    def uuid(self) -> str:
        """An id that follows from the moment."""
        return self.engine.moment.uuid(self.draft.header.id, "uuid", str(self._next()))

    def now(self) -> datetime:
        """The moment of the decision."""
        return self.engine.moment.as_datetime()

    def random(self) -> float:
        """A number that follows from the moment."""
        return self.engine.moment.fraction(self.draft.header.id, "random", str(self._next()))

    def _next(self) -> int:
        self.draft.fresh_random += 1
        return self.draft.fresh_random


def evaluate(
    engine: Engine, draft: Draft, data: Json, scope: Mapping[str, Json], current: TaskExecution | None = None
) -> Json:
    """Evaluate every expression in ``data``. Raises EvaluationException, MissingData."""
    return evaluator.evaluate(data, scope, ExecutionWorld(draft, engine, current), engine.expressions)


def action_value(draft: Draft, task: TaskExecution, action: ActionExecution) -> Json:
    """What one action execution came to, as ``task().result`` gives it."""
    if is_dropped(task, action) or action.result is None:
        return None
    return draft.resolve(action.result.value)


def task_result(draft: Draft, task: TaskExecution) -> Json:
    """The result of a task.

    Of its accepted action executions in item order; a list for with-items, and for any number but one.
    """
    accepted = [action for action in draft.actions(task) if action.accepted]
    values = [action_value(draft, task, action) for action in sorted(accepted, key=lambda action: action.index)]
    if task.has_items or len(values) != 1:
        return values
    return values[0]
