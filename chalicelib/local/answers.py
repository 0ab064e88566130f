"""Answers in the place of actions: what a rehearsal gives instead of acting on the world.

Pure actions run as ever. Any other action is answered by what the user has written for its task or, else, for its
name; by a placeholder where nothing is written. A list of answers is given one after another, the last one for good.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Final

from chalicelib.actions.action import Action, ActionContext, Parameter, Polling
from chalicelib.actions.registry import Registry
from chalicelib.actions.secrets import Revealed, Secrets
from chalicelib.engine.identity import address_of
from chalicelib.errors import DefinitionError
from chalicelib.lang import loader
from chalicelib.local.problems import LocalError
from chalicelib.services.execution_store import ExecutionStore
from chalicelib.vocabulary import Json, JsonObject, Result

# How long an action is taken to last, where nobody says.
ACTION_MS: Final = 100.0
ANSWER_AFTER_MAX_SEC: Final = 366 * 24 * 3600
ACTION_MAX_MS: Final = 900_000
_HTTP_ACTIONS: Final = ("std.http", "std.mistral_http")
_HTTP_ANSWER: Final[JsonObject] = {"status": 200, "reason": "OK", "content": {}, "headers": {}, "history": []}


@dataclass(frozen=True, slots=True)
class Answer:
    """What an action answers, how long it works for that, and after how long an asynchronous one is completed."""

    result: Result
    action_ms: float | None = None
    after_sec: float = 0.0


@dataclass(frozen=True, slots=True)
class Later:
    """The result of an asynchronous action, which somebody brings through the API."""

    action_execution_id: str
    result: Result
    after_sec: float


Answers = dict[str, tuple[Answer, ...]]


def answers_from(path: str, text: str) -> Answers:
    """Answers by the name of a task or action, from YAML or JSON. Raises LocalError that says where it is wrong."""
    try:
        data = loader.load(text).data
    except DefinitionError as error:
        raise LocalError(f"{path}: {error}") from error
    return {str(name): _answers(path, str(name), given) for name, given in data.items()}


def _answers(path: str, name: str, given: Json) -> tuple[Answer, ...]:
    several = given if isinstance(given, list) else [given]
    if not several:
        raise LocalError(f"{path}: {name} has an empty list of answers; give one at least, such as {{data: 1}}")
    return tuple(_answer(path, name, each) for each in several)


def _answer(path: str, name: str, given: Json) -> Answer:
    known = {"data", "error", "ms", "after_sec"}
    if not isinstance(given, dict) or not given.keys() <= known or {"data", "error"} <= given.keys():
        raise LocalError(f"{path}: an answer of {name} is an object of data or error, ms and after_sec")
    ms = _number(path, f"{name}.ms", given.get("ms"), ACTION_MAX_MS)
    after_sec = _number(path, f"{name}.after_sec", given.get("after_sec"), ANSWER_AFTER_MAX_SEC)
    result = Result(error=given["error"]) if "error" in given else Result(data=given.get("data"))
    return Answer(result, ms, after_sec or 0.0)


def _number(path: str, where: str, given: Json, most: float) -> float | None:
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 <= given <= most:
        raise LocalError(f"{path}: {where} is a number from 0 to {most:,}, not {given!r}")
    return float(given)


class Script:
    """Who says what an action answers; counts what it was asked."""

    def __init__(self, answers: Answers, action_ms: float, task_name: Callable[[ActionContext], str | None]) -> None:
        self.runs: Counter[str] = Counter()
        self.pure_runs = 0
        self.action_ms = 0.0
        self.later: list[Later] = []
        self.without_answer: set[str] = set()
        self._answers = answers
        self._usual_ms = action_ms
        self._task_name = task_name
        self._given: Counter[str] = Counter()
        self._lock = Lock()

    def has(self, name: str) -> bool:
        """Whether an answer is written for this name."""
        return name in self._answers

    def ran(self, name: str, ms: float) -> None:
        """Count one run of an action that is not pure."""
        with self._lock:
            self.runs[name] += 1
            self.action_ms += ms

    def answer(self, action: AnsweredAction, input: JsonObject, context: ActionContext) -> Result:
        """The result of an action; that of an asynchronous one is only noted down."""
        task = self._task_name(context) if self._answers else None
        key = next((name for name in (task, action.name) if name is not None and name in self._answers), None)
        known_ms = 1000 * action.duration_sec(input)
        if key is None:
            self.without_answer.add(action.name)
            data = dict(_HTTP_ANSWER, url=input.get("url")) if action.name in _HTTP_ACTIONS else {}
            answer = Answer(Result(data=data))
        else:
            with self._lock:
                answer = self._answers[key][min(self._given[key], len(self._answers[key]) - 1)]
                self._given[key] += 1
        self.ran(action.name, answer.action_ms if answer.action_ms is not None else known_ms or self._usual_ms)
        if not action.is_sync and context.action_execution_id is not None:
            self.later.append(Later(context.action_execution_id, answer.result, answer.after_sec))
            return Result(data=None)
        return answer.result


@dataclass(frozen=True, slots=True)
class AnsweredAction:
    """An action that is not run but answered, unless it is pure. Without ``inner`` it is known by its answers only."""

    name: str
    inner: Action | None
    script: Script

    @property
    def description(self) -> str:
        """See ``Action``."""
        return self.inner.description if self.inner is not None else ""

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """See ``Action``."""
        return self.inner.parameters if self.inner is not None else ()

    @property
    def accepts_any(self) -> bool:
        """See ``Action``."""
        return self.inner is None or self.inner.accepts_any

    @property
    def is_sync(self) -> bool:
        """See ``Action``."""
        return self.inner is None or self.inner.is_sync

    @property
    def polling(self) -> Polling:
        """Never: an answer is there at once."""
        return Polling.NEVER

    @property
    def label(self) -> str:
        """See ``Action``."""
        return self.inner.label if self.inner is not None else self.name

    @property
    def signature_text(self) -> str:
        """See ``Action``."""
        return self.inner.signature_text if self.inner is not None else "**kwargs"

    def check(self, input: JsonObject) -> None:
        """See ``Action``."""
        if self.inner is not None:
            self.inner.check(input)

    def check_values(self, input: JsonObject) -> None:
        """See ``Action``."""
        if self.inner is not None:
            self.inner.check_values(input)

    def is_pure(self, input: JsonObject) -> bool:
        """See ``Action``."""
        return self.inner is not None and self.inner.is_pure(input)

    def duration_sec(self, input: JsonObject) -> float:
        """See ``Action``."""
        return self.inner.duration_sec(input) if self.inner is not None else 0.0

    def run(self, input: JsonObject, context: ActionContext) -> Result:
        """See ``Action``."""
        if self.inner is not None and self.inner.is_pure(input):
            self.script.pure_runs += 1
            return self.inner.run(input, context)
        return self.script.answer(self, input, context)


class AnsweringRegistry(Registry):
    """All actions, each answered by a script; also those that only the script knows."""

    def __init__(self, script: Script) -> None:
        super().__init__()
        self._script = script

    def find(self, name: str) -> Action | None:
        """See ``Registry``."""
        found = super().find(name)
        if found is None and not self._script.has(name):
            return None
        return AnsweredAction(name, found, self._script)


class NoSecrets(Secrets):
    """References to secrets stay what they are: who is answered needs no value."""

    def __init__(self) -> None:
        """There is no source."""

    def reveal(self, input: JsonObject, project_id: str | None) -> Revealed:  # noqa: ARG002 - the port
        """See ``Secrets``."""
        return Revealed(input)


def task_names(store: ExecutionStore) -> Callable[[ActionContext], str | None]:
    """What a task is called that an action runs for, by the records."""

    def name_of(context: ActionContext) -> str | None:
        address = address_of(context.task_execution_id) if context.task_execution_id is not None else None
        header = store.glimpse(address.execution_id, address.ordinal) if address is not None else None
        if address is None or header is None:
            return None
        task = header.frontier.get(address.ordinal) or store.task(header, address.ordinal)
        return task.name if task is not None else None

    return name_of
