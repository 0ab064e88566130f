"""Secrets that are planted wherever a secret can stand are in no line of the log, at any level of ours."""

import io
import json
import logging
from contextlib import redirect_stderr, redirect_stdout

import pytest

import app as doors
from chalicelib.adapters.memory import ManualClock, MemoryPayloads, MemoryQueue, MemoryTable, SeededEntropy
from chalicelib.adapters.telemetry import ProcessTelemetry, TelemetrySettings
from chalicelib.api.http import ApiSettings, MistralApi, blueprint
from chalicelib.local.gateway import Router
from chalicelib.settings import Settings
from chalicelib.vocabulary import JsonObject
from chalicelib.wiring import Ports, assemble
from tests.api.service_client import Client, Service
from tests.planted import MARK, WATCH, WEBHOOK_SECRET
from tests.unit.actions.http_server import http_server

ENVIRONMENT = {"db_password": f"{MARK}-env", "plain": f"{MARK}-env-plain"}

WORKFLOWS = f"""
calls:
  input: [url, password, body]
  vars: {{mine: {MARK}-var}}
  output: {{seen: <% $.body %>}}
  tasks:
    asks:
      action: std.http
      input:
        url: <% $.url %>/hook/{MARK}-path?token={MARK}-query
        method: POST
        headers: {{Authorization: Bearer {MARK}-header, X-Api-Key: {MARK}-key}}
        body: <% $.body %>
      publish: {{body: <% task().result.content %>}}
      on-complete: [refuses, fails, breaks, wrong]
    refuses:
      action: std.http url="http://ann:{MARK}-user@127.0.0.1:1/{MARK}-closed"
      on-error: noop
    fails:
      action: std.fail
      input: {{error_data: {{password: {MARK}-error}}}}
      on-error: noop
    breaks:
      action: std.javascript
      input: {{script: "throw new Error('{MARK}-script ' + $.p)", context: {{p: <% $.password %>}}}}
      on-error: noop
    wrong:
      action: std.echo output=<% int($.password) %>
      on-error: noop
    mails:
      action: std.email
      input:
        from_addr: a@b.test
        to_addrs: [c@d.test]
        smtp_server: 127.0.0.1:1
        smtp_password: {MARK}-smtp
        body: {MARK}-mail
    items:
      with-items: i in <% [$.password, env().db_password, env().plain] %>
      action: std.echo output=<% $.i %> delay=0.01
told:
  input: [password]
  tasks:
    one: {{action: std.echo output=<% $.password %> delay=0.01}}
"""


class Planted(Service):
    """The service with JSON logs at the level of debugging, metrics, and webhooks of the service's own publishers."""

    def __init__(self, stream, url):
        self.clock = ManualClock()
        self.queue = MemoryQueue(self.clock)
        self.table = MemoryTable()
        self.telemetry = ProcessTelemetry(
            TelemetrySettings(log_level="debug", log_format="json", metrics="emf"), "mine", stream=stream
        )
        ports = Ports(
            self.table,
            MemoryTable(),
            self.queue,
            MemoryPayloads(),
            self.clock,
            SeededEntropy(1),
            telemetry=self.telemetry,
        )
        publishers: dict[str, JsonObject] = {
            "s1": {"type": "webhook", "url": f"{url}/{MARK}-publisher", "headers": {"X-Token": f"{MARK}-publisher"}},
            "s2": {"type": "webhook", "url": f"http://127.0.0.1:1/{MARK}-dead"},
        }
        settings = Settings(storage="memory", egress_local=True, webhook_secret=WEBHOOK_SECRET, publishers=publishers)
        self.container = assemble(settings, ports)
        self.settings = ApiSettings()
        made = doors.services_of(self.container, self.settings)
        self.app = MistralApi("mistral", lambda: self.settings, around=self.telemetry.invocation)
        self.app.register_blueprint(blueprint("api", doors.all_routes(lambda: made), lambda: made))
        self.router = Router(self.app.routes)

    def notify(self):
        """Let the notifier try everything until it gives up."""
        while (at := self.queue.next_visible_at("notifications")) is not None:
            self.clock.set(max(at, self.clock.now()))
            for received in self.queue.receive("notifications", messages_max=1):
                record = {"messageId": received.message_id, "body": json.dumps(received.body), "attributes": {}}
                if not self.container.notifier.handle_batch([record], 120.0):
                    self.queue.delete(received)


