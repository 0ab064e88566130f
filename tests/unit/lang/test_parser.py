"""Definition text to specs: what is built, what is injected, and what a refusal says."""

import json
import textwrap
from dataclasses import replace

import pytest

from chalicelib import limits
from chalicelib.errors import (
    DSLParsingException,
    ExpressionGrammarException,
    InvalidModelException,
    JinjaGrammarException,
    YaqlGrammarException,
)
from chalicelib.expressions.options import Options
from chalicelib.lang import parser
from chalicelib.lang.specs import InputSpec, NextSpec, OnClauseSpec, PoliciesSpec, PublishSpec, RetrySpec


def workflow(body, *, validate=True):
    """The single workflow ``w`` whose body is given."""
    text = "version: '2.0'\nw:\n" + textwrap.indent(textwrap.dedent(body), "  ")
    [spec] = parser.parse_workflow_list(text, validate=validate)
    return spec


def task(attributes, *, others="u: {action: std.noop}"):
    """The task ``t`` with the attributes given, in a workflow with another task ``u``."""
    return workflow(f"tasks:\n  t: {{{attributes}}}\n  {others}\n").tasks["t"]


def refusal(body):
    """The error with which a workflow ``w`` of that body is refused."""
    with pytest.raises((DSLParsingException, InvalidModelException), match=r".") as raised:
        workflow(body)
    return raised.value


def test_a_workflow_is_read_with_all_its_attributes():
    spec = workflow(
        """
        description: greets
        tags: [a, b]
        input: [name, {greeting: hello}, {none: null}]
        vars: {x: <% $.name %>}
        output: {said: <% $.said %>}
        output-on-error: {failed: true}
        timeout: 30
        task-defaults: {timeout: 5, requires: [a], safe-rerun: true}
        tasks: {t: {action: std.noop}}
        """
    )
    assert (spec.name, spec.type, spec.description, spec.tags) == ("w", "direct", "greets", ("a", "b"))
    assert spec.input == (InputSpec("name"), InputSpec("greeting", False, "hello"), InputSpec("none", False, None))
    assert (spec.vars, spec.output) == ({"x": "<% $.name %>"}, {"said": "<% $.said %>"})
    assert (spec.output_on_error, spec.timeout) == ({"failed": True}, 30)
    assert spec.task_defaults.policies == PoliciesSpec(timeout=5)
    assert (spec.task_defaults.requires, spec.task_defaults.safe_rerun) == (("a",), True)


def test_a_task_without_anything_runs_noop_and_keeps_its_result():
    spec = task("description: idle")
    assert (spec.action, spec.workflow, spec.input, spec.keep_result) == ("std.noop", None, {}, True)
    assert (spec.publish, spec.with_items, spec.on_success, spec.join) == (None, None, None, None)


def test_the_keys_that_mistral_injects_overwrite_the_authors():
    spec = workflow("name: mine\nversion: 7\ntasks: {t: {name: mine, version: 7, type: mine}}")
    assert spec.data == {
        "name": "w",
        "version": "2.0",
        "tasks": {"t": {"name": "t", "version": "2.0", "type": "direct"}},
    }
    assert spec.tasks["t"].data == spec.data["tasks"]["t"]


def test_a_task_named_version_is_left_out_and_stays_in_the_data():
    spec = workflow("tasks: {version: {action: std.noop}, t: {on-success: fail}}")
    assert list(spec.tasks) == ["t"]
    assert spec.data["tasks"]["version"] == {"action": "std.noop", "type": "direct"}


def test_inline_parameters_win_over_input_deeply():
    assert task("action: \"std.echo a=1 b='x'\", input: {a: 2, c: 3}").input == {"a": 1, "b": "x", "c": 3}


def test_a_written_input_shows_the_inline_parameters_and_a_missing_one_does_not():
    assert task("action: std.echo a=1, input: {b: 2}").data["input"] == {"a": 1, "b": 2}
    assert "input" not in task("action: std.echo a=1").data


