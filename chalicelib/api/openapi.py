"""The description of the whole API, OpenAPI 3.1, made of the table of routes and the fields of the resources.

Nothing is written by hand twice: paths, methods, arguments and bodies come from ``Route``, what is answered from the
``About`` that it carries. ``GET /v2/openapi.json`` gives the document.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Final

from chalicelib import limits
from chalicelib.api.about import About, Accepted, Shown, tells
from chalicelib.api.fields import Field, Kind, Resource
from chalicelib.api.http import JSON_TYPE, Answer, Body, Call, Route
from chalicelib.api.listing import COMMON_ARGUMENTS
from chalicelib.api.policies import Who, policies_of
from chalicelib.vocabulary import Json, JsonObject

PATH: Final = "/v2/openapi.json"
VERSION: Final = "2.0"
_SCHEMAS: Final = "#/components/schemas/"
_PARAMETER: Final = re.compile(r"{(\w+)\+?}")
_TEXT: Final[JsonObject] = {"type": "string"}
_FLAG: Final[JsonObject] = {"type": "boolean"}

# Statuses of errors: what they mean, and the name of the response among the components.
ERRORS: Final[Mapping[int, tuple[str, str]]] = {
    400: ("BadRequest", "Something in the request is wrong; `faultstring` says what, and where."),
    401: ("Unauthorized", "The request carries no valid credentials."),
    403: ("Forbidden", "The caller, or the present state, does not permit this."),
    404: ("NotFound", "There is no such object, or the caller may not see it."),
    409: ("Conflict", "There is one of that name already, or somebody else changed it at the same moment."),
    410: ("Gone", "It was here, and is no more."),
    413: ("TooLarge", "The request is larger than the service takes."),
    415: ("UnsupportedMediaType", "The body is of a type that is not read here."),
    423: ("Locked", "The service is in maintenance: nothing may be changed now."),
    429: ("TooManyRequests", "Too many requests; try again later."),
    500: ("Failed", "The service failed unexpectedly; its log says more."),
    503: ("Unavailable", "The service cannot do this now; try again later."),
    504: ("TimedOut", "The service did not answer in time; what was asked for may have been done all the same."),
}
_ALWAYS: Final = (400, 401, 429, 500, 503, 504)
_OF_OBJECTS: Final = (403, 404)
_OF_WRITES: Final = (403, 404, 409, 413, 415, 423)

_ARGUMENTS: Final[Mapping[str, tuple[str, JsonObject]]] = {
    "marker": ("The id of the last item of the page before.", _TEXT),
    "limit": (
        f"How many items at most; never more than {limits.LIST_ITEMS_MAX}.",
        {"type": "integer", "minimum": 1},
    ),
    "sort_keys": ("Fields to sort by, separated by commas.", _TEXT),
    "sort_dirs": ("`asc` or `desc` for each of the sort keys, separated by commas.", _TEXT),
    "fields": ("The fields that are wanted, separated by commas; all, unless given. `id` always comes.", _TEXT),
    "all_projects": ("The objects of all projects; for admins.", _FLAG),
    "include_output": ("Outputs too.", _FLAG),
    "nulls": ("Fields that must be null, separated by commas.", _TEXT),
    "errors_only": ("Follow only tasks in state ERROR.", _FLAG),
    "max_depth": ("How many levels of sub-workflows; less than 0: all.", {"type": "integer", "default": -1}),
    "statistics_only": ("Leave the tree out.", _FLAG),
    "force": ("Also what is not completed.", _FLAG),
    "namespace": ("The namespace; the default one is empty.", _TEXT),
    "scope": ("Who may see it.", {"type": "string", "enum": ["private", "public"], "default": "private"}),
    "skip_validation": ("Ignored: every text is validated.", _FLAG),
}

_OF_KIND: Final[Mapping[Kind, JsonObject]] = {
    Kind.TEXT: {"type": ["string", "null"]},
    Kind.UUID: {"type": ["string", "null"]},
    Kind.INTEGER: {"type": ["integer", "null"]},
    Kind.BOOLEAN: {"type": ["boolean", "null"]},
    Kind.DATE: {
        "type": ["string", "null"],
        "pattern": r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)?$",
        "description": "YYYY-MM-DD HH:MM:SS, UTC",
    },
    Kind.TAGS: {"type": ["array", "null"], "items": _TEXT},
    Kind.JSON: {
        "type": ["string", "null"],
        "contentMediaType": JSON_TYPE,
        "description": "JSON, written as a string",
    },
    Kind.VALUE: {
        "type": "string",
        "contentMediaType": JSON_TYPE,
        "description": "any value, written as a string of JSON",
    },
    Kind.LIST: {},
}
_GIVEN: Final[Mapping[Kind, JsonObject]] = {
    **_OF_KIND,
    Kind.DATE: {"type": ["string", "null"]},
    Kind.INTEGER: {"type": ["integer", "string", "null"]},
    Kind.BOOLEAN: {"type": ["boolean", "string", "null"]},
    Kind.TAGS: {},
    Kind.JSON: {"type": ["object", "string", "null"], "description": "an object, or a string that holds one as JSON"},
}
_ERROR_SCHEMA: Final[JsonObject] = {
    "type": "object",
    "required": ["faultstring"],
    "properties": {
        "faultcode": {"type": "string", "enum": ["Client", "Server"]},
        "faultstring": {"type": "string", "description": "what is wrong, where, and what to do next"},
        "debuginfo": {"type": "null"},
    },
}
_SECURITY: Final[JsonObject] = {
    "token": {"type": "apiKey", "in": "header", "name": "X-Auth-Token"},
    "bearer": {"type": "http", "scheme": "bearer"},
    "basic": {"type": "http", "scheme": "basic"},
}


def routes(every: Callable[[], Iterable[Route]]) -> tuple[Route, ...]:
    """The route of the description; ``every`` gives all routes of the API, this one included."""
    made = cache(lambda: document(every()))

    def show(call: Call) -> Answer:
        return Answer({**made(), "servers": [{"url": call.base_url}]})

    return (Route("GET", PATH, show, None, about=tells("This description.", {"type": "object"})),)


def document(routes: Iterable[Route]) -> JsonObject:
    """The OpenAPI document of these routes."""
    paths: dict[str, JsonObject] = {}
    schemas: dict[str, JsonObject] = {"Error": _ERROR_SCHEMA}
    for route in routes:
        about = route.about or About(f"{route.method} {route.path}", {})
        _gather(schemas, about)
        path = paths.setdefault(route.path, {})
        path[route.method.lower()] = _operation(route, about)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Mistral Serverless",
            "version": VERSION,
            "summary": "OpenStack Mistral's workflow API, version 2",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{name: []} for name in _SECURITY],
        "paths": paths,
        "components": {"schemas": schemas, "responses": _error_responses(), "securitySchemes": _SECURITY},
    }


def statuses_of(route: Route) -> tuple[int, ...]:
    """The errors that a route may answer with."""
    found = set(_ALWAYS)
    if route.method != "GET":
        found |= set(_OF_WRITES)
    if "{" in route.path or set(route.arguments or ()) >= COMMON_ARGUMENTS:
        found |= set(_OF_OBJECTS)
    return tuple(sorted(found))


# -- operations


def _operation(route: Route, about: About) -> JsonObject:
    operation: JsonObject = {
        "operationId": _identifier(route),
        "summary": about.summary,
        "tags": [_tag(route)],
        "parameters": [*_path_parameters(route), *_query_parameters(route, about)],
        "responses": _responses(route, about),
    }
    if any(policy.who is Who.ANYONE for policy in policies_of(route.method, route.path)):
        operation["security"] = []
    if (body := _request_body(route, about)) is not None:
        operation["requestBody"] = body
    return operation


def _identifier(route: Route) -> str:
    words = re.findall(r"[A-Za-z0-9]+", route.path.removeprefix("/v2"))
    return "_".join([route.method.lower(), *words] if words else [route.method.lower(), "root", route.path.strip("/")])


def _tag(route: Route) -> str:
    words = route.path.removeprefix("/v2").strip("/").split("/")
    return words[0] or "discovery"


def _path_parameters(route: Route) -> list[JsonObject]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in _PARAMETER.findall(route.path)
    ]


def _query_parameters(route: Route, about: About) -> list[JsonObject]:
    names = about.arguments if route.arguments is None else sorted(route.arguments)
    columns = about.answer.resource.by_name if isinstance(about.answer, Shown) and about.answer.is_list else {}
    if route.arguments is None:
        columns = {}  # it writes; its arguments are no filters
    return [_query_parameter(name, columns.get(name)) for name in names]


def _query_parameter(name: str, column: Field | None) -> JsonObject:
    if column is not None:
        description, schema = _FILTERED.get(column.kind, _BY_OPERATOR), _TEXT
    else:
        description, schema = _ARGUMENTS.get(name, (f"The {name.replace('_', ' ')}.", _TEXT))
    return {"name": name, "in": "query", "description": description, "schema": schema}


_BY_OPERATOR: Final = (
    "Only items whose field is this: `value`, or `operator:value`. The operators are `eq`, `neq`, `gt`, `gte`, `lt`, "
    "`lte`, `in` and `nin` with values separated by commas, and `has` for a part of a text."
)
_FILTERED: Final[Mapping[Kind, str]] = {
    Kind.UUID: "Only items whose field is this.",
    Kind.BOOLEAN: "Only items whose field is `true` or `false`.",
    Kind.TAGS: "Only items that have all of these tags, separated by commas.",
    Kind.JSON: "Only items whose field is this JSON object.",
}


def _request_body(route: Route, about: About) -> JsonObject | None:
    match route.body:
        case Body.NONE:
            return None
        case Body.TEXT:
            described = (
                "A text of the workflow language, or of a program; its declared type is ignored, XML is refused."
            )
            return {"required": True, "description": described, "content": {"text/plain": {"schema": _TEXT}}}
        case Body.JSON:
            schema = _accepted(about.accepts) if isinstance(about.accepts, Accepted) else about.accepts or {}
            return {"required": True, "content": {JSON_TYPE: {"schema": schema}}}


def _accepted(body: Accepted) -> JsonObject:
    schema: JsonObject = {
        "type": "object",
        "properties": {
            name: _GIVEN[body.resource.by_name[name].kind] if name in body.resource.by_name else {}
            for name in sorted(body.names)
        },
        "additionalProperties": False,
    }
    return schema | ({"required": list(body.required)} if body.required else {})


# -- answers


def _responses(route: Route, about: About) -> JsonObject:
    answers: JsonObject = {str(about.status): _success(about)}
    if route.method == "GET" and about.answer is not None:
        answers["303"] = _ELSEWHERE
    answers.update({str(status): _error(status) for status in statuses_of(route)})
    for status, description in about.statuses.items():
        answers[str(status)] = _error(status) if status in ERRORS else {"description": description}
    return answers


def _error(status: int) -> JsonObject:
    return {"$ref": f"#/components/responses/{ERRORS[status][0]}"}


_ELSEWHERE: Final[JsonObject] = {
    "description": "The answer is too large for this service; it can be fetched at `Location` for a few minutes.",
    "headers": {"Location": {"required": True, "schema": {"type": "string"}}},
}


def _success(about: About) -> JsonObject:
    if about.answer is None:
        return {"description": about.summary}
    schema = _reference(about.answer) if isinstance(about.answer, Shown) else about.answer
    return {"description": about.summary, "content": {JSON_TYPE: {"schema": schema}}}


def _reference(answer: Shown) -> JsonObject:
    one: JsonObject = {"$ref": _SCHEMAS + _component(answer)}
    if not answer.is_list:
        return one
    return {
        "type": "object",
        "required": [answer.resource.collection],
        "properties": {
            answer.resource.collection: {"type": "array", "items": one},
            "next": {"type": "string", "description": "the address of the next page; absent on the last one"},
        },
        "additionalProperties": False,
    }


def _error_responses() -> dict[str, Json]:
    error = {JSON_TYPE: {"schema": {"$ref": f"{_SCHEMAS}Error"}}}
    made: dict[str, Json] = {name: {"description": text, "content": error} for name, text in ERRORS.values()}
    made["Unauthorized"] = {**made["Unauthorized"], "headers": {"WWW-Authenticate": {"schema": _TEXT}}}
    return made


# -- resources


def _gather(schemas: dict[str, JsonObject], about: About) -> None:
    if isinstance(about.answer, Shown):
        schemas.setdefault(_component(about.answer), _object(about.answer.resource, is_raw=about.answer.is_raw))


def _component(answer: Shown) -> str:
    words = re.findall(r"\w+", answer.resource.title)
    return "".join(word[:1].upper() + word[1:] for word in words) + ("Written" if answer.is_raw else "")


def _object(resource: Resource, *, is_raw: bool) -> JsonObject:
    properties = {
        one.name: {} if is_raw and one.kind in (Kind.JSON, Kind.VALUE) else _OF_KIND[one.kind] for one in resource.shown
    }
    return {"type": "object", "required": ["id"], "properties": properties, "additionalProperties": False}
