"""Lists of executions: order, pages, filters, links; and what a page costs."""

import json
from itertools import chain
from urllib.parse import urlencode, urlsplit

import pytest

from chalicelib.api import execution_lists
from tests.api.service_client import Client

WORKFLOWS = """
fine:
  tags: [green, quick]
  input: [n: 0]
  tasks:
    t: {action: std.noop}
waiting:
  tasks:
    wait: {action: std.async_noop}
"""
UNKNOWN = "11111111-1111-4111-8111-111111111111"


@pytest.fixture
def client():
    made = Client()
    made.upload(WORKFLOWS)
    return made


@pytest.fixture
def five(client):
    """The ids of five executions, oldest first, in several states."""
    ids = []
    for number, name in enumerate(["fine", "waiting", "fine", "waiting", "fine"]):
        given = {"input": {"n": number}} if name == "fine" else {}
        ids.append(client.start(name, description=f"number {number}", **given)["id"])
        client.service.pass_time(10)
    return ids


def listed(client, query=""):
    reply = client.get(f"/v2/executions{query}")
    assert reply.status == 200, reply.json
    return [execution["id"] for execution in reply.json["executions"]]


def followed(client, query):
    """The ids of all pages, by way of their ``next`` links."""
    pages = []
    reply = client.get(f"/v2/executions{query}")
    while True:
        pages.append([execution["id"] for execution in reply.json["executions"]])
        if "next" not in reply.json:
            return pages
        target = urlsplit(reply.json["next"])
        reply = client.get(f"{target.path}?{target.query}")


def test_executions_of_all_states_come_oldest_first(client, five):
    assert listed(client) == five


def test_the_newest_may_come_first(client, five):
    assert listed(client, "?sort_dirs=desc") == five[::-1]


@pytest.mark.parametrize("query", ["?limit=2", "?limit=2&sort_dirs=desc", "?limit=2&sort_keys=name,id&sort_dirs=desc"])
def test_next_links_lead_through_everything_once(client, five, query):
    pages = followed(client, query)

    assert [len(page) for page in pages] == [2, 2, 1]
    assert sorted(chain.from_iterable(pages)) == sorted(five)


def test_a_full_last_page_still_has_a_next_link_and_a_short_one_has_none(client, five):
    full = client.get("/v2/executions?limit=5").json
    short = client.get("/v2/executions?limit=6").json

    assert full["next"] == (
        f"http://mistral.test/v2/executions?sort_keys=created_at,id&sort_dirs=asc,asc&limit=5&marker={five[-1]}"
    )
    assert "next" not in short
    assert followed(client, "?limit=5")[1] == []


def test_a_link_repeats_filters_flags_and_fields(client, five):
    reply = client.get("/v2/executions?limit=1&state=SUCCESS&fields=state&nulls=root_execution_id&workflow_name=neq:x")

    assert "&workflow_name=neq:x&" in reply.json["next"]
    assert "&state=eq:SUCCESS&" in reply.json["next"]
    assert "&nulls=root_execution_id&" in reply.json["next"]
    assert reply.json["next"].endswith("&fields=id,state")


@pytest.mark.parametrize(
    ("query", "places"),
    [
        ("state=SUCCESS", [0, 2, 4]),
        ("state=neq:SUCCESS", [1, 3]),
        ("state=in:RUNNING,PAUSED", [1, 3]),
        ("state=nin:RUNNING,PAUSED", [0, 2, 4]),
        ("state=NONSENSE", []),
        ("workflow_name=fine", [0, 2, 4]),
        ("workflow_name=has:ait", [1, 3]),
        ("workflow_name=gt:fine", [1, 3]),
        ("workflow_name=lte:fine", [0, 2, 4]),
        ("workflow_name=fine&state=RUNNING", []),
        ("description=number 3", [3]),
        ("description=in:number 3,number 4", [3, 4]),
        ("description=has:number", [0, 1, 2, 3, 4]),
        ("state_info=has:x", []),
        ("tags=green,quick", [0, 2, 4]),
        ("tags=green,slow", []),
        ('input={"n": 2}', [2]),
        ("nulls=root_execution_id,task_execution_id", [0, 1, 2, 3, 4]),
        ("nulls=state", []),
        (f"root_execution_id={UNKNOWN}", []),
        (f"workflow_id=eq:{UNKNOWN}", []),
    ],
)
def test_filters_choose(client, five, query, places):
    assert listed(client, "?" + query.replace(" ", "%20")) == [five[place] for place in places]
    newest_first = listed(client, "?sort_dirs=desc&" + query.replace(" ", "%20"))
    assert newest_first == [five[place] for place in reversed(places)]


