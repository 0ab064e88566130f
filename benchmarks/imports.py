"""What a cold start costs before the first event: the import of `app`, which Lambda makes for every door.

Each import has an interpreter of its own that finds bytecode, as in the package for Lambda. CPU time is counted, not
the clock on the wall, and of several imports the least: what is more was somebody else's work on this machine.
"""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
# The libraries without the hooks of an installation (`.pth`), as in the package; pyOpenSSL, which urllib3 takes where
# it finds it, comes with libraries of the tests, and is not in there.
_PROGRAM: Final = """
import gc, json, sys, time
sys.path[:0] = json.loads(sys.argv[1])
sys.modules["OpenSSL"] = None
before, collected = time.process_time(), sum(each["collections"] for each in gc.get_stats())
import app
took = time.process_time() - before
collections = sum(each["collections"] for each in gc.get_stats()) - collected
print(json.dumps({
    "cpu_sec": took, "process_cpu_sec": time.process_time(), "modules": sorted(sys.modules),
    "collections": collections, "collects_again": gc.isenabled() and gc.get_freeze_count() > 0,
}))
"""
_OWN: Final = "chalicelib"
_SHOWN: Final = 8


@dataclass(frozen=True, slots=True)
class Imported:
    """One import of `app` in a process of its own.

    ``process_cpu_sec`` includes the start of the interpreter. ``collections`` are those of the garbage collector while
    it imported; ``collects_again``: it works afterwards, and leaves alone what was there by then.
    """

    cpu_sec: float
    process_cpu_sec: float
    modules: frozenset[str]
    collections: int
    collects_again: bool


def measure(rounds: int = 12) -> list[Imported]:
    """Import so many times, after one import that makes the bytecode."""
    with tempfile.TemporaryDirectory() as bytecode:
        return [_once(bytecode) for _ in range(rounds + 1)][1:]


def _once(bytecode: str) -> Imported:
    paths = sysconfig.get_paths()
    found = json.dumps(list(dict.fromkeys([str(ROOT), paths["purelib"], paths["platlib"]])))
    # -I -S: neither the environment nor the site-packages of this Python, but those that are named.
    command = [sys.executable, "-I", "-S", "-X", f"pycache_prefix={bytecode}", "-c", _PROGRAM, found]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    told: dict[str, Any] = json.loads(ended.stdout)
    return Imported(**told | {"modules": frozenset(told["modules"])})


def table(every: Sequence[Imported]) -> str:
    """CPU time, and how many modules there are of whom."""
    best = min(every, key=lambda each: each.cpu_sec)
    counts = Counter(name.partition(".")[0] for name in best.modules)
    own = counts.pop(_OWN)
    libraries = ", ".join(f"{name} {count}" for name, count in counts.most_common(_SHOWN))
    return "\n".join(
        (
            f"{f'import of app, least of {len(every)}, ms of CPU':46}{best.cpu_sec * 1000:8.0f}",
            f"{'with the start of the interpreter':46}{min(each.process_cpu_sec for each in every) * 1000:8.0f}",
            f"{'modules':46}{len(best.modules):8}",
            f"{'of which our own':46}{own:8}",
            f"most others: {libraries}",
        )
    )
