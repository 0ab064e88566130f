"""The scripts that put load on the local service and look at its memory, in small."""

from benchmarks import endpoints, load, memory, speed
from benchmarks.local_service import running


def test_every_execution_that_was_started_under_load_is_found_to_have_succeeded():
    with running("memory", "--quiet") as service:
        for text in load.WORKLOADS.values():
            report = load.put_on(service, text, rate=20, seconds=1)
            assert (report.offered, report.lost, report.strangers, report.not_successful) == (20, 0, 0, 0)
            assert len(report.started) == 20
            assert report.ended
            assert min(report.rss_mb) > 0


def test_what_a_percentile_does_not_exceed():
    assert load.percentile([3.0, 1.0, 2.0, 4.0], 0.5) == 3.0
    assert load.percentile([1.0], 0.99) == 1.0


def test_executions_that_wait_need_little_memory():
    one_mb, all_mb, peak_mb = memory.waiting_mb("memory", memory.WAITING["an asynchronous action"], executions=20)
    assert 0 < one_mb <= peak_mb
    assert all_mb < memory.LIMIT_MB


def test_every_row_that_is_timed_runs_on_the_service():
    with speed.table_services(None, "memory") as (services, rows):
        for title in ("one std.noop", "with-items, 100 std.http, concurrency 10"):
            [run] = [run for name, run in rows.items() if name.startswith(title)]
            assert run(services["ours"]) > 0


def test_each_kind_of_request_is_timed_on_the_service():
    with speed.table_services(None, "memory") as (services, _):
        figures = endpoints.measure(services["ours"])
    assert min(figures.values()) > 0
    methods = {title.partition(" ")[0] for title in figures}
    resources = {title.split("/")[1].partition("?")[0].partition(" ")[0] for title in figures}
    assert methods == {"GET", "POST", "PUT", "DELETE"}
    assert resources >= {"workflows", "workbooks", "actions", "environments", "executions", "tasks", "cron_triggers"}
