"""The history of an execution, read page by page."""

from __future__ import annotations

from collections.abc import Iterator

from chalicelib.engine.history import HISTORY_PREFIX, page_key
from chalicelib.engine.history_turns import Turn, turns_of, unpack_page
from chalicelib.engine.records import WorkflowExecution
from chalicelib.errors import NotFoundException
from chalicelib.services.execution_store import ExecutionStore


def turns(store: ExecutionStore, header: WorkflowExecution, *, first: int = 0) -> Iterator[Turn]:
    """The turns of an execution from a number on, in order, read as far as they are asked for.

    Raises NotFoundException where a page is missing.
    """
    number = first
    while number < header.turns_paged:
        # The page that holds this turn; one that the header does not count was left by a turn that was lost.
        found = store.table.query(header.id, start=HISTORY_PREFIX, end=page_key(number), descending=True, limit=1)
        if not found:
            raise NotFoundException(f"The history of execution {header.public} is missing from turn {number} on.")
        begin = int(found[0].key.removeprefix(HISTORY_PREFIX), 16)
        page = list(turns_of(begin, unpack_page(store.body_of(found[0])), header.created_at))
        if begin + len(page) <= number:
            raise NotFoundException(f"The history of execution {header.public} is missing from turn {number} on.")
        yield from page[number - begin :]
        number = begin + len(page)
    if header.turns:
        yield from (t for t in turns_of(header.turns_paged, header.turns, header.created_at) if t.number >= first)
