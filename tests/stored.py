"""Executions left half done, as they lie in the tables: `python -m tests.stored` writes `tests/fixtures/stored.json`.

The file is written once for a stored format and then kept, so that every later version proves to read it. A new format
gets a file of its own beside it.
"""

import base64
import json
from pathlib import Path
from typing import Any

from chalicelib.engine.codec import FORMAT_VERSION
from chalicelib.services.ports import IndexKey, Item
from tests.api.service_client import Client

FILE = Path(__file__).with_name("fixtures") / "stored.json"
LARGE = "x" * 60_000
WORKFLOWS = """
inner:
  input: [text]
  output: {text: <% $.text %>}
  tasks:
    ask: {action: std.async_noop, publish: {answer: <% task().result %>}}
chain:
  input: [text]
  output: {text: <% $.text %>, answers: <% $.answers %>}
  tasks:
    begin: {action: std.echo output=<% $.text %>, publish: {first: <% task().result %>}, on-success: [left, right]}
    left:
      with-items: i in <% range(3) %>
      concurrency: 2
      action: std.async_noop
      publish: {answers: <% task().result %>}
      on-success: together
    right: {workflow: inner text=<% $.text %>, on-success: together}
    together: {join: all, action: std.echo output=<% $.answers %>}
patient:
  tasks:
    later: {action: std.noop, wait-before: 1200, timeout: 3000, on-success: paused}
    paused: {action: std.noop, pause-before: true}
backwards:
  type: reverse
  tasks:
    last: {action: std.noop, requires: [first]}
    first: {action: std.async_noop, retry: {count: 2, delay: 1}}
"""


def half_done() -> Client:
    """A service with executions that wait for somebody."""
    client = Client()
    client.upload(WORKFLOWS)
    client.start("chain", input={"text": LARGE})
    client.start("patient")
    client.start("backwards", params={"task_name": "last"})
    client.service.settle()
    return client


def written(client: Client) -> str:
    """Everything that it has stored, as text."""
    service = client.service
    tables: dict[str, Any] = {"executions": service.table, "definitions": service.container.ports.definitions}
    items = [
        {
            "table": name,
            "partition": item.partition,
            "key": item.key,
            "body": base64.b64encode(item.body).decode(),
            "revision": item.revision,
            "indexes": {index: [place.value, place.sort] for index, place in item.indexes.items()},
            "expires_at_sec": item.expires_at_sec,
        }
        for name, table in tables.items()
        for partition in table._partitions.values()
        for item in partition.items.values()
    ]
    payloads_in_memory: Any = service.container.ports.payloads
    kept = payloads_in_memory._data
    payloads = {digest: base64.b64encode(data).decode() for digest, data in kept.items()}
    made = {"format": FORMAT_VERSION, "now": service.clock.now(), "payloads": payloads, "items": items}
    return json.dumps(made, indent=0) + "\n"


def restored(text: str) -> Client:
    """A service of today's program that finds what is stored; its queues are empty, as after an outage."""
    stored = json.loads(text)
    client = Client()
    service = client.service
    service.clock.set(stored["now"])
    for digest, data in stored["payloads"].items():
        service.container.ports.payloads.put(digest, base64.b64decode(data))
    tables = {"executions": service.table, "definitions": service.container.ports.definitions}
    for one in stored["items"]:
        places = {index: IndexKey(value, sort) for index, (value, sort) in one["indexes"].items()}
        body = base64.b64decode(one["body"])
        item = Item(one["partition"], one["key"], body, one["revision"], places, one["expires_at_sec"])
        tables[one["table"]].write_bulk([item])
    return client


if __name__ == "__main__":
    FILE.write_text(written(half_done()), encoding="utf-8")
