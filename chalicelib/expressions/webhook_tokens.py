"""Signed URLs: who holds one may do what it names, until it expires, and nothing else.

The law: a token is its claims and a signature over them; nothing of it is stored. Project, subject and times are
inside the signature. The first secret signs, all of them are accepted, so that a secret can be replaced.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from dataclasses import field
from enum import StrEnum
from typing import Final

from chalicelib.data import dataclass

_PURPOSE: Final = b"mistral webhook 1\0"
_TOKEN_CHARACTERS_MAX: Final = 2048
PATH: Final = "/v2/webhooks/"


class SubjectKind(StrEnum):
    """What a signed URL is for."""

    TRIGGER = "trigger"  # starts the workflow of an event-trigger
    ACTION = "action"  # completes an asynchronous action execution
    TASK = "task"  # completes the asynchronous action execution that runs for a task


@dataclass(frozen=True, slots=True)
class Subject:
    """What a signed URL is for, and whose it is."""

    kind: SubjectKind
    id: str
    project_id: str


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token says. Times in seconds since the epoch."""

    subject: Subject
    issued_at: float
    expires_at: float


@dataclass(frozen=True, slots=True)
class WebhookSigner:
    """Makes and reads tokens. ``public_url`` is how clients reach the service; without one URLs begin at the path."""

    secrets: tuple[str, ...] = field(repr=False)
    public_url: str = ""

    def token(self, grant: Grant) -> str:
        """The token of a grant."""
        subject = grant.subject
        issued_msec, expires_msec = round(grant.issued_at * 1000), round(grant.expires_at * 1000)
        claims = [subject.kind.value, subject.id, subject.project_id, issued_msec, expires_msec]
        body = json.dumps(claims, separators=(",", ":")).encode()
        return f"{_text(body)}.{_text(_signature(self.secrets[0], body))}"

    def url(self, grant: Grant, base_url: str | None = None) -> str:
        """The URL of a grant, under ``base_url`` if that is known better than by the settings."""
        return f"{self.public_url if base_url is None else base_url}{PATH}{self.token(grant)}"

    def read(self, token: str) -> Grant | None:
        """What a token grants, whether or not it has expired; ``None`` for one that this service did not sign."""
        if len(token) > _TOKEN_CHARACTERS_MAX:
            return None
        body_text, _, signature_text = token.partition(".")
        try:
            body, signature = _bytes(body_text), _bytes(signature_text)
        except (binascii.Error, ValueError):
            return None
        # Every secret is tried, whichever fits: the time taken tells nothing.
        fits = [hmac.compare_digest(signature, _signature(secret, body)) for secret in self.secrets]
        if True not in fits:
            return None
        kind, identifier, project_id, issued_msec, expires_msec = json.loads(body)
        return Grant(Subject(SubjectKind(kind), identifier, project_id), issued_msec / 1000, expires_msec / 1000)


def _signature(secret: str, body: bytes) -> bytes:
    return hmac.new(secret.encode(), _PURPOSE + body, hashlib.sha256).digest()


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _bytes(text: str) -> bytes:
    return base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
