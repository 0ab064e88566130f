"""The scenarios of the acceptance suite that OpenStack runs on Mistral: definitions, triggers and environments."""

import json
from datetime import UTC, datetime, timedelta

import pytest

NOBODY = "2b8f7e1a-0000-4000-8000-000000000000"
WORKFLOW = "{tasks: {hello: {action: std.echo output='hi'}}}"


def workbook(name, item="hello"):
    return f"version: '2.0'\nname: {name}\nworkflows: {{w: {{tasks: {{{item}: {{action: std.noop}}}}}}}}\n"


def action(name, base="std.echo"):
    return f"version: '2.0'\n{name}: {{base: {base}, base-input: {{output: hi}}}}\n"


def followed(api, page):
    """The page behind a link, asked for as the suite does: by what follows the last slash."""
    return api.ask("GET", page["next"].rpartition("/")[2], 200)


# -- workbooks


def test_a_workbook_lives(api, name):
    created = api.write("workbooks", workbook(name))
    assert created["name"] == name
    assert name in [one["name"] for one in api.read("workbooks")["workbooks"]]
    assert {f"{name}.w"} <= {one["name"] for one in api.read("workflows")["workflows"]}
    assert api.read(f"workbooks/{name}")["definition"] == workbook(name)
    updated = api.write("workbooks", workbook(name, "other"), 200, "PUT")
    assert (updated["name"], updated["id"]) == (name, created["id"])
    assert "other" in api.read(f"workflows/{name}.w")["definition"]
    api.remove(f"workbooks/{name}")
    api.refused("GET", f"workbooks/{name}", 404)


@pytest.mark.parametrize("collection", ["workbooks", "workflows", "actions"])
def test_what_is_not_there_is_not_found(api, name, collection):
    text = {"workbooks": workbook(name), "workflows": f"version: '2.0'\n{name}: {WORKFLOW}\n", "actions": action(name)}
    api.refused("GET", f"{collection}/{name}", 404)
    api.refused("DELETE", f"{collection}/{name}", 404)
    api.write(collection, text[collection], 404, "PUT")


@pytest.mark.parametrize("collection", ["workbooks", "workflows", "actions"])
def test_the_same_name_twice_is_refused(api, name, collection):
    text = {"workbooks": workbook(name), "workflows": f"version: '2.0'\n{name}: {WORKFLOW}\n", "actions": action(name)}
    api.write(collection, text[collection])
    assert api.write(collection, text[collection], 409)["faultstring"].startswith("Duplicate entry for")


@pytest.mark.parametrize("collection", ["workbooks", "workflows", "actions"])
@pytest.mark.parametrize("text", ["", "version: '2.0'\n", "name: [", "7", "version: '2.0'\nname: a\nx: {tasks: {}}\n"])
def test_a_wrong_definition_is_refused_and_found_invalid(api, collection, text):
    assert api.write(collection, text, 400)["faultstring"]
    assert api.write(collection, text, 400, "PUT")["faultstring"]
    verdict = api.write(f"{collection}/validate", text, 200)
    assert verdict["valid"] is False
    assert verdict["error"]


def test_a_right_definition_is_found_valid(api, name):
    assert api.write("workbooks/validate", workbook(name), 200)["valid"]
    assert api.write("workflows/validate", f"version: '2.0'\n{name}: {WORKFLOW}\n", 200)["valid"]
    assert api.write("actions/validate", action(name), 200)["valid"]


# -- workflows


def test_a_workflow_lives(api, name):
    created = api.workflow(name)
    assert api.read(f"workflows/{created['id']}")["name"] == name
    assert api.read(f"workflows/{name}")["id"] == created["id"]
    [updated] = api.write("workflows", f"version: '2.0'\n{name}: {{tasks: {{b: {{action: std.noop}}}}}}\n", 200, "PUT")[
        "workflows"
    ]
    assert (updated["id"], updated["name"]) == (created["id"], name)
    one = api.write(f"workflows/{created['id']}", f"version: '2.0'\n{name}: {WORKFLOW}\n", 200, "PUT")
    assert one["id"] == created["id"]
    api.remove(f"workflows/{name}")
    api.refused("GET", f"workflows/{created['id']}", 404)


