"""What a project has is moved between services, in both directions, and what differs is told."""

import json
import stat
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
import requests
import yaml

from chalicelib.local import belongings
from chalicelib.local.belongings import Belonging, Kind, Verdict, differences
from chalicelib.local.main import main
from chalicelib.local.remote import Remote
from chalicelib.local.transfer import inventory
from tests.api.service_client import Client
from tests.markdown import ROOT

# As OpenStack Mistral 23 told them, page by page.
RECORDED = json.loads((ROOT / "tests" / "fixtures" / "openstack_project.json").read_text("utf-8"))
OPENSTACK = "http://openstack.test/v2"
HERE = "http://here.test/v2"
THERE = "http://there.test/v2"

WORKFLOWS = """
version: '2.0'
# a remark
first:
  input: [a, b: 2]
  tasks:
    t: {action: std.echo output=<% $.a %>}
second:
  tasks:
    t: {workflow: first a=1}
"""
ACTIONS = """
version: '2.0'
greet: {base: std.echo, input: [n], base-input: {output: "Hello <% $.n %>"}}
bye: {base: std.echo, base-input: {output: bye}}
"""
WORKBOOK = """
version: '2.0'
name: book
actions:
  hi: {base: std.echo, base-input: {output: hi}}
workflows:
  inner: {tasks: {t: {action: hi}}}
"""
SOURCE = (
    "from mistral_lib import actions\n\n\nclass Ask(actions.Action):\n    def run(self, context):\n        return 1\n"
)

Answer = Callable[[str, str, Any, dict[str, str], dict[str, str]], tuple[int, Any]]


def recorded(method: str, path: str, _body: Any, query: dict[str, str], _headers: Any) -> tuple[int, Any]:
    """OpenStack Mistral, as it was recorded: what was not asked then is not known now."""
    assert method == "GET"
    found = RECORDED[f"{path.removeprefix('/v2/')}?{urlencode(sorted(query.items()))}"]
    return (403 if "faultstring" in found else 200), found


class Live:
    """One of our services, which takes definitions as OpenStack Mistral does: not from those who accept JSON only."""

    def __init__(self, *, is_admin: bool = True) -> None:
        self.client = Client(auth="authorizer").as_project("p1", "admin" if is_admin else "")

    def __call__(
        self, method: str, path: str, body: Any, query: dict[str, str], headers: dict[str, str]
    ) -> tuple[int, Any]:
        if isinstance(body, bytes) and headers["Accept"] == "application/json":
            return 406, None
        told = {"content_type": headers["Content-Type"]} if "Content-Type" in headers else {}
        reply = self.client.ask(method, f"{path}?{urlencode(query)}", b"" if body is None else body, **told)
        return reply.status, reply.json


@pytest.fixture
def hosts(monkeypatch) -> dict[str, Answer]:
    """Who answers, by host; nothing leaves this process."""
    known: dict[str, Answer] = {"openstack.test": recorded, "here.test": Live(), "there.test": Live()}

    def request(
        method: str, url: str, *, params: Any, headers: Any, data: Any = None, json: Any = None, **_: Any
    ) -> Any:
        place = urlsplit(url)
        assert not parse_qsl(place.query)
        status, answer = known[str(place.hostname)](
            method, place.path, data if json is None else json, dict(params or {}), headers
        )
        return SimpleNamespace(ok=status < 400, status_code=status, content=answer, json=lambda: answer)

    monkeypatch.setattr(requests, "request", request)
    return known


@pytest.fixture
def full(hosts) -> Remote:
    """A service that has one of everything."""
    service = Remote(HERE)
    for namespace in ("", "deep"):
        service.call("POST", "/workflows", WORKFLOWS, query={"namespace": namespace})
    service.call("POST", "/actions", ACTIONS, query={"namespace": "deep"})
    service.call("POST", "/workbooks", WORKBOOK)
    service.call("POST", "/code_sources", SOURCE, query={"name": "ask"})
    service.call("POST", "/dynamic_actions", {"name": "asks", "class_name": "Ask", "code_source_name": "ask"})
    service.call("POST", "/environments", {"name": "env", "description": "d", "variables": {"password": "x", "n": [1]}})
    berlin = {"time_zone": "Europe/Berlin", "workflow_params": {"env": "env"}, "remaining_executions": 5}
    service.call(
        "POST",
        "/cron_triggers",
        {"name": "nightly", "workflow_name": "first", "workflow_input": {"a": 1}, "pattern": "0 3 * * *", **berlin},
    )
    [deep] = service.call("GET", "/workflows", query={"namespace": "deep", "name": "second"})["workflows"]
    once = {"workflow_id": deep["id"], "first_execution_time": "2033-05-05 10:00"}
    service.call("POST", "/cron_triggers", {"name": "once", **once})
    event = {"exchange": "nova", "topic": "notifications", "event": "made", "workflow_id": deep["id"]}
    service.call("POST", "/event_triggers", {"name": "made", **event})
    return service


