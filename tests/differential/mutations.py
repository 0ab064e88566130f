"""Definitions with a fault: most must be refused, and those that are not must run alike."""

from __future__ import annotations

from typing import Any

import yaml

from tests.differential.cases import Case
from tests.differential.draw import Draw, as_yaml

_BAD_VALUES: dict[str, tuple[Any, ...]] = {
    "on-success": (
        [],
        {},
        "",
        5,
        {"next": []},
        {"publish": {"x": 1}},
        ["a b"],
        "no_such_task",
        [{"noop": True}],
        {"noop": "<% true %>"},
    ),
    "on-error": ("fail(msg='xy')", ["noop", "noop"], [{"noop": "text"}], {"other": 1}, ["<% $.x %>"]),
    "on-complete": (
        [{"noop": "<% true %>", "fail": "<% false %>"}],
        None,
        "fail msg=abc",
        {"next": {"noop": "<% true %>"}},
    ),
    "publish": ([], {}, "text", None, {"x": "<% $. %>"}, {"x": {"y": "<% $. %>"}}),
    "join": ("two", 0, 9, True, -1, "all"),
    "retry": ("count=1", {"count": 1}, {"count": "x", "delay": 0}, {"count": 1, "delay": 0, "more": 1}, 3),
    "timeout": ("5", -1, 1.5, 1.0, None, "<% 1"),
    "wait-before": ("x", [1], "{{ 1"),
    "with-items": ("x", [], "i in", "i in []", "i in [a]", "i in <% [1] %> and more", ["i in [1]", "i in [1]"], 5),
    "concurrency": ("1", -2),
    "fail-on": ("true", 1),
    "pause-before": ("yes", 0),
    "keep-result": ("false",),
    "input": ([], {}, 5, "", {"output": "{{ 1 +"}),
    "action": ("", 5, None, " std.noop", "std.noop output=<% 1"),
    "workflow": ("", "std.noop"),
    "requires": ("t1", ["t2", "t2"], []),
    "policies": ({"retry": {"count": 1, "delay": 1}},),
    "description": ("", 5),
    "tags": ("a", [], ["a", "a"]),
    "target": ("", 5),
    "no-such-key": (1,),
}
_BAD_WORKFLOW_VALUES: dict[str, tuple[Any, ...]] = {
    "type": ("sideways", 5, "reverse"),
    "input": ({}, "x", [], ["a", "a"], [{"a": 1, "b": 2}], [5], None),
    "output": ("<% $ %>", [], {}, {"x": "<% $. %>"}, None),
    "output-on-error": ("x", {}, {"x": "<% $. %>"}),
    "vars": ([], {}, {"x": "{{ 1 +"}, "x"),
    "task-defaults": (
        {"action": "std.noop"},
        {"join": "all"},
        {"publish": {"x": 1}},
        {"on-error": "absent"},
        {},
        {"retry": 5},
    ),
    "tasks": (
        {},
        [],
        None,
        {"t1": {}},
        {"t1": None},
        {"t1": {"on-success": "t1"}},
        {"version": {"action": "std.noop"}},
    ),
    "description": ("", None, 5),
    "tags": ("a,b", ["a", "a"]),
    "outputs": ({"x": 1},),
}


def mutate(draw: Draw, case: Case) -> None:
    """Spoil one place of the main workflow, or the document."""
    case.about += " mutated"
    texts = case.workbooks or case.workflows
    document = yaml.safe_load(texts[0])
    workflows = document["workflows"] if case.workbooks else document
    name = list(workflows)[-1]
    workflow = workflows[name]
    way = draw.weighted({"task": 6, "workflow": 3, "document": 1, "text": 1})
    if way == "task":
        key = draw.pick(sorted(_BAD_VALUES))
        workflow["tasks"][draw.pick(list(workflow["tasks"]))][key] = draw.pick(_BAD_VALUES[key])
    elif way == "workflow":
        key = draw.pick(sorted(_BAD_WORKFLOW_VALUES))
        workflow[key] = draw.pick(_BAD_WORKFLOW_VALUES[key])
    elif way == "document":
        document |= draw.pick(
            [{"version": "1.0"}, {"version": None}, {"version": True}, {"triggers": {}}, {"extra": 5}]
        )
    texts[0] = as_yaml(document)
    if way == "text":
        texts[0] = draw.pick(
            [
                texts[0][: len(texts[0]) // 2],
                "",
                "- a\n- b\n",
                texts[0] + "  bad: [",
                texts[0].replace(": ", ":", 3),
                "text",
            ]
        )
