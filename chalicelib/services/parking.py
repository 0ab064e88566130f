"""Parked results: what keeps losing its race is written to an item of its own, so that whoever wins takes it along."""

from __future__ import annotations

from collections.abc import Iterable

from chalicelib.engine import codec
from chalicelib.engine.events import ActionCompleted
from chalicelib.limits import TURN_RECORDS_MAX
from chalicelib.services.execution_store import PARKED_PREFIX
from chalicelib.services.ports import Item, Table


def parking_key(ordinal: int, number: int) -> str:
    """The sort key under which the result of an action execution is parked."""
    return f"{PARKED_PREFIX}{ordinal:05x}#{number:05x}"


class Parking:
    """The parked results of all executions."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def park(self, execution_id: str, event: ActionCompleted) -> None:
        """Keep a result until some turn takes it in."""
        key = parking_key(event.ordinal, event.number)
        self._table.write_bulk([Item(execution_id, key, codec.pack_result(event.result))])

    def parked(self, execution_id: str) -> dict[str, ActionCompleted]:
        """The parked results of an execution, by the keys to ``clear``."""
        found = {}
        for item in self._table.query(execution_id, prefix=PARKED_PREFIX, limit=TURN_RECORDS_MAX):
            ordinal, number = (int(part, 16) for part in item.key.removeprefix(PARKED_PREFIX).split("#"))
            found[item.key] = ActionCompleted(ordinal, number, codec.unpack_result(item.body))
        return found

    def clear(self, execution_id: str, keys: Iterable[str]) -> None:
        """Forget results that have been taken in."""
        self._table.write_bulk([], [(execution_id, key) for key in keys])
