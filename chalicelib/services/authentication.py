"""Who somebody is: from a token, or from an API key and its secret; and the logins that give out tokens."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from chalicelib import limits
from chalicelib.data import dataclass
from chalicelib.errors import InputException, RateLimitException, UnauthorizedException
from chalicelib.services.api_keys import ApiKey, ApiKeys, check_project_id
from chalicelib.services.auth_settings import API_KEY, KEYSTONE, OIDC, AuthSettings, Issuer
from chalicelib.services.ports import Clock, Entropy, FetchJson, ReadSecret, Table
from chalicelib.services.rates import Buckets, ProjectRates, Rate

if TYPE_CHECKING:
    from chalicelib.services.tokens import Tokens

_ADMIN: Final = "admin"
_NOBODY: Final = "The request carries no identity; send a valid X-Auth-Token."
_WRONG: Final = "The API key or its secret is wrong."


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody who has proven who they are. ``expires_at``: until when, in seconds since the epoch."""

    project_id: str
    user_id: str | None
    roles: frozenset[str]
    expires_at: float | None = None


@dataclass(frozen=True, slots=True)
class Grant:
    """What a login gives: a token, and whose it is. Times are seconds since the epoch."""

    token: str = field(repr=False)
    identity: Identity
    issued_at: float
    expires_at: float


class Authentication:
    """Proves identities. ``source`` is always the address that a request came from, as the platform tells it."""

    def __init__(
        self,
        settings: AuthSettings,
        keys: ApiKeys,
        table: Table,
        clock: Clock,
        entropy: Entropy,
        *,
        fetch: FetchJson,
        read_secret: ReadSecret,
    ) -> None:
        self.settings = settings
        self.keys = keys
        self._clock = clock
        self._entropy = entropy
        self._fetch = fetch
        self._read_secret = read_secret
        self._failures = Buckets(Rate(limits.LOGIN_FAILURES_PER_SEC, limits.LOGIN_FAILURES_BURST), clock)
        self._rates = (
            ProjectRates(Rate(settings.rate_per_sec, settings.rate_burst), table, clock)
            if settings.rate_per_sec
            else None
        )

    # -- requests

    def identify(self, headers: Mapping[str, str], source: str = "") -> Identity:
        """Whose request this is, by its headers (with lower-case names).

        Raises UnauthorizedException with the reason, RateLimitException after too many failures, and
        IdentityUnavailableException when the issuer of a token cannot be asked.
        """
        token = headers.get("x-auth-token", "").strip()
        if token:
            return self.of_token(token)
        scheme, _, credential = headers.get("authorization", "").strip().partition(" ")
        credential = credential.strip()
        if scheme.lower() == "bearer" and credential:
            return self.of_token(credential)
        if scheme.lower() == "basic" and API_KEY in self.settings.schemes:
            return _of_key(self._checked(*_name_and_secret(credential), source))
        raise UnauthorizedException(_NOBODY)

    def of_token(self, token: str) -> Identity:
        """Whose token this is. Raises as ``identify``."""
        if not self.settings.schemes & {OIDC, KEYSTONE}:
            raise UnauthorizedException("Tokens are not accepted here; send the API key as `Authorization: Basic`.")
        claims = self._tokens.verified(token)
        if claims.issuer is not None:
            if OIDC not in self.settings.schemes:
                raise UnauthorizedException("The token comes from an issuer that this service does not know.")
            return _of_claims(claims.issuer, claims.values, claims.expires_at)
        if KEYSTONE not in self.settings.schemes:
            raise UnauthorizedException("The token comes from an issuer that this service does not know.")
        key = self.keys.find(str(claims.values.get("sub")))
        if key is None:
            raise UnauthorizedException("The API key of this token was revoked, or its time is over.")
        return _of_key(key, claims.expires_at)

    def wait_sec(self, project_id: str) -> float:
        """Count a request of a project; 0, or how long it has to wait because there were too many."""
        return 0.0 if self._rates is None else self._rates.take(project_id)

    # -- logins

    def log_in(self, name: str, secret: str, source: str = "") -> Grant:
        """A token for an API key. Raises UnauthorizedException, RateLimitException."""
        key = self._checked(name, secret, source)
        issued_at = int(self._clock.now())
        expires_at = issued_at + self.settings.token_lifetime_sec
        if key.expires_at is not None:
            expires_at = min(expires_at, int(key.expires_at))
        token = self._tokens.issue(key.id, self._entropy.token().hex(), issued_at=issued_at, expires_at=expires_at)
        return Grant(token, _of_key(key, expires_at), issued_at, expires_at)

    def log_in_again(self, token: str) -> Grant:
        """The token itself, if it is valid; it lives no longer by this. Raises as ``identify``."""
        identity = self.of_token(token)
        now = self._clock.now()
        return Grant(token, identity, now, identity.expires_at or now)

    def _checked(self, name: str, secret: str, source: str) -> ApiKey:
        """The key, if the secret is its own. Failures are counted by key and source, successes are not."""
        key = self.keys.find(name)
        # What is no key cannot be guessed: one bucket for all of those of a source is enough.
        bucket = f"{'' if key is None else key.id}|{source}"
        wait_sec = self._failures.wait_sec(bucket)
        if wait_sec > 0:
            raise RateLimitException("Too many failed logins with this API key; wait before the next.", wait_sec)
        if key is None or len(secret) > limits.API_KEY_SECRET_CHARACTERS_MAX or not self.keys.proves(key, secret):
            self._failures.take(bucket)
            raise UnauthorizedException(_WRONG)
        return key

    @cached_property
    def _tokens(self) -> Tokens:
        # Here, so that no door pays for PyJWT and its cryptography which sees no token.
        from chalicelib.services.tokens import KeySets, Tokens

        return Tokens(self.settings.oidc_issuers, KeySets(self._fetch, self._clock), self._secret, self._clock)

    def _secret(self) -> str:
        return self.settings.token_secret or self._read_secret(self.settings.token_secret_id)


