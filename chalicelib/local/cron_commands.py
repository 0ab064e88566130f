"""The command lines of ``mistral-local cron`` and ``mistral-local crontab``."""

from __future__ import annotations

import argparse
import os
from typing import Any

from chalicelib.limits import CRON_PREVIEW_MAX


def add_cron(commands: Any, url: str) -> None:
    """Add both commands; ``url`` is where the service is found, unless the variable of Mistral's client says else."""
    url = os.environ.get("OS_MISTRAL_URL") or url
    _add_cron(commands.add_parser("cron", help="look ahead, pause, resume, run and backfill cron triggers"), url)
    _add_crontab(commands.add_parser("crontab", help="turn a crontab into workflows and cron triggers"), url)


def _add_cron(parser: argparse.ArgumentParser, url: str) -> None:
    commands = parser.add_subparsers(dest="what", required=True)
    preview = commands.add_parser("preview", help="print the next times of a pattern; needs no service")
    preview.add_argument("pattern", help="such as '30 2 * * 1-5'")
    preview.add_argument("--time-zone", metavar="ZONE", help="such as Europe/Berlin (default: UTC)")
    preview.add_argument("--count", type=_count, default=5, help="how many (default: %(default)s)")
    for name, text in (
        ("times", "print when a trigger fires next"),
        ("pause", "let a trigger not fire"),
        ("resume", "let it fire again, from its next time on"),
        ("run", "start its workflow now, and print the id of the execution"),
        ("backfill", "start a run for each due time of a past range that has none"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("name", help="name or id of the trigger")
        command.add_argument("--url", default=url, help="the service (default: %(default)s)")
        if name == "times":
            command.add_argument("--count", type=_count, default=5, help="how many (default: %(default)s)")
        if name == "run":
            command.add_argument("--key", help="the same key never starts a second execution")
        if name == "backfill":
            command.add_argument("--from", dest="first", required=True, metavar="TIME", help="the first moment")
            command.add_argument("--to", dest="last", required=True, metavar="TIME", help="the last moment")
            command.add_argument("--dry-run", action="store_true", help="only print what would be started")


def _add_crontab(parser: argparse.ArgumentParser, url: str) -> None:
    commands = parser.add_subparsers(dest="what", required=True)
    command = commands.add_parser("import", help="print workflows and triggers, or upload them")
    command.add_argument("file", metavar="FILE", help="a crontab, - for standard input")
    command.add_argument("--system", action="store_true", help="its sixth column names the user, as in /etc/crontab")
    command.add_argument("--host", help="the machine on which commands run, by std.ssh")
    command.add_argument("--user", help="who logs in there (with --system: instead of the users that the lines name)")
    command.add_argument("--key", metavar="FILE", help="the private key on the executor's side")
    command.add_argument("--time-zone", metavar="ZONE", help="what the clock of the old machine shows (default: UTC)")
    command.add_argument("--prefix", default="cron", help="what names begin with (default: %(default)s)")
    command.add_argument(
        "--url", nargs="?", const=url, help=f"upload to this service instead of printing (default: {url})"
    )


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= CRON_PREVIEW_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to {CRON_PREVIEW_MAX}")
    return int(text)