def test_several_workflows_come_in_one_text_and_are_deleted_by_their_ids(api, name):
    text = "version: '2.0'\n" + "".join(f"{name}{number}: {WORKFLOW}\n" for number in range(3))
    created = api.write("workflows", text)["workflows"]
    assert [one["name"] for one in created] == [f"{name}{number}" for number in range(3)]
    api.write(f"workflows/{created[0]['id']}", text, 400, "PUT")
    for one in created:
        api.remove(f"workflows/{one['id']}")


def test_workflows_come_in_pages_with_a_link(api, name):
    for number in range(3):
        api.workflow(f"{name}{number}")
    page = api.read("workflows", limit=1, sort_keys="name", sort_dirs="desc")
    assert len(page["workflows"]) == 1
    for part in ("limit=1", f"marker={page['workflows'][0]['id']}", "sort_keys=name,id", "sort_dirs=desc,asc"):
        assert part in page["next"]
    behind = followed(api, page)
    assert len(behind["workflows"]) == 1
    assert behind["workflows"][0]["name"] < page["workflows"][0]["name"]


def test_workflows_are_shown_with_some_fields(api, name):
    api.workflow(name)
    page = api.read("workflows", fields="name", limit=1)
    assert page["workflows"][0].keys() == {"id", "name"}
    assert "fields=id,name" in page["next"]
    assert "nowhere" in api.refused("GET", "workflows?fields=nowhere", 400)


@pytest.mark.parametrize(
    ("filter_", "expected"),
    [("{0}a", "a"), ("eq:{0}a", "a"), ("in:{0}a,{0}c", "ac"), ("has:{0}", "abc"), ("gt:{0}a", "bc"),
     ("gte:{0}b", "bc"), ("lt:{0}b", "a"), ("lte:{0}b", "ab"), ("neq:{0}b", "ac"), ("nin:{0}a,{0}b", "c")],
)  # fmt: skip
def test_workflows_are_filtered_by_operators(api, name, filter_, expected):
    for letter in "abc":
        api.workflow(name + letter)
    found = [one["name"] for one in api.read("workflows", name=filter_.format(name))["workflows"]]
    assert "".join(one.removeprefix(name) for one in found if one.startswith(name)) == expected


def test_workflows_are_filtered_by_the_time_of_their_creation(api, name):
    created = api.workflow(name)
    moment = created["created_at"]
    before = str(datetime.fromisoformat(moment) - timedelta(hours=1))
    after = str(datetime.fromisoformat(moment) + timedelta(hours=1))

    def found(condition):
        return name in [one["name"] for one in api.read("workflows", created_at=condition)["workflows"]]

    shown = [found(f"{word}:{when}") for word in ("gt", "gte", "lt", "lte") for when in (before, after)]
    assert shown == [True, False, True, False, False, True, False, True]
    assert found(f"eq:{moment}")


def test_workflows_are_filtered_by_tags(api, name):
    api.workflow(name, "{tags: [" + name + ", b], tasks: {t: {action: std.noop}}}")
    assert [one["name"] for one in api.read("workflows", tags=f"{name},b")["workflows"]] == [name]
    assert api.read("workflows", tags=f"{name},c") == {"workflows": []}


def test_a_workflow_with_a_trigger_is_not_deleted(api, name):
    created = api.workflow(name)
    api.make("cron_triggers", name=name, workflow_name=name, pattern="5 * * * *")
    assert "Can't delete workflow that has cron triggers associated" in api.refused("DELETE", f"workflows/{name}", 400)
    api.remove(f"cron_triggers/{name}")
    event = api.make("event_triggers", exchange="e", topic=name, event="x", workflow_id=created["id"])
    assert "event triggers associated" in api.refused("DELETE", f"workflows/{created['id']}", 400)
    api.remove(f"event_triggers/{event['id']}")
    api.remove(f"workflows/{name}")


def test_the_same_name_may_stand_in_several_namespaces(api, name):
    ids = {space: api.workflow(name, namespace=space)["id"] for space in ("", "a", "b")}
    assert {space: api.read(f"workflows/{name}", namespace=space)["id"] for space in ids} == ids
    assert len(api.read("workflows", name=name)["workflows"]) == 3
    assert len(api.read("workflows", name=name, namespace="a")["workflows"]) == 1
    api.refused("GET", f"workflows/{name}?namespace=c", 404)
    started = api.make("executions", workflow_name=name, workflow_namespace="b")
    assert (started["workflow_id"], started["workflow_namespace"]) == (ids["b"], "b")
    api.remove(f"workflows/{name}", namespace="a")
    assert len(api.read("workflows", name=name)["workflows"]) == 2


