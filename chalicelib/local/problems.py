"""What keeps a local command from working, in words for its user."""

from __future__ import annotations


class LocalError(Exception):
    """The local service cannot start; the text says why and what to do."""


class EmulatorVersionError(LocalError):
    """The installed moto is not one that the emulated cloud was tested with."""
