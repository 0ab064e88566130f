"""What the endpoints work with: the services of one process, put together by ``app.py``."""

from __future__ import annotations

from collections.abc import Callable

from chalicelib.actions.registry import Registry
from chalicelib.api.http import ApiSettings, Call
from chalicelib.data import dataclass
from chalicelib.services.action_runs import ActionRuns
from chalicelib.services.authentication import Authentication
from chalicelib.services.cron_desk import CronDesk
from chalicelib.services.definitions import Definitions
from chalicelib.services.engine import EngineService
from chalicelib.services.event_door import EventDoor
from chalicelib.services.large_answers import LargeAnswers
from chalicelib.services.maintenance import Maintenance
from chalicelib.services.members import Members
from chalicelib.services.ports import Clock
from chalicelib.services.reading import Reader, Sight
from chalicelib.services.trees import Trees
from chalicelib.services.triggers import Triggers
from chalicelib.services.webhooks import Webhooks


@dataclass(frozen=True, slots=True)
class Services:
    """The services behind the endpoints."""

    api_settings: ApiSettings
    engine: EngineService
    reader: Reader
    trees: Trees
    action_runs: ActionRuns
    definitions: Definitions
    triggers: Triggers
    cron: CronDesk
    event_door: EventDoor
    webhooks: Webhooks
    members: Members
    registry: Registry
    clock: Clock
    large_answers: LargeAnswers
    maintenance: Maintenance
    authentication: Authentication


Provider = Callable[[], Services]


def listed_project(call: Call) -> str | None:
    """The project whose objects a list shows; ``None`` for an admin, who sees those of all."""
    return None if call.caller.is_admin else call.caller.project_id


def sight_of(call: Call) -> Sight:
    """Whose objects the caller of a request sees."""
    return Sight(call.caller.project_id, call.caller.is_admin)
