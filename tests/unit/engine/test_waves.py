"""Turns that are too large for one transaction, and runs that know nothing but bytes between any two decisions."""

import pytest

from chalicelib.engine.effects import RunAction
from chalicelib.limits import TURN_RECORDS_MAX
from chalicelib.vocabulary import State
from tests.builders import Cloud, Execution, run


def fork(width, action):
    branches = "".join(f"    b{n}: {{action: {action}, publish: {{v{n}: {n}}}, on-success: j}}\n" for n in range(width))
    names = ", ".join(f"b{n}" for n in range(width))
    return f"""
w:
  tasks:
    s: {{action: std.noop, on-success: [{names}]}}
{branches}
    j:
      join: all
      action: std.echo
      input: {{output: "<% $.v0 + $.v{width - 1} %>"}}
      publish: {{sum: <% task().result %>}}
"""


def records_per_transition(execution):
    return [len(transition.records) for key, transition in execution.cloud.history if key == execution.id]


def test_a_fork_of_500_pure_actions_is_done_in_waves():
    execution = run(fork(500, "std.noop"))
    assert execution.state == "SUCCESS"
    assert execution.published("j") == {"sum": 499}
    assert len(records_per_transition(execution)) > 1
    assert max(records_per_transition(execution)) <= TURN_RECORDS_MAX


def test_a_fork_of_500_real_actions_releases_each_once():
    execution = run(fork(500, "std.async_noop"))
    released = [effect for _, effect in execution.cloud.released]
    assert len(released) == len(set(released)) == 500
    assert max(records_per_transition(execution)) <= TURN_RECORDS_MAX


def test_a_fork_of_actions_with_large_inputs_keeps_to_the_bound():
    text = fork(120, "heavy")
    cloud = Cloud(text, actions="heavy: {base: std.async_noop}\n")
    cloud.library.add_actions(
        "heavy: {base: std.echo, base-input: {output: <% 'y' * 900 %>, delay: 1}, input: [{x: '" + "z" * 600 + "'}]}"
    )
    execution = cloud.start()
    assert execution.released("b119") == 1
    assert max(records_per_transition(execution)) <= TURN_RECORDS_MAX


@pytest.mark.parametrize("concurrency", ["", "      concurrency: 7\n"])
def test_500_pure_items_are_done_in_waves(concurrency):
    execution = run(
        f"w:\n  tasks:\n    t:\n      with-items: i in <% range(500) %>\n{concurrency}"
        "      action: std.echo output=<% $.i %>\n"
        "      publish: {n: <% task().result.len() %>, s: <% task().result.sum() %>}\n"
    )
    assert execution.published("t") == {"n": 500, "s": 124_750}
    for key, transition in execution.cloud.history:
        assert key == execution.id
        assert len(transition.bulk) + len(transition.singles) + len(transition.records) <= TURN_RECORDS_MAX + 10


def test_500_real_items_are_released_once_each_and_their_lists_kept_between_waves():
    execution = run(
        "w: {tasks: {t: {with-items: i in <% range(500) %>, action: std.async_noop}}}",
    )
    released = [effect.number for _, effect in execution.cloud.released]
    assert sorted(released) == list(range(500))
    assert execution.task("t").item_values is None
    for index in range(3):
        execution.complete("t", index, index=index)
    assert execution.task("t").items.finished == 0b111


def test_a_retry_of_many_items_writes_no_record_per_item():
    execution = run(
        "w: {tasks: {t: {with-items: i in <% range(300) %>, action: std.fail, retry: {count: 1, delay: 1}}}}"
    )
    before = len(execution.cloud.history)
    execution.cloud.pass_time(1)
    assert execution.state == "ERROR"
    assert max(len(t.singles) + len(t.records) for _, t in execution.cloud.history[before:]) <= TURN_RECORDS_MAX + 10


def test_a_chain_of_many_pure_tasks_is_one_start():
    lines = "".join(f"    t{n}: {{action: std.noop, on-success: t{n + 1}}}\n" for n in range(299))
    execution = run(f"w:\n  tasks:\n{lines}    t299: {{action: std.noop}}\n")
    assert execution.state == "SUCCESS"
    assert len(execution.names) == 300
    assert max(records_per_transition(execution)) <= TURN_RECORDS_MAX


def test_what_a_pause_interrupted_between_waves_goes_on_after_the_resume():
    cloud = Cloud(fork(150, "std.async_noop"))
    cloud.holds = True
    execution = cloud.start()
    idle = [task for task in execution.all_tasks() if task.state is State.IDLE]
    assert idle
    execution.pause()
    cloud.holds = False
    cloud.settle()
    assert [task for task in execution.all_tasks() if task.state is State.IDLE]
    execution.resume()
    cloud.settle()
    assert not [task for task in execution.all_tasks() if task.state is State.IDLE]


