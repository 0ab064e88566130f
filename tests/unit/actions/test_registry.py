"""The registry finds, lists and explains actions."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import typing
from collections.abc import Sequence

import pytest

from chalicelib.actions import registry as registry_module
from chalicelib.actions.registry import ActionContext, Parameter, Registry, action, perform
from chalicelib.errors import ActionConstructionError
from chalicelib.vocabulary import Json, Result


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry()


@action("my.greet", pure=True)
def greet(name: str, *, greeting: str = "Hello, you", count: int = 1, options: Json = None) -> Json:
    """Greet somebody.

    :param name: Whom.
    :param count: How often,
        in whole numbers.
    """
    return [f"{greeting} {name}"] * count


@action("my.whoami")
def whoami(context: ActionContext, **anything: Json) -> Json:
    """Tell who asks."""
    return [context.workflow_name, sorted(anything)]


def test_a_function_becomes_an_action_by_its_signature():
    assert greet.signature_text == 'name, greeting="Hello, you", count=1, options=null'
    assert greet.description.startswith("Greet somebody.")
    assert greet.parameters[0] == Parameter("name", required=True, type="string", description="Whom.")
    assert greet.parameters[2] == Parameter(
        "count", required=False, default=1, type="integer", description="How often, in whole numbers."
    )
    assert perform(greet, {"name": "Ann"}, ActionContext()) == Result(data=["Hello, you Ann"])


def test_an_action_that_takes_any_parameters_is_not_checked_by_name():
    whoami.check({"x": 1, "y": 2})
    assert whoami.accepts_any
    assert whoami.signature_text == "**kwargs"
    assert perform(whoami, {"x": 1}, ActionContext(workflow_name="wf")) == Result(data=["wf", ["x"]])


def test_an_exception_of_an_action_becomes_its_error():
    result = perform(greet, {"name": "Ann", "count": None}, ActionContext(action_execution_id="7"))
    assert result.error.startswith("The action raised an exception [action=my.greet, action_ex_id=7, msg='")
    assert result.data is None


def test_constructing_reports_the_reason_and_the_action():
    http = Registry().find("std.http")
    assert http is not None
    with pytest.raises(ActionConstructionError, match="json") as caught:
        http.check_values({"url": "http://x/", "body": "a", "json": 1})
    assert caught.value.http_code == 400
    assert "name=std.http" in caught.value.task_message


def test_an_unknown_action_is_not_found(registry):
    for name in (
        "std.nope",
        "",
        "aws",
        "aws.",
        "aws.ec2",
        "aws.ec2.",
        "aws.ec2.run.x",
        "aws.nope.x",
        "aws.ec2.runInstances",
    ):
        assert registry.find(name) is None, name


def test_importing_the_registry_does_not_import_the_heavy_libraries():
    code = (
        "import sys, chalicelib.actions.registry as r; r.Registry().find('std.http'); "
        "heavy = 'requests urllib3 botocore boto3 jmespath asyncssh quickjs smtplib'.split(); "
        "sys.exit(any(m in sys.modules for m in heavy))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_page_is_sorted_and_the_next_one_begins_behind_it(registry):
    first = [item.name for item in registry.page(limit=50)]
    second = [item.name for item in registry.page(after=first[-1], limit=50)]
    both = [item.name for item in registry.page(limit=100)]
    assert first + second == both
    assert both == sorted(set(both))


def test_a_page_crosses_from_aws_to_std(registry):
    last = [item.name for item in registry.page(prefix="aws.xray.")][-2:]
    found = registry.page(after=last[0], limit=3, matches=lambda name: name.startswith(("aws.", "std.")))
    names = [item.name for item in found]
    assert names == [last[1], "std.async_noop", "std.echo"]


def test_a_page_can_begin_at_a_name_that_does_not_exist(registry):
    assert [item.name for item in registry.page(after="std.f", limit=2)] == ["std.fail", "std.http"]
    assert [item.name for item in registry.page(after="aws.sqs.send_message_", limit=1)] == [
        "aws.sqs.send_message_batch"
    ]


def test_names_are_in_order_across_services_with_dashes(registry):
    names = [item.name for item in registry.page(prefix="aws.acm")]
    assert names == sorted(names)
    assert {name.rsplit(".", 1)[0] for name in names} == {"aws.acm", "aws.acm-pca"}


def test_a_page_shows_what_the_api_shows(registry):
    echo = registry.page(prefix="std.echo")[0]
    assert (echo.name, echo.input, echo.is_sync) == ("std.echo", "output, delay=0", True)
    assert [item.name for item in registry.page(prefix="std.", matches=lambda name: "http" in name)] == [
        "std.http",
        "std.mistral_http",
    ]


def test_wrong_names_bring_suggestions(registry):
    assert registry.names_like("std.ecko")[0] == "std.echo"
    assert registry.names_like("aws.ec2.run_instance")[0] == "aws.ec2.run_instances"
    assert registry.names_like("aws.dynamdb.put_item")[0] == "aws.dynamodb.put_item"
    assert registry.names_like("zzzzzz") == []


class _EntryPoint:
    def __init__(self, name: str, value: object) -> None:
        self.name = name
        self._value = value

    def load(self) -> object:
        if isinstance(self._value, Exception):
            raise self._value
        return self._value


@pytest.fixture
def install(monkeypatch):
    """A way to install packages that offer actions: a process looks for them once, so it has to forget what it saw."""

    def installed(offered: list[_EntryPoint]) -> None:
        def entry_points(*, group: str) -> list[_EntryPoint]:
            assert group == registry_module.ENTRY_POINT_GROUP
            return offered

        monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)
        registry_module._offered.cache_clear()

    yield installed
    registry_module._offered.cache_clear()


def test_a_plugged_in_package_adds_actions_and_a_broken_one_harms_nothing(install):
    install([_EntryPoint("my.greet", greet), _EntryPoint("my.broken", ImportError("no")), _EntryPoint("my.odd", 5)])
    registry = Registry()
    assert registry.find("my.greet") is greet
    assert registry.find("my.broken") is None
    assert registry.find("my.odd") is None
    assert [item.name for item in registry.page(prefix="my.")] == ["my.greet"]


def test_a_plugged_in_action_goes_by_its_own_name_and_is_reported_once(install, caplog):
    install([_EntryPoint("my.hello", greet), _EntryPoint("my.broken", ImportError("no"))])
    registry = Registry()
    for _ in range(3):
        assert registry.find("my.hello") is None
        assert registry.find("my.broken") is None
    assert caplog.text.count("calls itself my.greet: both names must be the same") == 1
    assert caplog.text.count("The action my.broken of the entry point group") == 1


@pytest.mark.parametrize(
    ("annotation", "shown"),
    [
        (str, "string"),
        (int, "integer"),
        (float, "number"),
        (bool, "boolean"),
        (dict, "object"),
        (dict[str, int], "object"),
        (list[str], "array"),
        (int | None, "integer"),
        (typing.Optional[list[int]], "array"),  # noqa: UP045 - users write it
        (Sequence[str], "array"),
        ("JsonObject | None", "object"),
        ("typing.Optional[str]", "string"),
        (typing.Any, None),
        (int | str, None),
        (Json, None),
    ],
)
def test_annotations_become_the_types_of_json(annotation, shown):
    def function(given):
        """Do something."""

    function.__annotations__["given"] = annotation
    assert action("my.typed")(function).parameters[0].type == shown


def test_a_function_that_can_be_no_action_is_refused_when_it_is_declared():
    with pytest.raises(TypeError, match=r"my\.late: the default of when is not JSON"):

        @action("my.late")
        def late(when: object = object()) -> Json:
            """Be late."""

    with pytest.raises(TypeError, match=r"my\.many: the parameter values cannot be given by name"):

        @action("my.many")
        def many(*values: Json) -> Json:
            """Take many."""

    with pytest.raises(TypeError, match=r"my\.soon: an action is a plain function"):

        @action("my.soon")
        async def soon() -> Json:
            """Come soon."""
