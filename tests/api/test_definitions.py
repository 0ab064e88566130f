"""Workbooks, workflows and environments on the wire."""

import hashlib
import json
from urllib.parse import urlsplit

import pytest

from tests.api.definition_client import DefinitionClient

WORKFLOW = (
    "version: '2.0'\n"
    "w:\n"
    "  input: [x, {y: 2}, {z: null}, {t: 'a\"b'}, {l: [1, '2']}]\n"
    "  output: {r: 1}\n"
    "  tags: [a, b]\n"
    "  tasks:\n"
    "    t: {action: std.noop}\n"
)
WORKBOOK = (
    "version: '2.0'\n"
    "name: book\n"
    "tags: [t]\n"
    "actions:\n"
    "  a:\n"
    "    base: std.noop  # nothing\n"
    "workflows:\n"
    "  w:\n"
    "    # why\n"
    "    tasks:\n"
    "      t: {action: a}\n"
)
WORKFLOW_FIELDS = [
    "id", "name", "namespace", "input", "interface", "definition", "checksum", "tags", "scope", "project_id",
    "created_at", "updated_at",
]  # fmt: skip


@pytest.fixture
def client():
    return DefinitionClient()


@pytest.fixture
def admin(client):
    return client.as_project("ops", roles="member,admin")


def workflow(*names, output="a"):
    bodies = "".join(f"{name}: {{tasks: {{t: {{action: std.echo output='{output}'}}}}}}\n" for name in names)
    return f"version: '2.0'\n{bodies}"


def names(reply, collection="workflows"):
    assert reply.status == 200, reply.json
    return [one["name"] for one in reply.json[collection]]


# -- workflows


def test_a_created_workflow_is_answered_by_the_raw_encoder(client):
    reply = client.post("/v2/workflows", WORKFLOW)
    [found] = reply.json["workflows"]
    assert reply.status == 201
    assert reply.headers["Content-Type"] == "application/json;charset=utf-8"
    assert list(found) == [name for name in WORKFLOW_FIELDS if name != "updated_at"]
    assert found["interface"] == {
        "input": ["x", {"y": 2}, {"z": None}, {"t": 'a"b'}, {"l": [1, "2"]}],
        "output": ["r"],
    }
    assert found["input"] == 'x, y="2", z="None", t="a"b", l="[1, \'2\']"'
    assert found["checksum"] == hashlib.md5(WORKFLOW.encode()).hexdigest()
    assert found["definition"] == WORKFLOW
    assert found["created_at"] == "2023-11-14 22:13:20"


def test_a_read_workflow_is_answered_by_the_typed_encoder(client):
    [created] = client.post("/v2/workflows", WORKFLOW).json["workflows"]
    for identifier in ("w", created["id"]):
        reply = client.get(f"/v2/workflows/{identifier}")
        assert reply.status == 200
        assert reply.headers["Content-Type"] == "application/json"
        assert list(reply.json) == WORKFLOW_FIELDS
        assert json.loads(reply.json["interface"]) == created["interface"]
        assert reply.json["updated_at"] is None
    narrow = client.get("/v2/workflows/w?fields=name,tags").json
    assert narrow == {"id": created["id"], "name": "w", "tags": ["a", "b"]}


@pytest.mark.parametrize("content_type", ["text/plain", "application/json", "application/x-yaml", None])
def test_a_definition_may_come_as_any_type(client, content_type):
    headers = {"content-type": content_type} if content_type else {}
    assert client.post("/v2/workflows", WORKFLOW, **headers).status == 201


def test_faults_of_a_definition_are_told_in_the_raw_form(client):
    client.post("/v2/workflows", WORKFLOW)
    for status, body in [
        (409, WORKFLOW),
        (400, ""),
        (400, b"\xff"),
        (400, "- a"),
        (400, "version: '2.0'\n'a b': {tasks: {t: {action: std.noop}}}\n"),
        (400, "#" * 1_100_000),
    ]:
        reply = client.post("/v2/workflows", body)
        assert reply.status == status
        assert list(reply.json) == ["faultstring"]
    assert client.post("/v2/workflows", WORKFLOW).fault.startswith("Duplicate entry for WorkflowDefinition")
    assert client.post("/v2/workflows", "").fault.startswith("Invalid DSL: ")
    assert "1100000 bytes" in client.post("/v2/workflows", "#" * 1_100_000).fault


