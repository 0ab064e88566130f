"""The process in which a script of ``std.javascript`` runs; started by ``javascript``, it imports nothing of ours.

It has no environment and no open files but its pipes. A request (script, context, memory_bytes, cpu_sec) arrives on
standard input as JSON; the answer is one JSON object: ``{"value": ...}`` or ``{"error": text}``.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from typing import Any

_STACK_BYTES = 512 * 1024
# Beyond what the script may have: the interpreter, the engine and the stacks of its threads.
_PROCESS_BYTES = 512 * 1024 * 1024
# The script is the body of a function; what JSON has no word for becomes null. A promise is waited for.
_PROGRAM = """(script, context) => {
    globalThis.$ = JSON.parse(context);
    const answer = {};
    const keep = value => { answer.value = JSON.parse(JSON.stringify(value) ?? 'null') };
    const came = new Function(script)();
    if (came instanceof Promise) came.then(keep).catch(error => { answer.error = String(error) });
    else keep(came);
    return () => JSON.stringify(answer);
}"""


def answer_to(request: dict[str, Any]) -> dict[str, Any]:
    """What came of a script: its value, or why there is none."""
    import quickjs  # type: ignore[import-not-found,import-untyped,unused-ignore]

    engine = quickjs.Context()
    engine.set_max_stack_size(_STACK_BYTES)
    engine.set_memory_limit(request["memory_bytes"])
    engine.set_time_limit(request["cpu_sec"])
    try:
        tell = engine.eval(_PROGRAM)(request["script"], request["context"])
        while engine.execute_pending_job():
            if time.process_time() > request["cpu_sec"]:
                return {"error": _interrupted(request)}
        answer: dict[str, Any] = json.loads(tell())
        return answer or {"error": "the promise that the script returned is never fulfilled"}
    except quickjs.JSException as error:
        return {"error": _reason(str(error), request)}
    except (ValueError, RecursionError) as error:
        return {"error": f"the result is not JSON: {error}"}


def _interrupted(request: dict[str, Any]) -> str:
    return f"interrupted: a script may run for {request['cpu_sec']:g} seconds"


def _reason(text: str, request: dict[str, Any]) -> str:
    # The engine cannot describe an error for which it has no memory.
    if text.startswith(("null", "InternalError: out of memory")):
        return f"out of memory: a script may use {request['memory_bytes']} bytes"
    if text.startswith("InternalError: interrupted"):
        return _interrupted(request)
    return text.strip()


def main() -> None:
    """Answer the one request."""
    sys.path.append(sys.argv[1])
    request = json.load(sys.stdin)
    limit_bytes = _PROCESS_BYTES + request["memory_bytes"]
    resource.setrlimit(resource.RLIMIT_AS, (limit_bytes, limit_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    json.dump(answer_to(request), sys.stdout)


if __name__ == "__main__":
    main()
