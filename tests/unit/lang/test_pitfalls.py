"""What a definition says without effect is told, and what is sound is not."""

import textwrap

import pytest

from chalicelib.lang.parser import parse_workflow_list, warnings


def told(body):
    text = "version: '2.0'\nw:\n" + textwrap.indent(textwrap.dedent(body), "  ")
    parse_workflow_list(text)  # a pitfall is accepted
    return [(fault.path.removeprefix("w."), fault.message) for fault in warnings(text)]


_TASKS = "tasks: {t: {action: std.noop}}"


@pytest.mark.parametrize(
    ("body", "path", "message"),
    [
        (f"outputs: {{a: 1}}\n{_TASKS}", "outputs", "did you mean 'output'?"),
        (f"timeout: soon\n{_TASKS}", "timeout", "a timeout is an expression or a positive integer"),
        (f"description: 5\n{_TASKS}", "description", "a description is text"),
        ("tasks: {t: {action: std.echo output=1.5}}", "tasks.t.action", "'output=1.5' is not read as it is written"),
        ("tasks: {t: {action: std.echo output=abc}}", "tasks.t.action", "use input"),
        ("tasks: {t: {workflow: other x=-1}}", "tasks.t.workflow", "'x=-1'"),
        ("tasks: {t: {retry: count=3 delay=1.5}}", "tasks.t.retry", "'delay=1.5'"),
        ("tasks: {t: {on-success: fail msg=no}}", "tasks.t.on-success", "quotes around the value"),
        ("tasks: {t: {on-success: u x=1}, u: {action: std.noop}}", "tasks.t.on-success", "parameters of the task 'u'"),
        ("tasks: {t: {on-success: {u: <% 1 %>}}, u: {action: std.noop}}", "tasks.t.on-success", "leads nowhere"),
        (
            "tasks: {t: {on-success: {next: {u: <% 1 %>}}}, u: {action: std.noop}}",
            "tasks.t.on-success.next",
            "the guard is not looked at",
        ),
        (
            "tasks: {t: {on-error: {publish: {atomic: {a: 1}}}}}",
            "tasks.t.on-error.publish.atomic",
            "atomic publish has no effect",
        ),
        ("tasks: {t: {keep-result: <% $.x %>}}", "tasks.t.keep-result", "never evaluated"),
        ("tasks: {t: {safe-rerun: <% $.x %>}}", "tasks.t.safe-rerun", "never evaluated"),
        ("tasks: {t: {join: 0}}", "tasks.t.join", "no join"),
        ("tasks: {version: {action: std.noop}, t: {action: std.noop}}", "tasks.version", "left out"),
        (
            f"task-defaults: {{on-error: {{publish: {{branch: {{a: 1}}}}, next: fail}}}}\n{_TASKS}",
            "task-defaults.on-error.publish",
            "has no effect",
        ),
        ("task-defaults: {timeout: 5}\ntasks: {t: {timeout: 0}}", "tasks.t.timeout", "does not switch off the default"),
        ('tasks: {t: {publish: {a: {b: ["<% 1 +\\n 2 %>"]}}}}', "tasks.t.publish.a.b[0]", "line break"),
    ],
)
def test_a_silent_pitfall_is_told_with_its_place(body, path, message):
    [(found_path, found)] = told(body)
    assert found_path == path
    assert message in found


def test_a_sound_definition_gives_no_warning():
    body = """
        description: sound
        input: [a]
        output: {x: <% $.x %>}
        timeout: <% $.a %>
        task-defaults: {timeout: 5, on-error: fail}
        tasks:
          t:
            action: std.echo output='x = y'
            timeout: 3
            publish: {x: "a {{ _.a }}\\nb <% no"}
            on-success: [{u: <% $.x %>}, "fail msg='so what'"]
            retry: count=3 delay=1
          u: {join: all, keep-result: false}
        """
    assert told(body.replace("b <% no", "b")) == []


def test_workbooks_and_actions_are_looked_at_too():
    book = (
        "version: '2.0'\nname: b\nworkflows: {w: {out: 1, tasks: {t: {x: 1}}}}\nactions: {a: {base: std.echo x=abc}}\n"
    )
    assert [fault.path for fault in warnings(book)] == ["workflows.w.out", "actions.a.base"]
    assert [fault.path for fault in warnings("version: '2.0'\na: {base: std.echo x=abc}\n")] == ["a.base"]
    assert warnings("version: '2.0'\na: {base: std.echo x=1}\n") == ()


def test_a_warning_knows_its_line():
    [warning] = warnings("version: '2.0'\nw:\n  outputs: 1\n  tasks: {t: {action: std.noop}}\n")
    assert (warning.line, warning.column) == (3, 3)
