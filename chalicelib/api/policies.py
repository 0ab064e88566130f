"""Mistral's policies: which rule each route stands under, and who passes it.

One table, read top to bottom; it is looked at in one place, before any handler (``demand``). A route that no row names
is closed to everyone. A rule says what a caller may ask for at all; whose objects it then meets is decided where they
are read: a foreign private object is *not found*, and another project's public one may be read, not changed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import Enum
from typing import Final

from chalicelib.api.caller import Caller
from chalicelib.api.values import to_boolean
from chalicelib.data import dataclass
from chalicelib.errors import NotAllowedException
from chalicelib.vocabulary import Json

FORBIDDEN: Final = "Operation forbidden (insufficient permissions)"


class Who(Enum):
    """Who passes a rule. Mistral's ``admin_or_owner`` lets every caller pass, since it works on its own project."""

    ANYONE = "anyone"  # also without an identity
    OWNER = "admin or owner"
    ADMIN = "admin"


class When(Enum):
    """Which requests to its routes a rule is about."""

    ALWAYS = ""
    PUBLIC = "with `scope` public"
    ALL_PROJECTS = "with `all_projects`"
    OTHER_PROJECTS = "with `all_projects` or `project_id`"


@dataclass(frozen=True, slots=True)
class Policy:
    """One rule. ``routes`` are methods and paths, parameters written ``{}``."""

    rule: str
    who: Who
    routes: tuple[str, ...]
    when: When = When.ALWAYS


