"""YAML text to plain data, and back.

Mistral's YAML is the safe subset with anchors and aliases neutralised: ``&`` and ``*`` begin plain text, and a plain
scalar may begin with ``@``. So nothing can refer to anything, and data is never larger than its text. On top of that
every document is bounded in size, depth and number of nodes, while it is read.

Two readers lead to the same data. libyaml's is some ten times faster but knows nothing of those neutralised
characters: it reads the text first, and whatever it stumbles on (an error, an anchor, an alias) is read again by the
patient one, whose word is final. Texts in which it would be the more lenient of the two go to the patient one at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property
from typing import Any, Final

import yaml
from yaml.constructor import SafeConstructor
from yaml.parser import Parser
from yaml.reader import Reader
from yaml.resolver import Resolver
from yaml.scanner import Scanner

from chalicelib import limits
from chalicelib.data import dataclass
from chalicelib.errors import DSLParsingException, Fault, InvalidModelException
from chalicelib.vocabulary import Json, JsonObject

Path = tuple[str | int, ...]
Position = tuple[int, int]

_PREFIX: Final = "Definition could not be parsed: "
_STR: Final = "tag:yaml.org,2002:str"
_MAP: Final = "tag:yaml.org,2002:map"
_SEQ: Final = "tag:yaml.org,2002:seq"
_MERGE: Final = "tag:yaml.org,2002:merge"
_NOT_JSON: Final = frozenset({"tag:yaml.org,2002:binary"})
_TIMESTAMP: Final = "tag:yaml.org,2002:timestamp"
_NUMBER_CHARACTERS_MAX: Final = 400
# libyaml lets tabs part tokens, and question marks stand in the plain text of a flow collection.
_LENIENCES: Final = frozenset("\t?")


class CoercedText(str):
    """Text that the author did not write as text: a YAML date, or a key like ``1`` or ``yes``.

    Deep inside data it is as good as any text, since JSON knows neither; where the language looks at a key or a value,
    it is a fault. ``written`` is how the text has it.
    """

    __slots__ = ("written",)
    written: str

    def __new__(cls, value: str, written: str = "") -> CoercedText:
        """``value`` as JSON has it; copies and pickles of it forget how it was written."""
        text = super().__new__(cls, value)
        text.written = written or value
        return text


@dataclass(frozen=True)
class Document:
    """One loaded text. ``data`` is plain JSON data, which nobody changes."""

    data: JsonObject
    text: str

    def position(self, path: Path) -> Position | None:
        """Line and column, from 1, of the key or list item at ``path`` or of its nearest ancestor; None at the root."""
        for length in range(len(path), 0, -1):
            found = self._positions.get(path[:length])
            if found is not None:
                return found
        return None

    @cached_property
    def _positions(self) -> dict[Path, Position]:
        """Read from the text again when a first fault needs it: a good definition pays nothing for positions."""
        positions: dict[Path, Position] = {}
        _read(self.text, positions)
        return positions


def load(text: str) -> Document:
    """Read a definition.

    Raises DSLParsingException, with line and column, for text that is not YAML, not JSON-like or beyond its bounds, and
    InvalidModelException if the document is not a mapping.
    """
    if len(text.encode("utf-8", "surrogatepass")) > limits.DEFINITION_BYTES_MAX:
        raise _refusal(f"the text is larger than {limits.DEFINITION_BYTES_MAX} bytes; split it")
    data = _read(text, None)
    if not data:
        return Document(data={}, text=text)
    if not isinstance(data, dict):
        raise InvalidModelException(
            "Invalid DSL: the document is not of type 'object'; write `version: '2.0'`, then names with their bodies",
            [Fault("the document is not of type 'object'", line=1, column=1)],
        )
    return Document(data=data, text=text)


def dump(data: Json) -> str:
    """Plain data as YAML text, in the order of its keys and without anchors."""
    text: str = yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=False)
    return text


def _read(text: str, positions: dict[Path, Position] | None) -> Json:
    if _FAST_READER is not None and _LENIENCES.isdisjoint(text):
        try:
            return _Builder(_FAST_READER(text), positions).document()
        except (_Unsure, yaml.YAMLError, UnicodeError):
            if positions is not None:
                positions.clear()
    try:
        return _Builder(_PatientReader(text), positions).document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise _refusal(str(error), mark, error.problem or error.context) from error
    except (yaml.YAMLError, UnicodeError) as error:
        raise _refusal(str(error)) from error


class _Unsure(Exception):
    """The fast reader met something that only the patient one may judge."""


class _PatientReader(Reader, Scanner, Parser):
    """PyYAML's own reader, with ``&``, ``*`` and ``@`` made plain."""

    def __init__(self, text: str) -> None:
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)

    def fetch_alias(self) -> None:
        self.fetch_plain()

    def fetch_anchor(self) -> None:
        self.fetch_plain()

    def check_plain(self) -> bool:
        return self.peek() == "@" or bool(super().check_plain())


# libyaml's reader is missing where PyYAML was built without it.
_FAST_READER: Any = getattr(getattr(yaml, "cyaml", None), "CParser", None)
_BaseDumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class _Dumper(_BaseDumper):  # type: ignore[misc]  # whichever of the two dumpers this PyYAML has
    def ignore_aliases(self, _data: object) -> bool:
        return True


def _represent_coerced(dumper: Any, data: CoercedText) -> Any:
    return dumper.represent_str(str(data))