@pytest.fixture
def captured():
    """Everything that is logged, printed or written to either stream."""
    root, ours = logging.getLogger(), logging.getLogger("mistral")
    kept, text = (list(root.handlers), root.level, ours.level), io.StringIO()
    with redirect_stdout(text), redirect_stderr(text):
        yield text
    root.handlers[:] = kept[0]
    root.setLevel(kept[1])
    ours.setLevel(kept[2])


def test_no_planted_secret_is_in_any_line(captured):
    with http_server() as server:
        client = Client(Planted(captured, server.url))
        a_broad_run(client, server.url)
        what_the_doors_cannot_bear(client)
    lines = captured.getvalue().splitlines()
    assert [line for line in lines if MARK in line] == []
    assert [line for line in lines if WEBHOOK_SECRET in line] == []
    told = [json.loads(line) for line in lines]
    assert {"mistral.engine", "mistral.executor", "mistral.notifications"} <= {line.get("logger") for line in told}
    assert any("given up" in line.get("message", "") for line in told)
    assert any("error" in line for line in told)


def a_broad_run(client, url):
    """Workflows, an environment, a webhook, an action on its own: all with secrets, most of them failing."""
    assert client.post("/v2/environments", {"name": "e", "variables": ENVIRONMENT}).status == 201
    client.upload(WORKFLOWS)
    notify = [
        {"type": "webhook", "url": f"{url}/{MARK}-notify"},
        {"type": "webhook", "url": f"http://127.0.0.1:1/{MARK}"},
    ]
    secrets = {"url": url, "password": f"{MARK}-input", "body": f"{MARK}-body"}
    client.run("calls", input=secrets, params={"env": "e", "notify": notify})
    client.run("told", input={"password": f"{MARK}-again"}, params={"env": {"token": f"{MARK}-inline"}})
    client.post("/v2/executions", {"workflow_name": "told", "input": {f"{MARK}-name": f"{MARK}-value"}})
    client.post(
        "/v2/executions", f'{{"workflow_name": "told", "password": "{MARK}-broken', content_type="application/json"
    )
    client.get(f"/v2/executions?password={MARK}-query", x_auth_token=f"{MARK}-token", authorization=f"Bearer {MARK}-b")
    client.post(f"/v2/webhooks/{MARK}-webhook", {"password": f"{MARK}-posted"})
    action = {"name": "std.http", "input": {"url": f"http://127.0.0.1:1/{MARK}", "headers": {"X-Token": MARK}}}
    client.post("/v2/action_executions", action)
    client.service.settle()
    client.service.notify()


def what_the_doors_cannot_bear(client):
    """Errors from below whose texts hold what was sent: of libraries, and of a table that fails."""
    container = client.service.container
    container.executor.handle_batch([{"messageId": "m", "body": f'{{"kind": "action", "password={MARK}'}], 60.0)
    container.executor.handle_batch([{"messageId": "m", "body": json.dumps({"kind": f"token={MARK}", "x": "e"})}], 60.0)

    def fails(*_arguments, **_options):
        raise OSError(f"cannot send {{'password': '{MARK}-below'}} with Authorization: Bearer {MARK}-below")

    read, container.ports.definitions.query = container.ports.definitions.query, fails
    kept, container.ports.definitions.list_index = container.ports.definitions.list_index, fails
    assert client.get("/v2/workflows", x_auth_token=f"{MARK}-token").status == 500
    container.ports.definitions.query, container.ports.definitions.list_index = read, kept


def test_the_test_can_fail(captured):
    client = Client(Planted(captured, "http://127.0.0.1:1"))
    client.upload(WORKFLOWS)
    logging.getLogger("mistral.engine").info("the input is %s", f"{MARK}-plain")
    assert MARK in captured.getvalue()
    assert WATCH.leaks
    WATCH.leaks.clear()


def test_every_test_of_the_run_is_watched():
    client = Client()
    client.upload(WORKFLOWS)
    before = WATCH.seen
    client.run("told", input={"password": f"{MARK}-watched"})
    assert WATCH.seen > before
    assert WATCH.leaks == []
    for logger, level in (("mistral.engine", logging.INFO), ("botocore", logging.WARNING)):
        logging.getLogger(logger).log(level, "the input is %s", f"{MARK}-plain")
        assert WATCH.leaks.pop()
        WATCH.leaks.clear()
