"""What an expression sees: layers of names, the first that has a name wins.

Nothing is copied, and what is not touched is not loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from chalicelib.engine.draft import Draft
from chalicelib.engine.identity import task_id
from chalicelib.engine.needs import NeedRootEnvironment
from chalicelib.engine.records import EMPTY_CONTEXT, TaskExecution
from chalicelib.vocabulary import Json, JsonObject


class Lazy(Mapping[str, Json]):
    """A layer of known names whose values are found when asked for."""

    __slots__ = ("_find", "_names")

    def __init__(self, names: Callable[[], Mapping[str, Json]], find: Callable[[Json], Json]) -> None:
        self._names = names
        self._find = find

    def __getitem__(self, name: str) -> Json:
        return self._find(self._names()[name])

    def __contains__(self, name: object) -> bool:
        return name in self._names()

    def __iter__(self) -> Iterator[str]:
        return iter(self._names())

    def __len__(self) -> int:
        return len(self._names())


class ContextLayer(Mapping[str, Json]):
    """A data flow context, read along its chain of nodes."""

    __slots__ = ("_draft", "_reference")

    def __init__(self, draft: Draft, reference: int) -> None:
        self._draft = draft
        self._reference = reference

    def __getitem__(self, name: str) -> Json:
        reference = self._reference
        while reference != EMPTY_CONTEXT:
            node = self._draft.context_node(reference)
            if name in node.variables:
                return self._draft.resolve(node.variables[name])
            reference = node.base
        raise KeyError(name)

    def _names(self) -> dict[str, None]:
        chain = []
        reference = self._reference
        while reference != EMPTY_CONTEXT:
            node = self._draft.context_node(reference)
            chain.append(node.variables)
            reference = node.base
        return {name: None for variables in reversed(chain) for name in variables}

    def __contains__(self, name: object) -> bool:
        reference = self._reference
        while reference != EMPTY_CONTEXT:
            node = self._draft.context_node(reference)
            if name in node.variables:
                return True
            reference = node.base
        return False

    def __iter__(self) -> Iterator[str]:
        return iter(self._names())

    def __len__(self) -> int:
        return len(self._names())


class Scope(Mapping[str, Json]):
    """Layers of names; the first that has a name wins."""

    __slots__ = ("_layers",)

    def __init__(self, *layers: Mapping[str, Json]) -> None:
        self._layers = layers

    def __getitem__(self, name: str) -> Json:
        for layer in self._layers:
            try:
                return layer[name]
            except KeyError:
                continue
        raise KeyError(name)

    def __contains__(self, name: object) -> bool:
        return any(name in layer for layer in self._layers)

    def __iter__(self) -> Iterator[str]:
        names: dict[str, None] = {}
        for layer in self._layers:
            names.update(dict.fromkeys(layer))
        return iter(names)

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __bool__(self) -> bool:
        # Never empty: at least the environment is there. Counting names would load every context.
        return True


def environment(draft: Draft) -> JsonObject:
    """The environment of the root execution: sub-workflows have none of their own."""
    root = draft.header.root_execution_id
    if root is not None:
        found: JsonObject = draft.ask(NeedRootEnvironment(root))
        return found
    params = draft.resolve(draft.params) or {}
    return draft.resolve(params.get("env")) or {}


def _environment_layer(draft: Draft) -> Mapping[str, Json]:
    return Lazy(lambda: {"__env": None}, lambda _: environment(draft))


def _object_layer(draft: Draft, of: Callable[[], Json]) -> Mapping[str, Json]:
    return Lazy(lambda: draft.resolve(of()) or {}, draft.resolve)


def _task_layer(draft: Draft, task: TaskExecution) -> Mapping[str, Json]:
    return {"__task_execution": {"id": task_id(draft.header.id, task.ordinal), "name": task.name}}


def _workflow_layers(draft: Draft) -> tuple[Mapping[str, Json], Mapping[str, Json]]:
    return _object_layer(draft, lambda: draft.variables), _object_layer(draft, lambda: draft.header.input)


def task_scope(draft: Draft, task: TaskExecution, extra: Mapping[str, Json] | None = None) -> Scope:
    """For a task's input, names, items and policies."""
    layers = [_task_layer(draft, task), _environment_layer(draft)]
    if extra:
        layers.append(extra)
    return Scope(*layers, ContextLayer(draft, task.in_context), *_workflow_layers(draft))


def publish_scope(draft: Draft, task: TaskExecution) -> Scope:
    """For what a task publishes."""
    return Scope(
        _task_layer(draft, task),
        ContextLayer(draft, task.in_context),
        _environment_layer(draft),
        *_workflow_layers(draft),
    )


def outbound_scope(draft: Draft, task: TaskExecution, reference: int) -> Scope:
    """For guards and command parameters: what the task has just published is seen."""
    return Scope(
        _task_layer(draft, task), ContextLayer(draft, reference), _environment_layer(draft), *_workflow_layers(draft)
    )


def target_scope(draft: Draft, task: TaskExecution, action_input: Mapping[str, Json]) -> Scope:
    """For ``target``: the action's own input comes first, and there is no current task."""
    return Scope(
        action_input, ContextLayer(draft, task.in_context), _environment_layer(draft), *_workflow_layers(draft)
    )


def timeout_scope(draft: Draft, task: TaskExecution) -> Scope:
    """For the executor's time limit: neither environment nor current task."""
    return Scope(ContextLayer(draft, task.in_context), *_workflow_layers(draft))


def ad_hoc_scope(draft: Draft, task: TaskExecution, action_input: Mapping[str, Json]) -> Scope:
    """For ``base-input``: the action's inputs, the task's context, workflow variables, but no workflow input."""
    return Scope(
        action_input,
        ContextLayer(draft, task.in_context),
        _environment_layer(draft),
        _object_layer(draft, lambda: draft.variables),
    )


def workflow_scope(draft: Draft, final: Mapping[str, Json] | None = None) -> Scope:
    """For ``vars`` and the outputs of a workflow."""
    layers = [final] if final else []
    return Scope(*layers, _environment_layer(draft), *_workflow_layers(draft))
