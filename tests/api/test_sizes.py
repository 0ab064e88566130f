"""Answers and requests at the bounds of the platform: nothing fails there that Lambda would have refused to pass on."""

import json
from urllib.parse import urlsplit

import pytest

from chalicelib import limits
from chalicelib.adapters.memory import MemoryPayloads
from chalicelib.adapters.payloads import NOT_SHARED
from chalicelib.api.sizes import fits, shortened, wire_bytes
from chalicelib.errors import NotFoundException
from tests.api.service_client import Client

QUOTES = '"' * 200_000  # a JSON string in a JSON string in a JSON string: seven bytes and more each


@pytest.fixture
def client():
    made = Client()
    made.upload("w: {input: [a: 1], tasks: {t: {action: std.noop}}}\n")
    return made


def fetched(client, reply):
    """What stands where an answer sends its reader."""
    assert (reply.status, reply.json, reply.headers["Cache-Control"]) == (303, None, "no-store")
    place = urlsplit(reply.headers["Location"])
    assert (place.scheme, place.netloc) == ("http", "mistral.test")
    payloads = client.service.container.ports.payloads
    return json.loads(payloads.shared(place.path.rpartition("/")[2]))


def test_what_lambda_passes_on_is_counted_as_lambda_counts():
    text = json.dumps({"a": 'quote " and \\ backslash', "b": json.dumps({"é": "\n"})})

    assert wire_bytes(text) == len(json.dumps(text)) - 2


def test_a_large_execution_is_fetched_from_elsewhere_whole(client, monkeypatch):
    execution = client.start("w", input={"a": "x" * 5000})
    small = client.get(f"/v2/executions/{execution['id']}").json
    monkeypatch.setattr(limits, "RESPONSE_BYTES_MAX", 5000)
    reply = client.get(f"/v2/executions/{execution['id']}")

    assert fetched(client, reply) == small


def test_an_answer_within_the_bound_by_its_characters_may_be_beyond_it_by_its_bytes(client, monkeypatch):
    execution = client.start("w", input={"a": '"' * 1000})
    text = json.dumps(client.get(f"/v2/executions/{execution['id']}").json)
    monkeypatch.setattr(limits, "RESPONSE_BYTES_MAX", len(text) + 100)

    assert not fits(text)
    assert client.get(f"/v2/executions/{execution['id']}").status == 303


@pytest.mark.parametrize("path", ["/report", "/executions", "/tasks"])
def test_what_has_no_pages_or_items_too_large_for_one_is_fetched_from_elsewhere(client, monkeypatch, path):
    execution = client.start("w", input={"a": "x" * 1000})
    address = f"/v2/executions/{execution['id']}{path}"
    small = client.get(address).json
    monkeypatch.setattr(limits, "RESPONSE_BYTES_MAX", 300)

    assert fetched(client, client.get(address)) == small


def test_addresses_are_never_the_same(client, monkeypatch):
    execution = client.start("w")
    monkeypatch.setattr(limits, "RESPONSE_BYTES_MAX", 100)
    addresses = {client.get(f"/v2/executions/{execution['id']}").headers["Location"] for _ in range(3)}

    assert len(addresses) == 3
    assert all(len(address.rpartition("/")[2]) == 64 for address in addresses)


def test_a_foreign_object_is_not_found_however_large(monkeypatch):
    owner = Client(auth="authorizer", claims={"project_id": "owner"})
    owner.upload("w: {input: [a: 1], tasks: {t: {action: std.noop}}}\n")
    execution = owner.start("w", input={"a": "x" * 1000})
    monkeypatch.setattr(limits, "RESPONSE_BYTES_MAX", 500)

    assert owner.get(f"/v2/executions/{execution['id']}").status == 303
    assert owner.as_project("stranger").get(f"/v2/executions/{execution['id']}").status == 404


def test_a_change_is_answered_at_once_with_what_fits(client, monkeypatch):
    monkeypatch.setattr(limits, "RESPONSE_BYTES_MAX", 2000)
    reply = client.post("/v2/executions", {"workflow_name": "w", "input": {"a": "x" * 5000}, "description": "d"})

    assert (reply.status, reply.headers["X-Mistral-Omitted"]) == (201, "input")
    assert reply.json["description"] == "d"
    assert "input" not in reply.json
    assert fits(json.dumps(reply.json))


def test_a_definition_whose_answer_is_too_large_is_created_and_answered_without_its_text(client, monkeypatch):
    monkeypatch.setattr(limits, "RESPONSE_BYTES_MAX", 4000)
    text = "version: '2.0'\na: {description: " + "x" * 5000 + ", tasks: {t: {action: std.noop}}}\n"
    reply = client.post("/v2/workflows", text + "b: {tasks: {t: {action: std.noop}}}\n")

    assert (reply.status, reply.headers["X-Mistral-Omitted"]) == (201, "definition")
    assert ["definition" in one for one in reply.json["workflows"]] == [False, True]
    assert "x" * 5000 in fetched(client, client.get("/v2/workflows/a"))["definition"]


def test_as_little_as_possible_is_left_out(monkeypatch):
    monkeypatch.setattr(limits, "RESPONSE_BYTES_MAX", 1000)
    body, names = shortened({"id": "1", "input": "x" * 2000, "output": "y" * 300, "tags": ["a"]})

    assert (body, names) == ({"id": "1", "output": "y" * 300, "tags": ["a"]}, ["input"])


def test_pages_end_early_and_together_they_are_everything(client, monkeypatch):
    ids = [client.start("w", input={"a": '"' * 500})["id"] for _ in range(6)]
    monkeypatch.setattr(limits, "RESPONSE_BYTES_MAX", 8000)
    seen, path = [], "/v2/executions"
    while path:
        page = client.get(path)
        assert page.status == 200
        seen += [one["id"] for one in page.json["executions"]]
        path = page.json.get("next", "").removeprefix("http://mistral.test")

    assert sorted(seen) == sorted(ids)


def test_the_largest_values_that_are_allowed_can_be_read(client):
    execution = client.start("w", input={"a": QUOTES})
    reply = client.get(f"/v2/executions/{execution['id']}")

    whole = reply.json or fetched(client, reply)
    assert json.loads(whole["input"])["a"] == QUOTES


def test_what_is_shared_is_forgotten_after_its_time():
    clock = Client().service.clock
    payloads = MemoryPayloads(clock)
    payloads.share("token", b"{}", limits.ANSWER_LIFETIME_SEC)
    assert payloads.shared("token") == b"{}"
    clock.advance(limits.ANSWER_LIFETIME_SEC)
    with pytest.raises(NotFoundException, match=NOT_SHARED[:20]):
        payloads.shared("token")


def test_a_request_beyond_the_bound_is_told_so(client, monkeypatch):
    monkeypatch.setattr(limits, "REQUEST_BYTES_MAX", 100)
    reply = client.post("/v2/executions", {"workflow_name": "w" * 200})

    assert (reply.status, "larger than 100 bytes" in reply.fault) == (413, True)
