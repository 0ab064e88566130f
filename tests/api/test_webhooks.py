"""Signed URLs: whoever holds one starts a workflow or completes an action, once and for a time."""

import json
from urllib.parse import urlsplit

import pytest
import requests

from chalicelib import limits
from chalicelib.actions import http_transport
from chalicelib.adapters.memory import ManualClock, MemoryTable
from chalicelib.errors import ConflictException, MistralError, NotAllowedException, NotFoundException
from chalicelib.expressions.webhook_tokens import Grant, Subject, SubjectKind, WebhookSigner
from chalicelib.services.webhooks import Webhooks
from chalicelib.settings import Settings
from chalicelib.wiring import assemble, memory_ports
from tests.api.service_client import Client
from tests.planted import WEBHOOK_SECRET

FLOW = """
w:
  input: [{who: nobody}]
  output: {who: <% $.who %>}
  tasks:
    t: {action: std.noop}
"""
WAITS = """
approval:
  output: {answer: <% task(approve).result %>}
  tasks:
    approve:
      action: std.async_noop
"""


@pytest.fixture
def service():
    return Client(auth="authorizer").service


@pytest.fixture
def mine(service):
    client = Client(service).as_project("mine")
    client.upload(FLOW + WAITS)
    return client


@pytest.fixture
def theirs(service):
    return Client(service).as_project("theirs")


@pytest.fixture
def anybody(service):
    """Somebody without any credentials."""
    return Client(service)


def trigger_of(client, **attributes):
    body = {
        "name": "e",
        "workflow_id": client.get("/v2/workflows/w").json["id"],
        "exchange": "webhook",
        "topic": "orders",
        "event": "placed",
        **attributes,
    }
    reply = client.post("/v2/event_triggers", body)
    assert reply.status == 201, reply.json
    return reply.json


def issue(client, path, **attributes):
    reply = client.post(f"{path}/webhook", attributes)
    assert reply.status == 201, reply.json
    return reply.json


def path_in(issued):
    parts = urlsplit(issued["url"])
    assert (parts.scheme, parts.netloc) == ("http", "mistral.test")
    return parts.path


def url_of_trigger(client, trigger, **attributes):
    return path_in(issue(client, f"/v2/event_triggers/{trigger['id']}", **attributes))


def waiting(client):
    execution = client.start("approval")
    client.service.settle()
    [action] = client.actions_of(client.tasks_of(execution)["approve"])
    return execution, action


def result(client, execution):
    client.service.settle()
    found = client.get(f"/v2/executions/{execution['id']}").json
    return found["state"], json.loads(found["output"])


def started(client, workflow="w"):
    return client.get(f"/v2/executions?workflow_name={workflow}&include_output=true").json["executions"]


# -- starting workflows


def test_a_call_starts_the_workflow_with_the_body_among_its_parameters(mine, anybody):
    url = url_of_trigger(mine, trigger_of(mine, workflow_input={"who": "ada"}))
    reply = anybody.post(url, {"order": 7})

    assert reply.status == 201
    [execution] = started(mine)
    assert reply.json == {"id": execution["id"], "state": "RUNNING"}
    params = json.loads(execution["params"])["event_params"]
    assert (params["service"], params["project_id"], params["payload"]) == ("webhook", "mine", {"order": 7})
    assert json.loads(execution["output"]) == {"who": "ada"}


@pytest.mark.parametrize(
    "mapping", [{"who": "<% $.payload.customer.name %>"}, "<% dict(who => $.payload.customer.name) %>"]
)
def test_the_body_becomes_input_where_the_trigger_says_so(mine, anybody, mapping):
    trigger = trigger_of(mine, workflow_params={"event_input": mapping, "env": {"k": 1}})
    anybody.post(url_of_trigger(mine, trigger), {"customer": {"name": "bob"}})
    [execution] = started(mine)
    assert json.loads(execution["input"]) == {"who": "bob"}
    assert "event_input" not in json.loads(execution["params"])


