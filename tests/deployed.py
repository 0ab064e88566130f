"""A deployment on the emulator: the packaged template, expanded as AWS expands it, and the doors on what came of it.

Each door has the environment of its own function and nothing else, and every call that it makes to AWS is written down.
"""

import base64
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch
from urllib.parse import urlencode

import boto3
import pytest
from botocore.client import BaseClient
from moto import mock_aws
from samtranslator.translator.transform import transform  # type: ignore[import-untyped]

import app as doors
from chalicelib import wiring
from chalicelib.adapters.aws import Aws
from chalicelib.adapters.clock import SystemClock, SystemEntropy
from chalicelib.adapters.tables import DynamoTable
from chalicelib.local.authorizing import refusal_of
from chalicelib.local.context import LambdaContext
from chalicelib.local.gateway import Router, plain_answer, proxy_event
from chalicelib.local.pumps import SqsSource, handled, sqs_event
from chalicelib.services.api_keys import ApiKeys
from infra.package import packaged, template
from infra.roles import Names, statements
from tests.planted import TOKEN_SECRET

REGION = "us-east-1"
STACK = "mistral-prod"
DOORS = tuple(statements(Names()))
# Of which the emulator's CloudFormation knows nothing, or too little.
NOT_EMULATED = {
    "AWS::ApiGateway::Deployment",
    "AWS::ApiGateway::RestApi",
    "AWS::ApiGateway::Stage",
    "AWS::CloudWatch::Alarm",
    "AWS::CloudWatch::Dashboard",
    "AWS::Lambda::EventInvokeConfig",
    "AWS::S3::BucketPolicy",
    "AWS::SNS::TopicPolicy",
    "AWS::SecretsManager::Secret",
    "AWS::WAFv2::WebACLAssociation",
}
GENERATED = {"MISTRAL_TOKEN_SECRET", "MISTRAL_WEBHOOK_SECRET"}


@cache
def packaged_template(stage: str = "prod") -> dict[str, Any]:
    """What `make package` makes, but for the libraries in the package."""
    with TemporaryDirectory() as folder:
        packaged(stage, REGION, Path(folder), requirements="")
        return template(Path(folder))


class NoManagedPolicies:
    """For SAM's transform, which would ask AWS for the names of managed policies."""

    def load(self) -> dict[str, str]:
        return {}


