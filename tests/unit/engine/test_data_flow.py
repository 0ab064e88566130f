"""Data flow: who sees which value, what is published, how contexts merge, what the workflow ends with."""

import pytest

from chalicelib.engine.contexts import is_same
from chalicelib.vocabulary import State
from tests.builders import run


def echoed(expression, **more):
    """What a task sees in its input."""
    lines = "".join(f"  {key}: {value}\n" for key, value in more.items())
    execution = run(f"w:\n{lines}  tasks:\n    t: {{action: std.echo, input: {{output: {expression}}}}}\n")
    return execution.results_of("t")[0]


def test_variables_shadow_inputs_and_branch_variables_shadow_both():
    execution = run(
        """
w:
  input: [{x: input}, {y: input}, {z: input}]
  vars: {x: vars, y: vars}
  tasks:
    a: {action: std.noop, publish: {x: branch}, on-success: t}
    t: {action: std.echo, input: {output: '<% [$.x, $.y, $.z] %>'}}
"""
    )
    assert execution.results_of("t") == [["branch", "vars", "input"]]


def test_published_variables_follow_their_branch_only():
    execution = run(
        """
w:
  tasks:
    a: {action: std.noop, publish: {x: 1}, on-success: b}
    b: {action: std.echo output=<% $.x %>}
    c: {action: std.echo output=<% $.get(x) %>}
"""
    )
    assert execution.results_of("b") == [1]
    assert execution.results_of("c") == [None]


def test_a_published_object_replaces_the_whole_variable_in_its_branch():
    execution = run(
        """
w:
  tasks:
    a: {action: std.noop, publish: {d: {x: 0}}, on-success: b}
    b: {action: std.noop, publish: {d: {z: 5}}, on-success: c}
    c: {action: std.echo output=<% $.d %>}
"""
    )
    assert execution.results_of("c") == [{"z": 5}]


def test_a_join_merges_what_its_branches_changed():
    execution = run(
        """
w:
  tasks:
    s: {action: std.noop, publish: {v: 0, d: {x: 0}}, on-success: [a, b, c]}
    a: {action: std.noop, publish: {v: 1, d: {x: 1, y: 1}}, on-success: j}
    b: {action: std.noop, publish: {w: 2, d: {z: 5}}, on-success: j}
    c: {action: std.noop, on-success: j}
    j: {join: all, action: std.echo, input: {output: {v: <% $.v %>, w: <% $.w %>, d: <% $.d %>}}}
"""
    )
    assert execution.results_of("j") == [{"v": 1, "w": 2, "d": {"x": 1, "y": 1, "z": 5}}]


def test_of_two_equal_counts_the_branch_that_arrived_last_wins():
    text = """
w:
  tasks:
    a: {action: std.async_noop, publish: {v: a}, on-success: j}
    b: {action: std.async_noop, publish: {v: b}, on-success: j}
    j: {join: all, action: std.echo output=<% $.v %>}
"""
    assert run(text).complete("a").complete("b").results_of("j") == ["b"]
    assert run(text).complete("b").complete("a").results_of("j") == ["a"]


def test_the_value_that_was_published_more_often_wins_whoever_arrived_last():
    execution = run(
        """
w:
  tasks:
    a: {action: std.noop, publish: {v: a1}, on-success: a2}
    a2: {action: std.noop, publish: {v: a2}, on-success: j}
    b: {action: std.async_noop, publish: {v: b}, on-success: j}
    j: {join: all, action: std.echo output=<% $.v %>}
"""
    ).complete("b")
    assert execution.results_of("j") == ["a2"]


def test_merging_tells_one_from_true():
    execution = run(
        """
w:
  tasks:
    s: {action: std.noop, publish: {v: 1, l: [1]}, on-success: [a, b]}
    a: {action: std.noop, publish: {v: true, l: [true]}, on-success: j}
    b: {action: std.async_noop, on-success: j}
    j: {join: all, action: std.echo, input: {output: '<% [$.v, $.l] %>'}}
"""
    ).complete("b")
    assert is_same(execution.results_of("j")[0], [True, [True]])


def test_same_is_stricter_than_equal():
    assert is_same({"a": [1, None]}, {"a": [1, None]})
    assert not is_same(1, True)
    assert not is_same(1, 1.0)
    assert not is_same([1], [1, 2])
    assert not is_same({"a": 1}, {"b": 1})
    assert not is_same({"a": [0]}, {"a": [False]})


