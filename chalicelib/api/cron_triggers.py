"""What cron-triggers can do here beyond Mistral: optional attributes, and routes below the resource.

Nothing here changes an answer to a request that uses none of it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final, Protocol

from chalicelib.api.about import About, shows, tells
from chalicelib.api.bodies import Attributes, read_attributes
from chalicelib.api.definition_lists import access_of
from chalicelib.api.fields import typed
from chalicelib.api.http import CREATED, Answer, Body, Call, Route
from chalicelib.api.trigger_rows import CRON_OPTIONS, CRON_TRIGGERS, row_of
from chalicelib.api.values import refuse, to_integer
from chalicelib.engine.moment import timestamp
from chalicelib.services.cron_desk import CronDesk, Started, Time
from chalicelib.services.cron_options import CronOptions, Overlap
from chalicelib.services.cron_plans import CronTimes
from chalicelib.services.schedules import shown
from chalicelib.services.trigger_records import CronTrigger
from chalicelib.vocabulary import JsonObject

ATTRIBUTES: Final = (*CRON_OPTIONS, "run_at")
_TIMES_SHOWN: Final = 5
_ACCEPTED: Final = 202
_TIME: Final[JsonObject] = {
    "type": "object",
    "properties": {name: {"type": "string"} for name in ("scheduled_for", "local_time", "starts_at")},
}
_TIMES: Final[JsonObject] = {"type": "object", "properties": {"times": {"type": "array", "items": _TIME}}}
_RUN_NAMES: Final = ("execution_id", "state", "scheduled_for")
_RUN: Final[JsonObject] = {
    "type": "object",
    "properties": {name: {"type": ["string", "null"]} for name in _RUN_NAMES},
}
_RUNS: Final[JsonObject] = {"type": "object", "properties": {"executions": {"type": "array", "items": _RUN}}}
_RUN_BODY: Final[JsonObject] = {"type": "object", "properties": {"key": {"type": "string"}}}
_BACKFILL_BODY: Final[JsonObject] = {
    "type": "object",
    "properties": {"from": {"type": "string"}, "to": {"type": "string"}, "dry_run": {"type": "boolean"}},
    "required": ["from", "to"],
}
_PREVIEW_ARGUMENTS: Final = ("pattern", "first_execution_time", "run_at", "time_zone", "count")


class HasCron(Protocol):
    """What these routes need of the services."""

    @property
    def cron(self) -> CronDesk:
        """Cron-triggers, beyond Mistral."""


Provider = Callable[[], HasCron]


def routes(services: Provider) -> tuple[Route, ...]:
    """All routes of this module; ``services`` is called when a request comes, not before."""
    one = "/v2/cron_triggers/{identifier}"
    return (
        Route(
            "GET",
            "/v2/cron_previews",
            partial(_preview, services),
            _PREVIEW_ARGUMENTS,
            about=tells("When a pattern would be due.", _TIMES),
        ),
        Route(
            "GET",
            f"{one}/times",
            partial(_times, services),
            ("count",),
            about=tells("When a cron trigger fires next.", _TIMES),
        ),
        Route(
            "POST",
            f"{one}/pause",
            partial(_pause, services),
            about=shows(CRON_TRIGGERS, "Let a cron trigger not fire."),
        ),
        Route(
            "POST",
            f"{one}/resume",
            partial(_resume, services),
            about=shows(CRON_TRIGGERS, "Let a paused cron trigger fire again."),
        ),
        Route(
            "POST",
            f"{one}/run",
            partial(_run, services),
            body=Body.JSON,
            about=About("Start the workflow of a cron trigger now.", _RUN, CREATED, _RUN_BODY),
        ),
        Route(
            "POST",
            f"{one}/backfill",
            partial(_backfill, services),
            body=Body.JSON,
            about=About("Start a run for each due time of a past range.", _RUNS, _ACCEPTED, _BACKFILL_BODY),
        ),
    )


def options_of(attributes: Attributes) -> CronOptions:
    """The optional attributes of a new cron-trigger. Raises InputException."""
    overlap = attributes.text("overlap") or Overlap.ALLOW.value
    if overlap not in set(Overlap):
        refuse("overlap", overlap, f"Value should be one of: {', '.join(Overlap)}")
    return CronOptions(
        time_zone=attributes.text("time_zone"),
        overlap=Overlap(overlap),
        catch_up_sec=attributes.integer("catch_up_sec") or 0,
        jitter_sec=attributes.integer("jitter_sec") or 0,
        start_within_sec=attributes.integer("start_within_sec"),
        end_within_sec=attributes.integer("end_within_sec"),
    )


def _preview(services: Provider, call: Call) -> Answer:
    zone = call.query.get("time_zone") or None
    times = CronTimes(
        pattern=call.query.get("pattern"),
        first_execution_time=call.query.get("first_execution_time"),
        run_at=call.query.get("run_at"),
        options=CronOptions(time_zone=zone),
    )
    return _shown_times(services().cron.preview(times, _count(call)), zone)


def _times(services: Provider, call: Call) -> Answer:
    desk, access, identifier = services().cron, access_of(call), call.parameters["identifier"]
    times = desk.upcoming(access, identifier, _count(call))
    return _shown_times(times, desk.zone_of(access, identifier))


def _shown_times(times: list[Time], zone: str | None) -> Answer:
    rows: list[Any] = [
        {
            "scheduled_for": timestamp(time.due_at),
            "local_time": shown(time.due_at, zone),
            "starts_at": timestamp(time.starts_at),
        }
        for time in times
    ]
    return Answer({"times": rows})


def _count(call: Call) -> int:
    text = call.query.get("count")
    return _TIMES_SHOWN if text is None else to_integer("count", text)


def _pause(services: Provider, call: Call) -> Answer:
    return _shown_trigger(services().cron.pause(access_of(call), call.parameters["identifier"]))


def _resume(services: Provider, call: Call) -> Answer:
    return _shown_trigger(services().cron.resume(access_of(call), call.parameters["identifier"]))


def _shown_trigger(trigger: CronTrigger) -> Answer:
    return Answer(typed(CRON_TRIGGERS, row_of(trigger)))


def _run(services: Provider, call: Call) -> Answer:
    key = read_attributes(call, "run", ("key",)).text("key") if call.body.strip() else None
    return Answer(_run_row(services().cron.run(access_of(call), call.parameters["identifier"], key)), CREATED)


def _backfill(services: Provider, call: Call) -> Answer:
    attributes = read_attributes(call, "backfill", ("from", "to", "dry_run"))
    runs = services().cron.backfill(
        access_of(call),
        call.parameters["identifier"],
        first=attributes.required_text("from"),
        last=attributes.required_text("to"),
        dry_run=attributes.boolean("dry_run") or False,
    )
    return Answer({"executions": [_run_row(run) for run in runs]}, _ACCEPTED)


def _run_row(run: Started) -> JsonObject:
    return {"execution_id": run.execution_id, "state": run.state, "scheduled_for": timestamp(run.due_at)}