@pytest.mark.parametrize(
    ("operator", "places"),
    [("gt", [3, 4]), ("gte", [2, 3, 4]), ("lt", [0, 1]), ("lte", [0, 1, 2]), ("eq", [2]), ("neq", [0, 1, 3, 4])],
)
@pytest.mark.parametrize("separator", ["%20", "T"])
def test_the_moment_of_creation_bounds_a_list_to_the_second(client, five, operator, places, separator):
    moment = client.get(f"/v2/executions/{five[2]}").json["created_at"].replace(" ", separator)

    assert listed(client, f"?created_at={operator}:{moment}") == [five[place] for place in places]
    assert listed(client, f"?created_at={operator}:{moment}&sort_dirs=desc") == [five[p] for p in reversed(places)]


def test_the_children_of_a_root_are_listed_by_it(client):
    client.upload("outer:\n  tasks:\n    a: {workflow: fine}\n    b: {workflow: fine}\n")
    root = client.run("outer")

    children = client.get(f"/v2/executions?root_execution_id={root['id']}").json["executions"]
    roots = listed(client, "?nulls=root_execution_id")

    assert [child["workflow_name"] for child in children] == ["fine", "fine"]
    assert {child["root_execution_id"] for child in children} == {root["id"]}
    assert roots == [root["id"]]


def test_output_is_listed_only_when_asked_for(client, five):
    plain = client.get("/v2/executions?limit=1").json["executions"][0]
    flagged = client.get("/v2/executions?limit=1&include_output=true").json["executions"][0]
    named = client.get("/v2/executions?limit=1&fields=output").json["executions"][0]

    assert "output" not in plain
    assert {"input", "params"} <= set(plain)
    assert "output" in flagged
    assert set(named) == {"id", "output"}


def test_fields_that_are_not_kept_are_accepted_and_missing(client, five):
    reply = client.get("/v2/executions?limit=1&fields=published_global,source_execution_id")

    assert reply.json["executions"] == [{"id": five[0]}]


def test_web_interfaces_sort_by_the_name_that_is_no_field(client, five):
    reply = client.get(
        "/v2/executions?limit=100&fields=workflow_name,created_at,state&sort_keys=state,name&sort_dirs=desc"
    )

    states = [execution["state"] for execution in reply.json["executions"]]
    assert states == ["SUCCESS"] * 3 + ["RUNNING"] * 2


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ("limit=0", 400, "Limit must be positive."),
        ("limit=-1", 400, "Limit must be positive."),
        ("limit=many", 400, "limit. Value: 'many'"),
        ("sort_dirs=up", 400, "Unknown sort direction, must be 'desc' or 'asc'."),
        ("sort_keys=id,id&sort_dirs=asc,desc", 400, "Length of sort_keys must be equal or greater than sort_dirs."),
        ("sort_keys=colour", 400, "colour"),
        ("fields=colour", 400, "colour"),
        ("colour=red", 400, 'Unknown argument: "colour"'),
        ("marker=nonsense", 400, "Expected a uuid"),
        (f"marker={UNKNOWN}", 404, UNKNOWN),
        ("workflow_id=nonsense", 400, "Expected a uuid"),
        ("input=nonsense", 400, "input"),
        ("input=[1]", 400, "input"),
        ("nulls=colour", 400, "colour"),
        ("created_at=yesterday", 400, "yesterday"),
        ("include_output=perhaps", 400, "perhaps"),
    ],
)
@pytest.mark.parametrize("order", ["", "&sort_keys=updated_at"])
def test_a_list_that_makes_no_sense_is_refused(client, five, query, status, words, order):  # noqa: PLR0917
    if order and "sort_" in query:
        order = ""
    reply = client.get(f"/v2/executions?{query}{order}")

    assert reply.status == status
    assert words in reply.fault


