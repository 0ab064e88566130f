"""``nova.servers_create`` and its like: the methods of OpenStack's own clients as actions, named as in Mistral.

They are generated from the clients that are installed (the extra ``openstack``): a method's signature gives the
parameters, its docstring the description. No client is imported before one of its actions is asked for.
"""

from __future__ import annotations

import inspect
import json
import logging
import operator
import re
import threading
from collections.abc import Iterator
from dataclasses import field
from functools import cached_property
from typing import Final

from chalicelib.actions.action import (
    ActionContext,
    ActionSummary,
    Parameter,
    Polling,
    check_names,
    signature_text,
)
from chalicelib.actions.extras import missing_extra
from chalicelib.actions.openstack_services import SERVICES, Method, Service
from chalicelib.actions.openstack_session import Cloud, Clouds
from chalicelib.actions.openstack_values import to_json
from chalicelib.actions.secrets import Revealed
from chalicelib.data import dataclass
from chalicelib.errors import ActionException
from chalicelib.limits import ACTION_DESCRIPTION_CHARACTERS_MAX
from chalicelib.vocabulary import Json, JsonObject, Result

REGION: Final = "action_region"

_logger = logging.getLogger(__name__)

_REGION_PARAMETER: Final = Parameter(
    REGION, required=False, default="", type="string", description="The region, else that of the credentials."
)
_NAME: Final = re.compile(r"[a-z]+\.[A-Za-z0-9_.]+")
_PARAMETER_LINE: Final = re.compile(r"^\s*:param (?:\w+ )?(\w+):\s*(.*(?:\n(?!\s*:|\s*$).*)*)", re.MULTILINE)


class OpenStackActions:
    """The source of the actions of all of OpenStack's services; it may be shared between threads."""

    def __init__(self) -> None:
        self._clouds = Clouds()
        self._lock = threading.Lock()
        self._actions: dict[str, dict[str, OpenStackAction]] = {}

    def find(self, name: str) -> OpenStackAction | None:
        """The action of that full name, or ``None``."""
        service = SERVICES.get(name.partition(".")[0])
        return None if service is None or not service.is_installed else self._of(service).get(name)

    def absent(self, name: str) -> AbsentAction | None:
        """What stands for an action of a service whose client is not installed."""
        service = SERVICES.get(name.partition(".")[0])
        missing = service is not None and not service.is_installed and _NAME.fullmatch(name)
        return AbsentAction(name, service) if service is not None and missing else None

    def names(self, *, prefix: str = "") -> Iterator[str]:
        """The names of what is installed, in order; services outside ``prefix`` are not looked at."""
        for service in SERVICES.values():
            head = f"{service.namespace}."
            if (head.startswith(prefix) or prefix.startswith(head)) and service.is_installed:
                yield from self._of(service)

    @cached_property
    def summaries(self) -> tuple[ActionSummary, ...]:
        """All actions of what is installed, in the order of their names."""
        found = (self._of(service) for service in SERVICES.values() if service.is_installed)
        return tuple(ActionSummary.of(action) for actions in found for action in actions.values())

    def names_near(self, name: str) -> list[str]:
        """Names to look for a misspelt one in: those of its service."""
        return list(self.names(prefix=name.partition(".")[0] + "."))

    def _of(self, service: Service) -> dict[str, OpenStackAction]:
        with self._lock:
            if service.namespace not in self._actions:
                methods = sorted(_methods(service).items())
                self._actions[service.namespace] = {
                    name: _action(name, service, method, self._clouds) for name, method in methods
                }
            return self._actions[service.namespace]


def _methods(service: Service) -> dict[str, Method]:
    """What a client can do; a broken one is reported once and taken as absent: it breaks nothing but itself."""
    try:
        return service.methods()
    except Exception:
        _logger.exception("The client of OpenStack's %s cannot be used", service.namespace)
        return {}


class _Generated:
    """What holds for every call to a cloud."""

    __slots__ = ()

    @property
    def is_sync(self) -> bool:
        """What the cloud answers is the result."""
        return True

    @property
    def polling(self) -> Polling:
        """It answers at once."""
        return Polling.NEVER

    def check_values(self, _input: JsonObject) -> None:
        """Values are the cloud's to judge."""

    def is_pure(self, _input: JsonObject) -> bool:
        """A call to a cloud never is."""
        return False

    def duration_sec(self, _input: JsonObject) -> float:
        """Nothing is known beforehand."""
        return 0.0


