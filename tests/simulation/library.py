"""Definitions of a simulation: parsed once, shared by all processes, never changed."""

from functools import cache

from chalicelib.engine.invocations import WorkflowFacts
from chalicelib.engine.plan import Plan
from chalicelib.errors import NotFoundException
from chalicelib.lang.graph import WorkflowGraph
from chalicelib.lang.parser import parse_workflow_list
from chalicelib.vocabulary import JsonObject


class Library:
    def __init__(self, text: str) -> None:
        self.plans: dict[str, Plan] = {}
        self.facts: dict[str, WorkflowFacts] = {}
        self.code_sources = self  # no dynamic actions either
        for name, plan in _plans(text).items():
            self.plans[f"hash of {name}"] = plan
            self.facts[name] = WorkflowFacts(f"id of {name}", name, "", f"hash of {name}", plan.spec.input)

    def find_workflow(
        self, project_id: str, name: str, namespace: str, *, is_fresh: bool = False
    ) -> WorkflowFacts | None:
        return self.facts.get(name)

    def workflow_for_start(self, project_id: str, identifier: str, namespace: str) -> WorkflowFacts:
        if identifier not in self.facts:
            raise NotFoundException(f"Workflow not found [workflow_identifier={identifier}]")
        return self.facts[identifier]

    def find_action(self, project_id: str, name: str, namespace: str, *, is_fresh: bool = False) -> None:
        return None

    def environment(self, project_id: str, name: str) -> JsonObject | None:
        return None

    def plan(self, definition_hash: str) -> Plan:
        return self.plans[definition_hash]


@cache
def _plans(text: str) -> dict[str, Plan]:
    return {spec.name: Plan(WorkflowGraph(spec)) for spec in parse_workflow_list(text)}
