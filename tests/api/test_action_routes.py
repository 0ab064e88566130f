"""Actions on the wire: ad-hoc ones, and all others beside them."""

from urllib.parse import urlsplit

import pytest

from chalicelib.actions.registry import OPENSTACK_NAMESPACES, Registry
from tests.api.definition_client import DefinitionClient

ACTIONS = (
    "version: '2.0'\n"
    "mine:\n"
    "  description: d\n"
    "  input: [x, {y: 2}, {z: null}, {t: 'a\"b'}, {l: [1, '2']}]\n"
    "  tags: [q]\n"
    "  base: std.noop\n"
    "plain:\n"
    "  base: std.echo output=1\n"
)
FIELDS = [
    "id", "name", "is_system", "input", "description", "tags", "definition", "scope", "project_id", "created_at",
    "updated_at", "namespace",
]  # fmt: skip


@pytest.fixture
def client():
    return DefinitionClient()


def names(reply):
    assert reply.status == 200, reply.json
    return [one["name"] for one in reply.json["actions"]]


def action(name, base="std.noop"):
    return f"version: '2.0'\n{name}: {{base: {base}}}\n"


def test_created_actions_are_answered_by_the_raw_encoder(client):
    reply = client.post("/v2/actions", ACTIONS)
    assert reply.status == 201
    first, second = reply.json["actions"]
    assert list(first) == [name for name in FIELDS if name != "updated_at"]
    assert first["input"] == 'x, y=2, z=null, t="a\\"b", l=[1, "2"]'
    assert (second["input"], second["description"], second["tags"]) == (None, None, [])
    assert first["definition"] == second["definition"] == ACTIONS
    assert client.get("/v2/actions/plain").json["input"] == ""
    assert client.post("/v2/actions", ACTIONS).fault.startswith("Duplicate entry for Action")


def test_an_action_is_found_by_name_by_id_and_with_a_trailing_slash(client):
    [first, _] = client.post("/v2/actions", ACTIONS).json["actions"]
    found = [client.get(f"/v2/actions/{one}").json for one in ("mine", "mine/", first["id"], "mine/elsewhere")]
    assert all(one == found[0] for one in found)
    assert list(found[0]) == FIELDS
    assert found[0]["namespace"] == ""


def test_a_namespace_comes_before_the_default_one(client):
    client.post("/v2/actions", action("a", "std.noop"))
    client.post("/v2/actions?namespace=n", action("a", "std.fail"))
    assert client.get("/v2/actions/a/n").json["namespace"] == "n"
    assert client.get("/v2/actions/a?namespace=n").json["namespace"] == "n"
    assert client.get("/v2/actions/a").json["namespace"] == ""
    assert client.delete("/v2/actions/a/n").status == 204
    assert client.get("/v2/actions/a/n").json["namespace"] == ""
    assert client.delete("/v2/actions/a/").status == 204
    assert client.delete("/v2/actions/a").status == 404


def test_built_in_and_generated_actions_can_be_read_but_not_changed(client):
    for name in ("std.echo", "aws.s3.list_buckets"):
        found = client.get(f"/v2/actions/{name}/").json
        assert (found["id"], found["is_system"], found["definition"], found["created_at"]) == (name, True, "", "")
        assert client.delete(f"/v2/actions/{name}").status == 404
        assert client.put("/v2/actions", action(name)).status == 404


def test_an_unknown_action_is_told_what_it_may_have_been(client):
    assert "did you mean std.echo" in client.get("/v2/actions/std.ech").fault
    assert "aws.s3.list_buckets" in client.get("/v2/actions/aws.s3.list_bucket").fault


def test_updates_answer_a_list_also_by_identifier(client):
    client.post("/v2/actions", ACTIONS)
    assert len(client.put("/v2/actions", ACTIONS).json["actions"]) == 2
    one = client.put("/v2/actions/mine", action("mine")).json["actions"]
    assert [found["description"] for found in one] == [None]
    assert client.put("/v2/actions/mine", ACTIONS).status == 400


# -- the list


def is_openstack(name):
    return name.partition(".")[0] in OPENSTACK_NAMESPACES


def test_the_list_begins_with_ad_hoc_and_built_in_actions_by_name(client):
    client.post("/v2/actions", ACTIONS)
    reply = client.get("/v2/actions")
    found = names(reply)
    openstack = [name for name in found if is_openstack(name)]
    own = [name for name in found if not name.startswith("aws.") and not is_openstack(name)]
    assert {"mine", "plain", "std.echo", "std.http"} <= set(own)
    assert "nova.servers_create" in openstack
    generated = sorted(name for name in found if name.startswith("aws."))
    assert found == sorted(own) + sorted(openstack) + generated
    assert len(found) == max(1000, len(own) + len(openstack))
    assert "next" in reply.json


def test_pages_lead_from_the_first_action_into_the_generated_ones(client):
    client.post("/v2/actions", ACTIONS)
    path, seen = "/v2/actions?limit=4&marker=swift.head_object", []
    for _ in range(5):
        reply = client.get(path)
        seen += names(reply)
        target = urlsplit(reply.json["next"])
        path = f"{target.path}?{target.query}"
    assert len(seen) == len(set(seen)) == 20
    assert "swift.put_object" in seen
    assert seen[-1].startswith("aws.")
    assert seen == names(client.get("/v2/actions?limit=20&marker=swift.head_object"))


