"""Memory: what the process of the local service needs while many executions wait, and whether it gives it back.

With `--storage moto` the emulated cloud lives in the same process, with all its tables; with `--storage memory` the
tables are Python objects in it too. A Lambda has neither, so it needs less.
"""

from __future__ import annotations

from typing import Final

from benchmarks.local_service import LocalService, running

RUNNING: Final = 1000
ROUNDS: Final = 4
LIMIT_MB: Final = 300

_HEAD: Final = "version: '2.0'\nwork:\n  input: [text]\n  tasks:\n"
# What an execution may wait for: somebody outside, a timer, an operator.
WAITING: Final = {
    "an asynchronous action": _HEAD + "    ask: {action: std.async_noop, publish: {said: <% $.text %>}}\n",
    "wait-before": _HEAD + "    later: {action: 'std.echo output=<% $.text %>', wait-before: 600}\n",
    "pause-before": _HEAD + "    held: {action: 'std.echo output=<% $.text %>', pause-before: true}\n",
}
_ENDING: Final = _HEAD + "    say: {action: 'std.echo output=<% $.text %>'}\n"
_TEXT: Final = "some words that every execution gets"


def _start(service: LocalService, name: str, text: str, executions: int) -> list[str]:
    service.call("POST", "/workflows", text.replace("\nwork:\n", f"\n{name}:\n", 1))
    start = {"workflow_name": name, "input": {"text": _TEXT}}
    return [service.call("POST", "/executions", start)["id"] for _ in range(executions)]


def waiting_mb(storage: str, text: str, executions: int = RUNNING) -> tuple[float, float, float]:
    """Memory of a service with one execution, with so many that wait, and the most it ever had.

    Raises AssertionError if any of them does not wait.
    """
    with running(storage, "--quiet") as service:
        _start(service, "first", text, 1)
        before_mb = service.rss_mb()
        identifiers = _start(service, "waiting", text, executions)
        rows = service.call("GET", f"/executions?workflow_name=waiting&fields=id,state&limit={executions}")
        states = {row["id"]: row["state"] for row in rows["executions"]}
        assert states.keys() == set(identifiers)
        assert set(states.values()) <= {"RUNNING", "PAUSED"}, set(states.values())
        return before_mb, service.rss_mb(), service.peak_mb()


def rounds_mb(storage: str, executions: int = RUNNING, rounds: int = ROUNDS) -> list[float]:
    """Memory after each round of starting so many executions, letting them end, and deleting them."""
    seen: list[float] = []
    with running(storage, "--quiet") as service:
        for number in range(rounds):
            for identifier in _start(service, f"round_{number}", _ENDING, executions):
                service.call("DELETE", f"/executions/{identifier}?force=true")
            seen.append(service.rss_mb())
    return seen


def table(executions: int = RUNNING) -> str:
    """Both, for both storages, as text."""
    lines = [f"{f'{executions:,} executions that wait; MB':<42}{'with one':>10}{'with all':>10}{'peak':>8}{'limit':>8}"]
    for storage in ("moto", "memory"):
        for name, text in WAITING.items():
            one_mb, all_mb, peak_mb = waiting_mb(storage, text, executions)
            lines.append(f"{storage + ': ' + name:<42}{one_mb:>10.0f}{all_mb:>10.0f}{peak_mb:>8.0f}{LIMIT_MB:>8}")
    lines.append("")
    lines.append(f"{f'rounds of {executions:,} that end and are deleted; MB':<50}" + "after each")
    for storage in ("moto", "memory"):
        figures = "".join(f"{mb:>8.0f}" for mb in rounds_mb(storage, executions))
        lines.append(f"{storage:<42}{figures}")
    return "\n".join(lines)
