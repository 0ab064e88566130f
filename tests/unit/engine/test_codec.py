"""The stored form: what is written is read back, whatever it is."""

import json
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.engine import codec
from chalicelib.engine import records as r
from chalicelib.engine.fronts import bucket_key, divided, front_key, united
from chalicelib.errors import UnknownFormatError
from chalicelib.limits import FRONT_PAGES_NEW_MAX
from chalicelib.vocabulary import Result, State

NUMBERS = st.integers(0, 2**20 - 1)
BITS = st.integers(0, 2**200)
TIMES = st.floats(0, 2e9, allow_nan=False)
TEXTS = st.text(max_size=8) | st.sampled_from(["~", "~~", "\ud800", ""])
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
REFERENCES = st.builds(r.ValueRef, st.text(max_size=5)) | st.builds(r.PayloadRef, st.text(max_size=5), NUMBERS)
VALUES = PLAIN | REFERENCES
MEMBERS = VALUES | st.dictionaries(TEXTS, VALUES, max_size=3)
STATES = st.sampled_from(State)
RESULTS = (
    st.builds(lambda value: Result(data=value), VALUES)
    | st.builds(
        lambda value, cancel: Result(error=value, cancel=cancel), VALUES.filter(lambda v: v is not None), st.booleans()
    )
    | st.just(Result(cancel=True))
)
TIMERS = st.builds(r.Timer, st.sampled_from(r.TimerKind), NUMBERS, TIMES, TIMES)


def tuples(of):
    return st.lists(of, max_size=3).map(tuple)


def optional(of):
    return st.none() | of


ACTIONS = st.builds(
    r.ActionExecution,
    number=NUMBERS,
    name=TEXTS,
    state=STATES,
    created_at=TIMES,
    updated_at=TIMES,
    input=VALUES,
    result=optional(RESULTS),
    accepted=st.booleans(),
    index=NUMBERS,
    is_sync=st.booleans(),
    is_pure=st.booleans(),
    base=optional(st.builds(r.Invocation, TEXTS, VALUES)),
    target=optional(TEXTS),
    timeout_sec=optional(TIMES),
    safe_rerun=st.booleans(),
    claim=optional(st.builds(r.Claim, TEXTS, TIMES)),
    execution_id=optional(TEXTS),
    revision=NUMBERS,
    heard=NUMBERS,
)
CONTEXTS = st.builds(
    r.ContextNode, NUMBERS, st.dictionaries(TEXTS, VALUES, max_size=3), st.dictionaries(TEXTS, NUMBERS, max_size=3)
)
ITEMS = st.builds(
    r.ItemsProgress,
    count=NUMBERS,
    concurrency=optional(NUMBERS),
    started=BITS,
    finished=BITS,
    failed=BITS,
    cancelled=BITS,
    tolerated_percentage=optional(TIMES),
    repeated=BITS,
    first_number=NUMBERS,
)
TASKS = st.builds(
    r.TaskExecution,
    ordinal=NUMBERS,
    name=TEXTS,
    type=st.sampled_from(r.TaskType),
    state=STATES,
    created_at=TIMES,
    state_info=optional(TEXTS),
    updated_at=optional(TIMES),
    started_at=optional(TIMES),
    finished_at=optional(TIMES),
    in_context=NUMBERS,
    triggered_by=tuples(st.builds(r.TriggeredBy, NUMBERS, TEXTS)),
    published=MEMBERS,
    context=optional(CONTEXTS),
    processed=st.booleans(),
    next_tasks=optional(tuples(st.tuples(TEXTS, TEXTS))),
    error_handled=st.booleans(),
    actions=tuples(ACTIONS),
    next_number=NUMBERS,
    has_items=st.booleans(),
    item_values=MEMBERS,
    concurrency=optional(NUMBERS),
    items=optional(ITEMS),
    stamp=NUMBERS,
    timers=tuples(TIMERS),
    timeout_sec=optional(NUMBERS),
    retry_no=NUMBERS,
    waited_before=st.booleans(),
    waited_after=st.booleans(),
    result_after_wait=optional(st.tuples(STATES, optional(TEXTS))),
    results_dropped=st.booleans(),
    dropped_below=NUMBERS,
    cut_off_from=st.none() | NUMBERS,
    accepted_from=NUMBERS,
    went_on=st.booleans(),
    out_context=optional(NUMBERS),
    page=optional(NUMBERS),
)
TASK_MAPS = st.lists(TASKS, max_size=2).map(lambda tasks: {task.ordinal: task for task in tasks})
ORDINALS = st.lists(NUMBERS, max_size=4, unique=True).map(tuple)
JOINS = st.dictionaries(
    TEXTS,
    st.builds(r.JoinProgress, NUMBERS, tuples(st.builds(r.Arrival, NUMBERS, TEXTS, NUMBERS, NUMBERS))),
    max_size=2,
)
HEADERS = st.builds(
    r.WorkflowExecution,
    id=TEXTS,
    project_id=TEXTS,
    workflow_name=TEXTS,
    workflow_id=TEXTS,
    definition_hash=TEXTS,
    state=STATES,
    created_at=TIMES,
    updated_at=TIMES,
    public_id=TEXTS,
    workflow_namespace=TEXTS,
    workbook_name=optional(TEXTS),
    revision=NUMBERS,
    state_info=optional(TEXTS),
    description=optional(TEXTS),
    tags=tuples(TEXTS),
    root_execution_id=optional(TEXTS),
    parent=optional(st.builds(r.Parent, TEXTS, NUMBERS, NUMBERS, NUMBERS)),
    depth=NUMBERS,
    input=MEMBERS,
    params=MEMBERS,
    output=MEMBERS,
    variables=MEMBERS,
    next_ordinal=NUMBERS,
    frontier=TASK_MAPS,
    tail=TASK_MAPS,
    fronts=ORDINALS,
    front_tasks=NUMBERS,
    seen=BITS,
    fired=BITS,
    joins=JOINS,
    named=st.dictionaries(TEXTS, NUMBERS, max_size=2),
    ends=st.dictionaries(NUMBERS, NUMBERS, max_size=3),
    failures=ORDINALS,
    cancellations=ORDINALS,
    unprocessed=ORDINALS,
    backlog=tuples(
        st.builds(
            r.BackloggedCommand,
            TEXTS,
            NUMBERS,
            TEXTS,
            st.dictionaries(TEXTS, PLAIN, max_size=2),
            NUMBERS,
            st.booleans(),
        )
    ),
    timers=tuples(TIMERS),
    stamp=NUMBERS,
    heard=NUMBERS,
    wake_at=optional(TIMES),
    reverse_target=optional(TEXTS),
)
EVERY_FIELD = {
    r.WorkflowExecution: HEADERS,
    r.TaskExecution: TASKS,
    r.ActionExecution: ACTIONS,
    r.ItemsProgress: ITEMS,
    r.ContextNode: CONTEXTS,
}