def test_an_update_answers_a_list_and_by_identifier_one_object(client):
    [created] = client.post("/v2/workflows", workflow("w")).json["workflows"]
    client.clock.advance(61)
    reply = client.put("/v2/workflows", workflow("w", output="b"))
    assert reply.status == 200
    assert [one["updated_at"] for one in reply.json["workflows"]] == ["2023-11-14 22:14:21"]
    one = client.put(f"/v2/workflows/{created['id']}", workflow("v")).json
    assert (one["id"], one["name"]) == (created["id"], "v")
    refused = client.put("/v2/workflows/v", workflow("v", "u"))
    assert (refused.status, "More than one workflows" in refused.fault) == (400, True)
    assert client.put("/v2/workflows/nothing", workflow("nothing")).status == 404


def test_a_deleted_workflow_is_gone(client):
    client.post("/v2/workflows?namespace=n", workflow("w"))
    assert client.delete("/v2/workflows/w").status == 404
    reply = client.delete("/v2/workflows/w?namespace=n")
    assert (reply.status, reply.json) == (204, None)
    gone = client.get("/v2/workflows/w?namespace=n")
    assert gone.status == 404
    assert gone.json == {
        "faultcode": "Client",
        "faultstring": "Workflow not found [workflow_identifier=w, namespace=n]",
        "debuginfo": None,
    }


def test_publishing_is_for_admins(client, admin):
    for path, body in [("/v2/workflows", WORKFLOW), ("/v2/workbooks", WORKBOOK), ("/v2/actions", "")]:
        assert client.post(f"{path}?scope=public", body).status == 403
        assert client.post(f"{path}?scope=odd", body).status == 400
    assert admin.post("/v2/workflows?scope=public", WORKFLOW).status == 201
    assert client.get("/v2/workflows/w").json["project_id"] == "ops"
    assert client.put("/v2/workflows", WORKFLOW).status == 403
    assert client.delete("/v2/workflows/w").status == 403


def test_validation_always_answers_200(client):
    assert client.post("/v2/workflows/validate", WORKFLOW).json == {"valid": True}
    for kind in ("workflows", "workbooks", "actions"):
        for body in ("", b"\xff", "- a", "version: '2.0'\nx: 1\n", "#" * 1_100_000):
            reply = client.post(f"/v2/{kind}/validate", body)
            assert reply.status == 200
            assert reply.json["valid"] is False
            assert reply.json["error"]
        assert client.get(f"/v2/{kind}/validate").status == 405


def test_validation_warns_of_what_has_no_effect(client):
    reply = client.post("/v2/workflows/validate", WORKFLOW.replace("output:", "outputs:"))
    assert reply.json["valid"] is True
    assert "did you mean 'output'" in reply.json["warnings"][0]


def test_unknown_arguments_are_refused_by_reads_and_ignored_by_writes(client):
    assert client.get("/v2/workflows?limit=5&nonsense=1").fault == 'Unknown argument: "nonsense"'
    assert client.post("/v2/workflows?nonsense=1", WORKFLOW).status == 201


# -- lists


def pages(client, path):
    found = []
    while path is not None:
        reply = client.get(path)
        assert reply.status == 200, reply.json
        found.append([one["id"] for one in next(iter(reply.json.values()))])
        target = urlsplit(reply.json.get("next", ""))
        path = f"{target.path}?{target.query}" if target.path else None
    return found


@pytest.mark.parametrize(
    "sort", ["", "sort_keys=name&sort_dirs=desc", "sort_keys=checksum", "sort_keys=created_at,name"]
)
def test_pages_follow_each_other_without_gap_or_repetition(client, sort):
    for number in range(7):
        client.post(f"/v2/workflows?namespace=n{number}", workflow(f"w{number % 3}", f"v{number}"))
    everything = pages(client, f"/v2/workflows?{sort}")
    assert [len(page) for page in everything] == [14]
    short = pages(client, f"/v2/workflows?limit=5&{sort}")
    assert [len(page) for page in short] == [5, 5, 4]
    assert [identifier for page in short for identifier in page] == everything[0]
    exact = pages(client, f"/v2/workflows?limit=7&{sort}")
    assert [len(page) for page in exact] == [7, 7, 0]


