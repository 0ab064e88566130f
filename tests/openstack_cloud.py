"""A small OpenStack on 127.0.0.1: Keystone v3, Nova v2.1, Neutron v2.0, Glance v2, Cinder v3, Heat v1 and Swift v1.

It speaks the protocols, so that OpenStack's own clients can be tested against it. A server is in BUILD for as many
looks as ``looks_until_active`` says.
"""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.planted import MARK

PROJECT_ID = "a1b2c3d4e5f64a7b8c9d0e1f2a3b4c5d"
PASSWORD = f"very-secret-{MARK}"
REGIONS = ("RegionOne", "RegionTwo")
Reply = tuple[int, Any]


@dataclass
class OpenStack:
    """The running cloud; tests look at it and change how it behaves."""

    url: str
    looks_until_active: int = 0
    quota: int = 10
    servers: dict[str, dict[str, Any]] = field(default_factory=dict)
    networks: dict[str, dict[str, Any]] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    tokens: list[str] = field(default_factory=list)
    revoked: set[str] = field(default_factory=set)
    seen: list[tuple[str, str]] = field(default_factory=list)
    is_silent: bool = False
    released: threading.Event = field(default_factory=threading.Event)

    def asked(self, method: str, ending: str) -> int:
        """How often something was asked for."""
        return sum(one == method and path.endswith(ending) for one, path in self.seen)

    def credentials(self, **changes: Any) -> dict[str, Any]:
        """The cloud as it stands in ``clouds.yaml``."""
        auth = {"auth_url": f"{self.url}/identity", "username": "demo", "password": PASSWORD, "project_name": "demo"}
        return {"auth": auth, "region_name": "RegionOne"} | changes


