"""Compares our answer to a case with the oracle's; an oracle that contradicts itself proves nothing."""

from __future__ import annotations

import json
import threading
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.differential import normal
from tests.differential.cases import Case
from tests.differential.player import ENDED, Answer, Player
from tests.differential.servers import HttpServer, MemoryServer
from tests.differential.verdicts import reason_for

# How often the oracle is asked when its answer differs from ours.
REPEATS = 3

SAME = "same"
KEPT = "kept"
UNDECIDED = "undecided"
DIFFERENT = "different"
BROKEN = "broken"


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
        return list(self._known.get(case.digest, []))

    def add(self, case: Case, answer: Answer) -> None:
        """Remember another one."""
        with self._lock:
            self._known.setdefault(case.digest, []).append(answer)
            if self._path is not None:
                with self._path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({"digest": case.digest, "answer": answer}) + "\n")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a comparison came to, and the places that differ from the oracle's first answer."""

    kind: str
    places: tuple[str, ...] = ()
    reason: str = ""


def play_in_memory(case: Case) -> Answer:
    """Play a case on a new service in this process. One at a time: its clock is the actions' clock."""
    with MemoryServer.running() as server:
        return Player(case, server).play()


class Comparison:
    """Plays cases on both servers and counts."""

    def __init__(self, ours: str, oracle: str | None, answers: Answers) -> None:
        self.answers = answers
        self.counts: Counter[str] = Counter()
        self._ours = ours
        self._oracle = oracle

    def compare(self, case: Case) -> Verdict:
        """Play a case on ours, and on the oracle unless its answer is known."""
        try:
            verdict = self._compare(case)
        except (AssertionError, KeyError, LookupError, OSError, ValueError) as error:
            verdict = Verdict(BROKEN, (f"{type(error).__name__}: {str(error)[:500]}",))
        self.counts[verdict.kind] += 1
        return verdict

    def ask_oracle(self, case: Case) -> Answer:
        """Play on the oracle and remember its answer. Raises LookupError when there is none."""
        if self._oracle is None:
            raise LookupError("there is no recorded answer, and no oracle")
        answer = Player(case, HttpServer(self._oracle)).play()
        if not case.is_spoiled and set(answer["defined"]) != {201}:
            # OpenStack Mistral parses expressions in threads that disturb each other: it refuses good texts at times.
            answer = Player(case, HttpServer(self._oracle)).play()
        self.answers.add(case, answer)
        return answer

    def ask_ours(self, case: Case) -> Answer:
        """Play on the server to judge."""
        return play_in_memory(case) if self._ours == "memory" else Player(case, HttpServer(self._ours)).play()

    def _compare(self, case: Case) -> Verdict:
        known = self.answers.of(case)
        theirs = known[0] if known else self.ask_oracle(case)
        ours = self.ask_ours(case)
        places = tuple(normal.differences(ours, theirs))
        if not places:
            return Verdict(SAME)
        reason = reason_for(case, ours, theirs)
        if reason and theirs["execution"]["state"] in ENDED:
            return Verdict(KEPT, places, reason)
        # An execution that did not end may only have met a slow oracle: it is asked again too.
        while self._oracle is not None and len(self.answers.of(case)) < REPEATS:
            self.ask_oracle(case)
        texts = {normal.canonical(answer) for answer in self.answers.of(case)}
        if normal.canonical(ours) in texts:
            return Verdict(UNDECIDED, places, "the oracle has also answered as we do")
        if reason:
            return Verdict(KEPT, places, reason)
        if len(texts) > 1:
            return Verdict(UNDECIDED, places, "the oracle's answers differ, and none is ours")
        return Verdict(DIFFERENT, places)
