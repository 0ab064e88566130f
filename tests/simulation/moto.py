"""Crashes at the calls of the real adapters: ``python -m tests.simulation.moto --stride 7 --seed 1``.

Tables and payloads are those of DynamoDB and S3, emulated; the world, its queue and its time are the simulation's. At
one request of a run a process dies before it, or after it took effect; or the answer gets lost and the client asks
again; or AWS turns the request away for a while. The end must be that of an undisturbed run.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from http import HTTPStatus
from random import Random
from typing import Any
from unittest.mock import patch
from uuid import uuid4

import botocore.endpoint
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ReadTimeoutError
from moto.core.botocore_stubber import BotocoreStubber
from moto.core.models import botocore_stubber

from chalicelib.adapters.aws import Aws
from chalicelib.adapters.bounds import bulk_plan
from chalicelib.adapters.payloads import S3Payloads
from chalicelib.adapters.tables import WRITE_BATCH_MAX, DynamoTable, create_tables
from chalicelib.local.emulator import safe_moto
from chalicelib.services.ports import Item, Put, Write
from tests.simulation.doors import Process
from tests.simulation.examples import EXAMPLES
from tests.simulation.faults import Crash
from tests.simulation.outcomes import outcome
from tests.simulation.runs import bounds, start, undisturbed
from tests.simulation.workflows import CORPUS, Case
from tests.simulation.world import Circumstances, World

BUCKET = "payloads"
THROTTLED_TIMES = 2
CASES = {**CORPUS, **EXAMPLES}
_STUB = BotocoreStubber.__call__


class Trouble(StrEnum):
    """What happens to one request."""

    NONE = "none"
    CRASH_BEFORE = "crash before"
    CRASH_AFTER = "crash after"
    TIMEOUT_AFTER = "time-out after"
    THROTTLE = "throttle"


@dataclass
class Wire:
    """Between the clients and the emulator: counts requests of processes, and strikes one."""

    at: int
    trouble: Trouble
    world: World | None = None
    requests: int = 0
    throttled: int = 0
    struck: str = ""
    # What the present call of a table writes, for the oracles: they see what took effect, whoever lives to tell.
    pending: deque[list[Write]] = field(default_factory=deque)

    def __call__(self, request: Any, event_name: str, **_more: object) -> AWSResponse | None:
        """Answer a request, or leave that to the emulator."""
        door = self.world._current if self.world is not None else None
        if door is None:
            return None
        if door.process.has_died:
            raise Crash("request")
        request.is_of_the_wire = True
        self.requests += 1
        if self.requests == self.at:
            self.struck = f"{event_name.rpartition('.')[2]} {_operation(request)}"
        elif not (self.struck and self.trouble is Trouble.THROTTLE and 0 < self.throttled < THROTTLED_TIMES):
            return self._answer(event_name, request)
        match self.trouble:
            case Trouble.CRASH_BEFORE:
                door.process.has_died = True
                raise Crash("before the request")
            case Trouble.CRASH_AFTER:
                self._answer(event_name, request)
                door.process.has_died = True
                raise Crash("after the request")
            case Trouble.TIMEOUT_AFTER:
                self._answer(event_name, request)
                raise ReadTimeoutError(endpoint_url=request.url)
            case Trouble.THROTTLE:
                self.throttled += 1
                return _turned_away(request)
            case _:
                return self._answer(event_name, request)

    def _answer(self, event_name: str, request: Any) -> AWSResponse:
        request.is_of_the_wire = False
        answer = botocore_stubber(event_name, request)
        request.is_of_the_wire = True
        assert answer is not None
        writes = _operation(request) in {"PutItem", "TransactWriteItems", "BatchWriteItem"}
        if writes and answer.status_code == HTTPStatus.OK and self.pending:
            assert self.world is not None
            self.world.watcher.saw(self.pending.popleft())
        return answer


class WatchedTable(DynamoTable):
    """A table that tells the wire what it is about to write."""

    def __init__(self, aws: Aws, name: str, wire: Wire) -> None:
        super().__init__(aws, name, pause=lambda _: None)
        self._wire = wire

    def write(self, writes: Sequence[Write]) -> None:
        """See ``Table``."""
        self._wire.pending = deque([list(writes)])
        super().write(writes)

    def write_bulk(self, items: Iterable[Item], deletes: Iterable[tuple[str, str]] = ()) -> None:
        """See ``Table``."""
        items, deletes = list(items), list(deletes)
        plan = list(bulk_plan(items, deletes).values())
        parts = [plan[at : at + WRITE_BATCH_MAX] for at in range(0, len(plan), WRITE_BATCH_MAX)]
        self._wire.pending = deque([Put(item) for item in part if item is not None] for part in parts)
        super().write_bulk(items, deletes)


def _operation(request: Any) -> str:
    target = request.headers.get("X-Amz-Target", b"")
    return (target.decode() if isinstance(target, bytes) else str(target)).rpartition(".")[2] or request.method


def _unless_of_the_wire(stubber: Any, event_name: str, request: Any, **more: object) -> AWSResponse | None:
    """The emulator, which botocore asks in any case, leaves the requests alone that the wire has answered."""
    answered = getattr(request, "is_of_the_wire", False)
    return None if answered else _STUB(stubber, event_name, request, **more)


class _Raw:
    """The body of an answer, as a connection would give it."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def stream(self, *_arguments: object, **_options: object) -> Iterator[bytes]:
        """All of it."""
        yield self._data


