"""Task policies as rules over evaluated values: what a value must look like, and what a policy's verdict is.

The engine evaluates expressions and asks; nothing here knows of tasks or contexts. Types are strict as Mistral's are:
the text ``'1'`` is no number and ``'false'`` is no boolean.
"""

from __future__ import annotations

from chalicelib.data import dataclass
from chalicelib.errors import InvalidModelException
from chalicelib.limits import DELAY_MAX_SEC
from chalicelib.vocabulary import Json, State


def whole_number(policy: str, field: str, value: Json) -> int:
    """A count, a delay or a time limit: a whole number from 0 on. Raises InvalidModelException."""
    is_whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    if isinstance(value, bool) or not is_whole or value < 0:
        raise InvalidModelException(
            f"Invalid data type in {policy}: {str(value)[:100]!r} is not a whole number from 0 on. Value '{field}'."
        )
    return int(value)


def seconds(policy: str, field: str, value: Json) -> int:
    """A delay or a time limit in seconds, at most a year. Raises InvalidModelException."""
    return min(whole_number(policy, field, value), DELAY_MAX_SEC)


def boolean(policy: str, field: str, value: Json) -> bool:
    """A real boolean. Raises InvalidModelException."""
    if not isinstance(value, bool):
        raise InvalidModelException(
            f"Invalid data type in {policy}: {str(value)[:100]!r} is not true or false. Value '{field}'."
        )
    return value


def number(policy: str, field: str, value: Json, *, minimum: float, maximum: float) -> float:
    """A number within bounds. Raises InvalidModelException."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not minimum <= value <= maximum:
        raise InvalidModelException(
            f"Invalid data type in {policy}: {str(value)[:100]!r} is not a number from {minimum:g} to {maximum:g}. "
            f"Value '{field}'."
        )
    return float(value)


@dataclass(frozen=True, slots=True)
class RetryRules:
    """``retry`` with its values known. ``continue_on`` is ``None`` where it is not written."""

    count: int
    delay_sec: int
    break_on: bool = False
    continue_on: bool | None = None
    backoff: float = 1.0
    delay_max_sec: int = DELAY_MAX_SEC
    jitter: float = 0.0


def retry_delay_sec(rules: RetryRules, state: State, retry_no: int, *, chance: float) -> float | None:
    """How long to wait before the next attempt, or ``None`` when there is to be none.

    ``retry_no`` counts the retries made; ``chance`` in [0, 1) decides the jitter, which only ever shortens a delay.
    """
    if rules.count == 0 or not state.is_completed or state is State.CANCELLED:
        return None
    if retry_no >= rules.count or (state is State.ERROR and rules.break_on):
        return None
    if rules.continue_on is None and state is State.SUCCESS:
        return None
    if rules.continue_on is False:
        return None
    if rules.backoff == 1.0 and rules.jitter == 0.0:
        return float(min(rules.delay_sec, rules.delay_max_sec))
    # The exponent is bounded so that a large count cannot overflow a float.
    grown = rules.delay_sec * rules.backoff ** min(retry_no, 64)
    return min(grown, rules.delay_max_sec) * (1.0 - rules.jitter * chance)
