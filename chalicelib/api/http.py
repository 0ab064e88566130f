"""HTTP and nothing else: requests become ``Call``, answers and errors become responses, a table of routes a blueprint.

A module of endpoints gives ``routes(services)``, a tuple of ``Route``; ``app.py`` registers them through ``blueprint``.
A handler takes a ``Call`` and returns an ``Answer``; whatever it raises is turned into Mistral's error bodies here.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import field
from enum import Enum
from typing import Any, Final, Protocol

from chalice.app import Blueprint, Chalice, ChaliceAuthorizer, Request, Response

from chalicelib import limits
from chalicelib.api import policies
from chalicelib.api.about import About
from chalicelib.api.authorizer import RequestAuthorizer
from chalicelib.api.caller import KEYSTONE_PATH, Caller, base_url_of, caller_of, refuse_target_cloud
from chalicelib.api.sizes import fits, shortened
from chalicelib.data import dataclass
from chalicelib.errors import (
    InputException,
    MistralError,
    RateLimitException,
    RequestTooLargeException,
    UnsupportedMediaTypeException,
)
from chalicelib.services.authentication import Authentication
from chalicelib.services.large_answers import LargeAnswers
from chalicelib.vocabulary import Json, JsonObject

logger = logging.getLogger("mistral.api")

JSON_TYPE: Final = "application/json"
_CORS_METHODS: Final = "GET, PUT, POST, DELETE, PATCH"
_CORS_ALLOWED: Final = (
    "Authorization, Content-Type, X-Auth-Token, X-Identity-Status, X-Roles, X-Service-Catalog, X-User-Id, "
    "X-Tenant-Id, X-Project-Id, X-User-Name, X-Project-Name"
)
_CORS_EXPOSED: Final = "X-Auth-Token, X-Subject-Token, X-Service-Token, X-Project-Id, X-User-Name, X-Project-Name"


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """What a deployment may choose about the API.

    ``auth`` is "none" or "authorizer"; ``local_admin``: without authentication everyone is an admin; ``healthcheck``:
    whether ``/healthcheck`` answers; ``info`` is the document that ``/info`` shows, if it shows one.
    """

    auth: str = "none"
    cors_origins: tuple[str, ...] = ()
    list_items_max: int = limits.LIST_ITEMS_MAX
    allow_action_execution_deletion: bool = False
    local_admin: bool = False
    healthcheck: bool = False
    info: Json = None

    @staticmethod
    def from_environment(environment: Mapping[str, str]) -> ApiSettings:
        """Read the settings of the API. Raises MistralError naming one that makes no sense."""
        origins = environment.get("MISTRAL_CORS_ORIGINS", "").split(",")
        most = environment.get("MISTRAL_LIST_ITEMS_MAX") or str(limits.LIST_ITEMS_MAX)
        if not most.isdigit() or not 0 < int(most) <= limits.LIST_ITEMS_MAX:
            raise MistralError(f"MISTRAL_LIST_ITEMS_MAX is a number from 1 to {limits.LIST_ITEMS_MAX}, not {most!r}.")
        info = environment.get("MISTRAL_INFO")
        try:
            document = json.loads(info) if info else None
        except ValueError as error:
            raise MistralError(f"MISTRAL_INFO is not JSON: {error}") from error
        return ApiSettings(
            auth=environment.get("MISTRAL_AUTH", "none"),
            cors_origins=tuple(origin.strip() for origin in origins if origin.strip()),
            list_items_max=int(most),
            allow_action_execution_deletion=environment.get("MISTRAL_ALLOW_ACTION_EXECUTION_DELETION") == "true",
            local_admin=environment.get("MISTRAL_LOCAL_ADMIN") == "true",
            healthcheck=environment.get("MISTRAL_HEALTHCHECK") == "true",
            info=document,
        )


class HasApiSettings(Protocol):
    """The services behind a set of routes, as far as HTTP itself is concerned."""

    @property
    def api_settings(self) -> ApiSettings:
        """The settings of this deployment."""

    @property
    def large_answers(self) -> LargeAnswers:
        """Where answers go that are too large to be given directly."""

    @property
    def authentication(self) -> Authentication:
        """Who counts the requests of each project."""


class Style(Enum):
    """Mistral's two encoders differ in errors and content types: RAW where definitions are written, TYPED elsewhere."""

    TYPED = "typed"
    RAW = "raw"


