"""The tables of the Workflow Language v2: which keys there are, and what each may hold.

``validator`` checks by these tables, ``schema`` publishes them. What a table cannot say (that a target exists, that a
join has enough inbound tasks) is in ``validator``. The keys marked as extensions are this product's own; a definition
that uses none of them runs on OpenStack Mistral too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from chalicelib.data import dataclass
from chalicelib.lang.inline import is_expression
from chalicelib.lang.loader import CoercedText, Path
from chalicelib.lang.shapes import (
    Anything,
    Boolean,
    Either,
    Expression,
    Keyed,
    ListOf,
    MapOf,
    Number,
    Report,
    Shape,
    Text,
    Words,
    did_you_mean,
    is_text,
    shown,
)
from chalicelib.vocabulary import Json, JsonObject

VERSION: Final = "2.0"
ENGINE_COMMANDS: Final = ("noop", "fail", "succeed", "pause")
EVENTS: Final = ("on-complete", "on-success", "on-error", "on-skip")

# ----------------------------------------------------------------------------------------------------------------------
# On-clauses: four forms, of which exactly one must fit


# A name without whitespace, or a name with a parameter after a space, or in parentheses; exactly one of the three.
_TARGETS: Final = (r"^\S+$", r"^\w+ \w+=(.*)$", r"^\w+\(\w+=(.*)\)$")
_TARGET_PATTERNS: Final = tuple(re.compile(pattern) for pattern in _TARGETS)


@dataclass(frozen=True, slots=True)
class Target:
    """A transition without a guard."""

    def admits(self, value: Json) -> bool:
        """Whether the value is text."""
        return is_text(value)

    def check(self, value: Json, path: Path, report: Report) -> None:
        """Tell whether the text is no target, or two kinds of target at once."""
        fitting = sum(pattern.search(value) is not None for pattern in _TARGET_PATTERNS)
        if fitting == 0:
            report(path, f"{shown(value)} is not valid; write `task`, `command key=value` or `command(key='a value')`")
        elif fitting > 1:
            report(path, f"{shown(value)} is valid under two forms; write {_spaced(value)!r} instead")

    def schema(self) -> JsonObject:
        """Exactly one of the three patterns."""
        return {"type": "string", "oneOf": [{"pattern": pattern} for pattern in _TARGETS]}


def _spaced(target: str) -> str:
    name, _, parameters = target.partition("(")
    return f"{name} {parameters[:-1]}"


@dataclass(frozen=True, slots=True)
class Guarded:
    """A transition with a guard: one key, the target, whose value is an expression."""

    def admits(self, value: Json) -> bool:
        """Whether the value is a dictionary."""
        return isinstance(value, dict)

    def check(self, value: Json, path: Path, report: Report) -> None:
        """Tell what is wrong with the key or with the guard."""
        if len(value) != 1:
            report(path, f"{shown(value)} should have one key, the target, with its guard; found {len(value)} keys")
        for target, guard in value.items():
            if isinstance(target, CoercedText):
                report((*path, target), f"the target {target.written} is not of type 'string' in YAML; quote it")
            if not is_expression(guard):
                report(
                    (*path, target), f"the guard {shown(guard)} is not an expression; write <% ... %> or {{{{ ... }}}}"
                )

    def schema(self) -> JsonObject:
        """One key whose value is an expression."""
        return {
            "type": "object",
            "minProperties": 1,
            "maxProperties": 1,
            "additionalProperties": Expression().schema(),
        }


EXPRESSION: Final = Expression()
TEXT: Final = Text()
TEXTS: Final = ListOf(TEXT)
MAP: Final = MapOf()
WHOLE: Final = Number(whole=True)
EXPRESSION_OR_WHOLE: Final = Either((EXPRESSION, WHOLE), "an expression or an integer of at least 0")
EXPRESSION_OR_BOOLEAN: Final = Either((EXPRESSION, Boolean()), "an expression or true or false")
TEXT_OR_TEXTS: Final = Either((TEXT, TEXTS), "text or a list of texts")

# ``name`` and its siblings are let pass wherever Mistral's base schema lets them pass, and mean nothing there.
_META: Final[Mapping[str, Shape]] = {
    "name": TEXT,
    "version": Either((TEXT, Number()), "a version"),
    "description": TEXT,
    "tags": TEXTS,
}

PUBLISH_SCOPES: Final = ("branch", "global", "atomic")
PUBLISH: Final = Keyed({**dict.fromkeys(PUBLISH_SCOPES, MAP), **_META})

_TARGETS_LIST: Final = ListOf(Either((Target(), Guarded()), "a target or a target with its guard"))
_ADVANCED: Final = Keyed(
    {
        "publish": PUBLISH,
        "next": Either((Target(), Guarded(), _TARGETS_LIST), "a target, a target with its guard, or a list of them"),
    }
)


@dataclass(frozen=True, slots=True)
class OnClause:
    """``on-success`` and its siblings.

    A dictionary with one key that is neither ``publish`` nor ``next`` is a target with its guard; it passes, as in
    Mistral, although it leads nowhere (see ``pitfalls``).
    """

    def admits(self, _value: Json) -> bool:
        """Every value, to tell precisely what is wrong with it."""
        return True

    def check(self, value: Json, path: Path, report: Report) -> None:
        """Tell every fault of the form that the value seems to have."""
        if is_text(value):
            Target().check(value, path, report)
        elif isinstance(value, list):
            _TARGETS_LIST.check(value, path, report)
        elif not isinstance(value, dict):
            report(path, f"{shown(value)} is not valid here; expected a task name, a list of them, or publish and next")
        elif not value:
            report(path, "{} should be non-empty")
        elif self._is_guarded(value):
            Guarded().check(value, path, report)
        else:
            _ADVANCED.check(value, path, report)
            publish = value.get("publish")
            if isinstance(publish, dict) and not any(publish.get(scope) for scope in PUBLISH_SCOPES):
                report((*path, "publish"), "Either 'branch', 'global' or 'atomic' must be specified")

    def schema(self) -> JsonObject:
        """The four forms."""
        return {"oneOf": [shape.schema() for shape in (Target(), Guarded(), _TARGETS_LIST)] + [_ADVANCED_SCHEMA]}

    @staticmethod
    def _is_guarded(value: JsonObject) -> bool:
        [key, *more] = value
        return not more and key not in _ADVANCED.keys and (is_text(value[key]) or not did_you_mean(key, _ADVANCED.keys))


_ADVANCED_SCHEMA: Final = {**_ADVANCED.schema(), "minProperties": 1}

# ----------------------------------------------------------------------------------------------------------------------
# Tasks

RETRY: Final = Keyed(
    {
        "count": EXPRESSION_OR_WHOLE,
        "delay": EXPRESSION_OR_WHOLE,
        "break-on": EXPRESSION,
        "continue-on": EXPRESSION,
        # extensions
        "backoff": Number(minimum=1),
        "max-delay": WHOLE,
        "jitter": Number(minimum=0, maximum=1),
        "attempt-timeout": EXPRESSION_OR_WHOLE,
    },
    required=("count", "delay"),
)

POLICIES: Final[Mapping[str, Shape]] = {
    "retry": Either((TEXT, RETRY), "text or a dictionary with count and delay"),
    "wait-before": EXPRESSION_OR_WHOLE,
    "wait-after": EXPRESSION_OR_WHOLE,
    "timeout": EXPRESSION_OR_WHOLE,
    "pause-before": EXPRESSION_OR_BOOLEAN,
    "concurrency": EXPRESSION_OR_WHOLE,
    "fail-on": EXPRESSION_OR_BOOLEAN,
}

_TASK: Final[Mapping[str, Shape]] = {
    "description": TEXT,
    "tags": TEXTS,
    "action": TEXT,
    "workflow": TEXT,
    "input": Either((MAP, TEXT), "a dictionary or an expression"),
    "publish": MAP,
    "publish-on-error": MAP,
    "publish-on-skip": MAP,
    "with-items": TEXT_OR_TEXTS,
    "keep-result": EXPRESSION_OR_BOOLEAN,
    "safe-rerun": EXPRESSION_OR_BOOLEAN,
    "target": TEXT,
    **POLICIES,
    # extension
    "tolerated-failure-percentage": Either((EXPRESSION, Number(0, 100)), "an expression or a number from 0 to 100"),
}
_ON_CLAUSES: Final[Mapping[str, Shape]] = dict.fromkeys(EVENTS, OnClause())
_DIRECT: Final[Mapping[str, Shape]] = {
    **_ON_CLAUSES,
    "join": Either((Words(("all", "one")), WHOLE), "all, one or an integer of at least 0"),
}
_REVERSE: Final[Mapping[str, Shape]] = {"requires": TEXT_OR_TEXTS}
_INJECTED: Final = frozenset({"name", "version", "type"})
_NO_POLICIES: Final = {"policies": "write the policies directly on the task"}

TASKS: Final[Mapping[str, Keyed]] = {
    "direct": Keyed(
        {**_TASK, **_DIRECT},
        injected=_INJECTED,
        elsewhere={**_NO_POLICIES, "requires": "only a task of a reverse workflow has it"},
    ),
    "reverse": Keyed(
        {**_TASK, **_REVERSE},
        injected=_INJECTED,
        elsewhere={**_NO_POLICIES, **dict.fromkeys(_DIRECT, "only a task of a direct workflow has it")},
    ),
}

TASK_DEFAULTS: Final = Keyed(
    {**POLICIES, **_ON_CLAUSES, "safe-rerun": EXPRESSION_OR_BOOLEAN, "requires": TEXT_OR_TEXTS, **_META},
    elsewhere=dict.fromkeys(
        sorted((_TASK.keys() | {"join"}) - POLICIES.keys() - _META.keys() - {"safe-rerun"}),
        "it has no default; write it on each task",
    ),
)

# ----------------------------------------------------------------------------------------------------------------------
# Documents and what they are made of

_INPUT: Final = ListOf(Either((TEXT, MapOf(exactly_one=True)), "a name, or a name with its default"))

# Mistral lets unknown keys of a workflow pass, and does not look at its description; ``pitfalls`` warns of both. The
# bodies below ``tasks`` and ``task-defaults`` are checked one by one, by the tables above.
WORKFLOW: Final = Keyed(
    {
        "type": Words(("direct", "reverse")),
        "tags": TEXTS,
        "input": _INPUT,
        "vars": MAP,
        "output": MAP,
        "output-on-error": MAP,
        "task-defaults": MAP,
        "tasks": MAP,
    },
    required=("tasks",),
    is_open=True,
    injected=frozenset({"name", "version"}),
)
# Keys that mean something without being in the table: for suggestions and warnings. ``timeout`` is an extension.
WORKFLOW_KEYS: Final = (*WORKFLOW.keys, "description", "name", "version", "timeout")
WORKFLOW_TIMEOUT: Final = Either((EXPRESSION, Number(minimum=1, whole=True)), "an expression or a number of seconds")

ACTION: Final = Keyed(
    {
        "base": TEXT,
        "base-input": MAP,
        "input": _INPUT,
        "output": Anything(),
        "description": TEXT,
        "tags": TEXTS,
    },
    required=("base",),
    injected=frozenset({"name", "version"}),
)

WORKBOOK: Final = Keyed(
    {
        "version": Words((VERSION,)),
        "name": TEXT,
        "description": TEXT,
        "tags": TEXTS,
        "actions": MapOf(),
        "workflows": MapOf(),
    },
    required=("name", "version"),
    elsewhere={"triggers": "create triggers by the API"},
)

LIST_VERSION: Final = Either((TEXT, Number()), "a version, as '2.0'")

# Where expressions are checked when a definition is created: in the top-level strings of these values. What is deeper
# fails at run time only.
TASK_EXPRESSIONS: Final = (
    "input",
    "publish",
    "publish-on-error",
    "publish-on-skip",
    "keep-result",
    "safe-rerun",
    "wait-before",
    "wait-after",
    "timeout",
    "pause-before",
    "concurrency",
    "fail-on",
    "tolerated-failure-percentage",
)
TASK_DEFAULTS_EXPRESSIONS: Final = (
    "safe-rerun",
    "wait-before",
    "wait-after",
    "timeout",
    "pause-before",
    "concurrency",
    "fail-on",
)
WORKFLOW_EXPRESSIONS: Final = ("output", "vars", "timeout")
RETRY_EXPRESSIONS: Final = ("count", "delay", "break-on", "continue-on")
