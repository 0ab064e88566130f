"""``mistral-local cost``: what one run of a definition costs on AWS, estimated by a rehearsal."""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, Final

from chalicelib.errors import DefinitionError, MistralError
from chalicelib.local import estimate, prices
from chalicelib.local.answers import Answers, Script, answers_from
from chalicelib.local.logs import complain
from chalicelib.local.problems import LocalError
from chalicelib.local.rehearsal import Played, Rehearsal, scripted
from chalicelib.local.run import FAILED, REFUSED, SUCCEEDED, UsageError, Wish, fault_lines, text_of, vars_of, wish_of
from chalicelib.vocabulary import State

_WIDTH: Final = 34


@contextmanager
def _silence() -> Iterator[None]:
    """What the services say while they play is no news for whoever asks for a price."""
    loggers = [logging.getLogger(name) for name in ("mistral", "chalicelib")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def cost(arguments: argparse.Namespace) -> int:
    """Print the estimate; the exit status of the process."""
    with _silence():
        return _asked(arguments)


def _asked(arguments: argparse.Namespace) -> int:
    try:
        if arguments.file == arguments.answers == "-":
            raise UsageError("FILE and --answers cannot both be standard input: put one of them into a file")
        wish = wish_of(arguments)
        answers = answers_from(arguments.answers, text_of(arguments.answers)) if arguments.answers else {}
        if arguments.real and answers:
            raise UsageError("--real runs the actions, --answers says what they answer: choose one of the two")
        return _estimate(wish, arguments, answers)
    except UsageError as error:
        for line in error.args:
            complain(line)
        return REFUSED
    except LocalError as error:
        complain(str(error))
        return REFUSED


def _estimate(wish: Wish, arguments: argparse.Namespace, answers: Answers) -> int:
    rehearsal = Rehearsal() if arguments.real else scripted(lambda names: Script(answers, arguments.action_ms, names))
    try:
        names = rehearsal.upload(wish.text)
    except DefinitionError as error:
        raise UsageError(*fault_lines(wish.path, str(error), [vars_of(fault) for fault in error.faults])) from error
    except MistralError as error:
        raise UsageError(f"{wish.path}: {error.message}") from error
    workflow = _chosen(wish, names)
    began = time.monotonic()
    try:
        played = rehearsal.play(workflow, wish.input, wish.params)
    except MistralError as error:
        raise UsageError(f"{workflow} cannot start: {error.message}") from error
    script = rehearsal.script
    # How long real actions took cannot be told from how long the rehearsal did: it is at most that.
    action_ms = script.action_ms if script is not None else 1000 * (time.monotonic() - began)
    lines = estimate.bill(played, action_ms)
    others = estimate.elsewhere(played, action_ms)
    idle = estimate.idle_month(rehearsal.idle_tick)
    if arguments.json:
        print(json.dumps(_as_json(played, lines, others, idle, arguments.runs_per_month), indent=2))
    else:
        print(as_text(played, lines, others, idle, runs=arguments.runs_per_month, workflow=workflow))
    _remarks(played, script)
    return SUCCEEDED if played.execution.state is State.SUCCESS else FAILED


def _chosen(wish: Wish, names: list[str]) -> str:
    if wish.workflow:
        chosen = [name for name in names if name in (wish.workflow, f"{name.rpartition('.')[0]}.{wish.workflow}")]
    else:
        chosen = names
    if len(chosen) == 1:
        return chosen[0]
    problem = f"there is no workflow {wish.workflow!r}" if wish.workflow else "there is not one workflow"
    raise UsageError(f"{wish.path}: {problem}; choose one with --workflow: {', '.join(names)}")


def as_text(
    played: Played,
    lines: tuple[estimate.Line, ...],
    others: tuple[estimate.Elsewhere, ...],
    idle: tuple[estimate.Line, ...],
    *,
    runs: int,
    workflow: str,
) -> str:
    """The whole estimate for people."""
    total = estimate.total(lines)
    rows = [
        f"{workflow}: {played.execution.state}; executions: {played.executions:,}, tasks: {played.tasks:,}, "
        f"seconds of waiting: {played.waited_sec:,.0f}",
        f"list prices of {prices.AS_OF}, {prices.REGION}",
        "",
        f"{'one run':<{_WIDTH}}{'amount':>14} {'':<12}{'$ a run':>14}{f'$ for {runs:,} runs':>24}",
    ]
    for line in (each for each in lines if each.amount):
        amount = f"{line.amount:,.1f}".removesuffix(".0")
        rows.append(
            f"{line.what:<{_WIDTH}}{amount:>14} {line.unit:<12}{line.dollars:>14.8f}{line.dollars * runs:>24,.2f}"
        )
    rows += [f"{'all':<{_WIDTH + 27}}{total:>14.8f}{total * runs:>24,.2f}", ""]
    own = estimate.total(lines, actions=False)
    rows.append(f"{'without the time of the actions':<{_WIDTH + 27}}{'$ a run':>14}{f'$ for {runs:,} runs':>24}")
    rows.append(f"{'here':<{_WIDTH + 27}}{own:>14.8f}{own * runs:>24,.2f}")
    for other in others:
        if other.dollars is None:
            rows.append(f"{other.service:<{_WIDTH}}{other.remark}")
        else:
            rows.append(f"{other.service:<{_WIDTH + 27}}{other.dollars:>14.8f}{other.dollars * runs:>24,.2f}")
            rows.append(f"  {other.remark}")
    rows += ["", f"{'a month in which nothing runs':<{_WIDTH + 27}}{'':>14}{estimate.total(idle):>24,.2f}"]
    return "\n".join(rows)


def _as_json(
    played: Played,
    lines: tuple[estimate.Line, ...],
    others: tuple[estimate.Elsewhere, ...],
    idle: tuple[estimate.Line, ...],
    runs: int,
) -> dict[str, Any]:
    total = estimate.total(lines)
    return {
        "prices": {"as_of": prices.AS_OF, "region": prices.REGION},
        "state": str(played.execution.state),
        "tasks": played.tasks,
        "executions": played.executions,
        "waited_sec": played.waited_sec,
        "requests": dict(sorted(played.counts.requests.items())),
        "lines": [asdict(line) for line in lines],
        "dollars_per_run": total,
        "dollars_per_run_without_actions": estimate.total(lines, actions=False),
        "runs_per_month": runs,
        "dollars_per_month": total * runs,
        "elsewhere": [asdict(other) for other in others],
        "idle_month": [asdict(line) for line in idle],
    }


def _remarks(played: Played, script: Script | None) -> None:
    """What the reader of the figures should know, on stderr."""
    if script is not None and script.without_answer:
        names = ", ".join(sorted(script.without_answer))
        print(f"not run, and answered by a placeholder: {names}; --answers FILE says what they answer", file=sys.stderr)
    if played.execution.state is not State.SUCCESS:
        info = f": {played.execution.state_info}" if played.execution.state_info else ""
        complain(f"the run ended in {played.execution.state}{info}; this is what such a run costs")
