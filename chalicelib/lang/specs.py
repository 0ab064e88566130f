"""The Workflow Language v2 as frozen data: what a definition says, and nothing of what happens to it.

``parser`` builds these from plain data; ``data`` of a spec is that plain data with the keys Mistral injects
(``name``, ``version``, ``type``), as expressions see it in ``task().spec`` and ``execution().spec``. Policies hold
their raw values: a number, a boolean or an expression, evaluated when the task runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any, Literal

from chalicelib.data import dataclass
from chalicelib.vocabulary import Json

Join = Literal["all"] | int


@dataclass(frozen=True, slots=True)
class InputSpec:
    """One declared input: required, or with a default that is never evaluated."""

    name: str
    required: bool = True
    default: Json = None


@dataclass(frozen=True, slots=True)
class RetrySpec:
    """``retry``: how often, how long between, and when not; with the opt-in extensions of ``docs/language.md``."""

    count: Json
    delay: Json
    break_on: str | None = None
    continue_on: str | None = None
    backoff: Json = None
    max_delay: Json = None
    jitter: Json = None
    attempt_timeout: Json = None


@dataclass(frozen=True, slots=True)
class PoliciesSpec:
    """The policies of a task or of ``task-defaults``.

    ``None`` means not written, or written as 0 or false, which Mistral takes as not written.
    """

    pause_before: Json = None
    wait_before: Json = None
    wait_after: Json = None
    fail_on: Json = None
    retry: RetrySpec | None = None
    timeout: Json = None
    concurrency: Json = None


@dataclass(frozen=True, slots=True)
class PublishSpec:
    """Variables to publish, by scope.

    ``None`` means that the scope is not mentioned, which differs from empty when scopes merge.
    """

    branch: Mapping[str, Json] | None = None
    global_: Mapping[str, Json] | None = None
    atomic: Mapping[str, Json] | None = None


@dataclass(frozen=True, slots=True)
class NextSpec:
    """One transition: a task or engine command, an optional guard expression, inline parameters (``msg``)."""

    name: str
    guard: str = ""
    params: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OnClauseSpec:
    """``on-success`` and its siblings."""

    next: tuple[NextSpec, ...] = ()
    publish: PublishSpec | None = None


@dataclass(frozen=True, slots=True)
class TaskDefaultsSpec:
    """``task-defaults``."""

    policies: PoliciesSpec = field(default_factory=PoliciesSpec)
    on_success: OnClauseSpec | None = None
    on_error: OnClauseSpec | None = None
    on_complete: OnClauseSpec | None = None
    on_skip: OnClauseSpec | None = None
    safe_rerun: Json = None
    requires: tuple[str, ...] = ()
    data: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """One task.

    ``action`` is ``std.noop`` when neither action nor workflow is written; inline parameters are already merged over
    ``input``.
    """

    name: str
    data: Mapping[str, Json]
    description: str | None = None
    tags: tuple[str, ...] = ()
    action: str | None = None
    workflow: str | None = None
    input: Mapping[str, Json] | str = field(default_factory=dict)
    publish: Mapping[str, Json] | None = None
    publish_on_error: Mapping[str, Json] | None = None
    publish_on_skip: Mapping[str, Json] | None = None
    with_items: Mapping[str, Json] | None = None
    keep_result: Json = True
    safe_rerun: Json = None
    target: str | None = None
    policies: PoliciesSpec = field(default_factory=PoliciesSpec)
    tolerated_failure_percentage: Json = None
    # direct workflows
    on_success: OnClauseSpec | None = None
    on_error: OnClauseSpec | None = None
    on_complete: OnClauseSpec | None = None
    on_skip: OnClauseSpec | None = None
    join: Join | None = None
    # reverse workflows
    requires: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WorkflowSpec:
    """One workflow. ``tasks`` keeps the order of the text."""

    name: str
    data: Mapping[str, Json]
    type: Literal["direct", "reverse"] = "direct"
    description: str | None = None
    tags: tuple[str, ...] = ()
    input: tuple[InputSpec, ...] = ()
    vars: Mapping[str, Json] = field(default_factory=dict)
    output: Mapping[str, Json] | None = None
    output_on_error: Mapping[str, Json] | None = None
    task_defaults: TaskDefaultsSpec = field(default_factory=TaskDefaultsSpec)
    tasks: Mapping[str, TaskSpec] = field(default_factory=dict)
    timeout: Json = None


@dataclass(frozen=True, slots=True)
class ActionSpec:
    """One ad-hoc action: a base action with its input given and its output transformed."""

    name: str
    data: Mapping[str, Json]
    base: str
    base_input: Mapping[str, Json] = field(default_factory=dict)
    input: tuple[InputSpec, ...] = ()
    output: Any = None
    description: str | None = None
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WorkbookSpec:
    """A workbook: workflows and ad-hoc actions under one name."""

    name: str
    data: Mapping[str, Json]
    description: str | None = None
    tags: tuple[str, ...] = ()
    workflows: Mapping[str, WorkflowSpec] = field(default_factory=dict)
    actions: Mapping[str, ActionSpec] = field(default_factory=dict)
