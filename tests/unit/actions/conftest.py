"""Fixtures of the actions' tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.actions.http_server import Server, http_server


@pytest.fixture
def server() -> Iterator[Server]:
    with http_server() as running:
        yield running
