"""What the engine precomputes from a workflow's graph, once per definition.

Numbers for tasks and transitions, and which tasks expressions name.

Numbers let the header keep "who has completed" and "which transitions have fired" as bit sets; the names let it
remember the last execution of just those tasks that some ``task('name')`` or ``webhook_url('name')`` asks for.
"""

from __future__ import annotations

import json
import re
from typing import Final

from chalicelib.lang.graph import WorkflowGraph

_TASK_CALL: Final = re.compile(r"\btask\s*\(\s*([^)]*)\)")
_WEBHOOK_CALL: Final = re.compile(r"\bwebhook_url\s*\(\s*([^),]*)")
_LITERAL: Final = re.compile(r"""^(?:\\?['"])?([\w.\-]+)(?:\\?['"])?$""")


class Plan:
    """A compiled workflow as the engine uses it. Immutable after construction."""

    def __init__(self, graph: WorkflowGraph) -> None:
        self.graph = graph
        self.spec = graph.spec
        names = list(graph.spec.tasks)
        self.task_bit = {name: 1 << index for index, name in enumerate(names)}
        self.has_joins = bool(graph.joins)
        edges = [(name, target) for name in names for target in graph.outbound(name)] if self.has_joins else []
        self.edge_bit = {edge: 1 << index for index, edge in enumerate(edges)}
        self.edges_of: dict[str, int] = {}
        for edge, bit in self.edge_bit.items():
            self.edges_of[edge[0]] = self.edges_of.get(edge[0], 0) | bit
        self.names_asked = _names_asked(graph)

    def edge_number(self, source: str, target: str) -> int:
        """The number of the transition from one task to another, in a workflow with joins."""
        return self.edge_bit[source, target].bit_length() - 1

    def remembers(self, task_name: str) -> bool:
        """Whether some expression may ask for the last execution of this task by name."""
        return self.names_asked is None or task_name in self.names_asked


def _names_asked(graph: WorkflowGraph) -> frozenset[str] | None:
    """The names in ``task(name)`` and ``webhook_url(name)`` calls of the definition.

    ``None`` when one of them is computed, so that any may be meant.
    """
    text = json.dumps(graph.spec.data, default=str)
    names: set[str] = set()
    for argument in (*_TASK_CALL.findall(text), *_WEBHOOK_CALL.findall(text)):
        if not argument.strip():
            continue
        literal = _LITERAL.match(argument.strip())
        if literal is None:
            return None
        names.add(literal.group(1))
    return frozenset(names)
