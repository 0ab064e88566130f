"""The clock door rings at every full minute."""

import threading
from typing import Any

import pytest

from chalicelib.local.clockwork import Clockwork, pause_sec, schedule_event


@pytest.mark.parametrize(("now_sec", "expected"), [(0.0, 60.0), (59.5, 0.5), (120.25, 59.75)])
def test_the_next_ring_is_at_the_full_minute(now_sec: float, expected: float) -> None:
    assert pause_sec(now_sec) == expected


def test_the_event_is_shaped_as_eventbridges() -> None:
    event = schedule_event(1_700_000_000.9)
    assert event["time"] == "2023-11-14T22:13:20Z"
    assert (event["source"], event["detail-type"]) == ("aws.events", "Scheduled Event")


def test_a_clock_that_fails_rings_again(caplog: pytest.LogCaptureFixture) -> None:
    rings: list[Any] = []

    def door(event: Any, context: Any) -> None:
        rings.append((event, context.get_remaining_time_in_millis()))
        raise RuntimeError("table is gone")

    clockwork = Clockwork(door, now=lambda: 90.0)
    clockwork.ring()
    clockwork.ring()
    assert [remaining for _event, remaining in rings] == [60_000, 60_000]
    assert "rings again" in caplog.text


def test_it_rings_at_the_start_and_stops_at_once() -> None:
    rung = threading.Event()
    clockwork = Clockwork(lambda _event, _context: rung.set())
    clockwork.start()
    assert rung.wait(timeout=30)
    clockwork.stop()
    assert clockwork.join(30)
