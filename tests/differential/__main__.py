"""Compare two servers on random workflows.

``python -m tests.differential --ours URL --oracle URL --seeds 0:1000 --jobs 8``; ``--seed 17 --show`` shows one.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.differential.cases import Case
from tests.differential.comparison import BROKEN, DIFFERENT, SAME, Answers, Comparison, Verdict
from tests.differential.generator import make_case

_PLACES_MAX = 12
_HALTS = (DIFFERENT, BROKEN)


def main() -> int:
    """Read the command line and compare; 1 when there is a difference without a reason."""
    options = _options()
    logging.disable(logging.CRITICAL)
    seeds = range(options.seed, options.seed + 1) if options.seed is not None else _seeds(options.seeds)
    cases = [make_case(seed, quick=options.quick) for seed in seeds]
    comparison = Comparison(options.ours, options.oracle, Answers(options.answers))
    began = time.monotonic()
    same = []
    # A service in memory has the clock of this process: one case at a time.
    with ThreadPoolExecutor(1 if options.ours == "memory" else options.jobs) as pool:
        for case, verdict in zip(cases, pool.map(comparison.compare, cases), strict=True):
            if options.show:
                show(case, comparison)
            if verdict.kind == SAME:
                same.append(case)
            elif options.verbose or verdict.kind in _HALTS:
                tell(case, verdict)
    print(f"{len(cases)} cases: {dict(comparison.counts)}, {time.monotonic() - began:.0f} s")
    if options.freeze is not None:
        freeze(options.freeze, same, comparison)
    return 1 if any(comparison.counts[kind] for kind in _HALTS) else 0


def tell(case: Case, verdict: Verdict) -> None:
    """One case that is not the same: where, as ``path: ours | theirs``."""
    print(f"seed {case.seed} ({case.about}): {verdict.kind} {verdict.reason}")
    print("\n".join(f"    {place}" for place in verdict.places[:_PLACES_MAX]), flush=True)


def show(case: Case, comparison: Comparison) -> None:
    """The whole case and both answers."""
    data = case.as_json()
    for kind in ("actions", "workbooks", "workflows"):
        for text in data.pop(kind):
            print(f"# {kind}\n{text}")
    answers = {"ours": comparison.ask_ours(case), "theirs": comparison.answers.of(case)}
    print(json.dumps({"case": data, **answers}, indent=1, ensure_ascii=False))


def freeze(path: Path, cases: list[Case], comparison: Comparison) -> None:
    """Write cases with the oracle's answers, one a line: what the tests replay without an oracle."""
    lines = [
        json.dumps({"case": case.as_json(), "answer": comparison.answers.of(case)[0]}, sort_keys=True)
        for case in cases
        if not case.real_time
    ]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    print(f"{len(lines)} cases are in {path}")


def _seeds(text: str) -> list[int]:
    """``0:100`` or ``1,5,7``, or both."""
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition(":")
        found += range(int(first), int(last or int(first) + 1))
    return found


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.differential", description=__doc__)
    parser.add_argument("--ours", default="memory", help="URL of the server to judge, or 'memory' (the default)")
    parser.add_argument("--oracle", help="URL of an OpenStack Mistral")
    parser.add_argument("--answers", type=Path, help="file with the oracle's earlier answers; new ones are added")
    parser.add_argument("--seeds", default="0:100", help="FIRST:END, single seeds, or a comma list of both")
    parser.add_argument("--seed", type=int, help="just this one")
    parser.add_argument("--jobs", type=int, default=8, help="cases at a time")
    parser.add_argument("--quick", action="store_true", help="only cases without waiting")
    parser.add_argument("--show", action="store_true", help="print the cases and both answers")
    parser.add_argument("--verbose", action="store_true", help="tell of kept and undecided differences too")
    parser.add_argument("--freeze", type=Path, help="write the cases that are the same, with answers, to this file")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
