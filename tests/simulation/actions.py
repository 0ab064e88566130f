"""The actions of the simulation: work that counts its runs, and work that is finished by someone outside."""

from chalicelib.actions.registry import ActionContext, FunctionAction, Pending, Polling, Registry, action
from chalicelib.engine.identity import address_of
from chalicelib.vocabulary import Json, Result
from tests.simulation.examples import SCRIPT, Answer
from tests.simulation.stage import Stage


class SimulatedRegistry(Registry):
    """The standard actions and those of one simulation."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        scripted = [_scripted(stage, name, answer) for name, answer in SCRIPT.items()]
        for made in (_work(stage), _started(stage), _polled(stage), *scripted):
            self._built_in[made.name] = made
        # What happens to be installed is no part of the world; looking for it would take longer than most runs.
        self.__dict__["_entry_points"] = {}


def _number(context: ActionContext) -> int:
    address = address_of(context.action_execution_id or "")
    assert address is not None, context
    return address.number


def _worked(stage: Stage, identifier: str, seconds: Json) -> str | None:
    """Take some time; what an action that is to fail as if its executor had died says."""
    stage.begins(identifier)
    try:
        stage.takes(seconds)
    finally:
        stage.ends(identifier)
    return stage.doom_of(identifier)


def _work(stage: Stage) -> FunctionAction:
    @action("sim.work")
    def work(
        context: ActionContext, value: Json = None, failures: int = 0, bad: Json = None, seconds: Json = 0
    ) -> Json:
        """Take some time, then return the value; fail in the first runs of a task, or for a bad value."""
        identifier = context.action_execution_id or ""
        if doom := _worked(stage, identifier, seconds):
            return Result(error=doom)
        if _number(context) < failures or (bad is not None and value in bad):
            return Result(error=f"sim.work failed for {value}")
        return value

    return work


def _scripted(stage: Stage, name: str, answer: Answer) -> FunctionAction:
    @action(name)
    def act(context: ActionContext, **given: Json) -> Json:
        """Take some time, and answer what the script says."""
        identifier = context.action_execution_id or ""
        if doom := _worked(stage, identifier, 1):
            return Result(error=doom)
        return answer(given, _number(context))

    return act


def _started(stage: Stage) -> FunctionAction:
    @action("sim.async", sync=False)
    def start(context: ActionContext, value: Json = None, seconds: Json = 5, fails: bool = False) -> Json:
        """Start work elsewhere: its result comes through the API after some seconds."""
        identifier = context.action_execution_id or ""
        stage.begins(identifier)
        stage.ends(identifier)
        result = Result(error=f"sim.async failed for {value}") if fails else Result(data=value)
        if doom := stage.doom_of(identifier):
            return Result(error=doom)
        stage.answers_later(identifier, result, seconds)
        return None

    return start


def _polled(stage: Stage) -> FunctionAction:
    @action("sim.poll", polling=Polling.AFTER_START)
    def poll(
        context: ActionContext, value: Json = None, times: int = 2, delay: float = 30.0, fails: bool = False
    ) -> Json:
        """Begin once, then be asked so many times whether it is done."""
        identifier = context.action_execution_id or ""
        if context.pending is None:
            if doom := _worked(stage, identifier, 0):
                return Result(error=doom)
            return Pending({"left": times, "due": stage.now() + delay}, delay_sec=delay)
        stage.poll_begins(identifier, context.pending["due"])
        try:
            stage.takes(1)
        finally:
            stage.poll_ends(identifier)
        left = context.pending["left"] - 1
        if left > 0:
            return Pending({"left": left, "due": stage.now() + delay}, delay_sec=delay)
        return Result(error=f"sim.poll failed for {value}") if fails else value

    return poll
