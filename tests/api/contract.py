"""Requests made of the API's own description, by schemathesis, to the API in memory; some of them meet real objects.

``python -m tests.api.contract --examples 500 --seed 7`` goes deeper than the tests do, and ends badly if anything is
found.
"""

import argparse
import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import schemathesis
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from chalicelib.api.openapi import document
from chalicelib.local.gateway import Gateway
from tests.api.service_client import Client, Service

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
CLAIMS = {"project_id": "here", "roles": "admin"}

WORKFLOWS = """
quick: {input: [a: 1], tags: [t], tasks: {t: {action: std.noop, publish: {x: 1}}}}
failing: {tasks: {t: {action: std.fail}}}
waiting: {tasks: {t: {action: std.async_noop}}}
parent: {tasks: {t: {with-items: 'i in [1, 2]', workflow: quick}}}
"""
TEXTS = [
    f"version: '2.0'\n{WORKFLOWS}",
    "version: '2.0'\nnew: {tasks: {t: {action: std.noop}}}\n",
    "version: '2.0'\nquick: {type: reverse, tasks: {t: {action: std.noop}}}\n",
    "version: '2.0'\nname: book\nworkflows: {w: {tasks: {t: {action: std.noop}}}}\n",
    "version: '2.0'\nadhoc: {base: std.echo, base-input: {output: <% $.x %>}, input: [x]}\n",
    "version: '2.0'\n",
    "name: [",
    "def run(): pass",
]


class World:
    """A service with an object of every kind, and what can be asked of it."""

    def __init__(self) -> None:
        self.service = Service(auth="authorizer")
        self.client = Client(self.service, claims=CLAIMS)
        self.known = self._fill()
        self.described = document(self.service.routes)
        self.schema = schemathesis.openapi.from_dict(self.described)
        self.schema.app = Gateway(self._answer, self.service.app.routes)

    def operations(self) -> Iterator[Any]:
        """What can be asked."""
        for found in self.schema.get_all_operations():
            assert isinstance(found, Ok), found
            yield found.ok()

    def _answer(self, event: Any, context: Any) -> Any:
        event["requestContext"]["authorizer"] = CLAIMS
        return self.service.app(event, context)

    def _fill(self) -> dict[str, list[str]]:
        """Objects of every kind; by the beginning of a path, what may follow."""
        client = self.client
        uploaded = client.upload(WORKFLOWS)
        quick, failing = uploaded[0], uploaded[1]
        action = client.post("/v2/actions", TEXTS[4]).json["actions"][0]
        client.post("/v2/workbooks", TEXTS[3])
        client.post("/v2/environments", {"name": "env", "variables": {"a": 1}})
        found = [client.run(name) for name in ("quick", "failing", "waiting", "parent")]
        client.put(f"/v2/executions/{client.start('waiting')['id']}", {"state": "PAUSED"})
        tasks = client.get("/v2/tasks").json["tasks"]
        actions = client.get("/v2/action_executions").json["action_executions"]
        cron = client.post("/v2/cron_triggers", {"name": "c", "workflow_name": "quick", "pattern": "* * * * *"}).json
        selectors = {"exchange": "e", "topic": "t", "event": "x"}
        event = client.post("/v2/event_triggers", {**selectors, "workflow_id": quick["id"]}).json
        client.post(f"/v2/workflows/{failing['id']}/members", {"member_id": "there"})
        return {
            "workflows": [quick["id"], failing["id"], "quick"],
            "members": ["there", "here"],
            "actions": [action["id"], "adhoc", "std.echo"],
            "workbooks": ["book"],
            "environments": ["env"],
            "executions": [one["id"] for one in found],
            "tasks": [one["id"] for one in tasks],
            "action_executions": [one["id"] for one in actions],
            "cron_triggers": [cron["id"], "c"],
            "event_triggers": [event["id"]],
        }


def ask(world: World, operation: Any, data: st.DataObject) -> None:
    """One request and its answer. Raises FailureGroup when the answer is not as described."""
    mode = data.draw(st.sampled_from(schemathesis.GenerationMode))
    try:
        strategy = operation.as_strategy(generation_mode=mode)
        case = data.draw(strategy)
    except schemathesis.errors.SchemathesisError:
        case = data.draw(operation.as_strategy())
    _meet(world, case, data)
    before = world.service.stored()
    response = case.call(base_url="http://127.0.0.1")
    case.validate_response(response, checks=CHECKS)
    if response.status_code >= 400:
        assert world.service.stored() == before, f"{response.status_code}, and something was written"


def _meet(world: World, case: Any, data: st.DataObject) -> None:
    """Half of the ids, names and texts that were made up become real ones."""
    collection = ""
    for part in case.operation.path.split("/"):
        if part.startswith("{") and collection in world.known and data.draw(st.booleans()):
            case.path_parameters[part.strip("{}")] = data.draw(st.sampled_from(world.known[collection]))
        collection = part
    if case.media_type == "text/plain" and data.draw(st.booleans()):
        case.body = data.draw(st.sampled_from(TEXTS))
    if isinstance(case.body, dict):
        real = {"workflow_name": "quick", "workflow_id": world.known["workflows"][0], "name": "std.echo"}
        real |= {"state": data.draw(st.sampled_from(["PAUSED", "RUNNING", "SUCCESS", "ERROR", "CANCELLED", "SKIPPED"]))}
        for name, value in real.items():
            if name in case.body and data.draw(st.booleans()):
                case.body[name] = value


def examine(label: str, examples: int, number: int) -> None:
    """Ask many things of one operation. Raises FailureGroup."""
    world = World()
    [operation] = (one for one in world.operations() if one.label == label)

    @seed(number)
    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def run(data: st.DataObject) -> None:
        ask(world, operation, data)

    run()


def labels() -> list[str]:
    """The operations of the API: method and path."""
    return [one.label for one in World().operations()]


def main() -> int:
    """Examine every operation; how many failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="operations whose label contains this")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    failed = 0
    for label in labels():
        if arguments.only in label:
            try:
                examine(label, arguments.examples, arguments.seed)
                print("ok ", label, flush=True)
            except (AssertionError, BaseExceptionGroup) as error:
                failed += 1
                print("BAD", label, json.dumps(str(error))[:3000], *getattr(error, "__notes__", ()), flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(min(main(), 1))
