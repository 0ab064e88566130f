"""Expiration: what has ended long ago, or is too much, goes with everything below it; nothing else does."""

from dataclasses import replace

import pytest

from chalicelib.adapters.memory import ManualClock
from chalicelib.engine import codec
from chalicelib.engine.events import ActionCompleted, PauseRequested, ResumeRequested
from chalicelib.errors import ConflictException, MistralError
from chalicelib.services.engine import StartRequest
from chalicelib.services.execution_places import ALARM_SHARDS, ended_value
from chalicelib.services.expiration import ExpirationPolicy
from chalicelib.services.ports import INDEX_ALARM, Put
from chalicelib.settings import Settings
from chalicelib.vocabulary import Result, State
from chalicelib.wiring import Ports, assemble
from tests.in_memory import PROJECT, World

MINUTE = 60.0
POLICY = ExpirationPolicy(evaluation_interval=10, older_than=60)
LARGE = "x" * 100_000
TEXT = """
version: '2.0'
leaf:
  input: [value]
  output: {value: <% $.value %>}
  tasks:
    only: {action: std.echo output=<% $.value %>, publish: {value: <% task().result %>}}
tree:
  input: [value]
  tasks:
    one: {workflow: middle value=<% $.value %>}
    many:
      with-items: i in <% range(3) %>
      workflow: leaf value=<% $.i %>
middle:
  input: [value]
  tasks:
    deep: {workflow: leaf value=<% $.value %>}
failing:
  tasks:
    only: {action: std.fail}
waiting:
  tasks:
    only: {action: std.async_noop}
"""


class Stage(World):
    """The world with a policy."""

    def __init__(self, policy=POLICY):
        super().__init__(expiration=policy)
        self.upload(TEXT)

    @property
    def ports(self):
        return self.container.ports

    def tick(self, minutes=1):
        for _ in range(minutes):
            self.clock.advance(MINUTE)
            self.container.clock_door.tick()

    def begin(self, workflow):
        return self.container.engine.start(StartRequest(PROJECT, workflow))

    def exists(self, execution_id):
        return self.container.executions.header(execution_id) is not None

    def stored(self):
        """Everything in the table of executions, but for how far the expiration is."""
        partitions = self.ports.executions._partitions
        return {
            address: sorted(found.items)
            for address, found in partitions.items()
            if found.items and address != "expiration"
        }

    def payloads(self):
        return sorted(key for key in self.ports.payloads._data if not key.startswith("snapshot-"))


def with_policy(stage, policy):
    """The same world under another policy, as after a deployment."""
    other = Stage.__new__(Stage)
    other.clock, other.queue = stage.clock, stage.queue
    other.container = assemble(Settings(storage="memory", egress_local=True, expiration=policy), stage.ports)
    return other


def test_an_execution_that_ended_long_ago_is_deleted_and_a_younger_one_is_not():
    stage = Stage()
    old = stage.run("leaf", {"value": 1}).header.id
    stage.clock.advance(30 * MINUTE)
    young = stage.run("leaf", {"value": 2}).header.id

    stage.tick(35)

    assert not stage.exists(old)
    assert stage.exists(young)
    stage.tick(45)
    assert not stage.exists(young)


def test_nothing_is_left_of_a_tree():
    stage = Stage()
    empty = stage.stored()
    stage.run("tree", {"value": LARGE})
    assert len(stage.stored()) == 6
    assert stage.payloads()

    stage.tick(75)

    assert stage.stored() == empty
    assert stage.payloads() == []


def test_payloads_of_other_executions_with_the_same_value_stay():
    stage = Stage()
    stage.run("leaf", {"value": LARGE})
    stage.clock.advance(30 * MINUTE)
    young = stage.run("leaf", {"value": LARGE})

    stage.tick(40)

    assert stage.container.executions.value(young.header.id, young.header.input) == {"value": LARGE}


def test_a_sub_workflow_goes_with_its_root_only():
    stage = Stage()
    stage.upload("version: '2.0'\nlong:\n  tasks:\n    a: {workflow: leaf value=1}\n    b: {action: std.async_noop}\n")
    root = stage.begin("long")
    stage.tick(200)

    assert stage.exists(root.id)
    assert len(stage.stored()) == 2


