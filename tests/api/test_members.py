"""Sharing: an owner offers a private workflow, a member takes it or not, and nobody else learns of it."""

from uuid import uuid4

import pytest

from tests.api.service_client import Client

FIELDS = ["id", "resource_id", "resource_type", "project_id", "member_id", "status", "created_at", "updated_at"]


@pytest.fixture
def voice():
    return Client(auth="authorizer")


@pytest.fixture
def owner(voice):
    return voice.as_project("owner")


@pytest.fixture
def member(voice):
    return voice.as_project("member")


@pytest.fixture
def stranger(voice):
    return voice.as_project("stranger")


@pytest.fixture
def workflow_id(owner):
    [workflow] = owner.upload("w:\n  tasks:\n    t: {action: std.noop}\n")
    return workflow["id"]


@pytest.fixture
def members(workflow_id):
    return f"/v2/workflows/{workflow_id}/members"


def offer(owner, members, project="member"):
    reply = owner.post(members, {"member_id": project})
    assert reply.status == 201, reply.json
    return reply.json


def answer(member, members, status="accepted"):
    reply = member.put(f"{members}/member", {"status": status})
    assert reply.status == 200, reply.json
    return reply.json


def names(client, query=""):
    return [workflow["name"] for workflow in client.get(f"/v2/workflows{query}").json["workflows"]]


@pytest.mark.parametrize(
    ("method", "tail", "body"),
    [
        ("GET", "", b""),
        ("POST", "", {"member_id": "other"}),
        ("POST", "", b""),
        ("GET", "/x", b""),
        ("PUT", "/x", {"status": "accepted"}),
        ("DELETE", "/x", b""),
    ],
)
def test_nothing_is_shared_where_callers_are_not_told_apart(method, tail, body):
    client = Client()
    [workflow] = client.upload("w:\n  tasks:\n    t: {action: std.noop}\n")
    for identifier in (workflow["id"], str(uuid4()), "w"):
        reply = client.ask(method, f"/v2/workflows/{identifier}/members{tail}", body)
        words = "Resource sharing feature can only be supported with authentication enabled."
        assert (reply.status, reply.fault) == (400, words)


def test_an_offer_is_pending_and_the_workflow_stays_hidden(owner, member, workflow_id, members):
    offered = offer(owner, members)
    assert list(offered) == FIELDS[:-1]
    assert offered == {
        "id": offered["id"],
        "resource_id": workflow_id,
        "resource_type": "workflow",
        "project_id": "owner",
        "member_id": "member",
        "status": "pending",
        "created_at": "2023-11-14 22:13:20",
    }
    assert owner.get(members).json == {"members": [{**offered, "updated_at": None}]}
    assert member.get(f"/v2/workflows/{workflow_id}").status == 404
    assert names(member) == []
    assert member.post("/v2/executions", {"workflow_id": workflow_id}).status == 404


def test_a_member_sees_its_own_record_and_a_stranger_none(owner, member, stranger, members):
    offer(owner, members)
    owner.service.pass_time(1)
    offer(owner, members, "another")
    assert [found["member_id"] for found in owner.get(members).json["members"]] == ["member", "another"]
    assert [found["member_id"] for found in member.get(members).json["members"]] == ["member"]
    assert member.get(f"{members}/member").json["status"] == "pending"
    assert owner.get(f"{members}/another").status == 200
    assert stranger.get(members).json == {"members": []}
    assert stranger.get(f"{members}/member").status == member.get(f"{members}/another").status == 404


def test_an_accepted_workflow_can_be_listed_read_and_started_but_not_changed(owner, member, workflow_id, members):
    offer(owner, members)
    member.service.pass_time(3)
    accepted = answer(member, members)
    assert (accepted["status"], accepted["updated_at"]) == ("accepted", "2023-11-14 22:13:23")

    assert names(member) == ["w"]
    assert member.get(f"/v2/workflows/{workflow_id}").json["project_id"] == "owner"
    reply = member.post("/v2/executions", {"workflow_id": workflow_id})
    assert (reply.status, reply.json["project_id"]) == (201, "member")
    assert owner.get(f"/v2/executions/{reply.json['id']}").status == 404
    assert member.delete(f"/v2/workflows/{workflow_id}").status == 403
    text = 'version: "2.0"\nw:\n  tasks:\n    t: {action: std.fail}\n'
    assert member.put(f"/v2/workflows/{workflow_id}", text, content_type="text/plain").status == 403


def test_an_accepted_workflow_can_be_triggered(owner, member, workflow_id, members):
    offer(owner, members)
    body = {"name": "c", "workflow_id": workflow_id, "pattern": "* * * * *"}
    assert member.post("/v2/cron_triggers", body).status == 404
    answer(member, members)
    assert member.post("/v2/cron_triggers", body).status == 201
    assert owner.delete(f"/v2/workflows/{workflow_id}").status == 400
    member.service.pass_time(40)
    member.service.container.clock_door.tick()
    assert len(member.get("/v2/executions").json["executions"]) == 1


