"""The service behind HTTP, in a process of its own; each test names its things apart."""

from collections.abc import Iterator
from uuid import uuid4

import pytest

from tests.api.replays.caller import Caller
from tests.docs_service import serving

SESSION_SEC = 3600


@pytest.fixture(scope="session")
def url() -> Iterator[str]:
    """Where the service is, with ``/v2``."""
    with serving("--storage", "memory", within_sec=SESSION_SEC) as served:
        yield served


@pytest.fixture
def api(url) -> Iterator[Caller]:
    """Somebody who calls it."""
    with Caller(url) as caller:
        yield caller


@pytest.fixture
def name() -> str:
    """A name that nothing else has."""
    return f"n{uuid4().hex}"