def _turned_away(request: Any) -> AWSResponse:
    if "X-Amz-Target" in request.headers:
        name = b"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException"
        return AWSResponse(request.url, 400, {}, _Raw(b'{"__type":"' + name + b'","message":"slower"}'))
    text = b"<Error><Code>SlowDown</Code><Message>slower</Message></Error>"
    return AWSResponse(request.url, 503, {}, _Raw(text))


@contextmanager
def emulated(wire: Wire) -> Iterator[None]:
    """Let worlds that are made in the block lie on the emulator, behind the wire."""
    aws = Aws("us-east-1")
    name = f"crash-{uuid4()}"
    create_tables(aws, [name])
    for client in (aws.dynamodb().client, aws.client("s3")):
        client.meta.events.register_first("before-send", wire)
    with ExitStack() as stack:
        stack.enter_context(patch("tests.simulation.world.MemoryTable", lambda: WatchedTable(aws, name, wire)))
        stack.enter_context(patch("tests.simulation.world.MemoryPayloads", lambda: S3Payloads(aws, BUCKET)))
        stack.enter_context(patch.object(BotocoreStubber, "__call__", _unless_of_the_wire))
        stack.enter_context(patch.object(Process, "saw", lambda process, writes: None))
        # The emulator's short way, which makes no request, is for its own account only.
        stack.enter_context(patch.dict(os.environ, MOTO_ACCOUNT_ID="123456789012"))
        # Clients pause before they ask again; here that is no time.
        stack.enter_context(patch.object(botocore.endpoint.time, "sleep", lambda _: None))
        yield
    aws.client("dynamodb").delete_table(TableName=name)


def run_behind(wire: Wire, case: Case) -> tuple[dict[str, Any], frozenset[tuple[str, str]]]:
    """Run a case behind a wire: what it came to, and the actions whose executors died.

    Raises AssertionError where an invariant breaks.
    """
    with emulated(wire):
        world = World(case.text, 0, Circumstances(clocks=1))
        wire.world = world
        start(world, case)
        world.run()
        wire.world = None
        return outcome(world), frozenset(world.watcher.deaths())


def problem_with(title: str, trouble: Trouble, at: int, *, small: bool) -> str | None:
    """What is wrong with a run in which one request is struck."""
    case, wire = CASES[title], Wire(at, trouble)
    where = f"{title}: {trouble} at request {at}"
    with bounds(small=small):
        try:
            found, died = run_behind(wire, case)
        except AssertionError as error:
            return f"{where} ({wire.struck}): {error}"
        expected = outcome(undisturbed(case, died))
    if case.exact and found != expected:
        return f"{where} ({wire.struck}): {found} instead of {expected}"
    return None if wire.struck else f"{where}: there is no such request"


def problems(title: str, *, stride: int, first: int, small: bool, runs: Counter[str]) -> list[str]:
    """What goes wrong in a workflow, at every so-manyth request."""
    whole = Wire(-1, Trouble.NONE)
    with bounds(small=small):
        run_behind(whole, CASES[title])
    found = []
    for at in range(1 + first % stride, whole.requests + 1, stride):
        for trouble in list(Trouble)[1:]:
            runs[trouble] += 1
            problem = problem_with(title, trouble, at, small=small)
            found += [problem] if problem else []
    return found


@contextmanager
def emulator() -> Iterator[None]:
    """The emulated cloud, with its bucket."""
    with safe_moto():
        Aws("us-east-1").client("s3").create_bucket(Bucket=BUCKET)
        yield


def main() -> int:
    """Run the whole corpus and the examples, or one of these workflows."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.moto", description=__doc__)
    parser.add_argument("--stride", type=int, default=7, help="strike every so-manyth request")
    parser.add_argument("--seed", type=int, default=1, help="where each workflow begins")
    parser.add_argument("--workflow", choices=sorted(CASES), help="just this one")
    parser.add_argument("--small", action="store_true", help="small bounds: waves, pages, and values in S3")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    random, runs = Random(options.seed), Counter[str]()
    began, failed = time.monotonic(), 0
    with emulator():
        for title in [options.workflow] if options.workflow else CASES:
            first = random.randrange(options.stride)
            found = problems(title, stride=options.stride, first=first, small=options.small, runs=runs)
            failed += len(found)
            for problem in found:
                print(problem[:2000], flush=True)
    print(f"{runs.total()} runs {dict(runs)}, {failed} problems, {time.monotonic() - began:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