def test_a_form_is_a_body_too(mine, anybody):
    url = url_of_trigger(mine, trigger_of(mine, workflow_params={"event_input": {"who": "<% $.payload.name %>"}}))
    form = "name=eve&name=ada&x="
    assert anybody.post(url, form, content_type="application/x-www-form-urlencoded").status == 201
    assert json.loads(started(mine)[0]["input"]) == {"who": "ada"}


def test_the_same_key_starts_one_execution(mine, anybody):
    url = url_of_trigger(mine, trigger_of(mine))
    ids = {anybody.post(url, {"n": number}, idempotency_key="k-1").json["id"] for number in range(3)}
    others = {anybody.post(url, {}).json["id"] for _ in range(2)}
    assert (len(ids), len(others), len(started(mine))) == (1, 2, 3)
    assert anybody.post(url, {}, idempotency_key="k" * 256).status == 400


def test_why_a_start_is_refused_is_told_to_the_owner_only(mine, anybody):
    trigger = trigger_of(mine, workflow_params={"event_input": "<% $.payload %>"})
    reply = anybody.post(url_of_trigger(mine, trigger), {"secret_name": 1})
    assert (reply.status, "secret_name" in reply.fault) == (400, False)
    assert "secret_name" in mine.get(f"/v2/event_triggers/{trigger['id']}").json["last_error"]
    assert started(mine) == []


def test_a_deleted_trigger_takes_its_urls_along(mine, anybody):
    trigger = trigger_of(mine)
    url = url_of_trigger(mine, trigger)
    assert anybody.get(url).json["is_open"] is True
    assert mine.delete(f"/v2/event_triggers/{trigger['id']}").status == 204
    assert anybody.get(url).json["is_open"] is False
    assert anybody.post(url, {}).status == 410


def test_only_triggers_of_webhooks_have_urls(mine):
    trigger = trigger_of(mine, exchange="nova")
    reply = mine.post(f"/v2/event_triggers/{trigger['id']}/webhook", {})
    assert (reply.status, "exchange is 'webhook'" in reply.fault) == (400, True)


def test_nothing_on_the_bus_passes_for_a_call(mine):
    trigger_of(mine)
    event = {
        "id": "1",
        "source": "webhook",
        "detail-type": "orders",
        "detail": {"event_type": "placed", "context": {"project_id": "mine"}},
    }
    assert mine.service.container.event_door.handle(event) == 0
    assert started(mine) == []


@pytest.mark.parametrize(
    ("mapping", "words"),
    [(5, "is an object with expressions"), ("text", "is an object"), ({"who": "<% $.( %>"}, "event_input: ")],
)
def test_a_mapping_that_makes_no_sense_is_refused_at_creation(mine, mapping, words):
    body = {
        "name": "e",
        "workflow_id": mine.get("/v2/workflows/w").json["id"],
        **dict.fromkeys(("exchange", "topic", "event"), "webhook"),
        "workflow_params": {"event_input": mapping},
    }
    reply = mine.post("/v2/event_triggers", body)
    assert (reply.status, words in reply.fault) == (400, True), reply.json


def test_an_input_that_the_workflow_does_not_have_is_refused_at_creation(mine):
    body = {
        "name": "e",
        "workflow_id": mine.get("/v2/workflows/w").json["id"],
        **dict.fromkeys(("exchange", "topic", "event"), "webhook"),
        "workflow_params": {"event_input": {"whom": "<% $.payload %>"}},
    }
    reply = mine.post("/v2/event_triggers", body)
    assert (reply.status, "unexpected=['whom']" in reply.fault) == (400, True)


# -- completing actions


