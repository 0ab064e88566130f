"""A random case from a seed."""

from __future__ import annotations

from typing import Any

from tests.differential import library, mutations, operators
from tests.differential.bodies import Library
from tests.differential.cases import Case
from tests.differential.draw import Draw, as_yaml
from tests.differential.expressions import FAILING, Known, expression, value
from tests.differential.shapes import Graph, make_graph
from tests.differential.tasks import TaskMaker

_INPUTS: tuple[tuple[str, Any, str], ...] = (
    ("in_int", 3, "int"),
    ("in_str", "abc", "str"),
    ("in_list", [1, 2, 3], "list"),
    ("in_dict", {"a": 1, "b": "x"}, "dict"),
    ("in_bool", True, "bool"),
)


def make_case(seed: int, *, quick: bool = False) -> Case:
    """The case of a seed. A quick one has nothing that waits."""
    draw = Draw(seed)
    case = Case(seed, "")
    prefix = f"x{seed}_"
    book = f"{prefix}book" if draw.chance(0.15) else None
    made = library.make(draw, prefix, patient=not quick)
    if draw.chance(0.12):
        case.about = "reverse"
        body, params = library.reverse_main(draw, made.names, case)
        given: dict[str, Any] = {"i": draw.number(0, 5)}
    else:
        case.about = "direct"
        body, given, params = _direct(draw, made.names, case, patient=not quick)
    case.answers |= made.answers
    _environment(draw, case, params, prefix)
    name = f"{prefix}main"
    _file(case, book, name, body, made)
    case.start = {"workflow_name": f"{book}.{name}" if book else name, "input": given, "params": params}
    if draw.chance(0.06):
        mutations.mutate(draw, case)
    return case


def _file(case: Case, book: str | None, name: str, body: dict[str, Any], made: library.Made) -> None:
    """Put the definitions into a workbook, or each kind into its document; only what is called."""
    library.prune(made, as_yaml(body))
    workflows = {**made.workflows, name: body}
    if book:
        document: dict[str, Any] = {"version": "2.0", "name": book, "workflows": workflows}
        if made.actions:
            document["actions"] = made.actions
        case.workbooks.append(as_yaml(document))
        return
    if made.actions:
        case.actions.append(as_yaml({"version": "2.0", **made.actions}))
    case.workflows.append(as_yaml({"version": "2.0", **workflows}))


def _direct(
    draw: Draw, names: Library, case: Case, *, patient: bool
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    body: dict[str, Any] = {}
    known: Known = {}
    given = _inputs(draw, body, known)
    if draw.chance(0.3):
        variables = {}
        for index in range(draw.number(1, 3)):
            made, kind = value(draw, known)
            variables[f"var{index}"] = made
            known[f"var{index}"] = kind
        body["vars"] = variables
        if draw.chance(0.04):
            body["vars"]["bad"] = draw.pick(FAILING)
    graph = make_graph(draw)
    maker = TaskMaker(draw, graph, known, names, patient=patient)
    tasks = maker.make()
    case.answers |= maker.answers
    case.real_time |= maker.real_time
    defaults = _defaults(draw, tasks, patient=patient)
    if defaults:
        body["task-defaults"] = defaults
    _outputs(draw, body, graph, maker)
    operators.operate(draw, case, graph, tasks)
    body["tasks"] = tasks
    return body, given, {}


def _inputs(draw: Draw, body: dict[str, Any], known: Known) -> dict[str, Any]:
    declared: list[Any] = []
    given: dict[str, Any] = {}
    for name, example, kind in _INPUTS:
        if not draw.chance(0.6):
            continue
        known[name] = kind
        if draw.chance(0.4):
            declared.append({name: example})
            if draw.chance(0.5):
                continue
        else:
            declared.append(name)
        given[name] = example
    if draw.chance(0.05):
        declared.append({"in_text": "<% 1 + 1 %>"})
    if declared:
        body["input"] = declared
    if given and draw.chance(0.03):
        given.pop(next(iter(given)))
    if draw.chance(0.03):
        given["unexpected"] = 1
    return given


def _defaults(draw: Draw, tasks: dict[str, Any], *, patient: bool) -> dict[str, Any]:
    if not draw.chance(0.15):
        return {}
    options: dict[str, Any] = {
        "wait-before": 1 if patient else 0,
        "wait-after": 0,
        "timeout": 60,
        "concurrency": 2,
        "fail-on": "<% false %>",
        "safe-rerun": True,
        "on-error": ["noop"],
        "on-success": [{"noop": "<% false %>"}],
        "on-complete": {"publish": {"branch": {"ignored": 1}}, "next": ["noop"]},
    }
    if not any(task.get("action") == "std.async_noop" and "timeout" in task for task in tasks.values()):
        options["retry"] = {"count": 1, "delay": 0}
    return {name: options[name] for name in draw.some(sorted(options), draw.number(1, 2))}


def _outputs(draw: Draw, body: dict[str, Any], graph: Graph, maker: TaskMaker) -> None:
    known: Known = {}
    for node in graph.nodes:
        if node.reached:
            known |= maker.known_after[node.name]
    if draw.chance(0.5):
        output = {f"o{index}": value(draw, known)[0] for index in range(draw.number(1, 3))}
        output["o_expr"] = expression(draw, known)[0]
        if draw.chance(0.05):
            output["bad"] = draw.pick(FAILING)
        body["output"] = output
    if draw.chance(0.25):
        body["output-on-error"] = {
            "why": value(draw, {})[0],
            "known": draw.pick(["<% $.get(in_int) %>", "<% $.get(v_t1) %>", 1]),
        }
        if draw.chance(0.08):
            body["output-on-error"]["bad"] = draw.pick(FAILING)


def _environment(draw: Draw, case: Case, params: dict[str, Any], prefix: str) -> None:
    if not draw.chance(0.25):
        return
    env: dict[str, Any] = {
        "e_int": 5,
        "e_str": "text",
        "e_expr": draw.pick(["<% 1 + 1 %>", "<% env().e_int %>", "{{ 3 }}"]),
    }
    if draw.chance(0.4):
        env["__actions"] = {"std.echo": {"output": "<% env().e_str %>"}, "std.noop": {}}
    if draw.chance(0.25):
        case.environments.append({"name": f"{prefix}env", "variables": env})
        params["env"] = draw.pick([f"{prefix}env", f"{prefix}env", f"{prefix}env", f"{prefix}absent"])
    else:
        params["env"] = env
    if draw.chance(0.3):
        params["evaluate_env"] = draw.pick([True, False])
