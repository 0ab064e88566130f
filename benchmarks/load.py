"""Load: so many executions started per second, whether the service keeps up or not, and what becomes of all of them.

Who starts them goes by the clock and not by the answers: a start that has to wait for a free connection has waited, and
that counts. Every execution is looked for at the end: each must have succeeded, and there must be no others.
"""

from __future__ import annotations

import statistics
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final
from urllib.parse import urlsplit

from benchmarks.local_service import LocalService, MemoryWatch, running
from benchmarks.workloads import REAL_ACTION, chain

WORKLOADS: Final = {
    "one std.noop": chain(1, "std.noop"),
    "one real action": chain(1, REAL_ACTION),
}
_CLIENTS: Final = 48
# Of every so many executions one is watched until its end.
_WATCHED_EVERY: Final = 20
_LOOK_SEC: Final = 0.02
_PATIENCE_SEC: Final = 300.0
_PAGE: Final = 1000
_DONE: Final = frozenset({"SUCCESS", "ERROR", "CANCELLED"})


@dataclass(slots=True)
class Report:
    """What came of a load; times in seconds from the moment at which a start was due."""

    offered: int
    seconds: float
    started: list[float] = field(default_factory=list)
    ended: list[float] = field(default_factory=list)
    all_started_sec: float = 0.0
    all_ended_sec: float = 0.0
    lost: int = 0
    strangers: int = 0
    not_successful: int = 0
    rss_mb: list[float] = field(default_factory=list)

    @property
    def kept_up(self) -> bool:
        """Whether starts were answered as fast as they were asked for, within a second."""
        return self.all_started_sec <= self.seconds + 1.0

    @property
    def kb_per_execution(self) -> float:
        """How much memory the process, its emulated cloud included, has more for each execution."""
        return (self.rss_mb[-1] - self.rss_mb[0]) * 1024 / self.offered


class _Run:
    def __init__(self, service: LocalService, name: str, report: Report) -> None:
        self._service, self._name, self._report = service, name, report
        self._numbers = count()
        self._watched = threading.Semaphore(0)
        self.identifiers: list[str] = []
        self._open: list[tuple[float, str]] = []
        self._is_over = False
        self._began_at = 0.0

    def play(self) -> None:
        watchers = ThreadPoolExecutor(1)
        self._began_at = time.monotonic() + 0.1
        watching = watchers.submit(self._watch)
        with ThreadPoolExecutor(_CLIENTS) as pool:
            for future in [pool.submit(self._client) for _ in range(_CLIENTS)]:
                future.result()
        self._report.all_started_sec = time.monotonic() - self._began_at
        self._is_over = True
        watching.result()
        watchers.shutdown()

    def _client(self) -> None:
        report = self._report
        while (number := next(self._numbers)) < report.offered:
            due_at = self._began_at + number * report.seconds / report.offered
            time.sleep(max(0.0, due_at - time.monotonic()))
            execution = self._service.call("POST", "/executions", {"workflow_name": self._name})
            now = time.monotonic()
            self.identifiers.append(execution["id"])
            report.started.append(now - due_at)
            if execution["state"] in _DONE:
                report.ended.append(now - due_at)
            elif number % _WATCHED_EVERY == 0:
                self._open.append((due_at, execution["id"]))

    def _watch(self) -> None:
        while not self._is_over or self._open:
            for watched in list(self._open):
                due_at, identifier = watched
                if self._service.call("GET", f"/executions/{identifier}")["state"] in _DONE:
                    self._report.ended.append(time.monotonic() - due_at)
                    self._open.remove(watched)
            time.sleep(_LOOK_SEC)


def _listed(service: LocalService, name: str) -> Iterator[dict[str, Any]]:
    path: str | None = f"/executions?workflow_name={name}&fields=id,state&limit={_PAGE}"
    while path is not None:
        page = service.call("GET", path)
        yield from page["executions"]
        following = page.get("next")
        path = f"/executions?{urlsplit(following).query}" if following else None


def _settle(service: LocalService, name: str, offered: int) -> list[dict[str, Any]]:
    """All executions, once all of them have ended."""
    ends_at = time.monotonic() + _PATIENCE_SEC
    while True:
        listed = list(_listed(service, name))
        if len(listed) >= offered and all(row["state"] in _DONE for row in listed):
            return listed
        if time.monotonic() > ends_at:
            return listed
        time.sleep(0.5)


def put_on(service: LocalService, text: str, rate: float, seconds: float) -> Report:
    """Start so many executions per second, and look for all of them."""
    name = f"load_{time.monotonic_ns()}"
    service.call("POST", "/workflows", text.replace("\nwork:\n", f"\n{name}:\n", 1))
    report = Report(round(rate * seconds), seconds)
    began_at = time.monotonic()
    with MemoryWatch(service) as watch:
        run = _Run(service, name, report)
        run.play()
        listed = _settle(service, name, report.offered)
        report.all_ended_sec = time.monotonic() - began_at
    states = {row["id"]: row["state"] for row in listed}
    report.lost = len(set(run.identifiers) - states.keys()) + report.offered - len(set(run.identifiers))
    report.strangers = len(states.keys() - set(run.identifiers))
    report.not_successful = sum(state != "SUCCESS" for state in states.values())
    report.rss_mb = watch.seen_mb
    return report


def percentile(values: Sequence[float], share: float) -> float:
    """What this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def _row(name: str, rate: float, report: Report) -> str:
    whole = "all" if not (report.lost or report.strangers or report.not_successful) else "NOT ALL"
    return (
        f"{name:<18}{rate:>7g}{report.offered / max(report.all_started_sec, report.seconds):>9.0f}"
        f"{statistics.median(report.started) * 1000:>9.0f}{percentile(report.started, 0.99) * 1000:>9.0f}"
        f"{statistics.median(report.ended) * 1000:>9.0f}{percentile(report.ended, 0.99) * 1000:>9.0f}"
        f"{whole:>9}{report.rss_mb[0]:>8.0f}{report.rss_mb[-1]:>7.0f}{report.kb_per_execution:>9.1f}"
    )


def table(rates: Sequence[float], *, seconds: float, storage: str) -> str:
    """A row for each workload and rate, each on a service of its own."""
    lines = [
        f"storage {storage}, {seconds:g} s each; times in ms",
        f"{'':<18}{'starts per s':>16}{'start':>18}{'completion':>18}{'':>9}{'MB':>15}{'KB per':>9}",
        f"{'':<18}{'offered':>7}{'taken':>9}{'median':>9}{'99 %':>9}{'median':>9}{'99 %':>9}{'ended':>9}"
        f"{'before':>8}{'after':>7}{'run':>9}",
    ]
    for name, text in WORKLOADS.items():
        for rate in rates:
            with running(storage, "--quiet") as service:
                put_on(service, text, 20, 1)
                lines.append(_row(name, rate, put_on(service, text, rate, seconds)))
                print(lines[-1], file=sys.stderr, flush=True)
    return "\n".join(lines)
