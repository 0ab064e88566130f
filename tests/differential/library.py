"""What random workflows call: ad-hoc actions, small sub-workflows; and reverse workflows, called or on their own."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from tests.differential.bodies import Library
from tests.differential.cases import Case
from tests.differential.draw import Draw, as_yaml
from tests.differential.expressions import FAILING, value

_CHILD_KNOWN = {"i": "int"}


@dataclass(slots=True)
class Made:
    """Definitions, and the names under which tasks call them."""

    actions: dict[str, Any] = field(default_factory=dict)
    workflows: dict[str, Any] = field(default_factory=dict)
    names: Library = field(default_factory=Library)
    answers: dict[str, list[dict[str, Any]]] = field(default_factory=dict)


def make(draw: Draw, prefix: str, *, patient: bool) -> Made:
    """Some definitions."""
    made = Made()
    if draw.chance(0.35):
        _actions(draw, made, prefix, patient=patient)
    if draw.chance(0.45):
        _children(draw, made, prefix, patient=patient)
    return made


def prune(made: Made, text: str) -> None:
    """Leave out what the text does not mention, nor anything that it mentions; a name may be put together of parts."""
    everything = {**made.actions, **made.workflows}
    wanted: set[str] = set()
    while found := {name for name in everything if name not in wanted and name[3:] in text}:
        wanted |= found
        text += as_yaml({name: everything[name] for name in found})
    made.actions = {name: body for name, body in made.actions.items() if name in wanted}
    made.workflows = {name: body for name, body in made.workflows.items() if name in wanted}


def _actions(draw: Draw, made: Made, prefix: str, *, patient: bool) -> None:
    echo: dict[str, Any] = {
        "base": "std.echo",
        "base-input": {
            "output": draw.pick(["<% $.text %> <% $.mark %>", "<% [$.text, $.mark] %>", {"deep": "{{ _.text }}"}])
        },
        "input": ["text", {"mark": draw.pick(["m", None, 1, ""])}],
    }
    if draw.chance(0.4):
        echo["output"] = draw.pick(
            ["<% $ %>", {"was": "<% $ %>"}, "it was <% $ %>", ["<% $ %>", 1], "{{ _ }}", "fixed"]
        )
    made.actions[f"{prefix}say"] = echo
    made.names.echoing.append(f"{prefix}say")
    if draw.chance(0.4):
        base = f"{prefix}say"
        made.actions[f"{prefix}say_twice"] = {
            "base": base,
            "base-input": {"text": "(<% $.text %>)", "mark": "<% $.mark %>"},
            "input": ["text", {"mark": "outer"}],
            "output": draw.pick(["<% $ %>", {"outer": "<% $ %>"}]),
        }
        made.names.echoing.append(f"{prefix}say_twice")
    if draw.chance(0.5):
        made.actions[f"{prefix}break"] = {
            "base": "std.fail",
            "base-input": {"error_data": draw.pick(["<% $.text %>", {"e": "<% $.text %>"}, "no <% $.text %>"])},
            "input": ["text"],
            "output": "<% $ %>",
        }
        if draw.chance(0.5):
            del made.actions[f"{prefix}break"]["output"]
        made.names.failing.append(f"{prefix}break")
    if patient and draw.chance(0.3):
        made.actions[f"{prefix}ask"] = {"base": "std.async_noop", "output": {"answer": "<% $ %>"}}
        made.names.waiting.append(f"{prefix}ask")


def _children(draw: Draw, made: Made, prefix: str, *, patient: bool) -> None:
    good = f"{prefix}child"
    made.workflows[good] = _child(draw, made, patient=patient)
    made.names.children.append(good)
    if draw.chance(0.4):
        outer = f"{prefix}outer"
        made.workflows[outer] = _outer(draw, good)
        made.names.children.append(outer)
    if draw.chance(0.6):
        bad = f"{prefix}bad_child"
        made.workflows[bad] = _bad_child(draw)
        made.names.failing_children.append(bad)
        if draw.chance(0.4):
            deep = f"{prefix}bad_outer"
            made.workflows[deep] = _outer(draw, bad)
            made.names.failing_children.append(deep)
    if draw.chance(0.5):
        choosy = f"{prefix}choosy"
        made.workflows[choosy] = {
            "input": ["i"],
            "output": {"i": "<% $.i %>"},
            "tasks": {
                "s1": {"on-success": [{"fail msg='<% $.i %> is too much'": "<% $.i >= 3 %>"}, "s2"]},
                "s2": {"action": "std.noop"},
            },
        }
        made.names.choosy_children.append(choosy)
    if draw.chance(0.3):
        made.workflows[f"{prefix}backwards"] = _reverse(draw)
        made.names.reverse_children.append(f"{prefix}backwards")


def _child(draw: Draw, made: Made, *, patient: bool) -> dict[str, Any]:
    first: dict[str, Any] = {
        "action": "std.echo output=<% $.i %>",
        "publish": {"x": "<% task().result %>", "y": value(draw, _CHILD_KNOWN)[0]},
    }
    tasks: dict[str, Any] = {"s1": first}
    if draw.chance(0.6):
        first[draw.pick(["on-success", "on-complete"])] = draw.pick(
            ["s2", ["s2"], [{"s2": "<% $.x < 2 %>"}], {"next": "s2"}]
        )
        tasks["s2"] = draw.pick(
            [
                {"action": "std.noop", "publish": {"z": "<% env() %>"}},
                {"action": "std.fail", "on-error": ["noop"]},
                {
                    "action": "std.echo",
                    "with-items": "k in [1, 2]",
                    "input": {"output": "<% $.k + $.i %>"},
                    "publish": {"z": "<% task().result %>"},
                },
                {"action": "std.echo output=1", "publish": {"z": "{{ execution().name|length > 0 }}"}},
            ]
        )
    if patient and draw.chance(0.15):
        tasks["s1"] = {**first, "action": "std.async_noop"}
        made.answers["s1"] = [{"state": "SUCCESS", "output": {"x": 1}}]
    child: dict[str, Any] = {"input": ["i", {"s": draw.pick(["default", None, 1])}], "tasks": tasks}
    if draw.chance(0.7):
        child["output"] = {"x": "<% $.x %>", "s": "<% $.s %>", "more": value(draw, _CHILD_KNOWN)[0]}
    if draw.chance(0.2):
        child["vars"] = {"w": value(draw, _CHILD_KNOWN)[0]}
    return child


def _outer(draw: Draw, inner: str) -> dict[str, Any]:
    call: dict[str, Any] = {"workflow": inner, "input": {"i": "<% $.i %>"}, "publish": {"inner": "<% task().result %>"}}
    if draw.chance(0.3):
        call |= {"with-items": "i in [1, 2]"}
    body: dict[str, Any] = {"input": ["i", {"s": "outer"}], "tasks": {"u1": call}}
    if draw.chance(0.5):
        body["tasks"]["u0"] = {"on-success": "u1"}
    if draw.chance(0.6):
        body["output"] = {"x": "<% $.get(inner) %>", "task": "<% task(u1).result %>"}
    if draw.chance(0.3):
        body["output-on-error"] = {"x": "<% $.get(inner) %>", "i": "<% $.i %>"}
    return body


def _bad_child(draw: Draw) -> dict[str, Any]:
    last: dict[str, Any] = draw.pick(
        [
            {"action": "std.fail"},
            {"action": "std.fail", "input": {"error_data": "bad <% $.i %>"}},
            {"on-success": "fail msg='child <% $.i %> says no'"},
            {"on-success": "fail"},
            {"action": "std.echo", "input": {"output": draw.pick(FAILING)}},
            {"action": "std.no_such_action"},
            {"action": "std.fail", "on-error": [{"noop": "<% false %>"}]},
            {"action": "std.noop", "publish": {"x": draw.pick(FAILING)}},
        ]
    )
    body: dict[str, Any] = {
        "input": ["i", {"s": 1}],
        "tasks": {"s1": {"publish": {"x": "<% $.i %>"}, "on-success": "s9"}, "s9": last},
    }
    if draw.chance(0.4):
        body["output-on-error"] = {"x": "<% $.x %>", "failed": True}
    if draw.chance(0.3):
        body["output"] = {"never": "<% $.x %>"}
    return body


def _reverse(draw: Draw, *, failing: float = 0.0) -> dict[str, Any]:
    """Dependencies in one line: two tasks never end at the same time before a third that needs both."""
    count = draw.number(3, 5)
    tasks: dict[str, Any] = {}
    for index in range(1, count + 1):
        task: dict[str, Any] = {
            "action": f"std.echo output='{index}'",
            "publish": {f"p{index}": value(draw, _CHILD_KNOWN)[0]},
        }
        before = [f"r{number}" for number in range(1, index)]
        if before and draw.chance(0.8):
            chosen = [before[-1]] if draw.chance(0.6) else draw.pick([before, before[-2:]])
            task["requires"] = chosen[0] if len(chosen) == 1 and draw.chance(0.5) else chosen
        if draw.chance(failing):
            task |= {"action": "std.fail", "publish-on-error": {f"e{index}": 1}}
        if draw.chance(0.1):
            task["retry"] = {"count": 1, "delay": 0}
        if draw.chance(0.1):
            task |= {"with-items": "k in [1, 2]", "action": "std.echo output=<% $.k %>"}
        tasks[f"r{index}"] = task
    _serialise(tasks)
    return {
        "type": "reverse",
        "input": ["i"],
        "tasks": tasks,
        "output": {"last": f"<% $.get(p{count}, none) %>", "i": "<% $.i %>"},
    }


def _serialise(tasks: dict[str, Any]) -> None:
    """Where a task requires several, let each of these require the one before it."""
    for task in list(tasks.values()):
        needed = task.get("requires", [])
        if isinstance(needed, list) and len(needed) > 1:
            for earlier, later in pairwise(needed):
                own = tasks[later].get("requires", [])
                own = [own] if isinstance(own, str) else own
                tasks[later]["requires"] = [*own, earlier] if earlier not in own else own


def reverse_main(draw: Draw, names: Library, case: Case) -> tuple[dict[str, Any], dict[str, Any]]:
    """A reverse workflow to start, and its parameters."""
    body = _reverse(draw, failing=0.12)
    if names.children and draw.chance(0.4):
        task = body["tasks"]["r2"]
        task.pop("with-items", None)
        task.pop("action", None)
        task |= {"workflow": draw.pick(names.children), "input": {"i": "<% $.i %>"}}
    if draw.chance(0.2):
        body["task-defaults"] = draw.pick([{"retry": {"count": 1, "delay": 0}}, {"timeout": 60}, {"wait-before": 0}])
    if draw.chance(0.3):
        del body["output"]
    target = draw.pick([*body["tasks"], list(body["tasks"])[-1], "r99" if draw.chance(0.2) else "r3"])
    params: dict[str, Any] = {"task_name": target}
    if draw.chance(0.03):
        params = {}
    return body, params
