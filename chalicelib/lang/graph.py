"""The compiled workflow: who leads to whom, with ``task-defaults`` already applied.

Built once from a spec in time linear in its size, and never changed: a warm Lambda keeps it for as many executions as
run that definition. Inbound and outbound are said of *names in clauses*: guards play no part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Final

from chalicelib.lang.inline import deep_merge
from chalicelib.lang.specs import (
    NextSpec,
    OnClauseSpec,
    PoliciesSpec,
    PublishSpec,
    TaskDefaultsSpec,
    TaskSpec,
    WorkflowSpec,
)
from chalicelib.vocabulary import Json, State

ENGINE_COMMANDS: Final = frozenset({"noop", "fail", "succeed", "pause"})
EVENTS: Final = ("on-error", "on-success", "on-complete", "on-skip")

_EVENTS_AFTER: Final[Mapping[State, tuple[str, ...]]] = {
    State.ERROR: ("on-error", "on-complete"),
    State.SUCCESS: ("on-success", "on-complete"),
}
_POLICIES: Final = tuple(field.name for field in fields(PoliciesSpec))
_PUBLISHING: Final = (State.SUCCESS, State.ERROR, State.SKIPPED)


class WorkflowGraph:
    """The tasks of one workflow with their links, policies and publishing.

    Methods raise KeyError for an unknown task, unless they say otherwise.
    """

    def __init__(self, spec: WorkflowSpec) -> None:
        self.spec: Final = spec
        self._clauses: Final = {
            name: {event: _effective_clause(task, spec.task_defaults, event) for event in EVENTS}
            for name, task in spec.tasks.items()
        }
        self._outbound: Final = {name: _names(clauses) for name, clauses in self._clauses.items()}
        self._inbound: Final = self._invert()
        self._policies: Final = {
            name: _effective_policies(task.policies, spec.task_defaults.policies) for name, task in spec.tasks.items()
        }
        self._publish: Final = {
            (name, state): _merged_publish(task, state) for name, task in spec.tasks.items() for state in _PUBLISHING
        }
        self._joins_reachable_from: dict[str, list[str]] | None = None
        self.joins: Final = frozenset(name for name, task in spec.tasks.items() if task.join is not None)
        self.start_tasks: Final = tuple(name for name in spec.tasks if not self._inbound[name])

    def clause(self, task_name: str, event: str) -> tuple[NextSpec, ...]:
        """The transitions of one on-clause: the task's own, or else the default's without the task itself."""
        return self._clauses[task_name][event]

    def has_clause(self, task_name: str, event: str) -> bool:
        """Whether an on-clause, own or default, has any transition."""
        return bool(self._clauses[task_name][event])

    def is_own(self, task_name: str, event: str) -> bool:
        """Whether the transitions of an on-clause are written on the task, rather than taken from ``task-defaults``."""
        own = _written_clause(self.spec.tasks[task_name], event)
        return own is not None and bool(own.next)

    def next_after(self, task_name: str, state: State) -> tuple[tuple[str, NextSpec], ...]:
        """The transitions to consider after SUCCESS or ERROR, each with the event it belongs to, in Mistral's order.

        Nothing for other states: after SKIPPED the caller asks for ``on-skip``, and if no transition of it is taken,
        for ``on-success``.
        """
        clauses = self._clauses[task_name]
        return tuple((event, link) for event in _EVENTS_AFTER.get(state, ()) for link in clauses[event])

    def outbound(self, task_name: str) -> tuple[str, ...]:
        """The names (tasks and commands) that the task's clauses mention, each once."""
        return self._outbound[task_name]

    def inbound(self, task_name: str) -> tuple[str, ...]:
        """The tasks that mention the task in any clause, in the order of the definition."""
        return self._inbound[task_name]

    def join_cardinality(self, task_name: str) -> int:
        """How many inbound tasks must trigger a join; 0 for a task that is no join."""
        join = self.spec.tasks[task_name].join
        if join == "all":
            return len(self._inbound[task_name])
        return join or 0

    def policies(self, task_name: str) -> PoliciesSpec:
        """The task's policies, each kind taken from ``task-defaults`` where the task has none."""
        return self._policies[task_name]

    def safe_rerun(self, task_name: str) -> bool:
        """Whether the task's action may run twice. An expression is not evaluated and counts as true, as in Mistral."""
        own = self.spec.tasks[task_name].safe_rerun
        return bool(self.spec.task_defaults.safe_rerun if own is None else own)

    def requires(self, task_name: str) -> tuple[str, ...]:
        """The tasks that a task of a reverse workflow depends on: its own requirements and the default ones."""
        if self.spec.type != "reverse":
            return ()
        names = dict.fromkeys((*self.spec.tasks[task_name].requires, *self.spec.task_defaults.requires))
        names.pop(task_name, None)
        return tuple(names)

    def requirements_closure(self, task_name: str) -> tuple[str, ...]:
        """A target of a reverse workflow and everything it depends on, requirements before their dependants.

        In a cycle of requirements, which Mistral accepts, each task is listed once.
        """
        closure: list[str] = []
        seen = {task_name}
        stack = [(task_name, iter(self.requires(task_name)))]
        while stack:
            name, remaining = stack[-1]
            required = next((other for other in remaining if other not in seen), None)
            if required is None:
                closure.append(name)
                stack.pop()
            else:
                seen.add(required)
                stack.append((required, iter(self.requires(required))))
        return tuple(closure)

    def reachable_joins(self, task_name: str) -> tuple[str, ...]:
        """The joins that the task's completion may decide: along outbound names, not beyond a join."""
        if self._joins_reachable_from is None:  # on first use: a validated definition may never run
            self._joins_reachable_from = self._find_reachable_joins()
        return tuple(self._joins_reachable_from[task_name])

    def publish(self, task_name: str, state: State) -> PublishSpec | None:
        """What the task publishes in SUCCESS, ERROR or SKIPPED, merged as Mistral does; None in other states."""
        return self._publish.get((task_name, state))

    def is_command(self, name: str) -> bool:
        """Whether a name in a clause is an engine command: also where a task has that name, which then never runs."""
        return name in ENGINE_COMMANDS

    def _invert(self) -> dict[str, tuple[str, ...]]:
        inbound: dict[str, list[str]] = {name: [] for name in self.spec.tasks}
        for name, targets in self._outbound.items():
            for target in targets:
                if target in inbound:
                    inbound[target].append(name)
        return {name: tuple(sources) for name, sources in inbound.items()}

    def _find_reachable_joins(self) -> dict[str, list[str]]:
        """Backwards from each join: what is not near a join costs nothing."""
        reachable: dict[str, list[str]] = {name: [] for name in self.spec.tasks}
        for join in (name for name in self.spec.tasks if name in self.joins):
            seen: set[str] = set()
            frontier = [join]
            while frontier:
                for name in self._inbound[frontier.pop()]:
                    if name not in seen:
                        seen.add(name)
                        reachable[name].append(join)
                        if name not in self.joins:
                            frontier.append(name)
        return reachable


