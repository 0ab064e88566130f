"""A person who answers what a workflow asks people."""

from itertools import count
from typing import TYPE_CHECKING

from chalicelib.engine.events import ActionCompleted, ResumeRequested
from chalicelib.vocabulary import JsonObject, Result, State

if TYPE_CHECKING:
    from tests.simulation.world import World

LOOKS_EVERY_SEC = 20.0
# At every so-manyth look, who finds a workflow paused has it run on.
RESUMES_AT_LOOK = 60


def employ_person(world: "World", answers: JsonObject) -> None:
    """Somebody who looks now and then for actions that wait, and answers those of the tasks that have an answer."""

    looks = count(1)

    def look() -> None:
        headers = world.headers()
        comes_to_resume = next(looks) % RESUMES_AT_LOOK == 0
        for header in headers:
            if comes_to_resume and header.state is State.PAUSED:
                world.sends(header.id, ResumeRequested(), insists=True)
            for task in header.frontier.values():
                for action in task.actions if task.name in answers else ():
                    if action.state is State.RUNNING:
                        said = ActionCompleted(task.ordinal, action.number, Result(data=answers[task.name]))
                        world.sends(header.id, said, insists=True)
        if not headers or not headers[0].state.is_completed:
            world.appoint(LOOKS_EVERY_SEC, look)

    world.appoint(LOOKS_EVERY_SEC, look)
