"""What every test starts from: no AWS account, and random examples that do not depend on the machine."""

import gc
import logging
import os
from functools import lru_cache
from typing import Any

import pytest
from botocore.loaders import JSONFileLoader, Loader
from hypothesis import settings
from moto.core.loaders import Loader as EmulatorsLoader

from tests.planted import WATCH

# A developer's machine looks for new examples; CI takes the same ones every time, so that a red run can be repeated.
# No deadline: it would measure how busy the machine is.
settings.register_profile("house", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("house")


# Every test that makes a client of AWS has a session of its own, which would read and parse megabytes of models again:
# half of such a test's time. They lie in files that no test changes, so a process reads each once; the oldest go.
MODELS_MAX = 64
_read_file, _list_services = JSONFileLoader.load_file, Loader.list_available_services


@lru_cache(MODELS_MAX)
def model_of(path: str) -> Any:
    return _read_file(JSONFileLoader(), path)


@lru_cache(MODELS_MAX)
def services_below(search_paths: tuple[str, ...], type_name: str) -> tuple[str, ...]:
    loader = Loader(extra_search_paths=list(search_paths), include_default_search_paths=False)
    return tuple(_list_services(loader, type_name))


class OwnCopies(JSONFileLoader):  # type: ignore[misc]
    """For the emulator, which adds to the models that it reads."""

    load_file = _read_file


EmulatorsLoader.FILE_LOADER_CLASS = OwnCopies
JSONFileLoader.load_file = lambda self, file_path: model_of(file_path)
Loader.list_available_services = lambda self, type_name: list(services_below(tuple(self.search_paths), type_name))


def pytest_collection_finish():
    """What is there now stays to the end: no collection of garbage need look through thousands of tests again."""
    gc.collect()
    gc.freeze()


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
