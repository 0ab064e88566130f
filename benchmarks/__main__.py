"""`python -m benchmarks [ledger|shape|speed …]`: the numbers of docs/benchmarks.md."""

from __future__ import annotations

import argparse
import sys

from benchmarks import ledger, shape, speed


def main(arguments: list[str]) -> int:
    """Print what was asked for; without a word, the ledger and the shape."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("what", nargs="*", choices=["ledger", "shape", "speed"], default=[])
    parser.add_argument("--against", metavar="URL", help="speed: another Mistral v2 service to run beside ours")
    parser.add_argument("--storage", default="moto", help="speed: storage of our service")
    parser.add_argument("--repeat", type=int, default=3, help="speed: rounds, of which the median counts")
    options = parser.parse_args(arguments)
    wanted = options.what or ["ledger", "shape"]
    if "ledger" in wanted:
        print(ledger.table(), end="\n\n")
    if "shape" in wanted:
        print(shape.table(), end="\n\n")
    if "speed" in wanted:
        print(speed.table(options.against, storage=options.storage, rounds=options.repeat))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
