"""AWS's list prices, US East (N. Virginia), as known in November 2026; and what counts come to in dollars."""

from __future__ import annotations

from typing import Final

from benchmarks.meter import Counts

AS_OF: Final = "2026-11"

# On demand, per million units. (AWS halved these in November 2024.)
DYNAMODB_WRITE_UNITS_USD: Final = 0.625
DYNAMODB_READ_UNITS_USD: Final = 0.125
# Standard queues, per million requests of up to 64 KB.
SQS_REQUESTS_USD: Final = 0.40
# Per million requests, and per gigabyte-second.
LAMBDA_REQUESTS_USD: Final = 0.20
LAMBDA_GB_SEC_USD: Final = 0.0000166667
LAMBDA_MEMORY_GB: Final = 0.5
# Per million requests. General knowledge, to be checked before it is published.
S3_PUTS_USD: Final = 5.00
S3_GETS_USD: Final = 0.40

# A message is sent, received and deleted; no batching is assumed, which is the dearest case.
SQS_REQUESTS_PER_MESSAGE: Final = 3
MILLION: Final = 1_000_000


def cost_of(counts: Counts, *, memory_gb: float = LAMBDA_MEMORY_GB) -> float:
    """Dollars for what was counted: tables, queues, payloads and Lambdas of this memory."""
    requests_usd = (
        counts.write_units * DYNAMODB_WRITE_UNITS_USD
        + counts.read_units * DYNAMODB_READ_UNITS_USD
        + counts.messages_sent * SQS_REQUESTS_PER_MESSAGE * SQS_REQUESTS_USD
        + counts.payload_puts * S3_PUTS_USD
        + counts.payload_gets * S3_GETS_USD
        + counts.invocations * LAMBDA_REQUESTS_USD
    )
    return requests_usd / MILLION + counts.compute_sec * memory_gb * LAMBDA_GB_SEC_USD
