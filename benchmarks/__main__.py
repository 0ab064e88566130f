"""`python -m benchmarks [WHAT …]`: the numbers of docs/."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from benchmarks import (
    actions,
    cron,
    endpoints,
    fairness,
    imports,
    ledger,
    lists,
    load,
    memory,
    shape,
    speed,
    users,
    waiting,
)

# What can be asked for, in the order in which it is printed.
TABLES: dict[str, Callable[[argparse.Namespace], str]] = {
    "ledger": lambda _: ledger.table(),
    "shape": lambda _: shape.table(),
    "waiting": lambda _: waiting.table(),
    "lists": lambda given: lists.table(tuple(given.sizes), storage=given.storage or "memory"),
    "actions": lambda _: actions.table(),
    "imports": lambda _: imports.table(imports.measure()),
    "speed": lambda given: speed.table(
        given.against, storage=given.storage or "moto", rounds=given.repeat, wanted=given.rows
    ),
    "endpoints": lambda given: endpoints.table(given.against, storage=given.storage or "moto", rounds=given.repeat),
    "load": lambda given: load.table(given.rates, seconds=given.seconds, storage=given.storage or "moto"),
    "memory": lambda given: memory.table(given.executions),
    "fairness": lambda given: fairness.table(given.items),
    "cron": lambda _: cron.table(),
    "users": lambda _: users.table(),
}


def main(arguments: list[str]) -> int:
    """Print what was asked for; without a word, the ledger and the shape."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("what", nargs="*", choices=TABLES, default=[])
    parser.add_argument(
        "--against", metavar="URL", help="speed, endpoints: another Mistral v2 service to run beside ours"
    )
    parser.add_argument(
        "--storage", default="", help="speed, endpoints, load: storage of our service (moto); lists: memory or moto"
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 100_000], help="lists: executions in a project")
    parser.add_argument("--repeat", type=int, default=3, help="speed, endpoints: rounds, of which the median counts")
    parser.add_argument("--rows", nargs="+", default=[], help="speed: only rows whose title begins like this")
    parser.add_argument("--rates", type=float, nargs="+", default=[100, 200, 500], help="load: starts per second")
    parser.add_argument("--seconds", type=float, default=30, help="load: for how long")
    parser.add_argument("--executions", type=int, default=1000, help="memory: how many wait")
    parser.add_argument("--items", type=int, default=100_000, help="fairness: how many items the other tenant has")
    options = parser.parse_args(arguments)
    wanted = options.what or ["ledger", "shape"]
    print("\n\n".join(table(options) for name, table in TABLES.items() if name in wanted))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
