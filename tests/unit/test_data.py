"""Classes made with our ``dataclass`` behave as those made with the standard one."""

# The checker cannot see which of two decorators made a class.
# mypy: disable-error-code="call-arg"

import copy
import dataclasses
import pickle
from dataclasses import FrozenInstanceError, asdict, astuple, field, fields, is_dataclass
from typing import Any

import pytest

from chalicelib.data import dataclass, replace

DECORATORS = {"ours": dataclass, "standard": dataclasses.dataclass}
OPTIONS = [{"frozen": frozen, "slots": slots} for frozen in (True, False) for slots in (True, False)]


@dataclass(frozen=True, slots=True)
class Point:
    """Here, so that it can be pickled."""

    x: int
    y: int = 0
    notes: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Named(Point):
    """A class with fields of another."""

    y: int = 7
    name: str = ""


def pair(**options: bool) -> tuple[Any, Any]:
    """The same class by both decorators."""

    def made(decorator: Any) -> Any:
        @decorator(**options)
        class Thing:
            a: int
            b: list[int] = field(default_factory=list)
            c: str = field(default="c", repr=False)
            d: float = field(default=1.5, compare=False)
            e: int = field(init=False, default=5)
            f: list[int] = field(init=False, default_factory=lambda: [6])

        return Thing

    return made(dataclass), made(dataclasses.dataclass)


@pytest.mark.parametrize("options", OPTIONS)
def test_a_class_is_made_shown_and_taken_apart_as_the_standard_one(options):
    ours, standard = pair(**options)
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = [((1,), {}), ((1, [2]), {"c": "x"}), ((), {"a": 1, "d": 2.5})]
    for arguments, named in calls:
        mine, other = ours(*arguments, **named), standard(*arguments, **named)
        assert repr(mine) == repr(other)
        assert asdict(mine) == asdict(other)
        assert astuple(mine) == astuple(other)
        assert asdict(replace(mine, a=9)) == asdict(replace(other, a=9))
    assert all(map(is_dataclass, (ours, ours(1))))
    assert ours.__match_args__ == standard.__match_args__
    assert [each.name for each in fields(ours)] == [each.name for each in fields(standard)]
    assert hasattr(ours, "__slots__") == hasattr(standard, "__slots__") == options["slots"]
    assert ours(1).b is not ours(1).b
    assert ours.__init__.__qualname__ == standard.__init__.__qualname__.replace("standard", "ours")


@pytest.mark.parametrize("options", OPTIONS)
def test_wrong_arguments_are_refused_as_ever(options):
    for cls in pair(**options):
        with pytest.raises(TypeError, match=r"__init__\(\) missing 1 required positional argument: 'a'"):
            cls()
        with pytest.raises(TypeError, match=r"__init__\(\) takes from 2 to 5 positional arguments but 6 were given"):
            cls(1, [], "c", 1.0, 2)
        for name in ("e", "z"):
            with pytest.raises(TypeError, match=rf"__init__\(\) got an unexpected keyword argument '{name}'"):
                cls(1, **{name: 1})


@pytest.mark.parametrize("options", OPTIONS)
def test_equality_and_hashes_look_at_the_same_fields(options):
    ours, standard = pair(**options)
    for cls in (ours, standard):
        assert cls(1, [2], d=1.0) == cls(1, [2], d=2.0)
        assert cls(1) != cls(2)
        assert cls(1) != (1, [], "c", 1.5)
        assert (cls.__hash__ is None) == (not options["frozen"])
    assert ours(1) != standard(1)
    assert hash(Point(1, 2, {"a": []})) == hash(Point(1, 2))
    assert {Point(1), Point(1, 0), Point(2)} == {Point(1), Point(2)}
    assert Point(1, 7) != Named(1)


@pytest.mark.parametrize("slots", [True, False])
def test_what_is_frozen_stays_so(slots):
    for cls in pair(frozen=True, slots=slots):
        thing = cls(1)
        with pytest.raises(FrozenInstanceError, match="cannot assign to field 'a'"):
            thing.a = 2
        with pytest.raises(FrozenInstanceError, match="cannot delete field 'a'"):
            del thing.a
        assert thing.a == 1


