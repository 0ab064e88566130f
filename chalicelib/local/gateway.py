"""HTTP on 127.0.0.1 in API Gateway's stead: each request becomes a REST proxy event for the Chalice app.

What API Gateway does, this does: finds the resource of a path, decodes its parameters, hands bodies over as text or
base64, and refuses what is unknown (404), not offered (405) or too large (413) before the app sees it.
"""

from __future__ import annotations

import base64
import http
import json
import logging
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qs, unquote
from uuid import uuid4

from chalicelib import limits
from chalicelib.adapters.payloads import SHARED_PATH
from chalicelib.errors import NotFoundException
from chalicelib.local.authorizing import refusal_of
from chalicelib.local.context import LambdaContext
from chalicelib.vocabulary import JsonObject

logger = logging.getLogger("mistral.local.gateway")

App = Callable[[JsonObject, Any], JsonObject]
Routes = Mapping[str, Mapping[str, Any]]
StartResponse = Callable[[str, list[tuple[str, str]]], Any]
Shared = Callable[[str], bytes]

API_TIMEOUT_SEC: Final = 29.0
_PARAMETER: Final = re.compile(r"{(\w+)(\+?)}")


@dataclass(frozen=True, slots=True)
class Match:
    """The resource that answers a path, and the parameters found in it."""

    resource: str
    parameters: dict[str, str] | None


class Router:
    """Finds the resource of a path: an exact one first, else the one whose fixed parts reach furthest."""

    def __init__(self, resources: Iterable[str]) -> None:
        self._exact = {}
        patterns = []
        for resource in resources:
            if "{" in resource:
                parts = _trimmed(resource).split("/")
                patterns.append((parts, re.compile("/".join(map(_expression, parts)) + r"\Z"), resource))
            else:
                self._exact[_trimmed(resource)] = resource
        # A segment that is a parameter sorts behind one that is fixed, and a greedy one behind both.
        patterns.sort(key=lambda entry: [(part.endswith("+}"), part.startswith("{"), part) for part in entry[0]])
        self._patterns = [(pattern, resource) for _parts, pattern, resource in patterns]

    def match(self, path: str) -> Match | None:
        """The resource for a path as the client sent it (percent-encoded), or ``None``."""
        path = _trimmed(path)
        exact = self._exact.get(unquote(path))
        if exact is not None:
            return Match(exact, None)
        for pattern, resource in self._patterns:
            found = pattern.match(path)
            if found:
                return Match(resource, {name: unquote(value) for name, value in found.groupdict().items()})
        return None


def _trimmed(path: str) -> str:
    return path.rstrip("/") or "/"


def _expression(part: str) -> str:
    parameter = _PARAMETER.fullmatch(part)
    if parameter is None:
        return re.escape(part)
    name, greedy = parameter.groups()
    return f"(?P<{name}>.+)" if greedy else f"(?P<{name}>[^/]+)"


class Gateway:
    """A WSGI application in front of a Chalice app."""

    def __init__(self, app: App, routes: Routes, shared: Shared | None = None) -> None:
        self._app = app
        self._routes = routes
        self._router = Router(routes)
        self._shared = shared or _nothing_shared

    def __call__(self, environ: Mapping[str, Any], start_response: StartResponse) -> list[bytes]:
        """Answer one WSGI request."""
        status, headers, body = self._answer(environ)
        if environ["REQUEST_METHOD"] == "HEAD":
            body = b""
        else:
            headers.append(("Content-Length", str(len(body))))
        start_response(f"{status} {_reason(status)}", headers)
        return [body]

    def _answer(self, environ: Mapping[str, Any]) -> tuple[int, list[tuple[str, str]], bytes]:
        method = environ["REQUEST_METHOD"]
        path = _raw_path(environ)
        if path.startswith(SHARED_PATH) and method == "GET":
            return self._give_shared(path.removeprefix(SHARED_PATH))
        match = self._router.match(path)
        if match is None:
            return _fault(404, f"No such resource: {unquote(path)}. The API begins at /v2.")
        methods = self._routes[match.resource]
        asked = "GET" if method == "HEAD" and "HEAD" not in methods else method
        if asked not in methods:
            allowed = ", ".join(sorted(methods))
            return _fault(405, f"{method} is not offered by {unquote(path)}; it has: {allowed}", Allow=allowed)
        if int(environ.get("CONTENT_LENGTH") or 0) > limits.REQUEST_BYTES_MAX:
            return _too_large()
        body = environ["wsgi.input"].read(limits.REQUEST_BYTES_MAX + 1)
        if len(body) > limits.REQUEST_BYTES_MAX:
            return _too_large()
        context = LambdaContext("api", deadline_sec=time.monotonic() + API_TIMEOUT_SEC, now=time.monotonic)
        event = proxy_event(
            asked, path, match, headers=_headers(environ), query=environ.get("QUERY_STRING", ""), body=body,
            source=environ.get("REMOTE_ADDR", "127.0.0.1"),
        )  # fmt: skip
        if _is_too_much_for_lambda(event, body):
            return _too_large(limits.LAMBDA_PAYLOAD_BYTES_MAX)
        authorizer = getattr(methods[asked], "authorizer", None)
        refusal = None if authorizer is None else refusal_of(authorizer, event)
        if refusal is not None:
            return refusal
        try:
            answer = self._app(event, context)
        except Exception:
            logger.exception("The app failed at %s %s", method, path)
            return _fault(500, "The app failed; its log says more.")
        if _is_too_much_for_lambda(answer, answer.get("body")):
            return _fault(502, f"The app answers with more than {limits.LAMBDA_PAYLOAD_BYTES_MAX} bytes.")
        return plain_answer(answer)

    def _give_shared(self, token: str) -> tuple[int, list[tuple[str, str]], bytes]:
        """What the bucket gives out on AWS, by an address that it was asked for."""
        try:
            return 200, [("Content-Type", "application/json"), ("Cache-Control", "no-store")], self._shared(token)
        except NotFoundException as error:
            return _fault(404, error.message)


