"""What HTTP itself must do: types of bodies, unknown paths and methods, addresses, other origins, bounds."""

import json

import pytest

from chalicelib import limits
from chalicelib.api.caller import base_url_of
from chalicelib.api.http import ApiSettings
from chalicelib.errors import MistralError
from tests.api.service_client import Client

ORIGIN = "https://flow.example"


@pytest.fixture
def client():
    return Client()


def test_the_root_lists_the_versions(client):
    link = {"href": "http://mistral.test/v2", "target": "v2", "rel": "self"}

    assert client.get("/").json == {"versions": [{"id": "v2.0", "status": "CURRENT", "links": [link]}]}


def test_the_version_has_its_slash(client):
    bare, slashed = client.get("/v2"), client.get("/v2/")

    assert (bare.status, bare.headers["Location"]) == (302, "http://mistral.test/v2/")
    assert slashed.json == {"uri": "http://mistral.test/v2"}


def test_a_trailing_slash_changes_nothing(client):
    assert client.get("/v2/executions/").json == {"executions": []}


def test_the_info_document_is_shown_only_if_there_is_one(client):
    refused = client.get("/info")
    shown = Client(info={"version": "1"}).get("/info")

    assert (refused.status, refused.fault) == (400, "Info endpoint disabled.")
    assert shown.json == {"version": "1"}


def test_addresses_follow_the_proxy_and_the_stage():
    headers = {"host": "inner", "x-forwarded-proto": "https, http", "x-forwarded-host": "flow.example"}
    context = {"path": "/api/v2/executions/abc", "resourcePath": "/v2/executions/{identifier}"}

    assert base_url_of(headers, context) == "https://flow.example/api"
    assert base_url_of({"host": "h:8989"}, {"path": "/v2", "resourcePath": "/v2"}) == "http://h:8989"
    assert base_url_of({"host": "h"}, {"path": "/api/", "resourcePath": "/"}) == "http://h/api"


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 400),
        ("application/json; charset=utf-8", 400),
        ("text/plain", 415),
        ("application/x-yaml", 415),
        ("text/xml", 415),
        ("application/xml", 415),
        ("application/atom+xml", 415),
    ],
)
def test_endpoints_that_read_json_take_no_other_type(client, content_type, status):
    reply = client.post("/v2/executions", "{}", content_type=content_type)

    assert reply.status == status
    assert isinstance(reply.fault, str)


def test_a_body_of_no_declared_type_is_read_as_json(client):
    assert "Workflow ID" in client.post("/v2/executions", "{}").fault


@pytest.mark.parametrize("content_type", ["text/plain", "application/json", "application/x-yaml", None])
def test_definitions_are_read_whatever_type_is_declared(client, content_type):
    headers = {"content_type": content_type} if content_type else {}
    reply = client.post("/v2/workflows", 'version: "2.0"\nw: {tasks: {t: {action: std.noop}}}\n', **headers)

    assert (reply.status, reply.headers["Content-Type"]) == (201, "application/json;charset=utf-8")


def test_xml_is_no_definition_either(client):
    assert client.post("/v2/workflows", "<w/>", content_type="application/xml").status == 415


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("", 'Missing argument: "wf_ex"'),
        ("  ", 'Missing argument: "wf_ex"'),
        ("{", "not in valid JSON format"),
        ('{"input": {"a": NaN}}', "not in valid JSON format"),
        ("[" * 100_000, "not in valid JSON format"),
        (b"\xff\xfe", "not in valid JSON format"),
        ("null", "not a JSON object"),
        ('{"input": ' + "9" * 5000 + "}", "not in valid JSON format"),
    ],
)
def test_a_body_that_is_no_json_object_is_refused(client, body, words):
    reply = client.post("/v2/executions", body, content_type="application/json")

    assert (reply.status, reply.json["faultcode"]) == (400, "Client")
    assert words in reply.fault


