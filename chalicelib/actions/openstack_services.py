"""The services of OpenStack whose clients' methods are actions: how a client is made, and what counts as a method.

Nothing here imports a client before one is made. A name is that of OpenStack Mistral: the service, a point, and the
way to the method from the client, parts joined with ``_``.
"""

from __future__ import annotations

import inspect
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from types import FunctionType
from typing import Any, Final

from chalicelib.actions.openstack_session import Cloud, with_version_3
from chalicelib.data import dataclass
from chalicelib.limits import OPENSTACK_ENDPOINTS_CACHED_MAX
from chalicelib.vocabulary import JsonObject

# What clients have beside their managers, and managers beside what they do for a cloud.
_NO_MANAGERS: Final = frozenset({"adapter", "api_version", "client", "http_client", "httpclient", "logger", "session"})
_NO_ACTIONS: Final = frozenset(
    {
        "add_hook",
        "alternate_service_type",
        "build_key_only_query",
        "build_url",
        "completion_cache",
        "convert_into_with_meta",
        "run_hooks",
        "write_to_completion_cache",
    }
)
_NEUTRON_VERBS: Final = (
    "add_",
    "associate_",
    "bulk_",
    "connect_",
    "create_",
    "delete_",
    "disassociate_",
    "disconnect_",
    "firewall_",
    "get_lbaas_",
    "get_quotas_",
    "insert_",
    "list_",
    "remove_",
    "retrieve_pool_",
    "show_",
    "update_",
)
_SWIFT_VERBS: Final = ("copy_", "delete_", "get_", "head_", "post_", "put_")
_SWIFT_NO_ACTIONS: Final = frozenset({"get_auth", "get_service_auth"})


@dataclass(frozen=True, slots=True)
class Method:
    """One method of a client: the way to it, and the function that says its parameters."""

    path: str
    function: FunctionType
    # A method of several microversions: which parameters it takes is known only when it talks to its cloud.
    is_versioned: bool


@dataclass(frozen=True, slots=True)
class Service:
    """One service. ``package`` is what its client is imported from, ``types`` are its names in a cloud's catalogue."""

    namespace: str
    label: str
    package: str
    types: tuple[str, ...]
    connect: Callable[[Cloud, str], Any]
    has_region: bool = True
    # Managers behind managers.
    containers: tuple[str, ...] = ()
    # What an input needs more, by the client and the way to the method.
    completed: Callable[[Any, str, JsonObject], JsonObject] = lambda _client, _path, input: input
    # For a client whose own methods are the actions: which ones.
    own_method: Callable[[str], bool] | None = None

    @property
    def is_installed(self) -> bool:
        """Whether its client can be imported; nothing is imported to find out."""
        return find_spec(self.package) is not None

    def client(self, cloud: Cloud, region: str | None) -> Any:
        """A client for a region of a cloud. Raises ActionException where the cloud has no such service."""
        return self.connect(cloud, cloud.endpoint(self.types, region))

    def methods(self) -> dict[str, Method]:
        """All methods by the names of their actions; imports the client."""
        client = self.connect(Cloud.nowhere(), "http://localhost")
        if self.own_method is not None:
            own = _functions(type(client), self.own_method)
            return {f"{self.namespace}.{name}": _method(name, function) for name, function in own}
        return {
            f"{self.namespace}.{head}{name}_{function.__name__}": _method(f"{head}{name}.{function.__name__}", function)
            for head, name, manager in self._managers(client)
            for _, function in _functions(type(manager), lambda method: method not in _NO_ACTIONS)
        }

    def _managers(self, client: Any) -> Iterator[tuple[str, str, Any]]:
        for head, holder in (("", client), *((f"{name}.", getattr(client, name, None)) for name in self.containers)):
            for name, value in vars(holder).items() if holder is not None else ():
                is_ours = type(value).__module__.partition(".")[0] == self.package
                if is_ours and not name.startswith("_") and name not in _NO_MANAGERS:
                    yield head, name, value


def _functions(kind: type, wanted: Callable[[str], bool]) -> Iterator[tuple[str, FunctionType]]:
    for name in dir(kind):
        if name.startswith("_") or not wanted(name):
            continue
        found = inspect.getattr_static(kind, name)
        if isinstance(found, FunctionType):
            yield name, found


def _method(path: str, function: FunctionType) -> Method:
    return Method(path, function, is_versioned=getattr(function, "versioned", False))


