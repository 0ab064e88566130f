"""``mistral-local run``: one definition, one execution, its output on stdout and everything else on stderr."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from chalicelib.errors import DefinitionError
from chalicelib.lang import loader
from chalicelib.local.caller import ApiError, Caller
from chalicelib.local.logs import Painter, complain
from chalicelib.local.progress import Reporter, cancel, follow, tasks_of, value_of
from chalicelib.local.service import Options, Service, running
from chalicelib.vocabulary import Json, JsonObject, State

SUCCEEDED: Final = 0
FAILED: Final = 1
REFUSED: Final = 2

_POSITION: Final = re.compile(r"\s*\[line (\d+), column (\d+)\]")


class UsageError(Exception):
    """The command cannot do what was asked; each argument is a line for the user."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What to run, read from the command line."""

    path: str
    text: str
    workflow: str | None
    input: JsonObject
    params: JsonObject


def run(arguments: argparse.Namespace) -> int:
    """Run the definition; the exit status of the process."""
    try:
        wish = wish_of(arguments)
        options = Options(arguments.storage, emulate_aws=arguments.emulate_aws, time_scale=arguments.time_scale)
        with running(options) as service:
            clock = None if options.time_scale == 1 else _clock_of(service)
            return _run(wish, service, whole=arguments.json, clock=clock)
    except UsageError as error:
        for line in error.args:
            complain(line)
        return REFUSED


def _clock_of(service: Service) -> Callable[[], str]:
    """What the clock shows where time does not pass as usual: the day as well."""
    return lambda: datetime.fromtimestamp(service.now(), UTC).strftime("%Y-%m-%d %H:%M:%S")


def _run(wish: Wish, service: Service, *, whole: bool, clock: Callable[[], str] | None = None) -> int:
    caller = Caller(service.app, service.routes)
    execution_id = _started(caller, _uploaded(caller, wish), wish)
    reporter = Reporter(sys.stderr, Painter(colours=sys.stderr.isatty()))
    if clock is not None:
        reporter.clock = clock
    try:
        execution = follow(caller, execution_id, changes=service.changes, reporter=reporter)
    except KeyboardInterrupt:
        cancel(caller, execution_id)
        execution = follow(caller, execution_id, changes=service.changes, reporter=reporter)
    if execution["state"] == State.PAUSED:
        complain("the execution is PAUSED, and nobody can resume it here; run it under `mistral-local serve` instead")
        cancel(caller, execution_id)
    output = value_of(execution.get("output"))
    shown: Json = output
    if whole:
        shown = {name: execution.get(name) for name in ("id", "workflow_name", "state", "state_info")}
        shown |= {"output": output, "tasks": [_task(task) for task in tasks_of(caller, execution_id)]}
    print(json.dumps(shown, indent=2, ensure_ascii=False))
    return SUCCEEDED if execution["state"] == State.SUCCESS else FAILED


def _task(task: JsonObject) -> JsonObject:
    kept = {name: task.get(name) for name in ("name", "state", "state_info")}
    return {**kept, "published": value_of(task.get("published"))}


def _uploaded(caller: Caller, wish: Wish) -> str:
    """Upload the definition; the name of the workflow to start."""
    if _is_workbook(wish):
        book = _upload(caller, "/v2/workbooks", wish)
        names = _workflows_of_book(wish, str(book["name"]))
    else:
        names = [str(workflow["name"]) for workflow in _upload(caller, "/v2/workflows", wish)["workflows"]]
    if wish.workflow:
        chosen = [name for name in names if name in (wish.workflow, f"{names[0].rpartition('.')[0]}.{wish.workflow}")]
    else:
        chosen = names
    if len(chosen) == 1:
        return chosen[0]
    problem = f"there is no workflow {wish.workflow!r}" if wish.workflow else "there are several workflows"
    raise UsageError(f"{wish.path}: {problem}; choose one with --workflow: {', '.join(names)}")


def _is_workbook(wish: Wish) -> bool:
    data = _document(wish)
    return isinstance(data.get("name"), str) and ("workflows" in data or "actions" in data)


def _workflows_of_book(wish: Wish, book: str) -> list[str]:
    workflows = _document(wish).get("workflows") or {}
    return [f"{book}.{name}" for name in workflows if name != "version"]


def _document(wish: Wish) -> JsonObject:
    try:
        return loader.load(wish.text).data
    except DefinitionError as error:
        raise UsageError(*fault_lines(wish.path, str(error), [vars_of(fault) for fault in error.faults])) from error


def vars_of(fault: Any) -> JsonObject:
    """The members of a fault as the API gives them."""
    return {name: getattr(fault, name) for name in ("message", "path", "line", "column")}


def _upload(caller: Caller, path: str, wish: Wish) -> JsonObject:
    try:
        answer: JsonObject = caller.call("POST", path, wish.text)
    except ApiError as error:
        faults = error.body.get("faults") if isinstance(error.body, dict) else None
        raise UsageError(*fault_lines(wish.path, error.text, faults or [])) from error
    return answer


def fault_lines(path: str, text: str, faults: list[JsonObject]) -> list[str]:
    """Each fault as ``FILE:line:column: what is wrong``, as compilers do."""
    if faults:
        return [_fault_line(path, fault) for fault in faults]
    parts, rest = [], text
    while found := _POSITION.search(rest):
        message = rest[: found.start()].strip("; \n")
        parts.append(f"{path}:{found.group(1)}:{found.group(2)}: {message}")
        rest = rest[found.end() :]
    if rest.strip("; \n"):
        parts.append(f"{path}: {rest.strip('; ')}")
    return parts


def _fault_line(path: str, fault: JsonObject) -> str:
    position = f":{fault['line']}:{fault['column']}" if fault.get("line") is not None else ""
    where = f" ({fault['path']})" if fault.get("path") else ""
    return f"{path}{position}: {fault['message']}{where}"


def _started(caller: Caller, workflow: str, wish: Wish) -> str:
    request = {"workflow_name": workflow, "input": wish.input, "params": wish.params}
    try:
        return str(caller.call("POST", "/v2/executions", request)["id"])
    except ApiError as error:
        raise UsageError(f"{workflow} cannot start: {error.text}") from error


def wish_of(arguments: argparse.Namespace) -> Wish:
    """What the command line asks for. Raises UsageError."""
    params = _json_argument("--params", arguments.params)
    if arguments.env is not None:
        params["env"] = _json_argument("--env", arguments.env)
    return Wish(
        path=arguments.file,
        text=text_of(arguments.file),
        workflow=arguments.workflow,
        input=_json_argument("--input", arguments.input),
        params=params,
    )


def _json_argument(option: str, text: str | None) -> JsonObject:
    if text is None:
        return {}
    if text.startswith("@"):
        text = text_of(text[1:])
    try:
        value = json.loads(text)
    except ValueError as error:
        raise UsageError(f"{option} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise UsageError(f'{option} must be a JSON object, such as {{"name": "value"}}')
    return value


def text_of(path: str) -> str:
    """A file, or standard input. Raises UsageError."""
    try:
        return sys.stdin.read() if path == "-" else Path(path).read_text("utf-8")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text") from error
