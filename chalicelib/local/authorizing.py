"""What API Gateway does with an authorizer: asks it before a route that has one, and obeys.

The answers in its stead are those of the gateway responses that the template of a deployment has (``infra/``).
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final

from chalicelib.api.caller import KEYSTONE_PATH, base_url_of
from chalicelib.local.context import LambdaContext
from chalicelib.vocabulary import JsonObject

logger = logging.getLogger("mistral.local.gateway")

Answer = tuple[int, list[tuple[str, str]], bytes]
Authorizer = Callable[[JsonObject, Any], JsonObject]

AUTHORIZER_TIMEOUT_SEC: Final = 10.0
UNAUTHORIZED: Final = (
    "Authentication required: the request carries no credential, or one that is wrong or out of date. Log in again."
)
DENIED: Final = "Operation forbidden (insufficient permissions)"
FAILED: Final = "Whether you are known cannot be told at the moment; try again later."
_ARN: Final = "arn:aws:execute-api:us-east-1:000000000000:local/local"


def refusal_of(authorizer: Authorizer, event: JsonObject) -> Answer | None:
    """Ask the authorizer of a route about a request; the answer in its stead, or ``None`` when it may pass.

    What the authorizer says of the caller is put into the event, where the app looks for it.
    """
    method_arn = f"{_ARN}/{event['httpMethod']}{event['path']}"
    asked = {name: value for name, value in event.items() if name not in ("body", "isBase64Encoded")}
    context = LambdaContext("authorizer", deadline_sec=time.monotonic() + AUTHORIZER_TIMEOUT_SEC, now=time.monotonic)
    try:
        policy = authorizer({"type": "REQUEST", "methodArn": method_arn, **asked}, context)
    except Exception as error:
        if str(error) == "Unauthorized":
            return _refused(401, UNAUTHORIZED, ("WWW-Authenticate", f'Keystone uri="{_login_url(event)}"'))
        logger.exception("The authorizer failed at %s %s", event["httpMethod"], event["path"])
        return _refused(500, FAILED)
    if not _allows(policy, method_arn):
        return _refused(403, DENIED)
    told = {name: str(value) for name, value in (policy.get("context") or {}).items()}
    event["requestContext"]["authorizer"] = {"principalId": policy["principalId"], **told}
    return None


def _allows(policy: Mapping[str, Any], method_arn: str) -> bool:
    """Whether a policy lets this request pass: some statement allows it, and none denies it."""
    effects = {
        statement["Effect"]
        for statement in policy["policyDocument"]["Statement"]
        for resource in statement["Resource"]
        if fnmatchcase(method_arn, resource.replace("[", "[[]"))
    }
    return effects == {"Allow"}


def _login_url(event: JsonObject) -> str:
    return base_url_of(event["headers"], event["requestContext"]) + KEYSTONE_PATH


def _refused(status: int, text: str, *more: tuple[str, str]) -> Answer:
    body = {"faultcode": "Server" if status >= 500 else "Client", "faultstring": text, "debuginfo": None}
    headers = [
        ("Content-Type", "application/json"),
        ("Server-Error-Message", text),
        ("Access-Control-Allow-Origin", "*"),
        *more,
    ]
    return status, headers, json.dumps(body).encode()
