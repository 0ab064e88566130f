"""What a definition says without effect: accepted by the language, and almost surely not meant.

Nothing here refuses anything. Each pitfall is a warning with its place and a way out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from chalicelib.errors import Fault
from chalicelib.lang import grammar
from chalicelib.lang.builder import named_bodies
from chalicelib.lang.faults import path_text
from chalicelib.lang.inline import has_expression, is_expression, leftovers, parse_command
from chalicelib.lang.loader import Document, Path, load
from chalicelib.lang.shapes import did_you_mean, shown
from chalicelib.vocabulary import Json, JsonObject

Warn = Callable[[Path, str], None]

_SWITCHED_OFF: Final = ("wait-before", "wait-after", "timeout", "pause-before", "concurrency", "fail-on")


def warnings(text: str) -> tuple[Fault, ...]:
    """Tell the silent pitfalls of a workflow list, action list or workbook that has been accepted.

    Raises DSLParsingException if the text cannot be read at all; whatever else is wrong with it is not looked at.
    """
    document = load(text)
    found: list[tuple[Path, str]] = []

    def warn(path: Path, message: str) -> None:
        found.append((path, message))

    for section in ((), ("workflows",), ("actions",)):
        bodies = document.data if not section else document.data.get(section[0])
        for name, body in named_bodies(bodies) if isinstance(bodies, dict) else ():
            if isinstance(body, dict) and isinstance(body.get("tasks"), dict):
                _look_at_workflow(body, (*section, name), warn)
            elif isinstance(body, dict) and isinstance(body.get("base"), str):
                _look_at_inline(body["base"], "base-input", (*section, name, "base"), warn)
    return tuple(_warning(document, path, message) for path, message in found)


def _warning(document: Document, path: Path, message: str) -> Fault:
    line, column = document.position(path) or (None, None)
    return Fault(message, path_text(path), line, column)


def _look_at_workflow(body: JsonObject, path: Path, warn: Warn) -> None:
    for key, value in body.items():
        if key not in grammar.WORKFLOW_KEYS:
            warn((*path, key), f"'{key}' is no key of a workflow and has no effect{did_you_mean(key, _WORKFLOW_KEYS)}")
        elif key == "timeout" and not _counts_as_timeout(value):
            warn((*path, key), f"{shown(value)} has no effect; a timeout is an expression or a positive integer")
        elif key == "description" and not (isinstance(value, str) and value):
            warn((*path, key), f"{shown(value)} has no effect; a description is text")
    defaults = body.get("task-defaults")
    if isinstance(defaults, dict):
        _look_at_clauses(defaults, (*path, "task-defaults"), warn)
        for event in grammar.EVENTS:
            if isinstance(defaults.get(event), dict) and "publish" in defaults[event]:
                warn((*path, "task-defaults", event, "publish"), "publish of a default on-clause has no effect")
    for name, task in body["tasks"].items():
        place = (*path, "tasks", name)
        if name == "version":
            warn(place, "a task named 'version' is left out; rename it")
        elif isinstance(task, dict):
            _look_at_task(task, defaults if isinstance(defaults, dict) else {}, place, warn)
    _look_for_lines(body, path, warn)


_WORKFLOW_KEYS: Final = tuple(key for key in grammar.WORKFLOW_KEYS if key not in ("name", "version"))


def _look_at_task(task: JsonObject, defaults: JsonObject, path: Path, warn: Warn) -> None:
    for key in ("action", "workflow", "retry"):
        if isinstance(task.get(key), str):
            _look_at_inline(task[key], "input" if key != "retry" else "a dictionary", (*path, key), warn)
    for key, effect in (("keep-result", "the result is kept"), ("safe-rerun", "it counts as true")):
        if is_expression(task.get(key)):
            warn((*path, key), f"an expression is never evaluated here: {effect}; write true or false")
    for key in _SWITCHED_OFF:
        if key in task and not task[key] and defaults.get(key):
            warn((*path, key), f"{shown(task[key])} does not switch off the default; write <% {shown(task[key])} %>")
    if "join" in task and not task["join"] and task["join"] is not False:
        warn((*path, "join"), "'join: 0' is no join; write 'join: all', or leave it out")
    _look_at_clauses(task, path, warn)


def _look_at_clauses(holder: JsonObject, path: Path, warn: Warn) -> None:
    for event in grammar.EVENTS:
        raw, place = holder.get(event), (*path, event)
        if isinstance(raw, dict):
            if raw and raw.keys().isdisjoint(("publish", "next")):
                target = next(iter(raw))
                warn(place, f"leads nowhere: a target with a guard must be in a list; write `- {target}: {{guard}}`")
            if isinstance(raw.get("publish"), dict) and "atomic" in raw["publish"]:
                warn((*place, "publish", "atomic"), "atomic publish has no effect; use branch or global")
            raw, place = raw.get("next"), (*place, "next")
            if isinstance(raw, dict):
                warn(place, "the guard is not looked at: the target with its guard must be in a list")
        for item in raw if isinstance(raw, list) else [raw]:
            target = next(iter(item)) if isinstance(item, dict) and item else item
            if isinstance(target, str):
                _look_at_target(target, place, warn)


def _look_at_target(target: str, path: Path, warn: Warn) -> None:
    _look_at_inline(target, "quotes around the value", path, warn)
    if " " in target and target[0] != " ":
        name, parameters = parse_command(target)
        if parameters and name not in grammar.ENGINE_COMMANDS:
            warn(path, f"parameters of the task '{name}' in a transition have no effect; write them in its 'input'")


def _look_at_inline(text: str, remedy: str, path: Path, warn: Warn) -> None:
    for piece in leftovers(text):
        warn(path, f"'{piece}' is not read as it is written: it is left out, or cut short; use {remedy}")


def _look_for_lines(value: Json, path: Path, warn: Warn) -> None:
    """Find expressions with a line break inside: they are plain text."""
    if isinstance(value, dict):
        for key, item in value.items():
            _look_for_lines(item, (*path, key), warn)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _look_for_lines(item, (*path, index), warn)
    elif isinstance(value, str) and "\n" in value and has_expression(value) and _is_broken(value):
        warn(path, "an expression with a line break inside is plain text; write it in one line, or fold it with '>-'")


def _is_broken(text: str) -> bool:
    """Whether an expression's delimiters are on different lines."""
    return any(
        line.count(opening) > line.count(closing)
        for line in text.splitlines()
        for opening, closing in (("<%", "%>"), ("{{", "}}"))
    ) and any(closing in text for closing in ("%>", "}}"))


def _counts_as_timeout(value: Json) -> bool:
    return is_expression(value) or (isinstance(value, int) and not isinstance(value, bool) and value > 0)
