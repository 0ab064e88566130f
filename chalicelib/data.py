"""``dataclass`` and ``replace`` as everywhere, but cheap: what the classes of this house are made with.

The standard decorator compiles six methods from text for each class, whenever it is imported. Of two hundred and fifty
classes that was a quarter of every cold start (docs/benchmarks.md). This one compiles ``__init__`` alone; the others
are functions for all classes. Whoever uses the classes sees no difference, and a type checker sees the standard one:
``fields``, ``asdict``, ``match``, ``copy`` and ``pickle`` work. Of its options there are the three we use.

A turn is mostly records that replace records. The standard ``replace`` looks at each field each time, and takes longer
than ``__init__``; this one knows the places of the fields (docs/benchmarks.md).
"""

from __future__ import annotations

from dataclasses import MISSING, Field, FrozenInstanceError, fields
from dataclasses import dataclass as standard_dataclass
from dataclasses import replace as standard_replace
from operator import attrgetter
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any

__all__ = ["dataclass", "replace"]

if TYPE_CHECKING:
    from collections.abc import Callable
    from dataclasses import dataclass, replace
else:

    def dataclass(*, frozen: bool = False, slots: bool = False, kw_only: bool = False) -> Callable[[type], type]:
        """As ``dataclasses.dataclass`` with these options. Raises what that raises."""

        def made(cls: type) -> type:
            own = set(vars(cls))
            result = standard_dataclass(init=False, repr=False, eq=False, slots=slots, kw_only=kw_only)(cls)
            for name, method in _methods(result, frozen=frozen, slots=slots).items():
                if name not in own or (name == "__hash__" and vars(cls)[name] is None):
                    setattr(result, name, method)
            return result

        return made

    def replace(record: Any, /, **changes: Any) -> Any:
        """As ``dataclasses.replace``. Raises what that raises."""
        cls = record.__class__
        shape = _SHAPES.get(cls)
        if shape is None:
            shape = _SHAPES[cls] = _shape(cls)
        places, values = shape
        if not places or not changes.keys() <= places.keys():
            return standard_replace(record, **changes)
        arguments = list(values(record))
        for name, value in changes.items():
            arguments[places[name]] = value
        return cls(*arguments)


_SHAPES: dict[type, tuple[dict[str, int], Callable[[Any], tuple[Any, ...]]]] = {}


def _shape(cls: Any) -> tuple[dict[str, int], Callable[[Any], tuple[Any, ...]]]:
    """The places of the fields among the arguments of ``__init__``, and their values.

    There are none for a class that takes some by name only, or not at all: it is left to the standard library.
    """
    given = fields(cls)
    names = tuple(each.name for each in given if each.init and not each.kw_only)
    return ({name: place for place, name in enumerate(names)} if len(names) == len(given) else {}), _values(names)


def _methods(cls: Any, *, frozen: bool, slots: bool) -> dict[str, Any]:
    values = _values(tuple(each.name for each in fields(cls) if each.compare))

    def equal(self: Any, other: Any) -> Any:
        return values(self) == values(other) if other.__class__ is self.__class__ else NotImplemented

    methods: dict[str, Any] = {
        "__init__": _initializer(cls, frozen=frozen, slots=slots),
        "__repr__": _repr,
        "__eq__": equal,
        "__hash__": (lambda self: hash(values(self))) if frozen else None,
    }
    if frozen:
        methods |= {"__setattr__": _refuse_assignment, "__delattr__": _refuse_deletion}
    if frozen and slots:
        methods |= {"__getstate__": _state, "__setstate__": _set_state}
    return methods


def _values(names: tuple[str, ...]) -> Callable[[Any], tuple[Any, ...]]:
    """The values of these fields, as a tuple."""
    if len(names) > 1:
        return attrgetter(*names)
    if not names:
        return lambda _: ()
    only = attrgetter(names[0])
    return lambda self: (only(self),)


def _initializer(cls: Any, *, frozen: bool, slots: bool) -> Callable[..., None]:
    """The one method that is compiled: calls of it are too many for anything slower."""
    known: dict[str, Any] = {"_MISSING": MISSING, "_set": object.__setattr__}
    places: list[str] = []
    named: list[str] = []
    body = []
    for each in fields(cls):
        if each.init:
            (named if each.kw_only else places).append(_parameter(each, known))
        elif each.default is MISSING and each.default_factory is MISSING:
            continue
        value = _value(each, known)
        if frozen and slots:
            # What a slot's descriptor sets, no __setattr__ refuses; and it is quicker than object's.
            known[f"_set_{each.name}"] = getattr(cls, each.name).__set__
            body.append(f"_set_{each.name}(self, {value})")
        else:
            body.append(f"_set(self, {each.name!r}, {value})" if frozen else f"self.{each.name} = {value}")
    if hasattr(cls, "__post_init__"):
        body.append("self.__post_init__()")
    parameters = ", ".join(["self", *places, *(["*", *named] if named else [])])
    text = f"def __init__({parameters}):\n " + "\n ".join(body or ["pass"])
    exec(compile(text, f"<__init__ of {cls.__qualname__}>", "exec"), known)  # noqa: S102
    made: Callable[..., None] = known["__init__"]
    made.__qualname__ = f"{cls.__qualname__}.__init__"
    made.__module__ = cls.__module__
    return made


def _parameter(each: Field[Any], known: dict[str, Any]) -> str:
    if each.default is not MISSING:
        known[f"_default_{each.name}"] = each.default
        return f"{each.name}=_default_{each.name}"
    return each.name if each.default_factory is MISSING else f"{each.name}=_MISSING"


def _value(each: Field[Any], known: dict[str, Any]) -> str:
    """What a field is set to: its argument, or its default."""
    if each.default_factory is not MISSING:
        known[f"_make_{each.name}"] = each.default_factory
        made = f"_make_{each.name}()"
        return f"{made} if {each.name} is _MISSING else {each.name}" if each.init else made
    if each.init:
        return each.name
    known[f"_default_{each.name}"] = each.default
    return f"_default_{each.name}"


@recursive_repr()
def _repr(self: Any) -> str:
    shown = ", ".join(f"{each.name}={getattr(self, each.name)!r}" for each in fields(self) if each.repr)
    return f"{type(self).__qualname__}({shown})"


def _refuse_assignment(_self: Any, name: str, _value: Any) -> None:
    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_deletion(_self: Any, name: str) -> None:
    raise FrozenInstanceError(f"cannot delete field {name!r}")


def _state(self: Any) -> list[Any]:
    return [getattr(self, each.name) for each in fields(self)]


def _set_state(self: Any, state: list[Any]) -> None:
    for each, value in zip(fields(self), state, strict=True):
        object.__setattr__(self, each.name, value)
