"""Reads the documentation as the tests need it: fenced blocks with their markers, tables, links and headings.

A marker is an HTML comment in front of a fence, unseen by readers: ``<!-- run {"output": {}} -->``.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))

_FENCE = re.compile(
    r"(?:^<!-- (?P<marker>[^\n]*) -->\n+)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
_LINK = re.compile(r"(?<!!)\[[^\]\n]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """One fenced block: where it stands, its language, its text, and what its marker says."""

    page: Path
    line: int
    language: str
    text: str
    marker: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"

    @property
    def order(self) -> str:
        """The first word of the marker."""
        return self.marker.partition(" ")[0]

    @property
    def argument(self) -> Any:
        """What follows the first word, as JSON; an empty object when nothing follows."""
        return json.loads(self.marker.partition(" ")[2] or "{}")


def blocks(language: str, *pages: Path) -> list[Block]:
    """The blocks of a language, in the order of the text."""
    return [
        Block(page, text.count("\n", 0, found.start()) + 1, found["language"], found["text"], found["marker"] or "")
        for page in pages or PAGES
        for text in (page.read_text("utf-8"),)
        for found in _FENCE.finditer(text)
        if found["language"] == language
    ]


def prose(page: Path) -> str:
    """A page without its blocks."""
    return _FENCE.sub("", page.read_text("utf-8"))


def links(page: Path) -> list[str]:
    """The targets of a page's links."""
    return _LINK.findall(prose(page))


def anchors(page: Path) -> set[str]:
    """What a link may name behind ``#``, as GitHub makes it of the headings."""
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in _HEADING.findall(prose(page))
    }


def rows(page: Path, heading: str = "") -> list[list[str]]:
    """The cells of all table rows below a heading and above the next, or of the whole page."""
    text = page.read_text("utf-8")
    if heading:
        text = re.split(r"^#+ ", text.partition(f"# {heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
        assert text, f"{page.name} has no heading {heading!r}"
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines]


def code(cell: str) -> str:
    """The code in a table cell, without its backticks."""
    found = re.fullmatch(r"`([^`]+)`", cell.strip())
    return found[1] if found else ""
