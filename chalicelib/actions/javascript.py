"""``std.javascript`` and ``std.js``: a script in a sandbox of its own.

The engine (QuickJS) gives a script neither files nor network nor clock-driven code, and bounds its time and memory. It
runs in a process of its own, without the executor's environment and its credentials, which is ended when its time is
over: a fault of the engine harms nothing but the script.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Final

from chalicelib.actions.action import ActionContext, action
from chalicelib.actions.extras import missing_extra
from chalicelib.errors import ActionException
from chalicelib.limits import JAVASCRIPT_MEMORY_BYTES_MAX, JAVASCRIPT_RESULT_BYTES_MAX, JAVASCRIPT_TIME_MAX_SEC
from chalicelib.vocabulary import Json, JsonObject

_PROCESS: Final = Path(__file__).with_name("javascript_process.py")
# What starting the interpreter may take, beyond the script's own time.
_START_SEC: Final = 5.0


def _check(input: JsonObject) -> None:
    if not isinstance(input.get("script"), str):
        raise TypeError(f"script must be text, not {type(input.get('script')).__name__}")


@action("std.javascript", construct=_check)
def javascript(context_of_action: ActionContext, script: str, context: Json = None) -> Json:
    """Run a piece of JavaScript.

    The script is the body of a function: what it returns is the result. It sees the context as ``$``.

    :param script: The body of a function; without ``return`` the result is null.
    :param context: Any value; the script sees it as $.
    """
    return _evaluated(script, context, context_of_action)


@action("std.js", construct=_check)
def js(context_of_action: ActionContext, script: str, context: Json = None) -> Json:
    """Run a piece of JavaScript: std.javascript under its short name.

    :param script: The body of a function; without ``return`` the result is null.
    :param context: Any value; the script sees it as $.
    """
    return _evaluated(script, context, context_of_action)


def _evaluated(script: str, value: Json, context: ActionContext) -> Json:
    from importlib.util import find_spec

    engine = find_spec("quickjs")
    if engine is None or engine.origin is None:
        raise ActionException(f"JavaScriptAction failed: {missing_extra('javascript', 'quickjs-ng')}")
    time_sec = JAVASCRIPT_TIME_MAX_SEC
    if context.deadline_sec is not None:
        time_sec = min(time_sec, context.deadline_sec)
    request = {
        "script": script,
        "context": json.dumps(value),
        "memory_bytes": JAVASCRIPT_MEMORY_BYTES_MAX,
        "cpu_sec": max(time_sec, 0.1),
    }
    folder = str(Path(engine.origin).parent.parent)
    answer = _ask([sys.executable, "-I", "-S", str(_PROCESS), folder], json.dumps(request), time_sec + _START_SEC)
    if "error" in answer:
        raise ActionException(f"JavaScriptAction failed: {answer['error']}")
    return answer["value"]


def _ask(command: list[str], request: str, time_sec: float) -> JsonObject:
    import subprocess

    try:
        ended = subprocess.run(  # noqa: S603 - our own program, nothing of the user's in the command
            command, input=request, capture_output=True, text=True, timeout=time_sec, env={}, check=False, cwd="/"
        )
    except subprocess.TimeoutExpired as error:
        raise ActionException(f"JavaScriptAction failed: no end after {time_sec:g} seconds") from error
    except OSError as error:
        raise ActionException(f"JavaScriptAction failed: {error.strerror}") from error
    if ended.returncode != 0:
        raise ActionException(f"JavaScriptAction failed: the engine ended with status {ended.returncode}")
    if len(ended.stdout) > JAVASCRIPT_RESULT_BYTES_MAX:
        raise ActionException(f"JavaScriptAction failed: the result exceeds {JAVASCRIPT_RESULT_BYTES_MAX} bytes")
    answer: JsonObject = json.loads(ended.stdout)
    return answer
