"""Tokens: those of issuers that are believed, verified by their public keys, and the short-lived ones of our own.

Loaded on first use only: PyJWT and its cryptography are no small import, and most doors never see a token.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any, Final

import jwt

from chalicelib import limits
from chalicelib.data import dataclass
from chalicelib.errors import IdentityUnavailableException, MistralError, NotFoundException, UnauthorizedException
from chalicelib.services.auth_settings import Issuer
from chalicelib.services.ports import Clock, FetchJson
from chalicelib.services.rates import Buckets, Rate
from chalicelib.vocabulary import Json

OWN_ISSUER: Final = "urn:mistral-serverless"
_OWN_ALGORITHM: Final = "HS256"
_REQUIRED: Final = ["exp", "iss"]
_STRICT: Final[Any] = {"require": _REQUIRED, "enforce_minimum_key_length": True}
# Of issuers the audience is checked apart: some tell it in another claim.
_WITHOUT_AUDIENCE: Final[Any] = _STRICT | {"verify_aud": False}


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says, verified, and whom it comes from; ``issuer`` ``None``: from us."""

    issuer: Issuer | None
    values: Mapping[str, Json]
    expires_at: float


@dataclass(frozen=True, slots=True)
class _KeySet:
    keys: tuple[Mapping[str, Any], ...]
    fetched_at: float


class KeySets:
    """The public keys of issuers, kept for a while and fetched again when a token names one that is not there."""

    def __init__(self, fetch: FetchJson, clock: Clock) -> None:
        self._fetch = fetch
        self._clock = clock
        self._sets: dict[str, _KeySet] = {}
        self._asked: dict[str, float] = {}
        self._lock = Lock()
        # Whoever makes up realms or keys shall not make us a burden to their issuer.
        self._fetches = Buckets(Rate(limits.KEY_SET_FETCHES_PER_SEC, limits.KEY_SET_FETCHES_BURST), clock)

    def key(self, issuer: Issuer, name: str, header: Mapping[str, Any]) -> jwt.PyJWK:
        """The key that signed, by the header of a token of the issuer called ``name``.

        Raises UnauthorizedException when the issuer has no such key, IdentityUnavailableException when nobody can tell.
        """
        with self._lock:  # one fetch at a time; the others find what it brought
            known = self._sets.get(name)
            age_sec = float("inf") if known is None else self._clock.now() - known.fetched_at
            found = None if known is None else _chosen(known.keys, header)
            if found is None or age_sec > limits.KEY_SET_CACHED_SEC:
                known = self._renewed(issuer, name, known, age_sec)
                found = _chosen(known.keys, header)
        if found is None:
            raise UnauthorizedException("The token is signed by a key that its issuer does not have (any more).")
        try:
            return jwt.PyJWK(dict(found), algorithm=header["alg"])
        except (jwt.PyJWTError, KeyError, TypeError, ValueError) as error:
            raise UnauthorizedException(f"The issuer's key is of no use for this token: {error}") from error

    def _renewed(self, issuer: Issuer, name: str, known: _KeySet | None, age_sec: float) -> _KeySet:
        """The keys as the issuer tells them now; the known ones if it was asked just now, or cannot be reached."""
        now = self._clock.now()
        is_usable = known is not None and age_sec <= limits.KEY_SET_STALE_SEC
        if now - self._asked.get(name, float("-inf")) < limits.KEY_SET_PAUSE_SEC or self._fetches.take("") > 0:
            if known is not None and is_usable:
                return known
            raise IdentityUnavailableException("The keys of the token's issuer cannot be had at the moment.")
        if len(self._sets) >= limits.KEY_SETS_CACHED_MAX or len(self._asked) >= limits.KEY_SETS_CACHED_MAX:
            self._sets.clear()
            self._asked.clear()
        self._asked[name] = now
        try:
            keys = self._told(issuer, name)
        except NotFoundException as error:
            raise UnauthorizedException("The issuer of the token does not exist.") from error
        except IdentityUnavailableException:
            if known is not None and is_usable:
                return known
            raise
        self._sets[name] = _KeySet(keys, now)
        return self._sets[name]

    def _told(self, issuer: Issuer, name: str) -> tuple[Mapping[str, Any], ...]:
        address = issuer.jwks_uri
        if address is None:
            about = self._fetch(f"{name.rstrip('/')}/.well-known/openid-configuration")
            told = about.get("jwks_uri") if isinstance(about, dict) and about.get("issuer") == name else None
            if not isinstance(told, str):
                raise IdentityUnavailableException(f"{name} does not say where its keys are.")
            address = told
        answer = self._fetch(address)
        keys = answer.get("keys") if isinstance(answer, dict) else None
        if not isinstance(keys, list) or len(keys) > limits.KEYS_PER_SET_MAX:
            raise IdentityUnavailableException(f"{address} is no set of keys.")
        return tuple(key for key in keys if isinstance(key, dict) and _is_public(key))


def _is_public(key: Mapping[str, Any]) -> bool:
    return key.get("kty") in ("RSA", "EC", "OKP") and key.get("use", "sig") == "sig"