def test_what_has_not_ended_never_expires():
    stage = Stage()
    waiting = stage.begin("waiting")

    stage.tick(300)

    assert stage.exists(waiting.id)


def test_a_root_that_ended_before_its_paused_sub_workflow_expires_after_it():
    stage = Stage()
    stage.upload(
        "version: '2.0'\nchild:\n  tasks:\n    a: {action: std.async_noop}\n"
        "parent:\n  timeout: 30\n  tasks:\n    t: {workflow: child}\n"
    )
    root = stage.begin("parent")
    engine, store = stage.container.engine, stage.container.executions
    engine.handle(root.id, PauseRequested())
    stage.go_on(root.id, lambda header: header.state.is_completed)
    header = store.header(root.id)
    assert header is not None
    child = header.frontier[1].actions[0].execution_id
    assert child is not None
    stage.tick(200)
    assert stage.exists(root.id)

    engine.handle(child, ResumeRequested())
    engine.handle(child, ActionCompleted(1, 0, Result(data={})))
    stage.tick(75)

    assert not stage.exists(root.id)


def test_ignored_states_stay():
    stage = Stage(ExpirationPolicy(evaluation_interval=1, older_than=5, ignored_states=frozenset({State.ERROR})))
    failed = stage.run("failing").header.id
    good = stage.run("leaf", {"value": 1}).header.id

    stage.tick(30)

    assert stage.exists(failed)
    assert not stage.exists(good)


def test_only_so_many_of_the_newest_are_kept():
    stage = Stage(ExpirationPolicy(evaluation_interval=1, max_finished_executions=3))
    ids = []
    for number in range(8):
        ids.append(stage.run("leaf", {"value": number}).header.id)
        stage.clock.advance(1)

    stage.tick(2)

    assert [stage.exists(each) for each in ids] == [False] * 5 + [True] * 3


def test_an_entry_of_the_index_that_is_behind_its_execution_deletes_nothing():
    stage = Stage()
    header = stage.run("leaf", {"value": 1}).header
    table = stage.ports.executions
    behind = ended(table)
    shown = table.list_index
    table.list_index = lambda index, value, **options: (
        behind if value.startswith("ended|SUCCESS") else shown(index, value, **options)
    )
    item = table.get(header.id, ["header"])["header"]
    stage.clock.advance(61 * MINUTE)
    later = codec.pack_header(replace(header, updated_at=stage.clock.now()))
    table.write([Put(replace(item, body=later, indexes={}))])

    stage.container.clock_door.tick()

    assert stage.exists(header.id)


def ended(table):
    values = [ended_value(state, shard) for state in ("SUCCESS", "ERROR", "CANCELLED") for shard in range(ALARM_SHARDS)]
    return [entry for value in values for entry in table.list_index(INDEX_ALARM, value, limit=100)]


# -- switched on and off


def test_without_a_policy_nothing_is_listed_and_nothing_deleted():
    stage = Stage(ExpirationPolicy())
    kept = stage.run("leaf", {"value": 1}).header.id

    stage.tick(500)

    assert stage.exists(kept)
    assert ended(stage.ports.executions) == []
    assert "expiration" not in stage.ports.executions._partitions


def test_what_ended_before_there_was_a_policy_expires_too():
    stage = Stage(ExpirationPolicy())
    ids = [stage.run("leaf", {"value": number}).header.id for number in range(5)]
    tree = stage.run("tree", {"value": 1}).header.id

    later = with_policy(stage, POLICY)
    later.tick(75)

    assert not any(later.exists(each) for each in [*ids, tree])
    assert later.stored() == {}


def test_what_ended_while_the_policy_was_off_expires_when_it_is_on_again():
    stage = Stage()
    stage.tick(2)
    off = with_policy(stage, ExpirationPolicy())
    missed = off.run("leaf", {"value": 1}).header.id
    off.tick(100)

    on = with_policy(stage, POLICY)
    on.tick(2)

    assert not on.exists(missed)


