"""Plain HTTP, as programs send it that know the API but no client library."""

import time
from typing import Any

import requests

WAIT_SEC = 60.0
COMPLETED = ("SUCCESS", "ERROR", "CANCELLED")
TIMEOUT_SEC = 30


class Caller(requests.Session):
    """A session on the API at an address that ends with ``/v2``."""

    def __init__(self, url: str, **headers: str) -> None:
        super().__init__()
        self.trust_env = False
        self.url = url
        self.headers.update({"X-Auth-Token": "", **headers})

    def ask(self, method: str, path: str, status: int, **options: Any) -> Any:
        """The JSON of an answer (``None`` for an empty one), which has to have this status."""
        response = self.request(method, f"{self.url}/{path}", timeout=TIMEOUT_SEC, **options)
        assert response.status_code == status, f"{method} {path}: {response.status_code} {response.text[:500]}"
        return response.json() if response.content else None

    def read(self, path: str, **query: Any) -> Any:
        """What GET answers when all is well."""
        return self.ask("GET", path, 200, params=query)

    def write(self, path: str, text: str, status: int = 201, method: str = "POST", **query: Any) -> Any:
        """Send a definition, as text."""
        return self.ask(method, path, status, data=text.encode(), params=query, headers={"Content-Type": "text/plain"})

    def make(self, path: str, status: int = 201, /, **attributes: Any) -> Any:
        """Send JSON to a collection."""
        return self.ask("POST", path, status, json=attributes)

    def change(self, path: str, status: int = 200, /, **attributes: Any) -> Any:
        """Send JSON to an object."""
        return self.ask("PUT", path, status, json=attributes)

    def remove(self, path: str, status: int = 204, **query: Any) -> Any:
        """Delete an object."""
        return self.ask("DELETE", path, status, params=query)

    def refused(self, method: str, path: str, status: int, **options: Any) -> str:
        """What a request that has to be refused is told."""
        fault = self.ask(method, path, status, **options)["faultstring"]
        assert isinstance(fault, str)
        return fault

    # -- what tests do again and again

    def workflow(self, name: str, body: str = "{tasks: {hello: {action: std.echo output='hi'}}}", **query: Any) -> Any:
        """Create one workflow."""
        [created] = self.write("workflows", f"version: '2.0'\n{name}: {body}\n", **query)["workflows"]
        return created

    def finished(self, workflow: str, **attributes: Any) -> Any:
        """Start a workflow and wait for its end."""
        return self.until(self.make("executions", workflow_name=workflow, **attributes)["id"])

    def until(self, execution_id: str, *expected: str) -> Any:
        """An execution when its state has become one of those expected; every look is a request, pause enough."""
        deadline_sec = time.monotonic() + WAIT_SEC
        while (execution := self.read(f"executions/{execution_id}"))["state"] not in (expected or COMPLETED):
            assert time.monotonic() < deadline_sec, execution["state"]
        return execution