def kinds(found: list[Belonging]) -> dict[str, int]:
    return {kind.value: sum(one.kind is kind for one in found) for kind in Kind}


def test_everything_arrives_and_nothing_differs(full, tmp_path, capsys):
    path = str(tmp_path / "moved.yaml")
    assert main(["move", "export", path, "--url", HERE]) == 0
    assert main(["move", "compare", path, "--url", THERE]) == 1
    assert "missing: cron trigger nightly" in capsys.readouterr().out

    assert main(["move", "import", path, "--url", THERE]) == 0

    assert capsys.readouterr().out.splitlines()[-1] == "everything is there"
    assert kinds(inventory(Remote(THERE)).belongings) == {
        "code_sources": 1,
        "dynamic_actions": 1,
        "workbooks": 1,
        "actions": 2,
        "workflows": 4,
        "environments": 1,
        "cron_triggers": 2,
        "event_triggers": 1,
    }
    assert differences(inventory(full).belongings, inventory(Remote(THERE)).belongings) == []
    [trigger] = Remote(THERE).call("GET", "/cron_triggers", query={"name": "nightly"})["cron_triggers"]
    assert (trigger["time_zone"], trigger["remaining_executions"]) == ("Europe/Berlin", 5)


def test_what_openstack_mistral_tells_arrives(hosts, tmp_path, capsys):
    path = str(tmp_path / "moved.yaml")
    assert main(["move", "export", path, "--url", OPENSTACK, "--project", "<default-project>"]) == 0
    told = capsys.readouterr()
    assert "1 workbooks, 4 workflows, 5 actions, 3 environments, 2 cron triggers, 1 event triggers" in told.out
    assert "code_sources were not read: Operation forbidden" in told.err

    assert main(["move", "import", path, "--url", THERE]) == 0

    there = {one.title: one for one in inventory(Remote(THERE)).belongings}
    assert there["cron trigger nightly"].content["workflow_input"] == {"a": 1}
    assert there["cron trigger once"].content["first_execution_time"] == "2033-05-05 10:00"
    assert there["cron trigger once"].content["pattern"] is None
    assert there["environment env"].content["variables"] == {"password": "x", "n": [1, 2]}
    assert "event trigger nova/notifications/compute.instance/first" in there
    [found] = Remote(THERE).call("GET", "/workflows", query={"name": "book.inner"})["workflows"]
    assert found["namespace"] == ""


def test_what_is_compared_with_openstack_mistral_differs_in_nothing(hosts, tmp_path):
    path = str(tmp_path / "moved.yaml")
    main(["move", "export", path, "--url", OPENSTACK])
    assert main(["move", "compare", path, "--url", OPENSTACK]) == 0


def test_a_text_of_several_things_becomes_a_text_of_each(full):
    found = {one.title: one for one in inventory(full).belongings}
    assert yaml.safe_load(found["action bye (namespace deep)"].content["definition"]).keys() == {"version", "bye"}


def test_lists_are_read_to_their_end_whatever_the_size_of_a_page(full):
    for number in range(7):
        full.call("POST", "/environments", {"name": f"e{number}", "variables": {"n": number}})
    whole = inventory(full).belongings
    assert kinds(whole)["environments"] == 8
    assert differences(whole, inventory(full, page_size=2).belongings) == []


