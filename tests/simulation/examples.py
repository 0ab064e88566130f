"""The examples as cases of the simulation, with a script of what the world outside answers to their actions."""

from collections.abc import Callable
from typing import Any

from chalicelib.vocabulary import Json, JsonObject, Result
from tests.markdown import ROOT
from tests.simulation.workflows import Case

# What an action answers to its input, in the run of a task that has this number.
Answer = Callable[[JsonObject, int], Any]

PAGES: dict[tuple[str, str], Result] = {
    ("HEAD", "https://example.com"): Result(data={"status": 200, "content": None}),
    ("HEAD", "https://example.com/missing"): Result(error={"status": 404, "content": None}),
    ("GET", "https://example.com"): Result(error={"status": 503, "content": "busy"}),
    ("GET", "https://api.example.com/profile"): Result(data={"status": 200, "content": {"name": "ada"}}),
    ("GET", "https://api.example.com/orders"): Result(
        data={"status": 200, "content": [{"state": "open", "total": 3}, {"state": "sent", "total": 4}]}
    ),
    ("GET", "https://api.example.com/news"): Result(error="The action raised an exception [msg='no route']"),
}


def _page(given: JsonObject, _number: int) -> Result:
    return PAGES[given.get("method", "GET"), given["url"]]


def _same(answer: Json) -> Answer:
    return lambda given, number: answer


SCRIPT: dict[str, Answer] = {
    "std.http": _page,
    "aws.ec2.run_instances": _same("i-1"),
    "aws.ec2.describe_instances": lambda given, number: {
        "state": "running" if number else "pending",
        "private_ip": "10.0.0.7",
    },
    "aws.dynamodb.create_table": _same({}),
    "aws.dynamodb.describe_table": lambda given, number: "ACTIVE" if number else "CREATING",
    "aws.dynamodb.put_item": _same({}),
    "aws.dynamodb.scan": _same(
        [{"customer": "ada", "total": "30"}, {"customer": "grace", "total": "12"}, {"customer": "ada", "total": "8"}]
    ),
    "aws.s3.create_bucket": _same({}),
    "aws.s3.put_object": _same({}),
    "aws.sns.create_topic": _same("arn:aws:sns:::reports"),
    "aws.sns.publish": _same("message-1"),
    "aws.sqs.create_queue": lambda given, number: {"QueueUrl": f"https://queues/{given['QueueName']}"},
    "aws.sqs.delete_queue": _same({}),
    "aws.ssm.put_parameter": _same({"Version": 1}),
    "aws.ssm.get_parameter": _same("1.4.2"),
}


def _example(name: str, workflow: str = "", /, *, answers: JsonObject | None = None, **input: Json) -> Case:
    text = (ROOT / "examples" / f"{name}.yaml").read_text("utf-8")
    return Case(text, workflow or name, input, answers=answers or {})


# The input is what the examples' first lines give. A time limit that a death would exceed is longer here.
EXAMPLES = {
    "examples/approval": _example(
        "approval", change="raise the limit", answers={"wait_for_decision": {"approved": True, "by": "ada"}}
    ),
    "examples/check_urls": _example("check_urls", urls=["https://example.com", "https://example.com/missing"]),
    "examples/create_vm": _example("create_vm", vm_name="web-1", instance_type="t3.small"),
    "examples/dashboard": _example(
        "dashboard",
        profile_url="https://api.example.com/profile",
        orders_url="https://api.example.com/orders",
        news_url="https://api.example.com/news",
        timeout_sec=90_000,
    ),
    "examples/nightly_report": _example("nightly_report", with_samples=True),
    "examples/provision": _example("provision", name="orders", health_url="https://example.com"),
    "examples/release": _example("release", "release_book.release", version="1.4.2"),
}
