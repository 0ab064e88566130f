"""Workflows, workbooks, actions and environments through the client's commands."""

import json

import pytest

WORKFLOWS = """
{name}_first:
  description: greets
  tags: [{name}, early]
  input: [who, times: 1, how: null]
  tasks: {{greet: {{action: std.echo output=<% $.who %>}}}}
{name}_second:
  tasks: {{nothing: {{action: std.noop}}}}
"""
ACTION = """
version: '2.0'
{name}:
  description: greets
  tags: [greeting]
  input: [who, times: 2]
  base: std.echo
  base-input: {{output: <% $.who %>}}
"""
WORKBOOK = """
version: '2.0'
name: {name}
tags: [greeting]
actions:
  greet: {{base: std.echo output=1}}
workflows:
  welcome: {{tasks: {{greet: {{action: greet}}}}}}
"""
BROKEN = "version: '2.0'\nbroken:\n  tasks: 5\n"


def upload(mistral, name, *options):
    return mistral.upload(WORKFLOWS.format(name=name), *options)


# -- workflows


def test_one_document_creates_several_workflows(mistral):
    first, second = upload(mistral, "several")
    assert (first["Name"], second["Name"]) == ("several_first", "several_second")
    assert first["Tags"] == "several, early"
    assert first["Input"] == 'who, times="1", how="None"'[:25] + "..."
    assert (first["Scope"], first["Namespace"], first["Project ID"]) == ("private", "", "<default-project>")
    assert first["Updated at"] is None


def test_a_workflow_is_found_by_name_and_by_id(mistral):
    first, _second = upload(mistral, "found")
    by_name = mistral.one("workflow-get", "found_first")
    assert by_name == mistral.one("workflow-get", first["ID"])
    assert by_name["Input"] == 'who, times="1", how="None"'


def test_a_workflows_definition_is_the_text_that_was_sent(mistral):
    mistral.upload("verbatim:  # as written\n  tasks: {a: {action: std.noop}}\n")
    assert mistral.text("workflow-get-definition", "verbatim") == (
        "version: '2.0'\nverbatim:  # as written\n  tasks: {a: {action: std.noop}}\n"
    )


def test_a_namespace_keeps_workflows_apart(mistral):
    upload(mistral, "spaced")
    upload(mistral, "spaced", "--namespace", "north")
    here, there = (mistral.one("workflow-get", "spaced_first", *options) for options in ((), ("--namespace", "north")))
    assert (here["Namespace"], there["Namespace"]) == ("", "north")
    assert here["ID"] != there["ID"]
    assert "Workflow not found" in mistral.refused("workflow-get", "spaced_first", "--namespace", "south")
    mistral.text("workflow-delete", "spaced_first", "--namespace", "north")
    assert mistral.column("Namespace", "workflow-list", "--filter", "name=spaced_first") == [""]


def test_workflows_are_filtered_sorted_and_paged(mistral):
    for name in ("listed_b", "listed_a"):
        upload(mistral, name)
    ours = ("workflow-list", "--filter", "name=has:listed_", "--sort_keys", "name")
    names = ["listed_a_first", "listed_a_second", "listed_b_first", "listed_b_second"]
    assert mistral.column("Name", *ours) == names
    assert mistral.column("Name", *ours, "--sort_dirs", "desc") == names[::-1]
    page = mistral.rows(*ours, "--limit", "3")
    assert [row["Name"] for row in page] == names[:3]
    assert mistral.column("Name", *ours, "--limit", "3", "--marker", page[-1]["ID"]) == names[3:]
    assert mistral.column("Name", "workflow-list", "--filter", "tags=listed_a,early") == names[:1]
    assert mistral.rows("workflow-list", "--filter", "name=of nobody") == []


def test_workflows_are_updated_all_of_a_document_or_one_by_its_id(mistral):
    first, second = upload(mistral, "updated")
    changed = "version: '2.0'" + WORKFLOWS.format(name="updated").replace("std.noop", "std.fail")
    rows = mistral.rows("workflow-update", mistral.file("all.yaml", changed))
    assert [row["ID"] for row in rows] == [first["ID"], second["ID"]]
    assert rows[1]["Updated at"]
    text = "version: '2.0'\nupdated_second:\n  input: [more]\n  tasks: {a: {action: std.noop}}\n"
    (row,) = mistral.rows("workflow-update", mistral.file("one.yaml", text), "--id", second["ID"])
    assert (row["ID"], row["Input"]) == (second["ID"], "more")


def test_an_update_creates_nothing(mistral):
    text = "version: '2.0'\nnever_made: {tasks: {a: {action: std.noop}}}\n"
    assert "never_made" in mistral.refused("workflow-update", mistral.file("new.yaml", text))
    assert "not found" in mistral.refused("workflow-get", "never_made")


def test_deleting_goes_on_after_a_workflow_that_is_not_there(mistral):
    upload(mistral, "deleted")
    ended = mistral.run("workflow-delete", "nobody", "deleted_first", "deleted_second")
    assert ended.status == 1
    assert "Workflow not found [workflow_identifier=nobody" in ended.output
    assert "Request to delete workflow deleted_second has been accepted." in ended.output
    assert "Unable to delete the specified workflow(s)." in ended.errors
    assert mistral.rows("workflow-list", "--filter", "name=has:deleted_") == []


# -- actions