@cache
def expanded_text(stage: str = "prod") -> str:
    """The template in plain CloudFormation, as AWS's own transform makes it."""
    given = json.loads(json.dumps(packaged_template(stage)))
    for resource in given["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            resource["Properties"]["CodeUri"] = {"Bucket": "code", "Key": "deployment.zip"}
    with patch.dict(os.environ, {"AWS_DEFAULT_REGION": REGION}):
        return json.dumps(transform(given, {}, NoManagedPolicies()))


def emulated_template(stage: str = "prod") -> dict[str, Any]:
    """The expanded template without what the emulator cannot make, nor what refers to that."""
    made: dict[str, Any] = json.loads(expanded_text(stage))
    absent = {name for name, resource in made["Resources"].items() if resource["Type"] in NOT_EMULATED}
    for name, resource in list(made["Resources"].items()):
        if name in absent or (resource["Type"] == "AWS::Lambda::Permission" and "RestAPI" in json.dumps(resource)):
            del made["Resources"][name]
            continue
        variables = resource["Properties"].get("Environment", {}).get("Variables", {})
        # CloudFormation puts the secrets in their places.
        variables |= dict.fromkeys(GENERATED & variables.keys(), TOKEN_SECRET)
    made.pop("Outputs")
    return made


@dataclass(frozen=True)
class Call:
    """A call to AWS, and whose."""

    door: str
    service: str
    operation: str
    request: dict[str, Any]


@dataclass
class Deployment:
    """The stack on the emulator, with the doors as its functions."""

    environments: dict[str, dict[str, str]]
    heard: dict[str, str]
    containers: dict[str, wiring.Container] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    door: str = ""
    credential: str = ""

    @contextmanager
    def at(self, door: str) -> Iterator[None]:
        """While a door works: its environment, its services, and its name on all it calls."""
        before, self.door = self.door, door
        with (
            patch.dict(os.environ, self.environments[door]),
            patch.object(doors, "container", lambda: self.containers[door]),
        ):
            try:
                yield
            finally:
                self.door = before

    def _authorizer(self, event: Any, context: Any) -> Any:
        with self.at("authorizer"):
            return doors.authorizer(event, context)

    def request(self, method: str, path: str, body: Any = None, *, query: dict[str, str] | None = None) -> Any:
        """Ask the API, as API Gateway does: the authorizer first."""
        match = Router(doors.app.routes).match(path)
        assert match is not None
        text = body if isinstance(body, str) else "" if body is None else json.dumps(body)
        kind = "text/plain" if isinstance(body, str) else "application/json"
        headers = {"authorization": self.credential, "content-type": kind, "accept": "application/json"}
        event = proxy_event(method, path, match, headers=headers, query=urlencode(query or {}), body=text.encode())
        refused = refusal_of(self._authorizer, event)
        assert refused is None, refused
        with self.at("api_handler"):
            status, _, content = plain_answer(doors.app(event, _context("api")))
        assert status < 400, content
        return json.loads(content) if content else None

    def work(self) -> None:
        """Hand messages to the doors whose queues they lie in, as the stack says, until there are none."""
        sources = {door: SqsSource(boto3.client("sqs"), queue) for door, queue in self.heard.items()}
        while any([self._take(door, source) for door, source in sources.items()]):  # noqa: C419 - each of them
            pass

    def _take(self, door: str, source: SqsSource) -> int:
        received = source.receive(1)
        if received:
            with self.at(door):
                answer = getattr(doors, door)(sqs_event(received, "arn:aws:sqs:us-east-1:1:q"), _context(door))
            done = handled(answer, received)
            assert len(done) == len(received)
            source.delete(done)
        return len(received)

    def tick(self) -> None:
        """The clock, once."""
        names = ["version", "account", "region", "detail", "detail-type", "source", "time", "id", "resources"]
        with self.at("clock"):
            doors.clock(dict.fromkeys(names), _context("clock"))

    def happen(self, event: dict[str, Any]) -> None:
        """An event on the bus."""
        with self.at("events"):
            doors.events(event, _context("events"))


def _context(door: str) -> LambdaContext:
    return LambdaContext(door, deadline_sec=time.monotonic() + 60, now=time.monotonic)


def _heard_queues() -> dict[str, str]:
    """Which door listens to which queue, by the event sources of the stack.

    They are switched off then: the emulator would hand the messages to functions that do nothing.
    """
    client = boto3.client("lambda")
    heard = {}
    for mapping in client.list_event_source_mappings()["EventSourceMappings"]:
        door = mapping["FunctionArn"].rpartition(":")[2].removeprefix("mistral-")
        heard[door] = mapping["EventSourceArn"].rpartition(":")[2]
        client.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
    return heard


@contextmanager
def deployed() -> Iterator[Deployment]:
    """The stack, fresh, and an API key of project ``p1`` to use it with."""
    outside = {"AWS_DEFAULT_REGION": REGION, "AWS_ACCOUNT_ID_ENDPOINT_MODE": "disabled"}
    emulated = mock_aws(config={"lambda": {"use_docker": False}})
    with emulated, patch.dict(os.environ, outside), pytest.MonkeyPatch.context() as on:
        _create_stack()
        environments = {door: _environment(door) for door in DOORS}
        deployment = Deployment(environments, _heard_queues())
        original = BaseClient._make_api_call

        def noted(client: Any, operation: str, request: dict[str, Any]) -> Any:
            service = client.meta.service_model.service_name
            if deployment.door:
                deployment.calls.append(Call(deployment.door, service, operation, request))
            return original(client, operation, request)

        on.setattr(BaseClient, "_make_api_call", noted)
        for door in DOORS:
            with patch.dict(os.environ, environments[door]):
                deployment.door = door
                if door == "authorizer":
                    on.setattr(doors, "authentication", _kept(wiring.authentication.__wrapped__()))
                else:
                    deployment.containers[door] = wiring.container.__wrapped__()
        deployment.door = ""
        table = DynamoTable(Aws(REGION), environments["authorizer"]["MISTRAL_TABLE_PREFIX"] + "definitions")
        key, secret = ApiKeys(table, SystemClock(), SystemEntropy()).create("p1", roles=frozenset({"admin"}))
        deployment.credential = "Basic " + base64.b64encode(f"{key.id}:{secret}".encode()).decode()
        for kept in (doors.services, doors.api_settings):
            kept.cache_clear()
        try:
            yield deployment
        finally:
            for kept in (doors.services, doors.api_settings):
                kept.cache_clear()


def _kept(value: Any) -> Any:
    return lambda: value


def _create_stack() -> None:
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket="code")
    s3.put_object(Bucket="code", Key="deployment.zip", Body=b"PK\x05\x06" + bytes(18))
    text = json.dumps(emulated_template())
    cloud = boto3.client("cloudformation")
    cloud.create_stack(StackName=STACK, TemplateBody=text, Capabilities=["CAPABILITY_NAMED_IAM"])
    assert cloud.describe_stacks(StackName=STACK)["Stacks"][0]["StackStatus"] == "CREATE_COMPLETE"


def _environment(door: str) -> dict[str, str]:
    found = boto3.client("lambda").get_function_configuration(FunctionName=f"mistral-{door}")
    variables: dict[str, str] = found["Environment"]["Variables"]
    return {"AWS_REGION": REGION} | variables