@pytest.mark.parametrize("options", OPTIONS)
def test_what_is_not_frozen_can_be_changed(options):
    if not options["frozen"]:
        for cls in pair(**options):
            thing = cls(1)
            thing.a = 2
            assert thing == cls(2)


def test_copies_are_equal():
    named = Named(1, name="n", notes={"a": [1]})
    for made in (copy.copy(named), copy.deepcopy(named), pickle.loads(pickle.dumps(named))):
        assert made == named
        assert made.notes == named.notes
        assert type(made) is Named
    assert copy.deepcopy(named).notes is not named.notes


def test_a_class_takes_over_the_fields_of_another_and_may_give_them_other_defaults():
    assert repr(Named(1)) == "Named(x=1, y=7, name='')"
    assert Named.__match_args__ == ("x", "y", "notes", "name")
    match Named(1, name="n"):
        case Point(1, y):
            assert y == 7


@pytest.mark.parametrize("decorator", DECORATORS.values(), ids=DECORATORS)
def test_methods_that_a_class_has_of_its_own_are_kept(decorator):
    @decorator(frozen=True, slots=True)
    class Own:  # noqa: PLW1641
        a: int

        def __init__(self):
            object.__setattr__(self, "a", 3)

        def __repr__(self):
            return "own"

        def __eq__(self, other):
            return True

    assert repr(Own()) == "own"
    assert Own() == 1
    assert hash(Own()) == hash((3,))


@pytest.mark.parametrize("decorator", DECORATORS.values(), ids=DECORATORS)
def test_what_follows_the_initialization_is_called(decorator):
    @decorator(slots=True, kw_only=True)
    class Twice:
        a: int = 1
        b: int
        both: int = field(init=False)

        def __post_init__(self):
            self.both = self.a + self.b

    assert Twice(b=2).both == 3
    with pytest.raises(TypeError):
        Twice(1, 2)


@pytest.mark.parametrize("decorator", DECORATORS.values(), ids=DECORATORS)
def test_an_object_that_holds_itself_can_be_shown(decorator):
    @decorator(slots=True)
    class Ring:
        items: list[Any]

    ring = Ring([])
    ring.items.append(ring)
    assert repr(ring).endswith("Ring(items=[...])")


@pytest.mark.parametrize("decorator", DECORATORS.values(), ids=DECORATORS)
def test_one_value_that_is_not_itself_equals_itself_by_identity(decorator):
    @decorator(frozen=True, slots=True)
    class Only:
        value: float

    only = Only(float("nan"))
    assert only == only  # noqa: PLR0124
    assert hash(only) == hash(Only(only.value))


@pytest.mark.parametrize("decorator", DECORATORS.values(), ids=DECORATORS)
def test_a_default_that_all_would_share_is_refused(decorator):
    with pytest.raises(ValueError, match="mutable default"):

        @decorator(slots=True)
        class _Shared:
            items: list[int] = []  # noqa: RUF012


@dataclass(frozen=True, slots=True, kw_only=True)
class ByName:
    """Its fields are given by name only."""

    x: int = 1


@dataclass(frozen=True, slots=True)
class Bare:
    """It has no fields."""


def test_a_record_is_replaced_as_by_the_standard_library():
    point = Point(1, 2, {"a": 1})
    assert replace(point, y=3) == dataclasses.replace(point, y=3) == Point(1, 3)
    assert replace(point).notes is point.notes
    assert replace(Named(1, 2, name="n"), x=5) == Named(5, 2, name="n")
    assert replace(ByName(x=1), x=2) == ByName(x=2)
    assert replace(Bare()) == Bare()


@pytest.mark.parametrize("record", [Point(1), ByName(), Bare()])
def test_what_is_no_field_is_not_replaced(record):
    with pytest.raises(TypeError):
        replace(record, z=1)
