"""The settings of a deployment, read from the environment.

Every setting has a name beginning with ``MISTRAL_`` (but for AWS's own) and a default; ``docs/operations.md`` has
the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Final

from chalicelib.actions.secrets import DEFAULT_PREFIX
from chalicelib.data import dataclass
from chalicelib.errors import MistralError
from chalicelib.limits import ALARM_INTERVAL_SEC, FIELD_BYTES_MAX
from chalicelib.services.auth_settings import AuthSettings
from chalicelib.services.event_door import EventDefinition, event_definitions
from chalicelib.services.expiration import ExpirationPolicy
from chalicelib.services.messages import target_fault
from chalicelib.services.notifier import publishers_from
from chalicelib.vocabulary import JsonObject

_LANGUAGES: Final = frozenset({"yaql", "jinja"})


@dataclass(frozen=True, slots=True)
class Settings:
    """What may differ between deployments. Sizes in bytes, times in seconds."""

    stage: str = "local"
    storage: str = "aws"
    table_prefix: str = "mistral-"
    region: str = "us-east-1"
    endpoint_url: str | None = None
    payload_bucket: str = "mistral-payloads"
    auth: str = "none"
    authentication: AuthSettings = field(default_factory=AuthSettings)
    languages: frozenset[str] = _LANGUAGES
    field_bytes_max: int = FIELD_BYTES_MAX
    alarm_interval_sec: float = ALARM_INTERVAL_SEC
    egress_local: bool = False
    egress_denied: tuple[str, ...] = ()
    egress_hosts: frozenset[str] = frozenset()
    secret_prefix: str = DEFAULT_PREFIX
    secrets_file: str | None = None
    lambda_prefix: str | None = None
    shared_path: str | None = None
    action_role_arn: str | None = None
    targets: frozenset[str] = frozenset()
    event_definitions: tuple[EventDefinition, ...] = ()
    webhook_secret: str = field(default="", repr=False)
    public_url: str = ""
    publishers: Mapping[str, JsonObject] = field(default_factory=dict, repr=False)
    expiration: ExpirationPolicy = field(default_factory=ExpirationPolicy)

    @staticmethod
    def from_environment(environment: Mapping[str, str]) -> Settings:
        """Read the settings. Raises MistralError naming a setting that makes no sense."""
        prefix = environment.get("MISTRAL_TABLE_PREFIX", "mistral-")
        stage = environment.get("MISTRAL_STAGE", "local")
        languages = frozenset(
            language.strip() for language in environment.get("MISTRAL_LANGUAGES", "yaql,jinja").split(",") if language
        )
        if not languages <= _LANGUAGES:
            raise MistralError(f"MISTRAL_LANGUAGES may name yaql and jinja, not {', '.join(languages - _LANGUAGES)}.")
        authentication = AuthSettings.from_environment(environment)
        settings = Settings(
            stage=stage,
            storage=environment.get("MISTRAL_STORAGE", "aws"),
            table_prefix=prefix,
            region=environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or "us-east-1",
            endpoint_url=environment.get("MISTRAL_ENDPOINT_URL") or None,
            payload_bucket=environment.get("MISTRAL_PAYLOAD_BUCKET", f"{prefix}payloads"),
            auth=authentication.auth,
            authentication=authentication,
            languages=languages,
            field_bytes_max=_number(environment, "MISTRAL_FIELD_KB_MAX", FIELD_BYTES_MAX // 1024) * 1024,
            alarm_interval_sec=_number(environment, "MISTRAL_ALARM_INTERVAL_SEC", ALARM_INTERVAL_SEC),
            egress_local=stage == "local",
            egress_denied=_listed(environment, "MISTRAL_EGRESS_DENIED"),
            egress_hosts=frozenset(_listed(environment, "MISTRAL_EGRESS_HOSTS")),
            secret_prefix=environment.get("MISTRAL_SECRET_PREFIX", DEFAULT_PREFIX),
            secrets_file=environment.get("MISTRAL_SECRETS_FILE") or None,
            lambda_prefix=environment.get("MISTRAL_LAMBDA_PREFIX") or None,
            shared_path=environment.get("MISTRAL_SHARED_PATH") or None,
            action_role_arn=environment.get("MISTRAL_ACTION_ROLE_ARN") or None,
            targets=frozenset(name for name in environment.get("MISTRAL_TARGETS", "").split(",") if name),
            event_definitions=event_definitions(environment.get("MISTRAL_EVENT_DEFINITIONS", "")),
            webhook_secret=environment.get("MISTRAL_WEBHOOK_SECRET", ""),
            public_url=environment.get("MISTRAL_PUBLIC_URL", "").rstrip("/"),
            publishers=publishers_from(environment.get("MISTRAL_NOTIFY", "")),
            expiration=ExpirationPolicy.from_environment(environment),
        )
        if settings.storage not in ("aws", "memory"):
            raise MistralError(f"MISTRAL_STORAGE is aws or memory, not {settings.storage!r}.")
        if settings.auth == "none" and stage != "local":
            raise MistralError("MISTRAL_AUTH=none is for a local service only; set another for this stage.")
        for fault in filter(None, map(target_fault, settings.targets)):
            raise MistralError(f"MISTRAL_TARGETS: {fault}.")
        if settings.secrets_file and stage != "local":
            raise MistralError("MISTRAL_SECRETS_FILE is for a local service only: its secrets belong to every project.")
        return settings


def _listed(environment: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in environment.get(name, "").split(",") if part.strip())


def _number(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name, str(default))
    try:
        return int(text)
    except ValueError:
        raise MistralError(f"{name} is a whole number, not {text!r}.") from None
