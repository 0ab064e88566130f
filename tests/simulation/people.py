"""A person who answers what a workflow asks people."""

from typing import TYPE_CHECKING

from chalicelib.engine.events import ActionCompleted
from chalicelib.vocabulary import JsonObject, Result, State

if TYPE_CHECKING:
    from tests.simulation.world import World

LOOKS_EVERY_SEC = 20.0


def employ_person(world: "World", answers: JsonObject) -> None:
    """Somebody who looks now and then for actions that wait, and answers those of the tasks that have an answer."""

    def look() -> None:
        headers = world.headers()
        for header in headers:
            for task in header.frontier.values():
                for action in task.actions if task.name in answers else ():
                    if action.state is State.RUNNING:
                        said = ActionCompleted(task.ordinal, action.number, Result(data=answers[task.name]))
                        world.sends(header.id, said, insists=True)
        if not headers or not headers[0].state.is_completed:
            world.appoint(LOOKS_EVERY_SEC, look)

    world.appoint(LOOKS_EVERY_SEC, look)