def test_a_workflow_task_has_no_action():
    spec = task("workflow: other x=1")
    assert (spec.action, spec.workflow, spec.input) == (None, "other", {"x": 1})


def test_policies_that_are_zero_or_false_are_not_there():
    attributes = "wait-before: 0, wait-after: 0, timeout: 0, concurrency: 0, pause-before: false, fail-on: false"
    assert task(attributes).policies == PoliciesSpec()


def test_policies_keep_what_was_written():
    attributes = "wait-before: 1, wait-after: <% 2 %>, timeout: 3, concurrency: 4, pause-before: true, fail-on: <% 5 %>"
    assert task(attributes).policies == PoliciesSpec(
        wait_before=1, wait_after="<% 2 %>", timeout=3, concurrency=4, pause_before=True, fail_on="<% 5 %>"
    )


@pytest.mark.parametrize(
    ("written", "retry"),
    [
        ("{count: 3, delay: 1}", RetrySpec(3, 1)),
        ("count=3 delay=1", RetrySpec(3, 1)),
        ("'count=3 delay=1 break-on=<% $.stop %>'", RetrySpec(3, 1, break_on="<% $.stop %>")),
        ("{count: '<% $.n %>', delay: 0, continue-on: '<% $.go %>'}", RetrySpec("<% $.n %>", 0, None, "<% $.go %>")),
        (
            "{count: 3, delay: 1, backoff: 1.5, max-delay: 60, jitter: 0.5}",
            RetrySpec(3, 1, backoff=1.5, max_delay=60, jitter=0.5),
        ),
        ("count=3 delay=1 backoff=2 max-delay=9", RetrySpec(3, 1, backoff=2, max_delay=9)),
        ("{count: 3, delay: 1, attempt-timeout: <% $.t %>}", RetrySpec(3, 1, attempt_timeout="<% $.t %>")),
    ],
)
def test_retry_has_two_forms(written, retry):
    assert task(f"retry: {written}").policies.retry == retry


@pytest.mark.parametrize(
    "extension",
    ["backoff: 0.5", "jitter: 2", "max-delay: -1", "backoff: '2'", "on-timeout: true", "attempt-timeout: -1"],
)
def test_the_extensions_of_retry_are_checked(extension):
    assert "tasks.t.retry" in str(refusal(f"tasks: {{t: {{retry: {{count: 1, delay: 1, {extension}}}}}}}"))


def test_a_tolerated_failure_percentage_needs_with_items():
    assert task("with-items: 'i in [1]', tolerated-failure-percentage: 12.5").tolerated_failure_percentage == 12.5
    assert "is for a task with 'with-items'" in str(refusal("tasks: {t: {tolerated-failure-percentage: 5}}"))
    assert "maximum of 100" in str(refusal("tasks: {t: {with-items: 'i in [1]', tolerated-failure-percentage: 101}}"))


@pytest.mark.parametrize(("written", "kept"), [("5", 5), ("<% $.x %>", "<% $.x %>"), ("0", None), ("soon", None)])
def test_a_workflow_timeout_counts_if_it_is_a_time(written, kept):
    assert workflow(f"timeout: {written}\ntasks: {{t: {{action: std.noop}}}}").timeout == kept


@pytest.mark.parametrize(("written", "join"), [("all", "all"), ("one", 1), ("1", 1), ("1.0", 1), ("0", None)])
def test_join_is_all_or_a_number(written, join):
    assert task(f"join: {written}", others="u: {on-success: t}").join == join


def test_with_items_keeps_the_last_of_a_variable():
    assert task("with-items: ['i in [1]', 'j in <% $.l %>', 'i in [2]']").with_items == {"i": [2], "j": "<% $.l %>"}