def test_a_marker_must_be_an_item_that_the_caller_sees(client):
    [mine] = client.post("/v2/workflows", workflow("w")).json["workflows"]
    assert names(client.get(f"/v2/workflows?marker={mine['id']}")) == []
    assert client.as_project("other").get(f"/v2/workflows?marker={mine['id']}").status == 404
    assert client.get("/v2/workflows?marker=w").status == 400
    assert client.get("/v2/workflows?sort_keys=checksum&marker=w").status == 400


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("name=a1", ["a1"]),
        ("sort_keys=name&name=a1", ["a1"]),
        ("name=has:a", ["a1", "a2"]),
        ("name=in:a1,b1", ["a1", "b1"]),
        ("name=neq:a1", ["a2", "b1", "in_n"]),
        ("namespace=n", ["in_n"]),
        ("namespace=", ["a1", "a2", "b1"]),
        ("scope=private", ["a1", "a2", "b1", "in_n"]),
        ("scope=public", []),
        ("project_id=default", ["a1", "a2", "b1", "in_n"]),
        ("definition=has:marker-b1", ["b1"]),
        ("definition=has:marker-b1&fields=name", ["b1"]),
        ("created_at=gt:2023-11-14 22:13:25", ["b1", "in_n"]),
        ("input=", ["a1", "a2", "b1", "in_n"]),
        ("sort_keys=name&sort_dirs=desc&limit=2", ["in_n", "b1"]),
    ],
)
def test_filters_choose(client, query, expected):
    for name in ("a1", "a2", "b1"):
        client.post("/v2/workflows", workflow(name, output=f"marker-{name}"))
        client.clock.advance(4)
    client.post("/v2/workflows?namespace=n", workflow("in_n"))
    assert names(client.get(f"/v2/workflows?{query}")) == expected


def test_tags_must_all_be_there(client):
    client.post("/v2/workflows", WORKFLOW)
    assert names(client.get("/v2/workflows?tags=b,a")) == ["w"]
    assert names(client.get("/v2/workflows?tags=a,c")) == []


def test_asking_for_the_input_also_gives_the_interface(client):
    client.post("/v2/workflows", WORKFLOW)
    [found] = client.get("/v2/workflows?fields=input").json["workflows"]
    assert set(found) == {"id", "input", "interface"}
    assert client.get("/v2/workflows?fields=nonsense").status == 400


def test_everyones_workflows_are_for_admins(client, admin):
    client.post("/v2/workflows", workflow("w"))
    assert client.get("/v2/workflows?all_projects=true").status == 403
    assert names(client.get("/v2/workflows?all_projects=false")) == ["w"]
    assert names(admin.get("/v2/workflows?all_projects=1")) == ["w"]
    assert names(admin.get("/v2/workflows")) == ["w"]


def test_a_page_of_large_texts_ends_early_and_goes_on(client):
    for number in range(10):
        client.post("/v2/workflows", workflow(f"w{number}") + "# " + "x" * 900_000)
    sizes = [len(page) for page in pages(client, "/v2/workflows")]
    assert sum(sizes) == 10
    assert len(sizes) > 1
    assert [len(page) for page in pages(client, "/v2/workflows?fields=name")] == [10]


# -- workbooks