def proxy_event(
    method: str,
    path: str,
    match: Match,
    *,
    headers: Mapping[str, str] | None = None,
    query: str = "",
    body: bytes = b"",
    source: str = "127.0.0.1",
) -> JsonObject:
    """The event that API Gateway makes of a request (REST API, Lambda proxy integration)."""
    headers = {"host": "127.0.0.1", **(headers or {})}
    parameters = parse_qs(query, keep_blank_values=True) or None
    text, is_base64 = _as_text(body)
    return {
        "resource": match.resource,
        "path": unquote(path),
        "httpMethod": method,
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "queryStringParameters": {name: values[-1] for name, values in parameters.items()} if parameters else None,
        "multiValueQueryStringParameters": parameters,
        "pathParameters": match.parameters,
        "stageVariables": None,
        "requestContext": {
            "resourcePath": match.resource,
            "path": unquote(path),
            "httpMethod": method,
            "stage": "local",
            "requestId": str(uuid4()),
            "identity": {"sourceIp": source, "userAgent": headers.get("user-agent")},
        },
        "body": text,
        "isBase64Encoded": is_base64,
    }


def plain_answer(answer: JsonObject) -> tuple[int, list[tuple[str, str]], bytes]:
    """Status, headers and bytes of what the app gave back to API Gateway."""
    body = answer.get("body")
    if answer.get("isBase64Encoded"):
        data = base64.b64decode(body or "")
    else:
        data = body if isinstance(body, bytes) else str(body or "").encode()
    headers = [(name, str(value)) for name, value in (answer.get("headers") or {}).items()]
    for name, values in (answer.get("multiValueHeaders") or {}).items():
        headers.extend((name, str(value)) for value in values)
    if data and not any(name.lower() == "content-type" for name, _value in headers):
        headers.append(("Content-Type", "application/json"))
    return int(answer["statusCode"]), [pair for pair in headers if pair[0].lower() != "content-length"], data


def _as_text(body: bytes) -> tuple[str | None, bool]:
    if not body:
        return None, False
    try:
        return body.decode(), False
    except UnicodeDecodeError:
        return base64.b64encode(body).decode("ascii"), True


def _raw_path(environ: Mapping[str, Any]) -> str:
    """The path before it was decoded: an encoded slash belongs to its parameter."""
    target: str = environ.get("REQUEST_URI") or ""
    if not target.startswith("/"):
        decoded: str = environ.get("PATH_INFO", "/")
        return decoded.encode("latin-1").decode("utf-8", "replace") or "/"
    return target.partition("?")[0]


def _headers(environ: Mapping[str, Any]) -> dict[str, str]:
    headers = {key[5:].replace("_", "-").lower(): value for key, value in environ.items() if key.startswith("HTTP_")}
    if environ.get("CONTENT_TYPE"):
        headers["content-type"] = environ["CONTENT_TYPE"]
    return headers


def _fault(status: int, text: str, **headers: str) -> tuple[int, list[tuple[str, str]], bytes]:
    body = json.dumps({"faultcode": "Server" if status >= 500 else "Client", "faultstring": text, "debuginfo": None})
    return status, [("Content-Type", "application/json"), *headers.items()], body.encode()


def _is_too_much_for_lambda(payload: JsonObject, body: str | bytes | None) -> bool:
    """Whether an event or an answer is larger than a Lambda function takes or gives; ``body`` is most of it."""
    if len(body or "") <= limits.LAMBDA_PAYLOAD_BYTES_MAX // 6:  # however much of it is escaped
        return False
    return len(json.dumps(payload, default=str)) > limits.LAMBDA_PAYLOAD_BYTES_MAX


def _too_large(most: int | None = None) -> tuple[int, list[tuple[str, str]], bytes]:
    bound = limits.REQUEST_BYTES_MAX if most is None else most
    return _fault(413, f"The request body is larger than {bound} bytes; send a smaller one.")


def _nothing_shared(token: str) -> bytes:
    raise NotFoundException(f"There is nothing at {token}.")


def _reason(status: int) -> str:
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


class _PerThread:
    """Chalice keeps the request on its app object; here each thread has its own."""

    _threads: Final = threading.local()

    @property
    def current_request(self) -> Any:
        """The request that this thread is answering."""
        return getattr(self._threads, "current_request", None)

    @current_request.setter
    def current_request(self, value: Any) -> None:
        self._threads.current_request = value

    @property
    def lambda_context(self) -> Any:
        """The Lambda context of this thread's invocation."""
        return getattr(self._threads, "lambda_context", None)

    @lambda_context.setter
    def lambda_context(self, value: Any) -> None:
        self._threads.lambda_context = value


def share_between_threads(app: Any) -> None:
    """Let several threads call one Chalice app object: Lambda never does, so Chalice does not expect it."""
    if not isinstance(app, _PerThread):
        app.__class__ = type(f"Shared{type(app).__name__}", (_PerThread, type(app)), {})
