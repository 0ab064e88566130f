"""What the endpoints work with: the services of one process, put together by ``app.py``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from chalicelib.actions.registry import Registry
from chalicelib.api.http import ApiSettings, Call
from chalicelib.services.action_runs import ActionRuns
from chalicelib.services.definitions import Definitions
from chalicelib.services.engine import EngineService
from chalicelib.services.members import Members
from chalicelib.services.ports import Clock
from chalicelib.services.reading import Reader, Sight
from chalicelib.services.trees import Trees
from chalicelib.services.triggers import Triggers


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
    members: Members
    registry: Registry
    clock: Clock


Provider = Callable[[], Services]


def sight_of(call: Call) -> Sight:
    """Whose objects the caller of a request sees."""
    return Sight(call.caller.project_id, call.caller.is_admin)
