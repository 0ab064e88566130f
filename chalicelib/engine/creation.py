"""The birth of an execution: input checked and completed, environment and variables evaluated.

Reference: Mistral's engine/workflows.py.

Whatever is wrong here is refused before anything is stored.
"""

from __future__ import annotations

from collections.abc import Mapping

from chalicelib.data import dataclass
from chalicelib.engine.draft import Draft, Loaded
from chalicelib.engine.invocations import WorkflowFacts, check_input, with_defaults
from chalicelib.engine.notices import subscriptions_of
from chalicelib.engine.plain import plain
from chalicelib.engine.records import Parent, WorkflowExecution
from chalicelib.engine.reverse import target_of
from chalicelib.engine.scope import workflow_scope
from chalicelib.engine.sizes import check_size
from chalicelib.engine.world import Engine, ExecutionWorld, evaluate
from chalicelib.errors import InputException
from chalicelib.expressions import evaluator
from chalicelib.vocabulary import Json, JsonObject, State


@dataclass(frozen=True, slots=True)
class Birth:
    """What an execution is created from.

    ``environment`` is the stored one that ``params.env`` names, if it names one.
    """

    id: str
    project_id: str
    facts: WorkflowFacts
    input: JsonObject
    params: JsonObject
    public_id: str = ""
    description: str | None = None
    parent: Parent | None = None
    root_execution_id: str | None = None
    depth: int = 0
    environment: JsonObject | None = None
    security: JsonObject | None = None


def create(engine: Engine, birth: Birth, loaded: Loaded) -> Draft:
    """A new execution in IDLE.

    Raises InputException, EvaluationException, WorkflowException, SizeLimitExceededException, MissingData.
    """
    facts = birth.facts
    check_input(facts.name, "WorkflowSpec", facts.input, birth.input)
    header = WorkflowExecution(
        id=birth.id,
        public_id=birth.public_id,
        project_id=birth.project_id,
        workflow_name=facts.name,
        workflow_id=facts.id,
        workflow_namespace=facts.namespace,
        workbook_name=facts.workbook_name,
        definition_hash=facts.definition_hash,
        state=State.IDLE,
        created_at=engine.moment.now,
        updated_at=engine.moment.now,
        description=birth.description,
        tags=engine.plan.spec.tags,
        root_execution_id=birth.root_execution_id,
        parent=birth.parent,
        depth=birth.depth,
        input=plain(with_defaults(facts.input, birth.input)),
    )
    draft = Draft(header, loaded)
    draft.params = plain({**birth.params, "env": _environment(engine, draft, birth)})
    draft.params.setdefault("namespace", facts.namespace)
    draft.subscriptions = subscriptions_of(draft.params.get("notify"), engine.publishers)
    if engine.plan.spec.type == "reverse":
        target_of(engine, draft.params)
    draft.variables = initial_variables(engine, draft, birth.security)
    check_size(header.input, "input", engine.field_bytes_max)
    check_size(draft.params, "params", engine.field_bytes_max)
    return draft


def _environment(engine: Engine, draft: Draft, birth: Birth) -> JsonObject:
    env: Json = birth.params.get("env")
    if not env:
        return {}
    if isinstance(env, str):
        if birth.environment is None:
            raise InputException(f"Environment is not found: {env}")
        env = birth.environment
    if not isinstance(env, dict):
        raise InputException(f"Unexpected value type for environment [env={env}, type={type(env).__name__}]")
    if birth.params.get("evaluate_env") is False:
        return env
    world = ExecutionWorld(draft, engine)
    evaluated: JsonObject = evaluator.evaluate(env, {"__env": env}, world, engine.expressions)
    return evaluated


def initial_variables(engine: Engine, draft: Draft, security: Mapping[str, Json] | None) -> JsonObject:
    """The variables that an execution begins with: ``vars``, and what the service adds. Raises MistralError."""
    variables: JsonObject = {"openstack": dict(security)} if security else {}
    variables["__execution"] = {"id": draft.header.public}
    draft.variables = variables
    if engine.plan.spec.vars:
        evaluated = plain(evaluate(engine, draft, dict(engine.plan.spec.vars), workflow_scope(draft)))
        variables = {**variables, **evaluated}
    return variables