def test_a_workbook_stores_what_it_contains(client):
    reply = client.post("/v2/workbooks?namespace=n", WORKBOOK)
    assert reply.status == 201
    assert list(reply.json) == ["id", "name", "namespace", "definition", "tags", "scope", "project_id", "created_at"]
    child = client.get("/v2/workflows/book.w?namespace=n").json
    assert (child["checksum"], child["definition"]) == (None, "w:\n  # why\n  tasks:\n    t: {action: a}\n")
    assert client.get("/v2/actions/book.a/n").json["definition"] == "a:\n  base: std.noop  # nothing\n"
    assert client.put("/v2/workbooks?namespace=n", WORKBOOK).json["updated_at"] is None
    assert client.put("/v2/workbooks", WORKBOOK).status == 404
    assert names(client.get("/v2/workbooks?namespace=n"), "workbooks") == ["book"]
    assert client.get("/v2/workbooks/book").status == 404
    assert client.delete("/v2/workbooks/book?namespace=n").status == 204
    assert client.get("/v2/workflows/book.w?namespace=n").status == 200


# -- environments


def test_an_environment_shows_what_was_given(client):
    reply = client.post("/v2/environments", {"name": "my env", "variables": {"a": 1}})
    assert reply.status == 201
    assert list(reply.json) == ["id", "name", "variables", "scope", "project_id", "created_at"]
    assert reply.json["variables"] == '{"a": 1}'
    read = client.get("/v2/environments/my env").json
    assert (read["description"], read["updated_at"]) == (None, None)
    assert client.get("/v2/environments/my env?fields=variables").json == {"id": read["id"], "variables": '{"a": 1}'}
    client.clock.advance(2)
    changed = client.put("/v2/environments", {"name": "my env", "description": "d"}).json
    assert (changed["variables"], changed["description"]) == ('{"a": 1}', "d")
    assert changed["updated_at"] == "2023-11-14 22:13:22"
    assert client.get('/v2/environments?variables={"a":1}').json["environments"] == [changed]
    assert client.delete("/v2/environments/my env").status == 204
    assert client.delete("/v2/environments/my env").status == 404
    assert client.get(f"/v2/environments/{read['id']}").status == 404


def test_variables_may_be_text_that_holds_json(client):
    assert client.post("/v2/environments", {"name": "e", "variables": '{"a": [1]}'}).json["variables"] == '{"a": [1]}'


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"description": "d"}, 400, "Name of the environment is not provided."),
        ({"name": "e", "bad": 1}, 400, "Unknown attribute for argument env: bad"),
        ({"name": "e", "project_id": "x"}, 400, "project_id"),
        ({"name": "e", "scope": "public"}, 403, "insufficient permissions"),
        ({"name": "e", "scope": "odd"}, 400, "Value should be one of: public, private"),
        ({"name": "e", "variables": [1]}, 400, "variables"),
        ({"name": "e", "variables": "no"}, 400, "variables"),
        ({"name": 5}, 400, "name"),
        ({"name": "e" * 201}, 400, "the most is 200"),
        ({"name": "\ud800"}, 400, "not text"),
        ({"name": "e", "variables": {"a": "x" * 1_100_000}}, 400, "Field size limit exceeded"),
        ({"name": "there"}, 409, "Duplicate entry for Environment"),
    ],
)
def test_a_wrong_environment_is_refused(client, body, status, words):
    client.post("/v2/environments", {"name": "there"})
    reply = client.post("/v2/environments", body)
    assert (reply.status, reply.json["faultcode"]) == (status, "Client")
    assert words in reply.fault


def test_an_update_of_an_environment_creates_nothing(client):
    assert client.put("/v2/environments", {"name": "e"}).status == 404
    assert client.put("/v2/environments", {"description": "d"}).status == 400
    client.post("/v2/environments", {"name": "e"})
    assert client.put("/v2/environments/e", {"name": "e"}).status == 405


# -- whatever comes


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT"])
@pytest.mark.parametrize("collection", ["workflows", "workbooks", "actions", "environments"])
@pytest.mark.parametrize("identifier", ["\ud83d\ude00", "%00", "a%2Fb", "x" * 3000, "..", "{}", "urn:uuid:x", "\u00e9"])
def test_no_identifier_breaks_the_service(client, method, collection, identifier):
    body = workflow("w") if method == "PUT" else b""
    reply = client.ask(
        method, f"/v2/{collection}/{identifier.encode('utf-16', 'surrogatepass').decode('utf-16')}", body
    )
    assert reply.status in (400, 404, 405), reply.json
