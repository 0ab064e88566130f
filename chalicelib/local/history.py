"""``mistral-local history``: what happened to an execution of a running service, a line each."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from chalicelib.local.logs import complain
from chalicelib.local.remote import Refused, Remote
from chalicelib.vocabulary import JsonObject

REFUSED = 2


def add_history(commands: Any, url: str) -> None:
    """Add the command; ``url`` is where the service is found, unless the variable of Mistral's client says else."""
    command = commands.add_parser("history", help="print what happened to an execution")
    command.add_argument("execution", metavar="ID", help="the execution")
    command.add_argument(
        "--url", default=os.environ.get("OS_MISTRAL_URL") or url, help="the service (default: %(default)s)"
    )


def history(arguments: argparse.Namespace) -> int:
    """Print the history of an execution; the exit status of the process."""
    try:
        for entry in _entries(Remote(arguments.url), arguments.execution):
            name = f"task {entry['task_name']}: " if entry["task_name"] else ""
            print(f"{entry['time']}  {entry['id']:>6}  {name}{entry['what']}")
    except Refused as error:
        complain(str(error))
        return REFUSED
    return 0


def _entries(service: Remote, execution: str) -> Iterator[JsonObject]:
    query: dict[str, str] = {}
    while True:
        page = service.call("GET", f"/executions/{quote(execution, safe='')}/history", query=query)
        yield from page["history"]
        if "next" not in page:
            return
        query = {"marker": page["history"][-1]["id"]}
