"""Makes answers of servers comparable: ids and times are masked, texts around server internals become a class."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?Z?")
_ADDRESS = re.compile(r"0x[0-9a-f]{8,}")
_FAILED_TASKS = re.compile(r"(Failure caused by error in tasks|Cancelled tasks): ([^\n]*)")

# What a text contains, and what then remains of it. The first that fits counts.
_CLASSES = (
    ("Failed to evaluate expression in output-on-error", "<failed output-on-error>"),
    ("Can not evaluate YAQL", "<yaql error>"),
    ("YaqlEvaluationException", "<yaql error>"),
    ("Can not evaluate Jinja", "<jinja error>"),
    ("JinjaEvaluationException", "<jinja error>"),
    ("Failed by tasks: ", "<failed by tasks>"),
    ("Failed to run task", "<failed to run task>"),
    ("Failed to handle action completion", "<failed to handle completion>"),
    ("Failed to complete task", "<failed to complete task>"),
    ("Failed to run action", "<action failed>"),
    ("The action raised an exception", "<action failed>"),
    ("Failed to check and complete", "<failed to complete>"),
    ("Failed to find workflow", "<no workflow>"),
    ("Workflow not found", "<no workflow>"),
    ("Invalid input", "<invalid input>"),
    ("Failed to instantiate an action", "<action not instantiated>"),
)


def text(value: str) -> str:
    """A text without what differs between any two runs."""
    failed = _FAILED_TASKS.search(value)
    if failed:
        names = sorted(name.strip() for name in failed.group(2).split(","))
        return f"<{failed.group(1)}: {', '.join(names)}>"
    for needle, label in _CLASSES:
        if needle in value:
            return label
    return _ADDRESS.sub("<address>", _TIME.sub("<time>", _UUID.sub("<id>", value)))


def plain(value: Any) -> Any:
    """A JSON value, normalised in depth."""
    if isinstance(value, str):
        return text(value)
    if isinstance(value, list):
        return [plain(element) for element in value]
    if isinstance(value, dict):
        return {text(key): plain(element) for key, element in value.items()}
    return value


def json_text(value: Any) -> Any:
    """A field of a resource that holds JSON as text."""
    if not isinstance(value, str):
        return plain(value)
    try:
        return plain(json.loads(value))
    except ValueError:
        return text(value)


def canonical(value: Any) -> str:
    """Equal for equal values only; what unordered things are sorted by."""
    return json.dumps(value, sort_keys=True)


def differences(ours: Any, theirs: Any, path: str = "") -> Iterator[str]:
    """Every place where two answers differ, as ``path: ours | theirs``."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in sorted({*ours, *theirs}):
            if key not in ours or key not in theirs:
                yield f"{path}.{key}: {_short(ours.get(key, '(absent)'))} | {_short(theirs.get(key, '(absent)'))}"
            else:
                yield from differences(ours[key], theirs[key], f"{path}.{key}")
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for index, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            yield from differences(one, other, f"{path}[{index}]")
    elif canonical(ours) != canonical(theirs):
        yield f"{path}: {_short(ours)} | {_short(theirs)}"


def _short(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)[:300]
