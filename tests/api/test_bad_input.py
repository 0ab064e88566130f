"""Bad input: whatever comes, the answer is one that the contract knows, helps, and leaves everything as it was."""

import json
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import app
from chalicelib.api.http import Body
from chalicelib.api.openapi import statuses_of
from tests.api.contract import TEXTS, WORKFLOWS
from tests.api.service_client import Client

NOBODY = "11111111-1111-4111-8111-111111111111"
ROUTES = app.all_routes()
WRITES = [route for route in ROUTES if route.body is not Body.NONE]
WITH_PARAMETERS = [route for route in ROUTES if "{" in route.path]
LISTS = [route for route in ROUTES if "marker" in (route.arguments or ())]

TYPES = st.sampled_from(
    ["application/json", "application/json; charset=utf-16", "text/plain", "application/xml", "text/csv", "", "\u2603"]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=30)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4)
)
ODD_TEXTS = st.sampled_from(
    ["\x00", "\ud800", "\udfff\ud800", "a b", "a/b", "..", "%2F", "\u202e", "\N{SNOWMAN}", "x" * 3000, "'\"", "$", " "]
)
ODD_BODIES = st.sampled_from(
    [
        b"", b" ", b"{", b"[" * 50_000, b'{"a":' * 3000, b"\xff\xfe{\x00}\x00", b"\xef\xbb\xbf{}", b"null", b"[]",
        b"7", b'"text"', b'{"name": NaN}', b'{"input": {"a": Infinity}}', b'{"name": "a", "name": "b"}',
        b'{"name": "\\ud800"}', b'{"name": "\\u0000"}', b'{"input": 1' + b"0" * 5000 + b"}",
        b'{"input": 1e999}', b"\xed\xa0\x80", b"a: &a [*a]", b"version: '2.0'\n\x00: 1", b"- " * 3000,
        b"!!python/object:os.system {}", b"<a/>", "é".encode("latin-1"),
    ]
)  # fmt: skip
USUAL = settings(max_examples=12, suppress_health_check=list(HealthCheck))


def label(route):
    return f"{route.method} {route.path}"


@pytest.fixture(scope="module")
def client():
    made = Client(auth="authorizer", claims={"project_id": "here", "roles": "admin"})
    made.upload(WORKFLOWS)
    return made


def check(route, reply):
    """An answer that is described, and that says what is wrong if something is."""
    about = route.about
    known = {about.status, *about.statuses, 303, *statuses_of(route)}
    assert reply.status in known - {500, 503, 504}, (reply.status, reply.json)
    if reply.status >= 400:
        assert isinstance(reply.fault, str)
        assert len(reply.fault) > 4


def ask(client, route, path, body=b"", **headers):
    """One request. If it is refused, nothing has changed."""
    before = client.service.stored()
    reply = client.ask(route.method, path, body, **headers)
    check(route, reply)
    if reply.status >= 400:
        assert client.service.stored() == before
    return reply


def filled(path, *texts):
    """A path with these for its parameters."""
    found = iter(texts)
    return "/".join(quote(next(found), safe="") if part.startswith("{") else part for part in path.split("/"))


# -- bodies


@pytest.mark.parametrize("route", WRITES, ids=label)
@given(body=ODD_BODIES | st.binary(max_size=50) | VALUES.map(lambda value: json.dumps(value).encode()), kind=TYPES)
@USUAL
def test_any_body_of_any_type_is_understood_or_refused(client, route, body, kind):
    ask(client, route, filled(route.path, NOBODY, NOBODY), body, **({"content_type": kind} if kind else {}))


@pytest.mark.parametrize("route", [one for one in WRITES if one.body is Body.JSON], ids=label)
@given(data=st.data())
@USUAL
def test_known_attributes_of_wrong_types_are_refused(client, route, data):
    names = sorted(getattr(route.about.accepts, "names", ["name"]))
    body = data.draw(st.dictionaries(st.sampled_from(names), VALUES | ODD_TEXTS, max_size=5))
    ask(client, route, filled(route.path, NOBODY, NOBODY), json.dumps(body), content_type="application/json")


@pytest.mark.parametrize("route", WRITES, ids=label)
def test_xml_is_refused_everywhere(client, route):
    for kind in ("text/xml", "application/xml", "application/atom+xml"):
        assert ask(client, route, filled(route.path, NOBODY, NOBODY), "<a/>", content_type=kind).status == 415


# -- paths and arguments


@pytest.mark.parametrize("route", WITH_PARAMETERS, ids=label)
@given(texts=st.tuples(ODD_TEXTS | st.text(min_size=1), ODD_TEXTS | st.text(min_size=1)))
@USUAL
def test_any_text_may_stand_where_an_id_is_expected(client, route, texts):
    texts = tuple(text.encode("utf-8", "replace").decode() for text in texts)
    ask(client, route, filled(route.path, *texts), b"{}" if route.body is Body.JSON else b"")