def _chosen(keys: tuple[Mapping[str, Any], ...], header: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The key of that id; without an id, the only one there is."""
    kid = header.get("kid")
    fitting = [
        key for key in keys if key.get("alg", header["alg"]) == header["alg"] and (kid is None or key.get("kid") == kid)
    ]
    return fitting[0] if len(fitting) == 1 or (fitting and kid is not None) else None


class Tokens:
    """Verifies tokens, and makes our own. ``secret`` gives the texts that sign those, the current one first."""

    def __init__(self, issuers: tuple[Issuer, ...], keys: KeySets, secret: Callable[[], str], clock: Clock) -> None:
        self._issuers = issuers
        self._keys = keys
        self._secret = secret
        self._clock = clock
        self._secrets: dict[str, str] = {}
        self._secrets_read_at = float("-inf")

    def issue(self, subject: str, identifier: str, *, issued_at: int, expires_at: int) -> str:
        """A token of our own for an API key."""
        name, secret = next(iter(self._known_secrets().items()))
        claims = {
            "iss": OWN_ISSUER,
            "aud": OWN_ISSUER,
            "sub": subject,
            "jti": identifier,
            "iat": issued_at,
            "nbf": issued_at,
            "exp": expires_at,
        }
        return jwt.encode(claims, secret, algorithm=_OWN_ALGORITHM, headers={"kid": name})

    def verified(self, token: str) -> Claims:
        """What a token says, if it is to be believed.

        Raises UnauthorizedException, with the reason; IdentityUnavailableException when its issuer cannot be asked.
        """
        if len(token) > limits.TOKEN_CHARACTERS_MAX:
            raise UnauthorizedException(f"The token is longer than {limits.TOKEN_CHARACTERS_MAX} characters.")
        try:
            # Unverified: it says only which key to verify with, and that among those which the settings allow.
            loose = jwt.decode_complete(token, options={"verify_signature": False})
            header, name = loose["header"], loose["payload"].get("iss")
            if name == OWN_ISSUER:
                return self._own(token, header)
            return self._foreign(token, header, name)
        except jwt.PyJWTError as error:
            raise UnauthorizedException(f"The token is not valid: {error}") from error
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            raise UnauthorizedException("The token is not valid: it cannot be read.") from error

    def _own(self, token: str, header: Mapping[str, Any]) -> Claims:
        secret = self._known_secrets().get(str(header.get("kid"))) or self._reread_secrets().get(str(header.get("kid")))
        if secret is None:
            raise UnauthorizedException("The token was signed with a secret that is no longer in use; log in again.")
        values = jwt.decode(
            token,
            secret,
            algorithms=[_OWN_ALGORITHM],
            issuer=OWN_ISSUER,
            audience=OWN_ISSUER,
            leeway=limits.TOKEN_LEEWAY_SEC,
            options=_STRICT,
        )
        return Claims(None, values, float(values["exp"]))

    def _foreign(self, token: str, header: Mapping[str, Any], name: object) -> Claims:
        issuer = next((one for one in self._issuers if isinstance(name, str) and one.covers(name)), None)
        if issuer is None or not isinstance(name, str):
            raise UnauthorizedException("The token comes from an issuer that this service does not know.")
        if header.get("alg") not in issuer.algorithms:
            raise UnauthorizedException("The token is signed in a way that is not allowed.")
        values = jwt.decode(
            token,
            self._keys.key(issuer, name, header),
            algorithms=list(issuer.algorithms),
            issuer=name,
            leeway=limits.TOKEN_LEEWAY_SEC,
            options=_WITHOUT_AUDIENCE,
        )
        _check_audience(issuer, values)
        return Claims(issuer, values, float(values["exp"]))

    def _known_secrets(self) -> dict[str, str]:
        return self._secrets or self._reread_secrets()

    def _reread_secrets(self) -> dict[str, str]:
        """The secrets by their names; read again when a token was signed with another, but not at every such token."""
        now = self._clock.now()
        if not 0 <= now - self._secrets_read_at < limits.KEY_SET_PAUSE_SEC:
            texts = self._secret().split()
            if not texts or min(map(len, texts)) < limits.TOKEN_SECRET_CHARACTERS_MIN:
                raise MistralError(
                    f"The token secret is missing or shorter than {limits.TOKEN_SECRET_CHARACTERS_MIN} characters."
                )
            self._secrets = {hashlib.sha256(text.encode()).hexdigest()[:16]: text for text in texts}
            self._secrets_read_at = now
        return self._secrets


def _check_audience(issuer: Issuer, values: Mapping[str, Any]) -> None:
    """Raises UnauthorizedException unless the token is meant for this service: the first claim there is decides."""
    told = next((values[name] for name in issuer.audience_claims if values.get(name)), None)
    audiences = told if isinstance(told, list) else [told]
    if not set(issuer.audience).intersection(audience for audience in audiences if isinstance(audience, str)):
        raise UnauthorizedException("The token is meant for another service: its audience is not ours.")
