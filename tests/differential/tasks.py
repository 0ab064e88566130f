"""A random direct workflow's tasks: body, transitions, published variables and policies of each node of a graph."""

from __future__ import annotations

from typing import Any

from tests.differential import bodies
from tests.differential.bodies import Body, Library, Site
from tests.differential.draw import Draw
from tests.differential.expressions import Known, expression, guard, value
from tests.differential.shapes import COMMAND_NAMES, Graph, Node

Clause = list[tuple[str, str | None]]


class TaskMaker:
    """Makes the tasks of one graph, in topological order."""

    def __init__(self, draw: Draw, graph: Graph, known: Known, library: Library, *, patient: bool) -> None:
        self.draw = draw
        self.graph = graph
        self.library = library
        self.patient = patient
        self.answers: dict[str, list[dict[str, Any]]] = {}
        self.real_time = False
        # What is certainly there when a task ends; the variables that it published included.
        self.known_after: dict[str, Known] = {}
        self._start = known
        self._may_break = True

    def make(self) -> dict[str, Body]:
        """The ``tasks`` of the workflow."""
        made = {node.name: self._task(node) for node in self.graph.nodes}
        return {name: body or {"action": "std.noop"} for name, body in made.items()}

    def known_before(self, node: Node) -> Known:
        """Variables that a task certainly sees."""
        known = dict(self._start)
        for edge in node.arrivals:
            known |= self.known_after.get(edge.source.name, {})
        return known

    def _task(self, node: Node) -> Body:
        draw = self.draw
        alone = node.reached and self.graph.alone(node)
        known = self.known_before(node)
        site = Site(draw, node.name, known, self.library, alone, self.answers, patient=self.patient)
        succeeds = node.impossible or not node.fails
        body = bodies.succeeding(site) if succeeds else bodies.failing(site)
        if alone and self._may_break and draw.chance(0.05):
            self._may_break = False
            body = bodies.broken(site)
            self.known_after[node.name] = known
        self.real_time |= site.real_time
        if node.join is not None:
            body["join"] = node.join
        self._publish(node, body, known)
        self._policies(node, body, alone)
        self._transitions(node, body, alone)
        return body

    # -- data

    def _publish(self, node: Node, body: Body, known: Known) -> None:
        draw = self.draw
        after = dict(known)
        self.known_after[node.name] = after
        if not draw.chance(0.6):
            return
        variables, kinds = self._variables(node, known)
        key = "publish-on-error" if node.fails and "fail-on" not in body else "publish"
        body.setdefault(key, {}).update(variables)
        after |= kinds
        if draw.chance(0.15):
            body["publish" if key != "publish" else "publish-on-error"] = {f"other_{node.name}": value(draw, known)[0]}

    def _variables(self, node: Node, known: Known) -> tuple[dict[str, Any], Known]:
        draw, name = self.draw, node.name
        made, kind = value(draw, known)
        variables: dict[str, Any] = {f"v_{name}": made}
        kinds: Known = {f"v_{name}": kind if kind != "any" else "any"}
        if draw.chance(0.25):
            variables["shared"] = {name: value(draw, known)[0]}
        if draw.chance(0.3):
            variables[f"r_{name}"] = draw.pick(
                ["<% task().result %>", "{{ task().result }}", "got <% task().result %>", f"<% task({name}).result %>"]
            )
        if draw.chance(0.2):
            variables[f"s_{name}"] = self._about_tasks(node)
        if draw.chance(0.15) and self.graph.alone(node):
            variables["chain"] = draw.pick([name, f"<% $.get(chain, '') %>-{name}", {"last": name, name: 1}])
        return variables, kinds

    def _about_tasks(self, node: Node) -> str:
        others = [other.name for other in self.graph.ancestors(node) if other.name not in COMMAND_NAMES]
        texts = [
            "<% task().name %>",
            "<% task().state %>",
            "<% task().type %>",
            "{{ task().name }}",
            "<% task().spec.name %>",
        ]
        for other in others:
            texts += [f"<% task({other}).result %>", f"<% task({other}).state %>", f"{{{{ task('{other}').result }}}}"]
            texts += [f"<% task({other}).published %>", f"<% global(g_{other}) %>", f"{{{{ global('g_{other}') }}}}"]
        if self.graph.alone(node):
            texts += ["<% tasks(execution().id).len() %>", "<% tasks(execution().id).name.orderBy($) %>"]
            texts += [
                "<% tasks(execution().id, false, ERROR).name %>",
                "<% tasks(execution().id, true).state.distinct().orderBy($) %>",
            ]
        return self.draw.pick(texts)

    # -- policies

    def _policies(self, node: Node, body: Body, alone: bool) -> None:
        draw = self.draw
        waits = "timeout" in body
        if draw.chance(0.1) and not waits and "retry" not in body:
            body["retry"] = self._retry()
        if draw.chance(0.06):
            body["wait-before"] = draw.pick([0, 1, "<% 1 %>", "{{ 0 }}"]) if self.patient else 0
        if draw.chance(0.06):
            body["wait-after"] = draw.pick([0, 1, "<% 0 %>", "{{ 1 }}"]) if self.patient else 0
        if draw.chance(0.05) and not waits:
            body["timeout"] = draw.pick([0, 60, "<% 60 %>"])
        if draw.chance(0.05) and "fail-on" not in body:
            body["fail-on"] = draw.pick([False, "<% false %>", "<% task().result = nothing_like_this %>", "{{ '' }}"])
        if draw.chance(0.04):
            body["pause-before"] = draw.pick([True, "<% true %>", False, "{{ 1 > 0 }}"])
        if draw.chance(0.05):
            body["keep-result"] = draw.pick([False, True, "<% false %>"])
        if draw.chance(0.04):
            body["safe-rerun"] = draw.pick([True, False])
        if draw.chance(0.03) and "concurrency" not in body:
            body["concurrency"] = draw.pick([1, 3])

    def _retry(self) -> Any:
        draw = self.draw
        retry: dict[str, Any] = {
            "count": draw.pick([0, 1, 2, "<% 1 %>"]),
            "delay": draw.pick([0, 0, 1, "{{ 0 }}"]) if self.patient else 0,
        }
        if draw.chance(0.3):
            retry["break-on"] = draw.pick(["<% false %>", "<% true %>", "<% task().result = absent %>", "{{ 0 }}"])
        if draw.chance(0.3):
            retry["continue-on"] = draw.pick(
                ["<% false %>", "<% true %>", "<% task().state = ERROR %>", "{{ task().result }}"]
            )
        if draw.chance(0.15):
            return "count=1 delay=0"
        return retry

    # -- transitions

    def _transitions(self, node: Node, body: Body, alone: bool) -> None:
        draw = self.draw
        own, other = ("on-error", "on-success") if node.fails else ("on-success", "on-error")
        clauses: dict[str, Clause] = {}
        for edge in node.outbound:
            self._add_edge(clauses, edge.target.name, own, other, fires=edge.fires)
        if draw.chance(0.12):
            clauses.setdefault(draw.pick([own, "on-complete", other]), []).append(("noop", None))
        if node.fails and draw.chance(0.3) and own not in clauses:
            clauses[own] = [("noop", draw.pick([None, guard(draw, holds=True), guard(draw, holds=False)]))]
        if alone and draw.chance(0.08):
            self._add_command(clauses, own)
        for name, clause in clauses.items():
            written = self._written(node, name, clause)
            if name in body:
                written = body[name] + [target for target, _ in clause if target != "noop"]
            body[name] = written
        if draw.chance(0.1):
            name = draw.pick([own, "on-complete"])
            body.setdefault(name, {"publish": self._advanced_publish(node, name)})

    def _add_edge(self, clauses: dict[str, Clause], target: str, own: str, other: str, *, fires: bool) -> None:
        draw = self.draw
        if fires:
            name = own if draw.chance(0.75) else "on-complete"
            clauses.setdefault(name, []).append((target, guard(draw, holds=True) if draw.chance(0.35) else None))
            return
        wrong = draw.chance(0.4)
        name = other if wrong else draw.pick([own, "on-complete"])
        clauses.setdefault(name, []).append((target, None if wrong else guard(draw, holds=False)))

    def _add_command(self, clauses: dict[str, Clause], own: str) -> None:
        draw = self.draw
        texts = [
            "{0}",
            "{0} msg='told to'",
            '{0} msg="n is <% 1 + 1 %>"',
            "{0}(msg='told to stop')",
            "{0} msg=<% [1] %>",
        ]
        command = draw.pick(texts).format(draw.pick(["fail", "succeed", "pause"]))
        clause = clauses.setdefault(draw.pick([own, "on-complete"]), [])
        clause.insert(draw.number(0, len(clause)), (command, draw.pick([None, None, "<% true %>", "<% false %>"])))

    def _written(self, node: Node, name: str, clause: Clause) -> Any:
        draw = self.draw
        items: list[Any] = [target if condition is None else {target: condition} for target, condition in clause]
        plain: Any = items
        if len(items) == 1 and isinstance(items[0], str) and draw.chance(0.5):
            plain = items[0]
        if draw.chance(0.75):
            return plain
        advanced: dict[str, Any] = {"next": plain}
        if draw.chance(0.7):
            advanced["publish"] = self._advanced_publish(node, name)
        return advanced

    def _advanced_publish(self, node: Node, clause: str) -> dict[str, Any]:
        draw = self.draw
        known = self.known_before(node)
        short = clause.removeprefix("on-")
        scopes: dict[str, Any] = {}
        if draw.chance(0.7):
            scopes["branch"] = {f"b_{node.name}_{short}": value(draw, known)[0]}
        if not scopes or draw.chance(0.4):
            shared = expression(draw, known)[0]
            # OpenStack Mistral evaluates these whenever the task is read, and cannot when they ask for the execution.
            scopes["global"] = {f"g_{node.name}": 1 if "execution()" in shared else shared}
        if draw.chance(0.1):
            scopes["atomic"] = {f"a_{node.name}": 1}
        if "branch" not in scopes and short == ("error" if node.fails else "success"):
            # What the task publishes by the short form is lost then.
            self.known_after[node.name] = known
        return scopes