@pytest.mark.parametrize("collection", ["workbooks", "workflows", "actions"])
def test_only_an_admin_makes_something_public(api, name, collection):
    text = {"workbooks": workbook(name), "workflows": f"version: '2.0'\n{name}: {WORKFLOW}\n", "actions": action(name)}
    assert api.write(collection, text[collection], 403, scope="public")["faultstring"]
    api.refused("GET", f"{collection}/{name}", 404)


def test_sharing_needs_to_know_who_calls(api, name):
    created = api.workflow(name)
    assert "authentication" in api.refused("GET", f"workflows/{created['id']}/members", 400)


# -- actions


def test_an_action_lives(api, name):
    [created] = api.write("actions", action(name))["actions"]
    assert created["name"] == name
    assert created["is_system"] is False
    assert api.read(f"actions/{name}")["definition"] == action(name)
    assert api.read(f"actions/{created['id']}")["name"] == name
    [updated] = api.write("actions", action(name, "std.noop"), 200, "PUT")["actions"]
    assert updated["id"] == created["id"]
    assert name in [one["name"] for one in api.read("actions", name=name)["actions"]]
    api.remove(f"actions/{name}")
    api.refused("GET", f"actions/{name}", 404)


def test_actions_come_in_pages(api, name):
    for letter in "ab":
        api.write("actions", action(name + letter))
    page = api.read("actions", limit=1, sort_keys="name", name=f"has:{name}")
    assert [one["name"] for one in page["actions"]] == [name + "a"]
    assert [one["name"] for one in followed(api, page)["actions"]] == [name + "b"]


@pytest.mark.parametrize(("filter_", "matches"), [("eq:std.echo", True), ("neq:std.echo", False), ("has:td.ec", True)])
def test_actions_are_filtered(api, filter_, matches):
    assert ("std.echo" in [one["name"] for one in api.read("actions", name=filter_)["actions"]]) is matches


def test_actions_have_namespaces(api, name):
    api.write("actions", action(name), namespace="far")
    assert api.read("actions", name=name)["actions"] == []
    assert len(api.read("actions", name=name, namespace="far")["actions"]) == 1
    assert api.read(f"actions/{name}/far")["namespace"] == "far"
    api.refused("GET", f"actions/{name}/", 404)
    api.remove(f"actions/{name}/far")


# -- environments


def test_an_environment_lives(api, name):
    created = api.make("environments", name=name, description="d", variables=json.dumps({"a": 1}), scope="private")
    assert json.loads(created["variables"]) == {"a": 1}
    assert name in [one["name"] for one in api.read("environments")["environments"]]
    updated = api.change("environments", name=name, variables={"b": 2})
    assert (json.loads(updated["variables"]), updated["description"]) == ({"b": 2}, "d")
    assert "Duplicate entry" in api.make("environments", 409, name=name, variables={})["faultstring"]
    api.remove(f"environments/{name}")
    api.refused("GET", f"environments/{name}", 404)
    api.refused("DELETE", f"environments/{name}", 404)
    api.change("environments", 404, name=name, variables={})


def test_an_execution_takes_values_from_an_environment(api, name):
    api.make("environments", name=name, variables={"word": "hello"})
    api.workflow(
        name,
        "{output: {said: <% $.said %>}, tasks: {t: {action: std.echo output=<% env().word %>, "
        "publish: {said: <% task().result %>}}}}",
    )
    execution = api.finished(name, params={"env": name})
    assert json.loads(execution["output"]) == {"said": "hello"}
    assert "not found" in api.make("executions", 400, workflow_name=name, params={"env": "absent"})["faultstring"]


# -- cron triggers


def test_a_cron_trigger_lives(api, name):
    created = api.workflow(name)
    trigger = api.make(
        "cron_triggers", name=name, workflow_name=name, pattern="5 * * * *", workflow_input={}, remaining_executions=3
    )
    assert (trigger["workflow_id"], trigger["remaining_executions"]) == (created["id"], 3)
    assert api.read(f"cron_triggers/{name}")["id"] == api.read(f"cron_triggers/{trigger['id']}")["id"]
    assert name in [one["name"] for one in api.read("cron_triggers")["cron_triggers"]]
    assert (
        "Duplicate entry"
        in api.make("cron_triggers", 409, name=name, workflow_name=name, pattern="6 * * * *")["faultstring"]
    )
    api.remove(f"cron_triggers/{name}")
    api.refused("GET", f"cron_triggers/{name}", 404)
    api.refused("DELETE", f"cron_triggers/{name}", 404)


