"""The emulated cloud: moto inside this process, in a form that threads may share (see moto_shim)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final
from unittest.mock import patch

import moto.backends  # noqa: F401 - the stubber reaches it by its name
from moto.core.base_backend import BackendDict
from moto.core.models import botocore_stubber
from moto.events.models import EventsBackend

from chalicelib.local import moto_shim

# Whatever credentials the user has, an emulated call never carries them; nothing is asked of an instance's metadata.
ENVIRONMENT: Final = {
    "AWS_ACCESS_KEY_ID": "emulated",
    "AWS_SECRET_ACCESS_KEY": "emulated",
    "AWS_SESSION_TOKEN": "emulated",
    "AWS_ACCOUNT_ID_ENDPOINT_MODE": "disabled",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@contextmanager
def safe_moto() -> Iterator[None]:
    """Answer every AWS call of this process from memory, as long as the block lasts.

    The cloud is empty at the beginning and at the end. Clients must be made inside the block; calls through
    ``requests`` (``std.http``) go to the network as ever. A block within a block shares its cloud. Raises
    EmulatorVersionError when the installed moto was not tested.
    """
    if botocore_stubber.enabled:
        yield
        return
    with moto_shim.installed(), patch.dict(os.environ, ENVIRONMENT):
        os.environ.pop("AWS_PROFILE", None)
        BackendDict.reset()
        botocore_stubber.enabled = True
        try:
            yield
        finally:
            botocore_stubber.enabled = False
            BackendDict.reset()


@contextmanager
def watching_bus(announce: Callable[[list[dict[str, Any]], list[dict[str, Any]]], None]) -> Iterator[None]:
    """Tell of what is put on the emulated EventBridge, whoever puts it: the entries, and what became of each."""
    put = EventsBackend.put_events

    def put_and_announce(backend: EventsBackend, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
        results = put(backend, events)
        announce(events, results)
        return results

    with patch.object(EventsBackend, "put_events", put_and_announce):
        yield
