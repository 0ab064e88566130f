"""The event bus of this machine: what is put on it goes to the ``events`` door at once, again if the door fails.

Events come from three sides: from whoever puts them on the emulated EventBridge of this process; from programs that
speak to this service as to the endpoint of EventBridge; and from ``mistral-local event``.
"""

from __future__ import annotations

import heapq
import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Any, Final
from uuid import uuid4

from chalicelib.local.context import LambdaContext
from chalicelib.local.wakeup import Activity
from chalicelib.vocabulary import JsonObject

logger = logging.getLogger("mistral.local.events")

TIMEOUT_SEC: Final = 60.0
DELIVERIES_MAX: Final = 8
RETRY_FIRST_SEC: Final = 1.0
RETRY_MAX_SEC: Final = 60.0
WAITING_MAX: Final = 10_000
ENTRIES_MAX: Final = 10
ENTRIES_BYTES_MAX: Final = 256 * 1024
DEFAULT_BUS: Final = "default"

Door = Callable[[JsonObject, Any], Any]


@dataclass(order=True, slots=True)
class _Delivery:
    due_sec: float
    number: int
    event: JsonObject = field(compare=False)
    attempt: int = field(default=1, compare=False)


class EventFeed:
    """Delivers events to a door, in the order in which they come, on one thread of its own."""

    def __init__(
        self,
        door: Door,
        *,
        after: Callable[[], None] = lambda: None,
        now: Callable[[], float] = time.time,
        activity: Activity | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._door, self._after, self._now, self._monotonic = door, after, now, monotonic
        self._activity = activity or Activity()
        self._condition = threading.Condition()
        self._waiting: list[_Delivery] = []
        self._numbers = count()
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Deliver no more. Returns at once."""
        with self._condition:
            self._is_stopping = True
            self._condition.notify_all()

    def join(self, timeout_sec: float) -> bool:
        """Wait for a delivery that runs; whether it ended in that time."""
        self._thread.join(timeout_sec)
        return not self._thread.is_alive()

    def put(self, entries: Iterable[Mapping[str, Any]]) -> list[JsonObject]:
        """Take entries as PutEvents has them; what became of each, in EventBridge's words."""
        return [self._put(entry, str(uuid4())) for entry in entries]

    def was_put(self, entries: Iterable[Mapping[str, Any]], results: Iterable[Mapping[str, Any]]) -> None:
        """Entries that an emulated EventBridge has taken, under the ids that it gave them."""
        for entry, result in zip(entries, results, strict=False):
            if "EventId" in result:
                self._put(entry, str(result["EventId"]))

    def _put(self, entry: Mapping[str, Any], event_id: str) -> JsonObject:
        fault = fault_of(entry)
        if fault is not None:
            return {"ErrorCode": fault[0], "ErrorMessage": fault[1]}
        if _bus_of(entry) == DEFAULT_BUS:  # nothing listens to another one
            with self._condition:
                if len(self._waiting) >= WAITING_MAX:
                    return {"ErrorCode": "ThrottlingException", "ErrorMessage": "Too many events wait."}
                event = delivered_event(entry, event_id, self._now())
                heapq.heappush(self._waiting, _Delivery(self._monotonic(), next(self._numbers), event))
                self._condition.notify_all()
        return {"EventId": event_id}

    def deliver(self, delivery: _Delivery) -> None:
        """Call the door; an event that it fails with comes again, later and later, until it has come too often."""
        context = LambdaContext("events", deadline_sec=self._now() + TIMEOUT_SEC, now=self._now)
        try:
            with self._activity.busy():
                self._door(delivery.event, context)
        except Exception:
            if delivery.attempt >= DELIVERIES_MAX:
                logger.exception("Event %s is given up after %d deliveries", delivery.event["id"], delivery.attempt)
                return
            pause_sec = min(RETRY_FIRST_SEC * 2 ** (delivery.attempt - 1), RETRY_MAX_SEC)
            logger.exception("The events door failed; event %s comes again", delivery.event["id"])
            again = _Delivery(self._monotonic() + pause_sec, next(self._numbers), delivery.event, delivery.attempt + 1)
            with self._condition:
                heapq.heappush(self._waiting, again)
        finally:
            self._after()

    def take(self) -> _Delivery | None:
        """The next event that is due now, if there is one."""
        with self._condition:
            if self._waiting and self._waiting[0].due_sec <= self._monotonic():
                return heapq.heappop(self._waiting)
            return None

    def _run(self) -> None:
        while True:
            with self._condition:
                while not self._is_stopping and self._pause_sec() > 0:
                    self._condition.wait(self._pause_sec())
                if self._is_stopping:
                    return
            delivery = self.take()
            if delivery is not None:
                self.deliver(delivery)

    def _pause_sec(self) -> float:
        return max(0.0, self._waiting[0].due_sec - self._monotonic()) if self._waiting else RETRY_MAX_SEC


def fault_of(entry: Mapping[str, Any]) -> tuple[str, str] | None:
    """What EventBridge would refuse an entry with: its code and a text."""
    for name in ("Source", "DetailType", "Detail"):
        if not isinstance(entry.get(name), str) or not entry[name]:
            return "InvalidArgument", f"Parameter {name} is not valid. Reason: {name} is a required argument."
    try:
        detail = json.loads(entry["Detail"])
    except ValueError:
        detail = None
    if not isinstance(detail, dict):
        return "MalformedDetail", "Detail is malformed: it is no JSON object."
    if len(entry["Detail"].encode()) > ENTRIES_BYTES_MAX:
        return "InvalidArgument", f"An entry has {ENTRIES_BYTES_MAX} bytes at most."
    return None


def _bus_of(entry: Mapping[str, Any]) -> str:
    return str(entry.get("EventBusName") or DEFAULT_BUS).rpartition("/")[2]


def delivered_event(entry: Mapping[str, Any], event_id: str, now_sec: float) -> JsonObject:
    """The event that EventBridge makes of an entry."""
    moment = entry.get("Time")
    seconds = now_sec if moment is None else moment.timestamp() if isinstance(moment, datetime) else float(moment)
    return {
        "version": "0",
        "id": event_id,
        "detail-type": entry["DetailType"],
        "source": entry["Source"],
        "account": "123456789012",
        "time": datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": "us-east-1",
        "resources": list(entry.get("Resources") or ()),
        "detail": json.loads(entry["Detail"]),
    }


class EventEndpoint:
    """A WSGI application that answers PutEvents as EventBridge does, and hands everything else on."""

    TARGET: Final = "AWSEvents.PutEvents"

    def __init__(self, feed: EventFeed, following: Callable[..., Any]) -> None:
        self._feed, self._following = feed, following

    def __call__(self, environ: Mapping[str, Any], start_response: Callable[..., Any]) -> Any:
        """Answer one WSGI request."""
        if environ["REQUEST_METHOD"] != "POST" or environ.get("HTTP_X_AMZ_TARGET") != self.TARGET:
            return self._following(environ, start_response)
        status, answer = self._answer(environ)
        body = json.dumps(answer).encode()
        headers = [("Content-Type", "application/x-amz-json-1.1"), ("Content-Length", str(len(body)))]
        start_response(status, headers)
        return [body]

    def _answer(self, environ: Mapping[str, Any]) -> tuple[str, JsonObject]:
        most = 2 * ENTRIES_MAX * ENTRIES_BYTES_MAX
        body = environ["wsgi.input"].read(most + 1)
        try:
            entries = json.loads(body)["Entries"] if len(body) <= most else None
        except (ValueError, KeyError, TypeError):
            entries = None
        if not isinstance(entries, list) or not 1 <= len(entries) <= ENTRIES_MAX:
            text = f"Entries is a list of 1 to {ENTRIES_MAX} events."
            return "400 Bad Request", {"__type": "ValidationException", "message": text}
        results = self._feed.put(entry if isinstance(entry, dict) else {} for entry in entries)
        failed = sum("EventId" not in result for result in results)
        return "200 OK", {"FailedEntryCount": failed, "Entries": results}
