"""Logins for clients as they are: as much of Keystone v3, and of Keycloak, as `mistral` and `openstack` ask for.

The name of the user is an API key, the password its secret, and the project that of the key. What is given out is a
token of our own, which lives for an hour or so.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, Protocol
from urllib.parse import parse_qsl

from chalicelib.api.about import About
from chalicelib.api.caller import KEYSTONE_PATH
from chalicelib.api.http import Answer, Body, Call, Route, header_text
from chalicelib.errors import InputException, MistralError, NotFoundException, RateLimitException, UnauthorizedException
from chalicelib.services.auth_settings import KEYSTONE
from chalicelib.services.authentication import Authentication, Grant
from chalicelib.vocabulary import JsonObject

_VERSION: Final = "v3.14"
_VERSION_UPDATED: Final = "2020-04-07T00:00:00Z"
_DOMAIN: Final[JsonObject] = {"id": "default", "name": "Default"}
_OBJECT: Final[JsonObject] = {"type": "object"}
_FIELDS_MAX: Final = 20
_TITLES: Final = {400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 429: "Too Many Requests"}


class HasAuthentication(Protocol):
    """What these routes need of the services."""

    @property
    def authentication(self) -> Authentication:
        """Who proves identities."""


Provider = Callable[[], HasAuthentication]


def routes(services: Provider) -> tuple[Route, ...]:
    """All routes of this module; ``services`` is called when a request comes, not before."""
    tokens = f"{KEYSTONE_PATH}/auth/tokens"
    openid = "/realms/{realm}/protocol/openid-connect/token"
    about_tokens = About("A token for an API key, as Keystone gives it.", _OBJECT, 201, _OBJECT)
    about_openid = About("A token for an API key, as Keycloak gives it.", _OBJECT)
    about_version = About(
        "The version of the Keystone API whose logins are here.", _OBJECT, statuses={404: "No logins."}
    )
    return (
        Route("GET", KEYSTONE_PATH, partial(_keystone, _version, services), None, about=about_version),
        Route("POST", tokens, partial(_keystone, _log_in, services), None, Body.JSON, about=about_tokens),
        Route("POST", openid, partial(_openid, services), None, Body.TEXT, about=about_openid),
    )


# -- Keystone


def _keystone(handler: Callable[[Provider, Call], Answer], services: Provider, call: Call) -> Answer:
    """Answers of Keystone; its clients look for errors in a form of their own."""
    try:
        _demand_logins(services)
        return handler(services, call)
    except MistralError as error:
        if error.http_code >= 500:
            raise
        told = {"code": error.http_code, "title": _TITLES[error.http_code], "message": error.message}
        # `error` is for Keystone's clients; `mistral` logs in with those, but looks for the reason in its own place.
        return Answer({"error": told, "faultstring": error.message}, error.http_code, _refusal_headers(error, call))


def _version(_services: Provider, call: Call) -> Answer:
    version = {
        "id": _VERSION,
        "status": "stable",
        "updated": _VERSION_UPDATED,
        "links": [{"rel": "self", "href": f"{call.base_url}{KEYSTONE_PATH}/"}],
        "media-types": [{"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"}],
    }
    return Answer({"version": version})


def _log_in(services: Provider, call: Call) -> Answer:
    authentication = services().authentication
    request = _object(_parsed(call.text), "auth")
    identity = _object(request, "identity")
    match identity.get("methods"):
        case ["password"]:
            user = _object(_object(identity, "password"), "user")
            name, secret = user.get("name") or user.get("id"), user.get("password")
            if not isinstance(name, str) or not isinstance(secret, str):
                raise InputException("auth.identity.password.user needs `name` (an API key) and `password`, as texts.")
            grant, method = authentication.log_in(name, secret, call.source), "password"
        case ["token"]:
            token = _object(identity, "token").get("id")
            if not isinstance(token, str):
                raise InputException("auth.identity.token needs `id`, a text.")
            grant, method = authentication.log_in_again(token), "token"
        case methods:
            raise InputException(f'auth.identity.methods is ["password"] or ["token"], not {methods!r}.')
    _check_scope(request.get("scope"), grant)
    region = authentication.settings.keystone_region
    catalog = [] if "nocatalog" in call.query else _catalog(call.base_url, region)
    return Answer(
        {"token": _token(grant, method, catalog)},
        201,
        {"X-Subject-Token": grant.token, "Vary": "X-Auth-Token", "Cache-Control": "no-store"},
    )


def _check_scope(scope: object, grant: Grant) -> None:
    """A login is always for the project of the key; raises UnauthorizedException when it asks for another."""
    if scope is None or scope == "unscoped":
        return
    project = scope.get("project") if isinstance(scope, dict) else None
    if not isinstance(project, dict):
        raise UnauthorizedException("An API key opens one project; there are no other scopes.")
    if (project.get("id") or project.get("name")) != grant.identity.project_id:
        raise UnauthorizedException("This API key is not of the project that the login asks for.")


def _token(grant: Grant, method: str, catalog: list[JsonObject]) -> JsonObject:
    identity = grant.identity
    user = identity.user_id or identity.project_id
    return {
        "methods": [method],
        "issued_at": _time(grant.issued_at),
        "expires_at": _time(grant.expires_at),
        "user": {"id": user, "name": user, "domain": _DOMAIN, "password_expires_at": None},
        "project": {"id": identity.project_id, "name": identity.project_id, "domain": _DOMAIN},
        "is_domain": False,
        "roles": [{"id": role, "name": role} for role in sorted(identity.roles) or ["member"]],
        "audit_ids": [],
        "catalog": catalog,
    }


def _catalog(base_url: str, region: str) -> list[JsonObject]:
    """Where things are: the workflow service, and this login."""
    places = (("workflowv2", "mistral", "/v2"), ("identity", "keystone", KEYSTONE_PATH))
    return [
        {
            "id": name,
            "type": kind,
            "name": name,
            "endpoints": [
                {
                    "id": f"{name}-{interface}",
                    "interface": interface,
                    "region": region,
                    "region_id": region,
                    "url": base_url + path,
                }
                for interface in ("public", "internal", "admin")
            ],
        }
        for kind, name, path in places
    ]


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _parsed(text: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputException(f"The body is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise InputException("The body is a JSON object with `auth`.")
    return found


def _object(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = values.get(name)
    if not isinstance(found, dict):
        raise InputException(f"The login has no object `{name}`.")
    return found


# -- Keycloak


def _openid(services: Provider, call: Call) -> Answer:
    try:
        _demand_logins(services)
        grant = _granted(services().authentication, call)
    except MistralError as error:
        if error.http_code >= 500:
            raise
        code = "invalid_request" if error.http_code in (400, 404) else "invalid_grant"
        told = {"error": code, "error_description": error.message, "faultstring": error.message}
        return Answer(told, error.http_code, _refusal_headers(error, call))
    return Answer(
        {
            "access_token": grant.token,
            "token_type": "Bearer",
            "expires_in": int(grant.expires_at - grant.issued_at),
            "scope": "profile",
        },
        headers={"Cache-Control": "no-store"},
    )


def _granted(authentication: Authentication, call: Call) -> Grant:
    try:
        form = dict(parse_qsl(call.text, keep_blank_values=True, max_num_fields=_FIELDS_MAX))
    except ValueError as error:
        raise InputException(f"The form cannot be read: {error}") from error
    match form.get("grant_type"):
        case "password":
            name, secret = form.get("username"), form.get("password")
        case "client_credentials":
            name, secret = form.get("client_id"), form.get("client_secret")
        case other:
            raise InputException(f"grant_type is password or client_credentials, not {other!r}.")
    if not name or not secret:
        raise InputException("The form needs an API key and its secret.")
    grant = authentication.log_in(name, secret, call.source)
    if grant.identity.project_id != call.parameters["realm"]:
        raise UnauthorizedException("This API key is not of the project that the login asks for.")
    return grant


# -- both


def _demand_logins(services: Provider) -> None:
    if KEYSTONE not in services().authentication.settings.schemes:
        raise NotFoundException("There are no logins here: the setting MISTRAL_AUTH does not name keystone.")


def _refusal_headers(error: MistralError, call: Call) -> dict[str, str]:
    headers = {"Server-Error-Message": header_text(error.message)}
    if isinstance(error, RateLimitException):
        headers["Retry-After"] = error.retry_after
    if isinstance(error, UnauthorizedException):
        headers["WWW-Authenticate"] = f'Keystone uri="{call.base_url}{KEYSTONE_PATH}"'
    return headers
