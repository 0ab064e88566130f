"""Several processes at once, yet repeatable: a seed decides who goes on at each call to the world, and who dies."""

from collections.abc import Callable
from random import Random
from threading import Condition, Thread
from typing import Any, Protocol

DEADLOCK_SEC = 60


class Crash(BaseException):
    """The process is gone; nothing in it notices."""


class Turns(Protocol):
    """Says whose turn it is."""

    def wait(self, number: int) -> None:
        """Return when it is this runner's turn."""


class Baton(Turns):
    """Lets one runner at a time go on, from one call of its ports to the next."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._condition = Condition()
        self._waiting: list[int] = []
        self._running: set[int] = set()
        self._turn: int | None = None
        self.crashes = 0

    def run(self, *works: Callable[["Runner"], Any]) -> None:
        """Run all of these at once, until each has ended or crashed; any other error is raised."""
        runners = [Runner(number, self, self._random) for number in range(len(works))]
        errors: list[BaseException] = []

        def run(runner: Runner, work: Callable[[Runner], Any]) -> None:
            try:
                self.wait(runner.number)
                work(runner)
            except Crash:
                self.crashes += 1
            except BaseException as error:  # noqa: BLE001 - raised again where the runners were started
                errors.append(error)
            finally:
                with self._condition:
                    self._running.discard(runner.number)
                    self._choose()

        self._running = set(range(len(works)))
        threads = [Thread(target=run, args=pair, daemon=True) for pair in zip(runners, works, strict=True)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLOCK_SEC)
            assert not thread.is_alive(), "the runners wait for each other"
        if errors:
            raise errors[0]

    def wait(self, number: int) -> None:
        """Return when it is this runner's turn."""
        with self._condition:
            self._waiting.append(number)
            self._choose()
            assert self._condition.wait_for(lambda: self._turn == number, DEADLOCK_SEC)
            self._turn = None
            self._waiting.remove(number)

    def _choose(self) -> None:
        """When everybody waits, one goes on."""
        if self._waiting and self._turn is None and set(self._waiting) >= self._running:
            self._turn = self._random.choice(sorted(self._waiting))
            self._condition.notify_all()


class Runner:
    """One of them; ``calls_left`` is how many calls it makes before it dies."""

    def __init__(self, number: int, baton: Turns, random: Random) -> None:
        self.number = number
        self._baton = baton
        self._random = random
        self.calls_left: int | None = None

    def joins(self, other: "Runner") -> None:
        """From now on wait for the turn of another runner, whose place this one takes."""
        self.number, self._baton = other.number, other._baton

    def leaves(self) -> None:
        """From now on wait for nobody."""
        self._baton = _Nobody()

    def guard(self, port: Any) -> Any:
        """The port, each call of which waits for its turn and may be the last, done or not done."""
        return _Guarded(port, self)

    def call(self, method: Callable[..., Any], arguments: Any, options: Any) -> Any:
        """Do one call of a port."""
        self._baton.wait(self.number)
        if self.calls_left is None:
            return method(*arguments, **options)
        self.calls_left -= 1
        if self.calls_left >= 0:
            return method(*arguments, **options)
        if self._random.random() < 0.5:
            method(*arguments, **options)
        raise Crash


class _Nobody(Turns):
    def wait(self, number: int) -> None:
        """Go on."""


class _Guarded:
    def __init__(self, port: Any, runner: Runner) -> None:
        self._port = port
        self._runner = runner

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._port, name)
        return lambda *arguments, **options: self._runner.call(method, arguments, options)