@given(HEADERS)
def test_a_header_is_read_back_as_it_was_written(header):
    assert codec.unpack_header(codec.pack_header(header)) == header
    assert list(codec.unpack_header(codec.pack_header(header)).ends) == list(header.ends)


@given(st.lists(TASKS, max_size=3))
def test_a_page_of_tasks_is_read_back_as_it_was_written(tasks):
    assert codec.unpack_tasks(codec.pack_tasks(tasks)) == tasks


@given(ACTIONS)
def test_an_action_is_read_back_as_it_was_written(action):
    assert codec.unpack_action(codec.pack_action(action)) == action


@given(CONTEXTS)
def test_a_context_is_read_back_as_it_was_written(node):
    assert codec.unpack_context(codec.pack_context(node)) == node


@given(MEMBERS)
def test_a_value_is_read_back_as_it_was_written(value):
    assert codec.unpack_value(codec.pack_value(value)) == value


@given(RESULTS)
def test_a_parked_result_is_read_back_as_it_was_written(result):
    assert codec.unpack_result(codec.pack_result(result)) == result


@given(HEADERS)
def test_writing_the_same_twice_gives_the_same_bytes(header):
    assert codec.pack_header(header) == codec.pack_header(codec.unpack_header(codec.pack_header(header)))


@pytest.mark.parametrize("record", EVERY_FIELD)
def test_every_field_of_a_record_is_stored(record):
    tables = {table._class: table for table in vars(codec).values() if isinstance(table, codec._Table)}
    stored = [row[0] for row in tables[record]._rows]
    assert stored == [field.name for field in fields(record)]
    keys = [row[1] for row in tables[record]._rows]
    assert len(keys) == len(set(keys))


def test_defaults_take_no_room():
    task = r.TaskExecution(1, "t", r.TaskType.ACTION, State.RUNNING, 5.0)
    (stored,) = json.loads(codec.pack_tasks([task]))
    assert stored == {"#": 1, "n": "t", "t": "ACTION", "s": "RUNNING", "c": 5.0}


def test_data_that_looks_like_a_reference_stays_data():
    for value in ({"~": ["v", "x"]}, {"~~": 1}, {"~": 1, "other": 2}):
        assert codec.unpack_value(codec.pack_value({"member": value})) == {"member": value}
        assert codec.unpack_value(codec.pack_value(value)) == value


def test_large_records_are_compressed():
    body = codec.pack_value("y" * 10_000)
    assert len(body) < 200
    assert codec.unpack_value(body) == "y" * 10_000


def test_a_record_of_a_later_format_is_refused_in_plain_words():
    with pytest.raises(UnknownFormatError, match="newer version"):
        codec.unpack_header(json.dumps({"@": codec.FORMAT_VERSION + 1}).encode())


def test_an_action_that_has_no_result_is_not_an_action_with_a_null_result():
    action = r.ActionExecution(0, "a", State.SUCCESS, 0, 0, result=Result(data=None))
    assert codec.unpack_action(codec.pack_action(action)).result == Result(data=None)


@given(st.lists(TASKS, max_size=120, unique_by=lambda task: task.ordinal).map(lambda ts: {t.ordinal: t for t in ts}))
def test_a_frontier_that_is_divided_is_united_again(frontier):
    header = r.WorkflowExecution("x", "p", "w", "w", "h", State.RUNNING, 0, 0)
    frontier = dict(sorted(frontier.items()))
    fronts = divided(header, frontier)
    assert united(fronts.inline, fronts.records.values()) == frontier


def test_a_frontier_wider_than_a_transaction_gets_its_pages_little_by_little():
    header = r.WorkflowExecution("x", "p", "w", "w", "h", State.RUNNING, 0, 0)
    frontier = {n: r.TaskExecution(n, "t", r.TaskType.ACTION, State.RUNNING, 0.0) for n in range(1, 32 * 200)}
    first = divided(header, frontier)
    assert len(first.records) == FRONT_PAGES_NEW_MAX
    second = divided(replace(header, frontier=frontier, fronts=first.buckets), frontier)
    assert len(second.buckets) == 2 * FRONT_PAGES_NEW_MAX
    assert not first.records.keys() & second.records.keys()
    pages = {**first.records, **second.records}
    assert united(second.inline, pages.values()) == frontier
    small = divided(replace(header, frontier=frontier, fronts=second.buckets), {1: frontier[1]})
    assert sorted(small.removed) == sorted(pages)


def test_neighbours_share_a_page_of_the_frontier():
    assert bucket_key(33) == bucket_key(34) == front_key(1)
    assert bucket_key(31) != bucket_key(32)
