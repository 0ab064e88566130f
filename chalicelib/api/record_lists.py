"""Lists of what one execution or one task has: its tasks, action executions, sub-workflow executions.

Their numbers are their order of creation, and their addresses: in that order, either way, a page is read where it
stands and costs its own size. Any other order is made in memory, of TASKS_GATHERED_MAX at most.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from chalicelib.api.fields import Row
from chalicelib.api.listing import ListQuery, ordered_page, page_of, unknown_marker
from chalicelib.errors import InputException, NotFoundException
from chalicelib.limits import TASKS_GATHERED_MAX
from chalicelib.vocabulary import JsonObject


class InOrder(Protocol):
    """Rows by their numbers, read as far as they are asked for."""

    def __call__(self, *, after: int | None, descending: bool) -> Iterator[Row]:
        """Those behind a number, in the direction."""


def list_records(
    query: ListQuery,
    rows: InOrder,
    *,
    count: int,
    number_of: Callable[[str], int | None],
    complete: Callable[[Row], Row] | None = None,
) -> JsonObject:
    """The answer to a list of up to ``count`` records; ``complete`` as in ``page_of``.

    ``number_of``: the number of the record with an id, ``None`` for one that is not on the list; it may raise
    NotFoundException. Raises InputException where there are too many to be sorted, NotFoundException.
    """
    if [key.name for key in query.sort] == ["created_at", "id"]:
        found = rows(after=_marked(query, number_of), descending=query.sort[0].descending)
        return ordered_page(query, found, looked_at_max=TASKS_GATHERED_MAX, complete=complete)
    if count > TASKS_GATHERED_MAX:
        raise InputException(
            f"There are more than {TASKS_GATHERED_MAX} {query.resource.collection} to sort by {query.sort[0].name}; "
            "so many are sorted by created_at only."
        )
    return page_of(query, rows(after=None, descending=False), complete=complete)


def _marked(query: ListQuery, number_of: Callable[[str], int | None]) -> int | None:
    if query.marker is None:
        return None
    try:
        number = number_of(query.marker)
    except NotFoundException:
        number = None
    if number is None:
        raise unknown_marker(query)
    return number
