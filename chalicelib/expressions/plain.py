"""Data on its way in and out of an expression: read-only views of the context, and plain JSON-like results.

The context may be large and lazily loaded, so nothing here reads more of it than an expression touches.
"""

from __future__ import annotations

import copy
import datetime
from collections.abc import Iterable, Iterator, KeysView, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Final

import jinja2
from jinja2.utils import missing

from chalicelib import limits
from chalicelib.expressions.budget import Budget, BudgetExceededError
from chalicelib.vocabulary import Json, JsonObject

SCALARS: Final = frozenset({str, int, float, bool, type(None)})
SHAREABLE: Final = SCALARS | {dict, list}

_DICT_ITEMS: Final[type] = type(dict[str, Any]().items())
_DATETIME_FORMAT: Final = "%Y-%m-%dT%H:%M:%S.%f"


class ReadOnly:
    """A view of data that is plain already."""

    __slots__ = ()

    def shared(self) -> JsonObject | None:
        """The data itself as a plain dict, not to be changed; ``None`` if it must be rebuilt."""
        raise NotImplementedError


class ContextView(ReadOnly, Mapping[str, Any]):
    """The context as an expression sees it: only the methods of a mapping, whatever else the engine's object can do.

    With ``is_copy`` each value is copied when it is first touched, for expressions that may change what they read.
    """

    __slots__ = ("_copies", "_source")

    def __init__(self, source: Mapping[str, Json], is_copy: bool = False) -> None:
        self._source = source
        self._copies: dict[str, Json] | None = {} if is_copy else None

    def __getitem__(self, key: str) -> Json:
        if self._copies is None:
            return self._source[key]
        if key not in self._copies:
            self._copies[key] = copy.deepcopy(self._source[key])
        return self._copies[key]

    def __contains__(self, key: object) -> bool:
        return key in self._source

    def __iter__(self) -> Iterator[str]:
        return iter(self._source)

    def __len__(self) -> int:
        return len(self._source)

    def __repr__(self) -> str:
        return repr(dict(self))

    def shared(self) -> JsonObject:
        """The whole context, loaded."""
        return {key: self[key] for key in self}

    def keys(self) -> KeysView[str]:
        """The names, in a steady order."""
        return dict.fromkeys(self).keys()

    def items(self) -> list[tuple[str, Any]]:  # type: ignore[override] # as Mistral's view of a context
        """Names and values."""
        return [(key, self[key]) for key in self]

    def values(self) -> list[Any]:  # type: ignore[override] # as Mistral's view of a context
        """The values."""
        return [self[key] for key in self]


class StrictUndefined(jinja2.StrictUndefined):
    """An undefined value that calls the context a dict, as its author sees it."""

    __slots__ = ()

    def __init__(
        self, hint: str | None = None, obj: Any = missing, name: str | None = None, exc: type[Exception] | None = None
    ) -> None:
        known = {} if isinstance(obj, ContextView) else obj
        failure: Any = exc or jinja2.UndefinedError
        super().__init__(hint, known, name, failure)


class _SetText(list[Any]):
    """A set's members in a steady order, written as a set."""

    def __repr__(self) -> str:
        return "{" + ", ".join(map(repr, self)) + "}" if self else "set()"

    __str__ = __repr__


def to_plain(value: Json, budget: Budget | None = None, *, is_native: bool = False) -> Json:
    """The value as plain dicts, lists and scalars; what is plain already may be shared, never changed.

    Sets become lists in a steady order, iterators lists, dates text. With ``is_native`` dates stay objects and sets
    look like sets when written, as a substitution into text shows them. Iterators are charged to ``budget``. Raises
    ``TypeError`` for a member of a set that cannot be hashed, ``jinja2.UndefinedError`` for an undefined value,
    ``BudgetExceededError`` for an integer too long to be written.
    """
    kind = type(value)
    if kind is int and value.bit_length() > limits.RESULT_INTEGER_BITS_MAX:
        raise BudgetExceededError("an integer is too long to be written as text")
    if kind in SCALARS:
        return value
    if kind is list or kind is tuple:
        if budget is not None:
            budget.charge(value)
        return [item if type(item) is str else to_plain(item, budget, is_native=is_native) for item in value]
    if isinstance(value, Mapping):
        shared = value.shared() if isinstance(value, ReadOnly) else None
        if shared is not None:
            return shared
        return {
            to_plain(key, budget, is_native=is_native): to_plain(item, budget, is_native=is_native)
            for key, item in value.items()
        }
    if isinstance(value, AbstractSet):
        return _set_to_plain(value, budget, is_native)
    return _rare_to_plain(value, budget, is_native)


def _set_to_plain(value: AbstractSet[Any], budget: Budget | None, is_native: bool) -> list[Json]:
    members = [to_plain(member, budget, is_native=is_native) for member in value]
    if isinstance(value, _DICT_ITEMS):
        return members
    for member in members:
        hash(member)
    if not isinstance(value, KeysView):
        members.sort(key=lambda member: (type(member).__name__, str(member)))
    return _SetText(members) if is_native else members


def _rare_to_plain(value: Json, budget: Budget | None, is_native: bool) -> Json:
    if isinstance(value, jinja2.Undefined):
        # Writing a strict undefined value raises the error that names it.
        return str(value)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bool | int | float):
        return value
    if isinstance(value, datetime.date | datetime.timedelta):
        return value if is_native else _date_to_text(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    if isinstance(value, Iterable):
        return [to_plain(item, budget, is_native=is_native) for item in (budget.counted(value) if budget else value)]
    return value if is_native else str(value)


def _date_to_text(value: datetime.date | datetime.timedelta) -> str:
    if isinstance(value, datetime.datetime):
        return value.strftime(_DATETIME_FORMAT)
    return value.isoformat() if isinstance(value, datetime.date) else str(value)