def test_an_adhoc_action_is_created_shown_updated_and_deleted(mistral):
    path = mistral.file("action.yaml", ACTION.format(name="greeter"))
    (created,) = mistral.rows("action-create", path)
    shown = mistral.one("action-get", "greeter")
    assert shown["ID"] == created["ID"]
    assert (shown["Is system"], shown["Description"], shown["Tags"]) == (False, "greets", "greeting")
    assert shown["Input"] == "who, times=2"
    assert mistral.text("action-get-definition", "greeter") == ACTION.format(name="greeter")
    changed = mistral.file("changed.yaml", ACTION.format(name="greeter").replace("times: 2", "times: 3"))
    (updated,) = mistral.rows("action-update", changed)
    assert (updated["ID"], updated["Created at"]) == (created["ID"], created["Created at"])
    assert (updated["Input"], bool(updated["Updated at"])) == ("who, times=3", True)
    mistral.text("action-delete", "greeter")
    assert "not found" in mistral.refused("action-get", "greeter")


def test_an_action_lives_in_its_namespace_and_is_found_there(mistral):
    path = mistral.file("action.yaml", ACTION.format(name="northern"))
    mistral.rows("action-create", path, "--namespace", "north")
    assert mistral.one("action-get", "northern", "--namespace", "north")["Name"] == "northern"
    assert "not found" in mistral.refused("action-get", "northern")
    assert mistral.column("Name", "action-list", "--namespace", "north", "--filter", "name=northern") == ["northern"]
    assert mistral.rows("action-list", "--filter", "name=northern") == []
    assert mistral.text("run-action", "northern", '{"who": 1}', "--namespace", "north") == '{"result": 1}\n'
    mistral.text("action-delete", "northern", "--namespace", "north")
    assert "not found" in mistral.refused("action-get", "northern", "--namespace", "north")


def test_built_in_actions_are_listed_among_the_others_although_they_have_no_dates(mistral):
    listed = mistral.column("Name", "action-list", "--filter", "name=std.echo")
    assert listed == ["std.echo"]
    echo = mistral.one("action-get", "std.echo")
    assert (echo["Is system"], echo["Created at"], echo["Updated at"]) == (True, "", "")
    first, second = mistral.column("Name", "action-list", "--sort_keys", "name", "--limit", "2")
    assert mistral.column("Name", "action-list", "--sort_keys", "name", "--limit", "1", "--marker", first) == [second]


# -- workbooks


def test_a_workbook_brings_its_workflows_and_actions(mistral):
    path = mistral.file("book.yaml", WORKBOOK.format(name="guide"))
    created = mistral.one("workbook-create", path)
    assert (created["Name"], created["Tags"], created["Scope"]) == ("guide", "greeting", "private")
    assert mistral.one("workflow-get", "guide.welcome")["Name"] == "guide.welcome"
    assert mistral.one("action-get", "guide.greet")["Name"] == "guide.greet"
    assert mistral.text("workbook-get-definition", "guide") == WORKBOOK.format(name="guide")
    assert mistral.column("Name", "workbook-list", "--filter", "name=guide") == ["guide"]
    changed = mistral.file("changed.yaml", WORKBOOK.format(name="guide").replace("output=1", "output=2"))
    assert mistral.one("workbook-update", changed)["Updated at"]
    mistral.text("workbook-delete", "guide")
    assert "not found" in mistral.refused("workbook-get", "guide")
    assert mistral.one("workflow-get", "guide.welcome")["Name"] == "guide.welcome"


def test_a_workbook_may_have_a_namespace(mistral):
    path = mistral.file("book.yaml", WORKBOOK.format(name="atlas"))
    assert mistral.one("workbook-create", path, "--namespace", "north")["Namespace"] == "north"
    assert mistral.one("workbook-update", path, "--namespace", "north")["Namespace"] == "north"
    assert mistral.one("workbook-get", "atlas", "--namespace", "north")["Name"] == "atlas"
    assert "not found" in mistral.refused("workbook-get", "atlas")
    mistral.text("workbook-delete", "atlas", "--namespace", "north")


# -- validation


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("workflow-validate", "version: '2.0'\nfine: {tasks: {a: {action: std.noop}}}\n"),
        ("workbook-validate", WORKBOOK.format(name="fine")),
        ("action-validate", ACTION.format(name="fine")),
    ],
)
def test_a_validation_says_what_is_wrong_and_ends_well_in_either_case(mistral, command, text):
    assert mistral.one(command, mistral.file("fine.yaml", text)) == {"Valid": True, "Error": None}
    verdict = mistral.one(command, mistral.file("broken.yaml", BROKEN))
    assert verdict["Valid"] is False
    assert verdict["Error"].startswith("Invalid DSL: ")


# -- environments


def test_an_environment_is_created_from_a_file_and_updated_in_part(mistral):
    path = mistral.file("blue.yaml", "name: blue\ndescription: a colour\nvariables: {code: 3, deep: {er: [1]}}\n")
    created = mistral.one("environment-create", path)
    assert (created["Name"], created["Description"], created["Scope"]) == ("blue", "a colour", "private")
    assert json.loads(created["Variables"]) == {"code": 3, "deep": {"er": [1]}}
    updated = mistral.one("environment-update", mistral.file("more.json", {"name": "blue", "description": "another"}))
    assert (updated["Description"], json.loads(updated["Variables"])["code"]) == ("another", 3)
    assert mistral.column("Description", "environment-list", "--filter", "name=blue") == ["another"]
    mistral.text("environment-delete", "blue")
    assert "not found" in mistral.refused("environment-get", "blue")


def test_an_exported_environment_can_be_created_again(mistral):
    mistral.one("environment-create", mistral.file("red.json", {"name": "red", "variables": {"code": 1}}))
    exported = mistral.one("environment-get", "red", "--export")
    mistral.text("environment-delete", "red")
    mistral.one("environment-create", mistral.file("again.json", exported))
    assert json.loads(mistral.one("environment-get", "red")["Variables"]) == {"code": 1}
