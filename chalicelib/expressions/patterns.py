"""Regular expressions that end: what may take long is matched within a time, by an engine that can be stopped.

Python's own engine gives the meaning. It can neither be stopped nor let other threads run, and a short pattern may keep
it busy for years; so what it matches is short, or cannot go back and forth. The rest is matched by the library `regex`,
which is written to mean the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, TypeVar

from chalicelib import limits
from chalicelib.expressions.budget import BudgetExceededError

if TYPE_CHECKING:
    import regex

T = TypeVar("T")

_TIME_MAX_SEC: Final = limits.EVALUATION_TIME_MAX_SEC
# Two of these may make each other try again, in ways without number.
_FORKS: Final = re.compile(r"[*+?{|]")
# With one, a search takes the square of the length.
_LENGTH_OF_A_QUICK_SEARCH: Final = 2_000
# What `regex` would read in another way than `re`, and how to write it so that both read it as `re` does: a brace that
# begins no repetition (else a fuzzy match), and a colon behind a bracket (else a class of POSIX).
_READ_OTHERWISE: Final = re.compile(r"\\.|\{(?!\d+\}|\d*,\d*\})|\[:", re.DOTALL)


class Pattern:
    """A compiled regular expression. Every method raises BudgetExceededError when it takes too long."""

    def __init__(self, compiled: re.Pattern[str]) -> None:
        self._compiled = compiled
        self._forks = len(_FORKS.findall(compiled.pattern))

    def search(self, string: str) -> Any:
        """See ``re.Pattern.search``."""
        if self._is_quick(string):
            return self._compiled.search(string)
        return _timed(lambda: self._stoppable.search(string, timeout=_TIME_MAX_SEC, concurrent=True))

    def finditer(self, string: str) -> Iterator[Any]:
        """See ``re.Pattern.finditer``."""
        if self._is_quick(string):
            return self._compiled.finditer(string)
        found = self._stoppable.finditer(string, timeout=_TIME_MAX_SEC, concurrent=True)
        return iter(lambda: _timed(lambda: next(found, None)), None)

    def split(self, string: str, maxsplit: int = 0) -> list[str | Any]:
        """See ``re.Pattern.split``."""
        if self._is_quick(string):
            return self._compiled.split(string, maxsplit)
        return _timed(lambda: self._stoppable.split(string, maxsplit, timeout=_TIME_MAX_SEC, concurrent=True))

    def sub(self, replacement: str | Callable[[Any], str], string: str, count: int = 0) -> str:
        """See ``re.Pattern.sub``."""
        if self._is_quick(string):
            return self._compiled.sub(replacement, string, count)
        return _timed(lambda: self._stoppable.sub(replacement, string, count, timeout=_TIME_MAX_SEC, concurrent=True))

    def _is_quick(self, string: str) -> bool:
        return not self._forks or (self._forks == 1 and len(string) <= _LENGTH_OF_A_QUICK_SEARCH)

    @property
    def _stoppable(self) -> regex.Pattern[str]:
        return _stoppable(self._compiled.pattern, self._compiled.flags)


@lru_cache(maxsize=limits.PATTERNS_CACHED_MAX)
def _stoppable(pattern: str, flags: int) -> regex.Pattern[str]:
    # Few need it.
    import regex

    shared = regex.IGNORECASE | regex.MULTILINE | regex.DOTALL | regex.VERBOSE | regex.ASCII
    alike = _READ_OTHERWISE.sub(_written_alike, pattern)
    return regex.compile(alike, (flags & shared) | regex.VERSION0)


def _written_alike(found: re.Match[str]) -> str:
    return {"{": "\\{", "[:": "[\\:"}.get(found[0], found[0])


def _timed(act: Callable[[], T]) -> T:
    try:
        return act()
    except TimeoutError:
        raise BudgetExceededError(f"a regular expression takes longer than {_TIME_MAX_SEC} seconds") from None