_Dumper.add_representer(CoercedText, _represent_coerced)


class _Builder:
    """Builds data from a reader's events, counting depth and nodes as it goes."""

    def __init__(self, reader: Any, positions: dict[Path, Position] | None) -> None:
        self._events: Iterator[Any] = iter(reader.get_event, None)
        self._positions = positions
        self._constructor = SafeConstructor()
        self._resolver = Resolver()
        self._nodes = 0

    def document(self) -> Json:
        next(self._events)  # the stream begins
        event = next(self._events)
        if isinstance(event, yaml.StreamEndEvent):
            return None
        data = self._node(next(self._events), 0, ())
        next(self._events)  # the document ends
        event = next(self._events)
        if not isinstance(event, yaml.StreamEndEvent):
            raise _refusal("expected a single document in the stream", event.start_mark)
        return data

    def _node(self, event: Any, depth: int, path: Path) -> Json:
        self._nodes += 1
        if self._nodes > limits.YAML_NODES_MAX:
            raise _refusal(f"the document has more than {limits.YAML_NODES_MAX} values", event.start_mark)
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            raise _Unsure
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event)
        if depth >= limits.YAML_DEPTH_MAX:
            raise _refusal(f"the document is nested deeper than {limits.YAML_DEPTH_MAX} levels", event.start_mark)
        if isinstance(event, yaml.MappingStartEvent):
            _check_tag(event, _MAP)
            return self._mapping(depth + 1, path)
        _check_tag(event, _SEQ)
        return self._sequence(depth + 1, path)

    def _sequence(self, depth: int, path: Path) -> list[Json]:
        items: list[Json] = []
        for event in self._events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            place = (*path, len(items)) if self._positions is not None else path
            self._mark(place, event)
            items.append(self._node(event, depth, place))
        return items

    def _mapping(self, depth: int, path: Path) -> JsonObject:
        own: JsonObject = {}
        merged: JsonObject = {}
        for event in self._events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            if self._is_merge(event):
                self._nodes += 1
                merged |= _flatten(self._node(next(self._events), depth, path), event)
                continue
            key = self._key(event, depth)
            place = (*path, key) if self._positions is not None else path
            self._mark(place, event)
            own[key] = self._node(next(self._events), depth, place)
        return {**merged, **own} if merged else own

    def _key(self, event: Any, depth: int) -> str:
        key = self._node(event, depth, ())
        if type(key) is str:
            return key
        if isinstance(key, (dict, list)):
            raise _refusal("while constructing a mapping: found unhashable key; a key must be text", event.start_mark)
        return CoercedText(key if isinstance(key, str) else _json_key(key), event.value)

    def _is_merge(self, event: Any) -> bool:
        return isinstance(event, yaml.ScalarEvent) and event.value == "<<" and self._tag(event) == _MERGE

    def _mark(self, place: Path, event: Any) -> None:
        if self._positions is not None:
            self._positions[place] = (event.start_mark.line + 1, event.start_mark.column + 1)

    def _tag(self, event: Any) -> str:
        if event.tag is None or event.tag == "!":
            resolve: Any = self._resolver.resolve
            return str(resolve(yaml.ScalarNode, event.value, event.implicit))
        return str(event.tag)

    def _scalar(self, event: Any) -> Json:
        tag = self._tag(event)
        if tag == _STR:
            return event.value
        if tag in _NOT_JSON:
            raise _refusal("binary data is not part of the language; write text", event.start_mark)
        if len(event.value) > _NUMBER_CHARACTERS_MAX:
            raise _refusal("a number has too many digits; quote it", event.start_mark)
        node = yaml.ScalarNode(tag, event.value, event.start_mark, event.end_mark)
        try:
            value = self._constructor.construct_object(node)
        except (ValueError, OverflowError, LookupError, AttributeError) as error:  # `!!int ''`, `!!bool x` and the like
            kind = tag.rpartition(":")[2]
            raise _refusal(f"'{event.value}' is not a valid {kind} ({error}); quote it", event.start_mark) from error
        if tag == _TIMESTAMP:
            return CoercedText(value.isoformat(), event.value)
        if isinstance(value, float) and not math.isfinite(value):
            raise _refusal(f"'{event.value}' has no place in JSON; quote it", event.start_mark)
        return value


def _check_tag(event: Any, expected: str) -> None:
    if event.tag not in (None, "!", expected):
        raise _refusal(f"could not determine a constructor for the tag '{event.tag}'; remove the tag", event.start_mark)


def _flatten(value: Json, event: Any) -> JsonObject:
    if isinstance(value, dict):
        return value
    if isinstance(value, list) and all(isinstance(item, dict) for item in value):
        flat: JsonObject = {}
        for item in reversed(value):
            flat.update(item)
        return flat
    raise _refusal("expected a mapping or list of mappings for merging; aliases are plain text here", event.start_mark)


def _json_key(key: Json) -> str:
    if key is None:
        return "null"
    if isinstance(key, bool):
        return "true" if key else "false"
    return str(key)


def _refusal(message: str, mark: Any = None, problem: str | None = None) -> DSLParsingException:
    line, column = (mark.line + 1, mark.column + 1) if mark is not None else (None, None)
    fault = Fault(problem or message, line=line, column=column)
    where = f" [line {line}, column {column}]" if line is not None and problem is None else ""
    return DSLParsingException(f"{_PREFIX}{message}{where}", [fault])
