"""Roles that actions assume: credentials for a while, kept for the project and the execution that they were got for.

A role is told who asks: the external id is the project's id, which nobody can choose, and the session is named after
the execution. So a role that trusts one project's id is closed to all others.
"""

from __future__ import annotations

import datetime
import re
import threading
import time
from collections import OrderedDict
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.actions.action import ActionContext
from chalicelib.actions.aws_clients import AwsClients, Credentials
from chalicelib.data import dataclass
from chalicelib.errors import ActionException
from chalicelib.limits import AWS_ROLES_CACHED_MAX

_NOT_IN_SESSIONS: Final = re.compile(r"[^\w+=,.@-]", re.ASCII)
_NOT_IN_EXTERNAL_IDS: Final = re.compile(r"[^\w+=,.@:/-]", re.ASCII)
_SESSION_CHARACTERS_MAX: Final = 64
_EXTERNAL_ID_CHARACTERS_MIN: Final = 2
# Credentials are not used in their last minutes: a call may take a while.
_SPARE_SEC: Final = 300.0


@dataclass(frozen=True, slots=True)
class _Asked:
    """For whom credentials were got."""

    project_id: str | None
    role_arn: str
    session: str
    region: str | None
    endpoint_url: str | None


class AssumedRoles:
    """The credentials of one process, within a bound; may be shared between threads."""

    def __init__(self, clients: AwsClients) -> None:
        self._clients = clients
        self._lock = threading.Lock()
        self._kept: OrderedDict[_Asked, tuple[float, Credentials]] = OrderedDict()

    def credentials(self, role_arn: str, context: ActionContext) -> Credentials:
        """Credentials of a role for the execution of an action. Raises ActionException when AWS refuses."""
        place = context.aws
        asked = _Asked(context.project_id, role_arn, session_name(context), place.region, place.endpoint_url)
        with self._lock:
            ends_at, known = self._kept.get(asked, (0.0, None))
            if known is not None and time.time() < ends_at - _SPARE_SEC:
                self._kept.move_to_end(asked)
                return known
        ends_at, got = self._assume(asked, context)
        with self._lock:
            self._kept[asked] = ends_at, got
            self._kept.move_to_end(asked)
            while len(self._kept) > AWS_ROLES_CACHED_MAX:
                self._kept.popitem(last=False)
        return got

    def _assume(self, asked: _Asked, context: ActionContext) -> tuple[float, Credentials]:
        arguments: dict[str, Any] = {"RoleArn": asked.role_arn, "RoleSessionName": asked.session}
        external_id = _NOT_IN_EXTERNAL_IDS.sub("_", asked.project_id or "")
        if len(external_id) >= _EXTERNAL_ID_CHARACTERS_MIN:
            arguments["ExternalId"] = external_id
        try:
            client = self._clients.client(
                "sts", region=asked.region, endpoint_url=asked.endpoint_url, deadline_sec=context.deadline_sec
            )
            found = client.assume_role(**arguments)["Credentials"]
        except ClientError as error:
            fault = error.response.get("Error", {})
            raise ActionException(
                f"the role {asked.role_arn} cannot be assumed: [{fault.get('Code')}] {fault.get('Message')}"
            ) from error
        except BotoCoreError as error:
            raise ActionException(f"the role {asked.role_arn} cannot be assumed: {error}") from error
        expires: datetime.datetime = found["Expiration"]
        return expires.timestamp(), Credentials(found["AccessKeyId"], found["SecretAccessKey"], found["SessionToken"])


def session_name(context: ActionContext) -> str:
    """Names the execution that acts, in AWS's own records: the workflow's if there is one."""
    identifier = context.workflow_execution_id or context.action_execution_id or "action"
    return _NOT_IN_SESSIONS.sub("_", f"mistral-{identifier}")[:_SESSION_CHARACTERS_MAX]