def test_a_call_completes_the_action_once(mine, anybody):
    execution, action = waiting(mine)
    url = path_in(issue(mine, f"/v2/action_executions/{action['id']}"))
    assert anybody.get(url).json["is_open"] is True

    assert anybody.post(url, {"approved": True}).json == {"id": action["id"], "state": "SUCCESS"}
    assert result(mine, execution) == ("SUCCESS", {"answer": {"approved": True}})
    again = anybody.post(url, {"approved": False})
    assert (again.status, anybody.get(url).json["is_open"]) == (410, False)
    assert result(mine, execution) == ("SUCCESS", {"answer": {"approved": True}})


@pytest.mark.parametrize(("state", "ended"), [("ERROR", "ERROR"), ("error", "ERROR"), ("CANCELLED", "CANCELLED")])
def test_a_call_may_bring_another_end(mine, anybody, state, ended):
    execution, action = waiting(mine)
    url = path_in(issue(mine, f"/v2/action_executions/{action['id']}"))
    assert anybody.post(f"{url}?state={state}", {"why": "no"}).status == 200
    assert result(mine, execution)[0] == ended


@pytest.mark.parametrize(("query", "status"), [("?state=PAUSED", 400), ("?state=", 400), ("?x=1", 400)])
def test_a_call_that_makes_no_sense_changes_nothing(mine, anybody, query, status):
    _execution, action = waiting(mine)
    url = path_in(issue(mine, f"/v2/action_executions/{action['id']}"))
    assert anybody.post(url + query, {}).status == status
    assert anybody.post(url, b"{", content_type="application/json").status == 400
    assert anybody.post(url, b"<a/>", content_type="text/xml").status == 415
    assert anybody.get(url).json["is_open"] is True


def test_what_is_no_object_becomes_the_result_of_one(mine, anybody):
    execution, action = waiting(mine)
    url = path_in(issue(mine, f"/v2/action_executions/{action['id']}"))
    anybody.post(url, b"[1, 2]", content_type="application/json")
    assert result(mine, execution)[1] == {"answer": {"result": [1, 2]}}


def test_looking_at_a_link_changes_nothing(mine, anybody):
    _execution, action = waiting(mine)
    url = path_in(issue(mine, f"/v2/action_executions/{action['id']}", expires_sec=60))
    shown = [anybody.get(url) for _ in range(limits.WEBHOOK_CALLS_PER_MINUTE_MAX + 5)]
    assert shown[-1].json == {"for": "action", "is_open": True, "expires_at": "2023-11-14 22:14:20"}


def test_only_what_waits_for_a_result_has_a_url(mine):
    execution, action = waiting(mine)
    path = f"/v2/action_executions/{action['id']}"
    mine.put(path, {"state": "SUCCESS"})
    mine.service.settle()
    assert mine.post(f"{path}/webhook", {}).status == 400
    run = mine.post("/v2/action_executions", {"name": "std.async_noop", "params": {"save_result": True}}).json
    mine.service.settle()
    url = path_in(issue(mine, f"/v2/action_executions/{run['id']}"))
    assert Client(mine.service).post(url, {"x": 1}).status == 200
    assert mine.get(f"/v2/action_executions/{run['id']}").json["state"] == "SUCCESS"
    assert Client(mine.service).post(url, {}).status == 410
    assert result(mine, execution)[0] == "SUCCESS"


def test_an_expression_gives_the_url_of_a_task(mine, anybody):
    mine.upload(
        """
asks:
  output: {answer: <% task(approve).result %>}
  tasks:
    approve: {action: std.async_noop}
    ask:
      action: std.echo output=<% webhook_url(approve, 3600) %>
      publish: {url: <% task().result %>}
"""
    )
    execution = mine.run("asks")
    [echo] = mine.actions_of(mine.tasks_of(execution)["ask"])
    url = json.loads(echo["output"])["result"]
    assert url.startswith("/v2/webhooks/")  # no public address is set here
    assert anybody.get(url).json["for"] == "task"
    assert anybody.post(url, {"yes": 1}).status == 200
    assert result(mine, execution) == ("SUCCESS", {"answer": {"yes": 1}})
    assert anybody.post(url, {}).status == 410


