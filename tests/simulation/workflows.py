"""Workflows for the simulation: a corpus of small readable ones, and as many as one wants by seed.

A case is ``exact`` when its end does not depend on who comes first, so that a disturbed run can be compared with an
undisturbed one. Joins of fewer than all, commands, time limits and joins that may become impossible are not.
"""

from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import yaml

from tests.simulation.widening import widen

Body = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """``answers``: what a person answers to the asynchronous actions of tasks, by their names."""

    text: str
    workflow: str = "main"
    input: Body = field(default_factory=dict)
    params: Body = field(default_factory=dict)
    exact: bool = True
    answers: Body = field(default_factory=dict)


CORPUS = {
    "a chain of real actions": Case("""
version: '2.0'
main:
  tasks:
    a: {action: sim.work value=1, publish: {a: <% task().result %>}, on-success: b}
    b: {action: sim.work value=<% $.a + 1 %>, publish: {b: <% task().result %>}, on-success: c}
    c: {action: sim.work value=<% $.b + 1 %>, publish: {c: <% task().result %>}}
"""),
    "a fork and its join": Case("""
version: '2.0'
main:
  output: {sum: <% $.a + $.b + $.c %>}
  tasks:
    begin: {action: std.noop, on-success: [a, b, c]}
    a: {action: sim.work value=1, publish: {a: <% task().result %>}, on-success: j}
    b: {action: std.echo output=2, publish: {b: <% task().result %>}, on-success: j}
    c: {action: sim.work value=3, publish: {c: <% task().result %>}, on-success: j}
    j: {join: all, action: sim.work value=<% $.a %>}
"""),
    "items, three at most at once": Case("""
version: '2.0'
main:
  tasks:
    each:
      with-items: i in <% range(5) %>
      concurrency: 3
      action: sim.work value=<% $.i %>
      publish: {all: <% task().result %>}
      on-success: after
    after: {action: sim.work value=<% $.all %>}
"""),
    "items without a bound, safe to run again": Case("""
version: '2.0'
main:
  tasks:
    each:
      with-items: i in <% range(4) %>
      safe-rerun: true
      action: sim.work value=<% $.i %>
      publish: {all: <% task().result %>}
"""),
    "retries with a delay": Case("""
version: '2.0'
main:
  tasks:
    a:
      action: sim.work value=1 failures=2
      safe-rerun: true
      retry: {count: 3, delay: 4}
      publish: {a: <% task().result %>}
      on-success: b
    b: {wait-before: 3, wait-after: 5, action: std.noop, publish: {b: 1}}
"""),
    "a failure that is handled": Case("""
version: '2.0'
main:
  tasks:
    a: {action: sim.work value=1 failures=9, publish-on-error: {e: 1}, on-error: b, on-success: c}
    b: {action: sim.work value=2, publish: {b: <% $.e %>}}
    c: {action: std.noop}
"""),
    "a failure that is not handled": Case("""
version: '2.0'
main:
  output-on-error: {o: <% $.get(a) %>}
  tasks:
    a: {action: std.echo output=1, publish: {a: 1}, on-success: b}
    b: {action: sim.work value=1 failures=9}
"""),
    "sub-workflows": Case("""
version: '2.0'
main:
  tasks:
    a: {workflow: sub v=1, publish: {a: <% task().result.w %>}, on-success: b}
    b:
      with-items: i in <% range(2) %>
      workflow: sub v=<% $.i %>
      publish: {b: <% task().result %>}
sub:
  input: [v]
  output: {w: <% $.s %>}
  tasks:
    s: {action: sim.work value=<% $.v %>, safe-rerun: true, publish: {s: <% task().result %>}}
"""),
    "a sub-workflow that fails": Case("""
version: '2.0'
main:
  tasks:
    a: {workflow: sub, on-error: b}
    b: {action: sim.work value=1, publish: {b: 1}}
sub:
  tasks:
    s: {action: sim.work failures=9}
"""),
    "an answer from outside": Case("""
version: '2.0'
main:
  tasks:
    a: {action: sim.async value=7 seconds=20, publish: {a: <% task().result %>}, on-success: b}
    b: {action: sim.work value=<% $.a %>}
"""),
    "a circle with a counter": Case("""
version: '2.0'
main:
  vars: {n: 0}
  tasks:
    begin: {action: std.noop, on-success: a}
    a:
      action: sim.work value=<% $.n + 1 %>
      safe-rerun: true
      publish: {n: <% task().result %>}
      on-success: [a: <% $.n < 3 %>, b: <% $.n >= 3 %>]
    b: {action: std.noop, publish: {end: <% $.n %>}}
"""),
    "a pause in the middle": Case("""
version: '2.0'
main:
  tasks:
    a: {action: sim.work value=1, publish: {a: 1}, on-success: [pause, b]}
    b: {action: sim.work value=2, publish: {b: 2}}
"""),
    "a reverse workflow": Case(
        """
version: '2.0'
main:
  type: reverse
  tasks:
    a: {action: sim.work value=1, safe-rerun: true, publish: {a: <% task().result %>}}
    b: {action: std.echo output=2, publish: {b: <% task().result %>}}
    c: {requires: [a, b], action: sim.work value=<% $.a + $.b %>, publish: {c: <% task().result %>}}
    d: {requires: [a], action: std.fail}
""",
        params={"task_name": "c"},
    ),
    "a delay longer than a message may wait": Case("""
version: '2.0'
main:
  tasks:
    a: {wait-before: 4000, action: sim.work value=1, publish: {a: <% task().result %>}}
"""),
    "an action that is asked until it is done": Case("""
version: '2.0'
main:
  tasks:
    a: {action: sim.poll value=1 times=3, publish: {a: <% task().result %>}, on-success: b}
    b: {action: sim.poll value=2 times=1 fails=true, on-error: c}
    c: {action: sim.work value=3, publish: {c: <% $.a %>}}
"""),
    "items that are asked until they are done": Case("""
version: '2.0'
main:
  tasks:
    each:
      with-items: i in <% range(3) %>
      concurrency: 2
      action: sim.poll value=<% $.i %> times=<% $.i %>
      publish: {all: <% task().result %>}
"""),
    "an action that is asked rarely": Case("""
version: '2.0'
main:
  tasks:
    a: {action: sim.poll value=1 times=2 delay=2000, safe-rerun: true, publish: {a: <% task().result %>}}
"""),
    "a join that cannot be reached": Case("""
version: '2.0'
main:
  tasks:
    a: {action: std.fail, on-error: c, on-success: j}
    c: {action: sim.work value=1, safe-rerun: true, on-success: j}
    j: {join: all, action: std.noop, on-error: e}
    e: {action: sim.work value=2, safe-rerun: true, publish: {e: 1}}
"""),
}


