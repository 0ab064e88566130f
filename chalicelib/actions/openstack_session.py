"""The way to a cloud: whose credentials, which endpoint, and a session that keeps to the egress policy and the time.

The credentials are a secret of the project, as a cloud stands in ``clouds.yaml``: an object with ``auth`` and, at
will, ``auth_type``, ``region_name``, ``interface``, ``verify`` and ``cacert``. Only an executor can read it. The token
it brings is kept in this process, renewed before it expires, and never stored.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from chalicelib.actions.action import ActionContext
from chalicelib.actions.extras import missing_extra
from chalicelib.actions.http_transport import guarded_session
from chalicelib.data import dataclass
from chalicelib.errors import ActionException
from chalicelib.limits import (
    OPENSTACK_CALL_MAX_SEC,
    OPENSTACK_LOGINS_CACHED_MAX,
    SECRET_HIDDEN_CHARACTERS_MIN,
)
from chalicelib.vocabulary import JsonObject

# The secret of a project that holds the credentials.
CREDENTIALS: Final = "openstack"

_PROJECT: Final = ("project_id", "project_name", "project_domain_id", "project_domain_name")
_SCOPE: Final = (*_PROJECT, "domain_id", "domain_name", "system_scope", "trust_id")
_USER: Final = ("user_id", "username", "user_domain_id", "user_domain_name")
_SECRET_OF: Final = {
    "password": "password",
    "token": "token",
    "applicationcredential": "application_credential_secret",
}
# The ways to log in: the class in ``keystoneauth1.identity.v3``, and what it may be told.
_WAYS: Final = {
    "password": ("Password", (*_USER, *_SCOPE, "password")),
    "token": ("Token", (*_SCOPE, "token")),
    "applicationcredential": (
        "ApplicationCredential",
        (*_USER, "application_credential_id", "application_credential_name", "application_credential_secret"),
    ),
}
# No library takes a time of nothing.
_CALL_MIN_SEC: Final = 0.001
_INTERFACES: Final = ("public", "internal", "admin")
_CERTIFICATE: Final = "-----BEGIN CERTIFICATE-----"

# They would log what they send and receive, tokens and passwords among it.
for _name in ("keystoneauth", "novaclient", "cinderclient", "glanceclient", "heatclient", "neutronclient"):
    logging.getLogger(_name).setLevel(logging.INFO)
for _name in ("keystoneclient", "swiftclient"):
    logging.getLogger(_name).setLevel(logging.WARNING)


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a secret says of a cloud, checked."""

    auth_type: str
    auth: JsonObject
    region: str | None
    interface: str
    verify: bool | str

    @property
    def hidden(self) -> tuple[str, ...]:
        """What must not come out again."""
        values = (str(self.auth.get(name, "")) for name in _SECRET_OF.values())
        return tuple(value for value in values if len(value) >= SECRET_HIDDEN_CHARACTERS_MIN)

    @staticmethod
    def read(text: str) -> Credentials:
        """The credentials in a secret's text. Raises ActionException naming what is wrong, never a value."""
        try:
            cloud = json.loads(text)
        except (ValueError, RecursionError):
            cloud = None
        auth = cloud.get("auth") if isinstance(cloud, dict) else None
        if not isinstance(cloud, dict) or not isinstance(auth, dict):
            raise ActionException("the credentials are no JSON object with the key 'auth'")
        auth_type = _plain_type(cloud.get("auth_type"), auth)
        known = {"auth_url", *_WAYS[auth_type][1]}
        missing = sorted({"auth_url", _SECRET_OF[auth_type]} - auth.keys())
        if missing:
            raise ActionException(f"the credentials' auth lacks {' and '.join(missing)}")
        unknown = sorted(str(name) for name in auth if name not in known)
        if unknown:
            raise ActionException(f"the credentials' auth has unknown keys for {auth_type}: {', '.join(unknown)}")
        if not all(isinstance(value, str) for value in auth.values()):
            raise ActionException("the credentials' auth holds something else than text")
        interface = str(cloud.get("interface", "public")).removesuffix("URL")
        if interface not in _INTERFACES:
            raise ActionException(f"the credentials' interface is one of {', '.join(_INTERFACES)}")
        region = cloud.get("region_name")
        if region is not None and not isinstance(region, str):
            raise ActionException("the credentials' region_name must be text")
        return Credentials(auth_type, auth, region or None, interface, _verify(cloud))


def _plain_type(given: object, auth: JsonObject) -> str:
    if given is None:
        return "token" if "token" in auth else "password"
    plain = str(given).removeprefix("v3").replace("_", "")
    if plain not in _WAYS:
        raise ActionException(
            f"the credentials' auth_type is password, token or v3applicationcredential, not {str(given)[:40]!r}"
        )
    return plain


