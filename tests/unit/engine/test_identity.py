"""Ids as addresses: from an id follows where its record stands."""

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from chalicelib.engine.identity import (
    Address,
    Kind,
    action_id,
    address_of,
    child_execution_id,
    derived_execution_id,
    execution_id_from,
    partition_of,
    task_id,
)

ENTROPY = st.binary(min_size=16, max_size=32)
NUMBERS = st.integers(0, 2**20 - 1)


@given(ENTROPY)
def test_an_execution_id_is_a_uuid_of_version_4_and_its_own_address(entropy):
    identifier = execution_id_from(entropy)
    assert UUID(identifier).version == 4
    assert address_of(identifier) == Address(identifier, Kind.EXECUTION)
    assert partition_of(identifier) == identifier


@given(ENTROPY, NUMBERS, NUMBERS)
def test_task_and_action_ids_lead_back_to_their_execution(entropy, ordinal, number):
    execution_id = execution_id_from(entropy)
    task, action = task_id(execution_id, ordinal), action_id(execution_id, ordinal, number)
    assert UUID(task).version == UUID(action).version == 4
    assert address_of(task) == Address(execution_id, Kind.TASK, ordinal)
    assert address_of(action) == Address(execution_id, Kind.ACTION, ordinal, number)
    assert address_of(action.upper()) == address_of(action)


@given(st.text())
def test_any_text_has_a_partition_of_its_own(text):
    partition = partition_of(text)
    assert partition_of(text) == partition
    assert partition_of(partition) == partition


def test_the_partition_of_a_task_id_is_not_that_of_its_execution():
    execution_id = execution_id_from(bytes(range(16)))
    assert partition_of(task_id(execution_id, 1)) != execution_id


def test_what_is_no_id_of_this_service_has_no_address():
    execution_id = execution_id_from(bytes(16))
    for text in ("", "mine", execution_id[:25] + "3" + "0" * 10, execution_id[:25] + "0" + "00001" + "00000"):
        assert address_of(text) is None
    assert address_of(execution_id[:25] + "1" + "00001" + "00001") is None


def test_derived_ids_follow_from_their_parts():
    assert derived_execution_id("a", "b") == derived_execution_id("a", "b")
    assert derived_execution_id("a", "b") != derived_execution_id("ab")
    assert child_execution_id("x", 1, 2) != child_execution_id("x", 2, 1)


def test_an_id_follows_from_any_text_that_a_client_may_send():
    assert derived_execution_id("\ud800") != derived_execution_id("\ud801")
