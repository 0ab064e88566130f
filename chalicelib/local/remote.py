"""Requests of the commands to a running service."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Final

import requests

from chalicelib.vocabulary import Json, JsonObject

TIMEOUT_SEC: Final = 30.0
_LOGIN_VARIABLE: Final = "OS_AUTH_TOKEN"


class Refused(Exception):
    """The service refused, or there is none; the text says why."""


@dataclass(frozen=True, slots=True)
class Remote:
    """A service at a URL such as http://127.0.0.1:8989/v2."""

    url: str

    def call(self, method: str, path: str, body: Json = None, *, query: dict[str, str] | None = None) -> JsonObject:
        """The answer; a text goes as it is, anything else as JSON. Raises Refused."""
        # To a definition OpenStack Mistral answers JSON as text, and nothing to whoever accepts JSON only.
        headers = {"Accept": "*/*" if isinstance(body, str) else "application/json"}
        token = os.environ.get(_LOGIN_VARIABLE)
        if token:
            headers["X-Auth-Token"] = token
        data: dict[str, Any] = {}
        if isinstance(body, str):
            data = {"data": body.encode()}
            headers["Content-Type"] = "text/plain"
        elif body is not None:
            data = {"json": body}
        try:
            reply = requests.request(
                method, f"{self.url.rstrip('/')}{path}", params=query, headers=headers, timeout=TIMEOUT_SEC, **data
            )
            answer: Any = reply.json() if reply.content else {}
        except (requests.RequestException, ValueError) as error:
            raise Refused(f"no service answers at {self.url}: {error}") from error
        if not reply.ok or not isinstance(answer, dict):
            told = answer.get("faultstring") if isinstance(answer, dict) else None
            raise Refused(str(told or f"HTTP status {reply.status_code}"))
        return answer
