"""Calls the app as API Gateway does, without a socket between: the commands have no other way in than any client."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from chalicelib.local.context import LambdaContext
from chalicelib.local.gateway import API_TIMEOUT_SEC, App, Router, Routes, plain_answer, proxy_event
from chalicelib.vocabulary import Json


class ApiError(Exception):
    """The API refused: its status, its words, and its whole body."""

    def __init__(self, status: int, text: str, body: Json) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.body = body


@dataclass(frozen=True, slots=True)
class Caller:
    """One caller of the API."""

    app: App
    routes: Routes

    def call(
        self, method: str, path: str, body: Json = None, *, query: dict[str, str] | None = None, content_type: str = ""
    ) -> Json:
        """The parsed answer; text bodies go as they are, others as JSON. Raises ApiError for what is no success."""
        match = Router(self.routes).match(path)
        if match is None:
            raise ApiError(404, f"The app has no resource {path}", None)
        headers = {"accept": "application/json"}
        if body is not None:
            headers["content-type"] = content_type or ("text/plain" if isinstance(body, str) else "application/json")
        data = body if isinstance(body, str) else "" if body is None else json.dumps(body)
        event = proxy_event(method, path, match, headers=headers, query=urlencode(query or {}), body=data.encode())
        context = LambdaContext("api", deadline_sec=time.monotonic() + API_TIMEOUT_SEC, now=time.monotonic)
        status, _headers, content = plain_answer(self.app(event, context))
        answer = _parsed(content)
        if status >= 300:
            raise ApiError(status, _fault_text(answer, status), answer)
        return answer


def _parsed(content: bytes) -> Json:
    if not content:
        return None
    try:
        return json.loads(content)
    except ValueError:
        return content.decode("utf-8", "replace")


def _fault_text(answer: Any, status: int) -> str:
    if isinstance(answer, dict):
        for name in ("faultstring", "Message", "message"):
            if answer.get(name):
                return str(answer[name])
    return str(answer) if answer else f"HTTP status {status}"
