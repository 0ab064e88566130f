"""Every test of poison runs on both backends."""

from collections.abc import Iterator

import pytest

from tests.poison.site import BACKENDS, Site, site_on


@pytest.fixture(params=BACKENDS)
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    """A new service."""
    with site_on(request.param) as made:
        yield made
