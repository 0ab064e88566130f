"""What a rehearsed run costs, line by line; what it would cost elsewhere; what is paid while nothing runs."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Final

from chalicelib.data import replace
from chalicelib.local import prices
from chalicelib.local.meter import Counts
from chalicelib.local.prices import MILLION
from chalicelib.local.rehearsal import Played

# A Lambda of 512 MB spends about this long on the turn after an action, the action's own time not counted;
TURN_COMPUTE_SEC: Final = 0.02
# on deciding one task more within a turn;
TASK_COMPUTE_SEC: Final = 0.0005
# on saying whose a request is.
AUTHORIZER_COMPUTE_SEC: Final = 0.01

MINUTES_PER_MONTH: Final = 43_200  # of thirty days
# Lambda asks a queue without messages by this many pollers, each of which waits for so long.
QUEUES_HEARD: Final = 3
POLLERS_PER_QUEUE: Final = 5
POLL_SEC: Final = 20
# What the template makes (tests/test_infra_monitoring.py counts them).
SECRETS: Final = 2
ALARMS: Final = 30
_ACTIONS: Final = "the actions' own time"


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that is paid: how much of it, and what that costs."""

    what: str
    amount: float
    unit: str
    dollars: float


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """The same run on another service; ``dollars`` is ``None`` where it cannot run, which ``remark`` explains."""

    service: str
    dollars: float | None
    remark: str


def bill(played: Played, action_ms: float) -> tuple[Line, ...]:
    """Everything that one run costs; ``action_ms`` is how long its actions work in all."""
    counts = played.counts
    sqs = counts.messages_sent * prices.SQS_REQUESTS_PER_MESSAGE
    executor_sec = played.executor_turns * TURN_COMPUTE_SEC
    api_sec = played.api_turns * TURN_COMPUTE_SEC
    # Where the first turn ends it all there is no executor; whoever decides them, tasks take their time.
    tasks_sec = played.tasks * TASK_COMPUTE_SEC
    gb_sec = (
        executor_sec + tasks_sec + played.api_calls * AUTHORIZER_COMPUTE_SEC
    ) * prices.LAMBDA_MEMORY_GB + api_sec * prices.API_MEMORY_GB
    own_sec = executor_sec + api_sec + tasks_sec + played.api_calls * AUTHORIZER_COMPUTE_SEC
    invocations = 2 * played.api_calls + played.executor_runs
    return (
        _per_million("DynamoDB writes", counts.write_units, "write units", prices.DYNAMODB_WRITE_UNITS_USD),
        _per_million("DynamoDB reads", counts.read_units, "read units", prices.DYNAMODB_READ_UNITS_USD),
        _per_million(
            f"SQS (messages: {counts.messages_sent:,})", sqs, "requests", prices.SQS_REQUESTS_USD + prices.SQS_FAIR_USD
        ),
        _per_million("S3 writes", counts.payload_puts, "requests", prices.S3_PUTS_USD),
        _per_million("S3 reads", counts.payload_gets, "requests", prices.S3_GETS_USD),
        _per_million("API Gateway", played.api_calls, "requests", prices.API_REQUESTS_USD),
        _per_million("Lambda requests", invocations, "requests", prices.LAMBDA_REQUESTS_USD),
        Line("Lambda, the service", own_sec * 1000, "ms", gb_sec * prices.LAMBDA_GB_SEC_USD),
        Line(
            f"Lambda, {_ACTIONS}",
            action_ms,
            "ms",
            action_ms / 1000 * prices.LAMBDA_MEMORY_GB * prices.LAMBDA_GB_SEC_USD,
        ),
    )


def total(lines: tuple[Line, ...], *, actions: bool = True) -> float:
    """The sum in dollars, with or without the time that actions take, which is paid wherever they run."""
    return sum(line.dollars for line in lines if actions or not line.what.endswith(_ACTIONS))


def elsewhere(played: Played, action_ms: float) -> tuple[Elsewhere, ...]:
    """The same run on the services of AWS, the actions' own compute not counted."""
    steps = played.steps + played.executions
    return (
        Elsewhere(
            "Step Functions Standard",
            steps * prices.STANDARD_TRANSITIONS_USD / MILLION,
            f"{steps:,} state transitions",
        ),
        _express(played, action_ms),
        Elsewhere(
            "Lambda durable functions",
            steps * prices.DURABLE_OPERATIONS_USD / MILLION,
            f"{steps:,} durable operations, without compute and data",
        ),
    )


def _express(played: Played, action_ms: float) -> Elsewhere:
    name = "Step Functions Express"
    if played.waits_for_answers:
        return Elsewhere(name, None, "cannot: it has no asynchronous actions")
    duration_sec = ceil(10 * (played.waited_sec + action_ms / 1000)) / 10
    if duration_sec > prices.EXPRESS_DURATION_MAX_SEC:
        return Elsewhere(name, None, f"cannot: {duration_sec:,.1f} s are more than {prices.EXPRESS_DURATION_MAX_SEC:g}")
    gb_sec = duration_sec * prices.EXPRESS_MEMORY_GB
    dollars = played.executions * prices.EXPRESS_REQUESTS_USD / MILLION + gb_sec * prices.EXPRESS_GB_SEC_USD
    return Elsewhere(name, dollars, f"{duration_sec:,.1f} s in 64 MB, one action after another")


def idle_month(tick: Counts) -> tuple[Line, ...]:
    """What a month of thirty days costs in which nothing runs, by what one visit of the clock door counts."""
    ticks = MINUTES_PER_MONTH
    polls = QUEUES_HEARD * POLLERS_PER_QUEUE * ticks * 60 // POLL_SEC
    compute_sec = ticks * TURN_COMPUTE_SEC
    return (
        _per_million("clock: DynamoDB reads", ticks * tick.read_units, "read units", prices.DYNAMODB_READ_UNITS_USD),
        _per_million("clock: Lambda requests", ticks, "requests", prices.LAMBDA_REQUESTS_USD),
        Line(
            "clock: Lambda",
            compute_sec * 1000,
            "ms",
            compute_sec * prices.LAMBDA_MEMORY_GB * prices.LAMBDA_GB_SEC_USD,
        ),
        _per_million("SQS: Lambda asks empty queues", polls, "requests", prices.SQS_REQUESTS_USD),
        Line("Secrets Manager: what signs tokens, webhooks", SECRETS, "secrets", SECRETS * prices.SECRET_USD),
        Line("CloudWatch: alarms", ALARMS, "alarms", ALARMS * prices.ALARM_USD),
    )


def times(lines: tuple[Line, ...], number: float) -> tuple[Line, ...]:
    """The same so many times."""
    return tuple(replace(line, amount=line.amount * number, dollars=line.dollars * number) for line in lines)


def _per_million(what: str, amount: float, unit: str, usd: float) -> Line:
    return Line(what, amount, unit, amount * usd / MILLION)
