"""The whole API behind the gateway and its authorizer: requests as a web server hands them on, status and JSON back."""

import io
import json
import time
from base64 import b64encode
from http.client import responses
from urllib.parse import urlsplit

import app as doors
from chalicelib.adapters.memory import ManualClock, MemoryPayloads, MemoryQueue, MemoryTable, SeededEntropy
from chalicelib.api.authorizer import answered
from chalicelib.api.http import ApiSettings, MistralApi, blueprint
from chalicelib.local.gateway import Gateway
from chalicelib.services.auth_settings import AuthSettings
from chalicelib.settings import Settings
from chalicelib.wiring import Ports, assemble
from tests.api.service_client import Reply
from tests.planted import MARK

SECRET = MARK * 6


def basic(key_id, secret):
    """The header of a key and its secret."""
    return {"authorization": "Basic " + b64encode(f"{key_id}:{secret}".encode()).decode()}


class Guarded:
    """The service with authentication, in memory, at this moment: PyJWT looks at the real clock."""

    def __init__(self, schemes="api-key,keystone", *, fetch=None, api=None, **settings):
        self.clock = ManualClock(time.time())
        ports = Ports(
            MemoryTable(), MemoryTable(), MemoryQueue(self.clock), MemoryPayloads(), self.clock, SeededEntropy(1)
        )
        auth = AuthSettings(auth=schemes, token_secret=SECRET, **settings)
        self.container = assemble(Settings(storage="memory", auth=schemes, authentication=auth), ports)
        api_settings = ApiSettings(auth=schemes, **(api or {}))
        services = doors.services_of(self.container, api_settings)
        self.routes = doors.all_routes(lambda: services)
        self.app = MistralApi("mistral", lambda: api_settings)
        identify = self.container.authentication.identify

        @self.app.authorizer(name="authorizer")
        def authorizer(request):
            return answered(request, identify)

        self.app.register_blueprint(blueprint("api", self.routes, lambda: services, authorizer=authorizer))
        self._gateway = Gateway(self.app, self.app.routes)

    def key(self, project_id, *roles, **more):
        """A new key of a project: its id and its secret."""
        key, secret = self.container.authentication.keys.create(project_id, roles=frozenset(roles), **more)
        return key.id, secret

    def ask(self, method, path, body=b"", *, source="192.0.2.1", **headers):
        """Send a request."""
        if isinstance(body, dict | list):
            body, headers = json.dumps(body).encode(), {"content-type": "application/json", **headers}
        body = body.encode() if isinstance(body, str) else body
        target, began = urlsplit(path), []
        environ = {
            "REQUEST_METHOD": method,
            "REQUEST_URI": path,
            "PATH_INFO": target.path,
            "QUERY_STRING": target.query,
            "CONTENT_LENGTH": str(len(body)),
            "CONTENT_TYPE": headers.pop("content-type", headers.pop("content_type", "")),
            "REMOTE_ADDR": source,
            "wsgi.input": io.BytesIO(body),
            **{
                f"HTTP_{name.upper().replace('-', '_')}": value
                for name, value in {"host": "mistral.test", **headers}.items()
            },
        }
        content = b"".join(self._gateway(environ, lambda status, told: began.append((status, told))))
        ((status, told),) = began
        assert status.split(" ", 1)[1] == responses[int(status[:3])]
        return Reply(int(status[:3]), json.loads(content) if content else None, dict(told))

    def log_in(self, name, secret, **scope):
        """A login as Keystone's clients do it."""
        user = {"name": name, "password": secret, "domain": {"id": "default"}}
        told = {"identity": {"methods": ["password"], "password": {"user": user}}, **scope}
        return self.ask("POST", "/v3/auth/tokens", {"auth": told})
