"""AWS's list prices, US East (N. Virginia), as known in November 2026; and what counts come to in dollars.

Free tiers, discounts for much use, taxes and data that leaves AWS are not in them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from chalicelib.local.meter import Counts

AS_OF: Final = "2026-11"
REGION: Final = "us-east-1"

# On demand, per million units. (AWS halved these in November 2024.)
DYNAMODB_WRITE_UNITS_USD: Final = 0.625
DYNAMODB_READ_UNITS_USD: Final = 0.125
# Standard queues, per million requests of up to 64 KB.
SQS_REQUESTS_USD: Final = 0.40
# On top of that where a message names its tenant, as ours do, so that the queue is fair.
SQS_FAIR_USD: Final = 0.10
# Per million requests, and per gigabyte-second.
LAMBDA_REQUESTS_USD: Final = 0.20
LAMBDA_GB_SEC_USD: Final = 0.0000166667
LAMBDA_MEMORY_GB: Final = 0.5
# What the API's own function has; a test compares both with the deployment's configuration.
API_MEMORY_GB: Final = 1.0
# Per million requests.
S3_PUTS_USD: Final = 5.00
S3_GETS_USD: Final = 0.40
API_REQUESTS_USD: Final = 3.50
# Per million.
STANDARD_TRANSITIONS_USD: Final = 25.00
DURABLE_OPERATIONS_USD: Final = 8.00
# Per million executions, and per gigabyte-second of their duration, in steps of 64 MB and 100 ms; 5 minutes at most.
EXPRESS_REQUESTS_USD: Final = 1.00
EXPRESS_GB_SEC_USD: Final = 0.00001667
EXPRESS_MEMORY_GB: Final = 64 / 1024
EXPRESS_DURATION_MAX_SEC: Final = 300.0
# What is paid whether anything runs or not, per month.
DYNAMODB_STORAGE_GB_USD: Final = 0.25
DYNAMODB_RECOVERY_GB_USD: Final = 0.20
S3_STORAGE_GB_USD: Final = 0.023
LOGS_GB_USD: Final = 0.50
ALARM_USD: Final = 0.10
SECRET_USD: Final = 0.40

# A message is sent, received and deleted; no batching is assumed, which is the dearest case.
SQS_REQUESTS_PER_MESSAGE: Final = 3
MILLION: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Price:
    """One line of the price list. ``in_estimates``: `mistral-local cost` reckons with it."""

    what: str
    usd: float
    per: str
    in_estimates: bool = True


PRICES: Final = (
    Price("DynamoDB, on demand: write request units", DYNAMODB_WRITE_UNITS_USD, "million"),
    Price("DynamoDB, on demand: read request units", DYNAMODB_READ_UNITS_USD, "million"),
    Price("SQS, standard queues: requests", SQS_REQUESTS_USD, "million"),
    Price("SQS, fair queues: on top of that", SQS_FAIR_USD, "million"),
    Price("Lambda: requests", LAMBDA_REQUESTS_USD, "million"),
    Price("Lambda: compute", LAMBDA_GB_SEC_USD, "GB-second"),
    Price("S3, standard: PUT and LIST requests", S3_PUTS_USD, "million"),
    Price("S3, standard: GET requests", S3_GETS_USD, "million"),
    Price("API Gateway, REST API: requests", API_REQUESTS_USD, "million"),
    Price("Step Functions Standard: state transitions", STANDARD_TRANSITIONS_USD, "million"),
    Price("Step Functions Express: requests", EXPRESS_REQUESTS_USD, "million"),
    Price("Step Functions Express: duration", EXPRESS_GB_SEC_USD, "GB-second"),
    Price("Lambda durable functions: operations", DURABLE_OPERATIONS_USD, "million"),
    Price("DynamoDB: storage", DYNAMODB_STORAGE_GB_USD, "GB-month", in_estimates=False),
    Price("DynamoDB: point-in-time recovery", DYNAMODB_RECOVERY_GB_USD, "GB-month", in_estimates=False),
    Price("S3, standard: storage", S3_STORAGE_GB_USD, "GB-month", in_estimates=False),
    Price("CloudWatch: logs taken in", LOGS_GB_USD, "GB", in_estimates=False),
    Price("CloudWatch: alarm", ALARM_USD, "month", in_estimates=False),
    Price("Secrets Manager: secret", SECRET_USD, "month", in_estimates=False),
)


def cost_of(counts: Counts, *, memory_gb: float = LAMBDA_MEMORY_GB) -> float:
    """Dollars for what was counted: tables, queues, payloads and Lambdas of this memory."""
    requests_usd = (
        counts.write_units * DYNAMODB_WRITE_UNITS_USD
        + counts.read_units * DYNAMODB_READ_UNITS_USD
        + counts.messages_sent * SQS_REQUESTS_PER_MESSAGE * (SQS_REQUESTS_USD + SQS_FAIR_USD)
        + counts.payload_puts * S3_PUTS_USD
        + counts.payload_gets * S3_GETS_USD
        + counts.invocations * LAMBDA_REQUESTS_USD
    )
    return requests_usd / MILLION + counts.compute_sec * memory_gb * LAMBDA_GB_SEC_USD
