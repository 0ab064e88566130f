"""What every test starts from: no AWS account, and random examples that do not depend on the machine."""

import logging
import os

import pytest
from hypothesis import settings

from tests.planted import WATCH

# A developer's machine looks for new examples; CI takes the same ones every time, so that a red run can be repeated.
# No deadline: it would measure how busy the machine is.
settings.register_profile("house", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("house")


def pytest_configure():
    """What the service logs is made in every test, and searched; what libraries log too, as far as it is made."""
    ours = logging.getLogger("mistral")
    ours.setLevel(logging.INFO)
    for logger in (logging.getLogger(), ours):
        logger.addHandler(WATCH)


@pytest.fixture(autouse=True)
def no_secret_in_any_log():
    """No test logs a secret that was planted."""
    WATCH.leaks.clear()
    yield
    leaks, WATCH.leaks = WATCH.leaks, []
    assert leaks == []


@pytest.fixture(autouse=True)
def no_account(monkeypatch):
    """Whatever reaches for AWS finds credentials that open nothing, and no file or endpoint of the developer's."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