# -- every decision from bytes

WORKFLOWS = {
    "chain": """
w:
  input: [{n: 3}]
  output: {all: '<% [$.a, $.b, $.n] %>'}
  tasks:
    a: {action: std.echo output=<% $.n %>, publish: {a: <% task().result %>}, on-success: b}
    b: {action: std.echo output=<% $.a + task(a).result %>, publish: {b: <% task().result %>}, on-success: c}
    c: {action: std.noop, on-success: [{a2: <% $.b = 6 %>}, {d: <% $.b = 7 %>}]}
    a2: {action: std.fail, on-error: noop}
    d: {action: std.noop}
""",
    "join": fork(9, "std.noop"),
    "fail": """
w:
  output-on-error: {x: <% $.x %>}
  tasks:
    a: {action: std.noop, publish: {x: 1}, on-success: [b, "fail msg='no'"]}
    b: {action: std.noop, on-success: c}
    c: {action: std.noop}
""",
    "items": """
w:
  tasks:
    s: {action: std.noop, publish: {l: '<% range(40).toList() %>'}, on-success: t}
    t:
      with-items: i in <% $.l %>
      concurrency: 3
      action: std.echo output=<% $.i * 2 %>
      publish: {r: <% task().result.sum() %>}
      on-success: u
    u: {action: std.echo output=<% $.r %>}
""",
    "loop": """
w:
  tasks:
    s: {action: std.noop, publish: {n: 0}, on-success: j}
    j: {join: one, action: std.noop, publish: {n: <% $.n + 1 %>}, on-success: [{b: <% $.n < 5 %>}]}
    b: {action: std.noop, on-success: j}
""",
    "globals": """
w:
  vars: {v: {a: 1}}
  tasks:
    a: {action: std.noop, on-success: {publish: {global: {v: {b: 2}, big: <% 'y' * 40000 %>}}, next: b}}
    b: {action: std.echo output=<% $.big.len() %>, publish: {n: <% task().result %>, big2: <% $.big %>}, on-success: c}
    c: {action: std.echo output=<% $.big2.len() + $.v.b %>}
""",
    "reverse-like": """
w:
  tasks:
    a: {action: std.fail, publish-on-error: {e: 1}, on-error: [j, k], on-complete: k}
    k: {action: std.noop, on-success: j}
    j: {join: 2, action: std.noop, on-error: h}
    h: {action: std.noop}
""",
    "sub": """
kid:
  input: [n]
  output: {n: <% $.m %>}
  tasks:
    k: {action: std.echo output=<% $.n + 1 %>, publish: {m: <% task().result %>}}
w:
  tasks:
    p: {with-items: "i in [1, 2, 3]", workflow: kid n=<% $.i %>, publish: {r: <% task().result.n %>}, on-success: q}
    q: {workflow: kid n=<% $.r.sum() %>}
""",
}


@pytest.mark.parametrize("name", WORKFLOWS)
def test_deciding_from_bytes_step_by_step_comes_to_the_same_end(name):
    at_once = run(WORKFLOWS[name])
    cloud = Cloud(WORKFLOWS[name])
    cloud.steps_only = True
    step_by_step = cloud.start()
    assert step_by_step.state.is_completed
    assert step_by_step.view() == at_once.view()


def test_continuing_too_often_starts_nothing_twice():
    cloud = Cloud(fork(200, "std.async_noop"))
    cloud.holds = True
    execution = cloud.start()
    cloud.holds = False
    while cloud.owed:
        execution_id, effect = cloud.owed.popleft()
        cloud.carry_out(execution_id, effect)
        if not isinstance(effect, RunAction):
            cloud.carry_out(execution_id, effect)
    released = [effect for _, effect in cloud.released]
    assert len(released) == len(set(released)) == 200
    assert isinstance(execution, Execution)


def test_items_between_waves_wait_when_the_backlog_pauses_again():
    cloud = Cloud(
        """
w:
  tasks:
    s: {action: std.noop, on-success: [pause, "pause msg='again'"]}
    i: {with-items: i in <% range(150) %>, action: std.async_noop}
"""
    )
    cloud.holds = True
    execution = cloud.start()
    started = execution.task("i").items.started.bit_count()
    assert started < 150
    execution.resume()
    assert (execution.state, execution.state_info) == (State.PAUSED, "again")
    assert execution.task("i").items.started.bit_count() == started
    cloud.holds = False
    execution.resume()
    assert execution.task("i").items.started.bit_count() == 150
