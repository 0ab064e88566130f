"""Single requests: each resource made, read, listed, changed and deleted, here and on another service beside ours.

Every figure is the median of some rounds, which the services take in turns; a round is some forty requests, one after
the other.
"""

from __future__ import annotations

import json
import statistics
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.speed import Service, table_services

_TEXT = {"Content-Type": "text/plain"}
_WORKFLOW = "version: '2.0'\nNAME:\n  tasks:\n    t: {action: std.async_noop, publish: {x: <% task().result %>}}\n"
_WORKBOOK = (
    "version: '2.0'\nname: NAME\nactions:\n  a: {base: std.echo output='x'}\n"
    "workflows:\n  w:\n    tasks:\n      t: {action: a}\n"
)
_ACTION = "version: '2.0'\nNAME: {base: std.echo output='x'}\n"
_SETTLE_SEC = 10.0

Part = Callable[["Stopwatch"], None]


class Stopwatch:
    """The requests of one round, each with its time."""

    def __init__(self, service: Service) -> None:
        self.seconds: dict[str, float] = {}
        self._service = service

    def call(self, title: str, path: str, **options: Any) -> Any:
        """The JSON of a timed request; the title begins with its method. Raises requests.HTTPError."""
        started = time.perf_counter()
        response = self._service.call(title.partition(" ")[0], path, **options)
        self.seconds[title] = time.perf_counter() - started
        return response.json() if response.content else None

    def until(self, path: str, wanted: Mapping[str, str]) -> None:
        """Wait, untimed, until a resource says so. Raises TimeoutError."""
        ends = time.monotonic() + _SETTLE_SEC
        while time.monotonic() < ends:
            found = self._service.call("GET", path).json()
            if all(found[name] == value for name, value in wanted.items()):
                return
            time.sleep(0.01)
        raise TimeoutError(f"{path} is not {wanted} after {_SETTLE_SEC:.0f} s")


def _definitions(watch: Stopwatch) -> None:
    name = f"bench_{uuid.uuid4().hex[:12]}"
    for kind, text in (("workflows", _WORKFLOW), ("workbooks", _WORKBOOK), ("actions", _ACTION)):
        body = text.replace("NAME", name).encode()
        watch.call(f"POST /{kind}", f"/{kind}", data=body, headers=_TEXT)
        watch.call(f"POST /{kind}/validate", f"/{kind}/validate", data=body, headers=_TEXT)
        watch.call(f"PUT /{kind}", f"/{kind}", data=body, headers=_TEXT)
        watch.call(f"GET /{kind}/NAME", f"/{kind}/{name}")
        watch.call(f"GET /{kind}?limit=20", f"/{kind}?limit=20")
    for kind in ("actions", "workbooks", "workflows"):
        watch.call(f"DELETE /{kind}/NAME", f"/{kind}/{name}")


def _environments(watch: Stopwatch) -> None:
    name = f"bench_{uuid.uuid4().hex[:12]}"
    body = {"name": name, "variables": json.dumps({"a": 1})}
    watch.call("POST /environments", "/environments", json=body)
    watch.call("PUT /environments", "/environments", json=body)
    watch.call("GET /environments/NAME", f"/environments/{name}")
    watch.call("GET /environments", "/environments")
    watch.call("DELETE /environments/NAME", f"/environments/{name}")


def _executions(watch: Stopwatch) -> None:
    name = f"bench_{uuid.uuid4().hex[:12]}"
    watch.call("POST /workflows", "/workflows", data=_WORKFLOW.replace("NAME", name).encode(), headers=_TEXT)
    execution = watch.call("POST /executions", "/executions", json={"workflow_name": name})["id"]
    path = f"/executions/{execution}"
    watch.until(path, {"state": "RUNNING"})
    watch.call("GET /executions/ID", path)
    watch.call("GET /executions?limit=20", "/executions?limit=20")
    task = watch.call("GET /executions/ID/tasks", f"{path}/tasks")["tasks"][0]["id"]
    watch.until(f"/tasks/{task}", {"state": "RUNNING"})
    watch.call("GET /tasks/ID", f"/tasks/{task}")
    watch.call("GET /tasks?workflow_execution_id=ID", f"/tasks?workflow_execution_id={execution}")
    actions = watch.call("GET /tasks/ID/action_executions", f"/tasks/{task}/action_executions")["action_executions"]
    watch.call("GET /action_executions/ID", f"/action_executions/{actions[0]['id']}")
    watch.call("PUT /executions/ID PAUSED", path, json={"state": "PAUSED"})
    watch.call("PUT /executions/ID RUNNING", path, json={"state": "RUNNING"})
    watch.call("PUT /executions/ID description", path, json={"description": "seen"})
    given = {"state": "SUCCESS", "output": json.dumps({"result": 1})}
    watch.call("PUT /action_executions/ID", f"/action_executions/{actions[0]['id']}", json=given)
    watch.until(path, {"state": "SUCCESS"})
    watch.call("GET /executions/ID/report", f"{path}/report")
    watch.call("DELETE /executions/ID", path)
    watch.call("DELETE /workflows/NAME", f"/workflows/{name}")


def _others(watch: Stopwatch) -> None:
    name = f"bench_{uuid.uuid4().hex[:12]}"
    watch.call("POST /workflows", "/workflows", data=_WORKFLOW.replace("NAME", name).encode(), headers=_TEXT)
    trigger = {"name": name, "workflow_name": name, "pattern": "0 0 1 1 *"}
    watch.call("POST /cron_triggers", "/cron_triggers", json=trigger)
    watch.call("GET /cron_triggers/NAME", f"/cron_triggers/{name}")
    watch.call("GET /cron_triggers", "/cron_triggers")
    watch.call("DELETE /cron_triggers/NAME", f"/cron_triggers/{name}")
    asked = {"name": "std.echo", "input": json.dumps({"output": "x"}), "params": json.dumps({"run_sync": True})}
    watch.call("POST /action_executions (run_sync)", "/action_executions", json=asked)
    watch.call("DELETE /workflows/NAME", f"/workflows/{name}")


_ROUND: tuple[Part, ...] = (_definitions, _environments, _executions, _others)


def measure(service: Service) -> dict[str, float]:
    """Seconds of each request of one round, by title."""
    watch = Stopwatch(service)
    for play in _ROUND:
        play(watch)
    return watch.seconds


def table(against: str | None, *, storage: str, rounds: int) -> str:
    """Milliseconds per request; with another service beside ours, also how many times faster ours is."""
    with table_services(against, storage) as (services, _):
        seen: dict[str, list[dict[str, float]]] = {name: [] for name in services}
        for number in range(rounds + 1):
            for name, service in services.items():
                figures = measure(service)
                # The first round imports and connects.
                seen[name] += [figures] if number else []
    lines = [f"{'milliseconds, median of ' + str(rounds):<46}" + "".join(f"{name:>10}" for name in services)]
    for title in seen["ours"][0]:
        medians = [1000 * statistics.median(figures[title] for figures in played) for played in seen.values()]
        ratio = f"{medians[1] / medians[0]:>9.1f}x" if len(medians) > 1 else ""
        lines.append(f"{title:<46}" + "".join(f"{median:>10.1f}" for median in medians) + ratio)
    return "\n".join(lines)
