"""`python -m benchmarks [ledger|shape|lists|actions|imports|speed|cron|waiting|users …]`: the numbers of docs/."""

from __future__ import annotations

import argparse
import sys

from benchmarks import actions, cron, imports, ledger, lists, shape, speed, users, waiting

WHAT = ("ledger", "shape", "lists", "actions", "imports", "speed", "cron", "waiting", "users")


def main(arguments: list[str]) -> int:
    """Print what was asked for; without a word, the ledger and the shape."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("what", nargs="*", choices=WHAT, default=[])
    parser.add_argument("--against", metavar="URL", help="speed: another Mistral v2 service to run beside ours")
    parser.add_argument("--storage", default="", help="speed: storage of our service (moto); lists: memory or moto")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 100_000], help="lists: executions in a project")
    parser.add_argument("--repeat", type=int, default=3, help="speed: rounds, of which the median counts")
    options = parser.parse_args(arguments)
    wanted = options.what or ["ledger", "shape"]
    if "ledger" in wanted:
        print(ledger.table(), end="\n\n")
    if "shape" in wanted:
        print(shape.table(), end="\n\n")
    if "waiting" in wanted:
        print(waiting.table(), end="\n\n")
    if "lists" in wanted:
        print(lists.table(tuple(options.sizes), storage=options.storage or "memory"), end="\n\n")
    if "actions" in wanted:
        print(actions.table(), end="\n\n")
    if "imports" in wanted:
        print(imports.table(imports.measure()), end="\n\n")
    if "speed" in wanted:
        print(speed.table(options.against, storage=options.storage or "moto", rounds=options.repeat))
    if "cron" in wanted:
        print(cron.table())
    if "users" in wanted:
        print(users.table())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
