"""The compiled workflow: links with defaults applied, joins, policies, publishing, requirements."""

import textwrap

import pytest

from chalicelib.lang import parser
from chalicelib.lang.graph import WorkflowGraph
from chalicelib.lang.specs import NextSpec, PoliciesSpec, PublishSpec, RetrySpec
from chalicelib.vocabulary import State


def graph(body):
    [spec] = parser.parse_workflow_list("version: '2.0'\nw:\n" + textwrap.indent(textwrap.dedent(body), "  "))
    return WorkflowGraph(spec)


def names(links):
    return [link.name for link in links]


def test_links_are_found_in_all_four_clauses_and_guards_play_no_part():
    links = graph(
        """
        tasks:
          a: {on-success: [b, {c: <% false %>}], on-error: b, on-complete: d, on-skip: fail}
          b: {on-success: d}
          c: {on-complete: d}
          d: {join: all}
        """
    )
    assert set(links.outbound("a")) == {"b", "c", "d", "fail"}
    assert links.inbound("b") == ("a",)
    assert links.inbound("d") == ("a", "b", "c")
    assert links.start_tasks == ("a",)
    assert links.joins == {"d"}
    assert links.join_cardinality("d") == 3
    assert links.join_cardinality("a") == 0


def test_a_guard_without_a_list_leads_nowhere_so_its_target_starts():
    assert graph("tasks: {a: {on-success: {b: <% $.x %>}}, b: {action: std.noop}}").start_tasks == ("a", "b")


@pytest.mark.parametrize(("join", "cardinality"), [("all", 2), ("one", 1), ("2", 2)])
def test_a_join_asks_for_a_number_of_inbound_tasks(join, cardinality):
    links = graph(f"tasks: {{a: {{on-success: c}}, b: {{on-success: c}}, c: {{join: {join}}}}}")
    assert links.join_cardinality("c") == cardinality


def test_join_0_is_no_join():
    assert graph("tasks: {a: {join: 0}}").joins == frozenset()


def test_after_a_state_its_own_clause_comes_first_and_then_on_complete():
    links = graph(
        """
        tasks:
          a: {on-complete: x, on-error: [fail, x], on-success: x, on-skip: x}
          x: {action: std.noop}
        """
    )
    assert links.next_after("a", State.ERROR) == (
        ("on-error", NextSpec("fail")),
        ("on-error", NextSpec("x")),
        ("on-complete", NextSpec("x")),
    )
    assert [event for event, _ in links.next_after("a", State.SUCCESS)] == ["on-success", "on-complete"]
    assert links.next_after("a", State.SKIPPED) == ()
    assert links.next_after("a", State.CANCELLED) == ()
    assert names(links.clause("a", "on-skip")) == ["x"]
    assert links.has_clause("a", "on-skip")
    assert not links.has_clause("x", "on-skip")


def test_a_default_clause_is_used_without_the_task_itself():
    links = graph(
        """
        task-defaults: {on-error: [cleanup, {fail: <% $.x %>}]}
        tasks:
          a: {action: std.noop}
          b: {on-error: a}
          c: {on-error: {publish: {branch: {x: 1}}}}
          cleanup: {action: std.noop}
        """
    )
    assert names(links.clause("a", "on-error")) == ["cleanup", "fail"]
    assert names(links.clause("b", "on-error")) == ["a"]
    assert names(links.clause("c", "on-error")) == ["cleanup", "fail"]
    assert links.clause("cleanup", "on-error") == (NextSpec("fail", "<% $.x %>"),)
    assert links.inbound("cleanup") == ("a", "c")
    assert (links.is_own("b", "on-error"), links.is_own("c", "on-error")) == (True, False)


def test_each_policy_falls_back_to_its_default_on_its_own():
    links = graph(
        """
        task-defaults:
          timeout: 9
          wait-before: 8
          retry: {count: 7, delay: 6, break-on: <% $.x %>}
          fail-on: <% $.f %>
        tasks:
          own: {timeout: 1, retry: {count: 2, delay: 3}}
          none: {timeout: 0, wait-before: <% 0 %>, fail-on: false}
        """
    )
    assert links.policies("own") == PoliciesSpec(timeout=1, wait_before=8, fail_on="<% $.f %>", retry=RetrySpec(2, 3))
    assert links.policies("none") == PoliciesSpec(
        timeout=9, wait_before="<% 0 %>", fail_on="<% $.f %>", retry=RetrySpec(7, 6, break_on="<% $.x %>")
    )


@pytest.mark.parametrize(
    ("default", "own", "expected"),
    [("", "", False), ("true", "", True), ("true", "false", False), ("", "<% $.x %>", True), ("<% $.x %>", "", True)],
)
def test_safe_rerun_is_the_tasks_or_the_default_and_never_evaluated(default, own, expected):
    links = graph(
        f"""
        task-defaults: {{timeout: 1{", safe-rerun: " + default if default else ""}}}
        tasks: {{t: {{action: std.noop{", safe-rerun: " + own if own else ""}}}}}
        """
    )
    assert links.safe_rerun("t") is expected


def test_commands_are_commands_also_where_a_task_has_their_name():
    links = graph("tasks: {a: {on-success: [noop, fail, succeed, pause]}, noop: {action: std.noop}}")
    assert [links.is_command(name) for name in ("noop", "fail", "succeed", "pause", "a")] == [
        True,
        True,
        True,
        True,
        False,
    ]


