"""Contexts as chains of small nodes: shared, never changed, read in few steps."""

from chalicelib.engine.codec import pack_context
from chalicelib.engine.contexts import deep_merge, leaf_paths
from chalicelib.engine.draft import Draft, Loaded
from chalicelib.engine.needs import NeedAllTasks
from chalicelib.engine.scope import ContextLayer, Lazy, Scope
from tests.builders import run


def chain(length, name):
    tasks = "".join(
        f"    t{n}: {{action: std.noop, publish: {{{name(n)}: {n}}}, on-success: t{n + 1}}}\n" for n in range(length)
    )
    return run(f"w:\n  tasks:\n{tasks}    t{length}: {{action: std.noop, publish: {{last: <% $.v0 %>}}}}\n")


def nodes_of(execution):
    """The context that each task of a chain hands on."""
    return [task.context for task in execution.all_tasks() if task.context is not None]


def depth_from(draft, reference):
    steps = 0
    while reference:
        reference = draft.context_node(reference).base
        steps += 1
    return steps


def test_a_thousand_publishing_tasks_stay_shallow_and_small():
    execution = chain(1000, "v{}".format)
    nodes = nodes_of(execution)
    assert len(nodes) == 1001
    assert execution.published("t1000") == {"last": 0}
    draft = Draft(execution.header, Loaded())
    execution.stored.load(draft.loaded, [NeedAllTasks()])
    depths = [depth_from(draft, 2 * task.ordinal + 1) for task in execution.all_tasks()]
    assert max(depths) <= 13
    written = sum(len(node.variables) for node in nodes)
    assert written <= 1001 * 12
    assert max(len(pack_context(node)) for node in nodes) <= 4096


def test_publishing_the_same_variable_again_and_again_keeps_one_node():
    execution = chain(100, lambda n: "v0")
    assert {len(node.variables) for node in nodes_of(execution)} <= {1, 2}
    assert execution.task("t99").context.versions == {"v0": 100}


def test_a_task_that_publishes_nothing_shares_the_context_it_received():
    execution = run(
        "w: {tasks: {a: {action: std.noop, publish: {x: 1}, on-success: b}, b: {on-success: c}, c: {action: std.noop}}}"
    )
    assert execution.task("b").context is None
    assert execution.task("c").in_context == execution.task("b").in_context == 3


def test_a_wide_context_is_not_copied_by_a_small_publication():
    names = ", ".join(f"v{n}: {n}" for n in range(400))
    execution = run(
        f"""
w:
  tasks:
    a: {{action: std.noop, publish: {{{names}}}, on-success: b}}
    b: {{action: std.noop, publish: {{x: 1}}}}
"""
    )
    assert dict(execution.task("b").context.variables) == {"x": 1}
    assert execution.output["v399"] == 399


def test_the_paths_of_leaves_are_dotted_and_lists_are_leaves():
    assert list(leaf_paths({"a": {"b": 1, "c": {}}, "d": [1], "e": {"f": {"g": None}}})) == ["a.b", "d", "e.f.g"]


def test_deep_merge_leaves_its_arguments_alone():
    left, right = {"a": {"x": 1}, "b": 1}, {"a": {"y": 2}, "b": {"z": 1}, "c": 3}
    assert deep_merge(left, right) == {"a": {"x": 1, "y": 2}, "b": {"z": 1}, "c": 3}
    assert deep_merge(left, right, overwrite=False) == {"a": {"x": 1, "y": 2}, "b": 1, "c": 3}
    assert left == {"a": {"x": 1}, "b": 1}


def test_a_context_reads_like_a_mapping_in_order_of_publication():
    execution = run(
        """
w:
  tasks:
    a: {action: std.noop, publish: {x: 1, y: 2}, on-success: b}
    b: {action: std.noop, publish: {z: 3, x: 4}}
"""
    )
    draft = Draft(execution.header, Loaded())
    execution.stored.load(draft.loaded, [NeedAllTasks()])
    layer = ContextLayer(draft, 2 * execution.task("b").ordinal + 1)
    assert dict(layer) == {"x": 4, "y": 2, "z": 3}
    assert len(layer) == 3
    assert "x" in layer
    assert "nope" not in layer
    scope = Scope(layer, {"x": 0, "w": 5})
    assert dict(scope) == {"x": 4, "y": 2, "z": 3, "w": 5}
    assert len(scope) == 4
    assert scope
    assert "nope" not in scope
    assert scope.get("nope") is None


def test_a_lazy_layer_counts_and_lists_its_names_without_finding_values():
    layer = Lazy(lambda: {"a": None, "b": None}, lambda value: 1 / 0)
    assert (list(layer), len(layer), "a" in layer) == (["a", "b"], 2, True)
