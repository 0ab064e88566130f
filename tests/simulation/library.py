"""Definitions of a simulation: parsed once, shared by all processes, never changed."""

import re
from dataclasses import dataclass
from functools import cache

from chalicelib.engine.invocations import WorkflowFacts
from chalicelib.engine.plan import Plan
from chalicelib.errors import NotFoundException
from chalicelib.lang.graph import WorkflowGraph
from chalicelib.lang.parser import parse_workbook, parse_workflow_list
from chalicelib.lang.specs import ActionSpec
from chalicelib.vocabulary import JsonObject


class Library:
    """The workflows of a text, and the ad-hoc actions if it is a workbook."""

    def __init__(self, text: str) -> None:
        self.plans: dict[str, Plan] = {}
        self.facts: dict[str, WorkflowFacts] = {}
        self.code_sources = NoCodeSources()
        read = _read(text)
        self.actions = read.actions
        for name, plan in read.plans.items():
            self.plans[f"hash of {name}"] = plan
            self.facts[name] = WorkflowFacts(
                f"id of {name}", name, "", f"hash of {name}", plan.spec.input, read.workbook_name
            )

    def find_workflow(
        self, project_id: str, name: str, namespace: str, *, is_fresh: bool = False
    ) -> WorkflowFacts | None:
        return self.facts.get(name)

    def workflow_for_start(self, project_id: str, identifier: str, namespace: str) -> WorkflowFacts:
        if identifier not in self.facts:
            raise NotFoundException(f"Workflow not found [workflow_identifier={identifier}]")
        return self.facts[identifier]

    def find_action(self, project_id: str, name: str, namespace: str, *, is_fresh: bool = False) -> ActionSpec | None:
        return self.actions.get(name)

    def environment(self, project_id: str, name: str) -> JsonObject | None:
        return None

    def plan(self, definition_hash: str) -> Plan:
        return self.plans[definition_hash]


class NoCodeSources:
    """There are no dynamic actions."""

    def find_action(self, project_id: str, name: str, namespace: str) -> None:
        return None


@dataclass(frozen=True)
class Read:
    plans: dict[str, Plan]
    actions: dict[str, ActionSpec]
    workbook_name: str | None = None


@cache
def _read(text: str) -> Read:
    if not re.search(r"^workflows:", text, re.MULTILINE):
        return Read({spec.name: Plan(WorkflowGraph(spec)) for spec in parse_workflow_list(text)}, {})
    book = parse_workbook(text)
    plans = {f"{book.name}.{name}": Plan(WorkflowGraph(spec)) for name, spec in book.workflows.items()}
    return Read(plans, {f"{book.name}.{name}": spec for name, spec in book.actions.items()}, book.name)
