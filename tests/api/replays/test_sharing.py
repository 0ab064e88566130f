"""The scenarios of the acceptance suite that need two projects: sharing workflows, and what only admins may."""

from collections.abc import Iterator

import pytest

from tests.api.replays.caller import Caller
from tests.docs_service import serving_projects

SESSION_SEC = 600
WORKFLOW = "{tasks: {hello: {action: std.echo output='hi'}}}"


@pytest.fixture(scope="module")
def urls() -> Iterator[dict[str, str]]:
    with serving_projects("--storage", "memory", within_sec=SESSION_SEC) as served:
        yield served


@pytest.fixture
def owner(urls) -> Iterator[Caller]:
    """Somebody of one project, who is an admin; that makes others' things visible, but theirs no less private."""
    with Caller(urls["admin"]) as caller:
        del caller.headers["X-Auth-Token"]
        yield caller


@pytest.fixture
def other(urls) -> Iterator[Caller]:
    """Somebody of another project, who is none."""
    with Caller(urls["demo"]) as caller:
        del caller.headers["X-Auth-Token"]
        yield caller


def test_a_workflow_is_offered_accepted_used_and_taken_back(owner, other, name):
    workflow = owner.workflow(name, WORKFLOW)
    path = f"workflows/{workflow['id']}"
    other.refused("GET", path, 404)
    member = owner.make(f"{path}/members", member_id="demo")
    assert (member["status"], member["project_id"], member["member_id"]) == ("pending", "admin", "demo")
    other.refused("GET", path, 404)
    assert [one["member_id"] for one in other.read(f"{path}/members")["members"]] == ["demo"]
    assert other.change(f"{path}/members/demo", status="accepted")["status"] == "accepted"
    assert other.read(path)["name"] == name
    assert name in [one["name"] for one in other.read("workflows")["workflows"]]
    started = other.make("executions", workflow_id=workflow["id"])
    assert (started["project_id"], other.until(started["id"])["state"]) == ("demo", "SUCCESS")
    other.write(path, f"version: '2.0'\n{name}: {WORKFLOW}\n", 403, "PUT")
    other.refused("DELETE", path, 403)
    other.refused("DELETE", f"{path}/members/demo", 404)
    owner.remove(f"{path}/members/demo")
    other.refused("GET", path, 404)


def test_an_offer_that_is_rejected_shows_nothing(owner, other, name):
    workflow = owner.workflow(name, WORKFLOW)
    path = f"workflows/{workflow['id']}"
    owner.make(f"{path}/members", member_id="demo")
    other.change(f"{path}/members/demo", status="rejected")
    other.refused("GET", path, 404)
    assert owner.read(f"{path}/members/demo")["status"] == "rejected"


@pytest.mark.parametrize(("attributes", "status"), [({}, 400), ({"member_id": ""}, 400), ({"colour": "red"}, 400)])
def test_a_wrong_offer_is_refused(owner, name, attributes, status):
    workflow = owner.workflow(name, WORKFLOW)
    assert owner.make(f"workflows/{workflow['id']}/members", status, **attributes)["faultstring"]


def test_an_offer_is_made_once_and_by_the_owner_alone(owner, other, name):
    workflow = owner.workflow(name, WORKFLOW)
    path = f"workflows/{workflow['id']}/members"
    other.make(path, 404, member_id="demo")
    owner.make(path, member_id="demo")
    owner.make(path, 409, member_id="demo")
    owner.change(f"{path}/demo", 404, status="accepted")
    other.change(f"{path}/demo", 400, status="perhaps")
    other.refused("GET", f"{path}/stranger", 404)


def test_a_public_workflow_is_for_everybody_to_use_and_for_nobody_else_to_change(owner, other, name):
    workflow = owner.workflow(name, WORKFLOW, scope="public")
    path = f"workflows/{workflow['id']}"
    owner.make(f"{path}/members", 400, member_id="demo")
    assert other.read(path)["scope"] == "public"
    assert other.finished(name)["state"] == "SUCCESS"
    other.write(path, f"version: '2.0'\n{name}: {WORKFLOW}\n", 403, "PUT")
    other.refused("DELETE", path, 403)


def test_what_only_admins_may_is_refused_to_others(other, name):
    text = f"version: '2.0'\n{name}: {WORKFLOW}\n"
    other.write("workflows", text, 403, scope="public")
    for collection in ("workflows", "executions", "cron_triggers", "event_triggers"):
        other.refused("GET", f"{collection}?all_projects=true", 403)
    other.refused("GET", "code_sources", 403)


def test_an_admin_sees_all_projects(owner, other, name):
    other.workflow(name, WORKFLOW)
    execution = other.finished(name)
    listed = owner.read("executions", all_projects="true", workflow_name=name)["executions"]
    assert [one["id"] for one in listed] == [execution["id"]]
    assert execution["id"] in [one["id"] for one in owner.read("executions", project_id="demo")["executions"]]