@dataclass(frozen=True, slots=True)
class OpenStackAction(_Generated):
    """One method of one client."""

    name: str
    service: Service
    method: Method
    description: str
    parameters: tuple[Parameter, ...]
    accepts_any: bool
    clouds: Clouds = field(repr=False)

    @property
    def label(self) -> str:
        """How the action is named in the text of an exception it raised."""
        return self.name

    @property
    def signature_text(self) -> str:
        """The API's ``input``."""
        return signature_text(self.parameters, accepts_any=self.accepts_any)

    def check(self, input: JsonObject) -> None:
        """Raise ``InvalidActionException`` when parameters are missing or unknown."""
        if not self.accepts_any:
            check_names(self.name, self.service.label, self.parameters, input)

    def run(self, input: JsonObject, context: ActionContext) -> Result:
        """Call the client. Raises ``ActionException`` with what the client or its cloud said."""
        own = dict(input)
        region = own.pop(REGION, None) if self.service.has_region else None
        cloud: Cloud | None = None
        try:
            cloud = self.clouds.cloud(context)
            value = _called(self.service, self.method.path, own, cloud, region)
        except Exception as error:
            # Each client has its own tree of errors, and a cloud that answers nonsense breaks it in any way.
            text = Revealed({}, cloud.hidden if cloud else ()).hide_in(str(error) or type(error).__name__)
            raise ActionException(f"{self.service.label}.{self.method.path} failed: {text}") from error
        return Revealed({}, cloud.hidden).hide(Result(data=value))


@dataclass(frozen=True, slots=True)
class AbsentAction(_Generated):
    """An action of a service whose client is not installed: it can be found, not listed, and says what is missing."""

    name: str
    service: Service
    parameters: tuple[Parameter, ...] = ()
    accepts_any: bool = True

    @property
    def label(self) -> str:
        """How the action is named in the text of an exception it raised."""
        return self.name

    @property
    def description(self) -> str:
        """What is missing."""
        return missing_extra("openstack", f"python-{self.service.package}")

    @property
    def signature_text(self) -> str:
        """Nothing is known of its parameters."""
        return signature_text(self.parameters, accepts_any=True)

    def check(self, _input: JsonObject) -> None:
        """Nothing is known of its parameters."""

    def run(self, _input: JsonObject, _context: ActionContext) -> Result:
        """Raise ``ActionException``."""
        raise ActionException(self.description)


def _called(service: Service, path: str, input: JsonObject, cloud: Cloud, region: Json) -> Json:
    if region is not None and not isinstance(region, str):
        raise ActionException(f"{REGION} must be text")
    client = service.client(cloud, region or None)
    return to_json(operator.attrgetter(path)(client)(**service.completed(client, path, input)))


def _action(name: str, service: Service, method: Method, clouds: Clouds) -> OpenStackAction:
    text = inspect.getdoc(method.function) or ""
    notes = {found[1]: " ".join(found[2].split()) for found in _PARAMETER_LINE.finditer(text)}
    declared = list(inspect.signature(method.function).parameters.values())[1:]
    named = [one for one in declared if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)]
    parameters = [_parameter(one, notes.get(one.name, "")) for one in named]
    if service.has_region and all(one.name != REGION for one in named):
        first_optional = next((at for at, one in enumerate(parameters) if not one.required), len(parameters))
        parameters.insert(first_optional, _REGION_PARAMETER)
    takes_any = any(one.kind is one.VAR_KEYWORD for one in declared)
    longest = ACTION_DESCRIPTION_CHARACTERS_MAX
    description = text if len(text) <= longest else text[: longest - 1] + "…"
    return OpenStackAction(
        name, service, method, description, tuple(parameters), takes_any or method.is_versioned, clouds
    )


def _parameter(declared: inspect.Parameter, description: str) -> Parameter:
    required = declared.default is inspect.Parameter.empty
    return Parameter(
        declared.name,
        required=required,
        default=None if required else _plain(declared.default),
        description=description[:ACTION_DESCRIPTION_CHARACTERS_MAX],
    )


def _plain(default: object) -> Json:
    """A default as JSON; clients mark what was not given with objects of their own."""
    try:
        return json.loads(json.dumps(default, allow_nan=False))
    except (TypeError, ValueError):
        return None