@contextmanager
def openstack(certificate: Path | None = None) -> Iterator[OpenStack]:
    """Serve until the block ends; over TLS with a certificate for ``localhost`` (a PEM file with its key)."""
    with _Service(("127.0.0.1", 0), _Handler) as service:
        address = f"http://127.0.0.1:{service.server_address[1]}"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            service.socket = context.wrap_socket(service.socket, server_side=True)
            address = f"https://localhost:{service.server_address[1]}"
        cloud = OpenStack(address)
        service.cloud = cloud  # type: ignore[attr-defined]
        thread = threading.Thread(target=service.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield cloud
        finally:
            cloud.released.set()
            service.shutdown()
            thread.join()


class _Service(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """A client that leaves is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    @property
    def cloud(self) -> OpenStack:
        return self.server.cloud  # type: ignore[attr-defined, no-any-return]

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""

    def _serve(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        if self.headers.get("Transfer-Encoding") == "chunked":
            self.raw = self._chunks()
        else:
            self.raw = self.rfile.read(length)
        path = urlsplit(self.path).path
        self.cloud.seen.append((self.command, path))
        if self.cloud.is_silent:
            self.cloud.released.wait(30)
            self.close_connection = True
            return
        service, _, rest = path.strip("/").partition("/")
        token = self.headers.get("X-Auth-Token", "")
        if service != "identity" and (token not in self.cloud.tokens or token in self.cloud.revoked):
            self._answer(401, {"error": {"code": 401, "message": "The request you have made requires authentication."}})
            return
        handler: Callable[[str, str], Reply] | None = getattr(self, f"_{service.replace('-', '_')}", None)
        status, body = handler(rest.removeprefix("RegionTwo/"), rest) if handler else (404, {"lost": path})
        self._answer(status, body)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_PATCH = _serve

    def _chunks(self) -> bytes:
        data = b""
        while size := int(self.rfile.readline(), 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return data

    @property
    def body(self) -> Any:
        return json.loads(self.raw)

    def _answer(self, status: int, body: Any, **headers: str) -> None:
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        kind = "application/octet-stream" if isinstance(body, bytes) else "application/json"
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("x-openstack-request-id", "req-11111111-2222-3333-4444-555555555555")
        for name, value in (headers | self.extra).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
        self.extra = {}

    extra: dict[str, str] = {}  # noqa: RUF012 - replaced, never changed

    # -- Keystone

    def _identity(self, path: str, _: str) -> Reply:
        if path == "v3/auth/tokens":
            return self._log_in()
        if self.headers.get("X-Auth-Token") not in self.cloud.tokens:
            return 401, {"error": {"code": 401, "message": "Please log in.", "title": "Unauthorized"}}
        if path == "v3/projects":
            return 200, {"projects": [{"id": PROJECT_ID, "name": "demo", "enabled": True}], "links": {"next": None}}
        return 404, {"error": {"code": 404, "message": f"Could not find {path}.", "title": "Not Found"}}

    def _log_in(self) -> Reply:
        identity = self.body["auth"]["identity"]
        given = {
            "password": lambda: identity["password"]["user"]["password"],
            "application_credential": lambda: identity["application_credential"]["secret"],
            "token": lambda: identity["token"]["id"],
        }[identity["methods"][0]]()
        if given != PASSWORD:
            return 401, {"error": {"code": 401, "message": "The request you have made requires authentication."}}
        self.cloud.tokens.append(f"token-{len(self.cloud.tokens)}")
        self.extra = {"X-Subject-Token": self.cloud.tokens[-1]}
        return 201, {
            "token": {
                "methods": identity["methods"],
                "user": {"id": "u1", "name": "demo", "domain": {"id": "default", "name": "Default"}},
                "project": {"id": PROJECT_ID, "name": "demo", "domain": {"id": "default", "name": "Default"}},
                "roles": [{"id": "r1", "name": "member"}],
                "issued_at": "2020-01-01T00:00:00.000000Z",
                "expires_at": "2999-01-01T00:00:00.000000Z",
                "catalog": [self._entry(kind, tail) for kind, tail in _CATALOGUE.items()],
            }
        }

    def _entry(self, kind: str, tail: str) -> dict[str, Any]:
        def url(region: str) -> str:
            service, _, rest = tail.partition("/")
            middle = "" if region == "RegionOne" else f"/{region}"
            return f"{self.cloud.url}/{service}{middle}" + (f"/{rest}" if rest else "")

        endpoints = [
            {"id": f"{kind}-{region}", "interface": "public", "region": region, "region_id": region, "url": url(region)}
            for region in REGIONS
        ]
        return {"id": kind, "type": kind, "name": kind, "endpoints": endpoints}

    # -- Nova

    def _compute(self, path: str, whole: str) -> Reply:
        servers = self.cloud.servers
        part = path.removeprefix("v2.1/")
        known = servers.get(part.partition("/")[2].partition("/")[0])
        match (self.command, part.split("/")):
            case ("GET", [""]) | ("GET", ["v2.1"]):
                current = {"id": "v2.1", "status": "CURRENT", "version": "2.96", "min_version": "2.1", "links": []}
                return 200, {"version": current} if part == "v2.1" else {"versions": [current]}
            case ("POST", ["servers"]):
                return self._boot(whole)
            case ("GET", ["servers", "detail"]):
                return 200, {"servers": [self._looked_at(server) for server in servers.values()]}
            case ("GET", ["servers", _]) if known is not None:
                return 200, {"server": self._looked_at(known)}
            case ("DELETE", ["servers", identifier]) if known is not None:
                del servers[identifier]
                return 204, None
        return 404, {"itemNotFound": {"code": 404, "message": "Instance could not be found."}}

    def _boot(self, whole: str) -> Reply:
        servers = self.cloud.servers
        if len(servers) >= self.cloud.quota:
            text = "Quota exceeded for instances: Requested 1, but already used 0 of 0 instances"
            return 403, {"forbidden": {"code": 403, "message": text}}
        asked = self.body["server"]
        identifier = f"00000000-0000-4000-8000-{len(servers):012}"
        servers[identifier] = {
            "id": identifier,
            "name": asked["name"],
            "image": {"id": asked["imageRef"]},
            "flavor": {"original_name": asked["flavorRef"]},
            "networks_asked": asked.get("networks"),
            "region": "RegionTwo" if whole.startswith("RegionTwo") else "RegionOne",
            "status": "BUILD",
            "looks": 0,
        }
        return 202, {"server": {"id": identifier, "adminPass": "x", "links": []}}

    def _looked_at(self, server: dict[str, Any]) -> dict[str, Any]:
        server["looks"] += 1
        server["status"] = "ACTIVE" if server["looks"] > self.cloud.looks_until_active else "BUILD"
        return server

    # -- the others

    def _network(self, path: str, _: str) -> Reply:
        networks = self.cloud.networks
        match (self.command, path.split("/")):
            case ("POST", ["v2.0", "networks"]):
                network = {"id": f"net-{len(networks)}", "status": "ACTIVE"} | self.body["network"]
                networks[network["id"]] = network
                return 201, {"network": network}
            case ("GET", ["v2.0", "networks"]):
                return 200, {"networks": list(networks.values())}
            case ("DELETE", ["v2.0", "networks", identifier]) if identifier in networks:
                del networks[identifier]
                return 204, None
        text = {"type": "NetworkNotFound", "message": f"Network {path.rpartition('/')[2]} could not be found."}
        return 404, {"NeutronError": text | {"detail": ""}}

    def _image(self, path: str, _: str) -> Reply:
        match (self.command, path):
            case ("GET", "v2/images"):
                images = [{"id": "img-1", "name": "cirros", "status": "active", "tags": [], "visibility": "public"}]
                return 200, {"images": images, "first": "/v2/images", "schema": "/v2/schemas/images"}
            case ("GET", "v2/schemas/image"):
                properties = {name: {"type": "string"} for name in ("id", "name", "status", "visibility")}
                return 200, {"name": "image", "properties": properties, "additionalProperties": True}
            case ("GET", "v2/images/img-1"):
                return 200, {"id": "img-1", "name": "cirros", "status": "active"}
            case ("GET", "v2/images/img-1/file"):
                return 200, b"\x00\x01image"
        return 404, {"message": "No image found"}

    def _volume(self, path: str, _: str) -> Reply:
        if path in ("", "v3", "v3/"):
            current = {"id": "v3.0", "status": "CURRENT", "version": "3.70", "min_version": "3.0", "links": []}
            return 200, {"versions": [current]}
        if self.command == "POST" and path == f"v3/{PROJECT_ID}/volumes":
            return 202, {"volume": {"id": "vol-1", "status": "creating"} | self.body["volume"]}
        return 404, {"itemNotFound": {"code": 404, "message": "Volume could not be found."}}

    def _orchestration(self, path: str, _: str) -> Reply:
        if self.command == "POST" and path == f"v1/{PROJECT_ID}/stacks":
            return 201, {"stack": {"id": "stack-1", "links": [], "name": self.body["stack_name"]}}
        return 404, {"code": 404, "error": {"message": "The Stack could not be found.", "type": "EntityNotFound"}}

    def _object_store(self, path: str, _: str) -> Reply:
        objects = self.cloud.objects
        match (self.command, path.split("/")):
            case ("PUT", ["v1", _, container, name]):
                objects[f"{container}/{name}"] = self.raw
                self.extra = {"etag": "abc"}
                return 201, None
            case ("GET", ["v1", _, container, name]) if f"{container}/{name}" in objects:
                return 200, objects[f"{container}/{name}"]
        return 404, None


_CATALOGUE = {
    "identity": "identity",
    "compute": "compute/v2.1",
    "network": "network",
    "image": "image",
    "volumev3": f"volume/v3/{PROJECT_ID}",
    "orchestration": f"orchestration/v1/{PROJECT_ID}",
    "object-store": f"object_store/v1/AUTH_{PROJECT_ID}",
}
