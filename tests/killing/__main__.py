"""Kill executors for minutes: ``python -m tests.killing --workflows 1000 --minutes 5 --seed 1``."""

import argparse
import sys

from tests.killing.run import Plan, run
from tests.killing.workflows import DEADLY


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.killing", description=__doc__)
    parser.add_argument("--workflows", type=int, default=1000, help="how many")
    parser.add_argument("--minutes", type=float, default=5.0, help="for how long executors are killed")
    parser.add_argument("--seed", type=int, default=1, help="what is started and killed, and when")
    parser.add_argument("--executors", type=int, default=3, help="how many there are at a time")
    parser.add_argument("--kill-every", type=float, default=2.0, metavar="SEC", help="on average")
    parser.add_argument(
        "--deadly", type=int, default=2, help="so many pairs of actions that always kill their executor"
    )
    options = parser.parse_args()
    report = run(
        Plan(
            options.workflows,
            options.minutes * 60,
            options.seed,
            executors=options.executors,
            kill_every_sec=options.kill_every,
            deadly=DEADLY * options.deadly,
            patience_sec=300.0,
        )
    )
    for problem in report.problems:
        print(problem)
    print(report)
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
