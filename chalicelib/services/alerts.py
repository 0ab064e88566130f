"""Alerts: what the service itself has to say, to its log and to its own publishers.

Others ask for them through the one method ``alert``; nobody waits for an alert, and nothing fails by one.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from hashlib import blake2b
from typing import Final

from chalicelib.actions.publishers import Announcement
from chalicelib.services import messages
from chalicelib.services.ports import Clock, Queue
from chalicelib.vocabulary import JsonObject

_LOG: Final = logging.getLogger("mistral.alerts")


class Alerts:
    """Sends alerts. ``publishers`` are the names of the service's own."""

    def __init__(self, publishers: Iterable[str], queue: Queue, clock: Clock) -> None:
        self._publishers = tuple(publishers)
        self._queue = queue
        self._clock = clock

    def alert(self, name: str, message: str, *, project_id: str, subject: str, facts: JsonObject | None = None) -> None:
        """Say that something is wrong with ``subject`` (an id).

        ``name`` is in Mistral's style, such as CRON_TRIGGER_LATE; ``facts`` are JSON. An ``alert_id`` among them is
        the same for whoever says the same again.
        """
        _LOG.warning("%s: %s", name, message, extra={"mistral": {"project": project_id, "info": subject}})
        at = round(self._clock.now(), 3)
        words = "\0".join((name, project_id, subject, message, str(at)))
        identity = (facts or {}).get("alert_id") or blake2b(words.encode(), digest_size=16).hexdigest()
        data = {**(facts or {}), "id": subject, "project_id": project_id, "message": message, "event": name}
        told = {"id": f"alert.{identity}", "event": name, "at": at, "group": subject, "data": data}
        try:
            self._queue.send([messages.alert_message(publisher, told) for publisher in self._publishers])
        except Exception:  # noqa: BLE001 - an alert that cannot be sent must not break what it is about
            _LOG.exception("alert not sent")


def announcement_of(facts: JsonObject) -> Announcement:
    """The alert in a message."""
    return Announcement(facts["id"], facts["event"], facts["at"], facts["group"], facts["data"])
