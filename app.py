"""The doors of Mistral Serverless: HTTP, executors, clock, events; and the one place where services and endpoints meet.

Lambda imports this module for every door. Nothing is connected before the first event: ``chalice package`` imports it
too, on a machine without AWS.
"""

import gc

# What an import makes stays: to look for garbage among it, again and again, is an eighth of a cold start.
gc.disable()

import os
from functools import cache

from chalice.app import CloudWatchEvent, SQSEvent

from chalicelib.adapters.telemetry import process_telemetry
from chalicelib.api import (
    action_executions,
    code_sources,
    definitions,
    discovery,
    executions,
    history,
    login,
    maintenance,
    members,
    openapi,
    tasks,
    triggers,
    webhooks,
)
from chalicelib.api.authorizer import answered
from chalicelib.api.http import ApiSettings, MistralApi, Route, blueprint
from chalicelib.api.services import Provider, Services
from chalicelib.services.large_answers import LargeAnswers
from chalicelib.services.reading import Reader
from chalicelib.services.trees import Trees
from chalicelib.vocabulary import JsonObject
from chalicelib.wiring import Container, authentication, container

_BATCH_MESSAGES: int = 10
_MILLISECONDS: float = 1000.0


@cache
def api_settings() -> ApiSettings:
    """The settings of the API in this process."""
    return ApiSettings.from_environment(os.environ)


def services_of(made: Container, settings: ApiSettings) -> Services:
    """What the endpoints work with, on these services."""
    reader = Reader(made.executions, made.definitions)
    return Services(
        api_settings=settings,
        engine=made.engine,
        reader=reader,
        trees=Trees(reader),
        action_runs=made.action_runs,
        definitions=made.definitions,
        triggers=made.triggers,
        cron=made.cron_desk,
        event_door=made.event_door,
        webhooks=made.webhooks,
        members=made.members,
        registry=made.registry,
        clock=made.clock,
        large_answers=LargeAnswers(made.ports.payloads, made.entropy),
        authentication=made.authentication,
        maintenance=made.maintenance,
    )


@cache
def services() -> Services:
    """The services of this process, as the endpoints see them."""
    return services_of(container(), api_settings())


def all_routes(given: Provider = services) -> tuple[Route, ...]:
    """Every route of the API; ``given`` is called when a request comes, not before."""
    every = (
        *discovery.routes(),
        *maintenance.routes(given),
        *login.routes(given),
        *openapi.routes(lambda: all_routes(given)),
        *definitions.routes(given),
        *code_sources.routes(given),
        *members.routes(given),
        *triggers.routes(given),
        *webhooks.routes(given),
        *executions.routes(given),
        *history.routes(given),
        *tasks.routes(given),
        *action_executions.routes(given),
    )
    return maintenance.guarded(every, given)


app = MistralApi("mistral-serverless", api_settings, around=lambda door, id_: process_telemetry().invocation(door, id_))


@app.authorizer(name="authorizer", ttl_seconds=0)
def authorizer(request: JsonObject) -> JsonObject:
    """Say whose a request is, before it comes to a route."""
    asked = authentication()
    return answered(request, asked.identify if asked.settings.schemes else None)


app.register_blueprint(blueprint(__name__, all_routes(), services, authorizer=authorizer))


@app.on_sqs_message(queue="mistral-tasks", batch_size=_BATCH_MESSAGES, name="executor")
def executor(event: SQSEvent) -> JsonObject:
    """Run actions, and carry their workflows on."""
    return _execute(event)


@app.on_sqs_message(queue="mistral-tasks-long", batch_size=1, name="executor_long")
def executor_long(event: SQSEvent) -> JsonObject:
    """Run actions that may take longer than the other executor lives."""
    return _execute(event)


def _execute(event: SQSEvent) -> JsonObject:
    remaining_sec = event.context.get_remaining_time_in_millis() / _MILLISECONDS  # type: ignore[union-attr]
    failed = container().executor.handle_batch(event.to_dict()["Records"], remaining_sec)
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failed]}


@app.on_sqs_message(queue="mistral-notifications", batch_size=1, name="notifier")
def notifier(event: SQSEvent) -> JsonObject:
    """Tell publishers what became of executions; one at a time, so that none waits for another."""
    remaining_sec = event.context.get_remaining_time_in_millis() / _MILLISECONDS  # type: ignore[union-attr]
    failed = container().notifier.handle_batch(event.to_dict()["Records"], remaining_sec)
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failed]}


@app.schedule("rate(1 minute)", name="clock")
def clock(_event: CloudWatchEvent) -> None:
    """Do what is due."""
    container().clock_door.tick()


@app.on_cw_event({"detail": {"event_type": [{"exists": True}]}}, name="events")
def events(event: CloudWatchEvent) -> None:
    """Start the workflows that wait for an event; what happens during maintenance passes them by."""
    if container().maintenance.lets_start:
        container().event_door.handle(event.to_dict())


# What is here now is never looked through again.
gc.freeze()
gc.enable()
