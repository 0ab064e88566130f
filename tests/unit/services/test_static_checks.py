"""Calls of ``aws.*`` in a definition: what cannot succeed is refused when it is stored, with its place."""

from __future__ import annotations

import pytest

from chalicelib.actions.registry import Registry
from chalicelib.errors import InvalidModelException
from chalicelib.services.definition_records import Kind
from chalicelib.services.definition_rules import Access, Placement
from chalicelib.services.static_checks import StaticChecks
from tests.in_memory import World

CHECKS = StaticChecks(Registry())


def check(text: str) -> None:
    CHECKS.check("version: '2.0'\n" + text, lambda _name: False)


def refused(text: str) -> str:
    with pytest.raises(InvalidModelException) as caught:
        check(text)
    return caught.value.message


def task(body: str) -> str:
    return f"w:\n  tasks:\n    a:\n{body}"


def test_an_operation_that_does_not_exist_is_refused_with_a_likely_one():
    message = refused(task("      action: aws.ec2.run_instance\n"))
    assert "there is no action 'aws.ec2.run_instance'; did you mean aws.ec2.run_instances" in message
    assert "(w.tasks.a.action) [line 5, column 7]" in message


def test_a_parameter_that_does_not_exist_is_refused_at_its_place():
    message = refused(task("      action: aws.ec2.describe_instances\n      input:\n        instance_ids: [i-1]\n"))
    assert "unexpected=['instance_ids']" in message
    assert "did you mean InstanceIds instead of instance_ids?" in message
    assert "[line 7, column 9]" in message


def test_a_parameter_within_the_text_of_the_action_is_found_there():
    message = refused(task("      action: aws.ec2.describe_instances instance_ids='i-1'\n"))
    assert "(w.tasks.a.action) [line 5, column 7]" in message


def test_a_value_of_the_wrong_type_is_refused():
    message = refused(task("      action: aws.ec2.run_instances\n      input: {MinCount: one, MaxCount: 1}\n"))
    assert "Invalid type for parameter MinCount" in message


def test_every_fault_is_told():
    b = "    b: {action: aws.s3.get_object, input: {bucket: x}}\n"
    message = refused("w:\n  tasks:\n    a: {action: aws.ec2.nothing_at_all}\n" + b)
    assert "(w.tasks.a.action)" in message
    assert "(w.tasks.b.input.bucket)" in message


@pytest.mark.parametrize(
    "text",
    [
        task("      action: aws.ec2.run_instances\n"),
        task("      action: aws.ec2.run_instances\n      input: <% $.all %>\n"),
        task("      action: aws.ec2.run_instances\n      input: {MinCount: <% $.n %>, InstanceType: '{{ _.t }}'}\n"),
        task("      action: <% $.action %>\n"),
        task("      action: aws.<% $.service %>.list_things\n"),
        task("      action: std.no_such_action x=aws.\n"),
        task("      workflow: aws.ec2.nothing\n"),
        task("      action: aws.ec2.wait_instance_running InstanceIds=<% $.ids %> delay=5\n"),
    ],
)
def test_what_may_succeed_passes(text: str):
    check(text)


def test_the_base_of_an_ad_hoc_action_is_checked():
    message = refused("mine:\n  base: aws.sqs.send_mesage\n")
    assert "did you mean aws.sqs.send_message" in message
    assert "(mine.base)" in message


def test_workbooks_are_checked_and_may_bring_such_a_name_themselves():
    book = "name: b\nactions:\n  aws.own:\n    base: std.noop\nworkflows:\n  w:\n    tasks:\n      a: {{action: {}}}\n"
    check(book.format("aws.own"))
    assert "(workflows.w.tasks.a.action)" in refused(book.format("aws.other"))


def test_nothing_is_stored_of_a_document_that_is_refused_and_validation_says_the_same():
    world = World()
    good = "version: '2.0'\ngood:\n  tasks:\n    a: {action: std.noop}\n"
    body = (good + "bad:\n  tasks:\n    a: {action: aws.s3.get_objekt}\n").encode()
    definitions = world.container.definitions
    with pytest.raises(InvalidModelException, match="did you mean aws"):
        definitions.create(Kind.WORKFLOW, Access("p"), body, Placement())
    assert definitions.find_workflow("p", "good", "") is None
    assert "did you mean aws.s3.get_object" in (definitions.judge(Kind.WORKFLOW, body).error or "")


def test_an_ad_hoc_action_of_such_a_name_may_be_called():
    world = World()
    world.container.definitions.create(
        Kind.ACTION, Access("p"), b"version: '2.0'\naws.my.own:\n  base: std.noop\n", Placement()
    )
    body = b"version: '2.0'\nw:\n  tasks:\n    a: {action: aws.my.own}\n"
    assert world.container.definitions.create(Kind.WORKFLOW, Access("p"), body, Placement())
    with pytest.raises(InvalidModelException):
        world.container.definitions.create(Kind.WORKFLOW, Access("other"), body, Placement())
