"""Ids are addresses: from the id of a task or of an action execution follow its workflow execution and its place in it.

An id is UUID text of version 4. Its last 44 bits are an address, the 78 free bits before them are the execution's own::

rrrrrrrr-rrrr-4rrr-yrrr-rkooooonnnnn     r: random or derived   k: kind   o: task ordinal   n: number of the action
execution

So ``GET /v2/tasks/{id}`` reads the record straight away, and no lookup item is ever written. An id that a client chose
for its execution, or any other text, is addressed by a digest of it (``partition_of``).
"""

from __future__ import annotations

import hashlib
from enum import IntEnum
from typing import Final
from uuid import UUID

from chalicelib.data import dataclass

_ADDRESS_BITS: Final = 44
_ORDINAL_MASK: Final = (1 << 20) - 1
_ADDRESS_MASK: Final = (1 << _ADDRESS_BITS) - 1


class Kind(IntEnum):
    """What an id names."""

    EXECUTION = 0
    TASK = 1
    ACTION = 2


@dataclass(frozen=True, slots=True)
class Address:
    """Where the record of an id lives."""

    execution_id: str
    kind: Kind
    ordinal: int = 0
    number: int = 0


def execution_id_from(entropy: bytes) -> str:
    """The execution id made of at least 16 bytes of entropy."""
    value = int.from_bytes(entropy[:16], "big") & ~_ADDRESS_MASK
    return str(UUID(int=_as_version_4(value)))


def derived_execution_id(*parts: str) -> str:
    """The execution id that always follows from the given texts."""
    # A client may have named a part, with whatever characters.
    digest = hashlib.blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=16).digest()
    return execution_id_from(digest)


def child_execution_id(execution_id: str, ordinal: int, number: int) -> str:
    """The id of a sub-workflow execution, computed from its parent's task, so that a repeated start finds it."""
    return derived_execution_id("child", execution_id, str(ordinal), str(number))


def task_id(execution_id: str, ordinal: int) -> str:
    """The id of the task execution with this ordinal."""
    return _addressed(execution_id, Kind.TASK, ordinal, 0)


def action_id(execution_id: str, ordinal: int, number: int) -> str:
    """The id of an action execution: ``number`` counts the attempts and items of its task."""
    return _addressed(execution_id, Kind.ACTION, ordinal, number)


def partition_of(public_id: str) -> str:
    """The partition of a workflow execution, whether the service made the id or a client chose it."""
    address = address_of(public_id)
    if address is not None and address.kind is Kind.EXECUTION and address.execution_id == public_id:
        return public_id
    return derived_execution_id("chosen", public_id)


def address_of(identifier: str) -> Address | None:
    """What an id points to, or ``None`` if it is no id of this service."""
    try:
        value = UUID(identifier).int
    except ValueError:
        return None
    kind = (value >> 40) & 0xF
    ordinal = (value >> 20) & _ORDINAL_MASK
    number = value & _ORDINAL_MASK
    if kind > Kind.ACTION or (kind == Kind.EXECUTION and (ordinal or number)) or (kind == Kind.TASK and number):
        return None
    execution_id = str(UUID(int=value & ~_ADDRESS_MASK))
    return Address(execution_id, Kind(kind), ordinal, number)


def _addressed(execution_id: str, kind: Kind, ordinal: int, number: int) -> str:
    # Text surgery, not UUID arithmetic: this runs for every task that expressions or the API see.
    return f"{execution_id[:25]}{kind:x}{ordinal:05x}{number:05x}"


def _as_version_4(value: int) -> int:
    value = value & ~(0xF << 76) | (0x4 << 76)
    return value & ~(0x3 << 62) | (0x2 << 62)
