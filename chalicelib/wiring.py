"""Composition: settings from the environment, and the objects of one process, built once per cold start.

Every setting has a name beginning with ``MISTRAL_`` (but for AWS's own) and a default; ``docs/operations.md`` has
the table.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Final

from chalicelib.actions.registry import AwsSettings, EgressPolicy, Registry
from chalicelib.adapters.aws import Aws
from chalicelib.adapters.clock import SystemClock, SystemEntropy
from chalicelib.adapters.memory import MemoryPayloads, MemoryQueue, MemoryTable
from chalicelib.adapters.payloads import CachedPayloads, S3Payloads
from chalicelib.adapters.queues import SqsQueue
from chalicelib.adapters.tables import DynamoTable
from chalicelib.api.caller import PROJECT_WITHOUT_AUTHENTICATION
from chalicelib.errors import MistralError
from chalicelib.expressions.options import Options
from chalicelib.limits import ALARM_INTERVAL_SEC, FIELD_BYTES_MAX
from chalicelib.services.action_runs import ActionRuns
from chalicelib.services.clock_door import ClockDoor
from chalicelib.services.cron_firing import CronFiring
from chalicelib.services.definitions import Definitions
from chalicelib.services.dispatcher import Dispatcher
from chalicelib.services.engine import EngineService
from chalicelib.services.event_door import EventDefinition, EventDoor, event_definitions
from chalicelib.services.execution_store import ExecutionStore
from chalicelib.services.executor import Executor, ExecutorSettings
from chalicelib.services.journal import log_changes
from chalicelib.services.members import Members, MemberStore
from chalicelib.services.messages import TASKS, TASKS_LONG
from chalicelib.services.ports import Clock, Entropy, Payloads, Queue, Table
from chalicelib.services.trigger_store import TriggerStore
from chalicelib.services.triggers import Triggers
from chalicelib.services.turns import Observer, Turns, TurnSettings
from chalicelib.services.workflow_users import TriggersAndMembers

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
    languages: frozenset[str] = _LANGUAGES
    field_bytes_max: int = FIELD_BYTES_MAX
    alarm_interval_sec: float = ALARM_INTERVAL_SEC
    egress_local: bool = False
    targets: frozenset[str] = frozenset()
    event_definitions: tuple[EventDefinition, ...] = ()

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
        settings = Settings(
            stage=stage,
            storage=environment.get("MISTRAL_STORAGE", "aws"),
            table_prefix=prefix,
            region=environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or "us-east-1",
            endpoint_url=environment.get("MISTRAL_ENDPOINT_URL") or None,
            payload_bucket=environment.get("MISTRAL_PAYLOAD_BUCKET", f"{prefix}payloads"),
            auth=environment.get("MISTRAL_AUTH", "none"),
            languages=languages,
            field_bytes_max=_number(environment, "MISTRAL_FIELD_KB_MAX", FIELD_BYTES_MAX // 1024) * 1024,
            alarm_interval_sec=_number(environment, "MISTRAL_ALARM_INTERVAL_SEC", ALARM_INTERVAL_SEC),
            egress_local=stage == "local",
            targets=frozenset(name for name in environment.get("MISTRAL_TARGETS", "").split(",") if name),
            event_definitions=event_definitions(environment.get("MISTRAL_EVENT_DEFINITIONS", "")),
        )
        if settings.storage not in ("aws", "memory"):
            raise MistralError(f"MISTRAL_STORAGE is aws or memory, not {settings.storage!r}.")
        if settings.auth == "none" and stage != "local":
            raise MistralError("MISTRAL_AUTH=none is for a local service only; set another for this stage.")
        return settings


def _number(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name, str(default))
    try:
        return int(text)
    except ValueError:
        raise MistralError(f"{name} is a whole number, not {text!r}.") from None


@dataclass(frozen=True, slots=True)
class Ports:
    """The world of one process."""

    executions: Table
    definitions: Table
    queue: Queue
    payloads: Payloads
    clock: Clock
    entropy: Entropy


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
    members: Members

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
    registry = registry or Registry()
    options = replace(Options(), languages=settings.languages)
    trigger_store = TriggerStore(ports.definitions, ports.payloads)
    member_store = MemberStore(ports.definitions)
    definitions = Definitions(
        ports.definitions,
        ports.payloads,
        ports.clock,
        ports.entropy,
        options=options,
        users=TriggersAndMembers(trigger_store, member_store),
    )
    engine = _engine(settings, ports, definitions, registry, observe=observe)
    egress = EgressPolicy(denied_networks=()) if settings.egress_local else EgressPolicy()
    for_actions = ExecutorSettings(egress, AwsSettings(settings.region, settings.endpoint_url))
    action_runs = ActionRuns(
        ports.executions,
        definitions,
        registry,
        ports.queue,
        ports.clock,
        ports.entropy,
        egress=egress,
        aws=for_actions.aws,
        expressions=options,
    )
    cron = CronFiring(trigger_store, engine, ports.queue, ports.clock)
    return Container(
        settings=settings,
        ports=ports,
        registry=registry,
        definitions=definitions,
        executions=engine.turns.store,
        engine=engine,
        action_runs=action_runs,
        executor=Executor(
            engine, registry, action_runs, ports.queue, clock=ports.clock, settings=for_actions, cron=cron
        ),
        clock_door=ClockDoor(engine.turns.store, ports.queue, ports.clock, cron),
        event_door=_event_door(settings, ports, trigger_store, engine, options),
        triggers=Triggers(trigger_store, definitions, ports.clock, ports.entropy, announce=cron.announce),
        members=Members(member_store, definitions, ports.clock, ports.entropy),
    )


def _engine(
    settings: Settings, ports: Ports, definitions: Definitions, registry: Registry, *, observe: Observer
) -> EngineService:
    turns = Turns(
        ExecutionStore(ports.executions, ports.payloads),
        definitions,
        registry,
        ports.clock,
        TurnSettings(
            replace(Options(), languages=settings.languages), settings.field_bytes_max, settings.alarm_interval_sec
        ),
        pause=getattr(ports.clock, "pause", time.sleep),
        observe=observe,
    )
    dispatcher = Dispatcher(turns, ports.queue, ports.clock, settings.targets)
    return EngineService(turns, dispatcher, definitions, ports.clock, ports.entropy)


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
        payloads=CachedPayloads(S3Payloads(aws, settings.payload_bucket)),
        clock=SystemClock(),
        entropy=SystemEntropy(),
    )


def _queue_urls(aws: Aws, settings: Settings) -> dict[str, str]:
    """The address of each task queue, asked for by name once per cold start."""
    sqs = aws.client("sqs")
    names = (TASKS, TASKS_LONG, *sorted(settings.targets))
    return {name: sqs.get_queue_url(QueueName=f"{settings.table_prefix}{name}")["QueueUrl"] for name in names}


@cache
def container() -> Container:
    """The services of this process, by the environment's settings."""
    settings = Settings.from_environment(os.environ)
    ports = memory_ports() if settings.storage == "memory" else aws_ports(settings)
    return assemble(settings, ports)
