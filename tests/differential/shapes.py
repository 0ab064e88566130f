"""The bare graph of a random direct workflow, with its planned fate: which tasks run and which transitions fire.

Only graphs whose outcome does not depend on who is faster: no task before a join runs twice, a join is reached exactly
as often as it waits for, or it fails after the only arrival.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

from tests.differential.draw import Draw

COMMAND_NAMES = ("noop", "fail", "succeed", "pause")


@dataclass(slots=True)
class Edge:
    """A transition, and whether it is planned to fire once its source has run."""

    source: Node
    target: Node
    fires: bool


@dataclass(slots=True)
class Node:
    """A task and its planned fate."""

    name: str
    fails: bool = False
    reached: bool = True
    join: str | int | None = None
    # A join that cannot be met: nothing runs in it, it fails.
    impossible: bool = False
    runs_twice: bool = False
    inbound: list[Edge] = field(default_factory=list)
    outbound: list[Edge] = field(default_factory=list)

    @property
    def arrivals(self) -> list[Edge]:
        """The inbound transitions that are planned to happen."""
        return [edge for edge in self.inbound if edge.fires and edge.source.reached]


@dataclass(slots=True)
class Graph:
    """Nodes in topological order."""

    nodes: list[Node]

    def ancestors(self, node: Node) -> list[Node]:
        """Tasks that have certainly run when this one runs."""
        found: list[Node] = []
        for edge in node.arrivals:
            for other in [*self.ancestors(edge.source), edge.source]:
                if other not in found:
                    found.append(other)
        return found

    def alone(self, node: Node) -> bool:
        """Whether nothing else runs while this task does."""
        before = self.ancestors(node)
        others = [other for other in self.nodes if other.reached and other is not node]
        return not node.runs_twice and all(
            not other.runs_twice and (other in before or node in self.ancestors(other)) for other in others
        )


def make_graph(draw: Draw) -> Graph:
    """A graph of two to eight tasks."""
    shape = draw.weighted({"chain": 4, "tree": 3, "diamond": 4})
    names = _names(draw)
    if shape != "chain":
        # A task that is named as a command is never reached where the command is meant; others would race with that.
        names = [f"t{number}" for number in range(1, 10)]
    if shape == "chain":
        nodes = [Node(names.pop(0)) for _ in range(draw.number(2, 6))]
        for source, target in pairwise(nodes):
            _link(draw, source, target, 0.95)
    elif shape == "tree":
        nodes = [Node(names.pop(0)) for _ in range(draw.number(3, 7))]
        for index, target in enumerate(nodes[1:], start=1):
            if draw.chance(0.9):
                _link(draw, draw.pick(nodes[:index]), target, 0.85)
    else:
        nodes = _diamond(draw, names)
    graph = Graph(nodes)
    _plan(draw, graph)
    if shape != "diamond":
        _run_leaf_twice(draw, graph)
    return graph


def _names(draw: Draw) -> list[str]:
    names = [f"t{number}" for number in range(1, 10)]
    if draw.chance(0.06):
        names[draw.number(1, 4)] = draw.pick(COMMAND_NAMES)
    return names


def _link(draw: Draw, source: Node, target: Node, probability: float) -> None:
    edge = Edge(source, target, draw.chance(probability))
    source.outbound.append(edge)
    target.inbound.append(edge)


def _diamond(draw: Draw, names: list[str]) -> list[Node]:
    nodes: list[Node] = []

    def add() -> Node:
        nodes.append(Node(names.pop(0)))
        return nodes[-1]

    root = add() if draw.chance(0.75) else None
    ends: list[Node] = []
    for _ in range(draw.number(2, 3)):
        previous = root
        for _ in range(draw.number(1, 2)):
            node = add()
            if previous is not None:
                _link(draw, previous, node, 0.93)
            previous = node
        ends.append(nodes[-1])
    join = add()
    join.join = "all"
    for end in ends:
        _link(draw, end, join, 0.85)
    previous = join
    for _ in range(draw.number(0, 2)):
        if names:
            node = add()
            _link(draw, previous, node, 0.95)
            previous = node
    return nodes


def _plan(draw: Draw, graph: Graph) -> None:
    for node in graph.nodes:
        node.fails = draw.chance(0.22)
        if node.inbound:
            node.reached = bool(node.arrivals)
        if node.join is not None:
            _plan_join(draw, node)


def _plan_join(draw: Draw, node: Node) -> None:
    arrivals, inbound = len(node.arrivals), len(node.inbound)
    if arrivals == inbound:
        node.join = "all" if draw.pick([True, True, False]) else inbound
    elif arrivals == 1:
        options: list[str | int] = ["one", 1, "all", "all", inbound]
        node.join = draw.pick(options)
        node.impossible = node.join in {"all", inbound}
    else:
        node.join = max(arrivals, 1)
    if node.impossible:
        node.fails = True


def _run_leaf_twice(draw: Draw, graph: Graph) -> None:
    """Sometimes a task at the end is reached by two others: it has two executions then."""
    leaves = [node for node in graph.nodes[2:] if not node.outbound and node.inbound]
    if leaves and draw.chance(0.12):
        leaf = draw.pick(leaves)
        others = [node for node in graph.nodes[: graph.nodes.index(leaf)] if node is not leaf.inbound[0].source]
        if others:
            _link(draw, draw.pick(others), leaf, 1.0)
            leaf.runs_twice = True
            leaf.reached = bool(leaf.arrivals)
