"""Data flow: what tasks hand on, how contexts merge, what the workflow ends with.

A task that publishes nothing hands on the context it received. One that publishes writes only its own variables, over a
base; small ancestors are absorbed, so that a chain of n publishing tasks is read in O(log n) steps and written in O(n
log n) small pieces.

Merging follows Mistral's context versioning (reference: mistral/workflow/context_versioning.py): the last upstream
context is the base, of two values the one published more often wins, ties keep the base's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from chalicelib.engine.draft import Draft
from chalicelib.engine.needs import MissingData, Need
from chalicelib.engine.records import EMPTY_CONTEXT, ContextNode, PayloadRef, TaskExecution, ValueRef, outbound_context
from chalicelib.vocabulary import Json, JsonObject

_INTERNAL: Final = ("__task_execution", "__versions")
_ABSORBED_VARIABLES_MAX: Final = 256


def leaf_paths(published: Mapping[str, Json], prefix: str = "") -> Iterable[str]:
    """The dotted path of every leaf; lists and scalars are leaves, empty objects have none."""
    for key, value in published.items():
        path = f"{prefix}.{key}" if prefix else str(key)
        if isinstance(value, dict):
            yield from leaf_paths(value, path)
        else:
            yield path


def node_for(draft: Draft, task: TaskExecution, published: Mapping[str, Json]) -> ContextNode | None:
    """The context that a task hands on, given what it published; ``None`` when it hands on what it received."""
    if not published:
        return None
    variables = dict(published)
    base = task.in_context
    versions = {path: 1 + _version(draft, base, path) for path in leaf_paths(published)}
    while base != EMPTY_CONTEXT:
        ancestor = draft.context_node(base)
        if len(ancestor.variables) > min(len(variables), _ABSORBED_VARIABLES_MAX):
            break
        variables = {**ancestor.variables, **variables}
        versions = {**ancestor.versions, **versions}
        base = ancestor.base
    return ContextNode(base, variables, versions)


def outbound_of(task: TaskExecution) -> int:
    """The reference of the context that a task hands on."""
    if task.out_context is not None:
        return task.out_context
    return outbound_context(task.ordinal) if task.context is not None else task.in_context


def _version(draft: Draft, reference: int, path: str) -> int:
    while reference != EMPTY_CONTEXT:
        node = draft.context_node(reference)
        if path in node.versions:
            return node.versions[path]
        reference = node.base
    return 0


def flatten(draft: Draft, reference: int) -> tuple[JsonObject, dict[str, int]]:
    """All variables and versions of a context; values stay references where they are."""
    chain = []
    while reference != EMPTY_CONTEXT:
        node = draft.context_node(reference)
        chain.append(node)
        reference = node.base
    variables: JsonObject = {}
    versions: dict[str, int] = {}
    for node in reversed(chain):
        variables.update(node.variables)
        versions.update(node.versions)
    return variables, versions


def merge(draft: Draft, references: Iterable[int]) -> tuple[int, ContextNode | None]:
    """One context out of several, oldest first: a reference if they are all the same, else the new node to store."""
    distinct = list(dict.fromkeys(references))
    distinct = [reference for reference in distinct if reference != EMPTY_CONTEXT] or distinct[:1]
    if not distinct:
        return EMPTY_CONTEXT, None
    base = distinct[-1]
    if len(distinct) == 1:
        return base, None
    _require_chains(draft, distinct)
    before, before_versions = flatten(draft, base)
    variables, versions = dict(before), dict(before_versions)
    for reference in distinct[:-1]:
        right, right_versions = flatten(draft, reference)
        variables = _merge_variables(draft, variables, versions, right, right_versions)
        for path, count in right_versions.items():
            versions[path] = max(versions.get(path, 0), count)
    changed = {name: value for name, value in variables.items() if name not in before or before[name] is not value}
    changed_versions = {path: count for path, count in versions.items() if before_versions.get(path) != count}
    return base, ContextNode(base, changed, changed_versions)


def _require_chains(draft: Draft, references: Iterable[int]) -> None:
    """Ask at once for all records that reading these contexts takes, level by level. Raises MissingData."""
    level = sorted(set(references))
    while level:
        missing: list[Need] = []
        for reference in level:
            try:
                draft.context_node(reference)
            except MissingData as lack:
                missing += lack.needs
        if missing:
            raise MissingData(*missing)
        level = sorted({draft.context_node(reference).base for reference in level} - {EMPTY_CONTEXT})


def is_same(one: Json, other: Json) -> bool:
    """Whether two values are the same JSON. Unlike ``==`` it tells 1 from true and from 1.0.

    Identity would not do: a process that has read its records sees two objects where one that remembers sees the same.
    """
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(is_same(value, other[key]) for key, value in one.items())
    if isinstance(one, list):
        return len(one) == len(other) and all(map(is_same, one, other))
    return bool(one == other)


def _merge_variables(
    draft: Draft,
    left: JsonObject,
    left_versions: Mapping[str, int],
    right: Mapping[str, Json],
    right_versions: Mapping[str, int],
    *,
    prefix: str = "",
) -> JsonObject:
    merged = left
    for key, value in right.items():
        if not prefix and key in _INTERNAL:
            continue
        if key not in merged:
            merged = {**merged, key: value} if merged is left else _with(merged, key, value)
            continue
        mine = merged[key]
        if is_same(mine, value):
            continue
        path = f"{prefix}.{key}" if prefix else str(key)
        winner = _merge_values(draft, mine, left_versions, value, right_versions, path=path)
        if winner is not mine:
            merged = {**merged, key: winner} if merged is left else _with(merged, key, winner)
    return merged


def _with(data: JsonObject, key: str, value: Json) -> JsonObject:
    data[key] = value
    return data


def _merge_values(
    draft: Draft,
    mine: Json,
    left_versions: Mapping[str, int],
    value: Json,
    right_versions: Mapping[str, int],
    *,
    path: str,
) -> Json:
    mine_data = draft.resolve(mine) if isinstance(mine, (PayloadRef, ValueRef)) else mine
    value_data = draft.resolve(value) if isinstance(value, (PayloadRef, ValueRef)) else value
    if isinstance(mine_data, dict) and isinstance(value_data, dict):
        merged = _merge_variables(draft, mine_data, left_versions, value_data, right_versions, prefix=path)
        return mine if merged is mine_data else merged
    return value if right_versions.get(path, 0) > left_versions.get(path, 0) else mine


def final_context(draft: Draft) -> JsonObject:
    """What the end tasks leave behind, merged; values resolved. The workflow's output is made of it."""
    reference, node = merge(draft, draft.ends.values())
    variables, _ = flatten(draft, reference)
    if node is not None:
        variables.update(node.variables)
    return {name: draft.resolve(value) for name, value in variables.items()}


def deep_merge(left: JsonObject, right: Mapping[str, Json], *, overwrite: bool = True) -> JsonObject:
    """A new object: ``right`` merged into ``left``, objects member by member.

    Without ``overwrite``, ``left`` keeps what it has.
    """
    merged = dict(left)
    for key, value in right.items():
        mine = merged.get(key)
        if key not in merged:
            merged[key] = value
        elif isinstance(mine, dict) and isinstance(value, dict):
            merged[key] = deep_merge(mine, value, overwrite=overwrite)
        elif overwrite:
            merged[key] = value
    return merged
