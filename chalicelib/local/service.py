"""The service in this process: environment, emulated cloud, doors, pumps and clock, started and stopped together.

The environment is set before ``app`` is imported, as in Lambda; from there on all is the program that is deployed.
"""

from __future__ import annotations

import importlib
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Final
from unittest.mock import patch

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.adapters.aws import Aws
from chalicelib.adapters.payloads import SHARED_PATH
from chalicelib.errors import MistralError
from chalicelib.local.clockwork import Clockwork
from chalicelib.local.cloud import QUEUE_TIMEOUTS_SEC, VISIBILITY_TIMEOUTS, CloudNames, create_cloud, names_with_prefix
from chalicelib.local.events import EventFeed
from chalicelib.local.gateway import App, Routes, Shared, share_between_threads
from chalicelib.local.pace import Pacer, Tempo
from chalicelib.local.problems import LocalError
from chalicelib.local.pumps import Door, MemorySource, Pump, Source, SqsSource
from chalicelib.local.wakeup import Wakeup, watching_memory, watching_sqs
from chalicelib.services.auth_settings import AuthSettings
from chalicelib.services.execution_places import ALARM_SHARDS, alarm_value
from chalicelib.services.ports import INDEX_ALARM

STOP_TIMEOUT_SEC: Final = 5.0
MOTO: Final = "moto"
MEMORY: Final = "memory"
TABLE_PREFIX: Final = "mistral-"
REGION: Final = "us-east-1"


@dataclass(frozen=True, slots=True)
class Options:
    """How to run: ``storage`` is ``moto``, ``memory`` or a URL; ``emulate_aws`` gives moto to actions in any case.

    ``admin``: while nobody has to say who they are, everybody is an admin. ``auth`` is as the setting MISTRAL_AUTH.
    ``executors``: whether the queues are worked on here. ``public_url`` is where clients find it.
    ``time_scale``: how many times as fast time passes while nobody is at work.
    """

    storage: str = MOTO
    workers: int = 8
    emulate_aws: bool = False
    admin: bool = False
    auth: str = "none"
    executors: bool = True
    time_scale: float = 1.0
    public_url: str = ""

    @property
    def needs_moto(self) -> bool:
        """Whether AWS is emulated inside this process."""
        return self.storage == MOTO or self.emulate_aws


