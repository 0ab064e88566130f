"""Waves: what is released in several transactions, beside results that come in meanwhile."""

from unittest.mock import patch

from benchmarks.workloads import REAL_ACTION, World, items
from chalicelib.engine.events import Continued
from chalicelib.errors import ConflictException
from chalicelib.limits import MESSAGES_HELD_MAX, WAVE_AGAIN_SEC
from chalicelib.vocabulary import State


def _world(count: int) -> World:
    world = World()
    world.upload(items(count, REAL_ACTION))
    return world


def test_messages_are_sent_when_all_waves_are_made():
    world = _world(300)
    seen: list[int] = []
    begun = world.api.engine.turns.submit

    def submit(execution_id, event, carrier=None):
        seen.append(world.queue.size())
        return begun(execution_id, event, carrier)

    with patch.object(world.api.engine.turns, "submit", submit):
        world.start()
    assert len(seen) > 1
    assert set(seen) == {0}
    assert world.queue.size() == 300 <= MESSAGES_HELD_MAX


def test_a_wave_that_loses_every_race_is_made_later_and_the_request_succeeds():
    world = _world(200)
    begun = world.api.engine.turns.submit

    def submit(execution_id, event, carrier=None):
        if isinstance(event, Continued):
            raise ConflictException("Execution is too busy; try again.")
        return begun(execution_id, event, carrier)

    with patch.object(world.api.engine.turns, "submit", submit):
        header = world.start()
    waves = [message for message in world.queue.sent if message.body["kind"] == "tell"]
    assert [(message.delay_sec, message.tenant) for message in waves] == [(WAVE_AGAIN_SEC, "bench")]
    world.clock.advance(WAVE_AGAIN_SEC)
    world.drain()
    ended = world.api.executions.header(header.id)
    assert ended is not None
    assert ended.state is State.SUCCESS


def test_an_executor_puts_off_a_wave_that_loses_every_race():
    world = _world(200)
    header = world.start()
    sent = len(world.queue.sent)
    with patch.object(world.executor.engine.turns, "submit", _busy):
        assert world.executor.engine.proceed(header.id, Continued(), until=world.clock.now() + 60) is None
    assert [message.delay_sec for message in list(world.queue.sent)[sent:]] == [WAVE_AGAIN_SEC]


def test_every_message_of_an_execution_names_its_tenant():
    world = _world(20)
    world.start()
    world.drain()
    assert {message.tenant for message in world.queue.sent} == {"bench"}


def _busy(*_: object) -> None:
    raise ConflictException("Execution is too busy; try again.")
