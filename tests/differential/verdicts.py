"""Differences that are meant: docs/compatibility.md names them, and here they are told from others."""

from __future__ import annotations

from tests.differential import normal
from tests.differential.cases import Case
from tests.differential.player import Answer


def unexplained(case: Case, ours: Answer, theirs: Answer) -> list[str]:
    """The differences for which there is no documented reason."""
    return list(normal.differences(ours, theirs))
