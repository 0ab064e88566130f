"""``mistral-local cron``: look ahead, pause, resume, run and backfill cron-triggers of a running service."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote

from chalicelib.errors import InputException, InvalidModelException
from chalicelib.local.logs import complain
from chalicelib.local.remote import Refused, Remote
from chalicelib.services.schedules import check_pattern, shown, upcoming
from chalicelib.services.time_zones import check_zone
from chalicelib.vocabulary import JsonObject

SUCCEEDED: Final = 0
REFUSED: Final = 2


def cron(arguments: argparse.Namespace) -> int:
    """Do what the command line says; the exit status of the process."""
    try:
        for line in _preview(arguments) if arguments.what == "preview" else _ask(arguments):
            print(line)
    except (Refused, InputException, InvalidModelException) as error:
        complain(str(error))
        return REFUSED
    return SUCCEEDED


def _preview(arguments: argparse.Namespace) -> Iterable[str]:
    """The next times of a pattern; no service is asked."""
    zone = None if arguments.time_zone is None else check_zone(arguments.time_zone)
    now = time.time()
    check_pattern(arguments.pattern, now, zone)
    for due_at in upcoming(arguments.pattern, now, arguments.count, zone):
        utc = datetime.fromtimestamp(due_at, UTC).strftime("%Y-%m-%d %H:%M:%S")
        yield f"{utc} UTC  {shown(due_at, zone)}"


def _ask(arguments: argparse.Namespace) -> Iterable[str]:
    service = Remote(arguments.url)
    path = f"/cron_triggers/{quote(arguments.name, safe='')}"
    match arguments.what:
        case "times":
            answer = service.call("GET", f"{path}/times", query={"count": str(arguments.count)})
            for row in answer["times"]:
                yield f"{row['starts_at']} UTC  for {row['local_time']}"
        case "run":
            body: JsonObject = {} if arguments.key is None else {"key": arguments.key}
            yield str(service.call("POST", f"{path}/run", body)["execution_id"])
        case "backfill":
            asked: JsonObject = {"from": arguments.first, "to": arguments.last, "dry_run": arguments.dry_run}
            for row in service.call("POST", f"{path}/backfill", asked)["executions"]:
                yield f"{row['scheduled_for']} UTC  {row['execution_id']}  {row['state'] or '-'}"
        case what:
            row = service.call("POST", f"{path}/{what}")
            paused_at = row.get("paused_at")
            yield f"{row['name']}: " + (f"paused since {paused_at} UTC" if paused_at else f"next {_next(row)}")


def _next(row: JsonObject) -> str:
    return f"{row['next_execution_time']} UTC" if row["next_execution_time"] else "never"