class _Versions:
    """The newest microversion that a service and its client know, asked once for each endpoint."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[str, str] = OrderedDict()

    def of(self, endpoint: str, ask: Callable[[], str]) -> str:
        with self._lock:
            known = self._known.get(endpoint)
        if known is not None:
            return known
        version = ask()
        with self._lock:
            self._known[endpoint] = version
            while len(self._known) > OPENSTACK_ENDPOINTS_CACHED_MAX:
                self._known.popitem(last=False)
        return version


_versions: Final = _Versions()


def _nova(cloud: Cloud, endpoint: str) -> Any:
    from novaclient import api_versions, client

    def connect(version: str) -> Any:
        return client.Client(version, session=cloud.session, endpoint_override=endpoint)

    def newest() -> str:
        wanted = api_versions.APIVersion("2.latest")
        return str(api_versions.discover_version(connect("2.1"), wanted).get_string())

    return connect("2.1" if cloud.is_nowhere else _versions.of(endpoint, newest))


def _with_networks(client: Any, path: str, input: JsonObject) -> JsonObject:
    """A server without ``nics`` is on the project's network, as it was before Nova wanted that to be said."""
    from novaclient.api_versions import APIVersion

    if path != "servers.create" or input.get("nics") is not None or client.api_version < APIVersion("2.37"):
        return input
    return {**input, "nics": "auto"}


def _cinder(cloud: Cloud, endpoint: str) -> Any:
    from cinderclient import api_versions, client

    def connect(version: str) -> Any:
        return client.Client(version, session=cloud.session, endpoint_override=endpoint)

    def newest() -> str:
        wanted = api_versions.APIVersion(api_versions.MAX_VERSION)
        return str(api_versions.discover_version(connect("3.0"), wanted).get_string())

    return connect("3.0" if cloud.is_nowhere else _versions.of(endpoint, newest))


def _neutron(cloud: Cloud, endpoint: str) -> Any:
    # Each client warns that its Python binding will give way to another one some day; once is enough, in our documents.
    logging.getLogger("neutronclient.v2_0.client").setLevel(logging.ERROR)
    from neutronclient.v2_0 import client

    return client.Client(session=cloud.session, endpoint_override=endpoint.rstrip("/").removesuffix("/v2.0"))


def _glance(cloud: Cloud, endpoint: str) -> Any:
    from glanceclient import client

    return client.Client("2", endpoint=endpoint, session=cloud.session)


def _keystone(cloud: Cloud, endpoint: str) -> Any:
    from keystoneclient.v3 import client

    return client.Client(session=cloud.session, endpoint_override=with_version_3(endpoint))


def _heat(cloud: Cloud, endpoint: str) -> Any:
    from heatclient import client

    return client.Client("1", session=cloud.session, endpoint_override=endpoint)


def _swift(cloud: Cloud, endpoint: str) -> Any:
    from swiftclient import client

    class Connection(client.Connection):  # type: ignore[misc]
        """A connection that takes the way out which is ours."""

        def http_connection(self, url: str | None = None) -> tuple[Any, Any]:
            parsed, connection = super().http_connection(url)
            connection.request_session = cloud.session.session
            return parsed, connection

    # It asks once: a second time is the business of the workflow.
    return Connection(
        session=cloud.session,
        preauthurl=endpoint,
        preauthtoken=None if cloud.is_nowhere else cloud.session.get_token(),
        os_options={"object_storage_url": endpoint},
        retries=0,
        timeout=cloud.session.timeout,
        insecure=cloud.session.verify is False,
        cacert=cloud.session.verify if isinstance(cloud.session.verify, str) else None,
    )


SERVICES: Final = {
    service.namespace: service
    for service in (
        Service("cinder", "CinderAction", "cinderclient", ("block-storage", "volumev3", "block-store"), _cinder),
        Service("glance", "GlanceAction", "glanceclient", ("image",), _glance),
        Service("heat", "HeatAction", "heatclient", ("orchestration",), _heat),
        Service(
            "keystone",
            "KeystoneAction",
            "keystoneclient",
            ("identity",),
            _keystone,
            has_region=False,
            containers=("oauth1", "federation"),
        ),
        Service(
            "neutron",
            "NeutronAction",
            "neutronclient",
            ("network",),
            _neutron,
            own_method=lambda name: name.startswith(_NEUTRON_VERBS),
        ),
        Service("nova", "NovaAction", "novaclient", ("compute",), _nova, completed=_with_networks),
        Service(
            "swift",
            "SwiftAction",
            "swiftclient",
            ("object-store",),
            _swift,
            has_region=False,
            own_method=lambda name: name.startswith(_SWIFT_VERBS) and name not in _SWIFT_NO_ACTIONS,
        ),
    )
}
