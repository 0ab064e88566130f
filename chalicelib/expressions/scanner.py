"""Finds what stands between delimiters, as a non-greedy pattern that does not cross lines would, but in linear time."""

from __future__ import annotations

from collections.abc import Iterator


def fragments(text: str, opening: str, closing: str) -> Iterator[str]:
    """Every fragment of the text from an opening delimiter to the next closing one on the same line, both included."""
    position = text.find(opening)
    while position >= 0:
        line_end = text.find("\n", position)
        line_end = len(text) if line_end < 0 else line_end
        end = text.find(closing, position + len(opening), line_end)
        if end < 0:
            # No fragment can begin on the rest of this line either.
            position = text.find(opening, line_end)
        else:
            yield text[position : end + len(closing)]
            position = text.find(opening, end + len(closing))
