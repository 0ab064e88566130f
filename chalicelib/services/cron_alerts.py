"""Alerts of cron-triggers: what a person should know, told once or more to whoever has been wired in to pass it on."""

from __future__ import annotations

import logging
from enum import StrEnum
from typing import Final, Protocol

from chalicelib.data import dataclass
from chalicelib.engine.moment import timestamp
from chalicelib.vocabulary import JsonObject

_LOG: Final = logging.getLogger("mistral.alerts")


class AlertKind(StrEnum):
    """What has happened, in the style of Mistral's events."""

    NOT_STARTED = "CRON_TRIGGER_NOT_STARTED"
    STARTED_LATE = "CRON_TRIGGER_STARTED_LATE"
    NOT_ENDED = "CRON_TRIGGER_NOT_ENDED"
    TIMES_MISSED = "CRON_TRIGGER_TIMES_MISSED"
    PAUSED = "CRON_TRIGGER_PAUSED"


@dataclass(frozen=True, slots=True, kw_only=True)
class CronAlert:
    """One alert; ``id`` always follows from what it is about, so whoever is told twice can tell.

    ``at`` and ``scheduled_for`` are seconds since the epoch.
    """

    id: str
    kind: AlertKind
    project_id: str
    trigger_id: str
    trigger_name: str
    workflow_id: str
    message: str
    at: float
    scheduled_for: float
    execution_id: str | None = None

    def facts(self) -> JsonObject:
        """What a listener is told besides name, message, project and trigger."""
        return {
            "alert_id": self.id,
            "trigger_name": self.trigger_name,
            "workflow_id": self.workflow_id,
            "scheduled_for": timestamp(self.scheduled_for),
            "execution_id": self.execution_id,
        }


class AlertListener(Protocol):
    """Who is told. What it raises is logged and otherwise ignored: a trigger never waits for its listeners."""

    def alert(self, name: str, message: str, *, project_id: str, subject: str, facts: JsonObject | None = None) -> None:
        """Say that something is wrong with ``subject``, the id of a trigger."""


class LoggedAlerts:
    """Tells the log and nobody else."""

    def alert(self, name: str, message: str, *, project_id: str, subject: str, facts: JsonObject | None = None) -> None:
        """Write an alert to the log."""
        told = {"alert": name, "project": project_id, "trigger": subject, **(facts or {})}
        _LOG.warning("%s: %s", name, message, extra={"mistral": told})


def tell(listener: AlertListener, alert: CronAlert) -> None:
    """Tell a listener, whatever it makes of it."""
    message = f"{alert.trigger_name}: {alert.message}"
    try:
        listener.alert(
            alert.kind.value, message, project_id=alert.project_id, subject=alert.trigger_id, facts=alert.facts()
        )
    except Exception:  # noqa: BLE001 - the listener's fault is not the trigger's
        _LOG.exception("the alert %s could not be passed on: %s", alert.id, message)
