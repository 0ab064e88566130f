"""Plain data to specs, without looking for faults: the data was checked when its definition was created.

A turn of the engine rebuilds its workflow from the stored data, so this is quick, and imports neither YAML nor the
expression languages.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from chalicelib.lang.inline import deep_merge, is_expression, parse_command, parse_with_items
from chalicelib.lang.specs import (
    ActionSpec,
    InputSpec,
    Join,
    NextSpec,
    OnClauseSpec,
    PoliciesSpec,
    PublishSpec,
    RetrySpec,
    TaskDefaultsSpec,
    TaskSpec,
    WorkbookSpec,
    WorkflowSpec,
)
from chalicelib.vocabulary import Json, JsonObject

VERSION: Final = "2.0"
_DEFAULT_ACTION: Final = "std.noop"
# A key of this name is taken for the language's version wherever a list of things is named by its keys.
_NOT_A_NAME: Final = "version"


def named_bodies(data: Mapping[str, Json]) -> list[tuple[str, Json]]:
    """The names and bodies of a list of things (workflows, actions, tasks), without what is called ``version``."""
    return [(name, body) for name, body in data.items() if name != _NOT_A_NAME]


def inject_workflow(name: str, body: JsonObject) -> JsonObject:
    """The data of a workflow with the keys that Mistral adds to it and to its tasks, and inline parameters merged."""
    kind = body.get("type", "direct")
    tasks = {
        task_name: _inject_task(task_name, task, kind) if task_name != _NOT_A_NAME else {**task, "type": kind}
        for task_name, task in body["tasks"].items()
    }
    return {**body, "tasks": tasks, "name": name, "version": VERSION}


def inject_action(name: str, body: JsonObject) -> JsonObject:
    """The data of an ad-hoc action with the keys that Mistral adds to it, and inline parameters merged."""
    data = {**body, "name": name, "version": VERSION}
    if "base-input" in body:
        data["base-input"] = deep_merge(body["base-input"], parse_command(body["base"])[1])
    return data


def workflow_from_data(data: JsonObject) -> WorkflowSpec:
    """Rebuild a workflow from the ``data`` of its spec."""
    description = data.get("description")
    timeout = data.get("timeout")
    is_number = isinstance(timeout, int) and not isinstance(timeout, bool) and timeout > 0
    return WorkflowSpec(
        name=data["name"],
        data=data,
        type=data.get("type", "direct"),
        description=description if isinstance(description, str) else None,
        tags=tuple(data.get("tags", ())),
        input=_inputs(data.get("input", ())),
        vars=data.get("vars", {}),
        output=data.get("output"),
        output_on_error=data.get("output-on-error"),
        task_defaults=_task_defaults(data.get("task-defaults", {})),
        tasks={name: _task(name, body) for name, body in named_bodies(data["tasks"])},
        timeout=timeout if is_number or is_expression(timeout) else None,
    )


def action_from_data(data: JsonObject) -> ActionSpec:
    """Rebuild an ad-hoc action from the ``data`` of its spec."""
    base, parameters = parse_command(data["base"])
    return ActionSpec(
        name=data["name"],
        data=data,
        base=base,
        base_input=deep_merge(data.get("base-input", {}), parameters),
        input=_inputs(data.get("input", ())),
        output=data.get("output"),
        description=data.get("description"),
        tags=tuple(data.get("tags", ())),
    )


def workbook_from_data(data: JsonObject) -> WorkbookSpec:
    """Build a workbook from its text's data; unlike the others it is not stored as data."""
    return WorkbookSpec(
        name=data["name"],
        data=data,
        description=data.get("description"),
        tags=tuple(data.get("tags", ())),
        workflows={
            name: workflow_from_data(inject_workflow(name, body))
            for name, body in named_bodies(data.get("workflows", {}))
        },
        actions={
            name: action_from_data(inject_action(name, body)) for name, body in named_bodies(data.get("actions", {}))
        },
    )


def build_on_clause(raw: Json) -> OnClauseSpec | None:
    """An on-clause of any form; None if it is not written."""
    if raw is None:
        return None
    if not isinstance(raw, dict):
        return OnClauseSpec(next=_transitions(raw))
    # A target with its guard, without a list around it, ends here as well: no transition at all, as in Mistral.
    publish = raw.get("publish")
    return OnClauseSpec(
        next=_transitions(raw.get("next")),
        publish=PublishSpec(publish.get("branch"), publish.get("global"), publish.get("atomic")) if publish else None,
    )


def _inject_task(name: str, body: JsonObject, kind: str) -> JsonObject:
    data = {**body, "type": kind, "name": name, "version": VERSION}
    command = body.get("action") or body.get("workflow")
    # Only an input that is written is visible with the inline parameters in it.
    if command and isinstance(body.get("input"), dict):
        data["input"] = deep_merge(body["input"], parse_command(command)[1])
    return data


