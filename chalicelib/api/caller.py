"""Who calls, and under which address: what a request's envelope says about its sender and about this service."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from chalicelib.errors import NotAllowedException, UnauthorizedException
from chalicelib.vocabulary import Json

PROJECT_WITHOUT_AUTHENTICATION: Final = "<default-project>"
ADMIN_ROLE: Final = "admin"


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

    def may_see(self, project_id: str) -> bool:
        """Whether a private object of that project exists for this caller."""
        return self.is_admin or project_id == self.project_id

    def demand_admin(self) -> None:
        """Raises NotAllowedException unless the caller is an admin."""
        if not self.is_admin:
            raise NotAllowedException("Operation forbidden (insufficient permissions)")


def caller_of(request_context: Mapping[str, Any], auth: str) -> Caller:
    """The caller that API Gateway's authorizer vouches for.

    With ``auth`` "none" everyone is the default project, and nobody an admin. Raises UnauthorizedException when an
    authorizer was to speak and did not.
    """
    if auth == "none":
        return Caller()
    claims: Mapping[str, Json] = request_context.get("authorizer") or {}
    project_id = claims.get("project_id")
    if not project_id:
        raise UnauthorizedException("The request carries no identity; send a valid X-Auth-Token.")
    roles = (role.strip() for role in str(claims.get("roles") or "").split(","))
    return Caller(str(project_id), claims.get("user_id"), frozenset(filter(None, roles)))


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
