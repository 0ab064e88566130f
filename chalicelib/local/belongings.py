"""What a project has in a Mistral service, as far as it can be moved to another one; and how two of them differ.

An object is kept as the API takes it. Two are the same if they mean the same: comments and line breaks of definitions,
identifiers and times do not count.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from difflib import unified_diff
from enum import StrEnum
from itertools import islice
from typing import Any, Final

import yaml

from chalicelib.vocabulary import Json, JsonObject

FORMAT: Final = "mistral-move/1"
_DIFFERENT_LINES_MAX: Final = 20


class Kind(StrEnum):
    """The collections of the API, in the order in which their objects can be created."""

    CODE_SOURCES = "code_sources"
    DYNAMIC_ACTIONS = "dynamic_actions"
    WORKBOOKS = "workbooks"
    ACTIONS = "actions"
    WORKFLOWS = "workflows"
    ENVIRONMENTS = "environments"
    CRON_TRIGGERS = "cron_triggers"
    EVENT_TRIGGERS = "event_triggers"

    @property
    def word(self) -> str:
        """One of them, in words."""
        return self.value.removesuffix("s").replace("_", " ")


DEFINED: Final = (Kind.WORKBOOKS, Kind.ACTIONS, Kind.WORKFLOWS)


@dataclass(frozen=True, slots=True)
class Belonging:
    """One object; ``content`` is what creates it, ``id`` what it is called where it was read."""

    kind: Kind
    name: str
    content: JsonObject
    namespace: str = ""
    scope: str = "private"
    id: str = field(default="", compare=False)

    @property
    def place(self) -> tuple[Kind, str, str]:
        """What is the same on both sides."""
        return self.kind, self.namespace, self.name

    @property
    def title(self) -> str:
        """As it is shown."""
        return f"{self.kind.word} {self.name}" + (f" (namespace {self.namespace})" if self.namespace else "")

    def meaning(self) -> JsonObject:
        """What counts when two are compared."""
        content = {name: value for name, value in self.content.items() if value not in (None, "", {})}
        if self.kind in DEFINED:
            content["definition"] = _parsed(str(content.get("definition", "")))
        return {"scope": self.scope, **content}

    def document(self) -> JsonObject:
        """As it stands in a file."""
        told = {"namespace": self.namespace} if self.namespace else {}
        content = {name: value for name, value in self.content.items() if value not in (None, "", {})}
        return {"kind": self.kind.value, "name": self.name, **told, "scope": self.scope, "content": content}


def _parsed(text: str) -> Json:
    try:
        found: Json = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    if isinstance(found, dict):
        found["version"] = str(found.get("version", "2.0"))
    return found


class Verdict(StrEnum):
    """How two sides differ in one object."""

    MISSING = "missing"
    DIFFERENT = "different"
    EXTRA = "only there"


@dataclass(frozen=True, slots=True)
class Difference:
    """One object that is not the same on both sides: ``here`` is to be moved, ``there`` is what the target has."""

    verdict: Verdict
    here: Belonging | None
    there: Belonging | None

    @property
    def title(self) -> str:
        """Of what."""
        one = self.here or self.there
        assert one is not None
        return one.title

    def lines(self) -> Iterator[str]:
        """In what, a line each; values are shown of definitions only."""
        if self.here is None or self.there is None:
            return
        here, there = self.here.meaning(), self.there.meaning()
        for name in sorted(here.keys() | there.keys()):
            if here.get(name) == there.get(name):
                continue
            if name == "definition":
                lines = unified_diff(_shown(there[name]), _shown(here[name]), "there", "here", lineterm="", n=1)
                yield from islice(lines, _DIFFERENT_LINES_MAX)
            else:
                yield f"{name} is another one"


def _shown(definition: Any) -> list[str]:
    return yaml.safe_dump(definition, sort_keys=True, allow_unicode=True).splitlines()


def differences(here: Iterable[Belonging], there: Iterable[Belonging]) -> list[Difference]:
    """What the target lacks, what is different there, and what it has beyond that; in the order of creation."""
    ours, theirs = ({one.place: one for one in side} for side in (here, there))
    found = []
    for place in sorted(ours.keys() | theirs.keys(), key=_order):
        one, other = ours.get(place), theirs.get(place)
        if other is None:
            found.append(Difference(Verdict.MISSING, one, None))
        elif one is None:
            found.append(Difference(Verdict.EXTRA, None, other))
        elif one.meaning() != other.meaning():
            found.append(Difference(Verdict.DIFFERENT, one, other))
    return found


def _order(place: tuple[Kind, str, str]) -> tuple[int, str, str]:
    kind, namespace, name = place
    return list(Kind).index(kind), namespace, name


# -- files


class _Dumper(yaml.SafeDumper):
    """Definitions stay readable."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def written(belongings: Iterable[Belonging]) -> str:
    """A file of them."""
    ordered = sorted(belongings, key=lambda one: _order(one.place))
    content = {"format": FORMAT, "objects": [one.document() for one in ordered]}
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def read(text: str) -> list[Belonging]:
    """What is in a file. Raises ValueError for one that is none."""
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"is no YAML: {error}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT or not isinstance(content.get("objects"), list):
        raise ValueError(f"was not made by `mistral-local move export`: it has no `format: {FORMAT}`")
    return [_belonging(number, one) for number, one in enumerate(content["objects"], 1)]


def _belonging(number: int, document: Any) -> Belonging:
    try:
        return Belonging(
            Kind(document["kind"]),
            str(document["name"]),
            dict(document["content"]),
            str(document.get("namespace", "")),
            str(document.get("scope", "private")),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"has an object that cannot be read, number {number}: {error!r}") from error
