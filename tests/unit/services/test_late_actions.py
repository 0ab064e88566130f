"""Actions whose attempt is over before they begin: they do not run, and their records say why."""

import pytest

from chalicelib.vocabulary import State
from tests.unit.services.poll_site import Site

TASKS = pytest.mark.parametrize(
    "task",
    [
        "{action: my.poll times=0, timeout: 5, retry: {count: 1, delay: 0}}",
        "{with-items: 'i in [1]', concurrency: 1, action: my.poll times=0,"
        " retry: {count: 1, delay: 0, attempt-timeout: 5}}",
    ],
)


def actions(site, execution_id):
    store, header = site.container.executions, site.header(execution_id)
    return store.actions(header, store.task(header, 1))


def begin_second_attempt(site, execution_id):
    for _ in range(10):
        if len(actions(site, execution_id)) > 1:
            return
        site.deliver(site.take())


@TASKS
def test_an_action_that_had_not_begun_when_its_attempt_ended_does_not_run(task):
    site = Site()
    execution_id = site.start(f"    t: {task}")
    late = site.take()
    begin_second_attempt(site, execution_id)
    assert site.starts == 0
    site.deliver(late)
    assert site.starts == 0
    cancelled, waiting = actions(site, execution_id)
    assert (cancelled.state, cancelled.result.error) == (State.CANCELLED, "The attempt that it belongs to is over.")
    assert waiting.state is State.RUNNING
    site.go_on()
    assert (site.starts, site.header(execution_id).state) == (1, State.SUCCESS)


@TASKS
def test_an_action_that_has_begun_works_on_when_its_attempt_ends(task):
    site = Site()
    execution_id = site.start(f"    t: {task.replace('times=0', 'times=1 delay=7')}")
    site.deliver(site.take())
    begin_second_attempt(site, execution_id)
    site.go_on()
    assert [str(action.state) for action in actions(site, execution_id)] == ["SUCCESS", "RUNNING"]
    assert site.header(execution_id).state is State.ERROR
