"""`python -m benchmarks [WHAT …]`: the numbers of docs/."""

from __future__ import annotations

import argparse
import sys

from benchmarks import actions, cron, fairness, ledger, lists, load, memory, shape, speed, users, waiting

WHAT = ("ledger", "shape", "lists", "actions", "speed", "load", "memory", "fairness", "cron", "waiting", "users")


def main(arguments: list[str]) -> int:
    """Print what was asked for; without a word, the ledger and the shape."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("what", nargs="*", choices=WHAT, default=[])
    parser.add_argument("--against", metavar="URL", help="speed: another Mistral v2 service to run beside ours")
    parser.add_argument(
        "--storage", default="", help="speed, load: storage of our service (moto); lists: memory or moto"
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 100_000], help="lists: executions in a project")
    parser.add_argument("--repeat", type=int, default=3, help="speed: rounds, of which the median counts")
    parser.add_argument("--rows", nargs="+", default=[], help="speed: only rows whose title begins like this")
    parser.add_argument("--rates", type=float, nargs="+", default=[100, 200, 500], help="load: starts per second")
    parser.add_argument("--seconds", type=float, default=30, help="load: for how long")
    parser.add_argument("--executions", type=int, default=1000, help="memory: how many wait")
    parser.add_argument("--items", type=int, default=100_000, help="fairness: how many items the other tenant has")
    options = parser.parse_args(arguments)
    _print(options.what or ["ledger", "shape"], options)
    return 0


def _print(wanted: list[str], options: argparse.Namespace) -> None:
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
    if "speed" in wanted:
        storage = options.storage or "moto"
        print(speed.table(options.against, storage=storage, rounds=options.repeat, wanted=options.rows))
    if "load" in wanted:
        print(load.table(options.rates, seconds=options.seconds, storage=options.storage or "moto"))
    if "memory" in wanted:
        print(memory.table(options.executions))
    if "fairness" in wanted:
        print(fairness.table(options.items))
    if "cron" in wanted:
        print(cron.table())
    if "users" in wanted:
        print(users.table())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
