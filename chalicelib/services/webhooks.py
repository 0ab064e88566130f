"""Signed URLs: issued to a project, revoked by it, and admitted when somebody calls one.

A URL is checked by its signature alone before anything is read. Two small items in the table ``definitions`` belong to
each subject, both gone by themselves when they no longer matter:

==================================  ==================  ======================================================
partition                           key                 item
==================================  ==================  ======================================================
webhook#kind#id                     ``revoked``         when its URLs were revoked, all that existed by then
webhook#kind#id                     calls#minute        how many calls that minute has had: its revision
==================================  ==================  ======================================================
"""

from __future__ import annotations

from typing import Final

from chalicelib import limits
from chalicelib.data import dataclass
from chalicelib.errors import (
    ConflictException,
    GoneException,
    InputException,
    NotAllowedException,
    NotFoundException,
    TooManyRequestsException,
)
from chalicelib.expressions.webhook_tokens import Grant, Subject, WebhookSigner
from chalicelib.services.ports import Clock, Item, Put, Table

_REVOKED: Final = "revoked"
_MINUTE_SEC: Final = 60
_COUNTING_ATTEMPTS_MAX: Final = 10


@dataclass(frozen=True, slots=True)
class Issued:
    """A new URL, and when it ceases to work, in seconds since the epoch."""

    url: str
    expires_at: float


class Webhooks:
    """The signed URLs of all projects; without a signer there are none."""

    def __init__(self, table: Table, clock: Clock, signer: WebhookSigner | None = None) -> None:
        self._table = table
        self._clock = clock
        self._signer = signer

    @property
    def _signs(self) -> WebhookSigner:
        if self._signer is None:
            raise NotAllowedException("There are no webhooks here: the setting MISTRAL_WEBHOOK_SECRET has no value.")
        return self._signer

    def issue(self, subject: Subject, base_url: str, expires_sec: int | None = None) -> Issued:
        """A new URL. Raises InputException for an impossible life, NotAllowedException where webhooks are off."""
        signer = self._signs
        life_sec = limits.WEBHOOK_LIFE_SEC if expires_sec is None else expires_sec
        if not 1 <= life_sec <= limits.WEBHOOK_LIFE_MAX_SEC:
            raise InputException(
                f"expires_sec is a number of seconds from 1 to {limits.WEBHOOK_LIFE_MAX_SEC}, not {life_sec}."
            )
        # What was issued in the very moment of a revocation is revoked; this is issued after it.
        now = max(self._clock.now(), self._revoked_at(subject) + 0.001)
        grant = Grant(subject, now, now + life_sec)
        return Issued(signer.url(grant, signer.public_url or base_url), grant.expires_at)

    def revoke(self, subject: Subject) -> None:
        """No URL of this subject that exists by now works any more."""
        now = self._clock.now()
        expires = int(now) + limits.WEBHOOK_LIFE_MAX_SEC + 1
        item = Item(_partition(subject), _REVOKED, f"{now:.3f}".encode(), expires_at_sec=expires)
        self._table.write([Put(item)])

    def admit(self, token: str, *, counts: bool = True) -> Grant:
        """What the holder of a token may do now; ``counts`` says whether this is one of the calls of the minute.

        Raises NotFoundException for a token that was not signed here, GoneException for one that has expired or was
        revoked, TooManyRequestsException.
        """
        grant = None if self._signer is None else self._signer.read(token)
        if grant is None:
            raise NotFoundException("There is no such webhook.")
        now = self._clock.now()
        if now >= grant.expires_at:
            raise GoneException("This webhook has expired.")
        if counts:
            self._count(grant, int(now // _MINUTE_SEC))
        elif grant.issued_at <= self._revoked_at(grant.subject):
            raise _revoked()
        return grant

    def _count(self, grant: Grant, minute: int) -> None:
        partition, key = _partition(grant.subject), f"calls#{minute:012d}"
        for _ in range(_COUNTING_ATTEMPTS_MAX):
            found = self._table.get(partition, [_REVOKED, key])
            if grant.issued_at <= _moment_in(found.get(_REVOKED)):
                raise _revoked()
            calls = found[key].revision if key in found else 0
            if calls >= limits.WEBHOOK_CALLS_PER_MINUTE_MAX:
                break
            item = Item(partition, key, b"-", calls + 1, expires_at_sec=(minute + 2) * _MINUTE_SEC)
            try:
                self._table.write([Put(item, expected=calls)])
                return
            except ConflictException:
                continue
        raise TooManyRequestsException(
            f"A webhook may be called {limits.WEBHOOK_CALLS_PER_MINUTE_MAX} times a minute; try again in a minute."
        )

    def _revoked_at(self, subject: Subject) -> float:
        return _moment_in(self._table.get(_partition(subject), [_REVOKED]).get(_REVOKED))


def _partition(subject: Subject) -> str:
    return f"webhook#{subject.kind}#{subject.id}"


def _moment_in(item: Item | None) -> float:
    return 0.0 if item is None else float(item.body)


def _revoked() -> GoneException:
    return GoneException("This webhook was revoked.")
