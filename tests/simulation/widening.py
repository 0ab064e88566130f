"""What the rest of the language adds to a random workflow, without changing how it ends; and what a document uses."""

from __future__ import annotations

import re
from collections import Counter
from random import Random
from typing import Any

Body = dict[str, Any]

# Every feature that the random workflows have to use.
_NAMES = """
    action, workflow, with-items, concurrency, join:all, join:one, join:number, on-success, on-error, on-complete,
    on-skip, publish, publish-on-error, publish:branch, publish:global, publish-on-skip, retry, retry:break-on,
    retry:continue-on, retry:attempt-timeout, wait-before, wait-after, timeout, pause-before, fail-on,
    keep-result, safe-rerun, requires, type:reverse, vars, input, output, output-on-error, task-defaults,
    workflow:timeout, command:fail, command:succeed, command:pause, condition, circle, yaql, jinja,
    with-items:two, with-items:none, concurrency:expression, tags, description, no-op
"""
FEATURES = frozenset(name.strip() for name in _NAMES.split(","))


def widen(document: Body, random: Random) -> None:
    """Add to the workflows of a document what its author leaves out."""
    for name, body in document.items():
        if name == "version":
            continue
        if random.random() < 0.5:
            body["vars"] = {"started": "<% execution().id = null %>", "limit": "{{ 1 + 1 }}"}
        if random.random() < 0.4:
            body["input"] = [{"level": 3}]
        if random.random() < 0.4:
            body["output"] = {"limit": "{{ _.get('limit') }}", "level": "<% $.get(level) %>"}
        if random.random() < 0.3:
            body["task-defaults"] = {"safe-rerun": True} if body.get("type") == "reverse" else {"on-error": ["noop"]}
        if random.random() < 0.3:
            body["tags"], body["description"] = ["wide"], "a workflow of the simulation"
        for task in body["tasks"].values():
            _widen_task(task, random, is_direct=body.get("type") != "reverse")


def _widen_task(task: Body, random: Random, *, is_direct: bool) -> None:
    if isinstance(task.get("concurrency"), int) and random.random() < 0.3:
        task["concurrency"] = f"<% {task['concurrency']} %>"
    if "with-items" in task and random.random() < 0.3:
        task["with-items"] = [task["with-items"], task["with-items"].replace("i in", "other in", 1)]
    if "retry" in task and random.random() < 0.4:
        key = random.choice(["break-on", "continue-on"])
        task["retry"][key] = "<% false %>"
    if random.random() < 0.15:
        task["tags"], task["description"] = ["one", "two"], "a task of the simulation"
    if not is_direct:
        return
    if random.random() < 0.2:
        task["on-skip"], task["publish-on-skip"] = ["noop"], {"skipped": True}
    listed = task.get("on-success")
    if isinstance(listed, list) and random.random() < 0.4:
        shared = {"branch": {"went": "on"}, "global": {"seen": True}}
        task["on-success"] = {"publish": shared, "next": listed}


def features_of(document: Body) -> Counter[str]:
    """What a document uses, and how often."""
    found: Counter[str] = Counter()
    for name, body in document.get("workflows", document).items():
        if name in ("version", "name", "actions"):
            continue
        found.update(key for key in body if key != "tasks" and key not in ("type", "timeout"))
        found["type:reverse"] += body.get("type") == "reverse"
        found["workflow:timeout"] += "timeout" in body
        for task_name, task in body["tasks"].items():
            found.update(_features_of_task(task_name, task))
        text = str(body)
        found.update({"yaql": "<%" in text, "jinja": "{{" in text, "no-op": "std.noop" in text})
    return +found


def _features_of_task(name: str, task: Body) -> Counter[str]:
    found = Counter(key for key in task if key not in ("join", "input"))
    if "join" in task:
        found[f"join:{task['join'] if task['join'] in ('all', 'one') else 'number'}"] += 1
    found.update(f"retry:{key}" for key in task.get("retry", {}))
    items = task.get("with-items")
    found["with-items:two"] += isinstance(items, list)
    found["with-items:none"] += "range(0)" in str(items)
    found["concurrency:expression"] += isinstance(task.get("concurrency"), str)
    for clause in ("on-success", "on-error", "on-complete"):
        listed = task.get(clause, [])
        if isinstance(listed, dict):
            found.update(f"publish:{scope}" for scope in listed["publish"])
            listed = listed["next"]
        for link in [listed] if isinstance(listed, str) else listed:
            target = next(iter(link)) if isinstance(link, dict) else link
            found["condition"] += isinstance(link, dict)
            found["circle"] += target == name
            command = re.split(r"[ (]", target)[0]
            found[f"command:{command}"] += command in ("fail", "succeed", "pause")
    return found
