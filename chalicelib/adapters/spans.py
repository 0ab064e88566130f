"""Spans by OpenTelemetry's API. Whoever wants them brings its SDK: a Lambda layer, or a program that starts this one.

The API alone is imported, and only when tracing is on; without an SDK it does nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any, Final

from chalicelib.errors import MistralError

NAME: Final = "mistral"


class Spans:
    """Makes spans with the tracer of this process. Raises MistralError where the API is not installed."""

    def __init__(self) -> None:
        try:
            trace: Any = import_module("opentelemetry.trace")
        except ModuleNotFoundError as error:
            raise MistralError(
                "MISTRAL_TRACING=opentelemetry needs opentelemetry-api: pip install 'mistral-serverless[tracing]'."
            ) from error
        self._failed = trace.Status(trace.StatusCode.ERROR)
        self._tracer = trace.get_tracer(NAME)

    @contextmanager
    def span(self, kind: str, facts: Mapping[str, str]) -> Iterator[None]:
        """A span for the time of a block, below the one that is open in this thread.

        Of an error it says that there was one: its text may hold what was sent.
        """
        attributes = {f"{NAME}.{name}": value for name, value in facts.items() if value}
        with self._tracer.start_as_current_span(
            f"{NAME}.{kind}", attributes=attributes, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                yield
            except BaseException:
                span.set_status(self._failed)
                raise
