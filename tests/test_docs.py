"""The documentation tells the truth: every snippet is run or checked, every command is executed, every table compared.

A block in ``yaml`` is a definition; its marker says what is to come of it (``tests/markdown.py`` has the form):

- ``run {"input", "params", "workflow", "state", "output", "count", "after_sec"}``: run, and as it says
- ``refused "text"``: refused with that text; ``warned "text"``: accepted with that warning
- ``tasks``: the tasks of a workflow; without a marker, it is accepted without a warning

The commands of all ``bash`` blocks of a page are run in order, as one script, on a service of its own.
"""

import re
import tomllib
from contextlib import nullcontext
from dataclasses import fields
from pathlib import Path
from textwrap import indent

import pytest

import app
from chalicelib import limits
from chalicelib.actions import registry as action_registry
from chalicelib.actions.action import ActionContext, FunctionAction, Pending, perform
from chalicelib.actions.aws_models import AwsModels
from chalicelib.actions.openstack_services import SERVICES
from chalicelib.adapters.telemetry import TelemetrySettings
from chalicelib.api.http import ApiSettings
from chalicelib.errors import DefinitionError
from chalicelib.lang import parser
from chalicelib.local.main import _parser as command_parser
from chalicelib.services.auth_settings import AuthSettings
from chalicelib.services.diagnosis import Problem
from chalicelib.services.expiration import ExpirationPolicy
from chalicelib.services.telemetry import Metric
from chalicelib.settings import Settings
from infra import archive, deploy, package
from tests.docs_service import USUAL_URL, bash, serving
from tests.in_memory import World
from tests.markdown import PAGES, ROOT, Block, anchors, blocks, code, links, prose, rows

README = ROOT / "README.md"
DOCS = ROOT / "docs"

# Commands that the tests do not run as they stand, and why.
NOT_RUN = {
    "make demo": "tests/test_examples.py runs what it calls",
    "make test": "it is what runs this",
    "make install": "it has made what runs this",
    "make package STAGE=dev REGION=eu-west-1": "downloads; tests/test_infra_package.py runs what it calls",
    "make deploy STAGE=dev REGION=eu-west-1": "tests/test_infra_deploy.py runs what it calls, on the emulator",
    "make destroy STAGE=dev REGION=eu-west-1 ARGS=--delete-data": "likewise",
}


def name_of(value):
    """A readable test id."""
    return value.relative_to(ROOT).as_posix() if isinstance(value, Path) else str(value)


# -- definitions


@pytest.mark.parametrize("block", blocks("yaml"), ids=str)
def test_a_definition_does_what_the_page_says(block):
    match block.order:
        case "":
            World().upload(block.text)
            assert parser.warnings(block.text) == ()
        case "tasks":
            World().upload(f"version: '2.0'\nexample:\n  tasks:\n{indent(block.text, '    ')}")
        case "refused":
            with pytest.raises(DefinitionError) as caught:
                World().upload(block.text)
            assert block.argument in str(caught.value)
        case "warned":
            World().upload(block.text)
            assert any(block.argument in warning.message for warning in parser.warnings(block.text))
        case "run":
            run(block)
        case order:
            raise AssertionError(f"{block}: unknown marker {order!r}")


def run(block: Block) -> None:
    """Run a definition in memory and compare what came of it with the marker."""
    told = block.argument
    unknown = told.keys() - {"input", "params", "workflow", "state", "output", "count", "after_sec"}
    assert not unknown, f"{block}: unknown in the marker: {unknown}"
    assert parser.warnings(block.text) == ()
    world = World()
    names = world.upload(block.text)
    began = world.clock.now()
    finished = world.run(told.get("workflow", names[0]), told.get("input"), told.get("params"))
    assert finished.state == told.get("state", "SUCCESS"), finished.header.state_info
    if "output" in told:
        assert finished.output == told["output"]
    if "after_sec" in told:
        assert world.clock.now() - began == pytest.approx(told["after_sec"], abs=0.5)
    for name, times in told.get("count", {}).items():
        assert finished.count(name) == times, name


# -- commands


# What the service of a page has to be started with, as the page says.
SERVED_WITH = {"dynamic-actions.md": ("--admin",)}
PAGES_WITH_COMMANDS = [page for page in PAGES if blocks("bash", page)]


@pytest.mark.parametrize("page", PAGES_WITH_COMMANDS, ids=name_of)
def test_the_commands_of_a_page_work_in_their_order(page):
    lines = [line for block in blocks("bash", page) for line in block.text.splitlines() if line not in NOT_RUN]
    with serving(*SERVED_WITH.get(page.name, ())) as url:
        ended = bash("\n".join(lines), url=url)
    assert ended.status == 0, f"{ended.output}\n{ended.errors}"


def test_a_command_that_fails_fails_its_page():
    with serving() as url:
        assert bash("mistral workflow-get absent", url=url).status != 0


def test_every_command_that_is_not_run_is_written_somewhere():
    assert NOT_RUN.keys() <= {line for block in blocks("bash") for line in block.text.splitlines()}


