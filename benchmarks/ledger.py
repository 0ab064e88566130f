"""The ledger: what each workload costs per task, against its budget, and what a million tasks cost in dollars."""

from __future__ import annotations

from benchmarks.workloads import WORKLOADS, Workload, measure, per_task
from chalicelib.local import prices
from chalicelib.local.estimate import TURN_COMPUTE_SEC
from chalicelib.local.meter import Counts


def dollars_per_million(counts: Counts, tasks: int) -> float:
    """List price of a million such tasks: tables, queues, and the Lambdas' own time."""
    per_execution = counts.copy()
    turns = counts.requests["PutItem"] + counts.requests["TransactWriteItems"]
    per_execution.compute_sec = turns * TURN_COMPUTE_SEC
    per_execution.invocations = 1 + counts.messages_sent
    return prices.cost_of(per_execution) / tasks * 1_000_000


def row(workload: Workload) -> str:
    """One line of the table."""
    counts = measure(workload)
    cost, budget = per_task(counts, workload.tasks), workload.budget
    return (
        f"{workload.name:<42}"
        f"{cost.write_units:>8.2f} /{budget.write_units:>5g}"
        f"{cost.read_units:>9.2f} /{budget.read_units:>5g}"
        f"{cost.messages:>9.2f} /{budget.messages:>5g}"
        f"{dollars_per_million(counts, workload.tasks):>10.2f}"
    )


def table() -> str:
    """The whole ledger as text."""
    head = (
        f"{'per task (measured / budget)':<42}{'write units':>15}{'read units':>16}{'messages':>16}{'$ / million':>10}"
    )
    return "\n".join([head, *map(row, WORKLOADS)])