def _written_clause(holder: TaskSpec | TaskDefaultsSpec, event: str) -> OnClauseSpec | None:
    match event:
        case "on-success":
            return holder.on_success
        case "on-error":
            return holder.on_error
        case "on-complete":
            return holder.on_complete
        case _:
            return holder.on_skip


def _effective_clause(task: TaskSpec, defaults: TaskDefaultsSpec, event: str) -> tuple[NextSpec, ...]:
    own = _written_clause(task, event)
    if own is not None and own.next:
        return own.next
    default = _written_clause(defaults, event)
    if default is None:
        return ()
    return tuple(link for link in default.next if link.name != task.name)


def _names(clauses: Mapping[str, tuple[NextSpec, ...]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(link.name for event in EVENTS for link in clauses[event]))


def _effective_policies(own: PoliciesSpec, default: PoliciesSpec) -> PoliciesSpec:
    if default == _NO_POLICIES:
        return own
    values: dict[str, Json] = {}
    for name in _POLICIES:
        value = getattr(own, name)
        values[name] = getattr(default, name) if value is None else value
    return PoliciesSpec(**values)


_NO_POLICIES: Final = PoliciesSpec()


def _merged_publish(task: TaskSpec, state: State) -> PublishSpec | None:
    """The order of Mistral: short, then ``on-complete`` merged into it, then all that into the specific clause.

    So on equal keys ``on-complete`` wins over the short form, and both win over the specific clause; and a scope which
    the receiving side does not have is lost. ``on-complete`` publishes for SKIPPED too.
    """
    match state:
        case State.SUCCESS:
            short, clause = task.publish, task.on_success
        case State.ERROR:
            short, clause = task.publish_on_error, task.on_error
        case _:
            short, clause = task.publish_on_skip, task.on_skip
    merged = PublishSpec(branch=short) if short else None
    complete = task.on_complete.publish if task.on_complete is not None else None
    if complete is not None:
        merged = _merge_publish(merged, complete) if merged is not None else complete
    specific = clause.publish if clause is not None else None
    if specific is None:
        return merged
    return _merge_publish(specific, merged) if merged is not None else specific


def _merge_publish(left: PublishSpec, right: PublishSpec) -> PublishSpec:
    return PublishSpec(
        branch=_merge_scope(left.branch, right.branch),
        global_=_merge_scope(left.global_, right.global_),
        atomic=_merge_scope(left.atomic, right.atomic),
    )


def _merge_scope(left: Mapping[str, Json] | None, right: Mapping[str, Json] | None) -> Mapping[str, Json] | None:
    if left is None or not right:
        return left
    return deep_merge(dict(left), dict(right))
