"""API keys: a name and a secret by which a program, or a person, acts for one project.

====================  ========  ==============================================================================
partition             key       item (table ``definitions``)
====================  ========  ==============================================================================
api-key#id            ``key``   the key with its roles and the hash of its secret; in the indexes of all keys
                                and of its project's
====================  ========  ==============================================================================
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from dataclasses import field
from threading import Lock
from typing import Final

from chalicelib import limits
from chalicelib.data import dataclass
from chalicelib.errors import InputException, NotFoundException, UnknownFormatError
from chalicelib.services.definition_records import escaped
from chalicelib.services.ports import (
    INDEX_LISTING,
    INDEX_WORKFLOW,
    Clock,
    Delete,
    Entropy,
    IndexKey,
    Item,
    Put,
    Table,
)

FORMAT_VERSION: Final = 1
ID_PREFIX: Final = "mk-"
_KEY: Final = "key"
_EVERYONES: Final = "api-keys"
# The secrets are 256 random bits, which nobody finds by trying: the hash need not be slow, only one-way.
_SCRYPT_COST: Final = 2**12
_ID: Final = re.compile(r"mk-[a-z2-7]{26}")
_ROLE: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}")


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One key. Times are seconds since the epoch; ``expires_at`` ``None``: until it is revoked."""

    id: str
    project_id: str
    roles: frozenset[str]
    description: str
    created_at: float
    expires_at: float | None
    salt: bytes = field(repr=False)
    digest: bytes = field(repr=False)
    cost: int = _SCRYPT_COST

    def is_expired(self, now: float) -> bool:
        """Whether its time is over."""
        return self.expires_at is not None and now >= self.expires_at

    def has_secret(self, secret: str) -> bool:
        """Whether this is its secret; takes the same time whether it is or not."""
        return hmac.compare_digest(_digest(secret, self.salt, self.cost), self.digest)


def check_project_id(project_id: str) -> str:
    """The project, if it can be one. Raises InputException."""
    if not 0 < len(project_id) <= limits.PROJECT_CHARACTERS_MAX or not project_id.isprintable():
        raise InputException(
            f"A project is 1 to {limits.PROJECT_CHARACTERS_MAX} printable characters, not {project_id[:100]!r}."
        )
    return project_id


def check_roles(roles: frozenset[str]) -> frozenset[str]:
    """The roles, if they can be some. Raises InputException."""
    for role in roles:
        if not _ROLE.fullmatch(role):
            raise InputException(f"A role is made of up to 64 letters, digits and _ . : -, not {role[:100]!r}.")
    if len(roles) > limits.ROLES_MAX:
        raise InputException(f"A key has at most {limits.ROLES_MAX} roles.")
    return roles