def random_case(seed: int, *, exact: bool, is_wide: bool = False) -> Case:
    """The workflow of a seed; ``is_wide``: with the rest of the language added."""
    author = _Author(Random(seed), Random(f"limits {seed}"), Random(f"polls {seed}"), exact)
    case = author.case()
    if not is_wide:
        return case
    widen(author.document, Random(f"wide {seed}"))
    return replace(case, text=author.text())


class _Author:
    """Writes one document: ``main`` and the sub-workflows it uses."""

    def __init__(self, random: Random, limits: Random, polls: Random, exact: bool) -> None:
        self.random = random
        self.limits = limits
        # Of its own, so that the other choices of a seed stay what they are.
        self.polls = polls
        self.exact = exact
        self.document: Body = {"version": "2.0"}
        self.count = 0

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    def case(self) -> Case:
        if self.chance(0.12):
            body, target = self.reverse()
            self.document["main"] = body
            return Case(self.text(), params={"task_name": target}, exact=self.exact)
        self.document["main"] = self.direct(depth=0)
        return Case(self.text(), input={}, exact=self.exact)

    def text(self) -> str:
        return yaml.dump(self.document, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper), sort_keys=False)

    def direct(self, depth: int) -> Body:
        names = [f"t{self.number()}" for _ in range(self.random.randint(1, 3 if depth else 8))]
        links = {name: self.targets(names[at + 1 :]) for at, name in enumerate(names)}
        inbound = {name: [source for source in names if name in links[source]] for name in names}
        joins = {name for name in names if len(inbound[name]) > 1 and (self.exact or self.chance(0.75))}
        tasks = {name: self.task(name, depth, feeds_join=bool(joins)) for name in names}
        for name in sorted(joins):
            needed = "all" if self.exact or self.chance(0.5) else self.random.choice(["one", 1, 2])
            tasks[name]["join"] = needed
        for name in names:
            self.link(tasks[name], name, links[name], has_joins=bool(joins), may_circle=bool(inbound[name]))
        body: Body = {"tasks": tasks}
        if self.chance(0.2):
            body["output-on-error"] = {"gone": "wrong"}
        if not self.exact and self.chance(0.08):
            body["timeout"] = self.random.choice([3, 30, 1500])
        return body

    def number(self) -> int:
        self.count += 1
        return self.count

    def targets(self, later: list[str]) -> list[str]:
        amount = min(len(later), self.random.choice([0, 1, 1, 1, 2, 2, 3]))
        return sorted(self.random.sample(later[:4], min(amount, len(later[:4]))))

    def link(self, task: Body, name: str, targets: list[str], *, has_joins: bool, may_circle: bool) -> None:
        """The clauses of a task; an exact workflow with joins always goes on, whatever becomes of its tasks."""
        for target in targets:
            clause = (
                "on-complete"
                if self.exact and has_joins
                else self.random.choice(["on-success", "on-success", "on-complete", "on-error"])
            )
            link: Any = target
            if not (self.exact and has_joins) and self.chance(0.2):
                link = {target: self.random.choice(["<% true %>", "<% false %>", "<% $.get(go) = null %>"])}
            task.setdefault(clause, []).append(link)
        if not self.exact and self.chance(0.08):
            task.setdefault("on-success", []).append(self.random.choice(["fail", "succeed", "pause"]))
        elif self.chance(0.04):
            task.setdefault("on-success", []).insert(0, "pause")
        if may_circle and self.chance(0.2) and "with-items" not in task and not has_joins:
            task.setdefault("on-success", []).append({name: f"<% $.n_{name} < 3 %>"})
            task["publish"] = {**task.get("publish", {}), f"n_{name}": f"<% $.get(n_{name}, 0) + 1 %>"}

    def task(self, name: str, depth: int, *, feeds_join: bool) -> Body:
        task = self.work(name, depth)
        if self.chance(0.5):
            task["publish"] = {f"p_{name}": "<% task().result %>"}
        if self.chance(0.2):
            task["publish-on-error"] = {f"e_{name}": "failed"}
        if self.chance(0.15):
            task["retry"] = {"count": self.random.randint(1, 2), "delay": self.random.choice([0, 1, 7])}
        if self.chance(0.12):
            task["wait-before"] = self.random.choice([1, 5, 40, 2000])
        if self.chance(0.12):
            task["wait-after"] = self.random.choice([1, 5, 40, 2000])
        if self.chance(0.4):
            task["safe-rerun"] = True
        if self.chance(0.04):
            task["pause-before"] = True
        if self.chance(0.05):
            task["fail-on"] = "<% true %>"
        if self.chance(0.05):
            task.update({"keep-result": False, "safe-rerun": True})
        if not self.exact and self.chance(0.12):
            task["timeout"] = self.random.choice([1, 20, 300])
        if not self.exact and "retry" in task and self.limits.random() < 0.3:
            task["retry"]["attempt-timeout"] = self.limits.choice([1, 20, 300])
        return task

    def work(self, name: str, depth: int) -> Body:
        kind = self.random.choices(
            ["noop", "echo", "fail", "work", "async", "items", "workflow", "workflows"], [2, 2, 1, 6, 1, 2, 2, 1]
        )[0]
        if kind == "work" and self.polls.random() < 0.15:
            return {"action": "sim.poll", "input": {"value": f"v_{name}", "times": self.polls.randint(0, 3)}}
        seconds = self.random.choice([0, 0, 1, 10])
        match kind:
            case "noop" | "fail":
                return {"action": f"std.{kind}"}
            case "echo":
                return {"action": "std.echo", "input": {"output": f"v_{name}"}}
            case "async":
                fails = self.chance(0.2)
                return {"action": "sim.async", "input": {"value": f"v_{name}", "seconds": seconds, "fails": fails}}
            case "items":
                return {**self.items(), "action": "sim.work", "input": self.item_input(seconds)}
            case "workflow" | "workflows" if depth < 2:
                sub = f"sub{self.number()}"
                self.document[sub] = {}
                self.document[sub] = self.direct(depth + 1)
                return {**(self.items() if kind == "workflows" else {}), "workflow": sub}
        failures = self.random.choice([0, 0, 0, 0, 1, 9])
        return {"action": "sim.work", "input": {"value": f"v_{name}", "failures": failures, "seconds": seconds}}

    def items(self) -> Body:
        body: Body = {"with-items": f"i in <% range({self.random.choice([0, 1, 2, 3, 5, 8])}) %>"}
        if self.chance(0.6):
            body["concurrency"] = self.random.randint(1, 3)
        return body

    def item_input(self, seconds: int) -> Body:
        given: Body = {"value": "<% $.i %>", "seconds": seconds}
        if self.chance(0.25):
            given["bad"] = [self.random.randint(0, 4)]
        return given

    def reverse(self) -> tuple[Body, str]:
        names = [f"t{self.number()}" for _ in range(self.random.randint(1, 6))]
        tasks: Body = {}
        for at, name in enumerate(names):
            tasks[name] = self.task(name, depth=1, feeds_join=False)
            earlier = names[max(0, at - 4) : at]
            if earlier and self.chance(0.8):
                tasks[name]["requires"] = sorted(self.random.sample(earlier, self.random.randint(1, len(earlier))))
        return {"type": "reverse", "tasks": tasks}, names[-1]
