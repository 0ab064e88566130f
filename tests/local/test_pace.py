"""Virtual time: waits pass quickly, nothing fires early, and nobody is skipped."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from chalicelib.adapters.memory import ManualClock
from chalicelib.local.main import _parser
from chalicelib.local.pace import JUMP, PacedClock, Pacer, earliest
from chalicelib.local.problems import LocalError
from chalicelib.local.service import Options, running
from chalicelib.local.wakeup import Activity, Wakeup

DAY_SEC = 24 * 3600


class Real:
    """The machine's time, moved by hand."""

    def __init__(self) -> None:
        self.now_sec = 50.0

    def __call__(self) -> float:
        return self.now_sec


@pytest.fixture
def real() -> Real:
    return Real()


@pytest.fixture
def clock(real: Real) -> PacedClock:
    return PacedClock(1000.0, monotonic=real)


def test_a_clock_runs_at_its_pace_and_stands_at_its_end(clock: PacedClock, real: Real) -> None:
    assert clock.now() == 1000
    real.now_sec += 2
    assert clock.now() == 1002
    clock.run(100, until=1300)
    real.now_sec += 1
    assert clock.now() == 1102
    real.now_sec += 5
    assert clock.now() == 1300
    clock.run(1)
    real.now_sec += 1
    assert clock.now() == 1301


def test_a_clock_jumps_and_never_goes_back(clock: PacedClock, real: Real) -> None:
    clock.run(JUMP, 5000)
    assert clock.now() == 5000
    clock.run(JUMP, 2000)
    real.now_sec += 1
    assert clock.now() == 5001
    clock.run(10, until=2000)
    real.now_sec += 1
    assert clock.now() == 5001


def pacer(clock: PacedClock, wakeups: list[Wakeup], activity: Activity, scale: float = JUMP) -> Pacer:
    return Pacer(clock, activity, wakeups, scale=scale, next_due=earliest(wakeups))


def test_time_goes_to_the_next_message_and_no_further(clock: PacedClock) -> None:
    short, long = Wakeup(clock.now), Wakeup(clock.now)
    short.sent(600)
    long.sent(500)
    assert pacer(clock, [short, long], Activity()).step()
    assert clock.now() == 1500
    assert long.is_called
    assert not short.is_called


def test_time_stands_while_a_message_waits_to_be_taken(clock: PacedClock) -> None:
    wakeup = Wakeup(clock.now)
    wakeup.sent(600)
    wakeup.sent()
    assert not pacer(clock, [wakeup], Activity()).step()
    assert clock.now() == 1000


def test_time_passes_as_usual_while_somebody_is_at_work(clock: PacedClock, real: Real) -> None:
    activity, wakeup = Activity(), Wakeup(clock.now)
    wakeup.sent(600)
    with activity.busy():
        assert not pacer(clock, [wakeup], activity).step()
    real.now_sec += 1
    assert clock.now() == 1001


def test_who_begins_to_work_slows_the_clock_at_once(clock: PacedClock, real: Real) -> None:
    activity = Activity()
    activity.when_busy(lambda: clock.run(1))
    clock.run(1000, until=math.inf)
    real.now_sec += 1
    with activity.busy():
        assert clock.now() == 2000
        real.now_sec += 1
        assert clock.now() == 2001


def test_nothing_due_is_nowhere_to_go(clock: PacedClock) -> None:
    assert not pacer(clock, [Wakeup(clock.now)], Activity()).step()


def test_an_alarm_is_met_in_the_minute_of_the_clock_door() -> None:
    wakeup = Wakeup(ManualClock(0).now)
    assert earliest([wakeup])() is None
    assert earliest([wakeup], lambda: 601.5)() == 660
    wakeup.sent(30)
    assert earliest([wakeup], lambda: 601.5)() == 30


def test_who_waits_for_a_wakeup_is_not_at_work() -> None:
    activity = Activity()
    wakeup = Wakeup(ManualClock().now, activity)
    with activity.busy():
        wakeup.sent()
        wakeup.wait(60)
        assert not activity.wait_idle(0)
    assert activity.wait_idle(0)


def test_another_emulator_keeps_its_own_time() -> None:
    with pytest.raises(LocalError, match="keep their own time"), running(Options("http://127.0.0.1:1", time_scale=2)):
        raise AssertionError("it runs")


@pytest.mark.parametrize("scale", ["0", "0.5", "-1", "x", "100001", "inf", "nan"])
def test_an_impossible_pace_is_refused(scale: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        _parser().parse_args(["run", "f", "--time-scale", scale])
    assert "is not a number from 1 to 100000" in capsys.readouterr().err


WAITS = """version: '2.0'
waits:
  output: {{done: true}}
  tasks:
    month:
      action: std.noop
      wait-before: {0}
      on-success: [again]
    again:
      action: std.fail
      retry: {{count: 2, delay: 3600}}
      on-error: [end]
    end:
      action: std.noop
"""
PROGRAM = """
import json, sys
from chalicelib.local import run as command
from chalicelib.local.service import Service
from chalicelib.wiring import container

follow = command.follow
def followed(caller, execution_id, **options):
    execution = follow(caller, execution_id, **options)
    store = container().executions
    header = store.header(execution_id)
    print(json.dumps(header.updated_at - header.created_at), file=sys.stderr)
    return execution
command.follow = followed
from chalicelib.local.main import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("storage", "scale", "days"), [("memory", "max", 30), ("moto", "max", 1), ("memory", "100000", 1)]
)
def test_a_long_wait_is_run_in_seconds_and_lasts_as_long_as_it_says(
    tmp_path: Path, storage: str, scale: str, days: int
) -> None:
    path = tmp_path / "waits.yaml"
    path.write_text(WAITS.format(days * DAY_SEC), "utf-8")
    command = [sys.executable, "-c", PROGRAM, "run", str(path), "--storage", storage, "--time-scale", scale]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout) == {"done": True}
    took_sec = float(ended.stderr.splitlines()[-1])
    late_sec = took_sec - days * DAY_SEC - 2 * 3600
    # A hundred thousand times as fast, a thread that wakes a millisecond late is a minute and a half late.
    assert 0 <= late_sec <= (120 if scale == "max" else 3600)