def test_an_object_and_a_value_of_the_same_name_do_not_mix():
    execution = run(
        """
w:
  tasks:
    a: {action: std.noop, publish: {v: 5}, on-success: j}
    b: {action: std.async_noop, publish: {v: {x: 1}}, on-success: j}
    j: {join: all, action: std.echo output=<% $.v %>}
"""
    ).complete("b")
    # A value counts as published under its own path, an object under those of its members.
    assert execution.results_of("j") == [5]


def test_large_values_merge_like_small_ones():
    execution = run(
        """
w:
  input: [x]
  tasks:
    s: {action: std.noop, publish: {big: <% $.x %>, d: {l: <% $.x %>}}, on-success: [a, b, c]}
    a: {action: std.async_noop, publish: {d: {l: <% $.x %>, r: <% $.x + 'r' %>}}, on-success: j}
    b: {action: std.async_noop, publish: {d: {m: <% $.x + 'm' %>}, other: <% $.x %>}, on-success: j}
    c: {action: std.async_noop, on-success: j}
    j: {join: all, action: std.echo, input: {output: '<% [$.big.len(), $.d.keys().orderBy($), $.other.len()] %>'}}
""",
        {"x": "y" * 40_000},
    )
    execution.complete("a").complete("b").complete("c")
    assert execution.results_of("j") == [[40_000, ["l", "m", "r"], 40_000]]


def test_globals_are_seen_everywhere_from_then_on():
    execution = run(
        """
w:
  tasks:
    a:
      action: std.noop
      on-success:
        publish: {global: {g: {x: 1}}}
        next: b
    b:
      action: std.noop
      on-success: {publish: {global: {g: {y: <% $.g.x + 1 %>}}}}
    c: {action: std.async_noop, publish: {seen: '<% [global(g), $.g, global(nope)] %>'}}
"""
    ).complete("c")
    assert execution.published("c") == {"seen": [{"x": 1, "y": 2}, {"x": 1, "y": 2}, None]}
    assert execution.variables == {"g": {"x": 1, "y": 2}}
    assert execution.published("a") is None


def test_large_globals_deep_merge_too():
    execution = run(
        """
w:
  input: [x]
  tasks:
    a:
      action: std.async_noop
      on-success:
        publish: {global: {g: {big: <% $.x %>}, small: {a: 1}}}
        next: b
    b:
      action: std.async_noop
      on-success: {publish: {global: {g: {y: 1}}}}
""",
        {"x": "y" * 40_000},
    )
    execution.complete("a").complete("b")
    assert execution.variables == {"g": {"big": "y" * 40_000, "y": 1}, "small": {"a": 1}}


def test_branch_variables_shadow_globals():
    execution = run(
        """
w:
  tasks:
    a:
      action: std.noop
      on-success:
        publish: {branch: {v: branch}, global: {v: global}}
        next: b
    b: {action: std.echo output=<% $.v %>}
"""
    )
    assert execution.results_of("b") == ["branch"]


def test_on_complete_wins_over_short_publish_and_that_over_the_specific_clause():
    execution = run(
        """
w:
  tasks:
    t:
      action: std.noop
      publish: {a: short, b: short}
      on-success: {publish: {branch: {a: specific, b: specific, c: specific}}}
      on-complete: {publish: {branch: {a: complete}}}
"""
    )
    assert execution.published("t") == {"a": "complete", "b": "short", "c": "specific"}


def test_a_scope_that_the_specific_clause_lacks_is_lost():
    execution = run(
        """
w:
  tasks:
    t:
      action: std.noop
      publish: {a: 1}
      on-success: {publish: {global: {g: 1}}}
"""
    )
    assert execution.published("t") is None
    assert execution.variables == {"g": 1}


def test_errors_publish_their_own_variables():
    execution = run(
        """
w:
  tasks:
    t: {action: std.fail, publish: {s: 1}, publish-on-error: {e: <% task().state %>}, on-error: u}
    u: {action: std.echo output=<% $.e %>}
"""
    )
    assert execution.published("t") == {"e": "ERROR"}
    assert execution.results_of("u") == ["ERROR"]


def test_a_wrong_publish_fails_by_force_and_is_not_handled():
    execution = run(
        "w: {tasks: {t: {action: std.noop, publish: {x: <% $.nope.x %>}, on-error: u}, u: {action: std.noop}}}"
    )
    assert execution.state == "ERROR"
    assert execution.states == {"t": "ERROR"}
    assert execution.published("t") == {}


