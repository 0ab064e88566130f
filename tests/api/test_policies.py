"""The table of policies: complete, as Mistral's, looked at before every handler, and told in the documentation."""

import pytest

import app
from chalicelib.api.caller import Caller
from chalicelib.api.policies import FORBIDDEN, POLICIES, When, Who, demand, policies_of
from chalicelib.errors import NotAllowedException
from infra.policies import PAGE, renewed, table
from tests.api.service_client import Client

OWNER = Caller("p")
ADMIN = Caller("p", roles=frozenset({"admin"}))
# Mistral's own rules, by resource: for every owner, and for admins only.
OF_MISTRAL = {
    "workbooks": ("create delete get list update", "publicize"),
    "workflows": ("create delete get list update", "publicize list:all_projects"),
    "actions": ("create delete get list update", "publicize"),
    "executions": ("create delete get list update", "list:all_projects"),
    "tasks": ("get list update", ""),
    "action_executions": ("create delete get list update", ""),
    "members": ("create delete get list update", ""),
    "environments": ("create delete get list update", "publicize"),
    "cron_triggers": ("create delete get list", "publicize list:all_projects"),
    "event_triggers": ("create delete get list update", "publicize list:all_projects"),
    "code_sources": ("", "create delete get list update publicize"),
    "dynamic_actions": ("", "create delete get list update publicize"),
}
ROUTES = [(route.method, route.path) for route in app.all_routes()]
CONDITIONS = {
    When.ALWAYS: {},
    When.PUBLIC: {"scope": "public"},
    When.ALL_PROJECTS: {"all_projects": "true"},
    When.OTHER_PROJECTS: {"project_id": "other"},
}


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_every_route_stands_under_one_rule_that_always_holds(method, path):
    found = policies_of(method, path)
    assert [policy.when for policy in found].count(When.ALWAYS) == 1, "add the route to a row of POLICIES"
    assert found[0].when is When.ALWAYS


def test_no_rule_names_a_route_that_is_not_there():
    real = {policy.rule: policy for method, path in ROUTES for policy in policies_of(method, path)}
    assert set(real) == {policy.rule for policy in POLICIES}
    assert len(POLICIES) == len(real), "a rule has one row"
    named = [route for policy in POLICIES if policy.when is When.ALWAYS for route in policy.routes]
    assert len(named) == len(set(named)) == len(ROUTES)


def test_the_rules_of_mistral_are_here_with_who_passes_them():
    ours = {policy.rule: policy.who for policy in POLICIES}
    for resource, (for_owners, for_admins) in OF_MISTRAL.items():
        for names, who in ((for_owners, Who.OWNER), (for_admins, Who.ADMIN)):
            assert {name: ours.get(f"{resource}:{name}") for name in names.split()} == dict.fromkeys(names.split(), who)


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.rule)
def test_a_rule_refuses_whom_it_is_to_refuse(policy):
    for route in policy.routes:
        method, path = route.split(" ")
        demand(method, path, ADMIN, CONDITIONS[policy.when], b"")
        if policy.who is Who.ADMIN:
            with pytest.raises(NotAllowedException, match="insufficient permissions") as refused:
                demand(method, path, OWNER, CONDITIONS[policy.when], b"")
            assert refused.value.message == FORBIDDEN
        else:
            demand(method, path, OWNER, CONDITIONS[policy.when], b"")


@pytest.mark.parametrize("caller", [OWNER, ADMIN])
def test_a_route_without_a_rule_is_closed_to_everyone(caller):
    with pytest.raises(NotAllowedException, match="no policy names GET /v2/unheard_of"):
        demand("GET", "/v2/unheard_of", caller, {}, b"")


@pytest.mark.parametrize(
    ("query", "body", "is_refused"),
    [
        ({"scope": "public"}, b"", True),
        ({"scope": "private"}, b"", False),
        ({}, b'{"scope": "public"}', True),
        ({}, b' {"sc\\u006fpe": "public"}', True),
        ({}, b'{"scope": "private"}', False),
        ({}, b'{"variables": {"scope": "public"}}', False),
        ({}, b'{"scope": "public"', False),
        ({}, b"[" * 100_000, False),
        ({}, b"\xff", False),
    ],
)
def test_publishing_is_for_admins_whether_the_query_or_the_body_says_so(query, body, is_refused):
    if is_refused:
        with pytest.raises(NotAllowedException):
            demand("POST", "/v2/environments", OWNER, query, body)
    demand("POST", "/v2/environments", ADMIN, query, body)
    demand("GET", "/v2/environments", OWNER, query, body)


def test_the_rule_is_looked_at_before_the_handler():
    client = Client(auth="authorizer").as_project("p")
    for method, path in (("GET", "/v2/code_sources"), ("DELETE", "/v2/dynamic_actions/none")):
        reply = client.ask(method, path)
        assert (reply.status, reply.fault) == (403, FORBIDDEN)
    reply = client.post("/v2/workbooks?scope=public", "no workbook at all")
    assert (reply.status, reply.fault) == (403, FORBIDDEN)


def test_an_admin_sees_the_executions_of_everyone_and_can_choose_a_project():
    voice = Client(auth="authorizer")
    one, other, admin = voice.as_project("one"), voice.as_project("other"), voice.as_project("root", "member,admin")
    for client in (one, other):
        client.upload("w:\n  tasks:\n    t: {action: std.noop}\n    u: {action: std.async_noop}\n")
        client.start("w")
        client.post("/v2/action_executions", {"name": "std.noop", "params": {"save_result": True}})
        voice.service.pass_time()

    def projects(query):
        return [found["project_id"] for found in admin.get(f"/v2/executions?{query}").json["executions"]]

    assert projects("") == projects("all_projects=true") == projects("state=RUNNING") == ["one", "other"]
    assert projects("sort_dirs=desc") == projects("state=RUNNING&sort_dirs=desc") == ["other", "one"]
    assert projects("project_id=other") == projects("project_id=other&state=RUNNING") == ["other"]
    assert projects("workflow_name=w") == projects("nulls=root_execution_id") == ["one", "other"]
    assert projects("state=SUCCESS") == projects("state=in:ERROR,CANCELLED") == []
    assert {task["project_id"] for task in admin.get("/v2/tasks").json["tasks"]} == {"one", "other"}
    assert len(admin.get("/v2/action_executions").json["action_executions"]) == 6
    assert len(one.get("/v2/action_executions").json["action_executions"]) == 3


def test_the_table_in_the_documentation_is_this_one():
    text = PAGE.read_text(encoding="utf-8")
    assert table() in text, "renew it: python -m infra.policies"
    assert renewed(text.replace("| `versions:get` |", "| `versions:old` |")) == text
