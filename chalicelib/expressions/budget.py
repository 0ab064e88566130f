"""What one evaluation may cost: counted steps, sizes checked beforehand, and a deadline if a clock is handed in.

Neither language bounds its own work, so every call, loop turn and large value is charged here. A step is about a
microsecond of work.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from typing import Any, Final

from chalicelib import limits
from chalicelib.expressions.options import Options
from chalicelib.vocabulary import Json

# How many characters or items cost one step: together with the steps it bounds what one evaluation may allocate.
CHARACTERS_PER_STEP: Final = 32
ITEMS_PER_STEP: Final = 8
STEPS_PER_ITEM: Final = 5
STEPS_BETWEEN_CLOCK_READINGS: Final = 10_000


class BudgetExceededError(Exception):
    """An expression needs more steps, memory or time than it may have."""


class Budget:
    """The account of one evaluation. Every method raises ``BudgetExceededError`` when the account is empty."""

    __slots__ = ("_clock_at", "_deadline_sec", "_monotonic", "_options", "_steps_left")

    def __init__(self, options: Options) -> None:
        self._options = options
        self._steps_left = options.steps_max
        self._monotonic = options.monotonic
        self._deadline_sec = self._monotonic() + options.time_max_sec if self._monotonic else 0.0
        self._clock_at = self._steps_left - STEPS_BETWEEN_CLOCK_READINGS

    def spend(self, steps: int) -> None:
        """Charge for work that is about to be done, or was just done."""
        self._steps_left -= steps
        if self._steps_left < 0:
            raise BudgetExceededError(
                f"the expression takes more than {self._options.steps_max} steps; make it do less"
            )
        if self._monotonic is not None and self._steps_left < self._clock_at:
            self._clock_at = self._steps_left - STEPS_BETWEEN_CLOCK_READINGS
            if self._monotonic() > self._deadline_sec:
                raise BudgetExceededError(f"the expression takes longer than {self._options.time_max_sec} seconds")

    def charge(self, value: Json) -> Json:
        """Charge for a value by its size, and give it back."""
        if isinstance(value, (str, bytes)):
            check_size(len(value))
            self.spend(1 + len(value) // CHARACTERS_PER_STEP)
        elif isinstance(value, (list, tuple, set, frozenset, dict)):
            self.spend(1 + len(value) // ITEMS_PER_STEP)
        else:
            self.spend(1)
        return value

    def counted(self, items: Iterable[Any]) -> Iterator[Any]:
        """The same items, each charged for, and no more of them than one iterator may give."""
        limit = self._options.limit_iterators if self._options.limit_iterators >= 0 else limits.EVALUATION_ITEMS_MAX
        for position, item in enumerate(items):
            if position >= limit:
                raise BudgetExceededError(f"an iterator gives more than {limit} items")
            self.spend(STEPS_PER_ITEM)
            yield item


def check_size(size: int) -> None:
    """Refuse a text or collection of this length before it exists."""
    if size > limits.EVALUATION_BYTES_MAX:
        raise BudgetExceededError(f"a value would be {size} long, {limits.EVALUATION_BYTES_MAX} is the most")


def check_bits(bits: int) -> None:
    """Refuse an integer of this many bits before it exists."""
    if bits > limits.EVALUATION_INTEGER_BITS_MAX:
        raise BudgetExceededError(
            f"an integer would need {bits} bits, {limits.EVALUATION_INTEGER_BITS_MAX} is the most"
        )


def check_width(width: object) -> None:
    """Refuse a padding, precision or count (if it is a number at all) that serves only to allocate."""
    if isinstance(width, (int, float)) and abs(width) > limits.EVALUATION_WIDTH_MAX:
        raise BudgetExceededError(f"{width} is too wide, {limits.EVALUATION_WIDTH_MAX} is the most")


def check_power(base: object, exponent: object, modulus: object = None) -> None:
    """Refuse a power with too many digits; a power under a modulus stays small."""
    if isinstance(base, int) and isinstance(exponent, int) and modulus is None and abs(base) > 1:
        check_bits(base.bit_length() * max(exponent, 0))


def check_product(left: object, right: object) -> None:
    """Refuse a product of integers with too many digits, and a text or list repeated too often."""
    if isinstance(left, int) and isinstance(right, int):
        check_bits(left.bit_length() + right.bit_length())
    elif isinstance(left, int) and isinstance(right, Sized):
        check_size(max(left, 0) * len(right))
    elif isinstance(left, Sized) and isinstance(right, int):
        check_size(len(left) * max(right, 0))


def check_shift(value: int, bits: int) -> None:
    """Refuse a left shift with too many digits."""
    check_bits(value.bit_length() + max(bits, 0))


def replace(text: str, old: str, new: str, count: int = -1) -> str:
    """``str.replace``, refused when the outcome would be too long."""
    found = text.count(old)
    check_size(len(text) + (found if count < 0 else min(found, count)) * max(len(new) - len(old), 0))
    return text.replace(old, new, count)


def join(texts: Iterable[str], separator: str = "") -> str:
    """``str.join``, refused as soon as the outcome grows too long."""
    parts: list[str] = []
    size = 0
    for text in texts:
        size += len(text) + len(separator)
        check_size(size)
        parts.append(text)
    return separator.join(parts)