@pytest.mark.parametrize(
    ("expression", "words"),
    [("webhook_url(nobody)", "no task of that name has begun"), ("webhook_url(ask, 0)", "takes 1 to")],
)
def test_an_expression_without_sense_says_why(mine, expression, words):
    mine.upload(f"bad:\n  tasks:\n    ask:\n      action: std.echo output=<% {expression} %>\n")
    execution = mine.run("bad")
    assert execution["state"] == "ERROR"
    assert words in execution["state_info"]


# -- whose, how long, how often


def test_who_may_not_see_an_object_gets_no_url_of_it(mine, theirs):
    _execution, action = waiting(mine)
    trigger = trigger_of(mine)
    for path in (f"/v2/action_executions/{action['id']}", f"/v2/event_triggers/{trigger['id']}"):
        assert theirs.post(f"{path}/webhook", {}).status == 404
        assert theirs.delete(f"{path}/webhook").status == 404


def test_without_credentials_nobody_issues_or_revokes(mine, anybody):
    trigger = trigger_of(mine)
    path = f"/v2/event_triggers/{trigger['id']}/webhook"
    assert (anybody.post(path, {}).status, anybody.delete(path).status) == (401, 401)


def test_a_url_expires(mine, anybody):
    url = url_of_trigger(mine, trigger_of(mine), expires_sec=10)
    mine.service.pass_time(9.9)
    assert anybody.post(url, {}).status == 201
    mine.service.pass_time(0.2)
    for reply in (anybody.post(url, {}), anybody.get(url)):
        assert (reply.status, reply.fault) == (410, "This webhook has expired.")


@pytest.mark.parametrize("expires_sec", [0, -1, limits.WEBHOOK_LIFE_MAX_SEC + 1, "x"])
def test_an_impossible_life_is_refused(mine, expires_sec):
    path = f"/v2/event_triggers/{trigger_of(mine)['id']}/webhook"
    assert mine.post(path, {"expires_sec": expires_sec}).status == 400


def test_revoking_ends_the_urls_that_there_are_and_no_later_one(mine, anybody):
    trigger = trigger_of(mine)
    old = url_of_trigger(mine, trigger)
    assert mine.delete(f"/v2/event_triggers/{trigger['id']}/webhook").status == 204
    new = url_of_trigger(mine, trigger)
    assert [anybody.post(url, {}).status for url in (old, new)] == [410, 201]
    assert anybody.get(old).fault == "This webhook was revoked."


def test_revoking_for_an_action_reaches_what_expressions_gave_out(mine, anybody):
    mine.upload(
        "asks:\n  tasks:\n    approve: {action: std.async_noop}\n"
        "    ask: {action: std.echo output=<% webhook_url(approve) %>}\n"
    )
    execution = mine.run("asks")
    tasks = mine.tasks_of(execution)
    url = json.loads(mine.actions_of(tasks["ask"])[0]["output"])["result"]
    [action] = mine.actions_of(tasks["approve"])
    assert mine.delete(f"/v2/action_executions/{action['id']}/webhook").status == 204
    assert anybody.post(url, {}).status == 410


def test_a_url_may_be_called_so_often_in_a_minute(mine, anybody):
    url = url_of_trigger(mine, trigger_of(mine))
    most = limits.WEBHOOK_CALLS_PER_MINUTE_MAX
    statuses = [anybody.post(url, {}, idempotency_key="one").status for _ in range(most + 2)]
    assert statuses == [201] * most + [429] * 2
    mine.service.pass_time(60)
    assert anybody.post(url, {}).status == 201


def test_a_body_is_bounded(mine, anybody):
    url = url_of_trigger(mine, trigger_of(mine))
    body = json.dumps("x" * limits.WEBHOOK_BODY_BYTES_MAX).encode()
    assert anybody.post(url, body, content_type="application/json").status == 400


