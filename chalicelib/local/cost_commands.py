"""The command line of ``mistral-local cost``."""

from __future__ import annotations

import argparse
from typing import Any, Final

from chalicelib.local.answers import ACTION_MAX_MS, ACTION_MS

RUNS_PER_MONTH: Final = 1_000_000
RUNS_PER_MONTH_MAX: Final = 1_000_000_000_000


def add_cost(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser("cost", help="play a definition in memory and estimate what a run of it costs on AWS")
    parser.add_argument("file", metavar="FILE", help="a workflow or workbook in YAML, - for standard input")
    parser.add_argument("--input", metavar="JSON", help="input of the workflow, or @FILE")
    parser.add_argument("--env", metavar="JSON", help="environment, or @FILE")
    parser.add_argument("--params", metavar="JSON", help="further parameters of the execution, or @FILE")
    parser.add_argument("--workflow", metavar="NAME", help="which workflow, if the file has several")
    parser.add_argument(
        "--answers", metavar="FILE", help="YAML: what actions answer that are not pure, by task or action"
    )
    parser.add_argument("--real", action="store_true", help="run all actions in earnest, and count what that costs")
    parser.add_argument(
        "--action-ms",
        type=_action_ms,
        default=ACTION_MS,
        metavar="N",
        help="how long an action takes of which nothing else is known (default: %(default)g)",
    )
    parser.add_argument(
        "--runs-per-month", type=_runs, default=RUNS_PER_MONTH, metavar="N", help="(default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print it as JSON")


def _action_ms(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 <= found <= ACTION_MAX_MS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of milliseconds from 0 to {ACTION_MAX_MS}")
    return found


def _runs(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or not 1 <= int(text) <= RUNS_PER_MONTH_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to {RUNS_PER_MONTH_MAX}")
    return int(text)
