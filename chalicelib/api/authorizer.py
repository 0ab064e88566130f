"""The authorizer: asked by API Gateway before every route that is not open, it says whose the request is.

It is a REQUEST authorizer, for a credential may stand in one of two headers, and its answers are not cached by the
gateway: a cached one would have to name both. What a client says of itself in other headers is never looked at.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

from chalice.app import ChaliceAuthorizer

from chalicelib.errors import RateLimitException, UnauthorizedException
from chalicelib.services.authentication import Identity
from chalicelib.vocabulary import JsonObject

logger = logging.getLogger("mistral.api")

Identify = Callable[[Mapping[str, str], str], Identity]

# The word by which API Gateway knows that it is to answer 401.
_UNAUTHORIZED: Final = "Unauthorized"


class Refused(Exception):
    """API Gateway answers 401, in words of its own: see the gateway responses of the template."""

    def __init__(self) -> None:
        super().__init__(_UNAUTHORIZED)


class RequestAuthorizer(ChaliceAuthorizer):
    """Chalice's authorizer, given the whole request; Chalice itself knows only those that are given one header."""

    def __call__(self, event: JsonObject, context: object) -> JsonObject:  # noqa: ARG002 - Lambda gives it
        """Answer one event of API Gateway. Raises Refused."""
        answer: JsonObject = self.func(event)  # type: ignore[arg-type, assignment]
        return answer


def answered(event: Mapping[str, Any], identify: Identify | None) -> JsonObject:
    """What API Gateway is told of a request: that it may pass, and whose it is; ``None`` lets all pass as nobody.

    Raises Refused.
    """
    context: dict[str, str] = {}
    if identify is not None:
        request_context = event.get("requestContext") or {}
        headers = {name.lower(): str(value) for name, value in (event.get("headers") or {}).items()}
        source = str((request_context.get("identity") or {}).get("sourceIp") or "")
        try:
            context = _context(identify(headers, source))
        except (UnauthorizedException, RateLimitException) as error:
            # The reason is for the operator; the gateway cannot pass it on.
            logger.info("refused: %s [request_id=%s]", error.message, request_context.get("requestId"))
            raise Refused from None
    return {
        "principalId": context.get("user_id") or context.get("project_id") or "anybody",
        "policyDocument": {"Version": "2012-10-17", "Statement": [_may_call(str(event["methodArn"]))]},
        "context": context,
    }


def _context(identity: Identity) -> dict[str, str]:
    """An identity as texts, which is all that API Gateway hands on; ``caller_of`` reads them."""
    context = {"project_id": identity.project_id, "roles": ",".join(sorted(identity.roles))}
    return context if identity.user_id is None else {**context, "user_id": identity.user_id}


def _may_call(method_arn: str) -> JsonObject:
    """All of this stage: what a caller may do is decided by the policies; and no path gets into a pattern."""
    api, stage = method_arn.split("/", 2)[:2]
    return {"Action": "execute-api:Invoke", "Effect": "Allow", "Resource": [f"{api}/{stage}/*"]}
