"""What the simulated world owes to the real one."""

from tests.simulation.doors import Process
from tests.simulation.workflows import CORPUS
from tests.simulation.world import Circumstances, World

API_SEC = 30.0
TEXT = CORPUS["a chain of real actions"].text


def test_a_process_that_stalls_is_gone_when_its_time_is_up_and_not_only_when_it_would_go_on():
    world = World(TEXT, 0, Circumstances(doors=2))
    alive: list[Process] = []
    seen: list[int] = []

    def stall(process: Process) -> None:
        alive.append(process)
        try:
            world.takes(200.0)
        finally:
            alive.remove(process)

    world.asks("stall", stall)
    for after_sec in (API_SEC - 0.001, API_SEC):
        world.asks("look", lambda _: seen.append(len(alive)), after_sec=after_sec)
    world.run()

    assert seen == [1, 0]
    assert world.crashes == 1
