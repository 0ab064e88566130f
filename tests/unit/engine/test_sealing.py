"""Sealing: finished tasks on pages, large values elsewhere, nothing rewritten without need."""

from chalicelib.engine.draft import Draft
from chalicelib.engine.events import ActionCompleted, DescriptionChanged
from chalicelib.engine.records import PayloadRef, ValueRef
from chalicelib.engine.sealing import HEADER_KEY, TASK_PREFIX, seal
from chalicelib.limits import PAYLOAD_THRESHOLD_BYTES, TAIL_TASKS_MAX, TASKS_PER_PAGE_MAX
from chalicelib.vocabulary import Result
from tests.builders import Cloud, run


def pages(execution):
    return sorted(key for key in execution.stored.records if key.startswith(TASK_PREFIX))


def chain(length):
    lines = "".join(f"    t{n}: {{action: std.noop, on-success: t{n + 1}}}\n" for n in range(length))
    return f"w:\n  tasks:\n{lines}    t{length}: {{action: std.async_noop}}\n"


def test_a_few_finished_tasks_stay_in_the_header():
    execution = run(chain(TAIL_TASKS_MAX))
    assert pages(execution) == []
    assert len(execution.header.tail) == TAIL_TASKS_MAX
    assert list(execution.stored.records) == [HEADER_KEY]


def test_more_of_them_go_to_pages_of_neighbours():
    execution = run(chain(TASKS_PER_PAGE_MAX * 2 + 10))
    assert len(pages(execution)) == 3
    assert not execution.header.tail
    assert len(execution.all_tasks()) == TASKS_PER_PAGE_MAX * 2 + 11


def test_a_page_is_no_larger_than_it_may_be():
    lines = "".join(
        f"    t{n}: {{action: std.noop, publish: {{v: <% 'y' * 20000 + '{n}' %>}}, on-success: t{n + 1}}}\n"
        for n in range(12)
    )
    execution = run(f"w:\n  tasks:\n{lines}    t12: {{action: std.async_noop}}\n")
    assert len(pages(execution)) > 3
    assert execution.published("t11") == {"v": "y" * 20_000 + "11"}


def test_a_task_that_changes_after_it_was_written_is_rewritten_on_its_page():
    lines = "".join(f"    t{n}: {{action: std.noop}}\n" for n in range(20))
    execution = run(f"w:\n  tasks:\n{lines}    f: {{action: std.async_noop}}\n").fail("f")
    before = pages(execution)
    execution.cloud.memories.clear()
    execution.rerun("f").complete("f")
    assert execution.state == "SUCCESS"
    assert pages(execution)[: len(before)] == before
    assert execution.states["f"] == "SUCCESS"


def test_a_large_value_becomes_a_payload_once_however_often_it_is_used():
    execution = run(
        """
w:
  input: [x]
  tasks:
    a: {action: std.echo output=<% $.x %>, publish: {p: <% $.x %>, q: <% task().result %>}, on-success: b}
    b: {action: std.async_noop}
""",
        {"x": "y" * (PAYLOAD_THRESHOLD_BYTES + 1)},
    )
    assert len(execution.stored.payloads) == 1
    task = execution.task("a")
    assert isinstance(task.published["p"], PayloadRef)
    assert task.published["p"] == task.context.variables["p"] == task.published["q"]
    assert isinstance(task.actions[0].result.value, PayloadRef)
    assert sum(map(len, execution.stored.records.values())) < 3000


def test_an_object_that_is_large_as_a_whole_is_one_payload_and_one_with_a_large_member_is_not():
    execution = run(
        "w: {tasks: {a: {action: std.async_noop, publish: {r: <% task().result %>, l: <% task().result.big %>, s: 1}}}}"
    )
    execution.complete("a", {"big": "y" * 40_000, "many": list(range(9000))})
    published = execution.task("a").published
    assert isinstance(published["r"], PayloadRef)
    assert isinstance(published["l"], PayloadRef)
    assert published["s"] == 1


def test_many_middling_members_leave_together():
    names = ", ".join(f"v{n}: <% 'y' * 3000 %>" for n in range(20))
    execution = run(f"w: {{tasks: {{a: {{action: std.noop, publish: {{{names}}}}}, b: {{action: std.async_noop}}}}}}")
    assert isinstance(execution.task("a").published, PayloadRef)
    assert len(execution.published("a")) == 20


def test_a_middling_input_of_a_waiting_action_has_a_record_of_its_own():
    execution = run(
        "w: {input: [x], tasks: {a: {action: std.echo, input: {output: <% $.x %>, delay: 1}}}}", {"x": list(range(300))}
    )
    assert isinstance(execution.header.input, ValueRef)
    assert isinstance(execution.actions("a")[0].input, ValueRef)
    assert execution.input_of("a") == {"output": list(range(300)), "delay": 1}
    execution.complete("a")
    assert execution.input_of("a") == {"output": list(range(300)), "delay": 1}


def test_the_base_of_a_waiting_ad_hoc_action_has_a_record_of_its_own_too():
    cloud = Cloud(
        "w: {tasks: {a: {action: mine}}}",
        actions="mine: {base: std.echo, base-input: {output: <% range(300).toList() %>, delay: 1}}",
    )
    execution = cloud.start()
    (action,) = execution.actions("a")
    assert action.base is not None
    assert isinstance(action.base.input, ValueRef)
    assert execution.resolved(action.base.input)["output"] == list(range(300))


def test_a_turn_that_changes_nothing_writes_nothing():
    execution = run("w: {tasks: {a: {action: std.async_noop}}}")
    revision = execution.header.revision
    execution.send(DescriptionChanged())
    assert execution.header.revision == revision


def test_errors_and_cancellations_keep_their_kind_when_they_are_large():
    execution = run("w: {tasks: {a: {action: std.async_noop, on-error: noop}, b: {action: std.async_noop}}}")
    execution.fail("a", "y" * 40_000)
    execution.finish("b", Result(error="z" * 40_000, cancel=True))
    assert isinstance(execution.task("a").actions[0].result.error, PayloadRef)
    assert execution.task("b").actions[0].result.cancel
    assert execution.results_of("b") == ["z" * 40_000]


def test_text_that_is_no_unicode_survives():
    execution = run("w: {tasks: {a: {action: std.async_noop, publish: {r: <% task().result %>}}}}")
    execution.complete("a", "\ud800" * 20_000)
    assert execution.published("a") == {"r": "\ud800" * 20_000}


def test_a_wide_frontier_leaves_the_header_and_a_branch_rewrites_only_its_page():
    branches = "".join(f"    b{n}: {{action: std.async_noop}}\n" for n in range(400))
    execution = run("w:\n  tasks:\n" + branches)
    before = dict(execution.stored.records)
    execution.send(ActionCompleted(200, 0, Result()))
    after = execution.stored.records
    assert len(execution.header.frontier) == 399
    changed = [key for key in after if after[key] != before.get(key)]
    assert len(changed) <= 10


def test_an_item_that_is_put_back_as_it_was_is_not_written():
    execution = run("w: {tasks: {t: {with-items: 'i in [1, 2]', action: std.async_noop}}}")
    memory = execution.cloud.memories[execution.id]
    draft = Draft(memory.header, memory.loaded)
    task = draft.task(1)
    draft.put_action(task, draft.actions(task)[0])
    transition = seal(draft, wake_at=None, now=1.0)
    assert not transition.singles
    assert not transition.together
    assert not transition.bulk
