"""Code sources, dynamic actions and sharing through the client's commands, by an admin of a local service."""

import json

import pytest

from tests.client.shell import Mistral
from tests.docs_service import serving

SESSION_SEC = 600
SOURCE = """
from mistral_lib import actions

class Double(actions.Action):
    '''Doubles a number.'''

    def __init__(self, number, times=2):
        self.number, self.times = number, times

    def run(self, context):
        return self.times * self.number
"""
WORKFLOW = """
{name}:
  input: [number]
  output: {{doubled: <% $.doubled %>}}
  tasks:
    twice:
      action: {name}.double number=<% $.number %>
      publish: {{doubled: <% task().result %>}}
"""


@pytest.fixture(scope="module")
def admin_url():
    with serving("--storage", "memory", "--admin", within_sec=SESSION_SEC) as served:
        yield served


@pytest.fixture
def admin(admin_url, tmp_path):
    return Mistral(admin_url, tmp_path)


def source(admin, name, *options, text=SOURCE):
    return admin.one("code-source-create", name, admin.file("source.py", text), *options)


def test_a_code_source_is_created_shown_updated_and_deleted(admin):
    made = source(admin, "whole")
    assert (made["Name"], made["Namespace"], made["Scope"], made["Project ID"]) == (
        "whole", "", "private", "<default-project>"
    )  # fmt: skip
    assert admin.one("code-source-get", "whole") == admin.one("code-source-get", made["ID"])
    assert admin.text("code-source-get-content", "whole") == SOURCE
    changed = admin.one("code-source-update", "whole", admin.file("new.py", "x = 2\n"))
    assert (changed["ID"], changed["Updated at"] is None) == (made["ID"], False)
    assert admin.text("code-source-get-content", made["ID"]) == "x = 2\n"
    assert admin.column("Name", "code-source-list", "--filter", "name=whole") == ["whole"]
    assert "Request to delete code source 'whole' has been accepted" in admin.text("code-source-delete", "whole")
    assert "Code source not found" in admin.refused("code-source-get", "whole")


def test_code_sources_have_scope_and_namespace(admin):
    assert source(admin, "placed", "--public")["Scope"] == "public"
    there = source(admin, "placed", "--namespace", "north")
    assert there["Namespace"] == "north"
    assert admin.one("code-source-get", "placed", "--namespace", "north")["ID"] == there["ID"]
    assert "Duplicate entry for CodeSource" in admin.refused(
        "code-source-create", "placed", admin.file("source.py", SOURCE)
    )
    admin.text("code-source-delete", "placed", "--namespace", "north")
    admin.text("code-source-delete", "placed")


def test_a_dynamic_action_is_created_shown_updated_and_deleted(admin):
    code = source(admin, "dynamic")
    made = admin.one("dynamic-action-create", "dynamic.double", "Double", "dynamic")
    assert (made["Name"], made["Class"], made["Code source ID"], made["Code source name"]) == (
        "dynamic.double", "Double", code["ID"], "dynamic"
    )  # fmt: skip
    assert admin.one("dynamic-action-get", "dynamic.double") == admin.one("dynamic-action-get", made["ID"])
    changed = admin.one("dynamic-action-update", "dynamic.double", "--class-name", "Other")
    assert (changed["ID"], changed["Class"]) == (made["ID"], "Other")
    kept = admin.one("dynamic-action-update", made["ID"], "--code-source", code["ID"])
    assert kept["Class"] == "Other", "what is not given stays"
    assert admin.column("Name", "dynamic-action-list", "--filter", "name=has:dynamic.") == ["dynamic.double"]
    admin.text("dynamic-action-delete", "dynamic.double")
    assert "Dynamic action not found" in admin.refused("dynamic-action-get", "dynamic.double")


def test_a_dynamic_action_is_an_action_like_any_other(admin):
    source(admin, "like")
    admin.text("dynamic-action-create", "like.double", "Double", "like")
    shown = admin.one("action-get", "like.double")
    assert (shown["Input"], shown["Description"]) == ("number, times=2", "Doubles a number.")
    assert admin.column("Name", "action-list", "--filter", "name=has:like.") == ["like.double"]
    assert json.loads(admin.text("run-action", "like.double", '{"number": 21}')) == {"result": 42}
    admin.upload(WORKFLOW.format(name="like"))
    done = admin.finished("like", '{"number": 4}')
    assert admin.json("execution-get-output", done) == {"doubled": 8}
    admin.text("code-source-update", "like", admin.file("new.py", SOURCE.replace("times=2", "times=3")))
    done = admin.finished("like", '{"number": 4}')
    assert admin.json("execution-get-output", done) == {"doubled": 12}


def test_deleting_a_code_source_takes_its_dynamic_actions_along(admin):
    source(admin, "taken")
    admin.text("dynamic-action-create", "taken.double", "Double", "taken")
    admin.text("code-source-delete", "taken")
    assert "Dynamic action not found" in admin.refused("dynamic-action-get", "taken.double")
    assert "Failed to find action" in admin.refused("run-action", "taken.double", '{"number": 1}')


def test_code_that_fails_says_where(admin):
    source(admin, "failing", text="class Broken:\n    def run(self, context):\n        return 1 / 0\n")
    admin.text("dynamic-action-create", "failing.now", "Broken", "failing")
    result = json.loads(admin.text("run-action", "failing.now", "{}"))["result"]
    assert "ZeroDivisionError: division by zero (code source 'failing', line 3)" in result


def test_an_admin_of_a_local_service_publishes_for_everybody(admin):
    text = "version: '2.0'\npublished: {tasks: {a: {action: std.noop}}}\n"
    (made,) = admin.rows("workflow-create", admin.file("public.yaml", text), "--public")
    assert made["Scope"] == "public"