def test_every_make_target_that_is_named_exists():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    text = "\n".join(page.read_text("utf-8") for page in PAGES)
    named = set(re.findall(r"(?:^|`)make ([a-z]+)", text, re.MULTILINE))
    assert named <= targets


DEPLOYING = sorted({
    line
    for block in (*blocks("bash", DOCS / "deployment.md"), *blocks("text", DOCS / "deployment.md"))
    for line in block.text.splitlines()
    if line.startswith("make ") and line != "make install"
})  # fmt: skip


@pytest.mark.parametrize("line", DEPLOYING)
def test_a_make_command_of_the_guide_calls_a_module_with_arguments_that_it_takes(line, monkeypatch):
    shown = bash(line.replace("make", "make --silent --dry-run", 1)).output.splitlines()[-1]
    _, given = shown.split(" -m infra.", 1)
    name, *arguments = given.split()
    done: list[object] = []

    def noted(*given: object, **_: object) -> dict[str, str]:
        done.append(given)
        return {}

    def enough(*_: object) -> None:
        raise ValueError("as far as this")

    monkeypatch.setattr(deploy, "up", noted)
    monkeypatch.setattr(deploy, "down", noted)
    monkeypatch.setattr(package, "packaged", noted)
    monkeypatch.setattr(archive, "tightened", enough)
    monkeypatch.setattr(Path, "read_text", lambda *_: "")
    with nullcontext() if name == "deploy" else pytest.raises(SystemExit):
        {"deploy": deploy.main, "package": package.main}[name](arguments)
    assert len(done) == 1
    assert "eu-west-1" in str(done[0])


def test_make_serve_is_a_command_that_serves():
    shown = bash("make --silent --dry-run serve").output.splitlines()[-1]
    command, *arguments = shown.split()
    assert command.endswith("mistral-local")
    assert command_parser().parse_args(arguments).command == "serve"


def test_python_that_talks_to_the_service_works(capsys):
    [block] = blocks("python", README)
    with serving() as url:
        assert USUAL_URL in block.text
        assert bash("mistral workflow-create examples/create_vm.yaml", url=url).status == 0
        exec(compile(block.text.replace(USUAL_URL, url), str(block), "exec"), {})
    assert capsys.readouterr().out.startswith("create_vm ")


def test_python_that_makes_actions_makes_working_ones():
    names: dict[str, object] = {}
    for block in blocks("python", DOCS / "actions.md"):
        exec(compile(block.text, str(block), "exec"), names)
    made = {item.name: item for item in names.values() if isinstance(item, FunctionAction)}
    context = ActionContext(action_execution_id="a-1")
    assert made["acme.discount"].signature_text == "price, percent=10"
    assert perform(made["acme.discount"], {"price": 50.0}, context).data == 45
    assert perform(made["acme.order"], {"article": "book"}, context).data == {"article": "book", "order_number": "a-1"}
    first = perform(made["acme.build"], {"branch": "main"}, context)
    assert isinstance(first, Pending)
    assert (first.data, first.delay_sec) == ({"job": "job of main", "looks": 0}, 30)
    last = ActionContext(pending={"job": "job of main", "looks": 2})
    assert perform(made["acme.build"], {"branch": "main"}, last).data == {"job": "job of main", "looks": 3}
    [declared] = blocks("toml", DOCS / "actions.md")
    groups = tomllib.loads(declared.text)["project"]["entry-points"]
    assert groups[action_registry.ENTRY_POINT_GROUP].keys() == made.keys()


def test_the_code_source_on_its_page_is_the_one_that_its_commands_take():
    [block] = blocks("python", DOCS / "dynamic-actions.md")
    assert block.text == (ROOT / "examples" / "inventory.py").read_text("utf-8")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_page_has_no_blocks_that_no_test_looks_at(page):
    text = page.read_text("utf-8")
    languages = ("yaml", "bash", "python", "toml", "text", "mermaid")
    known = [block for language in languages for block in blocks(language, page)]
    assert text.count("```") == 2 * len(known)


# -- links


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_somewhere(page):
    broken = []
    for link in links(page):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_file_that_is_named_exists(page):
    named = re.findall(r"`((?:chalicelib|docs|examples|tests|engine|local|\.chalice)/[\w./]*)`", prose(page))
    assert [name for name in named if not any((base / name).exists() for base in (ROOT, ROOT / "chalicelib"))] == []


def test_every_page_is_named_in_the_readme():
    assert {page.name for page in DOCS.glob("*.md")} <= {Path(link.partition("#")[0]).name for link in links(README)}


def test_every_example_is_named_in_the_readme():
    assert {path.name for path in (ROOT / "examples").glob("*.yaml")} <= {Path(link).name for link in links(README)}


# -- tables


