"""Every command of the client, and the page that says which of them work."""

import mistralclient
import pytest
from mistralclient.shell import MistralShell

import app
from tests.client.shell import Mistral
from tests.client.tour import PAGE, SILENT, Tour, page_with, table
from tests.markdown import code, rows


@pytest.fixture(scope="module")
def stops(url, tmp_path_factory):
    return Tour(Mistral(url, tmp_path_factory.mktemp("tour"))).run()


def test_the_tour_runs_every_command_once(stops):
    assert sorted(stop.command for stop in stops) == sorted(MistralShell._get_commands_v2())


def test_every_command_makes_one_request(stops):
    assert {stop.command for stop in stops if len(stop.ended.requests) != 1} == SILENT


def test_commands_fail_only_where_something_is_missing_or_nobody_says_who_they_are(stops):
    failing = {stop.command for stop in stops if not stop.works}
    missing = {name for name in failing if name.startswith(("code-source-", "dynamic-action-"))}
    assert len(missing) == 11
    assert failing - missing == {
        "action-execution-delete", "member-create", "member-delete", "member-get", "member-list", "member-update"
    }  # fmt: skip


def test_the_page_is_current(stops):
    assert page_with(table(stops, app.app.routes)) == PAGE.read_text("utf-8"), "run: python -m tests.client"


def test_the_page_names_the_version_of_the_client():
    assert f"version {'.'.join(mistralclient.__version__.split('.')[:2])}" in PAGE.read_text("utf-8")


def test_a_route_that_works_is_one_of_ours():
    ours = {f"{route.method} {route.path}" for route in app.all_routes()}
    told = {code(cells[1]): cells[2] for cells in rows(PAGE) if code(cells[1])}
    assert told
    assert all((route in ours) is (result != "not yet") for route, result in told.items())


@pytest.mark.parametrize("path", ["/services", "/maintenance", "/code_sources", "/dynamic_actions"])
def test_what_is_missing_today_is_not_found(api, path):
    answer = api.workflows.http_client.get(path)
    assert answer.status_code == 404
    assert answer.json()["faultstring"] == f"No such resource: /v2{path}. The API begins at /v2."
