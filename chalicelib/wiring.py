"""Composition: settings from the environment, and the objects of one process, built once per cold start.

Every setting has a name beginning with ``MISTRAL_`` (but for AWS's own) and a default; ``docs/operations.md`` has
the table.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Final

from chalicelib.actions.egress import policy_from
from chalicelib.actions.publishers import Publishers
from chalicelib.actions.registry import AwsSettings, Registry
from chalicelib.actions.secrets import DEFAULT_PREFIX, Secrets, secrets_from
from chalicelib.adapters.aws import Aws
from chalicelib.adapters.clock import SystemClock, SystemEntropy
from chalicelib.adapters.key_sets import JsonFetcher
from chalicelib.adapters.memory import MemoryPayloads, MemoryQueue, MemoryTable
from chalicelib.adapters.payloads import CachedPayloads, S3Payloads
from chalicelib.adapters.queues import SqsQueue
from chalicelib.adapters.secrets import secret_text
from chalicelib.adapters.tables import DynamoTable
from chalicelib.api.caller import PROJECT_WITHOUT_AUTHENTICATION
from chalicelib.errors import IdentityUnavailableException, MistralError
from chalicelib.expressions.options import Options
from chalicelib.expressions.webhook_tokens import WebhookSigner
from chalicelib.limits import ALARM_INTERVAL_SEC, FIELD_BYTES_MAX
from chalicelib.services.action_runs import ActionRuns
from chalicelib.services.alerts import Alerts
from chalicelib.services.api_keys import ApiKeys
from chalicelib.services.auth_settings import AuthSettings
from chalicelib.services.authentication import Authentication
from chalicelib.services.clock_door import ClockDoor
from chalicelib.services.cron_desk import CronDesk
from chalicelib.services.cron_firing import CronFiring
from chalicelib.services.definitions import Definitions
from chalicelib.services.dispatcher import Dispatcher
from chalicelib.services.engine import EngineService
from chalicelib.services.event_door import EventDefinition, EventDoor, event_definitions
from chalicelib.services.execution_store import ExecutionStore
from chalicelib.services.executor import Executor, ExecutorSettings
from chalicelib.services.expiration import Expiration, ExpirationPolicy
from chalicelib.services.journal import log_changes
from chalicelib.services.maintenance import Maintenance
from chalicelib.services.members import Members, MemberStore
from chalicelib.services.messages import NOTIFICATIONS, TASKS, TASKS_LONG, target_fault
from chalicelib.services.notifier import Notifier, publishers_from
from chalicelib.services.ports import Clock, Entropy, FetchJson, Payloads, Queue, ReadSecret, Table
from chalicelib.services.reading import Reader
from chalicelib.services.static_checks import StaticChecks
from chalicelib.services.trees import Trees
from chalicelib.services.trigger_store import TriggerStore
from chalicelib.services.triggers import Triggers
from chalicelib.services.turns import Observer, Turns, TurnSettings
from chalicelib.services.webhooks import Webhooks
from chalicelib.services.workflow_users import TriggersAndMembers
from chalicelib.vocabulary import Json, JsonObject

_LANGUAGES: Final = frozenset({"yaql", "jinja"})
_WEBHOOK_SECRET_CHARACTERS_MIN: Final = 32


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


def _nothing_published(address: str) -> Json:
    raise IdentityUnavailableException(f"{address} cannot be reached from here.")


def _no_secret(secret_id: str) -> str:
    raise IdentityUnavailableException(f"Secret {secret_id} is not here; set MISTRAL_TOKEN_SECRET.")


@dataclass(frozen=True, slots=True)
class Ports:
    """The world of one process; of issuers of tokens and of secrets there are none, unless it is said.

    ``secrets`` are those of actions; ``None``: where the settings say.
    """

    executions: Table
    definitions: Table
    queue: Queue
    payloads: Payloads
    clock: Clock
    entropy: Entropy
    fetch_json: FetchJson = _nothing_published
    read_secret: ReadSecret = _no_secret
    secrets: Secrets | None = None


@dataclass(frozen=True, slots=True)
class Container:
    """The services of one process."""

    settings: Settings
    ports: Ports
    registry: Registry
    definitions: Definitions
    executions: ExecutionStore
    engine: EngineService
    action_runs: ActionRuns
    executor: Executor
    clock_door: ClockDoor
    event_door: EventDoor
    triggers: Triggers
    cron_desk: CronDesk
    webhooks: Webhooks
    members: Members
    maintenance: Maintenance
    authentication: Authentication
    notifier: Notifier
    alerts: Alerts

    @property
    def queue(self) -> Queue:
        """The task queues."""
        return self.ports.queue

    @property
    def clock(self) -> Clock:
        """The time."""
        return self.ports.clock

    @property
    def entropy(self) -> Entropy:
        """Where fresh identity comes from."""
        return self.ports.entropy


def assemble(
    settings: Settings, ports: Ports, registry: Registry | None = None, *, observe: Observer = log_changes
) -> Container:
    """The services on these ports; ``observe`` is told of every commit."""
    registry = registry or Registry(settings.lambda_prefix)
    signer = _signer(settings)
    options = replace(Options(), languages=settings.languages, webhooks=signer)
    trigger_store = TriggerStore(ports.definitions, ports.payloads)
    member_store = MemberStore(ports.definitions)
    definitions = Definitions(
        ports.definitions,
        ports.payloads,
        ports.clock,
        ports.entropy,
        options=options,
        users=TriggersAndMembers(trigger_store, member_store),
        is_installed=lambda name: registry.find(name) is not None,
        static_checks=StaticChecks(registry),
    )
    engine = _engine(settings, ports, definitions, registry, options, observe=observe)
    egress = policy_from(settings.egress_denied, settings.egress_hosts, is_local=settings.egress_local)
    place = AwsSettings(settings.region, settings.endpoint_url, settings.action_role_arn)
    secrets = ports.secrets or secrets_from(
        settings.secrets_file, settings.secret_prefix, place.region, place.endpoint_url
    )
    for_actions = ExecutorSettings(egress, place, signer, secrets)
    action_runs = _action_runs(ports, definitions, registry, for_actions, options)
    alerts = Alerts(settings.publishers, ports.queue, ports.clock)
    cron = CronFiring(trigger_store, engine, ports.queue, ports.clock, alerts=alerts)
    triggers = Triggers(trigger_store, definitions, ports.clock, ports.entropy, announce=cron.announce)
    maintenance = Maintenance(ports.definitions, engine, ports.queue, ports.clock)
    return Container(
        settings=settings,
        ports=ports,
        registry=registry,
        definitions=definitions,
        executions=engine.turns.store,
        engine=engine,
        action_runs=action_runs,
        executor=Executor(
            engine,
            registry,
            action_runs,
            ports.queue,
            clock=ports.clock,
            settings=for_actions,
            cron=cron,
            maintenance=maintenance,
        ),
        clock_door=_clock_door(settings, ports, engine, definitions, cron=cron, maintenance=maintenance),
        event_door=_event_door(settings, ports, trigger_store, engine, options),
        triggers=triggers,
        cron_desk=CronDesk(triggers, trigger_store, engine, cron, world=ports),
        webhooks=Webhooks(ports.definitions, ports.clock, signer),
        members=Members(member_store, definitions, ports.clock, ports.entropy),
        maintenance=maintenance,
        authentication=_authentication(settings, ports),
        notifier=Notifier(engine, Publishers(egress, place), ports.queue, ports.clock, settings.publishers),
        alerts=alerts,
    )


def _clock_door(
    settings: Settings,
    ports: Ports,
    engine: EngineService,
    definitions: Definitions,
    *,
    cron: CronFiring,
    maintenance: Maintenance,
) -> ClockDoor:
    store = engine.turns.store
    expiration = Expiration(store, Trees(Reader(store, definitions)), ports.clock, settings.expiration)
    return ClockDoor(store, ports.queue, ports.clock, cron, maintenance=maintenance, expiration=expiration)


def _action_runs(
    ports: Ports, definitions: Definitions, registry: Registry, settings: ExecutorSettings, options: Options
) -> ActionRuns:
    return ActionRuns(
        ports.executions,
        definitions,
        registry,
        ports.queue,
        ports.clock,
        ports.entropy,
        egress=settings.egress,
        aws=settings.aws,
        expressions=options,
        pause=getattr(ports.clock, "pause", time.sleep),
        secrets=settings.secrets,
    )


def _signer(settings: Settings) -> WebhookSigner | None:
    """The signer of webhooks; of several secrets, separated by commas, the first signs."""
    secrets = tuple(secret.strip() for secret in settings.webhook_secret.split(",") if secret.strip())
    for secret in secrets:
        if len(secret) < _WEBHOOK_SECRET_CHARACTERS_MIN:
            raise MistralError(
                f"A secret in MISTRAL_WEBHOOK_SECRET has {len(secret)} characters; it needs "
                f"{_WEBHOOK_SECRET_CHARACTERS_MIN} at least, all of them random."
            )
    return WebhookSigner(secrets, settings.public_url) if secrets else None


def _engine(
    settings: Settings,
    ports: Ports,
    definitions: Definitions,
    registry: Registry,
    options: Options,
    *,
    observe: Observer,
) -> EngineService:
    turns = Turns(
        ExecutionStore(ports.executions, ports.payloads, lists_ended=settings.expiration.is_on),
        definitions,
        registry,
        ports.clock,
        TurnSettings(options, settings.field_bytes_max, settings.alarm_interval_sec, settings.publishers),
        pause=getattr(ports.clock, "pause", time.sleep),
        observe=observe,
    )
    dispatcher = Dispatcher(turns, ports.queue, ports.clock, settings.targets)
    return EngineService(turns, dispatcher, definitions, ports.clock, ports.entropy)


def _authentication(settings: Settings, ports: Ports) -> Authentication:
    return Authentication(
        settings.authentication,
        ApiKeys(ports.definitions, ports.clock, ports.entropy),
        ports.definitions,
        ports.clock,
        ports.entropy,
        fetch=ports.fetch_json,
        read_secret=ports.read_secret,
    )


def _event_door(
    settings: Settings, ports: Ports, store: TriggerStore, engine: EngineService, options: Options
) -> EventDoor:
    return EventDoor(
        store,
        engine,
        ports.clock,
        definitions=settings.event_definitions,
        default_project_id=PROJECT_WITHOUT_AUTHENTICATION if settings.auth == "none" else None,
        options=options,
    )


def memory_ports() -> Ports:
    """A world that lives in this process and dies with it."""
    clock = SystemClock()
    return Ports(
        executions=MemoryTable(),
        definitions=MemoryTable(),
        queue=MemoryQueue(clock),
        payloads=MemoryPayloads(),
        clock=clock,
        entropy=SystemEntropy(),
        fetch_json=JsonFetcher(allows_http=True),
    )


def memory_container() -> Container:
    """The services in memory, for tests and for ``--storage memory``."""
    return assemble(Settings(storage="memory", egress_local=True), memory_ports())


def aws_ports(settings: Settings) -> Ports:
    """The world on AWS, or on an emulator of it."""
    aws = Aws(settings.region, endpoint_url=settings.endpoint_url)
    return Ports(
        executions=DynamoTable(aws, f"{settings.table_prefix}executions"),
        definitions=DynamoTable(aws, f"{settings.table_prefix}definitions"),
        queue=SqsQueue(aws, _queue_urls(aws, settings)),
        payloads=CachedPayloads(S3Payloads(aws, settings.payload_bucket, shared_path=settings.shared_path)),
        clock=SystemClock(),
        entropy=SystemEntropy(),
        fetch_json=JsonFetcher(allows_http=settings.stage == "local"),
        read_secret=partial(secret_text, aws),
    )


@cache
def authentication() -> Authentication:
    """Who proves identities, without the rest: an authorizer asks for nothing else, and starts faster so."""
    settings = Settings.from_environment(os.environ)
    if settings.storage == "memory":
        return container().authentication
    aws = Aws(settings.region, endpoint_url=settings.endpoint_url)
    table, clock, entropy = DynamoTable(aws, f"{settings.table_prefix}definitions"), SystemClock(), SystemEntropy()
    return Authentication(
        settings.authentication,
        ApiKeys(table, clock, entropy),
        table,
        clock,
        entropy,
        fetch=JsonFetcher(allows_http=settings.stage == "local"),
        read_secret=partial(secret_text, aws),
    )


def _queue_urls(aws: Aws, settings: Settings) -> dict[str, str]:
    """The address of each task queue, asked for by name once per cold start."""
    sqs = aws.client("sqs")
    names = (TASKS, TASKS_LONG, NOTIFICATIONS, *sorted(settings.targets))
    return {name: sqs.get_queue_url(QueueName=f"{settings.table_prefix}{name}")["QueueUrl"] for name in names}


@cache
def container() -> Container:
    """The services of this process, by the environment's settings."""
    settings = Settings.from_environment(os.environ)
    if settings.webhook_secret.startswith("arn:"):
        aws = Aws(settings.region, endpoint_url=settings.endpoint_url)
        settings = replace(settings, webhook_secret=secret_text(aws, settings.webhook_secret))
    if settings.storage == "memory":
        # No worker outside this process could see the queue of a target: its tasks run here.
        return assemble(replace(settings, targets=frozenset()), memory_ports())
    return assemble(settings, aws_ports(settings))