class Body(Enum):
    """What a route reads: nothing, JSON (415 for other types), or text whose declared type is ignored."""

    NONE = "none"
    JSON = "json"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class Call:
    """One request, parsed as far as every endpoint needs it.

    Header names are lower-case; of a repeated query argument the last value counts. ``source`` is the address it came
    from, as the platform tells it.
    """

    method: str
    path: str
    caller: Caller
    settings: ApiSettings
    base_url: str
    request_id: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    source: str = ""

    @property
    def text(self) -> str:
        """The body as text. Raises InputException when it is not UTF-8."""
        try:
            return self.body.decode()
        except UnicodeDecodeError as error:
            raise InputException(f"The request body is not UTF-8: {error}") from error


@dataclass(frozen=True, slots=True)
class Answer:
    """A response: ``body`` is JSON data, or ``None`` for an empty one."""

    body: Json = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


CREATED: Final = 201
NO_CONTENT: Final = Answer(status=204)

Handler = Callable[[Call], Answer]
# What surrounds the handling of an event, by the name of the door and the id of the request.
Around = Callable[[str, str], AbstractContextManager[object]]


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one path.

    ``arguments`` are the query arguments it knows; others are refused, but ``None`` ignores what is unknown.
    ``about`` is what the API's description says of it; a test asks for it.
    """

    method: str
    path: str
    handler: Handler
    arguments: Collection[str] | None = ()
    body: Body = Body.NONE
    style: Style = Style.TYPED
    about: About | None = None

    @property
    def rules(self) -> tuple[policies.Policy, ...]:
        """The rules that it stands under; a route without any is closed."""
        return policies.policies_of(self.method, self.path)

    @property
    def is_open(self) -> bool:
        """Whether it answers without asking who calls; OPTIONS is what a browser sends before it may send more."""
        rules = self.rules
        return self.method == "OPTIONS" or (bool(rules) and all(rule.who is policies.Who.ANYONE for rule in rules))


def blueprint(
    import_name: str,
    routes: Iterable[Route],
    services: Callable[[], HasApiSettings],
    *,
    authorizer: ChaliceAuthorizer | None = None,
) -> Blueprint:
    """The routes as a Chalice blueprint; ``services`` is called when a request comes, not before.

    Every route that is not open stands behind the ``authorizer``.
    """
    made = Blueprint(import_name)
    paths: dict[str, None] = {}
    for route in routes:
        _register(made, route, services, authorizer)
        paths[route.path] = None
    for path in paths:
        preflight = Route("OPTIONS", path, _preflight, arguments=None)
        _register(made, preflight, services, authorizer)
    return made


def _register(
    made: Blueprint, route: Route, services: Callable[[], HasApiSettings], authorizer: ChaliceAuthorizer | None
) -> None:
    def view(**_parameters: str) -> Response:
        return _respond(route, made.current_request, services)

    name = f"{route.method.lower()} {route.path}"
    # Chalice would answer 415 in a form of its own: every type is let in, `_check_type` decides.
    options = {} if route.is_open or authorizer is None else {"authorizer": authorizer}
    made.route(route.path, methods=[route.method], content_types=["*/*"], name=name, **options)(view)


def _respond(route: Route, request: Request, services: Callable[[], HasApiSettings]) -> Response:
    request_id = str(request.context.get("requestId", ""))
    try:
        call = _call_of(route, request, services().api_settings, request_id)
        if not route.is_open:
            _count(services().authentication, call)
        _check(route, call)
        policies.demand(route.method, route.path, call.caller, call.query, call.body)
        return _response(route, call, route.handler(call), services().large_answers)
    except MistralError as error:
        if error.http_code >= 500:
            logger.warning("%s %s failed [request_id=%s]", route.method, route.path, request_id, exc_info=True)
        headers = _refusal_headers(error, request)
        return _fault(route.style, error.http_code, error.message or type(error).__name__, headers)
    except Exception:  # the door: whatever else goes wrong becomes an answer, and a line in the log
        logger.exception("%s %s failed [request_id=%s]", route.method, route.path, request_id)
        text = f"The service failed unexpectedly; its log says more [request_id={request_id}]."
        return _fault(route.style, 500, text)


def _count(authentication: Authentication, call: Call) -> None:
    """Raises RateLimitException when the caller's project asks too often."""
    wait_sec = authentication.wait_sec(call.caller.project_id)
    if wait_sec > 0:
        raise RateLimitException("Your project sends more requests than it may; wait before the next.", wait_sec)


