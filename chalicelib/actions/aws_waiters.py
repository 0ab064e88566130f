"""``aws.<service>.wait_<waiter>``: botocore's waiters as actions that wait without a process.

Each run asks AWS once and judges the answer as botocore does: by its waiter, held to a single attempt.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from botocore.exceptions import BotoCoreError, WaiterError
from botocore.waiter import NormalizedOperationMethod, SingleWaiterConfig, Waiter
from jmespath.exceptions import JMESPathError  # type: ignore[import-untyped]

from chalicelib.actions.action import ActionContext, Parameter, Pending, Polling
from chalicelib.actions.aws_calls import THROTTLED
from chalicelib.actions.aws_operations import QUERY, REGION, ROLE_ARN, AwsAction, is_expression, shown
from chalicelib.data import dataclass
from chalicelib.errors import ActionException
from chalicelib.limits import AWS_WAITER_ATTEMPTS_MAX, DELAY_MAX_SEC
from chalicelib.vocabulary import Json, JsonObject, Result

_OUT_OF_ATTEMPTS: Final = "Max attempts exceeded"


@dataclass(frozen=True, slots=True)
class AwsWaiter(AwsAction):
    """One waiter; ``operation`` is what it asks."""

    waiter_name: str
    config: SingleWaiterConfig

    @property
    def polling(self) -> Polling:
        """It only looks."""
        return Polling.ONLY

    @property
    def description(self) -> str:
        """What it waits for, and how long."""
        what = self.waiter_name.removeprefix("wait_").replace("_", " ")
        return (
            f"Waits until aws.{self.service}.{self.operation} says: {what}. Asks every {self.config.delay} seconds, "
            f"{self.config.max_attempts} times at most. The result is the last answer."
        )

    @property
    def _extras(self) -> tuple[Parameter, ...]:
        delay = Parameter(
            "delay",
            required=False,
            default=self.config.delay,
            type="number",
            description="The seconds from one asking to the next.",
        )
        attempts = Parameter(
            "max_attempts",
            required=False,
            default=self.config.max_attempts,
            type="integer",
            description="How often it asks until it fails.",
        )
        return REGION, ROLE_ARN, QUERY, delay, attempts

    def _extra_faults(self, extras: JsonObject) -> list[str]:
        # Without `super()`: a dataclass with slots is not the class that `super()` knows.
        faults = AwsAction._extra_faults(self, extras)
        delay, attempts = extras.get("delay"), extras.get("max_attempts")
        if not (delay is None or is_expression(delay) or _is_number(delay, (int, float), 1, DELAY_MAX_SEC)):
            faults.append(f"delay must be a number of seconds from 1 to {DELAY_MAX_SEC}")
        if not (attempts is None or is_expression(attempts) or _is_number(attempts, int, 1, AWS_WAITER_ATTEMPTS_MAX)):
            faults.append(f"max_attempts must be a whole number from 1 to {AWS_WAITER_ATTEMPTS_MAX}")
        return faults

    def run(self, input: JsonObject, context: ActionContext) -> Result:
        """Ask once. Raises ``ActionException`` for the failure that the waiter knows, and after the last attempt."""
        own, extras = self._split(input)
        attempt = (context.pending or {}).get("attempts", 0) + 1
        delay_sec = self.config.delay if extras.get("delay") is None else extras["delay"]
        most = self.config.max_attempts if extras.get("max_attempts") is None else extras["max_attempts"]
        try:
            client = self._client(extras, context)
            asking = _Asking(NormalizedOperationMethod(getattr(client, self.operation)))
            is_done = asking.once(self.waiter_name, self.config, self._arguments(own, context))
            if is_done:
                return Result(data=shown(asking.answer, extras))
        except (BotoCoreError, JMESPathError, ActionException) as error:
            raise ActionException(f"{self.name} failed: {error}") from error
        if attempt >= most:
            raise ActionException(f"{self.name} failed: what it waits for had not come after {attempt} attempts")
        return Pending({"attempts": attempt}, delay_sec=delay_sec)


@dataclass(slots=True)
class _Asking:
    """One attempt, and the answer to it."""

    method: Callable[..., Any]
    answer: Any = None

    def once(self, name: str, config: SingleWaiterConfig, arguments: JsonObject) -> bool:
        """Whether it is there. Raises ActionException when it cannot come any more."""
        try:
            Waiter(name, config, self._ask).wait(**arguments, WaiterConfig={"MaxAttempts": 1})
        except WaiterError as error:
            reason = str(error.kwargs["reason"])
            if reason.startswith(_OUT_OF_ATTEMPTS) or self._is_throttled():
                return False
            raise ActionException(reason) from error
        return True

    def _ask(self, **arguments: Any) -> Any:
        self.answer = self.method(**arguments)
        return self.answer

    def _is_throttled(self) -> bool:
        """Whether AWS asked for patience, which botocore's waiters take for a failure; the next attempt will tell."""
        return bool(self.answer.get("Error", {}).get("Code") in THROTTLED)


def _is_number(value: Json, kind: Any, least: int, most: int) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool) and least <= value <= most