def _verify(cloud: JsonObject) -> bool | str:
    """Whether, or by which file, the cloud's certificates are checked."""
    certificates = cloud.get("cacert")
    if certificates is None:
        return cloud.get("verify") is not False
    if not isinstance(certificates, str) or not certificates.lstrip().startswith(_CERTIFICATE):
        raise ActionException("the credentials' cacert is the text of certificates in PEM form, no path")
    return _file_of(certificates)


def _file_of(text: str) -> str:
    """A file that holds the text; the same one for the same text."""
    digest = hashlib.sha256(text.encode()).hexdigest()
    path = Path(tempfile.gettempdir()) / f"mistral-cacert-{digest}.pem"
    if not path.is_file() or path.read_text("utf-8") != text:
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, delete=False) as file:
            file.write(text)
        Path(file.name).replace(path)
    return str(path)


@dataclass(frozen=True, slots=True)
class Cloud:
    """A cloud, ready for one action: ``session`` is a session of keystoneauth."""

    session: Any
    region: str | None = None
    interface: str = "public"
    hidden: tuple[str, ...] = ()
    is_nowhere: bool = False

    @classmethod
    def nowhere(cls) -> Cloud:
        """No cloud at all: for clients that are only looked at."""
        from keystoneauth1 import session, token_endpoint

        return cls(session.Session(auth=token_endpoint.Token("http://localhost", "none")), is_nowhere=True)

    def endpoint(self, types: Iterable[str], region: str | None) -> str:
        """The address of a service, by the first of its types that the catalogue has. Raises ActionException."""
        from keystoneauth1.exceptions import CatalogException

        region = region or self.region
        for service_type in types:
            with contextlib.suppress(CatalogException):
                found = self.session.get_endpoint(
                    service_type=service_type, interface=self.interface, region_name=region, skip_discovery=True
                )
                if found:
                    return str(found)
        where = f"in the region {region}" if region else "in any region"
        raise ActionException(
            f"the catalogue of the cloud has no {self.interface} endpoint of the service type "
            f"{' or '.join(types)} {where}"
        )


class Clouds:
    """Leads to the clouds of projects; may be shared between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._logins: OrderedDict[tuple[str | None, str], Any] = OrderedDict()

    def cloud(self, context: ActionContext) -> Cloud:
        """The cloud of the context's project. Raises ActionException."""
        try:
            from keystoneauth1 import session
        except ImportError as error:
            raise ActionException(missing_extra("openstack", "keystoneauth1")) from error

        if context.secrets is None:
            raise ActionException("credentials of a cloud can be read in an executor only")
        text = context.secrets.text(CREDENTIALS, context.project_id)
        credentials = Credentials.read(text)
        key = (context.project_id, hashlib.sha256(text.encode()).hexdigest())
        left_sec = OPENSTACK_CALL_MAX_SEC if context.deadline_sec is None else context.deadline_sec
        deadline_sec = max(min(left_sec, OPENSTACK_CALL_MAX_SEC), _CALL_MIN_SEC)
        way_out = guarded_session(policy=context.egress, deadline_sec=deadline_sec)
        return Cloud(
            session.Session(
                auth=self._login(key, credentials),
                session=way_out,
                verify=credentials.verify,
                timeout=deadline_sec,
                app_name="mistral-serverless",
            ),
            credentials.region,
            credentials.interface,
            credentials.hidden,
        )

    def _login(self, key: tuple[str | None, str], credentials: Credentials) -> Any:
        with self._lock:
            if key not in self._logins:
                self._logins[key] = _login(credentials)
                while len(self._logins) > OPENSTACK_LOGINS_CACHED_MAX:
                    self._logins.popitem(last=False)
            self._logins.move_to_end(key)
            return self._logins[key]


def _login(credentials: Credentials) -> Any:
    from keystoneauth1.identity import v3

    options = dict(credentials.auth)
    url = options.pop("auth_url")
    # As clouds are set up: who names a user or a project without its domain means the default one.
    for owner, name in (("user", "username"), ("project", "project_name")):
        if options.get(name) and not options.get(f"{owner}_domain_id") and not options.get(f"{owner}_domain_name"):
            options[f"{owner}_domain_id"] = "default"
    return getattr(v3, _WAYS[credentials.auth_type][0])(with_version_3(url), **options)


def with_version_3(url: str) -> str:
    """The address of Keystone's third version, whether or not the given one says it."""
    plain = url.rstrip("/")
    return plain if plain.endswith("/v3") else f"{plain.removesuffix('/v2.0')}/v3"
