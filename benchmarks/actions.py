"""How long it takes to find one of the 20,000 actions: pages of lists and single actions, asked of the endpoints."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Final

import app
from chalicelib.adapters.memory import ManualClock, MemoryPayloads, MemoryQueue, MemoryTable, SeededEntropy
from chalicelib.api.caller import Caller
from chalicelib.api.http import ApiSettings, Call, Handler
from chalicelib.settings import Settings
from chalicelib.wiring import Ports, assemble

PATHS: Final = (
    ("/v2/actions", "limit=20"),
    ("/v2/actions", "limit=20&marker=aws.ec2.run_instances"),
    ("/v2/actions", "limit=20&name=has:aws.ec2."),
    ("/v2/actions", "limit=20&name=has:instances"),
    ("/v2/actions", "limit=20&name=has:wait_instance"),
    ("/v2/actions", "limit=20&name=has:nothing_like_it"),
    ("/v2/actions", "limit=20&description=has:bucket"),
    ("/v2/actions", "limit=1000"),
    ("/v2/actions/aws.ec2.run_instances", ""),
)
_ROUNDS: Final = 9


def table() -> str:
    """One row a request: the first time in this process, and the median of those that follow, in milliseconds."""
    lines = [f"{'request, in ms':60}{'first':>10}{'warm':>10}"]
    handlers, settings = _service()
    for path, query in PATHS:
        took = [_milliseconds(handlers, settings, path, query) for _ in range(_ROUNDS)]
        title = f"GET {path}{'?' if query else ''}{query}"
        lines.append(f"{title:60}{took[0]:10.1f}{statistics.median(took[1:]):10.1f}")
    return "\n".join(lines)


def _service() -> tuple[dict[tuple[str, str], Handler], ApiSettings]:
    clock = ManualClock()
    ports = Ports(MemoryTable(), MemoryTable(), MemoryQueue(clock), MemoryPayloads(), clock, SeededEntropy(1))
    services = app.services_of(assemble(Settings(storage="memory"), ports), ApiSettings())
    return {(r.method, r.path): r.handler for r in app.all_routes(lambda: services)}, services.api_settings


def _milliseconds(
    handlers: dict[tuple[str, str], Handler],
    settings: ApiSettings,
    path: str,
    query: str,
    *,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    pattern, parameters = path, {}
    if ("GET", path) not in handlers:
        head, _, identifier = path.rpartition("/")
        pattern, parameters = f"{head}/{{identifier}}", {"identifier": identifier}
    pairs = (pair.partition("=") for pair in query.split("&") if pair)
    call = Call(
        method="GET",
        path=path,
        caller=Caller("bench"),
        settings=settings,
        base_url="http://bench",
        request_id="",
        parameters=parameters,
        query={name: value for name, _, value in pairs},
    )
    began = clock()
    answer = handlers["GET", pattern](call)
    assert answer.body
    return (clock() - began) * 1000
