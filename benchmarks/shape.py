"""The shape of growth: work per task must not depend on how many there are.

Counts are exact. Times are ratios within one run: the last tasks of a long chain against the first ones, a large number
of items or rounds against a small one.
"""

from __future__ import annotations

import time
import zlib
from dataclasses import dataclass
from typing import cast

from benchmarks.workloads import REAL_ACTION, Budget, Workload, World, chain, fork, items, large_context, measure
from chalicelib.expressions import functions as expressions
from chalicelib.expressions.evaluator import evaluate

_NO_BUDGET = Budget(0, 0, 0)
# The expressions measured here ask nothing of the world.
_NOWHERE = cast(expressions.World, None)


def loop(rounds: int) -> str:
    """A task that leads back to itself until it has run so often."""
    return (
        "version: '2.0'\nwork:\n  tasks:\n"
        "    begin: {publish: {i: 0}, on-success: again}\n"
        "    again:\n      action: std.noop\n      publish: {i: <% $.i + 1 %>}\n"
        f"      on-success: [{{again: '<% $.i + 1 < {rounds} %>'}}]\n"
    )


@dataclass(frozen=True, slots=True)
class Growth:
    """Cost per task at two sizes."""

    name: str
    small: int
    large: int
    units_ratio: float
    calls_ratio: float
    seconds_ratio: float


def growth(name: str, text_of: object, small: int, large: int, *, warm: bool = False) -> Growth:
    """How units, calls of AWS and time per task change between two sizes."""
    assert callable(text_of)
    measures = []
    for size in (small, large):
        started = time.perf_counter()
        counts = measure(Workload(name, text_of(size), size, _NO_BUDGET), warm=warm)
        seconds = time.perf_counter() - started
        units = counts.write_units + counts.read_units
        measures.append((units / size, counts.requests.total() / size, seconds / size))
    (few_units, few_calls, few_sec), (many_units, many_calls, many_sec) = measures
    return Growth(name, small, large, many_units / few_units, many_calls / few_calls, many_sec / few_sec)


def chain_evenness(length: int = 1000, sample: int = 100) -> float:
    """Time of the last tasks of a chain of real actions against that of the first ones."""
    finished: list[float] = []
    world = World(on_commit=lambda: finished.append(time.perf_counter()))
    world.upload(chain(length, REAL_ACTION))
    world.start()
    world.drain()
    assert len(finished) >= length
    return (finished[-1] - finished[-1 - sample]) / (finished[sample] - finished[0])


def context_bytes(tasks: int = 30, total_bytes: int = 4 * 1024 * 1024) -> float:
    """Bytes written in all, before compression, for a context of this size handed through tasks, against that size."""
    world = World()
    world.upload(large_context(tasks, total_bytes // tasks))
    before = world.meter.counts()
    world.start({"seed": "0123456789abcdef0123456789abcdef"})
    world.drain()
    spent = world.meter.counts().minus(before)
    stored = [zlib.decompress(data) for data in world.payloads.written]
    return (spent.bytes_written + sum(map(len, stored))) / total_bytes


def expression_seconds(context_bytes_total: int = 1024 * 1024, rounds: int = 200) -> dict[str, float]:
    """The time of an expression that touches one small value of a large context, by expression."""
    words = [f"{number:032x}" for number in range(context_bytes_total // 40)]
    context = {"x": 1, "large": {"words": words}}
    spent: dict[str, float] = {}
    for text in ("<% $.x %>", "{{ _.x }}"):
        evaluate(text, context, _NOWHERE)
        started = time.perf_counter()
        for _ in range(rounds):
            evaluate(text, context, _NOWHERE)
        spent[text] = (time.perf_counter() - started) / rounds
    return spent


def table() -> str:
    """Growth, evenness, and what size costs, as text."""
    rows = [
        growth("chain of pure actions", lambda n: chain(n, "std.noop"), 100, 2000),
        growth("fork, real, one warm executor", lambda n: fork(n, REAL_ACTION), 100, 1000, warm=True),
        growth("fork, real, a cold executor a branch", lambda n: fork(n, REAL_ACTION), 100, 1000),
        growth("with-items, real, concurrency 50", lambda n: items(n, REAL_ACTION, 50), 100, 10_000),
        growth("loop", loop, 100, 10_000),
    ]
    lines = [f"{'growth per task':<42}{'sizes':>16}{'units ratio':>14}{'calls ratio':>13}{'time ratio':>12}"]
    lines += [
        f"{each.name:<42}{f'{each.small} -> {each.large}':>16}"
        f"{each.units_ratio:>14.2f}{each.calls_ratio:>13.2f}{each.seconds_ratio:>12.2f}"
        for each in rows
    ]
    lines.append(f"{'chain of 1,000 real: last 100 / first 100':<58}{'':>27}{chain_evenness():>12.2f}")
    lines.append(f"{'4 MB context, 30 tasks: bytes written / size':<58}{context_bytes():>14.2f}")
    for name, seconds in expression_seconds().items():
        lines.append(f"{f'1 MB context, {name}: milliseconds':<58}{seconds * 1000:>39.3f}")
    return "\n".join(lines)
