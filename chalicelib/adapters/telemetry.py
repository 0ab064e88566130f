"""What this process tells of its work: its log, its metrics, its spans; each of them by a setting."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from typing import Final, TextIO

from chalicelib.adapters.json_logs import Invocation, install
from chalicelib.adapters.metrics import EmbeddedMetrics
from chalicelib.adapters.spans import Spans
from chalicelib.data import dataclass
from chalicelib.errors import MistralError
from chalicelib.services.telemetry import Metric, Telemetry, time_of

_LEVELS: Final = ("debug", "info", "warning", "error")
_FORMATS: Final = ("text", "json")
_METRICS: Final = ("off", "emf")
_TRACING: Final = ("off", "opentelemetry")
_LAMBDA: Final = "AWS_LAMBDA_FUNCTION_NAME"


@dataclass(frozen=True, slots=True)
class TelemetrySettings:
    """What is told, and how. ``text`` leaves the log as the process has set it up."""

    log_level: str = "info"
    log_format: str = "text"
    metrics: str = "off"
    tracing: str = "off"

    @staticmethod
    def from_environment(environment: Mapping[str, str]) -> TelemetrySettings:
        """Read the settings; Lambda has other defaults. Raises MistralError naming a setting that makes no sense."""
        in_lambda = _LAMBDA in environment
        return TelemetrySettings(
            log_level=_chosen(environment, "MISTRAL_LOG_LEVEL", "info", _LEVELS),
            log_format=_chosen(environment, "MISTRAL_LOG_FORMAT", "json" if in_lambda else "text", _FORMATS),
            metrics=_chosen(environment, "MISTRAL_METRICS", "emf" if in_lambda else "off", _METRICS),
            tracing=_chosen(environment, "MISTRAL_TRACING", "off", _TRACING),
        )


def _chosen(environment: Mapping[str, str], name: str, default: str, known: tuple[str, ...]) -> str:
    value = environment.get(name, default) or default
    if value not in known:
        raise MistralError(f"{name} is one of {', '.join(known)}, not {value!r}.")
    return value


class ProcessTelemetry(Telemetry):
    """The telemetry of this process; ``service`` is the name of the deployment. Sets up the log when it is made."""

    def __init__(self, settings: TelemetrySettings, service: str, *, stream: TextIO | None = None) -> None:
        self._invocation = Invocation()
        self._metrics = EmbeddedMetrics(service, lambda: stream or sys.stdout) if settings.metrics == "emf" else None
        self._spans = Spans() if settings.tracing == "opentelemetry" else None
        self._writes_json = settings.log_format == "json"
        if self._writes_json:
            install(settings.log_level, self._invocation, stream)

    @property
    def is_on(self) -> bool:
        """See ``Telemetry``."""
        return self._metrics is not None or self._spans is not None

    def count(self, metric: Metric, amount: int = 1) -> None:
        """See ``Telemetry``."""
        if self._metrics is not None:
            self._metrics.count(metric, amount)

    def measure(self, metric: Metric, value: float) -> None:
        """See ``Telemetry``."""
        if self._metrics is not None:
            self._metrics.measure(metric, value)

    @contextmanager
    def timed(self, kind: str, facts: Mapping[str, str]) -> Iterator[None]:
        """See ``Telemetry``."""
        began = time.perf_counter()
        try:
            with self._span(kind, facts):
                yield
        finally:
            self.measure(time_of(kind), (time.perf_counter() - began) * 1000)

    @contextmanager
    def invocation(self, door: str, request_id: str) -> Iterator[None]:
        """The time in which a door handles an event; at its end the metrics are written."""
        if not (self._writes_json or self.is_on):
            yield
            return
        self._invocation.door, self._invocation.request_id = door, request_id
        try:
            with self._span(door, {"request_id": request_id}):
                yield
        finally:
            if self._metrics is not None:
                self._metrics.flush({"Door": door, "RequestId": request_id})

    def _span(self, kind: str, facts: Mapping[str, str]) -> AbstractContextManager[object]:
        return nullcontext() if self._spans is None else self._spans.span(kind, facts)


@cache
def process_telemetry() -> ProcessTelemetry:
    """The telemetry that the environment asks for; the log is set up when this is called first, by the first event."""
    service = os.environ.get("MISTRAL_TABLE_PREFIX", "mistral-").rstrip("-")
    return ProcessTelemetry(TelemetrySettings.from_environment(os.environ), service)