@pytest.mark.parametrize("route", LISTS, ids=label)
@given(data=st.data())
@USUAL
def test_any_argument_is_understood_or_refused(client, route, data):
    names = sorted(route.arguments)
    texts = ODD_TEXTS.map(lambda text: text.encode("utf-8", "replace").decode()) | st.text(max_size=20)
    values = texts | st.sampled_from(["eq:", "in:", "gt:1", "has:", "neq:a", "nin:a,b", "-1", "0", "1e9", "null", "{}"])
    query = data.draw(st.dictionaries(st.sampled_from(names), values, max_size=3))
    path = filled(route.path, NOBODY, NOBODY)
    ask(client, route, path + "?" + "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items()))


@pytest.mark.parametrize("route", LISTS, ids=label)
def test_an_unknown_argument_is_named(client, route):
    reply = ask(client, route, filled(route.path, NOBODY, NOBODY) + "?never_heard_of=1")

    assert (reply.status, reply.fault) == (400, 'Unknown argument: "never_heard_of"')


# -- names


@given(name=ODD_TEXTS | st.text(min_size=1, max_size=300))
@settings(max_examples=40, suppress_health_check=list(HealthCheck))
def test_an_environment_of_any_name_can_be_read_back_or_is_refused(name):
    client = Client()
    create = next(route for route in ROUTES if label(route) == "POST /v2/environments")
    reply = ask(client, create, "/v2/environments", json.dumps({"name": name}), content_type="application/json")

    if reply.status == 201:
        assert client.get(f"/v2/environments/{quote(name, safe='')}").json["name"] == name


@given(name=ODD_TEXTS | st.text(min_size=1, max_size=300))
@settings(max_examples=40, suppress_health_check=list(HealthCheck))
def test_a_workflow_of_any_name_can_be_read_back_or_is_refused(name):
    client = Client()
    create = next(route for route in ROUTES if label(route) == "POST /v2/workflows")
    text = json.dumps({"version": "2.0", name: {"tasks": {"t": {"action": "std.noop"}}}}, ensure_ascii=False)
    reply = ask(client, create, "/v2/workflows", text.encode("utf-8", "surrogatepass"))

    if reply.status == 201:
        [created] = reply.json["workflows"]
        assert client.get(f"/v2/workflows/{quote(created['name'], safe='')}").json["id"] == created["id"]


# -- what is refused for its meaning


def test_of_many_that_create_the_same_name_at_once_exactly_one_succeeds():
    client = Client()
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(client.post, "/v2/environments", {"name": "one", "variables": {}}) for _ in range(8)]

    assert sorted(reply.result().status for reply in asked) == [201] + [409] * 7


@pytest.mark.parametrize("wanted", ["IDLE", "WAITING", "success", "", "\x00", "DELAYED"])
def test_an_execution_is_not_brought_to_a_state_that_cannot_be_asked_for(wanted):
    client = Client()
    client.upload(WORKFLOWS)
    execution = client.start("waiting")
    before = client.service.stored()
    reply = client.put(f"/v2/executions/{execution['id']}", {"state": wanted})

    assert reply.status == 400
    assert client.service.stored() == before


def test_what_is_in_use_is_not_deleted():
    client = Client()
    client.upload(WORKFLOWS)
    client.post("/v2/cron_triggers", {"name": "c", "workflow_name": "quick", "pattern": "* * * * *"})
    before = client.service.stored()
    reply = client.delete("/v2/workflows/quick")

    assert (reply.status, reply.fault.startswith("Can't delete workflow that has cron triggers associated")) == (
        400,
        True,
    )
    assert client.service.stored() == before


@pytest.mark.parametrize("collection", ["workflows", "actions"])
def test_of_a_document_with_one_name_that_is_taken_nothing_is_stored(collection):
    client = Client()
    item = "{tasks: {t: {action: std.noop}}}" if collection == "workflows" else "{base: std.noop}"
    assert client.post(f"/v2/{collection}", f"version: '2.0'\ntaken: {item}\n").status == 201
    before = client.service.stored()
    reply = client.post(f"/v2/{collection}", f"version: '2.0'\nfree: {item}\ntaken: {item}\n")

    assert reply.status == 409
    assert reply.fault.startswith("Duplicate entry for")
    assert client.service.stored() == before


def test_the_texts_that_others_are_tried_with_are_not_all_refused():
    client = Client()

    assert {client.post("/v2/workflows", text).status for text in TEXTS} >= {201, 400}