@pytest.mark.parametrize(
    ("written", "clause"),
    [
        ("u", OnClauseSpec((NextSpec("u"),))),
        ("[u, fail]", OnClauseSpec((NextSpec("u"), NextSpec("fail")))),
        ("[{u: <% $.x %>}]", OnClauseSpec((NextSpec("u", "<% $.x %>"),))),
        ("\"fail msg='no'\"", OnClauseSpec((NextSpec("fail", params={"msg": "no"}),))),
        ("\"fail(msg='no way')\"", OnClauseSpec((NextSpec("fail", params={"msg": "no way"}),))),
        ("[\"fail msg='no'\": <% $.x %>]", OnClauseSpec((NextSpec("fail", "<% $.x %>", {"msg": "no"}),))),
        ("{u: <% $.x %>}", OnClauseSpec()),
        ("{next: u}", OnClauseSpec((NextSpec("u"),))),
        ("{next: {u: <% $.x %>}}", OnClauseSpec((NextSpec("u"),))),
        ("{next: [{u: <% $.x %>}]}", OnClauseSpec((NextSpec("u", "<% $.x %>"),))),
        ("{publish: {branch: {a: 1}}}", OnClauseSpec(publish=PublishSpec(branch={"a": 1}))),
        (
            "{publish: {global: {a: 1}, atomic: {b: 2}}, next: [u]}",
            OnClauseSpec((NextSpec("u"),), PublishSpec(global_={"a": 1}, atomic={"b": 2})),
        ),
    ],
)
def test_an_on_clause_has_four_forms(written, clause):
    assert task(f"on-success: {written}").on_success == clause


def test_inputs_of_one_name_count_once():
    assert workflow("input: [a, b, {a: 1}]\ntasks: {t: {action: std.noop}}").input == (
        InputSpec("a", False, 1),
        InputSpec("b"),
    )


def test_a_workflow_is_rebuilt_from_its_data_after_storage():
    spec = workflow(
        """
        type: reverse
        task-defaults: {retry: count=1 delay=2}
        tasks:
          a: {action: std.echo x=1, input: {y: {1: 2}}, with-items: 'i in [1]'}
          b: {requires: a, publish: {x: 1}, timeout: 1.0}
        """
    )
    assert parser.workflow_from_data(json.loads(json.dumps(spec.data))) == spec


def test_ad_hoc_actions_are_read():
    text = """
        version: '2.0'
        shout:
          description: loud
          input: [text, {mark: '!'}]
          base: std.echo output='<% $.text %>' deep=1
          base-input: {output: quiet, other: 1}
          output: {said: <% $ %>}
        """
    [action] = parser.parse_action_list(textwrap.dedent(text))
    assert (action.name, action.base, action.description) == ("shout", "std.echo", "loud")
    assert action.base_input == {"output": "<% $.text %>", "other": 1, "deep": 1}
    assert action.input == (InputSpec("text"), InputSpec("mark", False, "!"))
    assert (action.output, action.data["name"], action.data["version"]) == ({"said": "<% $ %>"}, "shout", "2.0")
    assert parser.action_from_data(json.loads(json.dumps(action.data))) == action


_WORKBOOK = """\
version: '2.0'
name: book
description: a book
tags: [x]
workflows:
  first:
    # what it does
    tasks:
      t:
        action: std.echo output=1  # says it

  second: {tasks: {t: {action: std.noop}}}
  # the last one
  third:
    type: reverse
    tasks: {t: {action: std.noop}}
actions:
  first:
    base: std.noop
"""


def test_a_workbook_holds_workflows_and_actions_by_local_names():
    book = parser.parse_workbook(_WORKBOOK)
    assert (book.name, book.description, book.tags) == ("book", "a book", ("x",))
    assert list(book.workflows) == ["first", "second", "third"]
    assert book.workflows["third"].type == "reverse"
    assert book.actions["first"].base == "std.noop"


