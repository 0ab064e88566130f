"""Run seeds by hand: ``python -m tests.simulation --seeds 1000 --start 0``, or one: ``--seed 17 --verbose``."""

import argparse
import gc
import logging
import sys
import time
import traceback
from collections import Counter

from tests.simulation.runs import run_seed

# After so many seeds it says how far it is.
PROGRESS = 1000


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many")
    parser.add_argument("--start", type=int, default=0, help="the first")
    parser.add_argument("--seed", type=int, help="just this one")
    parser.add_argument("--verbose", action="store_true", help="tell what happens")
    parser.add_argument("--failures", type=int, default=20, help="stop after so many failures")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    # A world is garbage as a whole: looking for it less often is a tenth of the time.
    gc.set_threshold(100_000, 10, 10)
    if options.seed is not None:
        seeds = range(options.seed, options.seed + 1)
    else:
        seeds = range(options.start, options.start + options.seeds)
    return _run(seeds, verbose=options.verbose, failures_max=options.failures)


def _run(seeds: range, *, verbose: bool, failures_max: int) -> int:
    began = time.monotonic()
    failed: list[int] = []
    sums: Counter[str] = Counter()
    for seed in seeds:
        try:
            world = run_seed(seed, verbose=verbose)
        except Exception as error:  # noqa: BLE001 - whatever goes wrong belongs to its seed
            failed.append(seed)
            text = traceback.format_exc() if verbose or not isinstance(error, AssertionError) else str(error)
            print(f"seed {seed}: {type(error).__name__}: {text[:1500]}", flush=True)
            if len(failed) >= failures_max:
                break
        else:
            if sums["runs"] % PROGRESS == PROGRESS - 1:
                print(f"{seed}: {dict(sums)}, {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
            sums.update(runs=1, crashes=world.crashes, calls=world.port_calls, executions=len(world.watcher.mirrors))
    print(f"{dict(sums)}, {len(failed)} failed {failed}, {time.monotonic() - began:.1f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