POLICIES: Final = (
    # What the service is; clients ask before they have logged in.
    Policy("versions:get", Who.ANYONE, ("GET /", "GET /v2")),
    Policy("info:get", Who.ANYONE, ("GET /info",)),
    # A login has to be open; the services behind it ask for an API key and its secret.
    Policy("logins:create", Who.ANYONE, ("POST /v3/auth/tokens", "POST /realms/{}/protocol/openid-connect/token")),
    Policy("logins:version", Who.ANYONE, ("GET /v3",)),
    Policy("schemas:get", Who.OWNER, ("GET /v2/schemas/workflow-language", "GET /v2/openapi.json")),
    Policy("workbooks:create", Who.OWNER, ("POST /v2/workbooks",)),
    Policy("workbooks:delete", Who.OWNER, ("DELETE /v2/workbooks/{}",)),
    Policy("workbooks:get", Who.OWNER, ("GET /v2/workbooks/{}",)),
    Policy("workbooks:list", Who.OWNER, ("GET /v2/workbooks",)),
    Policy("workbooks:update", Who.OWNER, ("PUT /v2/workbooks",)),
    Policy("workbooks:validate", Who.OWNER, ("POST /v2/workbooks/validate",)),
    Policy("workbooks:publicize", Who.ADMIN, ("POST /v2/workbooks", "PUT /v2/workbooks"), When.PUBLIC),
    Policy("workflows:create", Who.OWNER, ("POST /v2/workflows",)),
    Policy("workflows:delete", Who.OWNER, ("DELETE /v2/workflows/{}",)),
    Policy("workflows:get", Who.OWNER, ("GET /v2/workflows/{}",)),
    Policy("workflows:list", Who.OWNER, ("GET /v2/workflows",)),
    Policy("workflows:list:all_projects", Who.ADMIN, ("GET /v2/workflows",), When.ALL_PROJECTS),
    Policy("workflows:update", Who.OWNER, ("PUT /v2/workflows", "PUT /v2/workflows/{}")),
    Policy("workflows:validate", Who.OWNER, ("POST /v2/workflows/validate",)),
    Policy(
        "workflows:publicize",
        Who.ADMIN,
        ("POST /v2/workflows", "PUT /v2/workflows", "PUT /v2/workflows/{}"),
        When.PUBLIC,
    ),
    Policy("members:create", Who.OWNER, ("POST /v2/workflows/{}/members",)),
    Policy("members:delete", Who.OWNER, ("DELETE /v2/workflows/{}/members/{}",)),
    Policy("members:get", Who.OWNER, ("GET /v2/workflows/{}/members/{}",)),
    Policy("members:list", Who.OWNER, ("GET /v2/workflows/{}/members",)),
    Policy("members:update", Who.OWNER, ("PUT /v2/workflows/{}/members/{}",)),
    Policy("actions:create", Who.OWNER, ("POST /v2/actions",)),
    Policy("actions:delete", Who.OWNER, ("DELETE /v2/actions/{}", "DELETE /v2/actions/{}/{}")),
    Policy("actions:get", Who.OWNER, ("GET /v2/actions/{}", "GET /v2/actions/{}/{}")),
    Policy("actions:list", Who.OWNER, ("GET /v2/actions",)),
    Policy("actions:update", Who.OWNER, ("PUT /v2/actions", "PUT /v2/actions/{}")),
    Policy("actions:validate", Who.OWNER, ("POST /v2/actions/validate",)),
    Policy("actions:publicize", Who.ADMIN, ("POST /v2/actions", "PUT /v2/actions", "PUT /v2/actions/{}"), When.PUBLIC),
    Policy("executions:create", Who.OWNER, ("POST /v2/executions",)),
    Policy("executions:delete", Who.OWNER, ("DELETE /v2/executions/{}",)),
    Policy(
        "executions:get",
        Who.OWNER,
        (
            "GET /v2/executions/{}",
            "GET /v2/executions/{}/executions",
            "GET /v2/executions/{}/history",
            "GET /v2/executions/{}/report",
            "GET /v2/tasks/{}/executions",
        ),
    ),
    Policy("executions:list", Who.OWNER, ("GET /v2/executions", "GET /v2/tasks/{}/workflow_executions")),
    Policy("executions:list:all_projects", Who.ADMIN, ("GET /v2/executions",), When.OTHER_PROJECTS),
    Policy("executions:update", Who.OWNER, ("PUT /v2/executions/{}",)),
    Policy("tasks:get", Who.OWNER, ("GET /v2/tasks/{}",)),
    Policy("tasks:list", Who.OWNER, ("GET /v2/tasks", "GET /v2/executions/{}/tasks")),
    Policy("tasks:update", Who.OWNER, ("PUT /v2/tasks/{}",)),
    Policy("action_executions:create", Who.OWNER, ("POST /v2/action_executions",)),
    Policy("action_executions:delete", Who.OWNER, ("DELETE /v2/action_executions/{}",)),
    Policy(
        "action_executions:get",
        Who.OWNER,
        ("GET /v2/action_executions/{}", "GET /v2/tasks/{}/action_executions/{}"),
    ),
    Policy("action_executions:list", Who.OWNER, ("GET /v2/action_executions", "GET /v2/tasks/{}/action_executions")),
    Policy("action_executions:update", Who.OWNER, ("PUT /v2/action_executions/{}",)),
    Policy("cron_triggers:create", Who.OWNER, ("POST /v2/cron_triggers",)),
    Policy("cron_triggers:delete", Who.OWNER, ("DELETE /v2/cron_triggers/{}",)),
    Policy("cron_triggers:get", Who.OWNER, ("GET /v2/cron_triggers/{}",)),
    Policy("cron_triggers:list", Who.OWNER, ("GET /v2/cron_triggers",)),
    Policy("cron_triggers:list:all_projects", Who.ADMIN, ("GET /v2/cron_triggers",), When.ALL_PROJECTS),
    Policy("cron_triggers:publicize", Who.ADMIN, ("POST /v2/cron_triggers",), When.PUBLIC),
    Policy(
        "cron_triggers:control",
        Who.OWNER,
        tuple(f"POST /v2/cron_triggers/{{}}/{verb}" for verb in ("pause", "resume", "run", "backfill")),
    ),
    Policy("cron_triggers:preview", Who.OWNER, ("GET /v2/cron_previews", "GET /v2/cron_triggers/{}/times")),
    Policy("event_triggers:create", Who.OWNER, ("POST /v2/event_triggers",)),
    Policy("event_triggers:delete", Who.OWNER, ("DELETE /v2/event_triggers/{}",)),
    Policy("event_triggers:get", Who.OWNER, ("GET /v2/event_triggers/{}",)),
    Policy("event_triggers:list", Who.OWNER, ("GET /v2/event_triggers",)),
    Policy("event_triggers:list:all_projects", Who.ADMIN, ("GET /v2/event_triggers",), When.ALL_PROJECTS),
    Policy("event_triggers:update", Who.OWNER, ("PUT /v2/event_triggers/{}",)),
    Policy(
        "event_triggers:publicize", Who.ADMIN, ("POST /v2/event_triggers", "PUT /v2/event_triggers/{}"), When.PUBLIC
    ),
    # Signed URLs: who may change the object may issue and revoke them, whoever holds one may call it.
    Policy(
        "webhooks:issue",
        Who.OWNER,
        ("POST /v2/action_executions/{}/webhook", "POST /v2/event_triggers/{}/webhook"),
    ),
    Policy(
        "webhooks:revoke",
        Who.OWNER,
        ("DELETE /v2/action_executions/{}/webhook", "DELETE /v2/event_triggers/{}/webhook"),
    ),
    Policy("webhooks:call", Who.ANYONE, ("GET /v2/webhooks/{}", "POST /v2/webhooks/{}")),
    Policy("environments:create", Who.OWNER, ("POST /v2/environments",)),
    Policy("environments:delete", Who.OWNER, ("DELETE /v2/environments/{}",)),
    Policy("environments:get", Who.OWNER, ("GET /v2/environments/{}",)),
    Policy("environments:list", Who.OWNER, ("GET /v2/environments",)),
    Policy("environments:update", Who.OWNER, ("PUT /v2/environments",)),
    Policy("environments:publicize", Who.ADMIN, ("POST /v2/environments", "PUT /v2/environments"), When.PUBLIC),
    Policy("code_sources:create", Who.ADMIN, ("POST /v2/code_sources",)),
    Policy("code_sources:delete", Who.ADMIN, ("DELETE /v2/code_sources/{}",)),
    Policy("code_sources:get", Who.ADMIN, ("GET /v2/code_sources/{}",)),
    Policy("code_sources:list", Who.ADMIN, ("GET /v2/code_sources",)),
    Policy("code_sources:update", Who.ADMIN, ("PUT /v2/code_sources", "PUT /v2/code_sources/{}")),
    Policy(
        "code_sources:publicize",
        Who.ADMIN,
        ("POST /v2/code_sources", "PUT /v2/code_sources", "PUT /v2/code_sources/{}"),
        When.PUBLIC,
    ),
    Policy("dynamic_actions:create", Who.ADMIN, ("POST /v2/dynamic_actions",)),
    Policy("dynamic_actions:delete", Who.ADMIN, ("DELETE /v2/dynamic_actions/{}",)),
    Policy("dynamic_actions:get", Who.ADMIN, ("GET /v2/dynamic_actions/{}",)),
    Policy("dynamic_actions:list", Who.ADMIN, ("GET /v2/dynamic_actions",)),
    Policy("dynamic_actions:update", Who.ADMIN, ("PUT /v2/dynamic_actions",)),
    Policy(
        "dynamic_actions:publicize", Who.ADMIN, ("POST /v2/dynamic_actions", "PUT /v2/dynamic_actions"), When.PUBLIC
    ),
    Policy("healthcheck:get", Who.ANYONE, ("GET /healthcheck",)),
    Policy("maintenance:get", Who.OWNER, ("GET /maintenance",)),
    Policy("maintenance:update", Who.ADMIN, ("PUT /maintenance",)),
)