def test_what_is_published_may_not_be_larger_than_a_field():
    execution = run(
        "w: {tasks: {t: {action: std.echo output='x', publish: {x: <% 'y' * 9000 %>}}}}", field_bytes_max=8192
    )
    assert execution.state == "ERROR"
    assert "Field size limit exceeded [field=published" in (execution.state_info or "")


def test_a_result_may_not_be_larger_than_a_field():
    execution = run("w: {tasks: {t: {action: std.async_noop}}}", field_bytes_max=8192).complete("t", "y" * 9000)
    assert execution.state == "ERROR"
    (action,) = execution.actions("t")
    assert action.state is State.ERROR
    assert not action.accepted


def test_an_input_may_not_be_larger_than_a_field_and_that_is_an_ordinary_error():
    execution = run(
        "w: {tasks: {t: {action: std.echo output=<% 'y' * 9000 %>, on-error: h}, h: {action: std.noop}}}",
        field_bytes_max=8192,
    )
    assert execution.state == "SUCCESS"
    assert "field=input" in (execution.task("t").state_info or "")


def test_published_values_become_plain_json():
    execution = run(
        """
w:
  tasks:
    t:
      action: std.noop
      publish:
        when: <% datetime(2020, 1, 2) %>
        members: <% set(2, 1) %>
        keys: <% dict(2 => a, true => b, null => c) %>
        lazy: <% [1, 2, 3].where($ > 1) %>
        pair: "{{ (1, 2) }}"
        jinja: "{{ {1: 2, 1.5: 3} }}"
"""
    )
    assert execution.published("t") == {
        "when": "2020-01-02T00:00:00.000000",
        "members": [1, 2],
        "keys": {"2": "a", "true": "b", "null": "c"},
        "lazy": [2, 3],
        "pair": [1, 2],
        "jinja": {"1": 2, "1.5": 3},
    }


# -- what tasks know of each other


def test_a_task_asks_for_another_one_by_name():
    execution = run(
        """
w:
  tasks:
    a: {action: std.echo output=5, publish: {p: 1}, on-success: b}
    b:
      action: std.echo
      input:
        output:
          - <% task(a).result %>
          - <% task(a).state %>
          - <% task(a).published %>
          - <% task(a).type %>
          - <% task(a).spec.action %>
          - <% task(nope) %>
          - <% task().name %>
          - <% task(b).name %>
"""
    )
    assert execution.results_of("b") == [[5, "SUCCESS", {"p": 1}, "ACTION", "std.echo output=5", None, "b", "b"]]


def test_a_name_that_is_computed_is_found_too():
    execution = run(
        """
w:
  vars: {who: a}
  tasks:
    a: {action: std.echo output=5, on-success: b}
    b: {action: std.echo output=<% task($.who).result %>}
"""
    )
    assert execution.results_of("b") == [5]


def test_of_several_executions_of_a_name_the_last_one_answers():
    execution = run(
        """
w:
  tasks:
    s: {action: std.noop, publish: {n: 0}, on-success: a}
    a:
      action: std.echo output=<% $.n %>
      publish: {n: <% $.n + 1 %>}
      on-success: [{a: <% $.n < 3 %>}, {b: <% $.n >= 3 %>}]
    b: {action: std.echo output=<% task(a).result %>}
"""
    )
    assert execution.results_of("b") == [2]


def test_the_workflow_describes_itself():
    execution = run(
        """
w:
  input: [x]
  output:
    e: <% [execution().name, execution().input, execution().params.env, execution().spec.name] %>
  tasks:
    t: {action: std.noop}
""",
        {"x": 1},
        params={"env": {"e": 2}},
    )
    assert execution.output == {"e": ["w", {"x": 1}, {"e": 2}, "w"]}


