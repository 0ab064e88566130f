"""Composition: the objects of one process, built once per cold start, as the settings want them."""

from __future__ import annotations

import os
import time
from functools import cache, partial
from typing import Final

from chalicelib.actions.egress import policy_from
from chalicelib.actions.publishers import Publishers
from chalicelib.actions.registry import AwsSettings, Registry
from chalicelib.actions.secrets import Secrets, secrets_from
from chalicelib.adapters.aws import Aws
from chalicelib.adapters.clock import SystemClock, SystemEntropy
from chalicelib.adapters.key_sets import JsonFetcher
from chalicelib.adapters.memory import MemoryPayloads, MemoryQueue, MemoryTable
from chalicelib.adapters.patience import Patience, PatientPayloads, PatientQueue, PatientTable
from chalicelib.adapters.payloads import CachedPayloads, S3Payloads
from chalicelib.adapters.queues import SqsQueue
from chalicelib.adapters.secrets import secret_text
from chalicelib.adapters.tables import DynamoTable
from chalicelib.adapters.telemetry import process_telemetry
from chalicelib.api.caller import PROJECT_WITHOUT_AUTHENTICATION
from chalicelib.data import dataclass, replace
from chalicelib.errors import IdentityUnavailableException, MistralError
from chalicelib.expressions.options import Options
from chalicelib.expressions.webhook_tokens import WebhookSigner
from chalicelib.limits import MESSAGE_RECEIVES_MAX
from chalicelib.services.action_calls import ExecutorSettings
from chalicelib.services.action_runs import ActionRuns
from chalicelib.services.alerts import Alerts
from chalicelib.services.api_keys import ApiKeys
from chalicelib.services.authentication import Authentication
from chalicelib.services.clock_door import ClockDoor
from chalicelib.services.counting import counting
from chalicelib.services.cron_desk import CronDesk
from chalicelib.services.cron_firing import CronFiring
from chalicelib.services.definitions import Definitions
from chalicelib.services.dispatcher import Dispatcher
from chalicelib.services.engine import EngineService
from chalicelib.services.event_door import EventDoor
from chalicelib.services.execution_store import ExecutionStore
from chalicelib.services.executor import Executor
from chalicelib.services.expiration import Expiration
from chalicelib.services.journal import log_changes
from chalicelib.services.maintenance import Maintenance
from chalicelib.services.members import Members, MemberStore
from chalicelib.services.messages import NOTIFICATIONS, TASKS, TASKS_LONG
from chalicelib.services.notifier import Notifier
from chalicelib.services.ports import Clock, Entropy, FetchJson, Payloads, Queue, ReadSecret, Table
from chalicelib.services.reading import Reader
from chalicelib.services.static_checks import StaticChecks
from chalicelib.services.telemetry import NO_TELEMETRY, Telemetry
from chalicelib.services.trees import Trees
from chalicelib.services.trigger_store import TriggerStore
from chalicelib.services.triggers import Triggers
from chalicelib.services.turns import Observer, Turns, TurnSettings
from chalicelib.services.webhooks import Webhooks
from chalicelib.services.workflow_users import TriggersAndMembers
from chalicelib.settings import Settings
from chalicelib.vocabulary import Json

_WEBHOOK_SECRET_CHARACTERS_MIN: Final = 32


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
    telemetry: Telemetry = NO_TELEMETRY


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
    definitions = _definitions(ports, registry, options, TriggersAndMembers(trigger_store, member_store))
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
            alerts=alerts,
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


def _definitions(ports: Ports, registry: Registry, options: Options, users: TriggersAndMembers) -> Definitions:
    return Definitions(
        ports.definitions,
        ports.payloads,
        ports.clock,
        ports.entropy,
        options=options,
        users=users,
        is_installed=lambda name: registry.find(name) is not None,
        static_checks=StaticChecks(registry),
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
        telemetry=ports.telemetry,
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
        observe=counting(observe, ports.telemetry),
        telemetry=ports.telemetry,
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
        queue=MemoryQueue(clock, receives_max=MESSAGE_RECEIVES_MAX),
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
    aws, clock = Aws(settings.region, endpoint_url=settings.endpoint_url), SystemClock()
    patience = Patience(clock, time.sleep)
    payloads = PatientPayloads(S3Payloads(aws, settings.payload_bucket, shared_path=settings.shared_path), patience)
    return Ports(
        executions=PatientTable(DynamoTable(aws, f"{settings.table_prefix}executions"), patience),
        definitions=PatientTable(DynamoTable(aws, f"{settings.table_prefix}definitions"), patience),
        queue=PatientQueue(SqsQueue(aws, _queue_urls(aws, settings)), patience),
        payloads=CachedPayloads(payloads),
        clock=clock,
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
        settings, ports = replace(settings, targets=frozenset()), memory_ports()
    else:
        ports = aws_ports(settings)
    return assemble(settings, replace(ports, telemetry=process_telemetry()))