def _of_key(key: ApiKey, expires_at: float | None = None) -> Identity:
    return Identity(key.project_id, key.id, key.roles, expires_at)


def _of_claims(issuer: Issuer, values: Mapping[str, Any], expires_at: float) -> Identity:
    """Raises UnauthorizedException when the claims name no project."""
    roles = _texts(_claim(values, issuer.roles_claim))
    if issuer.admin_role != _ADMIN:
        # Somebody else's "admin" is no admin of ours.
        renamed = {_ADMIN} if issuer.admin_role is not None and issuer.admin_role in roles else set()
        roles = (roles - {_ADMIN}) | renamed
    user = _claim(values, issuer.user_claim)
    return Identity(_project(issuer, values), str(user) if user else None, frozenset(roles), expires_at)


def _project(issuer: Issuer, values: Mapping[str, Any]) -> str:
    if issuer.project_claim is None:
        candidates = {str(values["iss"]).rpartition("/realms/")[2]}
    else:
        candidates = _texts(_claim(values, issuer.project_claim))
    prefix = issuer.project_prefix
    candidates = {text.removeprefix(prefix) for text in candidates if text.startswith(prefix)} - {""}
    if len(candidates) != 1:
        found = "no project" if not candidates else "several projects"
        claim = "the issuer's realm" if issuer.project_claim is None else f"claim {issuer.project_claim}"
        raise UnauthorizedException(f"The token names {found}: {claim} has to name one.")
    try:
        return check_project_id(candidates.pop())
    except InputException as error:
        raise UnauthorizedException(error.message) from error


def _claim(values: Mapping[str, Any], name: str) -> Any:
    """A claim by its name; if there is none of that name, by a path with dots."""
    if name in values:
        return values[name]
    found: Any = values
    for part in name.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _texts(value: Any) -> set[str]:
    """The texts of a claim that is one or a list of them; a comma would part them again on their way to the door."""
    told = value if isinstance(value, list) else [value]
    texts = (text for text in told[: limits.ROLES_MAX] if isinstance(text, str))
    return {text for text in texts if text and "," not in text}


def _name_and_secret(credential: str) -> tuple[str, str]:
    try:
        name, colon, secret = base64.b64decode(credential, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        colon = name = secret = ""
    if not colon:
        raise UnauthorizedException("The Authorization header is no base64 of an API key, a colon and its secret.")
    return name, secret
