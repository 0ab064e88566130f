"""The definition routes behind the gateway, without sockets: a request goes in, status and JSON come out."""

import json
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, urlsplit

from chalicelib.actions.registry import Registry
from chalicelib.adapters.memory import ManualClock, MemoryPayloads, MemoryTable, SeededEntropy
from chalicelib.api.definitions import routes
from chalicelib.api.http import ApiSettings, MistralApi, blueprint
from chalicelib.local.gateway import Router, proxy_event
from chalicelib.services.definitions import Definitions
from chalicelib.services.large_answers import LargeAnswers

# Reading service models takes time: one registry serves all tests.
REGISTRY = Registry()


@dataclass
class Reply:
    """A response: ``json`` is ``None`` for an empty body."""

    status: int
    json: Any
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def fault(self):
        return self.json["faultstring"]


class DefinitionClient:
    """Speaks as some project; ``as_project`` gives another voice to the same service."""

    def __init__(self, *, project_id="default", roles="", stage=None, **options):
        self.stage = stage or _stage(options)
        self._claims = {"project_id": project_id, "roles": roles}

    @property
    def definitions(self):
        return self.stage.definitions

    @property
    def clock(self):
        return self.stage.clock

    def as_project(self, project_id, roles=""):
        return DefinitionClient(project_id=project_id, roles=roles, stage=self.stage)

    def get(self, path):
        return self.ask("GET", path)

    def delete(self, path):
        return self.ask("DELETE", path)

    def post(self, path, body=b"", **headers):
        return self.ask("POST", path, body, **headers)

    def put(self, path, body=b"", **headers):
        return self.ask("PUT", path, body, **headers)

    def ask(self, method, path, body=b"", **headers):
        if isinstance(body, dict):
            body, headers = json.dumps(body).encode(), {"content-type": "application/json", **headers}
        data = body.encode() if isinstance(body, str) else body
        target = urlsplit(path)
        match = self.stage.router.match(quote(target.path, safe="/%"))
        event = proxy_event(
            method, target.path, match, query=target.query, body=data, headers={"host": "mistral.test", **headers}
        )
        event["requestContext"]["authorizer"] = self._claims
        answer = self.stage.app(event, None)
        text = answer["body"]
        return Reply(answer["statusCode"], json.loads(text) if text else None, answer["headers"])


def _stage(options):
    clock = ManualClock()
    table = MemoryTable()
    definitions = Definitions(table, MemoryPayloads(), clock, SeededEntropy(1), **options)
    settings = ApiSettings(auth="authorizer")
    large = LargeAnswers(MemoryPayloads(), SeededEntropy(2))
    services = SimpleNamespace(
        definitions=definitions,
        registry=REGISTRY,
        api_settings=settings,
        large_answers=large,
        authentication=SimpleNamespace(wait_sec=lambda _project_id: 0.0),
    )
    app = MistralApi("mistral", lambda: settings)
    app.register_blueprint(blueprint("definitions", routes(lambda: services), lambda: services))
    return SimpleNamespace(definitions=definitions, clock=clock, app=app, router=Router(app.routes), table=table)