def test_the_texts_of_a_workbooks_children_are_cut_out_of_it():
    workflows, actions = parser.workbook_definition_texts(_WORKBOOK, parser.parse_workbook(_WORKBOOK))
    assert workflows["first"] == (
        "first:\n  # what it does\n  tasks:\n    t:\n      action: std.echo output=1  # says it\n"
    )
    assert workflows["second"] == "second:\n  tasks:\n    t:\n      action: std.noop\n"
    assert actions == {"first": "first:\n  base: std.noop\n"}


def test_a_single_workflow_keeps_its_text_and_several_are_written_anew():
    single = "version: '2.0'\nw: {tasks: {t: {action: std.noop}}}  # mine\n"
    assert parser.definition_texts(single, parser.parse_workflow_list(single)) == {"w": single}
    several = single + "v: {tasks: {b: {action: std.noop}, a: {action: std.noop}}}\n"
    texts = parser.definition_texts(several, parser.parse_workflow_list(several))
    assert texts["w"] == "version: '2.0'\nw:\n  tasks:\n    t:\n      action: std.noop\n"
    assert texts["v"].index("b:") < texts["v"].index("a:")


def test_actions_of_one_document_share_its_text():
    text = "version: '2.0'\na: {base: std.noop}\nb: {base: std.echo}\n"
    assert parser.definition_texts(text, parser.parse_action_list(text)) == {"a": text, "b": text}


def test_every_fault_is_told_at_once_with_path_place_and_suggestion():
    error = refusal(
        """\
        tasks:
          fork:
            action: std.echo output=<% 1 + %>
            on-sucess: [merge]
            timeout: soon
          other:
            on-complete: merg
          merge:
            join: -1
        """
    )
    assert [(fault.path, fault.line, fault.column) for fault in error.faults] == [
        ("w.tasks.fork.on-sucess", 6, 7),
        ("w.tasks.fork.timeout", 7, 7),
        ("w.tasks.fork.action", 5, 7),
        ("w.tasks.merge.join", 11, 7),
        ("w.tasks.other.on-complete", 9, 7),
    ]
    text = str(error)
    assert text.startswith("Invalid DSL: ")
    assert "did you mean 'on-success'?" in text
    assert "Task 'merg' not found. Did you mean 'merge'?" in text
    assert "[line 9, column 7]" in text


@pytest.mark.parametrize(
    ("body", "kind", "beginning"),
    [
        ("type: circular\ntasks: {t: {timeout: x}}", DSLParsingException, "Failed to find a workflow of type"),
        ("tasks: {t: {timeout: x}, u: {publish: {a: <% 1 + %>}}}", InvalidModelException, "Invalid DSL: "),
        ("tasks: {t: {publish: {a: <% 1 + %>}}, u: {timeout: x}}", YaqlGrammarException, "Parse error"),
        ("tasks: {t: {publish: {a: '{{ x | }}'}}}", JinjaGrammarException, ""),
        ("tasks: {t: {publish: {a: '{{ x }} <% $.a %>'}}}", ExpressionGrammarException, ""),
        ("tasks: {t: {on-success: t}}", DSLParsingException, "Failed to find start tasks in direct workflow"),
        ("tasks: {t: {on-success: nosuch}}", InvalidModelException, "Task 'nosuch' not found."),
        ("tasks: {t: {join: all}}", InvalidModelException, "No inbound tasks for task with 'join: all' [task_name=t]"),
        (
            "tasks: {t: {on-success: j}, j: {join: 2}}",
            InvalidModelException,
            "Not enough inbound tasks for task with 'join' [task_name=j, join=2, inbound_tasks=1]",
        ),
        ("type: reverse\ntasks: {t: {requires: u}}", InvalidModelException, "Task 'u' not found."),
    ],
)
def test_the_first_fault_decides_class_and_beginning(body, kind, beginning):
    error = refusal(body)
    assert type(error) is kind
    assert error.message.startswith(beginning)


