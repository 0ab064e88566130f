"""Compare two servers on random workflows: ``python -m tests.differential --ours URL --oracle URL --seeds 0:1000``."""

from __future__ import annotations

import argparse
import json
import logging
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.differential import normal
from tests.differential.cases import Case
from tests.differential.generator import make_case
from tests.differential.player import Answer, Player
from tests.differential.servers import HttpServer, MemoryServer
from tests.differential.verdicts import unexplained

REPEATS = 3


class Answers:
    """What the oracle said before, in a file of one JSON object a line; an oracle is slow."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._known: dict[str, list[Answer]] = {}
        if path is not None and path.exists():
            for line in path.read_text("utf-8").splitlines():
                entry = json.loads(line)
                self._known.setdefault(entry["digest"], []).append(entry["answer"])

    def of(self, case: Case) -> list[Answer]:
        """All answers to a case."""
        return self._known.get(case.digest, [])

    def add(self, case: Case, answer: Answer) -> None:
        """Remember another one."""
        with self._lock:
            self._known.setdefault(case.digest, []).append(answer)
            if self._path is not None:
                with self._path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({"digest": case.digest, "answer": answer}) + "\n")


def play_ours(case: Case, url: str) -> Answer:
    """Play on a server, or in memory."""
    if url == "memory":
        with MemoryServer.running() as server:
            return Player(case, server).play()
    return Player(case, HttpServer(url)).play()


class Comparison:
    """Plays cases on both and counts."""

    def __init__(self, ours: str, oracle: str | None, answers: Answers, *, show: bool) -> None:
        self.ours = ours
        self.oracle = oracle
        self.answers = answers
        self.show = show
        self.counts: dict[str, int] = {}
        self._lock = threading.Lock()

    def compare(self, case: Case) -> tuple[str, list[str]]:
        """The verdict on a case: same, kept (a documented difference), undecided or different; and where."""
        try:
            theirs = self._oracle_answer(case)
            ours = play_ours(case, self.ours)
        except Exception as error:
            return self._count("broken", case), [f"{type(error).__name__}: {str(error)[:500]}"]
        if self.show:
            print(json.dumps({"ours": ours, "theirs": theirs}, indent=1, ensure_ascii=False))
        found = list(normal.differences(ours, theirs))
        if not found:
            return self._count("same", case), []
        left = unexplained(case, ours, theirs)
        if not left:
            return self._count("kept", case), found
        if self._another_answer_fits(case, ours):
            return self._count("undecided", case), found
        return self._count("different", case), left

    def _oracle_answer(self, case: Case) -> Answer:
        known = self.answers.of(case)
        return known[0] if known else self._ask_oracle(case)

    def _ask_oracle(self, case: Case) -> Answer:
        if self.oracle is None:
            raise LookupError("there is no recorded answer, and no oracle")
        answer = Player(case, HttpServer(self.oracle)).play()
        self.answers.add(case, answer)
        return answer

    def _another_answer_fits(self, case: Case, ours: Answer) -> bool:
        """Whether the oracle itself disagrees with itself, and ours is among its answers (or it has as many as runs)."""
        while len(self.answers.of(case)) < REPEATS and self.oracle is not None:
            self._ask_oracle(case)
        answers = self.answers.of(case)
        return len({normal.canonical(answer) for answer in answers}) > 1

    def _count(self, verdict: str, case: Case) -> str:
        with self._lock:
            self.counts[verdict] = self.counts.get(verdict, 0) + 1
        return verdict


def _seeds(text: str) -> range:
    first, _, last = text.partition(":")
    return range(int(first), int(last or int(first) + 1))


def _run(options: argparse.Namespace) -> int:
    answers = Answers(options.answers)
    comparison = Comparison(options.ours, options.oracle, answers, show=options.show)
    seeds = range(options.seed, options.seed + 1) if options.seed is not None else _seeds(options.seeds)
    cases = [make_case(seed, quick=options.quick) for seed in seeds]
    if options.show:
        for case in cases:
            _show(case)
    began = time.monotonic()
    # The clock of a service in memory is the process's: one case at a time.
    jobs = 1 if options.ours == "memory" else options.jobs
    if jobs == 1 and options.oracle:
        _prefetch(comparison, cases, options.jobs)
    with ThreadPoolExecutor(jobs) as pool:
        for case, (verdict, places) in zip(cases, pool.map(comparison.compare, cases), strict=True):
            if verdict != "same" and (options.verbose or verdict in ("different", "broken")):
                print(f"seed {case.seed} ({case.about}): {verdict}")
                print("\n".join(f"    {place}" for place in places[:12]), flush=True)
    print(f"{len(cases)} cases: {comparison.counts}, {time.monotonic() - began:.0f} s")
    return 1 if comparison.counts.keys() & {"different", "broken"} else 0


def _prefetch(comparison: Comparison, cases: list[Case], jobs: int) -> None:
    def fetch(case: Case) -> None:
        if not comparison.answers.of(case):
            try:
                comparison._ask_oracle(case)
            except Exception as error:
                print(f"seed {case.seed}: the oracle: {error}", file=sys.stderr)

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(fetch, cases))


def _show(case: Case) -> None:
    data: dict[str, Any] = case.as_json()
    for kind in ("actions", "workbooks", "workflows"):
        for text in data.pop(kind):
            print(f"# {kind}\n{text}")
    print(json.dumps(data, indent=1, ensure_ascii=False))


def main() -> int:
    """Read the command line and compare."""
    parser = argparse.ArgumentParser(prog="python -m tests.differential", description=__doc__)
    parser.add_argument("--ours", default="memory", help="URL of the server to judge, or 'memory' (the default)")
    parser.add_argument("--oracle", help="URL of an OpenStack Mistral")
    parser.add_argument("--answers", type=Path, help="file with the oracle's earlier answers; new ones are added")
    parser.add_argument("--seeds", default="0:100", help="FIRST:END")
    parser.add_argument("--seed", type=int, help="just this one")
    parser.add_argument("--jobs", type=int, default=8, help="cases at a time")
    parser.add_argument("--quick", action="store_true", help="only cases without waiting")
    parser.add_argument("--show", action="store_true", help="print the case and both answers")
    parser.add_argument("--verbose", action="store_true", help="tell of kept and undecided differences too")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    return _run(options)


if __name__ == "__main__":
    _: Callable[[], int] = main
    sys.exit(main())
