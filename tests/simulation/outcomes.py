"""What an execution came to, told so that two runs of a workflow can be compared: without ids, times and order."""

import json
import re
from collections import Counter
from typing import Any

from chalicelib.engine.records import WorkflowExecution
from tests.simulation.world import World

_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
_INDEX = re.compile(r", idx=\d+")
_FAILED_BY = re.compile(r"Failed by tasks: \[.*")


def outcome(world: World) -> dict[str, Any]:
    """By path of execution: state, output, global variables, and how many tasks ended in which way."""
    return {world.watcher.execution_path(header.id): _told(world, header) for header in world.headers()}


def _told(world: World, header: WorkflowExecution) -> dict[str, Any]:
    variables = world.store.value(header.id, header.variables) or {}
    tasks: Counter[str] = Counter()
    for task in world.store.tasks(header):
        published = world.store.value(header.id, task.published)
        results = sorted(
            _plain([str(action.state), world.store.value(header.id, action.result.value) if action.result else None])
            for action in world.store.actions(header, task)
            if action.accepted
        )
        said = [task.name, str(task.state), _words(task.state_info), published, results]
        tasks[_plain(said)] += 1
    return {
        "state": str(header.state),
        "state_info": _words(header.state_info),
        "output": _plain(world.store.value(header.id, header.output)),
        "variables": _plain({name: value for name, value in variables.items() if name != "__execution"}),
        "tasks": dict(tasks),
    }


def _plain(value: Any) -> str:
    return json.dumps(_calm(value), sort_keys=True, default=str)


def _calm(value: Any) -> Any:
    """A value without ids; of a report on several failures, the lines in an order of their own."""
    if isinstance(value, dict):
        return {key: _calm(member) for key, member in value.items()}
    if isinstance(value, list):
        return [_calm(member) for member in value]
    return _words(value) if isinstance(value, str) else value


def _words(text: str | None) -> str | None:
    if text is None:
        return None
    text = _FAILED_BY.sub("Failed by tasks", _ID.sub("<id>", text))
    return "\n".join(sorted(set(_INDEX.sub("", text).split("\n")))) if "Failure caused by" in text else text