def test_an_unknown_path_is_answered_in_json(client):
    event = {"path": "/nowhere", "headers": {}, "requestContext": {"resourcePath": "/nowhere", "httpMethod": "GET"}}
    answer = client.service.app(event, None)

    assert answer["statusCode"] == 404
    assert "/nowhere" in json.loads(answer["body"])["faultstring"]


@pytest.mark.parametrize("method", ["HEAD", "PATCH", "DELETE"])
def test_a_method_that_is_not_offered_names_those_that_are(client, method):
    reply = client.ask(method, "/v2/executions")

    assert (reply.status, reply.headers["Allow"]) == (405, "GET, POST")
    assert isinstance(reply.fault, str)


def test_other_origins_get_nothing_unless_they_are_named():
    named, unnamed = Client(cors_origins=(ORIGIN,)), Client()

    assert "Access-Control-Allow-Origin" not in unnamed.get("/v2/executions", origin=ORIGIN).headers
    assert "Access-Control-Allow-Origin" not in named.get("/v2/executions", origin="https://evil.example").headers
    assert named.get("/v2/executions", origin=ORIGIN).headers["Access-Control-Allow-Origin"] == ORIGIN
    refused = named.ask("PATCH", "/v2/executions", origin=ORIGIN)
    assert refused.headers["Access-Control-Allow-Origin"] == ORIGIN


def test_a_browser_may_ask_first():
    reply = Client(cors_origins=(ORIGIN,)).ask("OPTIONS", "/v2/executions", origin=ORIGIN)

    assert (reply.status, reply.json) == (200, None)
    assert "PUT" in reply.headers["Access-Control-Allow-Methods"]
    assert "X-Auth-Token" in reply.headers["Access-Control-Allow-Headers"]
    assert Client().ask("OPTIONS", "/v2/executions", origin=ORIGIN).status == 405


def test_a_request_that_is_too_large_is_refused(client, monkeypatch):
    monkeypatch.setattr(limits, "REQUEST_BYTES_MAX", 100)

    reply = client.post("/v2/executions", {"workflow_name": "w" * 200})

    assert reply.status == 413
    assert "larger than 100 bytes" in reply.fault


def test_a_page_that_would_be_too_large_ends_early_with_a_link(client, monkeypatch):
    client.upload("w: {tasks: {t: {action: std.noop}}}\n")
    ids = [client.start("w", description="d" * 255)["id"] for _ in range(3)]
    monkeypatch.setattr(limits, "RESPONSE_BYTES_MAX", 3000)

    page = client.get("/v2/executions").json
    shown = [execution["id"] for execution in page["executions"]]

    assert 0 < len(shown) < len(ids)
    assert page["next"].endswith(f"marker={shown[-1]}")


def test_what_goes_wrong_unexpectedly_is_logged_and_not_told(client, monkeypatch, caplog):
    def fail(*_arguments):
        raise RuntimeError("the password is 1234")

    monkeypatch.setattr(client.service.container.executions.__class__, "header", fail)

    reply = client.get("/v2/executions/11111111-1111-4111-8111-111111111111")

    assert (reply.status, reply.json["faultcode"]) == (500, "Server")
    assert "1234" not in reply.fault
    assert "request_id=" in reply.fault
    assert "the password is 1234" in caplog.text


@pytest.mark.parametrize(
    ("name", "value"),
    [("MISTRAL_LIST_ITEMS_MAX", "many"), ("MISTRAL_LIST_ITEMS_MAX", "5000"), ("MISTRAL_INFO", "{")],
)
def test_a_setting_that_makes_no_sense_is_named(name, value):
    with pytest.raises(MistralError, match=name):
        ApiSettings.from_environment({name: value})


def test_settings_are_read_from_the_environment():
    environment = {"MISTRAL_CORS_ORIGINS": "https://a, https://b", "MISTRAL_INFO": '{"a": 1}', "MISTRAL_AUTH": "x"}

    settings = ApiSettings.from_environment(environment)

    assert (settings.cors_origins, settings.info, settings.auth) == (("https://a", "https://b"), {"a": 1}, "x")
