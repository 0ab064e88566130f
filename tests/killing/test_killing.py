"""Executors are killed while workflows run: a small version of ``python -m tests.killing``."""

from tests.killing.run import Plan, run


def test_all_workflows_end_as_they_should_whatever_executors_are_killed():
    plan = Plan(40, 8.0, seed=7, executors=2, kill_every_sec=1.6, deadly=("deadly",), patience_sec=240.0)

    report = run(plan)

    assert report.problems == []
    assert report.kills >= 3
    assert report.states["SUCCESS"] >= 15
