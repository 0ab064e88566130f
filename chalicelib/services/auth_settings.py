"""Who may be believed: the schemes of a deployment, the issuers of its tokens, and what their claims mean."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import field, fields
from typing import Any, Final

from chalicelib import limits
from chalicelib.data import dataclass
from chalicelib.errors import MistralError
from chalicelib.vocabulary import JsonObject

NONE: Final = "none"
OIDC: Final = "oidc"
API_KEY: Final = "api-key"
KEYSTONE: Final = "keystone"
SCHEMES: Final = frozenset({OIDC, API_KEY, KEYSTONE})

# Signatures that a public key verifies. One that needs a shared secret is never accepted from an issuer: whoever knew
# its public key could make tokens.
ASYMMETRIC: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")

_REALMS: Final = "/realms/"
_ANY: Final = "*"
_REALM: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
_LOOPBACK: Final = re.compile(r"http://(127\.0\.0\.1|\[::1\]|localhost)(:\d+)?(/.*)?")


@dataclass(frozen=True, slots=True)
class Issuer:
    """One issuer of tokens, and how its claims are read.

    ``issuer`` may end in ``/realms/*``: then every realm of that Keycloak is an issuer, and a project. Claims are named
    as they stand in the token, or by a path with dots. ``project_claim`` ``None`` takes the realm in ``issuer``.
    ``project_prefix``: the project is the one entry of the claim that begins so, without it. Who has ``admin_role``
    is an admin of the whole service; ``None``: nobody.
    """

    issuer: str
    audience: tuple[str, ...]
    jwks_uri: str | None = None
    audience_claims: tuple[str, ...] = ("aud",)
    algorithms: tuple[str, ...] = ASYMMETRIC
    project_claim: str | None = None
    project_prefix: str = ""
    roles_claim: str = "roles"
    user_claim: str = "sub"
    admin_role: str | None = "admin"

    def covers(self, issuer: str) -> bool:
        """Whether a token that names this issuer is one of ours to verify."""
        if not self.issuer.endswith(_REALMS + _ANY):
            return issuer == self.issuer
        base = self.issuer.removesuffix(_ANY)
        return issuer.startswith(base) and _REALM.fullmatch(issuer.removeprefix(base)) is not None

    @staticmethod
    def from_json(told: Any) -> Issuer:
        """An issuer as the setting has it. Raises MistralError naming what makes no sense."""
        if not isinstance(told, dict):
            raise _wrong(f"an issuer is an object, not {told!r}")
        if unknown := told.keys() - {field.name for field in fields(Issuer)}:
            raise _wrong(f"an issuer has no {', '.join(sorted(unknown))}")
        issuer = told.get("issuer")
        if not isinstance(issuer, str) or not issuer:
            raise _wrong("an issuer needs `issuer`, the text of the claim `iss`")
        values = _usual(issuer) | {
            name: tuple([value] if isinstance(value, str) else value)
            if name in ("audience", "audience_claims", "algorithms") and isinstance(value, str | list)
            else value
            for name, value in told.items()
        }
        made = Issuer(**{"audience": (), **values})
        made._check()
        return made

    def _check(self) -> None:
        for name in ("audience", "audience_claims", "algorithms"):
            texts = getattr(self, name)
            if not isinstance(texts, tuple) or not texts or not all(isinstance(text, str) and text for text in texts):
                raise _wrong(f"issuer {self.issuer} needs `{name}`: a text or a list of texts")
        for name in ("jwks_uri", "project_claim", "project_prefix", "roles_claim", "user_claim", "admin_role"):
            if not isinstance(value := getattr(self, name), str | None):
                raise _wrong(f"`{name}` of issuer {self.issuer} is a text, not {value!r}")
        if refused := set(self.algorithms) - set(ASYMMETRIC):
            raise _wrong(f"issuer {self.issuer}: {', '.join(sorted(refused))} is refused; use one with a public key")
        if self.project_claim is None and _REALMS not in self.issuer:
            raise _wrong(f"issuer {self.issuer} needs `project_claim`: its address has no realm")
        if _ANY in self.issuer.removesuffix(_REALMS + _ANY):
            raise _wrong(f"issuer {self.issuer}: * stands only for a realm, at the end after /realms/")
        if self.jwks_uri is not None and self.issuer.endswith(_ANY):
            raise _wrong(f"issuer {self.issuer}: each realm has keys of its own, `jwks_uri` cannot be given")


def _usual(issuer: str) -> JsonObject:
    """What the claims of the usual issuers are called; the setting may say otherwise."""
    if _REALMS in issuer:
        # An administrator of one realm must not become one of all the others.
        admin_role = None if issuer.endswith(_ANY) else "admin"
        return {"roles_claim": "realm_access.roles", "admin_role": admin_role}
    if issuer.startswith("https://cognito-idp."):
        # Cognito's access tokens have no audience; they name the client.
        claims = ("aud", "client_id")
        return {
            "project_claim": "custom:project_id", "roles_claim": "cognito:groups", "audience_claims": claims,
        }  # fmt: skip
    return {"project_claim": "project_id"}


def _wrong(text: str) -> MistralError:
    return MistralError(f"MISTRAL_OIDC_ISSUERS: {text}.")


@dataclass(frozen=True, slots=True)
class AuthSettings:
    """How callers prove who they are, and how much they may ask for. Times in seconds.

    ``token_secret`` signs the tokens that this service gives out itself; several, separated by spaces, are a rotation:
    the first signs, all verify. Without it, it is read from the secret ``token_secret_id``.
    """

    auth: str = NONE
    oidc_issuers: tuple[Issuer, ...] = ()
    token_secret: str | None = field(default=None, repr=False)
    token_secret_id: str = "mistral-token-secret"  # noqa: S105 - the name of the secret
    token_lifetime_sec: int = limits.TOKEN_LIFETIME_SEC
    keystone_region: str = "RegionOne"
    rate_per_sec: float = 0.0
    rate_burst: int = 0

    @property
    def schemes(self) -> frozenset[str]:
        """What is accepted; nothing with ``none``."""
        return frozenset() if self.auth == NONE else frozenset(self.auth.split(","))

    @staticmethod
    def from_environment(environment: Mapping[str, str]) -> AuthSettings:
        """Read the settings. Raises MistralError naming one that makes no sense."""
        schemes = [scheme.strip() for scheme in environment.get("MISTRAL_AUTH", NONE).split(",")]
        if schemes != [NONE] and not SCHEMES.issuperset(schemes):
            raise MistralError(
                f"MISTRAL_AUTH is none, or some of {', '.join(sorted(SCHEMES))}; not {','.join(schemes)!r}."
            )
        per_sec = _amount(environment, "MISTRAL_RATE_PER_SEC")
        burst = _amount(environment, "MISTRAL_RATE_BURST")
        prefix = environment.get("MISTRAL_TABLE_PREFIX", "mistral-")
        settings = AuthSettings(
            auth=",".join(schemes),
            oidc_issuers=_issuers(environment.get("MISTRAL_OIDC_ISSUERS", "")),
            token_secret=environment.get("MISTRAL_TOKEN_SECRET") or None,
            token_secret_id=environment.get("MISTRAL_TOKEN_SECRET_ID") or f"{prefix}token-secret",
            token_lifetime_sec=_lifetime_sec(environment.get("MISTRAL_TOKEN_LIFETIME_SEC")),
            keystone_region=environment.get("MISTRAL_KEYSTONE_REGION") or "RegionOne",
            rate_per_sec=per_sec,
            rate_burst=int(burst) or max(1, int(2 * per_sec)) * (per_sec > 0),
        )
        settings._check(is_local=environment.get("MISTRAL_STAGE", "local") == "local")
        return settings

    def _check(self, *, is_local: bool) -> None:
        if OIDC in self.schemes and not self.oidc_issuers:
            raise MistralError("MISTRAL_AUTH=oidc needs MISTRAL_OIDC_ISSUERS: whose tokens are to be believed?")
        for issuer in self.oidc_issuers:
            for address in filter(None, (issuer.issuer, issuer.jwks_uri)):
                if not address.startswith("https://") and not (is_local and _LOOPBACK.fullmatch(address)):
                    raise _wrong(f"{address} is not https, so anybody on the way could hand us keys of their own")
        for secret in (self.token_secret or "").split():
            if len(secret) < limits.TOKEN_SECRET_CHARACTERS_MIN:
                raise MistralError(
                    f"MISTRAL_TOKEN_SECRET is shorter than {limits.TOKEN_SECRET_CHARACTERS_MIN} characters."
                )


def _issuers(text: str) -> tuple[Issuer, ...]:
    try:
        told = json.loads(text or "[]")
    except ValueError as error:
        raise _wrong(f"not JSON: {error}") from error
    if not isinstance(told, list) or len(told) > limits.OIDC_ISSUERS_MAX:
        raise _wrong(f"a list of at most {limits.OIDC_ISSUERS_MAX} issuers is expected")
    return tuple(map(Issuer.from_json, told))


def _amount(environment: Mapping[str, str], name: str) -> float:
    text = environment.get(name) or "0"
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= limits.RATE_MAX:
        raise MistralError(f"{name} is a number from 0 to {limits.RATE_MAX}, not {text!r}.")
    return number


def _lifetime_sec(text: str | None) -> int:
    told = text or str(limits.TOKEN_LIFETIME_SEC)
    if not told.isdecimal() or not 0 < int(told) <= limits.TOKEN_LIFETIME_MAX_SEC:
        raise MistralError(
            f"MISTRAL_TOKEN_LIFETIME_SEC is a whole number from 1 to {limits.TOKEN_LIFETIME_MAX_SEC}, not {told!r}."
        )
    return int(told)
