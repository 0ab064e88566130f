"""Who calls, and under which address: what a request's envelope says about its sender and about this service."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from chalicelib.data import dataclass
from chalicelib.errors import InputException, UnauthorizedException
from chalicelib.vocabulary import Json

PROJECT_WITHOUT_AUTHENTICATION: Final = "<default-project>"
ADMIN_ROLE: Final = "admin"
# Where clients log in, below the address of the service.
KEYSTONE_PATH: Final = "/v3"
_TARGET_CLOUD: Final = "x-target-"


@dataclass(frozen=True, slots=True)
class Caller:
    """The identity behind a request: from the authorizer's claims only, headers of the client are never believed."""

    project_id: str = PROJECT_WITHOUT_AUTHENTICATION
    user_id: str | None = None
    roles: frozenset[str] = frozenset()

    @property
    def is_admin(self) -> bool:
        """Whether the caller may see every project and publish objects."""
        return ADMIN_ROLE in self.roles


def caller_of(request_context: Mapping[str, Any], auth: str, *, local_admin: bool = False) -> Caller:
    """The caller that API Gateway's authorizer vouches for.

    With ``auth`` "none" everyone is the default project, and nobody an admin, unless ``local_admin`` makes everyone
    one. Raises UnauthorizedException when an authorizer was to speak and did not.
    """
    if auth == "none":
        return Caller(roles=frozenset({ADMIN_ROLE})) if local_admin else Caller()
    claims: Mapping[str, Json] = request_context.get("authorizer") or {}
    project_id = claims.get("project_id")
    if not project_id:
        raise UnauthorizedException("The request carries no identity; send a valid X-Auth-Token.")
    roles = (role.strip() for role in str(claims.get("roles") or "").split(","))
    return Caller(str(project_id), claims.get("user_id"), frozenset(filter(None, roles)))


def refuse_target_cloud(headers: Mapping[str, str]) -> None:
    """Raise InputException for a request that brings a token for another cloud: it would have to be stored in clear."""
    if any(name.startswith(_TARGET_CLOUD) for name in headers):
        raise InputException(
            "The headers X-Target-... are not supported: the token would be stored with the execution. Keep the "
            "credentials of the cloud as the project's secret 'openstack'."
        )


def base_url_of(headers: Mapping[str, str], request_context: Mapping[str, Any]) -> str:
    """Scheme, host and prefix (stage or mount) under which the client reached this service; no trailing slash."""
    scheme = _first(headers.get("x-forwarded-proto")) or "http"
    host = _first(headers.get("x-forwarded-host")) or headers.get("host") or request_context.get("domainName")
    prefix = headers.get("x-forwarded-prefix", "").rstrip("/") + _stage_prefix(request_context)
    return f"{scheme}://{host or 'localhost'}{prefix}"


def _first(value: str | None) -> str:
    return (value or "").split(",")[0].strip()


def _stage_prefix(request_context: Mapping[str, Any]) -> str:
    """What stands before the resource in the full path: ``/api`` of ``/api/v2/executions``."""
    fixed = str(request_context.get("resourcePath", "")).partition("{")[0].rstrip("/")
    full = str(request_context.get("path", "")).rstrip("/")
    if not fixed:
        return full
    before, found, _after = full.partition(fixed)
    return before if found else ""