def test_tasks_of_the_own_execution_are_as_fresh_as_the_decision():
    execution = run(
        """
w:
  output:
    all: <% tasks(execution().id).select($.name) %>
    bad: <% tasks(execution().id, false, ERROR).select($.name) %>
    flat: <% tasks(execution().id, true, ERROR, true).select($.name) %>
    project: <% tasks().select($.name) %>
    executions: <% executions().len() %>
  tasks:
    a: {action: std.fail, on-error: s}
    s: {workflow: sub, on-error: ok}
    ok: {action: std.noop}
sub:
  tasks:
    inner: {action: std.fail}
""".replace("w:\n", "zz:\n", 1),
    )
    assert execution.state == "ERROR"  # the last one defined is `sub`: it runs alone
    cloud = execution.cloud
    execution = cloud.start("zz")
    assert execution.output["all"] == ["a", "s", "ok"]
    assert execution.output["bad"] == ["a", "s"]
    assert execution.output["flat"] == ["a", "inner"]
    assert sorted(execution.output["project"]) == ["a", "inner", "inner", "ok", "s"]
    assert execution.output["executions"] >= 2


def test_identities_and_chance_follow_from_the_moment():
    text = """
w:
  tasks:
    t:
      action: std.noop
      publish: {a: <% uuid() %>, b: <% uuid() %>, c: <% random() %>, d: <% random() %>, n: <% now() %>}
"""
    one, other = run(text).published("t"), run(text).published("t")
    assert one == other
    assert one["a"] != one["b"]
    assert one["c"] != one["d"]
    assert one["n"].startswith("2023-11-14T22:13:20")


# -- what the workflow ends with


def test_without_output_the_final_context_is_the_output():
    execution = run(
        """
w:
  input: [{i: 1}]
  vars: {v: 1}
  tasks:
    a: {action: std.noop, publish: {x: 1}, on-success: b}
    b: {action: std.noop, publish: {y: 2}}
    c: {action: std.noop, publish: {z: 3}}
"""
    )
    assert execution.output == {"x": 1, "y": 2, "z": 3}


def test_tasks_that_only_lead_to_commands_are_ends():
    execution = run("w: {tasks: {a: {action: std.fail, publish-on-error: {x: 1}, on-error: noop}}}")
    assert execution.output == {"x": 1}


def test_a_wrong_output_turns_the_workflow_into_error():
    execution = run("w: {output: {x: <% $.nope.x %>}, tasks: {t: {action: std.noop}}}")
    assert execution.state == "ERROR"
    assert (execution.state_info or "").startswith(
        f"Failed to check and complete [wf_ex_id={execution.id}, wf_name=w]: "
    )
    assert execution.states == {"t": "SUCCESS"}


def test_output_larger_than_a_field_turns_the_workflow_into_error():
    execution = run("w: {output: {x: <% 'y' * 9000 %>}, tasks: {t: {action: std.noop}}}", field_bytes_max=8192)
    assert execution.state == "ERROR"
    assert "field=output" in (execution.state_info or "")


def test_a_failed_workflow_hands_back_its_reason_and_its_final_context():
    execution = run("w: {tasks: {a: {action: std.noop, publish: {x: 1}}, b: {action: std.fail}}}")
    assert execution.output == {"result": execution.state_info, "x": 1}


def test_output_on_error_takes_the_place_of_the_final_context():
    execution = run(
        """
w:
  output-on-error: {seen: <% $.x %>, result: mine}
  tasks:
    a: {action: std.noop, publish: {x: 1}}
    b: {action: std.fail}
"""
    )
    assert execution.output == {"seen": 1, "result": "mine"}


def test_a_wrong_output_on_error_says_so_and_names_the_cause():
    execution = run(
        "w: {output-on-error: {x: <% $.nope.x %>}, tasks: {b: {action: std.noop, on-success: \"fail msg='why'\"}}}"
    )
    assert execution.state == "ERROR"
    assert (execution.state_info or "").startswith("Failed to evaluate expression in output-on-error!")
    assert "'why'" in (execution.state_info or "")
    assert execution.output == {"result": execution.state_info}


def test_a_cancelled_workflow_hands_back_the_message():
    execution = run("w: {tasks: {t: {action: std.async_noop}}}").stop(State.CANCELLED, "enough")
    assert execution.output == {"result": "enough"}


def test_large_outputs_and_inputs_are_kept_elsewhere_and_read_back():
    execution = run(
        "w: {input: [x], output: {x: <% $.x %>, n: <% $.x.len() %>}, tasks: {t: {action: std.echo output=<% $.x %>}}}",
        {"x": "y" * 50_000},
    )
    assert execution.output == {"x": "y" * 50_000, "n": 50_000}
    assert len(execution.stored.records["header"]) < 4096


# -- results


