"""What the tasks of a random workflow do: their actions, and how they come to the planned end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.differential.draw import Draw
from tests.differential.expressions import FAILING, Known, expression, guard, value

Body = dict[str, Any]


@dataclass(slots=True)
class Library:
    """What tasks may call: names of ad-hoc actions and sub-workflows, as written in a task."""

    echoing: list[str] = field(default_factory=list)
    failing: list[str] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    children: list[str] = field(default_factory=list)
    failing_children: list[str] = field(default_factory=list)
    # Succeeds for an ``i`` below 3, fails otherwise.
    choosy_children: list[str] = field(default_factory=list)
    reverse_children: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Site:
    """Where a task stands while it is made."""

    draw: Draw
    name: str
    known: Known
    library: Library
    alone: bool
    answers: dict[str, list[dict[str, Any]]]
    # A case that has to be quick leaves out what waits.
    patient: bool = True
    real_time: bool = False


def succeeding(site: Site) -> Body:
    """A task that ends with SUCCESS."""
    ways: dict[Callable[[Site], Body], float] = {
        _echo: 10,
        _nothing: 3,
        _test_dict: 1,
        _items: 4,
        _answered: 1.5 if site.patient else 0,
        _sleep: 0.4 if site.patient else 0,
        _ad_hoc: 4 if site.library.echoing else 0,
        _child: 4 if site.library.children else 0,
        _reverse_child: 1.5 if site.library.reverse_children else 0,
        _child_items: 2 if site.library.children else 0,
    }
    return site.draw.weighted(ways)(site)


def failing(site: Site) -> Body:
    """A task that ends with ERROR, in a way that ``on-error`` may handle."""
    ways: dict[Callable[[Site], Body], float] = {
        _fail: 6,
        _fail_on: 3,
        _failing_items: 2,
        _refused_answer: 1.5 if site.patient else 0,
        _timed_out: 1 if site.patient else 0,
        _unknown_child: 0.7,
        _ad_hoc_failure: 3 if site.library.failing else 0,
        _failing_child: 4 if site.library.failing_children else 0,
        _choosy_items: 3 if site.library.choosy_children else 0,
        _child_without_input: 1 if site.library.choosy_children else 0,
    }
    return site.draw.weighted(ways)(site)


def broken(site: Site) -> Body:
    """A task that fails the whole workflow, whatever its ``on-error`` says."""
    draw = site.draw
    bad = draw.pick(FAILING)
    return draw.pick(
        [
            {"action": "std.echo", "input": {"output": bad}},
            {"action": "std.echo output='<% 1 / 0 %>'"},
            {"action": "std.noop", "publish": {"broken": bad}},
            {"action": "std.noop", "on-success": [{"noop": bad}]},
            {"action": "std.no_such_action"},
            {"action": "std.echo"},
            {"action": "std.echo", "input": {"output": 1, "unexpected": 2}},
            {"action": "<% no_such_function() %>"},
            {"action": "std.<% 'echo' %>"},
            {"action": "std.noop", "with-items": f"i in {bad}"},
            {"action": "std.echo output=<% $.i %>", "with-items": ["i in [1, 2]", "j in [1, 2, 3]"]},
            {"action": "std.echo output=<% $.i %>", "with-items": "i in <% 5 %>"},
            {"action": "std.noop", "wait-before": draw.pick(["<% 'x' %>", "<% -1 %>", bad])},
            {"action": "std.noop", "pause-before": "<% 'yes' %>"},
            {"action": "std.noop", "fail-on": bad},
            {"action": "std.fail", "retry": {"count": 1, "delay": 0, "break-on": bad}},
            {"action": "std.fail", "retry": {"count": "<% '1' %>", "delay": 0}},
            {"action": "std.echo", "input": "<% [1] %>"},
            {"action": "std.noop", "timeout": "<% $.get(absent) %>"},
            {"action": "std.fail", "publish-on-error": {"broken": bad}},
            {"workflow": "<% no_such_function() %>"},
        ]
    )


def _echo(site: Site) -> Body:
    draw = site.draw
    if draw.chance(0.3):
        text, _ = expression(draw, site.known)
        inline = f"'{text}'" if "'" not in text else f'"{text}"' if '"' not in text else "1"
        return {"action": f"std.echo output={inline}"}
    body: Body = {"action": "std.echo", "input": {"output": value(draw, site.known)[0]}}
    if draw.chance(0.08):
        body = {
            "action": draw.pick(["<% 'std.echo' %>", "{{ 'std.echo' }}", "<% concat('std.', 'echo') %>"]),
            "input": body["input"],
        }
    elif draw.chance(0.06):
        body["input"] = draw.pick(["<% dict(output => 1) %>", "{{ {'output': 2} }}", "<% {output => $.get(absent)} %>"])
    return body


def _nothing(site: Site) -> Body:
    return site.draw.pick(
        [{"action": "std.noop"}, {"description": "does nothing"}, {"action": "std.noop", "tags": ["a"]}]
    )


def _test_dict(site: Site) -> Body:
    size = site.draw.pick([0, 2, 3])
    return {
        "action": "std.test_dict",
        "input": {"size": size, "key_prefix": "k", "val": value(site.draw, site.known)[0]},
    }


def _sleep(site: Site) -> Body:
    site.real_time = True
    return {"action": "std.sleep seconds=1"}


def _answered(site: Site) -> Body:
    output: Any = site.draw.pick([{"a": 1}, {"a": {"b": [1, None]}}, {}, None, []])
    site.answers[site.name] = [{"state": "SUCCESS", "output": output}]
    action = site.draw.pick(["std.async_noop", *site.library.waiting])
    body: Body = {"action": action}
    if site.draw.chance(0.3):
        body["with-items"] = "i in [1, 2]"
    return body


def _item_source(site: Site) -> tuple[str, str]:
    """What follows ``in``, and an expression over the item ``i``."""
    lists = [name for name, kind in site.known.items() if kind == "list"]
    sources = [
        "[1, 2, 3]",
        '["a", "b"]',
        "<% [1, 2] %>",
        "<% range(0, 3) %>",
        "{{ [4, 5] }}",
        "<% [] %>",
        '[{"x": 1}, null]',
    ]
    sources += ["<% dict(p => 1) %>", "<% 'ab' %>", '["<% 1 + 1 %>", 5]', "<% [[1, 2], [3]] %>"]
    sources += [f"<% $.{name} %>" for name in lists] + [f"{{{{ _.{name} }}}}" for name in lists]
    return site.draw.pick(sources), site.draw.pick(["<% $.i %>", "{{ _.i }}", "item <% $.i %>", "<% [$.i] %>"])


def _items(site: Site) -> Body:
    draw = site.draw
    source, text = _item_source(site)
    if draw.chance(0.25):
        both = draw.pick([("[1, 2]", "<% [3, 4] %>"), ('["a"]', "{{ ['b'] }}"), ("<% [] %>", "<% [] %>")])
        body: Body = {
            "action": "std.echo",
            "with-items": [f"i in {both[0]}", f"j in {both[1]}"],
            "input": {"output": draw.pick(["<% $.i %>-<% $.j %>", "<% [$.i, $.j] %>"])},
        }
    else:
        body = {"action": "std.echo", "with-items": f"i in {source}", "input": {"output": text}}
    if draw.chance(0.35):
        body["concurrency"] = draw.pick([1, 2, "<% 1 + 1 %>", 10])
    return body


def _ad_hoc(site: Site) -> Body:
    body: Body = {"action": site.draw.pick(site.library.echoing), "input": {"text": value(site.draw, site.known)[0]}}
    if site.draw.chance(0.4):
        body["input"]["mark"] = value(site.draw, site.known)[0]
    if site.draw.chance(0.2):
        body["with-items"] = "i in [1, 2]"
        body["input"]["text"] = "<% $.i %>"
    return body


def _called(site: Site, name: str) -> str:
    if site.draw.chance(0.75):
        return name
    return site.draw.pick([f"<% '{name}' %>", f"{{{{ '{name}' }}}}", f"<% concat('{name[:3]}', '{name[3:]}') %>"])


def _child(site: Site) -> Body:
    draw = site.draw
    body: Body = {"workflow": _called(site, draw.pick(site.library.children)), "input": {"i": draw.number(0, 5)}}
    if draw.chance(0.5):
        body["input"]["s"] = value(draw, site.known)[0]
    if draw.chance(0.15):
        body["input"]["undeclared"] = value(draw, site.known)[0]
    if draw.chance(0.1):
        body["input"]["env"] = {"e_int": 77, "e_str": "<% 1 + 1 %>"}
    return body


def _reverse_child(site: Site) -> Body:
    name = site.draw.pick(site.library.reverse_children)
    return {"workflow": name, "input": {"task_name": site.draw.pick(["r1", "r2", "r3"]), "i": site.draw.number(0, 3)}}


def _child_items(site: Site) -> Body:
    source = site.draw.pick(["[1, 2]", "<% range(0, 2) %>", "<% [] %>", "<% [2] %>"])
    body: Body = {
        "workflow": site.draw.pick(site.library.children),
        "with-items": f"i in {source}",
        "input": {"i": "<% $.i %>"},
    }
    if site.draw.chance(0.4):
        body["concurrency"] = 1
    return body


def _fail(site: Site) -> Body:
    if site.draw.chance(0.5):
        return {"action": "std.fail"}
    return {"action": "std.fail", "input": {"error_data": value(site.draw, site.known)[0]}}


def _fail_on(site: Site) -> Body:
    body = _echo(site) if site.draw.chance(0.7) else _items(site)
    return {
        **body,
        "fail-on": site.draw.pick([True, guard(site.draw, holds=True), "<% task().result = task().result %>"]),
    }


def _failing_items(site: Site) -> Body:
    way = site.draw.pick(["all", "last", "adhoc"])
    if way == "last":
        return {
            "action": "std.test_dict",
            "with-items": "i in " + site.draw.pick(['[1, 2, "x"]', '["x", 1]']),
            "input": {"size": "<% $.i %>"},
        }
    if way == "adhoc" and site.library.failing:
        return {
            "action": site.draw.pick(site.library.failing),
            "with-items": "i in [1, 2]",
            "input": {"text": "<% $.i %>"},
        }
    body = {"action": "std.fail", "with-items": "i in [1, 2]", "input": {"error_data": "<% $.i %>"}}
    return {**body, "concurrency": 1} if site.draw.chance(0.3) else body


def _refused_answer(site: Site) -> Body:
    answer: dict[str, Any] = {
        "state": "ERROR",
        "output": site.draw.pick([{"why": "no"}, {"why": ["not", 1]}, {}, None]),
    }
    if site.draw.chance(0.25):
        del answer["output"]
    site.answers[site.name] = [answer]
    return {"action": site.draw.pick(["std.async_noop", *site.library.waiting])}


def _timed_out(site: Site) -> Body:
    site.answers[site.name] = []
    return {"action": "std.async_noop", "timeout": site.draw.pick([1, "<% 1 %>"])}


def _unknown_child(site: Site) -> Body:
    return {"workflow": site.draw.pick(["no_such_workflow", "<% 'no_such_' + 'workflow' %>"])}


def _ad_hoc_failure(site: Site) -> Body:
    return {"action": site.draw.pick(site.library.failing), "input": {"text": value(site.draw, site.known)[0]}}


def _failing_child(site: Site) -> Body:
    return {
        "workflow": _called(site, site.draw.pick(site.library.failing_children)),
        "input": {"i": site.draw.number(0, 5)},
    }


def _choosy_items(site: Site) -> Body:
    body: Body = {
        "workflow": site.draw.pick(site.library.choosy_children),
        "with-items": "i in " + site.draw.pick(["[1, 5]", "[5, 1, 6]", "[4]"]),
        "input": {"i": "<% $.i %>"},
    }
    if site.draw.chance(0.4):
        body["concurrency"] = 1
    return body


def _child_without_input(site: Site) -> Body:
    body: Body = {"workflow": site.draw.pick(site.library.choosy_children)}
    return {**body, "input": {"other": 1}} if site.draw.chance(0.5) else body