def test_what_this_service_did_not_sign_does_not_exist(mine, anybody):
    trigger = trigger_of(mine)
    good = url_of_trigger(mine, trigger).rpartition("/")[2]
    body, _, signature = good.partition(".")
    subject = Subject(SubjectKind.TRIGGER, trigger["id"], "mine")
    forged = WebhookSigner(("another secret of forty characters ......",)).token(Grant(subject, 1.0, 9e9))
    flipped = ("A" if body[5] != "A" else "B").join((body[:5], body[6:]))
    bad = ["x", ".", f"{body}.", f".{signature}", f"{body}.{signature[:-2]}", f"{flipped}.{signature}", forged, "é.é"]
    for token in [*bad, "a" * 5000]:
        assert anybody.post(f"/v2/webhooks/{token}", {}).status == 404, token
    assert anybody.post(f"/v2/webhooks/{good}", {}).status == 201


def test_a_signature_of_another_project_reaches_nothing(mine, anybody):
    trigger = trigger_of(mine)
    _execution, action = waiting(mine)
    signer, now = WebhookSigner((WEBHOOK_SECRET,)), mine.service.clock.now()
    for subject in (
        Subject(SubjectKind.TRIGGER, trigger["id"], "theirs"),
        Subject(SubjectKind.ACTION, action["id"], "theirs"),
    ):
        token = signer.token(Grant(subject, now, now + 60))
        assert anybody.post(f"/v2/webhooks/{token}", {}).status == 410


def test_an_old_secret_is_accepted_while_a_new_one_signs():
    old, both = WebhookSigner(("old",)), WebhookSigner(("new", "old"))
    grant = Grant(Subject(SubjectKind.ACTION, "a", "p"), 1.0, 2.0)
    assert both.read(old.token(grant)) == both.read(both.token(grant)) == grant
    assert old.read(both.token(grant)) is None


def test_whoever_is_asked_over_http_is_told_the_url(mine, anybody, monkeypatch):
    sent = []

    def send(**request):
        sent.append(request["headers"])
        answer = requests.Response()
        answer.status_code, answer._content = 200, b"{}"
        return answer

    monkeypatch.setattr(http_transport, "send", send)
    mine.upload("asks:\n  tasks:\n    t: {action: std.mistral_http url='http://chat.test'}\n")
    execution = mine.run("asks")
    [headers] = sent
    url = headers["Mistral-Webhook-URL"]
    assert anybody.get(url).json["for"] == "action"
    assert anybody.post(url, {}).status == 200
    assert result(mine, execution)[0] == "SUCCESS"


def test_without_a_secret_there_are_no_webhooks():
    table, clock = MemoryTable(), ManualClock()
    webhooks = Webhooks(table, clock)
    with pytest.raises(NotAllowedException, match="MISTRAL_WEBHOOK_SECRET has no value"):
        webhooks.issue(Subject(SubjectKind.ACTION, "a", "p"), "http://mistral.test")
    token = WebhookSigner((WEBHOOK_SECRET,)).token(Grant(Subject(SubjectKind.ACTION, "a", "p"), 0.0, 9e9))
    with pytest.raises(NotFoundException):
        webhooks.admit(token)


def test_a_secret_that_can_be_guessed_is_refused():
    settings = Settings.from_environment({"MISTRAL_WEBHOOK_SECRET": "short"})
    assert "short" not in repr(settings)
    with pytest.raises(MistralError, match="has 5 characters"):
        assemble(settings, memory_ports())


def test_a_lost_race_for_the_count_is_run_again():
    class Racing(MemoryTable):
        races = 3

        def write(self, writes):
            if self.races:
                self.races -= 1
                raise ConflictException("somebody was faster")
            super().write(writes)

    signer, clock = WebhookSigner((WEBHOOK_SECRET,)), ManualClock()
    grant = Grant(Subject(SubjectKind.ACTION, "a", "p"), clock.now(), clock.now() + 60)
    assert Webhooks(Racing(), clock, signer).admit(signer.token(grant)) == grant
