"""What a cron-trigger that fires costs, in exact counts; benchmarks/cron.py does the same for thousands."""

import pytest

from benchmarks.cron import MINUTE_SEC, REQUEST_SEC, TRIGGERS, measure
from chalicelib.services.cron_options import CronOptions, Overlap

COUNT = 100


@pytest.mark.parametrize(
    ("options", "requests", "write_units"),
    [
        (CronOptions(), 7, 8),
        (CronOptions(time_zone="Europe/Berlin", jitter_sec=0, catch_up_sec=600), 7, 8),
        (CronOptions(start_within_sec=60, end_within_sec=600), 7, 8),
        # The decision to start is written before the start.
        (CronOptions(overlap=Overlap.QUEUE), 8, 9),
        (CronOptions(overlap=Overlap.CANCEL_PREVIOUS), 7, 8),
    ],
    ids=["plain", "zone", "deadlines", "queue", "cancel-previous"],
)
def test_a_trigger_that_fires_costs_what_it_did_yesterday(options, requests, write_units):
    found = measure(COUNT, options)
    assert found.started == COUNT
    assert found.firing.requests.total() <= requests * COUNT + 4
    assert found.firing.write_units == write_units * COUNT
    assert found.firing.read_units <= 4.03 * COUNT
    assert found.firing.messages_sent == 0


def test_the_clock_door_looks_ahead_in_few_requests():
    found = measure(COUNT)
    assert found.ahead.messages_sent == COUNT
    assert found.ahead.requests["SendMessageBatch"] == COUNT / 10
    assert found.ahead.requests.total() <= COUNT / 10 + 20
    assert found.ahead.write_units == 0


def test_a_handful_of_executors_starts_thousands_within_the_minute():
    requests_each = measure(COUNT).requests_each
    assert TRIGGERS * requests_each * REQUEST_SEC / MINUTE_SEC <= 6
