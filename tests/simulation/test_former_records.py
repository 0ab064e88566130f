"""Records that the former version of the code stored in the middle of executions lead to the same end.

``former_records.json`` holds tables, queues and buckets as that version left them. It is never made anew: a change of
the stored format adds a file of its own.
"""

import base64
import json
import math
from pathlib import Path
from typing import Any

import pytest

from chalicelib.services.execution_history import turns
from chalicelib.services.ports import IndexKey, Item, Message, Put
from chalicelib.services.replay import NotReplayable
from tests.simulation.outcomes import outcome
from tests.simulation.rebuilding import replay_of
from tests.simulation.runs import bounds, check_redelivery, undisturbed
from tests.simulation.workflows import CORPUS
from tests.simulation.world import World

FORMER: dict[str, Any] = json.loads((Path(__file__).parent / "former_records.json").read_text("utf-8"))


def world_of(stored: dict[str, Any]) -> World:
    """A world that goes on where another version has stopped."""
    world = World(CORPUS[stored["title"]].text)
    world.clock.set(stored["now"])
    world.crashes = 1  # the process that wrote last died
    for digest, data in stored["payloads"].items():
        world.payloads.put(digest, base64.b64decode(data))
    puts = [Put(item_of(each)) for each in stored["items"]]
    for put in puts:
        world.table.write_bulk([put.item])
    for partition in dict.fromkeys(put.item.partition for put in puts):
        world.watcher.saw([put for put in puts if put.item.partition == partition])
    for queue, body, visible_at, _ in stored["letters"]:
        world.queue.send([Message(body, queue, max(0, math.ceil(visible_at - stored["now"])))])
    return world


def item_of(each: dict[str, Any]) -> Item:
    indexes = {name: IndexKey(value, sort) for name, (value, sort) in each["x"].items()}
    return Item(each["p"], each["k"], base64.b64decode(each["b"]), each["r"], indexes)


@pytest.mark.parametrize("name", FORMER)
def test_an_execution_of_the_former_version_comes_to_the_same_end(name: str):
    stored = FORMER[name]
    with bounds(small=stored["small"]):
        world = world_of(stored)
        assert not all(header.state.is_completed for header in world.headers())
        world.run()

        assert world.problems == []
        expected = undisturbed(CORPUS[stored["title"]], frozenset(world.watcher.deaths()))
        assert outcome(world) == outcome(expected)
        check_redelivery(world)


def test_an_execution_of_the_former_version_has_a_history_from_then_on_and_is_not_made_again():
    world = world_of(FORMER["a chain of real actions"])
    world.run()
    header = world.headers()[0]

    assert [turn.number for turn in turns(world.store, header)] != []
    with pytest.raises(NotReplayable):
        replay_of(world).replay(header)