def test_reachable_joins_are_those_before_the_next_join():
    links = graph(
        """
        tasks:
          a: {on-success: [b, near]}
          b: {on-success: [a, c]}
          c: {on-success: far}
          near: {join: one, on-success: beyond}
          beyond: {join: one}
          far: {join: one, on-success: [far, fail]}
          lonely: {on-success: a}
        """
    )
    assert links.reachable_joins("a") == ("near", "far")
    assert links.reachable_joins("lonely") == ("near", "far")
    assert links.reachable_joins("c") == ("far",)
    assert links.reachable_joins("near") == ("beyond",)
    assert links.reachable_joins("beyond") == ()
    assert links.reachable_joins("far") == ("far",)


_PUBLISHING = [
    # the tasks' attributes, the state, what is published: Mistral's own precedence
    ("publish: {a: 1}", State.SUCCESS, PublishSpec({"a": 1})),
    ("publish: {a: 1}", State.ERROR, None),
    ("publish-on-error: {a: 1}", State.ERROR, PublishSpec({"a": 1})),
    ("publish-on-skip: {a: 1}", State.SKIPPED, PublishSpec({"a": 1})),
    ("publish: {a: 1}", State.CANCELLED, None),
    ("on-success: {publish: {global: {a: 1}}}", State.SUCCESS, PublishSpec(global_={"a": 1})),
    ("on-complete: {publish: {branch: {a: 1}}}", State.SKIPPED, PublishSpec({"a": 1})),
    ("on-complete: {publish: {branch: {a: 1}}}, publish: {a: 2, b: 2}", State.SUCCESS, PublishSpec({"a": 1, "b": 2})),
    (
        "on-complete: {publish: {branch: {a: 1}}}, on-error: {publish: {branch: {a: 2, b: 2}}}",
        State.ERROR,
        PublishSpec({"a": 1, "b": 2}),
    ),
    (
        "publish: {a: 1}, on-success: {publish: {branch: {a: 2, b: 2}}}",
        State.SUCCESS,
        PublishSpec({"a": 1, "b": 2}),
    ),
    ("publish: {a: 1}, on-success: {publish: {global: {g: 1}}}", State.SUCCESS, PublishSpec(global_={"g": 1})),
    ("publish: {a: 1}, on-complete: {publish: {global: {g: 1}}}", State.SUCCESS, PublishSpec({"a": 1})),
    (
        "publish: {a: {x: 1}}, on-success: {publish: {branch: {a: {x: 2, y: 2}}}}",
        State.SUCCESS,
        PublishSpec({"a": {"x": 1, "y": 2}}),
    ),
]


@pytest.mark.parametrize(("attributes", "state", "published"), _PUBLISHING)
def test_publish_scopes_merge_as_in_mistral(attributes, state, published):
    links = graph(f"tasks: {{t: {{{attributes}}}}}")
    assert links.publish("t", state) == published


def test_merging_publish_leaves_the_spec_as_it_was():
    links = graph("tasks: {t: {publish: {a: {x: 1}}, on-success: {publish: {branch: {a: {x: 2}}}}}}")
    assert links.spec.tasks["t"].data["on-success"] == {"publish": {"branch": {"a": {"x": 2}}}}


def test_publish_of_a_default_clause_is_ignored():
    links = graph("task-defaults: {on-success: {publish: {branch: {a: 1}}}}\ntasks: {t: {action: std.noop}}")
    assert links.publish("t", State.SUCCESS) is None


def test_requirements_are_the_tasks_and_the_default_ones_without_itself():
    links = graph(
        """
        type: reverse
        task-defaults: {requires: [base]}
        tasks: {base: {action: std.noop}, a: {requires: base}, b: {requires: [a, b]}}
        """
    )
    assert links.requires("base") == ()
    assert links.requires("a") == ("base",)
    assert links.requires("b") == ("a", "base")


def test_a_direct_workflow_requires_nothing():
    assert (
        graph("task-defaults: {requires: [t]}\ntasks: {t: {action: std.noop}, u: {action: std.noop}}").requires("u")
        == ()
    )


def test_the_closure_of_a_target_lists_requirements_first_and_nothing_else():
    links = graph(
        """
        type: reverse
        tasks:
          top: {requires: [left, right]}
          left: {requires: base}
          right: {requires: base}
          base: {action: std.noop}
          unrelated: {requires: top}
        """
    )
    assert links.requirements_closure("top") == ("base", "left", "right", "top")


def test_a_cycle_of_requirements_is_listed_once():
    links = graph("type: reverse\ntasks: {a: {requires: b}, b: {requires: c}, c: {requires: a}}")
    assert links.requirements_closure("a") == ("c", "b", "a")


def test_a_chain_of_ten_thousand_requirements_does_not_exhaust_the_stack():
    tasks = {"t0": {"action": "std.noop"}} | {f"t{n}": {"requires": f"t{n - 1}"} for n in range(1, 10_000)}
    spec = parser.workflow_from_data({"name": "w", "type": "reverse", "tasks": tasks})
    assert WorkflowGraph(spec).requirements_closure("t9999")[:2] == ("t0", "t1")


def test_an_unknown_task_is_a_key_error():
    with pytest.raises(KeyError):
        graph("tasks: {t: {action: std.noop}}").inbound("nosuch")
