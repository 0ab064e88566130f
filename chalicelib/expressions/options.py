"""What an operator may set about expressions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from chalicelib import limits
from chalicelib.data import dataclass
from chalicelib.expressions.webhook_tokens import WebhookSigner

YAQL: Final = "yaql"
JINJA: Final = "jinja"


@dataclass(frozen=True, slots=True)
class Options:
    """The languages allowed and the quotas of one evaluation.

    ``limit_iterators`` (items per iterator) and ``memory_quota`` (bytes per value) are YAQL's options of those names;
    -1 means the product's own bound. ``monotonic`` is a clock in seconds; without one ``time_max_sec`` has no effect
    and only counted limits hold. ``webhooks`` signs what ``webhook_url()`` gives.
    """

    languages: frozenset[str] = frozenset({YAQL, JINJA})
    limit_iterators: int = -1
    memory_quota: int = -1
    steps_max: int = limits.EVALUATION_STEPS_MAX
    time_max_sec: float = limits.EVALUATION_TIME_MAX_SEC
    monotonic: Callable[[], float] | None = None
    webhooks: WebhookSigner | None = None


DEFAULT: Final = Options()