def test_the_table_of_limits_is_the_code():
    told = {code(cells[0]): cells[1] for cells in rows(DOCS / "limits.md") if code(cells[0])}
    real = {name: value for name, value in vars(limits).items() if name.isupper()}
    assert told == {name: f"{value:g}" if isinstance(value, float) else f"{value:,}" for name, value in real.items()}


class Asked(dict[str, str]):
    """An environment that remembers which variables were asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def get(self, name, default=None):
        """See ``dict``."""
        self.names.add(name)
        return super().get(name, default)


def test_the_table_of_settings_is_the_code():
    table = [cells for cells in rows(DOCS / "operations.md", "Settings") if "`" in cells[0]]
    asked = Asked()
    values: dict[str, object] = {}
    read = (Settings, AuthSettings, ApiSettings, ExpirationPolicy, TelemetrySettings)
    for kind in read:
        settings = kind.from_environment(asked)
        values |= {field.name: getattr(settings, field.name) for field in fields(settings)}
    assert {name for cells in table for name in re.findall(r"`(\w+)`", cells[0])} == asked.names
    values.pop("authentication")  # is the settings read apart
    values.pop("expiration")  # likewise
    values.pop("egress_local")  # has no variable, as the page says
    told = {code(cells[1]): code(cells[2]) for cells in table}
    assert told.keys() == values.keys()
    assert told == {name: shown(name, value) for name, value in values.items()}


def shown(name: str, value: object) -> str:
    """A default as the table has it."""
    if name == "field_bytes_max":
        return str(int(str(value)) // 1024)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (frozenset, tuple, dict)):
        return ",".join(sorted(value, reverse=True))
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


@pytest.mark.parametrize(
    ("command", "section"),
    [
        ("serve", "The local service"),
        ("run", "The local service"),
        ("worker", "The local service"),
        ("executor", "The local service"),
        ("cost", "The local service"),
        ("doctor", "The doctor"),
    ],
)
def test_the_tables_of_options_are_the_code(command, section):
    parsers = next(action for action in command_parser()._actions if action.dest == "command")
    choices = parsers.choices
    assert isinstance(choices, dict)
    real = {option: found.default for found in choices[command]._actions for option in found.option_strings}
    real = {option: default for option, default in real.items() if option not in ("-h", "--help")}
    table = rows(DOCS / "operations.md", section)
    start = next(i for i, cells in enumerate(table) if cells[0] == f"option of `{command}`")
    told: dict[str, str] = {}
    for cells in table[start + 1 :]:
        if cells[0].startswith(("option of", "finding")):
            break
        told |= dict.fromkeys(re.findall(r"`(--[\w-]+)`", cells[0]), code(cells[1]))
    assert told == {option: "" if default in (None, False) else str(default) for option, default in real.items()}


def test_the_table_of_metrics_is_the_code():
    told = [name for cells in rows(DOCS / "operations.md", "Metrics") for name in re.findall(r"`(\w+)`", cells[0])]
    assert sorted(told) == sorted(map(str, Metric))


def test_the_table_of_findings_is_the_code():
    told = {code(cells[0]) for cells in rows(DOCS / "operations.md", "The doctor")} - {""}
    assert {name for name in told if not name.startswith("-")} == set(map(str, Problem))


def test_the_table_of_actions_is_the_registry():
    table = {code(cells[0]): cells for cells in rows(DOCS / "actions.md", "`std.*`") if code(cells[0])}
    real = {summary.name: summary for summary in action_registry.Registry().page(prefix="std.")}
    assert table.keys() == real.keys()
    for name, cells in table.items():
        if cells[1] != "as `std.http`":
            assert code(cells[1]) == real[name].input, name
        assert cells[2].startswith("asynchronous") is not real[name].is_sync, name


def test_the_table_of_openstacks_services_is_the_registry():
    cells_of = rows(DOCS / "openstack.md", "OpenStack actions")
    table = {code(cells[0]).removesuffix(".*"): cells for cells in cells_of if code(cells[0])}
    assert table.keys() == SERVICES.keys()
    for name, service in SERVICES.items():
        assert table[name][1].startswith(f"`python-{service.package}`, API v")
        assert tuple(re.findall(r"`([\w-]+)`", table[name][2])) == service.types


def test_there_are_as_many_services_as_is_said():
    assert len(AwsModels().services) > 400


# -- what is not there yet is not there: when it comes, the pages must say so


def test_the_actions_that_are_called_missing_are_missing():
    table = rows(DOCS / "openstack.md", "What is different")
    [listed] = [cells for cells in table if cells[0].startswith("other services")]
    missing = re.findall(r"`(\w+)`", listed[0])
    assert len(missing) == 12
    assert not any(action_registry.Registry().find(f"{name}.list") for name in missing)


def test_the_resources_that_are_called_missing_are_missing():
    paths = " ".join(app.app.routes)
    missing = ("/ui",)
    assert [name for name in missing if name in paths] == []
    works = "workflows workbooks actions environments executions tasks action_executions report cron_triggers "
    works += "event_triggers members code_sources dynamic_actions maintenance"
    assert [name for name in works.split() if name not in paths] == []
