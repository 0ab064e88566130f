"""One service, several executors in processes of their own, and somebody who kills these at random.

A seed decides what is started and killed, and when. What happens in between is up to the machine: the judgement holds
for whatever happens.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

import botocore.session

from chalicelib.adapters.aws import Aws
from chalicelib.adapters.tables import DynamoTable
from chalicelib.engine.identity import address_of
from tests.killing.process import RUNS_FILE
from tests.killing.workflows import DEADLY, KINDS, MAY_FAIL, TEXT

DIED = "died before it reported a result"
TIMEOUT_SEC = 5
READY_SEC = 60.0
# An action that may run again is given up when so many executors have died with it.
CLAIMS_BEFORE_GIVEN_UP = 3


class Refused(Exception):
    """The API does not do what was asked for."""


@dataclass(frozen=True)
class Plan:
    """``lasts_sec``: for so long workflows are started and executors killed; ``patience_sec``: to wait afterwards."""

    workflows: int
    lasts_sec: float
    seed: int
    executors: int = 3
    kill_every_sec: float = 2.0
    commanded: float = 0.15
    deadly: tuple[str, ...] = ()
    patience_sec: float = 120.0


@dataclass
class Report:
    """What came of it; ``problems`` is empty when all is well."""

    kills: int = 0
    took_sec: float = 0.0
    states: Counter[str] = field(default_factory=Counter)
    runs: Counter[str] = field(default_factory=Counter)
    died: int = 0
    run_again: int = 0
    given_up: int = 0
    dead_letters: int = 0
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """One line for people."""
        return (
            f"{self.states.total()} executions {dict(self.states)}, {self.kills} kills, {self.runs.total()} runs of "
            f"{len(self.runs)} actions ({self.run_again} ran again), {self.died} ended in "
            f"ERROR by a death ({self.given_up} actions given up), "
            f"{self.dead_letters} dead letters, {self.took_sec:.0f} s, {len(self.problems)} problems"
        )


@dataclass
class Started:
    """An execution, what it is to come to, and whether an operator has cancelled it."""

    kind: str
    id: str = ""
    is_cancelled: bool = False


class Killing:
    """One run."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan = plan
        self.random = Random(plan.seed)
        self.report = Report()
        self.started: list[Started] = []
        self.runs_file = folder / "runs"
        self.runs_file.touch()
        self._folder = folder
        self._url = self._aws = ""
        self._executors: list[subprocess.Popen[str]] = []

    def run(self) -> Report:
        """Begin, kill, wait, judge."""
        began = time.monotonic()
        with ExitStack() as stack:
            stack.enter_context(patch.dict(os.environ, AWS_ACCESS_KEY_ID="any", AWS_SECRET_ACCESS_KEY="any"))
            service = stack.enter_context(
                self._process("serve", "--port", "0", "--aws-port", "0", "--no-executors", "--quiet")
            )
            self._url, self._aws = _line(service, "ready at "), _line(service, "aws at ")
            stack.callback(self._end_executors)
            self._executors = [self._new_executor() for _ in range(self.plan.executors)]
            for each in self._executors:
                _line(each, "ready")
            self.ask("/workflows", TEXT)
            self._disturb()
            self._await("all executions end", self._all_ended)
            self._await("all messages are done with", self._nothing_under_way)
            self._judge()
        self.report.took_sec = time.monotonic() - began
        return self.report

    # -- processes

    @contextmanager
    def _process(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        started = self._begin(*arguments)
        try:
            yield started
        finally:
            _end(started)

    def _begin(self, *arguments: str) -> subprocess.Popen[str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MISTRAL_"))}
        environment = {"MISTRAL_ALARM_INTERVAL_SEC": "20", "AWS_REGION": "us-east-1", RUNS_FILE: str(self.runs_file)}
        command = [sys.executable, "-m", "tests.killing.process", *arguments]
        with (self._folder / "log").open("a") as log:
            return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=inherited | environment)

    def _new_executor(self) -> subprocess.Popen[str]:
        return self._begin(
            "executor", "--endpoint-url", self._aws, "--timeout-sec", str(TIMEOUT_SEC), "--workers", "4", "--quiet"
        )

    def _end_executors(self) -> None:
        for each in self._executors:
            _end(each)

    def _kill(self) -> None:
        number = self.random.randrange(len(self._executors))
        self._executors[number].send_signal(signal.SIGKILL)
        _end(self._executors[number])
        self._executors[number] = self._new_executor()
        self.report.kills += 1

    def _raise_the_dead(self) -> None:
        """Deadly actions take their executors along: as with Lambda, there are others at once."""
        for number, each in enumerate(self._executors):
            if each.poll() is not None:
                _end(each)
                self._executors[number] = self._new_executor()

    # -- what is done, and when

    def _disturb(self) -> None:
        events = self._events()
        began = time.monotonic()
        pace = threading.Event()
        for at, act in events:
            pace.wait(max(0.0, began + at - time.monotonic()))
            self._raise_the_dead()
            act()

    def _events(self) -> list[tuple[float, Callable[[], None]]]:
        plan, random = self.plan, self.random
        events: list[tuple[float, Callable[[], None]]] = []
        kinds = [*(random.choice(sorted(KINDS)) for _ in range(plan.workflows)), *plan.deadly]
        for kind in kinds:
            started = Started(kind)
            self.started.append(started)
            at = random.random() * plan.lasts_sec * 0.9
            events.append((at, lambda one=started: self._start(one)))  # type: ignore[misc]
            if kind in KINDS and random.random() < plan.commanded:
                events += self._commands(started, at + random.random())
        at = 0.5
        while at < plan.lasts_sec:
            events.append((at, self._kill))
            at += random.expovariate(1 / plan.kill_every_sec)
        return sorted(events, key=lambda event: event[0])

    def _commands(self, started: Started, at: float) -> list[tuple[float, Callable[[], None]]]:
        def cancel() -> None:
            started.is_cancelled = True
            self._command(started, "CANCELLED")

        if self.random.random() < 0.3:
            return [(at, cancel)]
        resumed = at + 0.5 + self.random.random()
        return [(at, lambda: self._command(started, "PAUSED")), (resumed, lambda: self._command(started, "RUNNING"))]

    def _start(self, started: Started) -> None:
        started.id = self.ask("/executions", {"workflow_name": started.kind})["id"]

    def _command(self, started: Started, state: str) -> None:
        # What has ended meanwhile cannot be commanded any more.
        with suppress(Refused):
            self.ask(f"/executions/{started.id}", {"state": state}, method="PUT")

    # -- looking

    def ask(self, path: str, body: Any = None, method: str | None = None) -> Any:
        """Talk to the API."""
        data = None if body is None else body.encode() if isinstance(body, str) else json.dumps(body).encode()
        kind = "text/plain" if isinstance(body, str) else "application/json"
        request = urllib.request.Request(self._url + path, data, {"Content-Type": kind}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                if error.code == HTTPStatus.BAD_REQUEST:
                    raise Refused(error.read().decode()) from None
                raise

    def _await(self, what: str, holds: Callable[[], bool]) -> None:
        until = time.monotonic() + self.plan.patience_sec
        pace = threading.Event()
        while not holds():
            if time.monotonic() > until:
                self.report.problems.append(f"Not within {self.plan.patience_sec:g} s: {what}.")
                return
            self._raise_the_dead()
            # An execution that was paused after its resumption went through would wait for ever for its operator.
            pace.wait(0.3)

    def _all_ended(self) -> bool:
        for paused in self._list("PAUSED"):
            if paused["task_execution_id"] is None:
                self._command(Started("", paused["id"]), "RUNNING")
        return not (self._list("PAUSED") or self._list("RUNNING") or self._list("IDLE"))

    def _list(self, state: str) -> list[dict[str, Any]]:
        found = self.ask(f"/executions?state={state}&limit=1000&include_output=false")["executions"]
        assert isinstance(found, list)
        return found

    def _nothing_under_way(self) -> bool:
        return sum(self._sizes("mistral-tasks", "mistral-tasks-long")) == 0

    def _sizes(self, *queues: str) -> list[int]:
        session = botocore.session.Session()
        session.set_credentials("any", "any")
        client = session.create_client("sqs", "us-east-1", endpoint_url=self._aws)
        names = [f"ApproximateNumberOfMessages{part}" for part in ("", "NotVisible", "Delayed")]
        sizes = []
        for queue in queues:
            url = client.get_queue_url(QueueName=queue)["QueueUrl"]
            found = client.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
            sizes.append(sum(int(found[name]) for name in names))
        client.close()
        return sizes

    # -- judging

    def _judge(self) -> None:
        kinds: dict[str, str] = {}
        for line in self.runs_file.read_text().splitlines():
            identifier, kind = line.split()
            self.report.runs[identifier] += 1
            kinds[identifier] = kind
        self.report.run_again = sum(count > 1 for count in self.report.runs.values())
        self.report.problems += [
            f"The action {identifier} must run once, and ran {count} times."
            for identifier, count in self.report.runs.items()
            if count > 1 and kinds[identifier] == "once"
        ]
        self.report.dead_letters = sum(self._sizes("mistral-tasks-dead", "mistral-tasks-long-dead"))
        for started in self.started:
            self._judge_one(started)

    def _judge_one(self, started: Started) -> None:
        found = self.ask(f"/executions/{started.id}")
        state = found["state"]
        self.report.states[state] += 1
        complain = self.report.problems.append
        where = f"{started.kind} {started.id}"
        if state == "SUCCESS":
            if started.kind in DEADLY:
                complain(f"{where} cannot have succeeded.")
            elif json.loads(found["output"]) != KINDS[started.kind].output:
                complain(f"{where} put out {found['output']}.")
            elif (count := len(self._actions(started.id))) != KINDS[started.kind].actions:
                complain(f"{where} has {count} action executions instead of {KINDS[started.kind].actions}.")
            else:
                self._judge_runs(started, where)
        elif state == "ERROR":
            self.report.died += 1
            if DIED not in f"{found['state_info']} {self._tree_words(started.id)}":
                complain(f"{where} failed for another reason: {found['state_info']}")
            elif started.kind not in MAY_FAIL and not self._was_given_up(started):
                complain(f"{where} may run again, and failed: {found['state_info']}")
        elif state != "CANCELLED" or not started.is_cancelled:
            complain(f"{where} is {state}: {found['state_info']}")

    def _judge_runs(self, started: Started, where: str) -> None:
        self.report.problems += [
            f"{where} succeeded without its action {action['id']} having run."
            for action in self._actions(started.id)
            if not self.report.runs[action["id"]]
        ]

    def _was_given_up(self, started: Started) -> bool:
        """Whether an action that may run again has failed, and all that have had their executors."""
        failed = [action for action in self._actions(started.id) if action["state"] == "ERROR"]
        # Those of ``retries`` that fail as they are told to have run.
        given_up = [action["id"] for action in failed if DIED in str(self.ask(f"/action_executions/{action['id']}"))]
        self.report.given_up += len(given_up)
        return bool(given_up) and all(self._claims(one) >= CLAIMS_BEFORE_GIVEN_UP for one in given_up)

    def _claims(self, action_execution_id: str) -> int:
        """How often an action was claimed: the revision of its claim, or of its own record, which had one before."""
        address = address_of(action_execution_id)
        assert address is not None
        number = f"{address.ordinal:05x}#{address.number:05x}"
        table = DynamoTable(Aws("us-east-1", endpoint_url=self._aws), "mistral-executions")
        found = table.get(address.execution_id, [f"claim#{number}", f"action#{number}"])
        return max((item.revision - item.key.startswith("action#") for item in found.values()), default=0)

    def _executions(self, identifier: str) -> list[str]:
        children = self.ask(f"/executions?root_execution_id={identifier}&limit=1000")["executions"]
        return [identifier, *(child["id"] for child in children)]

    def _tasks(self, identifier: str) -> list[dict[str, Any]]:
        return [task for one in self._executions(identifier) for task in self.ask(f"/executions/{one}/tasks")["tasks"]]

    def _tree_words(self, identifier: str) -> list[str]:
        return [str(task["state_info"]) for task in self._tasks(identifier)]

    def _actions(self, identifier: str) -> list[dict[str, Any]]:
        """The action executions of ours in a tree."""
        return [
            action
            for task in self._tasks(identifier)
            if task["type"] == "ACTION"
            for action in self.ask(f"/tasks/{task['id']}/action_executions")["action_executions"]
            if action["name"].startswith("killing.")
        ]


def _line(started: subprocess.Popen[str], beginning: str) -> str:
    watchdog = threading.Timer(READY_SEC, started.kill)
    watchdog.start()
    try:
        assert started.stdout is not None
        text = started.stdout.readline()
    finally:
        watchdog.cancel()
    assert text.startswith(beginning), f"a process said {text!r} instead of {beginning!r}"
    return (text.removeprefix(beginning).split() or [""])[0]


def _end(started: subprocess.Popen[str]) -> None:
    started.kill()
    started.communicate()


def run(plan: Plan) -> Report:
    """Run a plan."""
    with tempfile.TemporaryDirectory(prefix="killing-") as folder:
        killing = Killing(plan, Path(folder))
        try:
            report = killing.run()
        except BaseException:
            print((Path(folder) / "log").read_text()[-4000:], file=sys.stderr)
            raise
        if report.problems:
            report.problems.append("The log ends with: " + (Path(folder) / "log").read_text()[-3000:])
        return report