class Changes:
    """Tells waiters that a door has done something, so that they look again."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._count = 0

    def announce(self) -> None:
        """Something was done."""
        with self._condition:
            self._count += 1
            self._condition.notify_all()

    @property
    def count(self) -> int:
        """How often something was done."""
        return self._count

    def wait(self, seen: int, timeout_sec: float) -> None:
        """Until more was done than ``seen``, or the time is over."""
        with self._condition:
            self._condition.wait_for(lambda: self._count > seen, timeout_sec)


@dataclass(frozen=True, slots=True)
class Service:
    """The running service."""

    app: App
    routes: Routes
    changes: Changes
    shared: Shared
    events: EventFeed
    now: Callable[[], float]
    parts: tuple[Pump | Clockwork | EventFeed | Pacer, ...]

    def stop(self) -> None:
        """Take no more work. Returns at once."""
        for part in self.parts:
            part.stop()

    def join(self, timeout_sec: float = STOP_TIMEOUT_SEC) -> bool:
        """Let what runs come to its end; whether all did in time."""
        deadline_sec = time.monotonic() + timeout_sec
        ended = [part.join(max(0.0, deadline_sec - time.monotonic())) for part in self.parts]
        return all(ended)


def environment_for(options: Options, given: Mapping[str, str]) -> dict[str, str]:
    """The environment of the doors: what the user has set stays, except for what the command itself decides."""
    region = given.get("AWS_REGION") or given.get("AWS_DEFAULT_REGION") or REGION
    environment = {
        "MISTRAL_TABLE_PREFIX": given.get("MISTRAL_TABLE_PREFIX") or TABLE_PREFIX,
        "MISTRAL_STAGE": given.get("MISTRAL_STAGE") or "local",
        "MISTRAL_AUTH": options.auth,
        "MISTRAL_TOKEN_SECRET": given.get("MISTRAL_TOKEN_SECRET") or secrets.token_urlsafe(32),
        "MISTRAL_WEBHOOK_SECRET": given.get("MISTRAL_WEBHOOK_SECRET") or secrets.token_urlsafe(32),
        "MISTRAL_PUBLIC_URL": given.get("MISTRAL_PUBLIC_URL") or options.public_url,
        "MISTRAL_STORAGE": MEMORY if options.storage == MEMORY else "aws",
        "MISTRAL_SHARED_PATH": SHARED_PATH if options.storage == MOTO else "",  # the bucket is in this process
        "MISTRAL_ENDPOINT_URL": "" if options.storage in (MOTO, MEMORY) else options.storage,
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
    }
    environment["MISTRAL_PAYLOAD_BUCKET"] = names_with_prefix(environment["MISTRAL_TABLE_PREFIX"]).bucket
    try:
        AuthSettings.from_environment({**given, **environment})
    except MistralError as error:
        raise LocalError(error.message) from error
    if options.admin:
        environment["MISTRAL_LOCAL_ADMIN"] = "true"
    if environment["MISTRAL_ENDPOINT_URL"]:  # an emulator takes any credentials, but botocore wants some
        environment["AWS_ACCESS_KEY_ID"] = given.get("AWS_ACCESS_KEY_ID") or "emulated"
        environment["AWS_SECRET_ACCESS_KEY"] = given.get("AWS_SECRET_ACCESS_KEY") or "emulated"
    return environment


@contextmanager
def running(options: Options) -> Iterator[Service]:
    """The whole service for the time of the block; at its end what runs has five seconds to finish."""
    environment = environment_for(options, os.environ)
    targets = [name for name in os.environ.get("MISTRAL_TARGETS", "").split(",") if name]
    names = names_with_prefix(environment["MISTRAL_TABLE_PREFIX"], targets)
    tempo = Tempo(options.time_scale)
    if tempo.clock is not None and options.storage not in (MOTO, MEMORY):
        raise LocalError(f"the queues of {options.storage} keep their own time: --time-scale needs another --storage")
    wakeups = {queue: tempo.wakeup() for queue in names.queues}
    with ExitStack() as stack:
        stack.enter_context(patch.dict(os.environ, environment))
        stack.enter_context(tempo.governs(moto=options.needs_moto))
        if options.needs_moto:  # half a second, which only this way has to pay
            stack.enter_context(importlib.import_module("chalicelib.local.emulator").safe_moto())
        stack.enter_context(watching_sqs({name: wakeups[queue] for queue, name in names.queues.items()}))
        sources: dict[str, Source]
        if options.storage == MEMORY:
            doors = importlib.import_module("app")
            memory = importlib.import_module("chalicelib.wiring").container().queue
            stack.enter_context(watching_memory(memory, wakeups))
            sources = {
                queue: MemorySource(memory, queue, visibility_sec=VISIBILITY_TIMEOUTS * timeout_sec)
                for queue, timeout_sec in QUEUE_TIMEOUTS_SEC.items()
            }
        else:
            aws = Aws(environment["AWS_REGION"], endpoint_url=environment["MISTRAL_ENDPOINT_URL"] or None)
            _prepare(aws, names, options)
            doors = importlib.import_module("app")
            sources = {queue: SqsSource(aws.client("sqs"), name) for queue, name in names.queues.items()}
        if not options.executors:
            sources = {}
        service = _start(doors, sources, wakeups=wakeups, tempo=tempo, workers=options.workers)
        if options.needs_moto:
            emulator = importlib.import_module("chalicelib.local.emulator")
            stack.enter_context(emulator.watching_bus(service.events.was_put))
        try:
            yield service
        finally:
            service.stop()
            service.join()


def _prepare(aws: Aws, names: CloudNames, options: Options) -> None:
    try:
        create_cloud(aws, names)
    except (BotoCoreError, ClientError) as error:
        raise LocalError(
            f"cannot create tables, queues and bucket on storage {options.storage}: {error}; "
            f"one endpoint must answer for DynamoDB, SQS and S3"
        ) from error


def _start(
    doors: Any, sources: Mapping[str, Source], *, wakeups: Mapping[str, Wakeup], tempo: Tempo, workers: int
) -> Service:
    share_between_threads(doors.app)
    changes = Changes()
    executors = executors_of(doors)
    pumps = [
        Pump(
            source,
            executors[queue],
            wakeup=wakeups[queue],
            workers=workers,
            timeout_sec=QUEUE_TIMEOUTS_SEC[queue],
            after=changes.announce,
            now=tempo.monotonic,
            activity=tempo.activity,
        )
        for queue, source in sources.items()
    ]
    minute = tempo.wakeup()
    clock = Clockwork(doors.clock, after=changes.announce, now=tempo.now, wakeup=minute, activity=tempo.activity)
    events = EventFeed(doors.events, after=changes.announce, now=tempo.now, activity=tempo.activity)
    container = importlib.import_module("chalicelib.wiring").container
    service = Service(
        app=tempo.watched(doors.app),
        routes=doors.app.routes,
        changes=changes,
        shared=container().ports.payloads.shared,
        events=events,
        now=tempo.now,
        parts=(*pumps, clock, events, *tempo.pacers(list(wakeups.values()), minute, lambda: _next_alarm(container()))),
    )
    for part in service.parts:
        part.start()
    return service


def executors_of(doors: Any) -> dict[str, Door]:
    """The door behind each queue."""
    return {
        "tasks": doors.executor,
        "tasks-long": getattr(doors, "executor_long", doors.executor),
        "notifications": getattr(doors, "notifier", doors.executor),
    }


def _next_alarm(container: Any) -> float | None:
    """When the alarm of some execution rings next."""
    firsts = (
        container.executions.list_index(INDEX_ALARM, alarm_value(shard), limit=1) for shard in range(ALARM_SHARDS)
    )
    return min((float(entry.sort.partition("|")[0]) for entries in firsts for entry in entries), default=None)
