"""``mistral-local crontab import``: a crontab becomes workflows and cron-triggers, printed or uploaded."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Final

import yaml

from chalicelib.errors import InvalidModelException
from chalicelib.local.crontab_lines import Dialect, Translation, translate
from chalicelib.local.logs import complain
from chalicelib.local.remote import Refused, Remote
from chalicelib.services.time_zones import check_zone

SUCCEEDED: Final = 0
INCOMPLETE: Final = 1
REFUSED: Final = 2


def crontab(arguments: argparse.Namespace) -> int:
    """Import a crontab; the exit status: 0 when every line became a trigger, 1 when some did not, 2 for none at all."""
    try:
        text = _text_of(arguments.file)
        zone = None if arguments.time_zone is None else check_zone(arguments.time_zone)
        dialect = Dialect(
            has_users=arguments.system,
            host=arguments.host,
            username=arguments.user,
            private_key_filename=arguments.key,
            time_zone=zone,
            prefix=arguments.prefix,
        )
        made = translate(text, dialect, time.time())
        _tell(arguments.file, made)
        if arguments.url is not None and made.jobs:
            return _upload(arguments.file, made, Remote(arguments.url))
    except (OSError, ValueError, Refused, InvalidModelException) as error:
        complain(f"{arguments.file}: {getattr(error, 'strerror', None) or error}")
        return REFUSED
    if arguments.url is None:
        _print(made)
    return SUCCEEDED if made.is_complete else INCOMPLETE


def _text_of(path: str) -> str:
    return sys.stdin.read() if path == "-" else Path(path).read_text("utf-8")


def _tell(path: str, made: Translation) -> None:
    for remark in made.remarks:
        complain(f"{path}:{remark.line}: {'not translated: ' if remark.is_lost else ''}{remark.text}")


def _print(made: Translation) -> None:
    """A stream of two YAML documents: the workflows, and a list of triggers, which is JSON."""
    if made.jobs:
        print(yaml.safe_dump(made.definition(), sort_keys=False, allow_unicode=True), end="")
        print("---")
    print(json.dumps([job.trigger for job in made.jobs], indent=2, ensure_ascii=False))


def _upload(path: str, made: Translation, service: Remote) -> int:
    """Create a workflow and a trigger for each line; what is refused is told of, and the others go on."""
    is_complete = made.is_complete
    for job in made.jobs:
        single = Translation([job]).definition()
        try:
            service.call("POST", "/workflows", yaml.safe_dump(single, sort_keys=False, allow_unicode=True))
            trigger = service.call("POST", "/cron_triggers", job.trigger)
        except Refused as error:
            complain(f"{path}:{job.line}: refused: {error}")
            is_complete = False
            continue
        print(f"{path}:{job.line}: {job.name} runs next at {trigger['next_execution_time']} UTC")
    return SUCCEEDED if is_complete else INCOMPLETE
