"""The history of an execution: what was applied to it in each turn, from which its records can be made again.

A turn that changed something leaves one entry: its moment, the seed of its random values, and its events in order. What
stands in the records already is not written again: a result is where its action is, and a run of pure actions is a
number. What would be lost is kept: parameters, variables and description before their first change, the result of a
sub-workflow that runs again, and the definitions and answers that decisions asked for, each once.

An entry is plain JSON. The last ones stay in the header; they move to a page of their own when there are enough of
them, most often in a transaction that is written anyway. The entries are part of the stored format: a letter, once
stored, keeps its meaning for ever.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import astuple, field
from typing import Any, Final

from chalicelib.data import dataclass
from chalicelib.engine import codec, items
from chalicelib.engine.draft import Draft
from chalicelib.engine.effects import RunAction
from chalicelib.engine.events import (
    ActionCompleted,
    ActionUpdated,
    ClaimExpired,
    Continued,
    DescriptionChanged,
    Event,
    NoticesTold,
    PauseRequested,
    RerunRequested,
    ResumeRequested,
    Revived,
    SkipRequested,
    StartRequested,
    StopRequested,
    TimerFired,
)
from chalicelib.engine.history_turns import CREATED, Place
from chalicelib.engine.invocations import WorkflowFacts
from chalicelib.engine.needs import Need, NeedAction, NeedExecutions, NeedRootEnvironment, NeedTasks, NeedWorkflow
from chalicelib.engine.records import WorkflowExecution
from chalicelib.lang.builder import action_from_data
from chalicelib.lang.specs import ActionSpec
from chalicelib.limits import HISTORY_PAGE_BYTES_MIN, HISTORY_TAIL_BYTES_MAX
from chalicelib.vocabulary import Json, Result

HISTORY_PREFIX: Final = "history#"
BIRTH_PREFIX: Final = "birth#"
FOUND_PREFIX: Final = "found#"
# What a decision asked for and did not find, and what the service itself has (its own actions).
NOTHING: Final = ""
BUILT_IN: Final = "-"
# Which fields are kept as they were before their first change, by letter.
KEPT: Final[Mapping[str, str]] = {"P": "params", "V": "variables", "D": "description"}

_COMPARED: Final = (
    "state",
    "state_info",
    "description",
    "params",
    "output",
    "variables",
    "next_ordinal",
    "frontier",
    "finished",
    "contexts",
    "items",
    "seen",
    "fired",
    "joins",
    "named",
    "ends",
    "failures",
    "cancellations",
    "unprocessed",
    "backlog",
    "timers",
    "stamp",
    "heard",
    "reverse_target",
    "fresh_random",
)


def page_key(number: int) -> str:
    """The sort key of the page of history that begins with this turn."""
    return f"{HISTORY_PREFIX}{number:06x}"


def birth_key(letter: str) -> str:
    """The sort key of a field as it was before its first change."""
    return f"{BIRTH_PREFIX}{letter}"


def found_key(digest: str) -> str:
    """The sort key of something that a decision asked for."""
    return f"{FOUND_PREFIX}{digest}"


def note(before: Draft, after: Draft, event: Event, *, seed: str, is_pure: bool = False) -> None:
    """Remember in ``after`` that an event was applied to ``before``, unless it changed nothing."""
    log = after.log
    if isinstance(event, NoticesTold) or not (is_pure or _differ(before, after) or _releases_pure(before, after)):
        return
    if isinstance(event, StartRequested):
        log.birth = {letter: getattr(before, name) for letter, name in KEPT.items()}
    if not log.steps:
        log.seed, log.moment, log.random = seed, after.now, before.fresh_random
    seen = sorted(log.seen.difference(_written(before, event)))
    log.seen.clear()
    if is_pure and not log.is_forced and not seen:
        if log.steps and isinstance(log.steps[-1], int):
            log.steps[-1] += 1
        else:
            log.steps.append(1)
        return
    step = _encode(before, event, is_forced=log.is_forced, is_pure=is_pure)
    log.steps.append(["g", [list(pair) for pair in seen], step] if seen else step)


def _releases_pure(before: Draft, after: Draft) -> bool:
    fresh = after.effects[len(before.effects) :]
    return any(isinstance(effect, RunAction) and effect.is_pure for effect in fresh)


def _differ(before: Draft, after: Draft) -> bool:
    return any(getattr(before, name) != getattr(after, name) for name in _COMPARED)


def _encode(before: Draft, event: Event, *, is_forced: bool, is_pure: bool) -> list[Json]:
    match event:
        case ActionCompleted():
            is_written = (event.ordinal, event.number) in _written(before, event)
            marks = ("f" if is_forced else "") + ("p" if is_pure else "") + ("w" if is_written else "")
            return _short([event.ordinal, event.number, event.stamp, marks], 2)
        case StartRequested():
            return ["b"]
        case Continued():
            return ["c", *map(list, _written(before, event))]
        case TimerFired():
            return ["t", event.ordinal, event.stamp, _timer_kind(before, event)]
        case ClaimExpired():
            return ["x", event.ordinal, event.number]
        case ActionUpdated():
            return ["u", event.ordinal, event.number, str(event.state), event.stamp]
        case _:
            return _encode_request(event)


def _encode_request(event: Event) -> list[Json]:
    """What an operator, a parent or a child asks for."""
    match event:
        case PauseRequested():
            return ["p", event.message, event.stamp]
        case ResumeRequested():
            return ["r", event.env, event.stamp]
        case StopRequested():
            return ["e", str(event.state), event.message, event.stamp]
        case RerunRequested():
            return ["n", event.ordinal, event.reset, event.env]
        case SkipRequested():
            return ["k", event.ordinal, event.env]
        case Revived():
            return ["v", event.ordinal, event.number, event.stamp]
        case DescriptionChanged():
            return ["d", event.description, event.env]
        case _:
            raise AssertionError(event)


def _written(before: Draft, event: Event) -> list[tuple[int, int]]:
    """The items that an event is about whose records were finished before, by ordinal and number."""
    if not isinstance(event, ActionCompleted | Continued):
        return []
    if isinstance(event, ActionCompleted):
        task = before.frontier.get(event.ordinal)
        action = before.action(task, event.number) if task is not None and task.has_items else None
        return [(event.ordinal, event.number)] if action is not None and action.state.is_completed else []
    return [
        (task.ordinal, action.number) for task in before.frontier.values() for action in items.uncounted(before, task)
    ]


def _short(parts: list[Json], least: int) -> list[Json]:
    """Without what is empty at the end."""
    while len(parts) > least and not parts[-1]:
        parts.pop()
    return parts


def _timer_kind(before: Draft, event: TimerFired) -> str:
    timers = before.timers
    if event.ordinal:
        task = before.frontier.get(event.ordinal)
        timers = task.timers if task is not None else ()
    return next((str(timer.kind) for timer in timers if timer.stamp == event.stamp), "")


# -- what a transaction stores


@dataclass(frozen=True, slots=True)
class Addition:
    """What a turn adds to the history: new fields of the header, values by the key of their record, and pages."""

    fields: Mapping[str, Any] = field(default_factory=dict)
    values: Mapping[str, Json] = field(default_factory=dict)
    pages: Mapping[str, bytes] = field(default_factory=dict)


def addition_of(draft: Draft, large_out: Callable[[Json], Json], *, is_alone: bool) -> Addition:
    """What a draft adds; ``is_alone``: nothing else asks for a transaction. Raises MissingData.

    ``large_out`` gives a reference for a value that is too large to be kept in the table.
    """
    header = draft.header
    changes, answers = newly_found(draft)
    entry = entry_of(draft, changes, large_out)
    if entry is None:
        return Addition()
    kept = newly_kept(draft)
    values = {birth_key(letter): value for letter, value in kept.items()}
    values |= {found_key(digest): answer for digest, answer in answers.items()}
    turns, paged, pages = (*begun(header), entry), header.turns_paged, {}
    if must_be_paged(turns, is_alone=is_alone and not values):
        pages = {page_key(paged): pack_page(turns)}
        turns, paged = (), paged + len(turns) - 1
    findings = {**header.findings, **changes}
    fields = {"turns": turns, "turns_paged": paged, "findings": findings, "kept": header.kept + "".join(kept)}
    return Addition(fields, values, pages)


def entry_of(draft: Draft, found: Mapping[str, str], large_out: Callable[[Json], Json]) -> list[Json] | None:
    """The entry of a draft as plain JSON; ``None`` if nothing happened. Times in milliseconds.

    ``large_out`` gives a reference for a value that is too large to be kept in the table.
    """
    log, header = draft.log, draft.header
    if not log.steps:
        return None
    last = Place.of(header.turns) if header.turns else place_of(header)
    steps = [_outside(step, large_out) if _has_values(step) else step for step in log.steps]
    moment = _millis(log.moment - header.created_at)
    entry: list[Json] = [int(log.seed or 0) - last.seed - 1, moment - last.millis, *steps]
    if draft.next_ordinal > last.ordinal:
        entry.append(f"{CREATED}{draft.next_ordinal - last.ordinal}")
    if draft.state is not header.state:
        entry.append(str(draft.state))
    lag = _millis(header.updated_at - header.created_at) - last.millis
    lost = [[ordinal, number, _result_out(result, large_out)] for ordinal, number, result in log.lost]
    extras = {"u": lag, "f": dict(found), "z": log.random, "r": lost}
    if extras := {key: value for key, value in extras.items() if value}:
        entry.append(extras)
    return entry


def place_of(header: WorkflowExecution) -> Place:
    """Where the next entries begin when there are none in the header."""
    return Place(header.revision - 1, _millis(header.updated_at - header.created_at), header.next_ordinal)


def begun(header: WorkflowExecution) -> tuple[Json, ...]:
    """The entries in a header, behind what they are counted from."""
    place = place_of(header)
    return header.turns or ([place.seed, place.millis, place.ordinal],)


def must_be_paged(turns: Sequence[Json], *, is_alone: bool) -> bool:
    """Whether the entries in the header are enough for a page; fewer are where a transaction is written anyway."""
    size = len(_dumped(list(turns)))
    return size > (HISTORY_TAIL_BYTES_MAX if is_alone else HISTORY_PAGE_BYTES_MIN)


def _has_values(step: Json) -> bool:
    return isinstance(step, list) and step[0] in ("r", "n", "k", "d")


def _outside(step: list[Json], large_out: Callable[[Json], Json]) -> list[Json]:
    """A step with the large values of its environment moved out."""
    return [codec.encode_members(_members_out(part, large_out)) if isinstance(part, dict) else part for part in step]


def _result_out(result: Result, large_out: Callable[[Json], Json]) -> Json:
    value = large_out(result.value)
    return codec.encode_result(
        Result(data=value) if result.error is None else Result(error=value, cancel=result.cancel)
    )


def _members_out(value: dict[str, Json], large_out: Callable[[Json], Json]) -> dict[str, Json]:
    return {key: large_out(member) for key, member in value.items()}


def _millis(seconds: float) -> int:
    return round(seconds * 1000)


def newly_kept(draft: Draft) -> dict[str, Json]:
    """The fields that a draft changes for the first time, by letter, as they were before. Raises MissingData."""
    found = {}
    for letter, name in KEPT.items():
        before = draft.log.birth[letter] if draft.log.birth else getattr(draft.header, name)
        if letter not in draft.header.kept and getattr(draft, name) != before:
            found[letter] = draft.resolve(before)
    return found


def newly_found(draft: Draft) -> tuple[dict[str, str], dict[str, Json]]:
    """What decisions asked for whose answer the history does not know yet: digests by question, and the answers."""
    known = draft.header.findings
    changes: dict[str, str] = {}
    answers: dict[str, Json] = {}
    for need, value in draft.log.asked.items():
        question = question_of(need)
        answer = _answer(value)
        if answer is BUILT_IN and question not in known:
            continue
        digest = answer if isinstance(answer, str) else hashlib.sha256(_dumped(answer)).hexdigest()[:16]
        if known.get(question) == digest:
            continue
        changes[question] = digest
        if not isinstance(answer, str) and digest not in known.values():
            answers[digest] = answer
    return changes, answers


def _dumped(value: Json) -> bytes:
    return json.dumps(value, sort_keys=True, default=str).encode("utf-8", "surrogatepass")


def question_of(need: Need) -> str:
    """A need about other things than the execution's records, as text."""
    letters = {NeedAction: "a", NeedWorkflow: "w", NeedRootEnvironment: "e", NeedTasks: "t", NeedExecutions: "x"}
    letter = next(letter for kind, letter in letters.items() if isinstance(need, kind))
    return json.dumps([letter, *_short(list(astuple(need)), 1)], separators=(",", ":"))


def _answer(value: Any) -> Json:
    """What was found as plain data: a text for nothing and for what the service itself has."""
    if value is None:
        return NOTHING
    if isinstance(value, ActionSpec):
        return {"a": {"name": value.name, **value.data}}
    if isinstance(value, WorkflowFacts):
        return {"w": [value.id, value.name, value.namespace, value.definition_hash, value.workbook_name]}
    if isinstance(value, (dict, list)):
        return {"j": value}
    return BUILT_IN


def found_value(answer: Mapping[str, Any], facts_of: Any) -> Any:
    """What was found, from its plain data; ``facts_of`` gives the input of a workflow by its hash."""
    if "a" in answer:
        return action_from_data(dict(answer["a"]))
    if "w" in answer:
        identifier, name, namespace, definition_hash, workbook = answer["w"]
        return WorkflowFacts(identifier, name, namespace, definition_hash, facts_of(definition_hash), workbook)
    return answer["j"]


def pack_page(entries: Iterable[Json]) -> bytes:
    """A page of entries as bytes."""
    return codec.pack_json(list(entries))
