"""``mistral-local``: ``serve`` the API, ``run`` a definition, its ``cost``, API ``keys``, the ``doctor``."""

from __future__ import annotations

import argparse
import importlib
import math
import sys
from collections.abc import Sequence
from typing import Final

from chalicelib import limits
from chalicelib.local.cost_commands import add_cost
from chalicelib.local.cron_commands import add_cron
from chalicelib.local.history import add_history
from chalicelib.local.logs import complain
from chalicelib.local.move import add_move
from chalicelib.local.problems import LocalError
from chalicelib.services.messages import target_fault

HOST: Final = "127.0.0.1"
PORT: Final = 8989
URL: Final = f"http://{HOST}:{PORT}/v2"
SCALE_MAX: Final = 100_000
WORKERS: Final = 8
WORKERS_MAX: Final = 256
# A worker's hands share the connections of one client.
HANDS_MAX: Final = 32


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line says; the exit status of the process."""
    arguments = _parser().parse_args(argv)
    try:
        # Each command brings libraries of its own; `--help` needs none of them.
        command = getattr(importlib.import_module(f"chalicelib.local.{arguments.command}"), arguments.command)
        status: int = command(arguments)
    except KeyboardInterrupt:
        return 130
    except LocalError as error:
        complain(str(error))
        return 1
    except ModuleNotFoundError as error:
        if error.name not in ("moto", "waitress"):
            raise
        complain(f"{error.name} is not installed: pip install 'mistral-serverless[local]'")
        return 1
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mistral-local", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    _add_serve(commands.add_parser("serve", help="serve the API on this machine, on an emulated cloud"))
    run = commands.add_parser("run", help="run a definition once and print its output")
    run.add_argument("file", metavar="FILE", help="a workflow or workbook in YAML, - for standard input")
    run.add_argument("--input", metavar="JSON", help="input of the workflow, or @FILE")
    run.add_argument("--env", metavar="JSON", help="environment, or @FILE")
    run.add_argument("--params", metavar="JSON", help="further parameters of the execution, or @FILE")
    run.add_argument("--workflow", metavar="NAME", help="which workflow, if the file has several")
    run.add_argument("--storage", choices=("memory", "moto"), default="memory", help="(default: %(default)s)")
    run.add_argument(
        "--emulate-aws", action="store_true", help="let moto answer aws.* actions although storage is memory"
    )
    run.add_argument(
        "--time-scale",
        type=_scale_or_jump,
        default=1,
        metavar="N|max",
        help="let waits pass N times as fast; max: take no time at all (default: %(default)s)",
    )
    run.add_argument("--json", action="store_true", help="print the execution with its tasks, not only the output")
    worker = commands.add_parser("worker", help="run the actions of a target, outside Lambda")
    worker.add_argument(
        "--target", action="append", required=True, type=_target, metavar="NAME", help="whose tasks; may be repeated"
    )
    worker.add_argument(
        "--workers", type=_hands, default=1, help="actions at a time, for each target (default: %(default)s)"
    )
    worker.add_argument(
        "--endpoint-url", metavar="URL", help="another endpoint than AWS's own (default: as MISTRAL_ENDPOINT_URL says)"
    )
    worker.add_argument("--log-level", default="info", choices=("debug", "info", "warning", "error"))
    worker.add_argument("--quiet", action="store_true", help="print warnings and errors only")
    _add_executor(commands.add_parser("executor", help="run executors beside `serve --no-executors`"))
    event = commands.add_parser("event", help="put events on the bus of a running local service")
    event.add_argument(
        "file", metavar="FILE", help="an event, a list of them, or one a line, in JSON; - for standard input"
    )
    event.add_argument("--url", default=URL, help="the service (default: %(default)s)")
    add_cron(commands, URL)
    add_cost(commands)
    _add_doctor(commands.add_parser("doctor", help="find what is wrong with the deployment that the environment names"))
    add_history(commands, URL)
    add_move(commands, URL)
    _add_keys(commands.add_parser("keys", help="API keys of the deployment that the environment names"))
    return parser


def _add_serve(serve: argparse.ArgumentParser) -> None:
    serve.add_argument("--host", default=HOST, help="address to listen on (default: %(default)s)")
    serve.add_argument("--port", type=_port, default=PORT, help="port, 0 for any free one (default: %(default)s)")
    serve.add_argument(
        "--storage",
        type=_storage,
        default="moto",
        help="moto, memory, or the URL of another emulator (default: %(default)s)",
    )
    serve.add_argument("--workers", type=_workers, default=WORKERS, help="actions at a time (default: %(default)s)")
    serve.add_argument(
        "--auth",
        metavar="SCHEMES",
        help="who is believed: none, or some of api-key,keystone,oidc (default: as MISTRAL_AUTH says, else none)",
    )
    serve.add_argument("--admin", action="store_true", help="without authentication, every caller is an admin")
    serve.add_argument(
        "--time-scale",
        type=_scale,
        default=1,
        metavar="N",
        help="let time pass N times as fast while nothing is being done (default: %(default)s)",
    )
    serve.add_argument(
        "--aws-port",
        type=_port,
        metavar="PORT",
        help="let other processes use the emulated AWS on this port; 0 for any free one (default: none)",
    )
    serve.add_argument(
        "--no-executors", action="store_true", help="leave the queues to `mistral-local executor` in other processes"
    )
    serve.add_argument("--log-level", default="info", choices=("debug", "info", "warning", "error"))
    serve.add_argument("--quiet", action="store_true", help="print warnings and errors only")


def _add_executor(executor: argparse.ArgumentParser) -> None:
    executor.add_argument(
        "--endpoint-url", metavar="URL", help="where the emulated AWS is (default: as MISTRAL_ENDPOINT_URL says)"
    )
    executor.add_argument("--workers", type=_hands, default=WORKERS, help="actions at a time (default: %(default)s)")
    executor.add_argument(
        "--timeout-sec",
        type=_timeout,
        metavar="SEC",
        help="how long one invocation may take (default: as long as the Lambda function of its queue)",
    )
    executor.add_argument("--log-level", default="info", choices=("debug", "info", "warning", "error"))
    executor.add_argument("--quiet", action="store_true", help="print warnings and errors only")


def _add_keys(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="what", required=True)
    create = commands.add_parser("create", help="make a key; its secret is printed now and never again")
    create.add_argument("project", help="the project that it opens")
    create.add_argument("--role", action="append", default=[], help="a role, such as admin; may be repeated")
    create.add_argument("--description", default="", help="what it is for")
    create.add_argument("--days", type=_days, help="how long it lasts (default: until it is revoked)")
    shown = commands.add_parser("list", help="print the keys: id, project, roles, made, ends, description")
    shown.add_argument("--project", help="only those of a project")
    revoke = commands.add_parser("revoke", help="remove a key")
    revoke.add_argument("key", help="its id")


def _add_doctor(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--endpoint-url", metavar="URL", help="another endpoint than AWS's own (default: as MISTRAL_ENDPOINT_URL says)"
    )
    parser.add_argument("--fix", action="store_true", help="repair what can be repaired without harm")
    parser.add_argument("--redrive", metavar="QUEUE", help="only send the dead letters of this queue again")
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")


def _days(text: str) -> int:
    return _number(text, least=1, most=limits.API_KEY_DAYS_MAX)


def _scale(text: str) -> float:
    try:
        scale = float(text)
    except ValueError:
        scale = 0.0
    if not 1 <= scale <= SCALE_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to {SCALE_MAX:g}")
    return scale


def _scale_or_jump(text: str) -> float:
    return math.inf if text == "max" else _scale(text)


def _port(text: str) -> int:
    return _number(text, least=0, most=65535)


def _hands(text: str) -> int:
    return _number(text, least=1, most=HANDS_MAX)


def _timeout(text: str) -> int:
    return _number(text, least=1, most=limits.EXECUTOR_LONG_TIMEOUT_SEC)


def _target(text: str) -> str:
    fault = target_fault(text)
    if fault:
        raise argparse.ArgumentTypeError(fault)
    return text


def _workers(text: str) -> int:
    return _number(text, least=1, most=WORKERS_MAX)


def _number(text: str, *, least: int, most: int) -> int:
    if not text.isdecimal() or not least <= int(text) <= most:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} to {most}")
    return int(text)


def _storage(text: str) -> str:
    if text in ("moto", "memory") or text.startswith(("http://", "https://")):
        return text
    raise argparse.ArgumentTypeError(f"{text!r} is not moto, memory or a URL such as http://127.0.0.1:4566")


if __name__ == "__main__":
    sys.exit(main())
