"""``mistral-local keys``: API keys of the deployment that the environment names, on AWS as on an emulator."""

from __future__ import annotations

import argparse
import os
from datetime import UTC, datetime

from botocore.exceptions import BotoCoreError, ClientError
from pynamodb.exceptions import PynamoDBException

from chalicelib.adapters.aws import Aws
from chalicelib.adapters.clock import SystemClock, SystemEntropy
from chalicelib.adapters.tables import DynamoTable
from chalicelib.errors import MistralError
from chalicelib.local.problems import LocalError
from chalicelib.services.api_keys import ApiKey, ApiKeys
from chalicelib.settings import Settings


def keys(arguments: argparse.Namespace) -> int:
    """Create, list or revoke; the exit status of the process."""
    try:
        settings = Settings.from_environment(os.environ)
        # Only the table: who may manage keys need not be allowed to touch queues.
        aws = Aws(settings.region, endpoint_url=settings.endpoint_url)
        table = DynamoTable(aws, f"{settings.table_prefix}definitions")
        _do(ApiKeys(table, SystemClock(), SystemEntropy()), arguments)
    except (MistralError, BotoCoreError, ClientError, PynamoDBException) as error:
        raise LocalError(str(error)) from error
    return 0


def _do(known: ApiKeys, arguments: argparse.Namespace) -> None:
    match arguments.what:
        case "create":
            key, secret = known.create(
                arguments.project,
                roles=frozenset(arguments.role),
                description=arguments.description,
                days=arguments.days,
            )
            print(f"key {key.id}\nsecret {secret}")
        case "list":
            for key in known.all_of(arguments.project):
                print(_row(key))
        case "revoke":
            known.revoke(arguments.key)


def _row(key: ApiKey) -> str:
    roles = ",".join(sorted(key.roles)) or "-"
    ends = "-" if key.expires_at is None else _day(key.expires_at)
    return "\t".join((key.id, key.project_id, roles, _day(key.created_at), ends, key.description))


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")
