"""``mistral-local worker``: the executor outside Lambda, for the tasks of a ``target``.

It takes messages from the target's queue, runs their actions with the same code as the Lambda executors, and reports
their results. It has no port: everything goes out to the queue, the tables and the bucket of the deployment that the
environment names. What an action releases goes to the common executors.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from types import FrameType
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.adapters.aws import Aws
from chalicelib.limits import WORKER_ACTION_MAX_SEC, WORKER_HEARTBEAT_SEC, WORKER_LEASE_SEC
from chalicelib.local.logs import logging_to
from chalicelib.local.problems import LocalError
from chalicelib.services.carriers import Lease
from chalicelib.services.executor import Executor
from chalicelib.services.ports import Clock
from chalicelib.wiring import Container, container

_LOG: Final = logging.getLogger("mistral.local.worker")
# Below the time after which a client takes a silent service for dead.
POLL_SEC: Final = 5
FAILURE_PAUSE_SEC: Final = 5.0


class Worker:
    """Works on one queue with a number of hands; each takes one message at a time."""

    def __init__(
        self,
        executor: Executor,
        client: Any,
        url: str,
        *,
        clock: Clock,
        hands: int,
        lease_sec: float = WORKER_LEASE_SEC,
        heartbeat_sec: float = WORKER_HEARTBEAT_SEC,
        poll_sec: int = POLL_SEC,
    ) -> None:
        self._executor, self._client, self._url, self._clock = executor, client, url, clock
        self._lease_sec, self._heartbeat_sec, self._poll_sec = lease_sec, heartbeat_sec, poll_sec
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._work, name=f"hand-{n}", daemon=True) for n in range(hands)]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Take no more; what runs goes on. Returns at once."""
        self._stopping.set()

    def join(self, timeout_sec: float | None = None) -> bool:
        """Wait for what runs, each hand for so long at most; whether all of it has ended."""
        for thread in self._threads:
            thread.join(timeout_sec)
        return not any(thread.is_alive() for thread in self._threads)

    def _work(self) -> None:
        while not self._stopping.is_set():
            try:
                for message in self._received():
                    self._handle(message)
            except (BotoCoreError, ClientError) as error:
                _LOG.warning("The queue cannot be reached (%s); trying again", type(error).__name__)
                self._stopping.wait(FAILURE_PAUSE_SEC)

    def _received(self) -> list[dict[str, Any]]:
        answer = self._client.receive_message(
            QueueUrl=self._url,
            MaxNumberOfMessages=1,
            WaitTimeSeconds=self._poll_sec,
            VisibilityTimeout=max(1, round(self._lease_sec)),
            MessageSystemAttributeNames=["ApproximateReceiveCount"],
        )
        messages: list[dict[str, Any]] = answer.get("Messages", [])
        if messages and self._stopping.is_set():
            # It was asked for before the end was: somebody else shall have it at once.
            self._extend(messages[0], 0)
            return []
        return messages

    def _handle(self, message: dict[str, Any]) -> None:
        record = {"messageId": message["MessageId"], "body": message["Body"], "attributes": message["Attributes"]}
        lease = Lease(self._lease_sec, self._heartbeat_sec, lambda: self._extend(message, round(self._lease_sec)))
        if self._executor.is_done(record, self._clock.now() + WORKER_ACTION_MAX_SEC, lease):
            self._client.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])

    def _extend(self, message: dict[str, Any], hidden_sec: int) -> None:
        self._client.change_message_visibility(
            QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=hidden_sec
        )


def worker(arguments: argparse.Namespace) -> int:
    """Work until a signal; the exit status of the process. Raises LocalError for a deployment that is not there."""
    _prepare_environment(arguments)
    with logging_to(sys.stderr, "WARNING" if arguments.quiet else arguments.log_level.upper()):
        made = deployment()
        aws = Aws(made.settings.region, endpoint_url=made.settings.endpoint_url)
        workers = []
        for target in arguments.target:
            url = aws.client("sqs").get_queue_url(QueueName=f"{made.settings.table_prefix}{target}")["QueueUrl"]
            workers.append(Worker(made.executor, aws.client("sqs"), url, clock=made.clock, hands=arguments.workers))
        _stop_at_signals(workers)
        for each in workers:
            each.start()
        print(f"ready for target {', '.join(arguments.target)}", flush=True)
        while not all(each.join(1.0) for each in workers):
            pass
    return 0


def deployment() -> Container:
    """The services on the deployment that the environment names. Raises LocalError if it cannot be reached."""
    try:
        return container()
    except (BotoCoreError, ClientError) as error:
        raise LocalError(
            f"the deployment cannot be reached: {error}; are MISTRAL_TABLE_PREFIX, MISTRAL_TARGETS, the region and "
            f"the credentials those of the service?"
        ) from error


def _prepare_environment(arguments: argparse.Namespace) -> None:
    # The services read the environment when they are made.
    environment = os.environ
    targets = [name for name in environment.get("MISTRAL_TARGETS", "").split(",") if name]
    environment["MISTRAL_TARGETS"] = ",".join(dict.fromkeys([*targets, *arguments.target]))
    go_to(arguments.endpoint_url)


def go_to(endpoint_url: str | None) -> None:
    """Have the services of this process use AWS, or what answers in its place at an address."""
    environment = os.environ
    environment["MISTRAL_STORAGE"] = "aws"
    if endpoint_url:
        environment["MISTRAL_ENDPOINT_URL"] = endpoint_url
    if environment.get("MISTRAL_ENDPOINT_URL"):  # an emulator takes any credentials, but botocore wants some
        environment.setdefault("AWS_ACCESS_KEY_ID", "emulated")
        environment.setdefault("AWS_SECRET_ACCESS_KEY", "emulated")


def _stop_at_signals(workers: list[Worker]) -> None:
    """The first signal lets running actions end, the next one does not wait: their claims then run out."""

    def first(_number: int, _frame: FrameType | None) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, _frame: os._exit(128 + number))
        for each in workers:
            each.stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, first)