@pytest.mark.parametrize(
    ("policy", "is_on"),
    [
        (ExpirationPolicy(), False),
        (ExpirationPolicy(evaluation_interval=10), False),
        (ExpirationPolicy(older_than=10), False),
        (ExpirationPolicy(evaluation_interval=10, older_than=1), True),
        (ExpirationPolicy(evaluation_interval=10, max_finished_executions=1), True),
    ],
)
def test_a_policy_needs_an_interval_and_a_rule(policy, is_on):
    assert policy.is_on is is_on


# -- bounded steps, crashes, two clocks


class Hurried(ManualClock):
    """A clock on which every look takes a second."""

    def now(self):
        self.advance(1.0)
        return super().now()


def test_a_step_is_bounded_and_the_next_minutes_go_on_with_it():
    stage = Stage()
    for number in range(40):
        stage.run("leaf", {"value": number})
    stage.clock.advance(61 * MINUTE)
    hurried = Hurried(stage.clock.now())
    ports = stage.ports
    slow = assemble(
        Settings(storage="memory", egress_local=True, expiration=POLICY),
        Ports(ports.executions, ports.definitions, ports.queue, ports.payloads, hurried, ports.entropy),
    )

    left = []
    for _ in range(10):
        slow.clock_door.tick()
        left.append(len(stage.stored()))
        hurried.advance(MINUTE)

    assert 0 < left[0] < 40
    assert left[-1] == 0


class Died(BaseException):
    pass


def test_a_clock_that_dies_at_any_write_leaves_nothing_that_another_does_not_finish():
    for crash_at in range(1, 40):
        stage = Stage()
        stage.run("tree", {"value": LARGE})
        stage.clock.advance(61 * MINUTE)
        table, payloads = stage.ports.executions, stage.ports.payloads
        calls = dying(table, payloads, crash_at)
        try:
            stage.container.clock_door.tick()
        except Died:
            pass
        else:
            assert crash_at > 5
            break
        calls.clear()

        stage.tick(2)
        assert (stage.stored(), stage.payloads()) == ({}, []), f"crash at {crash_at}"


def dying(table, payloads, crash_at):
    """Let the so-manyth write die before it happens; clearing the list ends it."""
    calls = [crash_at]

    def guarded(act):
        def call(*args, **options):
            if calls:
                calls[0] -= 1
                if not calls[0]:
                    raise Died
            return act(*args, **options)

        return call

    table.write_bulk = guarded(table.write_bulk)
    table.write = guarded(table.write)
    payloads.delete_all = guarded(payloads.delete_all)
    return calls


def test_of_two_clocks_at_once_one_works():
    stage = Stage()
    stage.run("leaf", {"value": 1})
    stage.clock.advance(61 * MINUTE)
    table = stage.ports.executions
    original = table.write
    writes: list[int] = []

    def first_looks(batch):
        if batch[0].__class__.__name__ == "Put" and batch[0].item.partition == "expiration" and not writes:
            writes.append(1)
            stage.container.clock_door.tick()
            raise ConflictException("the other was faster")
        original(batch)

    table.write = first_looks
    stage.container.clock_door.tick()

    assert stage.stored() == {}


# -- settings


def test_the_policy_is_read_from_the_environment():
    policy = ExpirationPolicy.from_environment(
        {
            "MISTRAL_EXPIRATION_INTERVAL_MIN": "120",
            "MISTRAL_EXPIRATION_OLDER_THAN_MIN": "60",
            "MISTRAL_EXPIRATION_FINISHED_MAX": "1000",
            "MISTRAL_EXPIRATION_BATCH": "50",
            "MISTRAL_EXPIRATION_IGNORED_STATES": "ERROR, CANCELLED",
        }
    )
    assert policy == ExpirationPolicy(120, 60, 1000, 50, frozenset({State.ERROR, State.CANCELLED}))
    assert ExpirationPolicy.from_environment({}) == ExpirationPolicy()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MISTRAL_EXPIRATION_INTERVAL_MIN", "-1"),
        ("MISTRAL_EXPIRATION_OLDER_THAN_MIN", "soon"),
        ("MISTRAL_EXPIRATION_IGNORED_STATES", "RUNNING"),
    ],
)
def test_a_setting_that_makes_no_sense_is_named(name, value):
    with pytest.raises(MistralError, match=name):
        ExpirationPolicy.from_environment({name: value})
