"""Entries of indexes as streams that can jump: one value in order, several values as one, several of those joined."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from chalicelib.services.execution_places import LAST
from chalicelib.services.execution_store import ExecutionStore
from chalicelib.services.ports import IndexEntry

PAGE_ENTRIES_MAX: Final = 100
_PAGE_AFTER_JUMP: Final = 5


class IndexStream:
    """One value of an index in order, read in pages, and able to jump. ``prefix`` is what all of its places share."""

    def __init__(  # noqa: PLR0917 - one place makes these, from a selection
        self,
        store: ExecutionStore,
        index: str,
        value: str,
        prefix: str,
        start: str | None,
        stop: str | None,
        descending: bool,
        page: int,
    ) -> None:
        self._store = store
        self._index = index
        self._value = value
        self._prefix = prefix
        self._start = None if start is None and not prefix else prefix + (start or (LAST if descending else ""))
        self._stop = None if stop is None and not prefix else prefix + (stop or ("" if descending else LAST))
        self._descending = descending
        self._limit = min(max(page, 1), PAGE_ENTRIES_MAX)
        self._read: list[IndexEntry] = []
        self._at = 0
        self._is_read = False

    @property
    def head(self) -> IndexEntry | None:
        """The next entry."""
        if self._at == len(self._read) and not self._is_read:
            self._turn_page()
        return self._read[self._at] if self._at < len(self._read) else None

    @property
    def place(self) -> str:
        """The place of the head, which there is."""
        head = self.head
        assert head is not None
        return head.sort[len(self._prefix) :]

    def pop(self) -> None:
        """Leave the head behind."""
        self._at += 1

    def seek(self, place: str) -> None:
        """Leave everything behind that stands before a place."""
        while self._at < len(self._read) and self._is_before(self._read[self._at], place):
            self._at += 1
        if self._at == len(self._read) and not self._is_read:
            # Reading begins behind a place, and this one is to be found itself.
            self._start = self._prefix + (place + LAST if self._descending else place[:-1])  # at most a few too early
            self._limit = _PAGE_AFTER_JUMP
            while (head := self.head) is not None and self._is_before(head, place):
                self._at += 1

    def _is_before(self, entry: IndexEntry, place: str) -> bool:
        here = entry.sort[len(self._prefix) :]
        return here > place if self._descending else here < place

    def _turn_page(self) -> None:
        page = self._store.list_index(
            self._index,
            self._value,
            after=self._start,
            until=self._stop,
            descending=self._descending,
            limit=self._limit,
        )
        self._is_read = len(page) < self._limit
        self._limit = min(2 * self._limit, PAGE_ENTRIES_MAX)
        if page:
            self._start = page[-1].sort
        self._read, self._at = page, 0


class IndexUnion:
    """Several streams as one, in the same order."""

    def __init__(self, streams: Sequence[IndexStream], *, descending: bool) -> None:
        self._streams = streams
        self._first_of = max if descending else min
        self._first: IndexStream | None = None

    @property
    def head(self) -> IndexEntry | None:
        """The next entry of any."""
        if self._first is None:
            waiting = [stream for stream in self._streams if stream.head is not None]
            self._first = self._first_of(waiting, key=lambda stream: stream.place, default=None)
        return None if self._first is None else self._first.head

    @property
    def place(self) -> str:
        """The place of the head, which there is."""
        assert self.head is not None
        assert self._first is not None
        return self._first.place

    def pop(self) -> None:
        """Leave the head behind."""
        if self.head is not None and self._first is not None:
            self._first.pop()
            self._first = None

    def seek(self, place: str) -> None:
        """Leave everything behind that stands before a place."""
        for stream in self._streams:
            stream.seek(place)
        self._first = None


def drained(source: IndexStream | IndexUnion) -> Iterator[IndexEntry]:
    """The entries one by one, read as far as they are asked for."""
    while (entry := source.head) is not None:
        yield entry
        source.pop()


def furthest(dimensions: Sequence[IndexUnion], *, descending: bool) -> tuple[IndexEntry, str] | None:
    """Of the heads the one that comes last, and its place; ``None`` where a dimension has come to its end."""
    found: tuple[IndexEntry, str] | None = None
    for dimension in dimensions:
        head = dimension.head
        if head is None:
            return None
        place = dimension.place
        if found is None or (place < found[1] if descending else place > found[1]):
            found = head, place
    return found
