"""One process of the killing test: a command of ``mistral-local``, with actions that write down each of their runs.

Claims and reserves are seconds here where a deployment has minutes, so that deaths are noticed while one watches.
"""

import os
import sys
import time

from chalicelib.actions import std
from chalicelib.actions.registry import ActionContext, action
from chalicelib.engine.identity import address_of
from chalicelib.local import main as commands
from chalicelib.services import batches, carriers, executor
from chalicelib.vocabulary import Json, Result

RUNS_FILE = "KILLING_RUNS_FILE"


def _note(context: ActionContext, kind: str) -> None:
    """One line for each run, in one write: no process, however it dies, leaves half a line."""
    handle = os.open(os.environ[RUNS_FILE], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(handle, f"{context.action_execution_id} {kind}\n".encode())
    finally:
        os.close(handle)


@action("killing.work")
def work(context: ActionContext, kind: str, value: Json = None, seconds: float = 0.1, failures: int = 0) -> Json:
    """Note the run, take some time, and return the value; the first action executions of a task may fail."""
    _note(context, kind)
    time.sleep(seconds)
    address = address_of(context.action_execution_id or "")
    assert address is not None
    return Result(error="not yet") if address.number < failures else value


@action("killing.deadly")
def deadly(context: ActionContext, kind: str) -> Json:
    """Note the run, and take the whole process along."""
    _note(context, kind)
    os._exit(9)


def main() -> int:
    """Run the command that the arguments name."""
    for made in (work, deadly):
        setattr(std, made.name, made)
    for module, name, value_sec in (
        (carriers, "TURN_RESERVE_SEC", 0.5),
        (executor, "TURN_RESERVE_SEC", 0.5),
        (carriers, "_USUAL_ACTION_SEC", 1.0),
        # Otherwise what has come before would never find time enough beside others.
        (batches, "_FOR_SECOND_TRIES_SEC", 2.0),
    ):
        setattr(module, name, value_sec)
    return commands.main()


if __name__ == "__main__":
    sys.exit(main())
