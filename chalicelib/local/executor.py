"""``mistral-local executor``: the executors as a process of their own, as many as one likes.

It takes messages from the task queues of a deployment, most often that of a ``mistral-local serve --no-executors
--aws-port``, and feeds them to the same doors. Such a process may be killed at any moment: what it had received comes
again to another, when its visibility timeout is over.
"""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
from types import FrameType
from typing import Final

from chalicelib.adapters.aws import Aws
from chalicelib.local.cloud import QUEUE_TIMEOUTS_SEC, names_with_prefix
from chalicelib.local.logs import logging_to
from chalicelib.local.pumps import Pump, SqsSource
from chalicelib.local.service import executors_of
from chalicelib.local.wakeup import Wakeup, watching_sqs
from chalicelib.local.worker import deployment, go_to
from chalicelib.wiring import Container

# A message that comes again finds that the claim of the invocation before is over.
VISIBILITY_RESERVE_SEC: Final = 1
_LOOK_SEC: Final = 1.0


def executor(arguments: argparse.Namespace) -> int:
    """Work until a signal; the exit status. Raises LocalError for a deployment that is not there."""
    go_to(arguments.endpoint_url)
    prefix = os.environ.get("MISTRAL_TABLE_PREFIX") or "mistral-"
    names = names_with_prefix(prefix).queues
    wakeups = {queue: Wakeup() for queue in names}
    with (
        logging_to(sys.stderr, "WARNING" if arguments.quiet else arguments.log_level.upper()),
        watching_sqs({name: wakeups[queue] for queue, name in names.items()}),
    ):
        pumps = _pumps(deployment(), wakeups, workers=arguments.workers, timeout_sec=arguments.timeout_sec)
        _stop_at_signals(pumps)
        for pump in pumps:
            pump.start()
        print("ready", flush=True)
        for pump in pumps:
            while not pump.join(_LOOK_SEC):
                pass
    return 0


def _pumps(made: Container, wakeups: dict[str, Wakeup], *, workers: int, timeout_sec: int | None) -> list[Pump]:
    doors = executors_of(importlib.import_module("app"))
    client = Aws(made.settings.region, endpoint_url=made.settings.endpoint_url).client("sqs")
    hidden_sec = None if timeout_sec is None else timeout_sec + VISIBILITY_RESERVE_SEC
    return [
        Pump(
            SqsSource(client, f"{made.settings.table_prefix}{queue}", visibility_sec=hidden_sec),
            doors[queue],
            wakeup=wakeup,
            workers=workers,
            timeout_sec=timeout_sec or QUEUE_TIMEOUTS_SEC[queue],
        )
        for queue, wakeup in wakeups.items()
    ]


def _stop_at_signals(pumps: list[Pump]) -> None:
    """The first signal lets running work end, the next one does not wait."""

    def first(_number: int, _frame: FrameType | None) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, _frame: os._exit(128 + number))
        for pump in pumps:
            pump.stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, first)