def test_all_joins_that_cannot_be_satisfied_are_told():
    error = refusal("tasks: {s: {on-success: [a, b]}, a: {join: 2}, b: {join: 3}, c: {join: one}}")
    assert [fault.path for fault in error.faults] == ["w.tasks.a.join", "w.tasks.b.join", "w.tasks.c.join"]


def test_a_fault_does_not_bring_faults_that_only_follow_from_it():
    error = refusal("tasks: {s: {on-success: [merge, 5]}, merge: {join: all}}")
    assert [fault.path for fault in error.faults] == ["w.tasks.s.on-success[1]"]


def test_a_bad_default_target_is_told_once():
    error = refusal("task-defaults: {on-error: nosuch}\ntasks: {a: {action: std.noop}, b: {action: std.noop}}")
    assert [fault.path for fault in error.faults] == ["w.task-defaults.on-error"]


def test_a_key_that_is_missing_is_guessed_from_an_unknown_one():
    assert "'tasks' is a required property; 'task' is unknown, did you mean 'tasks'?" in str(
        refusal("task: {t: {a: 1}}")
    )


def test_the_list_of_faults_is_bounded():
    tasks = ", ".join(f"t{number}: {{timeout: x}}" for number in range(limits.FAULTS_SHOWN_MAX + 20))
    error = refusal(f"tasks: {{{tasks}}}")
    assert len(error.faults) == limits.FAULTS_SHOWN_MAX
    assert error.message.endswith("... and 20 more")


@pytest.mark.parametrize(
    "text",
    [
        "version: '2.0'\nmy workflow: {tasks: {t: {action: std.noop}}}",
        f"version: '2.0'\n{'n' * 256}: {{tasks: {{t: {{action: std.noop}}}}}}",
    ],
)
def test_names_that_cannot_be_stored_are_refused(text):
    with pytest.raises(InvalidModelException, match="Name '"):
        parser.parse_workflow_list(text)


def test_too_many_tasks_are_refused(monkeypatch):
    monkeypatch.setattr(limits, "TASKS_PER_WORKFLOW_MAX", 2)
    assert "a workflow may have 2 tasks; found 3" in str(refusal("tasks: {a: {x: 1}, b: {x: 1}, c: {x: 1}}"))


def test_a_skipped_validation_still_refuses_what_cannot_be_built():
    body = "tasks: {t: {publish: {a: <% 1 + %>}, on-success: nosuch}, j: {join: 5}}"
    assert workflow(body, validate=False).tasks["t"].on_success == OnClauseSpec((NextSpec("nosuch"),))
    with pytest.raises(InvalidModelException, match="timeout"):
        workflow("tasks: {t: {timeout: x}}", validate=False)
    with pytest.raises(InvalidModelException, match="with-items"):
        workflow("tasks: {t: {with-items: x}}", validate=False)


def test_a_language_that_is_switched_off_is_refused():
    text = "version: '2.0'\nw: {tasks: {t: {publish: {a: '{{ _.x }}'}}}}"
    with pytest.raises(ExpressionGrammarException, match="jinja"):
        parser.parse_workflow_list(text, options=replace(Options(), languages=frozenset({"yaql"})))


def test_an_expression_across_lines_is_plain_text_and_not_checked():
    assert task('publish: {a: "<% 1 +\\n %>"}').publish == {"a": "<% 1 +\n %>"}


@pytest.mark.parametrize("key", ["on", "1", "2020-01-01"])
def test_a_name_that_yaml_takes_for_something_else_is_shown_as_it_was_written(key):
    assert f"the key {key} is not of type 'string'" in str(refusal(f"tasks: {{{key}: {{action: std.noop}}}}"))


def test_a_date_in_place_of_a_value_is_to_be_quoted():
    assert "2020-01-01 is a YAML date; quote it" in str(refusal("tasks: {t: {input: {a: 2020-01-01}}}"))