def _by_route() -> dict[str, tuple[Policy, ...]]:
    found: dict[str, tuple[Policy, ...]] = {}
    for policy in POLICIES:
        for route in policy.routes:
            found[route] = (*found.get(route, ()), policy)
    return found


_OF_ROUTE: Final = _by_route()


def policies_of(method: str, path: str) -> tuple[Policy, ...]:
    """The rules of a route, the one that always holds first; none for a route that the table does not name."""
    parts = ("{}" if part.startswith("{") else part for part in path.split("/"))
    return _OF_ROUTE.get(f"{method} {'/'.join(parts)}", ())


def demand(method: str, path: str, caller: Caller, query: Mapping[str, str], body: bytes) -> None:
    """Refuse what the rules of a route forbid this caller. What browsers ask first (OPTIONS) needs no rule.

    Raises NotAllowedException, InputException for a flag that is none.
    """
    if method == "OPTIONS":
        return
    policies = policies_of(method, path)
    if not policies:
        raise NotAllowedException(f"{FORBIDDEN}: no policy names {method} {path}.")
    for policy in policies:
        if policy.who is Who.ADMIN and not caller.is_admin and _is_about(policy.when, query, body):
            raise NotAllowedException(FORBIDDEN)


def _is_about(when: When, query: Mapping[str, str], body: bytes) -> bool:
    match when:
        case When.ALWAYS:
            return True
        case When.PUBLIC:
            return query.get("scope") == "public" or _attribute(body, "scope") == "public"
        case When.ALL_PROJECTS:
            return _all_projects(query)
        case When.OTHER_PROJECTS:
            return bool(query.get("project_id")) or _all_projects(query)


def _all_projects(query: Mapping[str, str]) -> bool:
    return to_boolean("all_projects", query.get("all_projects", ""))


def _attribute(body: bytes, name: str) -> Json:
    """An attribute of a JSON body; what is no such body is refused later, in the words of its endpoint."""
    if not body.lstrip().startswith(b"{"):
        return None
    try:
        values = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return values.get(name) if isinstance(values, dict) else None
