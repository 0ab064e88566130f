"""Processes and the doors that run in them.

A door either runs to its end at once, or in a thread of its own that hands a baton back to the world at every call of
a port: so two doors interleave in the way that a seed chooses, and in that way each time.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from threading import Semaphore, Thread
from typing import TYPE_CHECKING, Any, cast

from chalicelib.actions.publishers import Announcement
from chalicelib.actions.registry import AwsSettings, EgressPolicy
from chalicelib.adapters.patience import Patience, PatientPayloads, PatientQueue, PatientTable
from chalicelib.expressions.options import Options
from chalicelib.limits import ALARM_INTERVAL_SEC
from chalicelib.services.action_calls import ExecutorSettings
from chalicelib.services.action_runs import ActionRuns
from chalicelib.services.clock_door import ClockDoor
from chalicelib.services.definitions import Definitions
from chalicelib.services.dispatcher import Dispatcher
from chalicelib.services.engine import EngineService
from chalicelib.services.execution_store import ExecutionStore
from chalicelib.services.executor import Executor
from chalicelib.services.notifier import Notifier
from chalicelib.services.ports import Clock, Write
from chalicelib.services.turns import Turns, TurnSettings
from tests.simulation.faults import Crash, Fault
from tests.simulation.ports import MortalPayloads, MortalQueue, MortalTable, call

if TYPE_CHECKING:
    from tests.simulation.world import World

FIELD_BYTES_MAX = 1 << 20


class Process:
    """One Lambda: its own services, hence its own memory, on the tables that all share."""

    def __init__(self, world: "World", kind: str, number: int) -> None:
        self.world = world
        self.name = f"{kind}-{number}"
        self.kind = kind
        self.is_busy = False
        self.has_died = False
        off = Random(f"{self.name} {world.circumstances.skew_sec}")
        clock = SkewedClock(world.clock, off.uniform(-1, 1) * world.circumstances.skew_sec)
        self.is_old = off.random() < world.circumstances.old_share
        patience = Patience(clock, world.sleeps, jitter=lambda: 0.5)
        table = PatientTable(MortalTable(world.table, self), patience)
        queue = PatientQueue(MortalQueue(world.queue, self), patience)
        definitions = cast(Definitions, world.library)
        registry = world.registry
        self.store = ExecutionStore(table, PatientPayloads(MortalPayloads(world.payloads, self), patience))
        settings = TurnSettings(Options(), FIELD_BYTES_MAX, ALARM_INTERVAL_SEC)
        turns = Turns(self.store, definitions, registry, clock, settings, pause=world.waits)
        self.engine = EngineService(turns, Dispatcher(turns, queue, clock), definitions, clock, world.entropy)
        runs = ActionRuns(
            table,
            definitions,
            registry,
            queue,
            clock,
            world.entropy,
            egress=EgressPolicy(),
            aws=AwsSettings(),
        )
        action_settings = ExecutorSettings(EgressPolicy(), AwsSettings())
        self.executor = Executor(self.engine, registry, runs, queue, clock=clock, settings=action_settings)
        self.notifier = Notifier(self.engine, Teller(self), queue, clock, {})
        self.clock_door = ClockDoor(self.store, queue, clock)

    def meets(self, operation: str) -> Fault:
        if self.has_died:
            raise Crash(operation)
        return self.world.calls(self, operation)

    def saw(self, writes: Sequence[Write]) -> None:
        self.world.watcher.saw(writes)


class SkewedClock(Clock):
    """A clock that is off by some seconds."""

    def __init__(self, clock: Clock, off_sec: float) -> None:
        self._clock = clock
        self._off_sec = off_sec

    def now(self) -> float:
        return self._clock.now() + self._off_sec


class Teller:
    """Publishers as the world has them: each has a name."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def publish(self, publisher: Mapping[str, Any], announcement: Announcement) -> None:
        call(self._process, "publish", lambda: self._process.world.tells(publisher["name"], announcement))


@dataclass
class Door:
    """One invocation of a process, and what is done when it has ended well or badly."""

    process: Process
    title: str
    act: Callable[[], None]
    deadline: float
    ended: Callable[[BaseException | None], None] = lambda error: None
    free_at: float = 0.0
    is_done: bool = False
    is_killed: bool = False
    error: BaseException | None = None
    _go: Semaphore = field(default_factory=lambda: Semaphore(0))
    _thread: Thread | None = None

    def run(self) -> None:
        """Run to the end, in the thread of the world."""
        try:
            self.act()
        except (Crash, Exception) as error:  # noqa: BLE001 - what a door ends with is looked at outside
            self.error = error
        self.is_done = True

    def resume(self, baton: Semaphore) -> None:
        """Let the door's own thread run on until it hands the baton back."""
        if self._thread is None:
            self._thread = Thread(target=self._main, args=(baton,), daemon=True)
            self._thread.start()
        else:
            self._go.release()
        baton.acquire()

    def _main(self, baton: Semaphore) -> None:
        self.run()
        baton.release()

    def hand_back(self, baton: Semaphore, free_at: float) -> None:
        """In whatever thread of the door: let others run, at least until a moment."""
        self.free_at = free_at
        baton.release()
        self._go.acquire()
        if self.is_killed:
            self.process.has_died = True
            raise Crash("time is up")
