"""The workflows that are run while executors are killed, and what each comes to."""

from dataclasses import dataclass
from typing import Any

# Every action says of itself whether it may run again.
TEXT = """
version: '2.0'

chain:
  output: {out: <% $.c %>}
  tasks:
    a: {action: killing.work kind="once" value=1, publish: {a: <% task().result %>}, on-success: b}
    b: {action: killing.work kind="once" value=<% $.a + 1 %>, publish: {b: <% task().result %>}, on-success: c}
    c: {action: killing.work kind="once" value=<% $.b + 1 %>, publish: {c: <% task().result %>}}

safe_chain:
  output: {out: <% $.c %>}
  task-defaults: {safe-rerun: true}
  tasks:
    a: {action: killing.work kind="again" value=1, publish: {a: <% task().result %>}, on-success: b}
    b: {action: killing.work kind="again" value=<% $.a + 1 %>, publish: {b: <% task().result %>}, on-success: c}
    c: {action: killing.work kind="again" value=<% $.b + 1 %>, publish: {c: <% task().result %>}}

fork:
  output: {out: <% $.a + $.b + $.c %>}
  task-defaults: {safe-rerun: true}
  tasks:
    begin: {action: std.noop, on-success: [a, b, c]}
    a: {action: killing.work kind="again" value=1, publish: {a: <% task().result %>}, on-success: end}
    b: {action: killing.work kind="again" value=2, publish: {b: <% task().result %>}, on-success: end}
    c: {action: killing.work kind="again" value=3, publish: {c: <% task().result %>}, on-success: end}
    end: {join: all, action: killing.work kind="again"}

items:
  output: {out: <% $.all %>}
  tasks:
    each:
      with-items: i in <% range(6) %>
      concurrency: 3
      safe-rerun: true
      action: killing.work kind="again" value=<% $.i %>
      publish: {all: <% task().result %>}

items_once:
  output: {out: <% $.all %>}
  tasks:
    each:
      with-items: i in <% range(4) %>
      action: killing.work kind="once" value=<% $.i %>
      publish: {all: <% task().result %>}

retries:
  output: {out: <% $.a %>}
  tasks:
    a:
      action: killing.work kind="again" value=7 failures=2
      safe-rerun: true
      retry: {count: 4, delay: 1}
      publish: {a: <% task().result %>}

waits:
  output: {out: <% $.b %>}
  task-defaults: {safe-rerun: true}
  tasks:
    a: {action: killing.work kind="again", wait-before: 1, wait-after: 1, on-success: b}
    b: {action: killing.work kind="again" value=5, publish: {b: <% task().result %>}}

family:
  output: {out: <% $.one + $.two.sum() %>}
  tasks:
    one: {workflow: child v=1, publish: {one: <% task().result.w %>}, on-success: two}
    two:
      with-items: i in <% range(2) %>
      workflow: child v=<% $.i %>
      publish: {two: <% task().result.w %>}

child:
  input: [v]
  output: {w: <% $.s %>}
  tasks:
    s: {action: killing.work kind="again" value=<% $.v %>, safe-rerun: true, publish: {s: <% task().result %>}}

deadly:
  tasks:
    a: {action: killing.deadly kind="once"}

deadly_again:
  tasks:
    a: {action: killing.deadly kind="again", safe-rerun: true}
"""


@dataclass(frozen=True)
class Kind:
    """What a workflow puts out if nothing in it dies, and whether a death may end it in ERROR.

    ``actions`` is how many action executions of ours it then has, its sub-workflows' among them.
    """

    output: Any
    actions: int
    may_fail: bool = False


KINDS = {
    "chain": Kind({"out": 3}, 3, may_fail=True),
    "safe_chain": Kind({"out": 3}, 3),
    "fork": Kind({"out": 6}, 4),
    "items": Kind({"out": [0, 1, 2, 3, 4, 5]}, 6),
    "items_once": Kind({"out": [0, 1, 2, 3]}, 4, may_fail=True),
    "retries": Kind({"out": 7}, 3),
    "waits": Kind({"out": 5}, 2),
    "family": Kind({"out": 2}, 3),
}
# Those in which an action that must not run again may die.
MAY_FAIL = {"deadly", *(name for name, kind in KINDS.items() if kind.may_fail)}
DEADLY = ("deadly", "deadly_again")
