"""What Lambda hands to a door beside its event."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4


class LambdaContext:
    """What a door may use of Lambda's context object. ``deadline_sec`` is on the clock that ``now`` reads."""

    def __init__(self, function_name: str, *, deadline_sec: float, now: Callable[[], float]) -> None:
        self.function_name = function_name
        self.function_version = "$LATEST"
        self.invoked_function_arn = f"arn:aws:lambda:us-east-1:123456789012:function:{function_name}"
        self.memory_limit_in_mb = 512
        self.aws_request_id = str(uuid4())
        self.log_group_name = f"/aws/lambda/{function_name}"
        self.log_stream_name = "local"
        self._deadline_sec = deadline_sec
        self._now = now

    def get_remaining_time_in_millis(self) -> int:
        """How long this invocation may still take."""
        return max(0, int((self._deadline_sec - self._now()) * 1000))