def _refusal_headers(error: MistralError, request: Request) -> dict[str, str]:
    """When to come again, and where to log in."""
    if isinstance(error, RateLimitException):
        return {"Retry-After": error.retry_after}
    if error.http_code == 401:
        headers = {name.lower(): str(value) for name, value in request.headers.items()}
        return {"WWW-Authenticate": f'Keystone uri="{base_url_of(headers, request.context)}{KEYSTONE_PATH}"'}
    return {}


def _call_of(route: Route, request: Request, settings: ApiSettings, request_id: str) -> Call:
    headers = {name.lower(): str(value) for name, value in request.headers.items()}
    query: Mapping[str, str] = request.query_params or {}
    return Call(
        method=request.method,
        path=str(request.context.get("path") or request.path),
        caller=Caller()
        if route.is_open
        else caller_of(request.context, settings.auth, local_admin=settings.local_admin),
        settings=settings,
        base_url=base_url_of(headers, request.context),
        request_id=request_id,
        parameters=dict(request.uri_params or {}),
        query={name: query[name] for name in query},
        headers=headers,
        body=_body_of(request),
        source=str((request.context.get("identity") or {}).get("sourceIp") or ""),
    )


def _body_of(request: Request) -> bytes:
    event = request.to_original_event()
    body = event.get("body") or ""
    if len(body) > limits.REQUEST_BYTES_MAX * 4 // 3 + 4:
        raise RequestTooLargeException(f"The request body is larger than {limits.REQUEST_BYTES_MAX} bytes.")
    if event.get("isBase64Encoded"):
        try:
            data = base64.b64decode(body)
        except binascii.Error as error:
            raise InputException(f"The request body cannot be decoded: {error}") from error
    else:
        data = body if isinstance(body, bytes) else body.encode("utf-8", "surrogatepass")
    if len(data) > limits.REQUEST_BYTES_MAX:
        raise RequestTooLargeException(f"The request body is larger than {limits.REQUEST_BYTES_MAX} bytes.")
    return data


def _check(route: Route, call: Call) -> None:
    _check_type(route, call)
    if call.method != "GET":
        refuse_target_cloud(call.headers)
    if route.arguments is not None:
        for name in call.query:
            if name not in route.arguments:
                raise InputException(f'Unknown argument: "{name}"')


def _check_type(route: Route, call: Call) -> None:
    """XML is refused everywhere; endpoints that read JSON take no other type; nothing declared is fine."""
    declared = call.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not declared or not call.body:
        return
    if declared in ("text/xml", "application/xml") or declared.endswith("+xml"):
        raise UnsupportedMediaTypeException("XML request bodies are not supported.")
    is_json = declared == JSON_TYPE or declared.endswith("+json")
    # Command-line tools declare a form without being asked.
    if route.body is Body.JSON and not is_json and declared != "application/x-www-form-urlencoded":
        raise UnsupportedMediaTypeException(f"Unknown mimetype: {declared}")


def _response(route: Route, call: Call, answer: Answer, large: LargeAnswers) -> Response:
    headers: dict[str, str | list[str]] = dict(answer.headers)
    if answer.body is None:
        return Response(body="", status_code=answer.status, headers=headers)
    headers.setdefault("Content-Type", JSON_TYPE if route.style is Style.TYPED else f"{JSON_TYPE};charset=utf-8")
    text = json.dumps(answer.body)
    if not fits(text):
        if route.method == "GET":
            return _elsewhere(large.put(text), call)
        # Sent elsewhere after a change, a client would take it for a failure: it gets less, and can read the rest.
        body, omitted = shortened(answer.body)
        text, headers["X-Mistral-Omitted"] = json.dumps(body), ", ".join(omitted)
    return Response(body=text, status_code=answer.status, headers=headers)


def _elsewhere(address: str, call: Call) -> Response:
    """Sends the client to an answer that is too large to be given here."""
    location = call.base_url + address if address.startswith("/") else address
    return Response(body="", status_code=303, headers={"Location": location, "Cache-Control": "no-store"})


