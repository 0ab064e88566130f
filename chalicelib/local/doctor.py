"""``mistral-local doctor``: what is wrong with a deployment, and what to do about it.

It looks at the deployment that the environment names, as ``keys`` does; with ``--endpoint-url`` at an emulator.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from typing import Final

from botocore.exceptions import BotoCoreError, ClientError
from pynamodb.exceptions import PynamoDBException

from chalicelib import limits
from chalicelib.adapters.aws import Aws
from chalicelib.adapters.dead_letters import SqsDeadLetters
from chalicelib.adapters.drift import NOT_THERE, Expected, Inspection
from chalicelib.data import replace
from chalicelib.errors import MistralError
from chalicelib.local.cloud import (
    DEAD_LETTER_RETENTION_SEC,
    DEAD_LETTER_SUFFIX,
    QUEUE_TIMEOUTS_SEC,
    VISIBILITY_TIMEOUTS,
    names_with_prefix,
)
from chalicelib.local.problems import LocalError
from chalicelib.services.dead_letters import redrive
from chalicelib.services.diagnosis import Doctor, Finding
from chalicelib.settings import Settings
from chalicelib.wiring import assemble, aws_ports

HEALTHY: Final = 0
UNHEALTHY: Final = 3
EVENTS: Final = "events"


def doctor(arguments: argparse.Namespace) -> int:
    """Look, print, repair; 0 when nothing is wrong any more, 3 when something is, 1 when it could not look."""
    try:
        settings = _settings(arguments)
        aws = Aws(settings.region, endpoint_url=settings.endpoint_url)
        letters = _letters(aws, settings)
        if arguments.redrive:
            print(f"{redrive(letters, arguments.redrive)} messages sent again to {arguments.redrive}")
            return HEALTHY
        found = _findings(aws, settings, letters, repairs=arguments.fix)
    except (MistralError, BotoCoreError, ClientError, PynamoDBException) as error:
        raise LocalError(str(error)) from error
    _show(found, as_json=arguments.json)
    return HEALTHY if all(finding.is_repaired for finding in found) else UNHEALTHY


def _settings(arguments: argparse.Namespace) -> Settings:
    settings = Settings.from_environment(os.environ)
    if settings.storage != "aws":
        raise LocalError("what is in memory is seen by its own process only: set MISTRAL_STORAGE=aws")
    return replace(settings, endpoint_url=arguments.endpoint_url) if arguments.endpoint_url else settings


def _queues(settings: Settings) -> dict[str, str]:
    """The name of each queue by the name that the service uses."""
    names = names_with_prefix(settings.table_prefix, sorted(settings.targets))
    return dict(names.queues) | dict(zip(sorted(settings.targets), names.targets, strict=True))


def _letters(aws: Aws, settings: Settings) -> SqsDeadLetters:
    functions = {door: f"{settings.table_prefix}{door}" for door in _doors_with_dead_letters(settings)}
    return SqsDeadLetters(aws, _queues(settings), suffix=DEAD_LETTER_SUFFIX, functions=functions)


def _doors_with_dead_letters(settings: Settings) -> tuple[str, ...]:
    """Those that Lambda brings events to; on stage ``local`` there are no functions."""
    return () if settings.stage == "local" else (EVENTS,)


def expected(settings: Settings) -> Expected:
    """What there should be."""
    names = names_with_prefix(settings.table_prefix)
    queues: dict[str, Mapping[str, str]] = {}
    for queue, name in _queues(settings).items():
        visibility_sec = VISIBILITY_TIMEOUTS * QUEUE_TIMEOUTS_SEC.get(queue, 0) or limits.WORKER_LEASE_SEC
        queues[name] = {"VisibilityTimeout": f"{visibility_sec:g}"}
        queues[name + DEAD_LETTER_SUFFIX] = {"MessageRetentionPeriod": str(DEAD_LETTER_RETENTION_SEC)}
    for door in _doors_with_dead_letters(settings):
        name = f"{settings.table_prefix}{door}{DEAD_LETTER_SUFFIX}"
        queues[name] = {"MessageRetentionPeriod": str(DEAD_LETTER_RETENTION_SEC)}
    return Expected(
        tables=names.tables,
        queues=queues,
        bucket=settings.payload_bucket,
        clock=f"{settings.table_prefix}clock",
        dead_letter_queues={name: name + DEAD_LETTER_SUFFIX for name in _queues(settings).values()},
    )


def _findings(aws: Aws, settings: Settings, letters: SqsDeadLetters, *, repairs: bool) -> list[Finding]:
    wanted = expected(settings)
    inspection = Inspection(aws, wanted, has_clock=settings.stage != "local")
    drift = inspection.findings()
    needed = {*wanted.tables, *wanted.dead_letter_queues}
    if {finding.subject for finding in drift if finding.text.endswith(NOT_THERE)} & needed:
        return drift  # the services cannot be put together without them
    container = assemble(settings, aws_ports(settings))
    return [*drift, *Doctor(container.engine, letters, inspection, container.clock).findings(repairs=repairs)]


def _show(found: Sequence[Finding], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"findings": [finding.document() for finding in found]}, indent=2))
        return
    for finding in found:
        mark = "repaired" if finding.is_repaired else "found"
        print(f"{mark}: {finding.problem.value}: {finding.subject}: {finding.text}")
        for sample in finding.facts.get("samples", ()):
            print(f"    {sample}")
        if not finding.is_repaired:
            print(f"    next: {finding.next_step}")
    left = sum(not finding.is_repaired for finding in found)
    print(f"{len(found)} findings, {left} of them open" if found else "nothing is wrong")
