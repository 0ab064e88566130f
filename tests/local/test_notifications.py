"""The local service tells a webhook on this machine what becomes of an execution."""

import json
import urllib.request
from queue import SimpleQueue
from typing import Any

import pytest

from tests.docs_service import serving
from tests.unit.actions.http_server import Received, http_server

WORKFLOW = """
version: '2.0'
told:
  tasks:
    a: {action: std.http url=<% env().url %>, on-success: b}
    b: {action: std.noop}
"""
ANSWER_SEC = 30.0


def request(url: str, body: bytes, content_type: str) -> Any:
    call = urllib.request.Request(url, data=body, headers={"Content-Type": content_type})
    with urllib.request.urlopen(call) as answer:
        return json.load(answer)


class Arrivals(list[Received]):
    """What a server has received, and a way to wait for more of it."""

    def __init__(self) -> None:
        super().__init__()
        self._queue: SimpleQueue[Received] = SimpleQueue()

    def append(self, received: Received) -> None:
        super().append(received)
        self._queue.put(received)

    def events_at(self, path: str, amount: int) -> list[Any]:
        """The first events that come to a path."""
        found: list[Any] = []
        while len(found) < amount:
            received = self._queue.get(timeout=ANSWER_SEC)
            if received.path.startswith(path):
                found.append(json.loads(received.body)["event"])
        return found


@pytest.mark.parametrize("storage", ["memory", "moto"])
def test_a_webhook_hears_of_a_workflow_in_order(storage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    arrivals = Arrivals()
    with http_server() as server:
        server.received = arrivals
        own = [{"type": "webhook", "url": f"{server.url}/status?is=200", "event_types": ["WORKFLOW_SUCCEEDED"]}]
        monkeypatch.setenv("MISTRAL_NOTIFY", json.dumps(own))
        with serving("--storage", storage) as url:
            request(f"{url}/workflows", WORKFLOW.encode(), "text/plain")
            notify = [{"type": "webhook", "url": f"{server.url}/mirror"}]
            params = {"notify": notify, "env": {"url": f"{server.url}/echo"}}
            body = json.dumps({"workflow_name": "told", "params": params}).encode()
            request(f"{url}/executions", body, "application/json")

            events = arrivals.events_at("/mirror", 6)
            ends = [json.loads(each.body)["event"] for each in arrivals if each.path.startswith("/status")]
            ends = ends or arrivals.events_at("/status", 1)

    assert ends == ["WORKFLOW_SUCCEEDED"]
    assert events == [
        "WORKFLOW_LAUNCHED",
        "TASK_LAUNCHED",
        "TASK_SUCCEEDED",
        "TASK_LAUNCHED",
        "TASK_SUCCEEDED",
        "WORKFLOW_SUCCEEDED",
    ]
