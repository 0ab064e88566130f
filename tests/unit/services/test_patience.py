"""Patience: what an executor holds is not lost because AWS refuses for a while; nobody else waits for AWS."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError
from pynamodb.exceptions import GetError, PutError, QueryError

from chalicelib.actions.registry import ActionContext, action
from chalicelib.adapters.memory import ManualClock, MemoryPayloads, MemoryQueue, MemoryTable, SeededEntropy
from chalicelib.adapters.patience import (
    Patience,
    PatientPayloads,
    PatientQueue,
    PatientTable,
    is_passing,
)
from chalicelib.engine.events import DescriptionChanged
from chalicelib.engine.sealing import HEADER_KEY
from chalicelib.errors import ConflictException
from chalicelib.limits import PATIENCE_MAX_SEC
from chalicelib.services.definition_records import Kind
from chalicelib.services.definition_rules import Access, Placement
from chalicelib.services.engine import StartRequest
from chalicelib.services.patience import patient_until
from chalicelib.services.ports import Message, Put, Write
from chalicelib.settings import Settings
from chalicelib.vocabulary import State
from chalicelib.wiring import Ports, assemble
from tests.unit.services.poll_site import Site

THROTTLED = ClientError({"Error": {"Code": "ThrottlingException"}}, "PutItem")
DENIED = ClientError({"Error": {"Code": "AccessDeniedException"}}, "PutItem")
BROKEN = ClientError({"Error": {"Code": "?"}, "ResponseMetadata": {"HTTPStatusCode": 503}}, "PutItem")
SILENT = ReadTimeoutError(endpoint_url="table")


@pytest.mark.parametrize(
    "error",
    [
        THROTTLED,
        BROKEN,
        SILENT,
        EndpointConnectionError(endpoint_url="table"),
        QueryError("", SILENT),
        PutError("left"),
    ],
    ids=repr,
)
def test_who_is_busy_or_silent_is_asked_again(error: Exception):
    assert is_passing(error)


@pytest.mark.parametrize(
    "error", [DENIED, GetError("", DENIED), ConflictException("faster"), KeyError("x"), None], ids=repr
)
def test_what_would_be_answered_alike_is_not_asked_again(error: Exception | None):
    assert not is_passing(error)


class Refusing:
    """A call that is refused until a moment; it says when it was made."""

    def __init__(self, clock: ManualClock, until: float, error: Exception = THROTTLED) -> None:
        self.made_at: list[float] = []
        self._clock, self._until, self._error = clock, until, error

    def __call__(self) -> str:
        self.made_at.append(self._clock.now())
        if self._clock.now() < self._until:
            raise self._error
        return "done"


def test_a_call_is_made_again_less_and_less_often_until_it_is_answered():
    clock = ManualClock(1000.0)
    call = Refusing(clock, 1020.0)

    with patient_until(1100.0):
        assert Patience(clock, clock.advance, jitter=lambda: 1.0).call("get", call) == "done"

    gaps = [round(second - first, 3) for first, second in zip(call.made_at, call.made_at[1:], strict=False)]
    assert gaps == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0]


@pytest.mark.parametrize(("until", "most_sec"), [(1030.0, 30.0), (9000.0, PATIENCE_MAX_SEC)])
def test_patience_ends_with_the_time_of_its_owner_or_after_a_while(until: float, most_sec: float):
    clock = ManualClock(1000.0)
    call = Refusing(clock, 5000.0)

    with patient_until(until), pytest.raises(ClientError):
        Patience(clock, clock.advance).call("get", call)

    assert most_sec - 5 <= call.made_at[-1] - 1000 < most_sec


def test_nobody_is_patient_who_does_not_say_so():
    clock = ManualClock(1000.0)
    call = Refusing(clock, 1001.0)
    with patient_until(1100.0):
        pass

    with pytest.raises(ClientError):
        Patience(clock, clock.advance).call("get", call)

    assert len(call.made_at) == 1


class BusyTable(MemoryTable):
    """A table that refuses to write until a moment, or takes what it is given without an answer."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__()
        self.busy_until = self.silent_until = 0.0
        # What another process does once: after a header was written, without an answer; or just before it.
        self.others: Callable[[], None] | None = None
        self.are_faster = False
        self._time = clock

    def write(self, writes: Sequence[Write]) -> None:
        """See ``Table``."""
        if self._time.now() < self.busy_until:
            raise PutError("", THROTTLED)
        others = None
        if any(isinstance(put, Put) and put.item.key == HEADER_KEY for put in writes):
            others, self.others = self.others, None
        if others is not None and self.are_faster:
            others()
        super().write(writes)
        if self._time.now() < self.silent_until:
            raise PutError("", SILENT)
        if others is not None:
            others()
            raise PutError("", SILENT)


