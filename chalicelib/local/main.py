"""The command ``mistral-local``: ``serve`` the API, or ``run`` one definition."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from typing import Final

from chalicelib.local.logs import complain
from chalicelib.local.problems import LocalError

HOST: Final = "127.0.0.1"
PORT: Final = 8989
WORKERS: Final = 8
WORKERS_MAX: Final = 256


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
    serve = commands.add_parser("serve", help="serve the API on this machine, on an emulated cloud")
    serve.add_argument("--host", default=HOST, help="address to listen on (default: %(default)s)")
    serve.add_argument("--port", type=_port, default=PORT, help="port, 0 for any free one (default: %(default)s)")
    serve.add_argument(
        "--storage",
        type=_storage,
        default="moto",
        help="moto, memory, or the URL of another emulator (default: %(default)s)",
    )
    serve.add_argument("--workers", type=_workers, default=WORKERS, help="actions at a time (default: %(default)s)")
    serve.add_argument("--log-level", default="info", choices=("debug", "info", "warning", "error"))
    serve.add_argument("--quiet", action="store_true", help="print warnings and errors only")
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
    run.add_argument("--json", action="store_true", help="print the execution with its tasks, not only the output")
    return parser


def _port(text: str) -> int:
    return _number(text, least=0, most=65535)


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
