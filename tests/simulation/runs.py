"""One seed: its workflow, its world, its operator, and the judgement."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from random import Random
from typing import Any
from unittest.mock import patch

from chalicelib.engine import decider, items, sealing
from chalicelib.engine.events import (
    DescriptionChanged,
    Event,
    PauseRequested,
    RerunRequested,
    ResumeRequested,
    SkipRequested,
    StopRequested,
)
from chalicelib.engine.records import WorkflowExecution
from chalicelib.services import turns
from chalicelib.vocabulary import State
from tests.simulation.endings import faults_at_the_end
from tests.simulation.examples import EXAMPLES
from tests.simulation.faults import PROMPT, Delivery, NoFaults, RandomFaults, WithRefusals
from tests.simulation.oracles import Broken
from tests.simulation.outcomes import outcome
from tests.simulation.people import employ_person
from tests.simulation.rebuilding import differences
from tests.simulation.workflows import CORPUS, Case, random_case
from tests.simulation.world import Circumstances, World

# Small bounds bring small workflows to the paths of large ones: waves, pages, values apart.
SMALL_BOUNDS = (
    (turns, "TURN_RECORDS_MAX", 4),
    (decider, "TURN_RECORDS_MAX", 4),
    (items, "TURN_RECORDS_MAX", 4),
    (turns, "TURN_DECISIONS_MAX", 3),
    (sealing, "TASKS_PER_PAGE_MAX", 2),
    (sealing, "TAIL_TASKS_MAX", 1),
    (sealing, "INLINE_VALUE_BYTES_MAX", 8),
    (sealing, "PAYLOAD_THRESHOLD_BYTES", 16),
)


# From this seed on, workflows have the rest of the language, clocks differ, some processes run the former version of
# the code, and operators change environments. Those below are as they were when they found something.
WIDE = 100_000
# From this one on, AWS also refuses calls or does not answer them, and the examples are among the workflows.
REFUSED = 600_000


@dataclass(frozen=True)
class Plan:
    """What a seed stands for."""

    seed: int
    case: Case
    circumstances: Circumstances
    has_operator: bool
    is_small: bool


class Differs(Broken):
    """A disturbed run came to another end than an undisturbed one."""


def plan_of(seed: int, *, verbose: bool = False) -> Plan:
    random = Random(seed)
    exact = random.random() < 0.6
    corpus = sorted(CORPUS)
    case = (
        CORPUS[random.choice(corpus)] if random.random() < 0.1 else random_case(seed, exact=exact, is_wide=seed >= WIDE)
    )
    doors = random.choice([1, 1, 2, 3])
    faults = RandomFaults(
        Random(seed + 1), random.choice([0, 0, 5, 20, 60]), random.choice([0, 0, 20, 150]), random.choice([1, 4, 12])
    )
    delivery = PROMPT
    if random.random() < 0.6:
        late = random.choice([0, 0.1, 0.5])
        delivery = Delivery(random.choice([0, 0, 0.05, 0.3]), random.choice([0, 0.2]), late, 300.0, in_order=False)
    stalls = random.choice([0, 0, 0.01]) if doors > 1 else 0.0
    circumstances = Circumstances(
        faults if random.random() < 0.9 else NoFaults(), delivery, doors, stalls, verbose=verbose
    )
    if seed >= WIDE:
        wide = Random(f"wide {seed}")
        circumstances = replace(
            circumstances, skew_sec=wide.choice([0.0, 0.5, 3.0]), old_share=wide.choice([0.0, 0.0, 0.5])
        )
    has_operator = random.random() < 0.3
    plan = Plan(seed, case, circumstances, has_operator, is_small=random.random() < 0.3)
    return _with_refusals(plan) if seed >= REFUSED else plan


def _with_refusals(plan: Plan) -> Plan:
    random = Random(f"refused {plan.seed}")
    case = EXAMPLES[random.choice(sorted(EXAMPLES))] if random.random() < 0.05 else plan.case
    per_mille, in_a_row = random.choice([0, 2, 10, 40]), random.choice([1, 1, 5, 60])
    faults = WithRefusals(plan.circumstances.faults, random, per_mille, in_a_row, random.choice([1, 4, 12]))
    return replace(plan, case=case, circumstances=replace(plan.circumstances, faults=faults))


def run_seed(seed: int, *, verbose: bool = False) -> World:
    """Run a seed to its end. Raises AssertionError where an invariant breaks."""
    plan = plan_of(seed, verbose=verbose)
    if verbose:
        print(plan.case.text)
        print(plan.circumstances, f"operator={plan.has_operator} small={plan.is_small}", sep="\n")
    return run_plan(plan)


def run_plan(plan: Plan) -> World:
    """Run a plan to its end. Raises AssertionError where an invariant breaks."""
    with bounds(small=plan.is_small):
        world = World(plan.case.text, plan.seed, plan.circumstances)
        if plan.has_operator:
            _employ_operator(world, Random(plan.seed + 2), changes_env=plan.seed >= WIDE)
        start(world, plan.case)
        world.run()
        if plan.case.exact and not plan.has_operator:
            compare(world, plan.case)
        check_the_end(world)
        check_redelivery(world)
        check_history(world)
    return world


def check_history(world: World) -> None:
    """From its history each execution can be made again as it is stored. Raises Broken."""
    for header in world.headers() if not world.circumstances.old_share else ():
        found = differences(world, header)
        if found:
            raise Broken(f"{header.workflow_name} {header.id[:8]} differs when made again: {found[:3]}")


def check_the_end(world: World) -> None:
    """Records, lists, families and histories agree. Raises Broken."""
    found = faults_at_the_end(world)
    if found:
        raise Broken("; ".join(found[:3]))


@contextmanager
def bounds(*, small: bool) -> Iterator[None]:
    """Run with small bounds, or as they are."""
    with ExitStack() as stack:
        for module, name, value in SMALL_BOUNDS if small else ():
            stack.enter_context(patch.object(module, name, value))
        yield


def start(world: World, case: Case) -> None:
    world.start(case.workflow, dict(case.input), dict(case.params))
    if case.answers:
        employ_person(world, case.answers)


def undisturbed(case: Case, doomed: frozenset[tuple[str, str]] = frozenset()) -> World:
    """A run in which nothing goes wrong, but for the actions that are to fail as if their executor had died."""
    world = World(case.text, 0, Circumstances(doomed=doomed))
    start(world, case)
    world.run()
    return world


def compare(world: World, case: Case) -> None:
    """The end must be that of an undisturbed run. Raises Differs."""
    deaths = frozenset(world.watcher.deaths())
    rounds = {name for header in world.headers() for name in _repeated(world, header)}
    if any(f"/{name}#" in path for path, _ in deaths for name in rounds):
        # Which round of a circle it was is told by the order of creation, which differs where circles run side by side.
        return
    expected = outcome(undisturbed(case, deaths))
    found = outcome(world)
    if found != expected:
        raise Differs(f"The end differs: {_difference(expected, found)}")


def _repeated(world: World, header: WorkflowExecution) -> list[str]:
    """The names of tasks that an execution has several of."""
    names = Counter(task.name for task in world.store.tasks(header))
    return [name for name, count in names.items() if count > 1]


def _difference(expected: dict[str, Any], found: dict[str, Any]) -> str:
    lines = []
    for path in sorted(expected.keys() | found.keys()):
        first, second = expected.get(path, {}), found.get(path, {})
        for what in sorted(first.keys() | second.keys()):
            if first.get(what) != second.get(what):
                lines.append(f"{path} {what}: expected {first.get(what)}, found {second.get(what)}")
    return "\n".join(lines)[:3000]


def check_redelivery(world: World) -> None:
    """Every message once more changes nothing. Raises Broken."""
    settled = world.watcher.settled()
    before = _records(world, settled)
    runs = dict(world.runs)
    told = sum(map(len, world.told.values()))
    world.circumstances = replace(
        Circumstances(), verbose=world.circumstances.verbose, old_share=world.circumstances.old_share
    )
    world.deliver_again()
    world.watcher.rest()
    after = _records(world, settled)
    changed = sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
    if changed:
        raise Broken(f"Delivering every message again changed {changed[:5]}.")
    if runs != dict(world.runs):
        raise Broken("Delivering every message again ran actions again.")
    if told != sum(map(len, world.told.values())):
        raise Broken("Delivering every message again told publishers again.")


def _records(world: World, partitions: list[str]) -> dict[tuple[str, str], bytes]:
    """Everything that is stored there, but for claims, leases and parked results, and for items that no header counts.

    A parked result that was taken in, and could not be taken away, goes with the next turn.
    """
    return {
        (item.partition, item.key): item.body
        for partition in partitions
        for item in world.table.query(partition)
        if not item.key.startswith(("claim#", "notified#", "parked#")) and world.watcher.counts(partition, item.key)
    }


def _employ_operator(world: World, random: Random, *, changes_env: bool) -> None:
    """Some commands at some moments, for whatever execution there is by then."""
    revives = random.random() < 0.4
    world.watcher.revives = revives
    for _ in range(random.randint(1, 5)):
        world.appoint(
            random.choice([0.0, 0.5, 3.0, 12.0, 45.0, 700.0]),
            lambda: _command(world, random, revives=revives, changes_env=changes_env),
        )


def _command(world: World, random: Random, *, revives: bool, changes_env: bool) -> None:
    headers = world.headers()
    if not headers:
        return
    header = headers[0] if random.random() < 0.6 else random.choice(headers)
    events: list[Event] = [PauseRequested(), PauseRequested(), ResumeRequested()]
    if random.random() < 0.3:
        events += [StopRequested(random.choice([State.CANCELLED, State.CANCELLED, State.ERROR, State.SUCCESS]), "stop")]
    failed = [task for task in world.store.tasks(header) if task.state is State.ERROR]
    if revives and failed:
        task = random.choice(failed)
        reset = not task.has_items or random.random() < 0.5
        events = [RerunRequested(task.ordinal, reset=reset), SkipRequested(task.ordinal)]
    event = random.choice(events)
    world.watcher.ends_by_hand |= isinstance(event, StopRequested) and event.state is State.SUCCESS
    world.sends(header.id, event)
    if changes_env and header.state in (State.PAUSED, State.ERROR):
        world.sends(header.id, DescriptionChanged("changed", {"level": 1, "other": [1, 2]}))
