"""The part of ``mistral_lib`` that action classes are written against, for the texts of code sources only.

The package itself brings OpenStack's logging, serialization and configuration along, which an executor needs nothing
of. Nothing is registered in ``sys.modules``: the loader of code sources answers their imports with these modules.
"""

from __future__ import annotations

from dataclasses import field
from types import ModuleType
from typing import Any, Final

from chalicelib.data import dataclass
from chalicelib.vocabulary import Json


class Action:
    """The base of action classes: a constructor with named parameters, and ``run``."""

    def run(self, context: Any) -> Json:
        """Act, and return the result."""
        raise NotImplementedError(f"{type(self).__name__} has no method run(self, context)")

    def is_sync(self) -> bool:
        """Whether what ``run`` returns is the result; else it comes later, through the API."""
        return True


class Result:
    """What an action came to, for classes that say more than a plain value does."""

    def __init__(self, data: Json = None, error: Json = None, cancel: bool = False) -> None:
        self.data = data
        self.error = error
        self.cancel = cancel

    def is_cancel(self) -> bool:
        """Whether the action was cancelled."""
        return self.cancel

    def is_error(self) -> bool:
        """Whether it failed."""
        return self.error is not None and not self.cancel

    def is_success(self) -> bool:
        """Whether it did neither."""
        return not self.is_error() and not self.cancel

    def to_dict(self) -> dict[str, Json]:
        """As it is stored."""
        return {"result": self.data if self.is_success() else self.error}


@dataclass()
class ExecutionContext:
    """For which execution an action runs."""

    workflow_execution_id: str | None = None
    task_execution_id: str | None = None
    action_execution_id: str | None = None
    workflow_name: str | None = None
    callback_url: str | None = None
    with_items_index: int = 0
    task_rerun_no: int = 0
    task_rerun_id: str | None = None
    workflow_propagated_headers: Any = None


@dataclass()
class SecurityContext:
    """On whose behalf an action runs; here, nothing but the project is known."""

    auth_uri: str | None = None
    auth_cacert: str | None = None
    auth_token: str | None = None
    insecure: bool | None = None
    service_catalog: Any = None
    region_name: str | None = None
    is_trust_scoped: bool | None = None
    redelivered: bool | None = None
    expires_at: str | None = None
    trust_id: str | None = None
    is_target: bool | None = None
    project_id: str | None = None
    project_name: str | None = None
    user_name: str | None = None


@dataclass()
class ActionContext:
    """What ``run`` is given; the fields of ``security`` can also be asked for directly, as of old."""

    security: SecurityContext = field(default_factory=SecurityContext)
    execution: ExecutionContext = field(default_factory=ExecutionContext)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in SecurityContext.__dataclass_fields__:
            raise AttributeError(f"the context of an action has no {name}")
        return getattr(self.security, name)


class MistralException(Exception):
    """The root of Mistral's exceptions."""

    message = "An unknown exception occurred"
    http_code = 500

    def __init__(self, message: str | None = None) -> None:
        self.message = message or self.message
        super().__init__(self.message)


class ActionException(MistralException):
    """An action failed."""


def _module(name: str, **members: Any) -> ModuleType:
    made = ModuleType(name, "A part of mistral_lib, for code sources.")
    vars(made).update(members)
    return made


_BASE: Final = _module("mistral_lib.actions.base", Action=Action)
_TYPES: Final = _module("mistral_lib.actions.types", Result=Result)
_CONTEXT: Final = _module(
    "mistral_lib.actions.context",
    ActionContext=ActionContext,
    ExecutionContext=ExecutionContext,
    SecurityContext=SecurityContext,
)
_ACTIONS: Final = _module(
    "mistral_lib.actions", Action=Action, Result=Result, base=_BASE, types=_TYPES, context=_CONTEXT
)
_EXCEPTIONS: Final = _module(
    "mistral_lib.exceptions", MistralException=MistralException, ActionException=ActionException
)
_ROOT: Final = _module("mistral_lib", actions=_ACTIONS, exceptions=_EXCEPTIONS)

MODULES: Final = {module.__name__: module for module in (_ROOT, _ACTIONS, _BASE, _TYPES, _CONTEXT, _EXCEPTIONS)}
