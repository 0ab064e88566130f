"""What may go wrong at a call of a port, and who decides it: nobody, a seed, or the number of the call."""

from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Protocol


class Crash(BaseException):
    """The process dies here: nothing of it runs on, and nobody but its queue notices."""


class Fault(StrEnum):
    NONE = "none"
    CRASH_BEFORE = "crash before"
    CRASH_WITHIN = "crash within"  # some of the requests that the call is made of have been answered
    CRASH_AFTER = "crash after"
    LOST_RACE = "lost race"
    # AWS goes on refusing, or does not answer, until the client gives up: the process lives on, and its door fails.
    THROTTLED = "throttled"
    THROTTLED_WITHIN = "throttled within"
    TIMED_OUT = "timed out after"


CRASHES = frozenset((Fault.CRASH_BEFORE, Fault.CRASH_WITHIN, Fault.CRASH_AFTER))
REFUSALS = frozenset((Fault.THROTTLED, Fault.THROTTLED_WITHIN, Fault.TIMED_OUT))


class Faults(Protocol):
    def at(self, call: int, operation: str) -> Fault:
        """What happens at the so-manyth call of a port."""


class NoFaults:
    def at(self, call: int, operation: str) -> Fault:
        return Fault.NONE


@dataclass
class OneFault:
    """One fault at one call, then none; ``refused_after``: so many of the calls that follow are refused."""

    call: int
    fault: Fault
    struck: str | None = None
    refused_after: int = 0

    def at(self, call: int, operation: str) -> Fault:
        if call != self.call:
            return Fault.THROTTLED if self.call < call <= self.call + self.refused_after else Fault.NONE
        self.struck = operation
        return self.fault


@dataclass
class RandomFaults:
    """Faults by chance: so many crashes, and so many lost races, in a thousand calls; no more crashes than the most."""

    random: Random
    crashes_per_mille: float
    races_per_mille: float
    crashes_max: int = 12

    def at(self, call: int, operation: str) -> Fault:
        if operation == "table.write" and self.random.random() * 1000 < self.races_per_mille:
            return Fault.LOST_RACE
        if self.crashes_max and self.random.random() * 1000 < self.crashes_per_mille:
            self.crashes_max -= 1
            return self.random.choice((Fault.CRASH_BEFORE, Fault.CRASH_WITHIN, Fault.CRASH_AFTER))
        return Fault.NONE


@dataclass
class WithRefusals:
    """Other faults, and so many refusals and time-outs in a thousand calls; no more of them than the most.

    Each may be followed by more, so that there are ``in_a_row`` at most.
    """

    others: Faults
    random: Random
    per_mille: float
    in_a_row: int = 1
    refusals_max: int = 12
    _until_call: int = 0

    def at(self, call: int, operation: str) -> Fault:
        fault = self.others.at(call, operation)
        if fault is Fault.NONE and call < self._until_call:
            return Fault.THROTTLED
        if fault is Fault.NONE and self.refusals_max and self.random.random() * 1000 < self.per_mille:
            self.refusals_max -= 1
            self._until_call = call + self.random.randint(1, self.in_a_row)
            return self.random.choice((Fault.THROTTLED, Fault.THROTTLED_WITHIN, Fault.TIMED_OUT))
        return fault


@dataclass(frozen=True)
class Delivery:
    """How the queues treat messages; shares between 0 and 1, delays in seconds."""

    lost: float = 0.0
    duplicated: float = 0.0
    late: float = 0.0
    late_max_sec: float = 300.0
    in_order: bool = True


PROMPT = Delivery()