@pytest.mark.parametrize("status", ["rejected", "pending"])
def test_a_member_can_change_its_mind(owner, member, workflow_id, members, status):
    offer(owner, members)
    answer(member, members)
    answer(member, members, status)
    assert member.get(f"/v2/workflows/{workflow_id}").status == 404
    assert names(member) == []
    answer(member, members)
    assert names(member) == ["w"]


def test_only_the_member_itself_answers(owner, stranger, members):
    offer(owner, members)
    for client in (owner, stranger):
        assert client.put(f"{members}/member", {"status": "accepted"}).status == 404
    assert stranger.put(f"{members}/stranger", {"status": "accepted"}).status == 404
    assert owner.get(f"{members}/member").json["status"] == "pending"


@pytest.mark.parametrize("body", [{}, {"status": ""}, {"status": "yes"}, {"status": 1}, b""])
def test_an_answer_is_one_of_three(owner, member, members, body):
    offer(owner, members)
    assert member.put(f"{members}/member", body, content_type="application/json").status == 400


def test_the_owner_takes_the_offer_back(owner, member, stranger, workflow_id, members):
    offer(owner, members)
    answer(member, members)
    for client in (member, stranger):
        assert client.delete(f"{members}/member").status == 404
    assert owner.delete(f"{members}/member").status == 204
    assert owner.delete(f"{members}/member").status == 404
    assert member.get(f"/v2/workflows/{workflow_id}").status == 404
    assert (names(member), owner.get(members).json) == ([], {"members": []})


def test_a_workflow_is_offered_to_a_project_once(owner, members):
    offer(owner, members)
    reply = owner.post(members, {"member_id": "member"})
    assert reply.status == 409
    assert reply.fault.startswith("Duplicate entry for ResourceMember ['resource_id', 'resource_type', 'member_id']")


def test_only_the_owner_offers(owner, member, stranger, members):
    assert stranger.post(members, {"member_id": "x"}).status == 404
    offer(owner, members)
    answer(member, members)
    assert member.post(members, {"member_id": "x"}).status == 403


@pytest.mark.parametrize(
    "body", [{}, {"member_id": ""}, {"member_id": None}, {"member_id": "x" * 300}, b"", {"foo": 1}]
)
def test_an_offer_says_to_whom(owner, members, body):
    assert owner.post(members, body, content_type="application/json").status == 400


def test_what_is_public_need_not_be_shared(voice):
    admin = voice.as_project("boss", "admin")
    text = 'version: "2.0"\nw:\n  tasks:\n    t: {action: std.noop}\n'
    workflow = admin.post("/v2/workflows?scope=public", text, content_type="text/plain").json["workflows"][0]
    reply = admin.post(f"/v2/workflows/{workflow['id']}/members", {"member_id": "x"})
    assert (reply.status, reply.fault) == (400, "Only private resource could be shared.")


def test_a_workflow_is_shared_by_its_id(owner, workflow_id):
    assert owner.get("/v2/workflows/w/members").status == 400
    assert owner.post(f"/v2/workflows/{uuid4()}/members", {"member_id": "x"}).status == 404
    assert owner.get(f"/v2/workflows/{uuid4()}/members").json == {"members": []}
    assert owner.get(f"/v2/workflows/{workflow_id.upper()}/members").json == {"members": []}


def test_the_members_go_with_the_workflow(owner, member, workflow_id, members):
    offer(owner, members)
    answer(member, members)
    assert owner.delete(f"/v2/workflows/{workflow_id}").status == 204
    assert names(member) == []
    assert owner.get(members).json == {"members": []}
    assert member.get(f"{members}/member").status == 404


@pytest.mark.parametrize("order", ["", "&sort_keys=name", "&sort_keys=name&sort_dirs=desc", "&sort_dirs=desc"])
def test_shared_workflows_stand_in_their_places_of_a_paged_list(owner, member, order):
    expected = []
    for number in range(9):
        client = owner if number % 3 == 0 else member
        [workflow] = client.upload(f"w{number * 4 % 9}:\n  tasks:\n    t: {{action: std.noop}}\n")
        if client is owner:
            members = f"/v2/workflows/{workflow['id']}/members"
            offer(owner, members)
            answer(member, members)
        expected.append(workflow["name"])
        owner.service.pass_time(1)
    if "name" in order:
        expected.sort()
    if "desc" in order:
        expected.reverse()

    assert names(member, f"?limit=100{order}") == expected
    found = []
    page = member.get(f"/v2/workflows?limit=2&fields=name{order}").json
    while page["workflows"]:
        found += [workflow["name"] for workflow in page["workflows"]]
        page = (
            member.get(page["next"].removeprefix("http://mistral.test")).json if "next" in page else {"workflows": []}
        )
    assert found == expected
    assert names(member, f"?name=w0{order}") == ["w0"]


def test_a_workflow_that_was_published_after_it_was_shared_is_listed_once(voice, owner, member, workflow_id, members):
    offer(owner, members)
    answer(member, members)
    admin = voice.as_project("boss", "admin")
    text = 'version: "2.0"\nw:\n  tasks:\n    t: {action: std.noop}\n'
    reply = admin.put(f"/v2/workflows/{workflow_id}?scope=public", text, content_type="text/plain")
    assert reply.status == 200
    assert names(member) == ["w"]