def test_what_is_different_stays_until_it_is_told_to_be_replaced(full, tmp_path, capsys):
    path = tmp_path / "moved.yaml"
    main(["move", "export", str(path), "--url", HERE])
    main(["move", "import", str(path), "--url", THERE])
    text = path.read_text("utf-8").replace("output: bye", "output: farewell").replace("0 3 * * *", "0 4 * * *")
    path.write_text(text.replace("password: x", "password: secret"), "utf-8")
    capsys.readouterr()

    assert main(["move", "import", str(path), "--url", THERE]) == 1
    told = capsys.readouterr().out
    assert "different: action bye (namespace deep)" in told
    assert "    +    output: farewell" in told
    assert "different: cron trigger nightly\n    pattern is another one" in told
    assert "different: environment env\n    variables is another one" in told
    assert "secret" not in told
    assert told.splitlines()[-1] == "3 differences"

    assert main(["move", "import", str(path), "--url", THERE, "--replace"]) == 0
    told = capsys.readouterr().out
    assert "replaced: cron trigger nightly" in told
    [trigger] = Remote(THERE).call("GET", "/cron_triggers", query={"name": "nightly"})["cron_triggers"]
    assert trigger["pattern"] == "0 4 * * *"


def test_what_is_refused_is_told_and_the_others_go_on(hosts, full, tmp_path, capsys):
    hosts["there.test"] = Live(is_admin=False)
    path = str(tmp_path / "moved.yaml")
    main(["move", "export", path, "--url", HERE])
    capsys.readouterr()
    assert main(["move", "import", path, "--url", THERE]) == 1
    told = capsys.readouterr()
    assert "refused: code source ask: " in told.err
    assert "created: event trigger nova/notifications/made/second" in told.out
    assert told.out.splitlines()[-1] == "2 differences"


def test_what_the_target_has_beyond_that_is_told_and_is_no_difference(full, tmp_path, capsys):
    path = str(tmp_path / "moved.yaml")
    main(["move", "export", path, "--url", THERE])
    capsys.readouterr()
    assert main(["move", "compare", path, "--url", HERE]) == 0
    assert "only there: environment env" in capsys.readouterr().out


def test_comments_and_line_breaks_are_no_difference():
    def workflow(text: str) -> Belonging:
        return Belonging(Kind.WORKFLOWS, "w", {"definition": text})

    one, same = (
        workflow("version: '2.0'\nw: {tasks: {t: {action: x}}}"),
        workflow("version: 2.0\n# why\nw:\n  tasks:\n    t:\n      action: x\n"),
    )
    assert differences([one], [same]) == []
    [found] = differences([one], [workflow("version: '2.0'\nw: {tasks: {t: {action: y}}}")])
    assert found.verdict is Verdict.DIFFERENT
    [found] = differences([one], [Belonging(Kind.WORKFLOWS, "w", one.content, scope="public")])
    assert list(found.lines()) == ["scope is another one"]


def test_a_trigger_that_has_fired_and_one_that_is_paused_are_remarked(full):
    full.call("POST", "/cron_triggers/nightly/pause")
    found = inventory(full, now=lambda: 2_100_000_000.0)
    assert sorted(found.remarks) == [
        "cron trigger nightly is paused; the new one is not",
        "cron trigger once has fired already, and does not fire again",
    ]


def test_what_a_workbook_does_not_have_any_more_is_remarked(full):
    without = WORKBOOK.replace("inner:", "other:")
    full.call("PUT", "/workbooks", without)
    [remark] = inventory(full).remarks
    assert remark == "workflow book.inner was once in workbook book, whose text does not have it any more"


def test_a_file_is_for_its_owner_alone_and_keeps_definitions_readable(full, tmp_path):
    path = tmp_path / "moved.yaml"
    main(["move", "export", str(path), "--url", HERE])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "definition: |\n" in path.read_text("utf-8")
    assert belongings.read(path.read_text("utf-8")) == sorted(
        belongings.read(belongings.written(inventory(full).belongings)), key=lambda one: list(Kind).index(one.kind)
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[", "is no YAML"),
        ("version: '2.0'", "was not made by `mistral-local move export`"),
        (
            "format: mistral-move/1\nobjects: [{kind: moons, name: a, content: {}}]",
            "an object that cannot be read, number 1",
        ),
    ],
)
def test_a_file_that_is_none_is_refused(hosts, tmp_path, capsys, text, why):
    path = Path(tmp_path, "moved.yaml")
    path.write_text(text, "utf-8")
    assert main(["move", "import", str(path), "--url", THERE]) == 2
    assert why in capsys.readouterr().err
