"""The whole API behind the gateway, without sockets: requests go in, status and JSON come out."""

import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

import app as doors
from chalicelib.adapters.memory import ManualClock, MemoryPayloads, MemoryQueue, MemoryTable, SeededEntropy
from chalicelib.api.http import ApiSettings, MistralApi, blueprint
from chalicelib.local.gateway import Router, proxy_event
from chalicelib.services.messages import TASKS, TASKS_LONG
from chalicelib.settings import Settings
from chalicelib.wiring import Ports, assemble
from tests.planted import WEBHOOK_SECRET

MESSAGES_MAX = 1000
EXECUTOR_SEC = 120.0


@dataclass
class Reply:
    """A response: ``json`` is ``None`` for an empty body."""

    status: int
    json: Any
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def fault(self):
        return self.json["faultstring"]


class Service:
    """The service in memory, on a clock that moves when ``settle`` or ``pass_time`` says so."""

    def __init__(self, **settings):
        self.clock = ManualClock()
        self.queue = MemoryQueue(self.clock)
        self.table = MemoryTable()
        ports = Ports(self.table, MemoryTable(), self.queue, MemoryPayloads(), self.clock, SeededEntropy(1))
        self.container = assemble(Settings(storage="memory", egress_local=True, webhook_secret=WEBHOOK_SECRET), ports)
        self.settings = ApiSettings(**settings)
        made = doors.services_of(self.container, self.settings)
        self.routes = doors.all_routes(lambda: made)
        self.app = MistralApi("mistral", lambda: self.settings)
        self.app.register_blueprint(blueprint("api", self.routes, lambda: made))
        self.router = Router(self.app.routes)

    def settle(self):
        """Do all work there is, however long it takes, but alarms."""
        for _ in range(MESSAGES_MAX):
            due = [(at, name) for name in (TASKS, TASKS_LONG) if (at := self.queue.next_visible_at(name)) is not None]
            if not due:
                return
            at, name = min(due)
            self.clock.set(max(at, self.clock.now()))
            for received in self.queue.receive(name, messages_max=1):
                record = {"messageId": received.message_id, "body": json.dumps(received.body), "attributes": {}}
                if not self.container.executor.handle_batch([record], EXECUTOR_SEC):
                    self.queue.delete(received)
        raise AssertionError("the work does not come to an end")

    def stored(self):
        """Everything in the tables, to compare; but no snapshots, since only definitions lead to those."""
        return [
            {address: {key: (item.body, item.revision) for key, item in found.items.items()}
             for address, found in table._partitions.items() if not address.startswith("snapshot#")}
            for table in (self.table, self.container.ports.definitions) if isinstance(table, MemoryTable)
        ]  # fmt: skip

    def pass_time(self, seconds=1):
        self.clock.set(self.clock.now() + seconds)


class Client:
    """Speaks to a service, as some project when it demands to know."""

    def __init__(self, service=None, *, claims=None, **settings):
        self.service = service or Service(**settings)
        self._claims = claims

    def as_project(self, project_id, roles=""):
        return Client(self.service, claims={"project_id": project_id, "roles": roles})

    def get(self, path, **headers):
        return self.ask("GET", path, **headers)

    def delete(self, path):
        return self.ask("DELETE", path)

    def post(self, path, body=b"", **headers):
        return self.ask("POST", path, body, **headers)

    def put(self, path, body=b"", **headers):
        return self.ask("PUT", path, body, **headers)

    def ask(self, method, path, body=b"", **headers):
        if isinstance(body, dict | list):
            body, headers = json.dumps(body).encode(), {"content-type": "application/json", **headers}
        data = body.encode() if isinstance(body, str) else body
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        target = urlsplit(path)
        match = self.service.router.match(quote(target.path, safe="/%"))
        assert match is not None, f"no route answers {path}"
        event = proxy_event(
            method, target.path, match, query=target.query, body=data, headers={"host": "mistral.test", **named}
        )
        if self._claims is not None:
            event["requestContext"]["authorizer"] = self._claims
        answer = self.service.app(event, None)
        text = answer["body"]
        return Reply(answer["statusCode"], json.loads(text) if text else None, answer["headers"])

    # -- what tests do again and again

    def upload(self, text):
        reply = self.post("/v2/workflows", 'version: "2.0"\n' + text, content_type="text/plain")
        assert reply.status == 201, reply.json
        return reply.json["workflows"]

    def start(self, name, **attributes):
        reply = self.post("/v2/executions", {"workflow_name": name, **attributes})
        assert reply.status == 201, reply.json
        return reply.json

    def run(self, name, **attributes):
        execution = self.start(name, **attributes)
        self.service.settle()
        return self.get(f"/v2/executions/{execution['id']}").json

    def tasks_of(self, execution):
        found = self.get(f"/v2/executions/{execution['id']}/tasks").json["tasks"]
        return {task["name"]: task for task in found}

    def actions_of(self, task):
        return self.get(f"/v2/tasks/{task['id']}/action_executions?include_output=true").json["action_executions"]
