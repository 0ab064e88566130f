"""What the clients of OpenStack give, as plain JSON: their resources, and what stands around them."""

from __future__ import annotations

import datetime
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from requests import Response

from chalicelib.actions.plain import bytes_to_json
from chalicelib.errors import ActionException
from chalicelib.limits import OPENSTACK_ITEMS_MAX
from chalicelib.vocabulary import Json


def to_json(value: Any) -> Json:
    """A client's answer as JSON. Raises ActionException for a list without end.

    A resource is what the service said of it. An iterator is read to its end, and its bytes are one text. Where a
    client adds the HTTP response to a body, the body is the answer.
    """
    match value:
        case None | bool() | int():
            return value
        case str():
            # Clients have texts of their own, with requests' ids on them.
            return str(value)
        case float():
            return value if math.isfinite(value) else str(value)
        case bytes() | bytearray():
            return bytes_to_json(bytes(value))
        case datetime.datetime() | datetime.date() | datetime.time():
            return value.isoformat()
        case Mapping():
            return {str(name): to_json(item) for name, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return _without_response(value)
    return _from_object(value)


def _without_response(items: Iterable[Any]) -> Json:
    match items:
        case (Response(), body):
            return to_json(body)
    return [to_json(item) for item in items]


def _from_object(value: Any) -> Json:
    if isinstance(value, Response):
        return None
    if callable(getattr(value, "to_dict", None)):
        return to_json(value.to_dict())
    if hasattr(value, "__iter__"):
        return _all_of(iter(value))
    return str(value)


def _all_of(items: Iterator[Any]) -> Json:
    read = list(itertools.islice(items, OPENSTACK_ITEMS_MAX + 1))
    if len(read) > OPENSTACK_ITEMS_MAX:
        raise ActionException(f"the answer has more than {OPENSTACK_ITEMS_MAX} items; ask for fewer")
    if read and all(isinstance(item, bytes) for item in read):
        return bytes_to_json(b"".join(read))
    return [to_json(item) for item in read]