class BusyQueue(MemoryQueue):
    """A queue that refuses to send until a moment."""

    busy_until = 0.0

    def send(self, messages: Sequence[Message]) -> None:
        """See ``Queue``."""
        if self._clock.now() < self.busy_until:
            raise THROTTLED
        super().send(messages)


BRANCHES = "    a: {action: my.work, on-success: [b, c]}\n    b: {action: my.work}\n    c: {action: my.work}\n"
ITEMS = "    a: {with-items: 'i in [1, 2, 3]', concurrency: 1, action: my.work}\n"


class Service:
    """A service in memory; what is to happen while its action ``my.work`` runs, a test says in ``meanwhile``."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.table, self.queue = BusyTable(self.clock), BusyQueue(self.clock)
        patience = Patience(self.clock, self.clock.advance)
        ports = Ports(
            PatientTable(self.table, patience),
            MemoryTable(),
            PatientQueue(self.queue, patience),
            PatientPayloads(MemoryPayloads(), patience),
            self.clock,
            SeededEntropy(1),
        )
        self.container = assemble(Settings(storage="memory"), ports)
        self.other = assemble(Settings(storage="memory"), ports)
        self.runs = self.messages = 0
        self.meanwhile: Callable[[], None] = lambda: None

        @action("my.work")
        def work(context: ActionContext) -> str:
            """Work, while AWS becomes busy."""
            self.runs += 1
            if self.runs == 1:
                self.meanwhile()
            return "done"

        self.container.registry._built_in["my.work"] = work

    def ended(self, tasks: str = BRANCHES) -> State:
        """How a workflow ends, without any message that comes again."""
        text = f"version: '2.0'\nw:\n  tasks:\n{tasks}"
        self.container.definitions.create(Kind.WORKFLOW, Access("p"), text.encode(), Placement())
        execution_id = self.execution_id = self.container.engine.start(StartRequest("p", "w")).id
        while received := self.queue.receive("tasks", messages_max=1, visibility_sec=720.0):
            record = {"messageId": received[0].message_id, "body": json.dumps(received[0].body)}
            assert self.container.executor.handle_batch([record], 120.0) == []
            self.queue.delete(received[0])
            self.messages += 1
        header = self.container.executions.header(execution_id)
        assert header is not None
        return header.state


def test_a_result_is_not_lost_while_the_table_is_busy():
    service = Service()
    service.meanwhile = lambda: setattr(service.table, "busy_until", service.clock.now() + 60)

    assert service.ended() is State.SUCCESS
    assert service.runs == 3


def test_a_result_is_not_lost_when_its_turn_was_committed_without_an_answer():
    service = Service()
    service.meanwhile = lambda: setattr(service.table, "silent_until", service.clock.now() + 1)

    assert service.ended() is State.SUCCESS
    assert service.runs == 3


@pytest.mark.parametrize(("tasks", "messages"), [(BRANCHES, 2), (ITEMS, 1)])
def test_an_action_that_was_claimed_with_a_turn_that_was_lost_runs_once(tasks: str, messages: int):
    service = Service()
    service.table.are_faster = True

    def others() -> None:
        service.other.engine.handle(service.execution_id, DescriptionChanged("seen", None))

    service.meanwhile = lambda: setattr(service.table, "others", others)

    assert service.ended(tasks) is State.SUCCESS
    assert (service.runs, service.messages) == (3, messages)


@pytest.mark.parametrize("tasks", [BRANCHES, ITEMS])
def test_an_action_that_was_claimed_with_its_turn_runs_although_others_wrote_before_the_answer_was_missed(tasks: str):
    service = Service()

    def others() -> None:
        service.other.engine.handle(service.execution_id, DescriptionChanged("seen", None))

    service.meanwhile = lambda: setattr(service.table, "others", others)

    assert service.ended(tasks) is State.SUCCESS
    assert service.runs == 3


def test_an_action_that_was_claimed_with_its_turn_runs_although_the_queue_was_busy():
    service = Service()
    service.meanwhile = lambda: setattr(service.queue, "busy_until", service.clock.now() + 60)

    assert service.ended() is State.SUCCESS
    assert service.runs == 3


@pytest.mark.parametrize("lost", range(6))
def test_an_action_is_asked_in_time_although_the_answer_to_a_write_of_its_claim_got_lost(lost: int):
    site = Site()
    table, count = site.container.executions.table, iter(range(100))
    write = table.write

    def without_answer(writes: Sequence[Write]) -> None:
        write(writes)
        if next(count) == lost:
            raise ConflictException("It was made again, and lost against itself.")

    execution_id = site.start("    a: {action: my.poll, on-success: b}\n    b: {action: std.noop}\n")
    table.write = without_answer  # type: ignore[method-assign]
    site.go_on()

    assert site.header(execution_id).state is State.SUCCESS
    assert [round(at - site.asked_at[0]) for at in site.asked_at] == [0, 30, 60, 90]
