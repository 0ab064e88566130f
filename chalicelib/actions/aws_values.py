"""Values on their way to AWS and back: JSON to what botocore takes, what botocore gives to JSON.

To AWS: a blob is text (sent as UTF-8) or ``{"base64": …}``; a timestamp is ISO 8601 text or seconds; a whole number
may come as ``5.0``. From AWS: bytes are text where they are UTF-8, else ``{"base64": …}``; a date is ISO 8601 text
with its zone; a stream is read, within bounds.
"""

from __future__ import annotations

import datetime
import difflib
import itertools
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import field
from decimal import Decimal
from typing import Any, Final

from botocore.eventstream import EventStream
from botocore.model import Shape
from botocore.response import StreamingBody
from botocore.validate import ParamValidator

from chalicelib.actions.plain import bytes_from_json, bytes_to_json
from chalicelib.data import dataclass
from chalicelib.errors import ActionException
from chalicelib.limits import AWS_STREAM_BYTES_MAX, AWS_STREAM_EVENTS_MAX
from chalicelib.vocabulary import Json, JsonObject

_DIGITS: Final = re.compile(r"\d+")
_SMALL_ENUM_VALUES_MAX: Final = 30
_STAND_IN_DEPTH_MAX: Final = 8


def faults_of(values: JsonObject, shape: Shape) -> list[str]:
    """Everything that is wrong with concrete values; an expression that is not evaluated yet passes for a right one."""
    converter = _ToAws(expressions_pass=True)
    converted = converter.convert(values, shape, "")
    report = ParamValidator().validate(converted, shape)
    return [*converter.faults, *(report.generate_report().splitlines() if report.has_errors() else ())]


def to_aws(values: JsonObject, shape: Shape) -> JsonObject:
    """Values as botocore takes them. Raises ``ActionException`` for text that should be base64 and is not."""
    converter = _ToAws()
    converted: JsonObject = converter.convert(values, shape, "")
    if converter.faults:
        raise ActionException("; ".join(converter.faults))
    return converted


@dataclass(slots=True)
class _ToAws:
    expressions_pass: bool = False
    faults: list[str] = field(default_factory=list)

    def convert(self, value: Json, shape: Shape, path: str) -> Any:
        """The value for the shape; what does not fit stays as it is, for botocore's validator to refuse."""
        if self.expressions_pass and isinstance(value, str) and ("<%" in value or "{{" in value):
            return _stand_in(shape)
        match shape.type_name:
            case "structure" if isinstance(value, dict) and not getattr(shape, "is_document_type", False):
                return self._structure(value, shape, path)
            case "map" if isinstance(value, dict):
                return {key: self.convert(item, shape.value, f"{path}.{key}") for key, item in value.items()}
            case "list" if isinstance(value, list):
                return [self.convert(item, shape.member, f"{path}[{index}]") for index, item in enumerate(value)]
            case "blob":
                return self._blob(value, path)
            case "integer" | "long" if isinstance(value, float) and value.is_integer():
                return int(value)
            case "string" if self.expressions_pass and isinstance(value, str):
                self._check_enum(value, getattr(shape, "enum", None) or (), path)
        return value

    def _structure(self, value: JsonObject, shape: Shape, path: str) -> JsonObject:
        members: Mapping[str, Shape] = shape.members
        # A null is a value that was not given: AWS knows no null, but expressions produce it.
        return {
            name: self.convert(item, members[name], f"{path}.{name}" if path else name) if name in members else item
            for name, item in value.items()
            if item is not None
        }

    def _blob(self, value: Json, path: str) -> Any:
        try:
            return bytes_from_json(value)
        except ValueError as error:
            self.faults.append(f"Invalid value for parameter {path}: {error}")
            return b""

    def _check_enum(self, value: str, enum: Iterable[str], path: str) -> None:
        """Refuse an obvious slip; AWS adds values faster than models spread, so that any other unknown one passes."""
        known = list(enum)
        if not known or value in known:
            return
        meant = [item for item in known if item.lower() == value.lower()]
        if not meant and len(known) <= _SMALL_ENUM_VALUES_MAX:
            near = difflib.get_close_matches(value, known, n=1, cutoff=0.75)
            meant = [item for item in near if _DIGITS.sub("", item) != _DIGITS.sub("", value)]
        if meant:
            self.faults.append(f"Invalid value for parameter {path}: {value!r}, did you mean {meant[0]!r}?")


def _stand_in(shape: Shape, depth: int = 0) -> Any:
    """Some valid value of the shape, in the place of an expression that is evaluated later."""
    least = int(shape.metadata.get("min", 0) or 0)
    deeper = depth + 1
    makers: dict[str, Callable[[], Any]] = {
        "structure": lambda: _stand_in_structure(shape, deeper),
        "list": lambda: [_stand_in(shape.member, deeper)] * least,
        "map": dict,
        "blob": lambda: b"x" * max(least, 1),
        "boolean": lambda: True,
        "integer": lambda: max(least, 1),
        "long": lambda: max(least, 1),
        "float": lambda: float(max(least, 1)),
        "double": lambda: float(max(least, 1)),
        "timestamp": lambda: 0,
    }
    if depth > _STAND_IN_DEPTH_MAX:
        return {}
    return makers.get(shape.type_name, lambda: "x" * max(least, 1))()


def _stand_in_structure(shape: Shape, depth: int) -> JsonObject:
    names = list(shape.members)[:1] if getattr(shape, "is_tagged_union", False) else shape.required_members
    return {name: _stand_in(shape.members[name], depth) for name in names}


def to_json(value: Any) -> Json:
    """What botocore gave, as plain JSON. Raises ``ActionException`` for a stream beyond its bound."""
    match value:
        case None | bool() | int() | str():
            return value
        case dict():
            return {str(key): to_json(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [to_json(item) for item in value]
        case datetime.datetime():
            return (value if value.tzinfo else value.replace(tzinfo=datetime.UTC)).isoformat()
        case datetime.date() | datetime.time():
            return value.isoformat()
        case bytes() | bytearray():
            return bytes_to_json(bytes(value))
        case float():
            return value if math.isfinite(value) else str(value)
        case Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
        case StreamingBody():
            return _read(value)
        case EventStream():
            return _events(value)
    return str(value)


def _read(body: StreamingBody) -> Json:
    with body:
        data: bytes = body.read(AWS_STREAM_BYTES_MAX + 1)
    if len(data) > AWS_STREAM_BYTES_MAX:
        raise ActionException(f"the streamed answer is larger than {AWS_STREAM_BYTES_MAX} bytes; ask for a part of it")
    return bytes_to_json(data)


def _events(stream: EventStream) -> Json:
    try:
        events = [to_json(event) for event in itertools.islice(stream, AWS_STREAM_EVENTS_MAX + 1)]
    finally:
        stream.close()
    if len(events) > AWS_STREAM_EVENTS_MAX:
        raise ActionException(f"the answer is a stream of more than {AWS_STREAM_EVENTS_MAX} events")
    return events
