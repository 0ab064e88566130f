"""Every example runs as its own first lines say, and does what it promises when things go wrong."""

import json
import re
from pathlib import Path

import pytest

from chalicelib.engine.events import ActionCompleted
from chalicelib.lang import parser
from chalicelib.local.emulator import safe_moto
from chalicelib.vocabulary import Result
from examples import demo
from tests.docs_service import bash, web_server
from tests.in_memory import Finished, World
from tests.markdown import ROOT

EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))
RUN = "mistral-local run"


@pytest.fixture(scope="module")
def web():
    with web_server() as url:
        yield url


def text_of(example: Path | str) -> str:
    """The text of an example."""
    return (ROOT / "examples" / f"{getattr(example, 'stem', example)}.yaml").read_text("utf-8")


def commands_of(example: Path) -> list[str]:
    """The commands in the comment that an example begins with; a command may have several lines."""
    comment = re.match(r"(?:#.*\n)+", text_of(example))
    assert comment is not None, f"{example.name} begins with no comment"
    lines = [line[4:] for line in comment[0].splitlines() if line.startswith("#   ")]
    return re.split(r"\n(?=mistral)", "\n".join(lines))


def finished(example: str, workflow: str = "", /, **input: object) -> Finished:
    """Run an example in memory, on an empty emulated cloud."""
    with safe_moto():
        world = World()
        names = world.upload(text_of(example))
        return world.run(workflow or names[0], input)


PROMISED = {
    "create_vm": {"vm_id", "private_ip"},
    "dashboard": {"customer", "open_orders", "total", "headline"},
    "provision": {"queue_url"},
    "release": {"released", "summary"},
    "nightly_report": {"report", "stored_at", "announced_as"},
    "check_urls": {"checked", "broken"},
}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_a_definition_without_pitfalls(example):
    World().upload(text_of(example))
    assert parser.warnings(text_of(example)) == ()


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_as_it_says(example, web):
    commands = [command for command in commands_of(example) if command.startswith(RUN)]
    assert bool(commands) is (example.stem in PROMISED), "an example that needs no service says how to run it"
    for command in commands:
        assert f"examples/{example.name}" in command
        ended = bash(re.sub(r"https://(api\.)?example\.com", web, command))
        assert ended.status == 0, ended.errors
        assert json.loads(ended.output).keys() == PROMISED[example.stem]


def test_dashboard_does_without_news(web):
    end = finished("dashboard", profile_url=f"{web}/profile", orders_url=f"{web}/orders", news_url=f"{web}/broken")
    assert end.output == {"customer": "Ada", "open_orders": 1, "total": 42, "headline": "no news today"}


def test_dashboard_fails_without_orders(web):
    end = finished("dashboard", profile_url=f"{web}/profile", orders_url=f"{web}/broken", news_url=f"{web}/news")
    assert end.state == "ERROR"


@pytest.mark.parametrize(("path", "reason"), [("/broken", "500"), (":1/", "Failed to send HTTP request")])
def test_provision_cleans_up_and_says_why(web, path, reason):
    end = finished(
        "provision", name="orders", health_url=f"{web}{path}" if path.startswith("/") else f"http://127.0.0.1{path}"
    )
    assert end.state == "ERROR"
    assert (end.output["failed_at"], end.output["cleaned_up"]) == ("check_health", True)
    assert reason in end.output["reason"]
    assert end.output["result"] == "orders is not healthy, so its queue was removed."


def test_nightly_report_says_that_there_are_no_orders():
    with safe_moto():
        world = World()
        world.upload(text_of("nightly_report"))
        assert (
            world.run("sample_orders", {"day": "2026-01-30", "table": "orders", "bucket": "reports"}).state == "SUCCESS"
        )
        end = world.run("nightly_report", {"day": "2026-01-31"})
        assert (end.state, end.header.state_info) == ("ERROR", "There are no orders for 2026-01-31.")
        sums = world.run("nightly_report", {"day": "2026-01-30"}).output["report"]
        assert sums == {"day": "2026-01-30", "orders": 3, "total": 50, "by_customer": {"ada": 38, "grace": 12}}


def test_check_urls_names_the_broken_ones(web):
    urls = [f"{web}/profile", f"{web}/missing", "http://127.0.0.1:1/", f"{web}/news"]
    assert finished("check_urls", urls=urls, at_a_time=2).output == {"checked": 4, "broken": urls[1:3]}


def test_release_releases_in_every_region():
    output = finished(
        "release", "release_book.release", version="2.0", regions=["eu-west-1", "eu-west-3", "us-east-1"]
    ).output
    assert output["summary"] == "shop 2.0 is live in 3 regions"


@pytest.mark.parametrize(("approved", "decision", "applied"), [(True, "approved", 1), (False, "refused", 0)])
def test_approval_follows_the_answer(approved, decision, applied):
    world = World()
    [name] = world.upload(text_of("approval"))
    waiting = world.run(name, {"change": "x"}, until=lambda header: bool(header.frontier))
    result = Result(data={"approved": approved, "by": "ada"})
    world.container.engine.handle(waiting.header.id, ActionCompleted(waiting.tasks[0].ordinal, 0, result))
    end = world.go_on(waiting.header.id, lambda header: header.state.is_completed)
    assert end.output == {"change": "x", "decision": decision, "decided_by": "ada"}
    assert end.count("apply") == applied


def test_approval_expires_after_a_day():
    world = World()
    [name] = world.upload(text_of("approval"))
    began = world.clock.now()
    assert world.run(name, {"change": "x"}).output["decision"] == "expired"
    assert world.clock.now() - began == pytest.approx(86400, abs=1)


def test_the_demo_succeeds(capsys):
    assert demo.main([]) == 0
    assert '"vm_id": "i-' in capsys.readouterr().out


def test_the_demo_says_what_is_wrong(capsys, monkeypatch):
    monkeypatch.setattr(demo, "WORKFLOW", "absent")
    assert demo.main([]) == 1
    printed = capsys.readouterr()
    assert "`mistral workflow-create" in printed.err
    assert "failed" in printed.err
