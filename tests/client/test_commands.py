"""Every command of the client, by both names, and the pages that say which of them work."""

import mistralclient
import pytest
from mistralclient.shell import MistralShell

import app
from tests.client.openstack import GROUP, OpenStack, words
from tests.client.shell import Mistral
from tests.client.tour import PAGE, SILENT, page_with, table, touring
from tests.markdown import ROOT, code, rows

COMMANDS = 73
OF_OPENSTACK = 70


@pytest.fixture(scope="module")
def stops(tmp_path_factory):
    with touring(tmp_path_factory.mktemp("tour")) as tour:
        return tour.run()


def test_the_tour_runs_every_command_once(stops):
    assert sorted(stop.command for stop in stops) == sorted(MistralShell._get_commands_v2())
    assert len(stops) == COMMANDS + len(SILENT)


def test_every_command_makes_one_request(stops):
    assert {stop.command for stop in stops if len(stop.ended.requests) != 1} == SILENT


def test_every_command_works(stops):
    assert [(stop.command, stop.error) for stop in stops if not stop.works] == []


def test_every_command_works_by_its_name_in_openstack(tmp_path, stops):
    with touring(tmp_path, OpenStack) as tour:
        again = tour.run()
    assert [(stop.command, stop.error) for stop in again if not stop.works] == []
    methods = [[method for method, _ in stop.ended.requests] for stop in again]
    assert methods == [[method for method, _ in stop.ended.requests] for stop in stops]


def test_openstack_knows_every_command_but_four():
    assert len(words()) == OF_OPENSTACK
    assert set(MistralShell._get_commands_v2()) - set(words()) == {
        "bash-completion", "action-validate", "execution-get-sub-executions", "task-get-sub-executions"
    }  # fmt: skip
    assert GROUP == "openstack.workflow_engine.v2"


def test_without_authentication_nobody_is_an_admin_and_nobody_shares(mistral):
    assert "Operation forbidden (insufficient permissions)" in mistral.refused("code-source-list")
    assert "Operation forbidden (insufficient permissions)" in mistral.refused("dynamic-action-list")
    nil = "00000000-0000-4000-8000-000000000000"
    assert "only be supported with authentication enabled" in mistral.refused("member-list", nil, "workflow")


# -- the pages


def test_the_page_is_current(stops):
    assert page_with(table(stops, app.app.routes)) == PAGE.read_text("utf-8"), "run: python -m tests.client"


def test_the_page_names_the_version_of_the_client():
    assert f"version {'.'.join(mistralclient.__version__.split('.')[:2])}" in PAGE.read_text("utf-8")


def test_every_route_on_the_page_is_one_of_ours_and_works():
    ours = {f"{route.method} {route.path}" for route in app.all_routes()}
    told = [(code(cells[1]), cells[3]) for cells in rows(PAGE) if code(cells[1])]
    assert len(told) == COMMANDS
    assert {route for route, _ in told} <= ours
    assert {result for _, result in told} == {"works"}


def test_the_page_of_compatibility_counts_the_commands():
    text = (ROOT / "docs" / "compatibility.md").read_text("utf-8")
    assert f"all {COMMANDS} commands of `mistral`" in text
    assert f"the {OF_OPENSTACK} of `openstack`" in text


def test_the_legacy_list_of_services_is_not_found(api):
    answer = api.workflows.http_client.get("/services")
    assert answer.status_code == 404
    assert answer.json()["faultstring"] == "No such resource: /v2/services. The API begins at /v2."


def test_a_user_of_one_project_is_told_apart_from_a_user_of_another(tmp_path):
    with touring(tmp_path) as tour:
        admin, demo = tour.admin, tour.other
        assert isinstance(admin, Mistral)
        path = admin.file("told.yaml", "version: '2.0'\ntold_apart: {tasks: {a: {action: std.noop}}}\n")
        (made,) = admin.rows("workflow-create", path)
        assert "Workflow not found" in demo.refused("workflow-get", made["ID"])
        admin.text("member-create", made["ID"], "workflow", "demo")
        assert demo.one("member-update", made["ID"], "workflow", "-m", "demo")["Status"] == "accepted"
        assert demo.one("workflow-get", made["ID"])["Project ID"] == "admin"
        (member,) = admin.rows("member-list", made["ID"], "workflow")
        assert (member["Member ID"], member["Status"]) == ("demo", "accepted")
        admin.text("member-delete", made["ID"], "workflow", "demo")
        assert "Workflow not found" in demo.refused("workflow-get", made["ID"])