class ApiKeys:
    """Makes keys, lists and revokes them, and knows those that were used a moment ago."""

    def __init__(self, table: Table, clock: Clock, entropy: Entropy) -> None:
        self._table = table
        self._clock = clock
        self._entropy = entropy
        self._known: dict[str, tuple[ApiKey | None, float]] = {}
        self._proven: dict[tuple[str, bytes], bytes] = {}
        self._lock = Lock()

    def create(
        self, project_id: str, *, roles: frozenset[str] = frozenset(), description: str = "", days: int | None = None
    ) -> tuple[ApiKey, str]:
        """A new key, and its secret, which is shown now and never again. Raises InputException."""
        check_project_id(project_id)
        check_roles(roles)
        if len(description) > limits.API_KEY_DESCRIPTION_CHARACTERS_MAX:
            raise InputException(f"A description has at most {limits.API_KEY_DESCRIPTION_CHARACTERS_MAX} characters.")
        now = self._clock.now()
        salt = self._entropy.token()
        secret = self._secret()
        key = ApiKey(
            id=ID_PREFIX + base64.b32encode(self._entropy.token()).decode().lower().rstrip("="),
            project_id=project_id,
            roles=roles,
            description=description,
            created_at=now,
            expires_at=None if days is None else now + days * 86_400,
            salt=salt,
            digest=_digest(secret, salt, _SCRYPT_COST),
        )
        self._table.write([Put(_encode(key), expected=0)])
        return key, secret

    def _secret(self) -> str:
        """256 random bits as text. It never begins like an option, for people write it behind one in a shell."""
        while True:
            secret = base64.urlsafe_b64encode(self._entropy.token() + self._entropy.token()).decode().rstrip("=")
            if not secret.startswith("-"):
                return secret

    def all_of(self, project_id: str | None = None) -> list[ApiKey]:
        """The keys of a project, or of all, the oldest first; one that was made a moment ago may be missing."""
        index, value = (INDEX_WORKFLOW, _EVERYONES) if project_id is None else (INDEX_LISTING, _own_list(project_id))
        entries = self._table.list_index(index, value, limit=limits.API_KEYS_LISTED_MAX)
        found = self._table.get_many([(entry.partition, entry.key) for entry in entries], consistent=True)
        return sorted(map(_decode, found.values()), key=lambda key: (key.created_at, key.id))

    def revoke(self, key_id: str) -> None:
        """Remove a key; processes that know it forget it within ``API_KEY_CACHED_SEC``. Raises NotFoundException."""
        if self._read(key_id) is None:
            raise NotFoundException(f"There is no API key {key_id[:100]!r}; the list of keys names those that are.")
        self._table.write([Delete(_partition(key_id), _KEY)])
        with self._lock:
            self._known.pop(key_id, None)

    def find(self, key_id: str) -> ApiKey | None:
        """The key, unless it is revoked or its time is over; what was read less than a moment ago is not read again."""
        now = self._clock.now()
        with self._lock:
            known = self._known.get(key_id)
        if known is None or not 0 <= now - known[1] < limits.API_KEY_CACHED_SEC:
            known = self._read(key_id), now
            with self._lock:
                if len(self._known) >= limits.API_KEYS_CACHED_MAX:
                    self._known.clear()
                self._known[key_id] = known
        key = known[0]
        return None if key is None or key.is_expired(now) else key

    def proves(self, key: ApiKey, secret: str) -> bool:
        """Whether this is the key's secret. One that was right before costs a comparison only."""
        place = key.id, key.digest
        # Not the secret itself: what lies in memory for long should open nothing.
        seen = hashlib.sha256(key.salt + secret.encode("utf-8", "surrogatepass")).digest()
        with self._lock:
            proven = self._proven.get(place)
        if proven is not None and hmac.compare_digest(proven, seen):
            return True
        if not key.has_secret(secret):
            return False
        with self._lock:
            if len(self._proven) >= limits.API_KEYS_CACHED_MAX:
                self._proven.clear()
            self._proven[place] = seen
        return True

    def _read(self, key_id: str) -> ApiKey | None:
        if not _ID.fullmatch(key_id):
            return None
        item = self._table.get(_partition(key_id), [_KEY]).get(_KEY)
        return None if item is None else _decode(item)


def _digest(secret: str, salt: bytes, cost: int) -> bytes:
    return hashlib.scrypt(secret.encode("utf-8", "surrogatepass"), salt=salt, n=cost, r=8, p=1, dklen=32)


def _partition(key_id: str) -> str:
    return f"api-key#{key_id}"


def _own_list(project_id: str) -> str:
    return f"{_EVERYONES}#{escaped(project_id)}"


def _encode(key: ApiKey) -> Item:
    body = {
        "v": FORMAT_VERSION,
        "id": key.id,
        "project_id": key.project_id,
        "roles": sorted(key.roles),
        "description": key.description,
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "salt": key.salt.hex(),
        "digest": key.digest.hex(),
        "cost": key.cost,
    }
    sort = f"{key.created_at:020.6f}{key.id}"
    indexes = {
        INDEX_LISTING: IndexKey(_own_list(key.project_id), sort),
        INDEX_WORKFLOW: IndexKey(_EVERYONES, sort),
    }
    return Item(_partition(key.id), _KEY, json.dumps(body).encode(), revision=1, indexes=indexes)


def _decode(item: Item) -> ApiKey:
    data = json.loads(item.body)
    if data["v"] != FORMAT_VERSION:
        raise UnknownFormatError(f"API key {item.partition} has format {data['v']}, which this version cannot read.")
    return ApiKey(
        id=data["id"],
        project_id=data["project_id"],
        roles=frozenset(data["roles"]),
        description=data["description"],
        created_at=data["created_at"],
        expires_at=data["expires_at"],
        salt=bytes.fromhex(data["salt"]),
        digest=bytes.fromhex(data["digest"]),
        cost=data["cost"],
    )
