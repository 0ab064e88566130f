"""Differences that are meant: docs/compatibility.md names them, and here they are told from others."""

from __future__ import annotations

import json
from typing import Any

from tests.differential.cases import Case
from tests.differential.player import ENDED, Answer

_EVALUATION_ERRORS = ("<yaql error>", "<jinja error>", "<failed to complete>")


def reason_for(case: Case, ours: Answer, theirs: Answer) -> str:
    """The documented reason for a difference; empty when there is none."""
    mine, other = ours.get("execution"), theirs.get("execution")
    if mine is None or other is None:
        return ""
    if mine["state"] in ENDED and other["state"] not in ENDED and _starts_late_with_wrong_parameters(case, mine, other):
        return "wrong parameters of an action that starts late leave OpenStack Mistral waiting"
    if mine["state"] == "ERROR" and mine["state_info"] in _EVALUATION_ERRORS and other["state"] == "PAUSED":
        return "an output that cannot be evaluated at a resume leaves OpenStack Mistral paused"
    if _may_pause(case) and _joins_go_wrong(mine, other):
        return "a join beside a pause runs twice, or never, on OpenStack Mistral"
    if _may_pause(case) and other["state"] in ENDED and _child_ends_unheard(mine, other):
        return "a sub-workflow that fails beside a pause ends its task without publishing on OpenStack Mistral"
    return ""


def _starts_late_with_wrong_parameters(case: Case, mine: Answer, other: Answer) -> bool:
    """Whether a join or a delayed task stays where it was, as its action has wrong parameters or a null ``timeout``."""
    if "timeout: <% $.get(absent) %>" in "".join(case.workflows + case.workbooks):
        return any(_states(other, name) == {"WAITING"} for name in other["tasks"])
    return any(
        task["state_info"] == "<failed to run task>" and _states(other, name) & {"WAITING", "DELAYED"}
        for name, found in mine["tasks"].items()
        for task in found
    )


def _may_pause(case: Case) -> bool:
    text = json.dumps(case.as_json())
    return "pause" in text or "PAUSED" in text


def _joins_go_wrong(mine: Answer, other: Answer) -> bool:
    """Whether a task waits for ever on the other side, or one has run more often there."""
    if mine["state"] in ENDED and other["state"] not in ENDED:
        return any(_states(other, name) == {"WAITING"} for name in other["tasks"])
    return any(_runs(found) > _runs(mine["tasks"].get(name, [])) > 0 for name, found in other["tasks"].items())


def _child_ends_unheard(mine: Answer, other: Answer) -> bool:
    """Whether a sub-workflow's task has published nothing on the other side, and something here."""
    return any(
        task["type"] == "WORKFLOW"
        and task["published"] == {}
        and any(own["published"] for own in mine["tasks"].get(name, ()))
        for name, found in other["tasks"].items()
        for task in found
    )


def _states(execution: Answer, name: str) -> set[str]:
    return {task["state"] for task in execution["tasks"].get(name, [])}


def _runs(found: list[Any]) -> int:
    return max((len(task.get("actions", ())) + len(task.get("executions", ())) for task in found), default=0)