def test_a_workflow_may_have_two_cron_triggers(api, name):
    created = api.workflow(name)
    for number in (1, 2):
        api.make("cron_triggers", name=f"{name}{number}", workflow_id=created["id"], pattern=f"{number} * * * *")
    found = api.read("cron_triggers", workflow_id=created["id"])["cron_triggers"]
    assert [one["name"] for one in found] == [f"{name}1", f"{name}2"]


def test_a_cron_trigger_fires_first_when_it_is_told_to(api, name):
    api.workflow(name)
    moment = datetime.now(UTC) + timedelta(hours=1)
    trigger = api.make("cron_triggers", name=name, workflow_name=name, first_execution_time=f"{moment:%Y-%m-%d %H:%M}")
    assert trigger["next_execution_time"] == f"{moment:%Y-%m-%d %H:%M}:00"
    assert trigger["remaining_executions"] == 1


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"pattern": "q"},
        {"pattern": "* * * * *", "remaining_executions": -1},
        {"pattern": "* * * * *", "remaining_executions": 0},
        {"pattern": "* * * * *", "remaining_executions": "many"},
        {"first_execution_time": "1970-01-01 00:00"},
        {"first_execution_time": "tomorrow"},
        {"first_execution_time": "2099-01-01 00:00", "remaining_executions": 2},
        {"pattern": "* * * * *", "workflow_input": {"unknown": 1}},
        {"pattern": "* * * * *", "workflow_input": "[]x"},
        {"pattern": "* * * * *", "colour": "red"},
        {"pattern": "* * * * *", "name": None},
    ],
)
def test_a_wrong_cron_trigger_is_refused(api, name, attributes):
    api.workflow(name)
    assert api.make("cron_triggers", 400, **{"name": name, "workflow_name": name, **attributes})["faultstring"]
    api.refused("GET", f"cron_triggers/{name}", 404)


def test_a_cron_trigger_needs_its_workflow(api, name):
    assert api.make("cron_triggers", 404, name=name, workflow_name=name, pattern="* * * * *")["faultstring"]
    assert api.make("cron_triggers", 404, name=name, pattern="* * * * *")["faultstring"]


# -- event triggers


def test_an_event_trigger_lives(api, name):
    created = api.workflow(name)
    selectors = {"exchange": "openstack", "topic": name, "event": "compute.instance.create.start"}
    trigger = api.make("event_triggers", name=name, workflow_id=created["id"], **selectors)
    assert {key: trigger[key] for key in selectors} == selectors
    assert trigger["id"] in [one["id"] for one in api.read("event_triggers")["event_triggers"]]
    assert [one["id"] for one in api.read("event_triggers", topic=name)["event_triggers"]] == [trigger["id"]]
    assert api.change(f"event_triggers/{trigger['id']}", name="other")["name"] == "other"
    assert api.change(f"event_triggers/{trigger['id']}", 400, topic="other")["faultstring"]
    assert "Duplicate" in api.make("event_triggers", 409, workflow_id=created["id"], **selectors)["faultstring"]
    api.remove(f"event_triggers/{trigger['id']}")
    api.refused("GET", f"event_triggers/{trigger['id']}", 404)


@pytest.mark.parametrize("missing", ["exchange", "topic", "event", "workflow_id"])
def test_an_event_trigger_needs_all_its_parts(api, name, missing):
    created = api.workflow(name)
    attributes = {"exchange": "e", "topic": "t", "event": name, "workflow_id": created["id"]}
    del attributes[missing]
    assert missing in api.make("event_triggers", 400, **attributes)["faultstring"]


def test_an_event_trigger_needs_a_workflow_that_is_there(api, name):
    assert api.make("event_triggers", 404, exchange="e", topic="t", event=name, workflow_id=NOBODY)["faultstring"]
    assert api.make("event_triggers", 400, exchange="e", topic="t", event=name, workflow_id="no-id")["faultstring"]
    api.refused("GET", "event_triggers/no-id", 400)
