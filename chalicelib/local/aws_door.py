"""The emulated cloud for other processes: AWS requests by HTTP on a port of this machine.

The AWS command line, a worker or a script sets this endpoint, and sees the queues, secrets and buckets of the running
``mistral-local serve``. Requests need a signature, whoever made it: it names the service that they are for.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from http.client import responses
from typing import Any, Final
from urllib.parse import quote, unquote

from botocore.awsrequest import AWSPreparedRequest, HeadersDict
from moto.core.models import botocore_stubber
from waitress.server import create_server

from chalicelib import limits
from chalicelib.local.problems import LocalError

logger = logging.getLogger("mistral.local.aws")
_SCOPE: Final = re.compile(r"Credential=[^/]+/\d+/(?P<region>[\w-]+)/(?P<service>[\w-]+)/")
_THREADS: Final = 16
# What HTTP says about one hop is not handed on; the length is that of what is really sent.
_OF_THE_HOP: Final = frozenset({"connection", "transfer-encoding", "content-length", "date", "server"})

StartResponse = Callable[[str, list[tuple[str, str]]], Any]


def aws_application(environ: Mapping[str, Any], start_response: StartResponse) -> Iterable[bytes]:
    """A WSGI application that hands AWS requests to the emulator in this process."""
    scope = _SCOPE.search(unquote(environ.get("HTTP_AUTHORIZATION", "") + " " + _presigned(environ)))
    if scope is None:
        start_response("403 Forbidden", [("Content-Type", "text/plain")])
        return [b"This is an endpoint for AWS clients: the request is not signed.\n"]
    status, headers, body = _answer(environ, scope["service"], scope["region"])
    shown = [(name, value) for name, value in headers.items() if name.lower() not in _OF_THE_HOP]
    is_head = environ["REQUEST_METHOD"] == "HEAD"
    told = next((value for name, value in headers.items() if name.lower() == "content-length"), "0")
    shown.append(("Content-Length", told if is_head else str(len(body))))
    start_response(f"{status} {responses.get(status, 'Unknown')}", shown)
    return [] if is_head else [body]


def _presigned(environ: Mapping[str, Any]) -> str:
    return str(environ.get("QUERY_STRING", "")).replace("X-Amz-Credential=", "Credential=")


def _answer(environ: Mapping[str, Any], service: str, region: str) -> tuple[int, dict[str, str], bytes]:
    path = quote(environ.get("PATH_INFO", "/").encode("latin-1"), safe="/~")
    query = environ.get("QUERY_STRING", "")
    host = f"{service}.{region}.amazonaws.com"
    request = AWSPreparedRequest(
        method=environ["REQUEST_METHOD"],
        url=f"https://{host}{path}" + (f"?{query}" if query else ""),
        headers=HeadersDict({**_headers(environ), "Host": host}),
        body=environ["wsgi.input"].read(),
        stream_output=False,
    )
    try:
        answer = botocore_stubber(f"before-send.{service}", request)
    except Exception:
        logger.exception("The emulator failed at a request to %s", service)
        return 500, {}, b"The emulator failed; the log of mistral-local says more.\n"
    if answer is None:
        return 501, {}, f"There is no emulation of {service}.\n".encode()
    return answer.status_code, {str(name): str(value) for name, value in answer.headers.items()}, answer.content


def _headers(environ: Mapping[str, Any]) -> dict[str, str]:
    found = {
        name.removeprefix("HTTP_").replace("_", "-").title(): value
        for name, value in environ.items()
        if name.startswith("HTTP_")
    }
    for name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if environ.get(name):
            found[name.replace("_", "-").title()] = environ[name]
    return found


@contextmanager
def aws_served(host: str, port: int) -> Iterator[str]:
    """Serve the emulated cloud for the time of the block; its URL. Raises LocalError for a port that is not free."""
    try:
        server = create_server(
            aws_application,
            host=host,
            port=port,
            threads=_THREADS,
            max_request_body_size=limits.AWS_DOOR_REQUEST_BYTES_MAX,
            ident=None,
        )
    except OSError as error:
        raise LocalError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
    thread = threading.Thread(target=server.run, name="aws", daemon=True)
    thread.start()
    url = f"http://{server.effective_host}:{server.effective_port}"
    print(f"aws at {url}", flush=True)
    try:
        yield url
    finally:
        server.close()
        thread.join(1.0)
