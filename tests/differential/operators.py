"""What an operator does to a random execution: pause and resume, cancel, stop, run a task again, skip it."""

from __future__ import annotations

import json
from typing import Any

from tests.differential.cases import Case
from tests.differential.draw import Draw
from tests.differential.shapes import Graph, Node


def operate(draw: Draw, case: Case, graph: Graph, tasks: dict[str, Any]) -> None:
    """Add steps to a share of the cases; a task may be changed for it."""
    if not draw.chance(0.3):
        return
    failing = [node for node in graph.nodes if node.fails and node.reached and not node.runs_twice]
    alone = [node for node in graph.nodes if node.reached and graph.alone(node) and node.join is None]
    if failing and draw.chance(0.5):
        _repeat(draw, case, tasks, draw.pick(failing))
    elif alone:
        _hold(draw, case, tasks, draw.pick(alone))
    if draw.chance(0.3):
        _afterwards(draw, case)


def _repeat(draw: Draw, case: Case, tasks: dict[str, Any], node: Node) -> None:
    """Run a failed task again, or skip it."""
    task = tasks[node.name]
    if draw.chance(0.5) and not node.impossible and "timeout" not in task and "retry" not in task:
        for key in ("action", "workflow", "input", "with-items", "fail-on", "concurrency"):
            task.pop(key, None)
        task["action"] = "std.async_noop"
        case.answers[node.name] = [{"state": "ERROR", "output": {"no": 1}}, {"state": "SUCCESS", "output": {"no": 2}}]
    body: dict[str, Any] = {"state": "RUNNING", "reset": draw.chance(0.7) or "with-items" not in task}
    if draw.chance(0.3):
        body = {"state": "SKIPPED"}
        if draw.chance(0.5):
            task["publish-on-skip"] = {"skipped": "yes"}
        if draw.chance(0.5):
            task["on-skip"] = draw.pick(["noop", ["noop"], [{"noop": "<% false %>"}]])
    elif draw.chance(0.2):
        body["env"] = json.dumps({"e_new": 1})
    elif draw.chance(0.1):
        del body["reset"]
    case.steps += [{"end": True}, {"task": node.name, "body": body}]
    case.about += " repeat"


def _hold(draw: Draw, case: Case, tasks: dict[str, Any], node: Node) -> None:
    """Let a task wait for its answer, and do something to the execution meanwhile."""
    task = tasks[node.name]
    for key in (
        "action",
        "workflow",
        "input",
        "with-items",
        "timeout",
        "retry",
        "concurrency",
        "wait-before",
        "pause-before",
    ):
        task.pop(key, None)
    task["action"] = "std.async_noop"
    way = draw.pick(["pause", "CANCELLED", "ERROR", "SUCCESS", "cancel action", "pause action"])
    case.about += f" {way}"
    answer = {"state": "ERROR" if node.fails else "SUCCESS", "output": {"held": True}}
    case.answers[node.name] = [answer]
    hold = {"quiet": [node.name]}
    if way == "pause":
        case.steps += [hold, {"execution": {"state": "PAUSED"}}, {"quiet": []}, {"execution": {"state": "RUNNING"}}]
        if draw.chance(0.3):
            case.steps[-1] = {"execution": {"state": "CANCELLED", "state_info": "while paused"}}
        elif draw.chance(0.3):
            case.steps[-1]["execution"]["params"] = json.dumps({"env": {"e_new": 2}})
    elif way == "cancel action":
        case.answers[node.name] = [{"state": "CANCELLED", "output": {"unheard": 1}}]
    elif way == "pause action":
        case.answers[node.name] = [{"state": "PAUSED"}, {"state": "RUNNING"}, answer]
    else:
        case.answers[node.name] = []
        body: dict[str, Any] = {"state": way}
        if draw.chance(0.6):
            body["state_info"] = "an operator says so"
        case.steps += [hold, {"execution": body}]


def _afterwards(draw: Draw, case: Case) -> None:
    """Requests to an execution that has ended."""
    bodies: list[dict[str, Any]] = [
        {"state": "RUNNING"},
        {"state": "PAUSED"},
        {"state": "CANCELLED"},
        {"state": "ERROR", "state_info": "late"},
        {"state": "SUCCESS"},
        {"state": "DELAYED"},
        {"description": "described"},
        {"description": "both", "state": "RUNNING"},
        {"params": json.dumps({"env": {"e": 1}})},
        {},
    ]
    case.steps += [{"end": True}, {"execution": draw.pick(bodies)}]