def test_a_result_is_one_value_for_one_accepted_action_and_else_a_list():
    execution = run(
        """
w:
  tasks:
    t:
      action: std.async_noop
      retry: {count: 1, delay: 0}
      publish: {r: <% task().result %>}
      publish-on-error: {r: <% task().result %>}
"""
    ).fail("t", "first")
    execution.cloud.pass_time(0)
    execution.complete("t", "second")
    assert execution.published("t") == {"r": "second"}
    assert echoed("<% task().result %>") == []


@pytest.mark.parametrize("keep", ["false", "true"])
def test_without_keep_result_a_result_is_seen_by_publish_and_then_forgotten(keep):
    execution = run(
        f"""
w:
  tasks:
    t: {{action: std.echo output=5, keep-result: {keep}, publish: {{r: <% task().result %>}}, on-success: u}}
    u: {{action: std.echo output=<% task(t).result %>}}
"""
    )
    assert execution.published("t") == {"r": 5}
    assert execution.results_of("u") == [None if keep == "false" else 5]


def test_without_keep_result_each_attempt_is_seen_by_its_own_publish():
    execution = run(
        """
w:
  tasks:
    t:
      action: std.async_noop
      keep-result: false
      retry: {count: 1, delay: 1}
      publish: {r: <% task().result %>}
"""
    ).fail("t", "first")
    execution.cloud.pass_time(1)
    execution.complete("t", "second")
    assert execution.published("t") == {"r": "second"}
    assert execution.results_of("t") == [None, None]


SHOWN = """
w:
  tasks:
    t:
      action: std.echo output=7
      keep-result: false
      publish: {{r: '{published}'}}
      on-success:
        - seen: <% task().result = 7 %>
        - gone: <% task().result = null %>
    seen: {{action: std.echo output=<% task(t).result %>}}
    gone: {{action: std.noop}}
"""


@pytest.mark.parametrize(
    ("published", "follows"),
    [
        ("<% task().result %>", "seen"),
        ("<% task().name %>", "seen"),
        ("{{ task().result }}", "seen"),
        ("<% task(t).result %>", "gone"),
        ("1", "gone"),
    ],
)
def test_without_keep_result_clauses_see_a_result_that_publish_has_asked_the_task_for(published, follows):
    execution = run(SHOWN.format(published=published))
    assert execution.names == ["t", follows]
    assert execution.results_of("t") == [None]
    if follows == "seen":
        assert execution.results_of("seen") == [None]


def test_without_keep_result_policies_see_a_result_that_publish_has_asked_the_task_for():
    text = """
w:
  tasks:
    t:
      action: std.echo output=7
      keep-result: false
      publish: {r: PUBLISHED}
      fail-on: <% task().result = 7 %>
"""
    assert run(text.replace("PUBLISHED", "<% task().result %>")).states == {"t": "ERROR"}
    assert run(text.replace("PUBLISHED", "<% task(t).result %>")).states == {"t": "SUCCESS"}


def test_without_keep_result_nothing_is_left_of_a_result_when_a_clause_cannot_be_evaluated():
    execution = run(SHOWN.format(published="<% task().result %>").replace("task().result = 7", "$.nothing.here"))
    assert execution.state == "ERROR"
    assert execution.results_of("t") == [None]


def test_the_text_of_a_failure_does_not_show_results_that_were_not_kept():
    execution = run("w: {tasks: {t: {action: std.fail, keep-result: false}}}")
    assert "idx=0]: Unknown" in (execution.state_info or "")


def test_names_of_the_engine_do_not_merge():
    execution = run(
        """
w:
  tasks:
    a: {action: std.noop, publish: {__versions: 1, x: 1}, on-success: j}
    b: {action: std.async_noop, publish: {y: 1}, on-success: j}
    j: {join: all, action: std.echo, input: {output: '<% $.keys().orderBy($) %>'}}
"""
    ).complete("b")
    assert execution.results_of("j") == [["__env", "__execution", "__task_execution", "x", "y"]]


def test_tasks_of_another_execution_are_asked_for():
    text = "w: {input: [i], output: {n: '<% tasks($.i).name %>'}, tasks: {t: {action: std.noop}}}"
    cloud = run("other: {tasks: {o: {action: std.noop}}}").cloud
    other = next(iter(cloud.executions))
    cloud.library.add_workflows(text)
    assert cloud.start("w", {"i": other}).output == {"n": ["o"]}