def fault_body(status: int, text: str, style: Style = Style.TYPED) -> JsonObject:
    """An error in the words that Mistral's clients understand."""
    if style is Style.RAW:
        return {"faultstring": text}
    return {"faultcode": "Server" if status >= 500 else "Client", "faultstring": text, "debuginfo": None}


def header_text(text: str) -> str:
    """A text as the value of a header: one line of ASCII."""
    return " ".join(text.split()).encode("ascii", "replace").decode()


def _fault(style: Style, status: int, text: str, headers: Mapping[str, str] | None = None) -> Response:
    named: dict[str, str | list[str]] = {"Content-Type": JSON_TYPE, **(headers or {})}
    if status == 401:
        named["Server-Error-Message"] = header_text(text)  # the official client prefers it to the body
        named.setdefault("WWW-Authenticate", "Keystone")
    return Response(body=json.dumps(fault_body(status, text, style)), status_code=status, headers=named)


def _preflight(call: Call) -> Answer:
    if not cors_headers(call.headers.get("origin"), call.settings):
        raise _MethodNotAllowed("OPTIONS is offered to other origins only, and only to those the service is told of.")
    allowed = {"Access-Control-Allow-Methods": _CORS_METHODS, "Access-Control-Allow-Headers": _CORS_ALLOWED}
    return Answer(status=200, headers={**allowed, "Access-Control-Max-Age": "3600"})


class _MethodNotAllowed(MistralError):
    http_code = 405


def cors_headers(origin: str | None, settings: ApiSettings) -> dict[str, str]:
    """The headers that let a browser's page of this origin read the answer; none when the origin is not allowed."""
    if not origin or not ("*" in settings.cors_origins or origin in settings.cors_origins):
        return {}
    return {"Access-Control-Allow-Origin": origin, "Vary": "Origin", "Access-Control-Expose-Headers": _CORS_EXPOSED}


def request_id_of(event: Any) -> str:
    """The id of a request of API Gateway, or of the invocation with which Lambda brought another event."""
    if isinstance(event, Mapping):
        return str((event.get("requestContext") or {}).get("requestId") or "")
    return str(getattr(getattr(event, "context", None), "aws_request_id", ""))


class MistralApi(Chalice):
    """The Chalice app, answering in Mistral's words also where no route does: unknown paths, methods not offered."""

    def __init__(
        self, app_name: str, settings: Callable[[], ApiSettings], *, around: Around = lambda _door, _id: nullcontext()
    ) -> None:
        super().__init__(app_name, configure_logs=False)
        self._api_settings = settings
        self._around = around

    def _wrap_handler(self, handler_type: str, handler_name: str, user_handler: Callable[..., Any]) -> Any:
        def door(event: Any) -> Any:
            with self._around(handler_name, request_id_of(event)):
                return user_handler(event)

        if handler_type == "authorizer":
            return RequestAuthorizer(handler_name, door)
        return super()._wrap_handler(handler_type, handler_name, door)

    def __call__(self, event: JsonObject, context: Any) -> JsonObject:
        """Answer one event of API Gateway."""
        with self._around("api", request_id_of(event)):
            return self._answered(event, context)

    def _answered(self, event: JsonObject, context: Any) -> JsonObject:
        answer = self._refusal(event) or super().__call__(event, context)
        origin = next((value for name, value in (event.get("headers") or {}).items() if name.lower() == "origin"), None)
        if origin:
            answer["headers"].update(cors_headers(origin, self._api_settings()))
        refused: JsonObject = answer
        return refused

    def _refusal(self, event: JsonObject) -> JsonObject | None:
        request_context = event.get("requestContext") or {}
        resource, method = request_context.get("resourcePath"), request_context.get("httpMethod")
        routes: Mapping[str, Any] = self.routes.get(str(resource)) or {}
        if method in routes:
            return None
        if not routes:
            refusal = _fault(Style.TYPED, 404, f"No such resource: {event.get('path')}. The API begins at /v2.")
        else:
            allowed = ", ".join(sorted(set(routes) - {"OPTIONS"}))
            refusal = _fault(Style.TYPED, 405, f"{method} is not offered here; there is: {allowed}", {"Allow": allowed})
        answer: JsonObject = refusal.to_dict(self.api.binary_types)
        return answer
