"""Metrics in CloudWatch's Embedded Metric Format: lines of the log that CloudWatch makes metrics of. No call is made.

What happens during an invocation is added up and written as one line at its end; a second line only where there are
more single values than one may hold.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any, Final, TextIO

from chalicelib.limits import METRIC_VALUES_MAX, METRIC_VALUES_PER_LINE_MAX
from chalicelib.services.telemetry import Metric, unit_of

NAMESPACE: Final = "MistralServerless"
SERVICE: Final = "Service"


class EmbeddedMetrics:
    """Adds up, from any thread, until ``flush`` writes the line. ``service`` is the one dimension."""

    def __init__(self, service: str, stream: Callable[[], TextIO], *, now: Callable[[], float] = time.time) -> None:
        self._service = service
        self._stream = stream
        self._now = now
        self._lock = Lock()
        self._counts: Counter[Metric] = Counter()
        self._values: dict[Metric, list[float]] = {}

    def count(self, metric: Metric, amount: int = 1) -> None:
        """So many more."""
        with self._lock:
            self._counts[metric] += amount

    def measure(self, metric: Metric, value: float) -> None:
        """One value; of those of one invocation the first ``METRIC_VALUES_MAX`` are kept."""
        with self._lock:
            values = self._values.setdefault(metric, [])
            if len(values) < METRIC_VALUES_MAX:
                values.append(round(value, 3))

    def flush(self, properties: Mapping[str, str]) -> None:
        """Write what there is; ``properties`` are searched in the log, and are no dimensions."""
        with self._lock:
            counts, values = self._counts, self._values
            self._counts, self._values = Counter(), {}
        lines = self._lines(counts, values, properties)
        if lines:
            stream = self._stream()
            stream.write("".join(f"{line}\n" for line in lines))
            stream.flush()

    def _lines(
        self, counts: Mapping[Metric, int], values: Mapping[Metric, list[float]], properties: Mapping[str, str]
    ) -> list[str]:
        made = []
        size = METRIC_VALUES_PER_LINE_MAX
        longest = max((len(each) for each in values.values()), default=0)
        for start in range(0, max(longest, 1), size):
            found: dict[Metric, Any] = {metric: each[start : start + size] for metric, each in values.items()}
            found = {metric: each for metric, each in found.items() if each}
            if start == 0:
                found |= counts
            if found:
                made.append(self._line(found, properties))
        return made

    def _line(self, found: Mapping[Metric, Any], properties: Mapping[str, str]) -> str:
        metrics = [{"Name": metric.value, "Unit": unit_of(metric)} for metric in found]
        directive = {"Namespace": NAMESPACE, "Dimensions": [[SERVICE]], "Metrics": metrics}
        head = {"_aws": {"Timestamp": int(self._now() * 1000), "CloudWatchMetrics": [directive]}}
        body = {metric.value: value for metric, value in found.items()}
        return json.dumps({**head, SERVICE: self._service, **properties, **body}, separators=(",", ":"))