def test_pages_lead_to_an_end(client):
    everything = names(client.get("/v2/actions?name=has:aws.sqs.&limit=500"))
    assert "aws.sqs.send_message" in everything
    reply = client.get("/v2/actions?name=has:aws.sqs.&limit=7")
    seen = names(reply)
    while "next" in reply.json:
        target = urlsplit(reply.json["next"])
        reply = client.get(f"{target.path}?{target.query}")
        seen += names(reply)
    assert seen == everything


def test_the_list_also_goes_backwards(client):
    forwards = names(client.get("/v2/actions?name=has:aws.sqs.&limit=500"))
    backwards = names(client.get("/v2/actions?name=has:aws.sqs.&limit=500&sort_keys=name&sort_dirs=desc"))
    assert backwards == forwards[::-1]
    behind = client.get(f"/v2/actions?name=has:aws.sqs.&sort_keys=name&sort_dirs=desc&marker={backwards[2]}")
    assert names(behind) == backwards[3:]


def test_whatever_the_list_is_sorted_by_what_people_wrote_comes_before_openstack_and_that_before_aws(client):
    client.post("/v2/actions", ACTIONS.replace("plain:", "zebra:"))
    written = names(client.get("/v2/actions?name=in:mine,zebra,std.echo,nova.servers_list,cinder.volumes_list"))
    assert written == ["mine", "std.echo", "zebra", "cinder.volumes_list", "nova.servers_list"]
    chosen = "name=in:mine,zebra,std.echo,nova.servers_list,cinder.volumes_list,aws.s3.list_buckets"
    backwards = [
        "zebra", "std.echo", "mine", "nova.servers_list", "cinder.volumes_list", "aws.s3.list_buckets",
    ]  # fmt: skip
    assert names(client.get(f"/v2/actions?{chosen}&sort_keys=name&sort_dirs=desc")) == backwards
    path = f"/v2/actions?{chosen}&sort_keys=name&sort_dirs=desc&limit=1"
    seen: list[str] = []
    while len(seen) < len(backwards):
        reply = client.get(path)
        seen += names(reply)
        target = urlsplit(reply.json["next"])
        path = f"{target.path}?{target.query}"
    assert seen == backwards


@pytest.mark.parametrize(
    "query",
    [
        "limit=10",
        "limit=2&marker=std.echo",
        "name=std.echo",
        "name=aws.s3.list_buckets",
        "is_system=false",
        "limit=2&marker=aws.s3.list_buckets",
    ],
)
def test_a_page_without_actions_of_openstack_asks_for_none(client, monkeypatch, query):
    def asked(_registry):
        raise AssertionError("the clients of OpenStack would be imported")

    client.post("/v2/actions", ACTIONS)
    monkeypatch.setattr(Registry, "of_openstack", asked)
    assert names(client.get(f"/v2/actions?{query}"))


def test_a_marker_is_a_name_or_an_id_and_is_left_out(client):
    [first, second] = client.post("/v2/actions", ACTIONS).json["actions"]
    chosen = "/v2/actions?limit=1&name=in:mine,plain,std.async_noop"
    for marker in (first["id"], "mine"):
        assert names(client.get(f"{chosen}&marker={marker}")) == ["plain"]
    behind = names(client.get(f"{chosen}&marker={second['id']}"))
    assert behind == ["std.async_noop"]
    assert client.get("/v2/actions?marker=nothing").status == 404
    assert client.get("/v2/actions?marker=aws.s3.nothing").status == 404


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("name=std.echo", ["std.echo"]),
        ("name=aws.s3.list_buckets", ["aws.s3.list_buckets"]),
        ("name=nothing", []),
        ("name=in:plain,std.noop,aws.s3.list_buckets", ["plain", "std.noop", "aws.s3.list_buckets"]),
        ("is_system=false", ["mine", "plain"]),
        ("is_system=true&name=has:sleep", ["std.sleep"]),
        ("tags=q", ["mine"]),
        ("scope=private", ["mine", "plain"]),
        ("description=d", ["mine"]),
        ("name=mine&namespace=n", []),
        ("namespace=n", ["in_n"]),
        ("created_at=gt:2020-01-01", ["mine", "plain"]),
        ("definition=has:plain", ["mine", "plain"]),
        ("sort_keys=created_at&sort_dirs=desc&is_system=false", ["mine", "plain"]),
    ],
)
def test_filters_choose(client, query, expected):
    client.post("/v2/actions", ACTIONS)
    client.post("/v2/actions?namespace=n", action("in_n"))
    found = names(client.get(f"/v2/actions?{query}"))
    assert sorted(found[: len(expected)]) == sorted(expected)
    assert len(found) == len(expected)


def test_a_search_through_descriptions_goes_on_where_it_stopped(client, monkeypatch):
    monkeypatch.setattr("chalicelib.limits.AWS_ACTIONS_LISTED_MAX", 50)
    reply = client.get("/v2/actions?description=has:no-such-words&limit=5")
    assert names(reply) == []
    first = client.get("/v2/actions?limit=100&name=has:aws.")
    marker = names(first)[-1]
    assert f"marker={marker}" in reply.json["next"]


def test_fields_narrow_the_list(client):
    [found] = client.get("/v2/actions?name=std.echo&fields=name,input").json["actions"]
    assert found == {"id": "std.echo", "name": "std.echo", "input": "output, delay=0"}


def test_actions_of_other_projects_are_not_listed(client):
    client.post("/v2/actions", ACTIONS)
    assert names(client.as_project("other").get("/v2/actions?is_system=false")) == []
    assert client.as_project("other").get("/v2/actions/mine").status == 404