def _task(name: str, data: JsonObject) -> TaskSpec:
    action, workflow = data.get("action"), data.get("workflow")
    parameters: JsonObject = {}
    if action:
        action, parameters = parse_command(action)
    elif workflow:
        workflow, parameters = parse_command(workflow)
    else:
        action = _DEFAULT_ACTION
    written_input = data.get("input", {})
    return TaskSpec(
        name=name,
        data=data,
        description=data.get("description"),
        tags=tuple(data.get("tags", ())),
        action=action,
        workflow=workflow,
        input=deep_merge(written_input, parameters) if parameters else written_input,
        publish=data.get("publish"),
        publish_on_error=data.get("publish-on-error"),
        publish_on_skip=data.get("publish-on-skip"),
        with_items=_with_items(data.get("with-items")),
        keep_result=data.get("keep-result", True),
        safe_rerun=data.get("safe-rerun"),
        target=data.get("target"),
        policies=_policies(data),
        tolerated_failure_percentage=data.get("tolerated-failure-percentage"),
        on_success=build_on_clause(data.get("on-success")),
        on_error=build_on_clause(data.get("on-error")),
        on_complete=build_on_clause(data.get("on-complete")),
        on_skip=build_on_clause(data.get("on-skip")),
        join=_join(data.get("join")),
        requires=_texts(data.get("requires")),
    )


def _task_defaults(data: JsonObject) -> TaskDefaultsSpec:
    return TaskDefaultsSpec(
        policies=_policies(data),
        on_success=build_on_clause(data.get("on-success")),
        on_error=build_on_clause(data.get("on-error")),
        on_complete=build_on_clause(data.get("on-complete")),
        on_skip=build_on_clause(data.get("on-skip")),
        safe_rerun=data.get("safe-rerun"),
        requires=_texts(data.get("requires")),
        data=data,
    )


_NO_POLICIES: Final = PoliciesSpec()
_POLICY_KEYS: Final = frozenset(
    {"pause-before", "wait-before", "wait-after", "fail-on", "retry", "timeout", "concurrency"}
)


def _policies(data: JsonObject) -> PoliciesSpec:
    if _POLICY_KEYS.isdisjoint(data):
        return _NO_POLICIES
    # "or None": 0 and false build no policy in Mistral, so they cannot switch a default off.
    return PoliciesSpec(
        pause_before=data.get("pause-before") or None,
        wait_before=data.get("wait-before") or None,
        wait_after=data.get("wait-after") or None,
        fail_on=data.get("fail-on") or None,
        retry=_retry(data.get("retry")),
        timeout=data.get("timeout") or None,
        concurrency=data.get("concurrency") or None,
    )


def _retry(raw: Json) -> RetrySpec | None:
    if not raw:
        return None
    fields = parse_command(raw)[1] if isinstance(raw, str) else raw
    return RetrySpec(
        count=fields.get("count"),
        delay=fields.get("delay"),
        break_on=fields.get("break-on"),
        continue_on=fields.get("continue-on"),
        backoff=fields.get("backoff"),
        max_delay=fields.get("max-delay"),
        jitter=fields.get("jitter"),
        attempt_timeout=fields.get("attempt-timeout") or None,
    )


def _with_items(raw: Json) -> JsonObject | None:
    if not raw:
        return None
    return dict(parse_with_items(element) for element in ([raw] if isinstance(raw, str) else raw))


def _join(raw: Json) -> Join | None:
    if raw == "all":
        return "all"
    if raw == "one":
        return 1
    return int(raw) if raw else None


def _inputs(raw: Json) -> tuple[InputSpec, ...]:
    """Inputs by name: of several with one name the last one counts, at the place of the first."""
    inputs: dict[str, InputSpec] = {}
    for entry in raw:
        if isinstance(entry, str):
            inputs[entry] = InputSpec(entry)
        else:
            inputs.update((name, InputSpec(name, required=False, default=value)) for name, value in entry.items())
    return tuple(inputs.values())


def _texts(raw: Json) -> tuple[str, ...]:
    if not raw:
        return ()
    return (raw,) if isinstance(raw, str) else tuple(raw)


def _transitions(raw: Json) -> tuple[NextSpec, ...]:
    if not raw:
        return ()
    # Of a dictionary only the keys are read: ``next: {task: guard}`` loses its guard, as in Mistral.
    return tuple(_transition(item) for item in ([raw] if isinstance(raw, str) else raw))


def _transition(item: str | JsonObject) -> NextSpec:
    if isinstance(item, str):
        name, parameters = parse_command(item)
        return NextSpec(name, params=parameters)
    [(target, guard)] = item.items()
    name, parameters = parse_command(target)
    return NextSpec(name, guard, parameters)
