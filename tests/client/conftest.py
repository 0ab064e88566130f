"""The service behind HTTP, in a process of its own for all tests of the client; each test names its things apart."""

from collections.abc import Iterator
from typing import Any

import pytest
from mistralclient.api import client

from tests.client.shell import Mistral
from tests.docs_service import serving

SESSION_SEC = 3600


@pytest.fixture(scope="session")
def url() -> Iterator[str]:
    """Where the service is."""
    with serving("--storage", "memory", within_sec=SESSION_SEC) as served:
        yield served


@pytest.fixture
def mistral(url, tmp_path) -> Mistral:
    """The command line."""
    return Mistral(url, tmp_path)


@pytest.fixture
def api(url) -> Any:
    """The Python API."""
    return client.client(mistral_url=url)
