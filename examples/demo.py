"""Start the service on this machine, run ``create_vm.yaml`` on it with OpenStack's own client, show what came of it.

``make demo`` calls this. It needs no AWS account and no network: the cloud is emulated inside the service's process.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).resolve().parent
BIN = Path(sys.executable).parent
WORKFLOW = "create_vm"
START_SEC = 30.0
END_SEC = 60.0
STOP_SEC = 15.0
ENDED = ("SUCCESS", "ERROR", "CANCELLED")


class DemoError(Exception):
    """The demonstration cannot go on; the text says why, and what to do."""


def main(argv: Sequence[str] | None = None) -> int:
    """Show everything; the exit status of the process."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="port of the service, 0 for any free one (default)")
    arguments = parser.parse_args(argv)
    try:
        with serving(arguments.port) as url:
            show(Client(url))
    except DemoError as error:
        print(f"\ndemo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print("\nThe service is stopped. Next: `make serve`, then `mistral workflow-list` in another terminal.")
    return 0


# -- the service


@contextmanager
def serving(port: int) -> Iterator[str]:
    """The service in a process of its own; its URL. Raises DemoError if it does not start, or does not stop cleanly."""
    command = [str(program("mistral-local")), "serve", "--port", str(port), "--quiet"]
    say(f"$ mistral-local serve{f' --port {port}' if port else ''}")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            line = first_line(process)
            print(f"  {line}")
            yield line.split()[2]
        except BaseException:
            process.kill()
            raise
        stop(process)


def stop(process: subprocess.Popen[str]) -> None:
    """Ask the service to end. Raises DemoError if it does not, or not cleanly."""
    process.send_signal(signal.SIGTERM)
    try:
        status = process.wait(STOP_SEC)
    except subprocess.TimeoutExpired:
        process.kill()
        raise DemoError(f"the service did not stop within {STOP_SEC:g} s and was killed") from None
    if status:
        raise DemoError(f"the service ended with status {status}; its messages stand above")


def first_line(process: subprocess.Popen[str]) -> str:
    """The line by which the service says that it is ready. Raises DemoError."""
    assert process.stdout is not None
    lines: queue.Queue[str] = queue.Queue()
    threading.Thread(target=lambda: lines.put(process.stdout.readline()), daemon=True).start()  # type: ignore[union-attr]
    try:
        line = lines.get(timeout=START_SEC).strip()
    except queue.Empty:
        raise DemoError(f"the service did not become ready within {START_SEC:g} s") from None
    if not line.startswith("ready at http"):
        raise DemoError("the service did not start; its messages stand above")
    return line


def program(name: str) -> Path:
    """A program of the environment that runs this one. Raises DemoError if it is missing."""
    path = BIN / name
    if not path.exists():
        raise DemoError(f"{path} is missing; run `make install` first")
    return path


# -- the client


class Client:
    """OpenStack's command line client for Mistral, as it comes from the package index."""

    def __init__(self, url: str) -> None:
        self._command = [str(program("mistral")), "--os-mistral-url", url]

    def call(self, *arguments: str) -> Any:
        """What one command answers, as data. Raises DemoError with the words of the client if it fails."""
        form = () if arguments[0] == "execution-get-output" else ("-f", "json")
        environment = {name: value for name, value in os.environ.items() if not name.startswith("OS_")}
        try:
            done = subprocess.run(
                [*self._command, *arguments, *form],
                capture_output=True, text=True, env=environment, timeout=END_SEC, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise DemoError(f"`mistral {' '.join(arguments)}` did not answer within {END_SEC:g} s") from None
        if done.returncode:
            raise DemoError(f"`mistral {' '.join(arguments)}` failed:\n{done.stderr.strip() or done.stdout.strip()}")
        try:
            return json.loads(done.stdout)
        except ValueError:
            raise DemoError(f"`mistral {' '.join(arguments)}` answered {done.stdout!r}, which is not JSON") from None


def show(client: Client) -> None:
    """The steps of a user: upload, start, watch, read. Raises DemoError."""
    definition = EXAMPLES / f"{WORKFLOW}.yaml"
    say(f"$ mistral workflow-create examples/{definition.name}")
    for workflow in client.call("workflow-create", str(definition)):
        print(f"  {workflow['Name']}({workflow['Input']})")

    say(f"$ mistral execution-create {WORKFLOW}")
    execution = client.call("execution-create", WORKFLOW, json.dumps({"vm_name": "demo"}))
    execution_id = execution["ID"]
    print(f"  {execution_id}  {execution['State']}")

    say(f"$ mistral execution-get {execution_id}")
    execution = until_ended(client, execution_id)
    print(f"  {execution['Workflow name']}  {execution['State']}  {execution['State info'] or ''}".rstrip())

    say(f"$ mistral task-list {execution_id}")
    tasks = client.call("task-list", execution_id)
    width = max((len(task["Name"]) for task in tasks), default=0)
    for task in tasks:
        print(f"  {task['Name']:{width}}  {task['State']:8}  {task['ID']}")

    say(f"$ mistral execution-get-output {execution_id}")
    output = client.call("execution-get-output", execution_id)
    print("  " + json.dumps(output, indent=2).replace("\n", "\n  "))
    if execution["State"] != "SUCCESS":
        raise DemoError(f"the execution ended in {execution['State']}: {execution['State info']}")
    if not str(output.get("vm_id", "")).startswith("i-"):
        raise DemoError("the execution ended in SUCCESS, but its output names no machine")


def until_ended(client: Client, execution_id: str) -> Any:
    """The execution when it has ended. Raises DemoError if it does not in time."""
    deadline = time.monotonic() + END_SEC
    while True:
        execution = client.call("execution-get", execution_id)
        if execution["State"] in ENDED:
            return execution
        if time.monotonic() > deadline:
            raise DemoError(f"the execution is still {execution['State']} after {END_SEC:g} s")
        time.sleep(0.2)


def say(line: str) -> None:
    """A step, set apart from what came before."""
    print(f"\n{line}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
