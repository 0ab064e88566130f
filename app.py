"""The doors of Mistral Serverless: HTTP, executors, clock, events; and the one place where services and endpoints meet.

Lambda imports this module for every door. Nothing is connected before the first event: ``chalice package`` imports it
too, on a machine without AWS.
"""

import os
from functools import cache

from chalice.app import CloudWatchEvent, SQSEvent

from chalicelib.api import action_executions, definitions, discovery, executions, members, tasks, triggers
from chalicelib.api.http import ApiSettings, MistralApi, Route, blueprint
from chalicelib.api.services import Services
from chalicelib.services.reading import Reader
from chalicelib.services.trees import Trees
from chalicelib.vocabulary import JsonObject
from chalicelib.wiring import Container, container

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
        members=made.members,
        registry=made.registry,
        clock=made.clock,
    )


@cache
def services() -> Services:
    """The services of this process, as the endpoints see them."""
    return services_of(container(), api_settings())


def all_routes() -> tuple[Route, ...]:
    """Every route of the API."""
    return (
        *discovery.routes(),
        *definitions.routes(services),
        *members.routes(services),
        *triggers.routes(services),
        *executions.routes(services),
        *tasks.routes(services),
        *action_executions.routes(services),
    )


app = MistralApi("mistral-serverless", api_settings)
app.register_blueprint(blueprint(__name__, all_routes(), services))


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


@app.schedule("rate(1 minute)", name="clock")
def clock(_event: CloudWatchEvent) -> None:
    """Do what is due."""
    container().clock_door.tick()


@app.on_cw_event({"detail": {"event_type": [{"exists": True}]}}, name="events")
def events(event: CloudWatchEvent) -> None:
    """Start the workflows that wait for an event."""
    container().event_door.handle(event.to_dict())