def test_a_greater_limit_than_the_greatest_is_clamped():
    made = Client(list_items_max=3)
    made.upload(WORKFLOWS)
    for _ in range(4):
        made.start("fine")
        made.service.pass_time()

    reply = made.get("/v2/executions?limit=50")

    assert len(reply.json["executions"]) == 3
    assert "limit=3" in reply.json["next"]


def test_a_search_that_finds_little_ends_at_a_bound_and_says_where_to_go_on(client, five, monkeypatch):
    monkeypatch.setattr(execution_lists, "EXECUTIONS_SCANNED_MAX", 3)

    pages = followed(client, "?description=number%204")

    assert pages == [[], [five[4]]]


def test_too_many_executions_to_sort_are_refused_with_advice(client, five, monkeypatch):
    monkeypatch.setattr(execution_lists, "EXECUTIONS_SCANNED_MAX", 3)

    reply = client.get("/v2/executions?sort_keys=workflow_name")

    assert reply.status == 400
    assert "narrow" in reply.fault


def test_a_page_costs_its_own_size_whatever_the_project_holds(client, monkeypatch):
    for _ in range(150):
        client.start("fine")
        client.service.pass_time()
    read = []
    headers = client.service.container.executions.headers

    def counted(ids):
        wanted = list(ids)
        read.extend(wanted)
        return headers(wanted)

    monkeypatch.setattr(client.service.container.executions.__class__, "headers", lambda self, ids: counted(ids))
    listed(client, "?limit=5")
    first = len(read)
    marker = listed(client, "?limit=100")[-1]
    del read[:]
    listed(client, f"?limit=5&marker={marker}")

    assert first <= 20
    assert len(read) <= 20


def test_a_list_hides_texts_that_are_named_like_secrets_and_a_single_answer_shows_them(client):
    client.upload("keeps:\n  input: [db]\n  tasks:\n    t: {action: std.async_noop}\n")
    given = {"user": "root", "Password": "hush", "retries": 3, "tokens": [{"api_key": "hush", "token_count": 5}]}
    started = client.start("keeps", input={"db": given}, params={"env": {"auth_token": "hush"}})
    (row,) = client.get("/v2/executions?workflow_name=keeps").json["executions"]
    assert "hush" not in row["input"] + row["params"]
    assert json.loads(row["input"])["db"] == {
        "user": "root",
        "Password": "***",
        "retries": 3,
        "tokens": [{"api_key": "***", "token_count": 5}],
    }
    whole = client.get(f"/v2/executions/{started['id']}").json
    assert json.loads(whole["input"]) == {"db": given}
    assert json.loads(whole["params"])["env"] == {"auth_token": "hush"}
    kept = client.get("/v2/executions?" + urlencode({"input": json.dumps({"db": given})})).json["executions"]
    assert [execution["id"] for execution in kept] == [started["id"]]


def test_a_list_of_action_executions_hides_them_too(client):
    headers = "headers: {Authorization: hush}"
    client.upload(f"calls:\n  tasks:\n    t: {{action: std.http, input: {{url: 'http://x', {headers}}}}}\n")
    client.start("calls")
    (row,) = client.get("/v2/action_executions?workflow_name=calls").json["action_executions"]
    assert json.loads(row["input"])["headers"] == {"Authorization": "***"}
    assert "hush" in client.get(f"/v2/action_executions/{row['id']}").json["input"]
