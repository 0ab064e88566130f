"""``mistral-local serve``: the service with its HTTP API on one port of this machine."""

from __future__ import annotations

import argparse
import errno
import importlib
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from ipaddress import ip_address
from types import FrameType
from typing import Any, Final

from waitress.server import create_server

from chalicelib import limits
from chalicelib.local.events import EventEndpoint
from chalicelib.local.gateway import Gateway
from chalicelib.local.logs import complain, logging_to
from chalicelib.local.problems import LocalError
from chalicelib.local.service import MEMORY, MOTO, Options, Service, running
from chalicelib.services.api_keys import ApiKey
from chalicelib.services.auth_settings import API_KEY, KEYSTONE, NONE, AuthSettings

THREADS: Final = 16
KEEP_ALIVE_SEC: Final = 120
CONNECTIONS_MAX: Final = 500


class LateApplication:
    """A WSGI application that is known only after its port is ours."""

    def __init__(self) -> None:
        self.target: Callable[..., Any] | None = None

    def __call__(self, environ: Mapping[str, Any], start_response: Callable[..., Any]) -> Any:
        """Pass the request on."""
        assert self.target is not None, "the server runs only after the target is set"
        return self.target(environ, start_response)


def serve(arguments: argparse.Namespace) -> int:
    """Serve until a signal; the exit status of the process."""
    try:
        listener = _listen(arguments.host, arguments.port)
    except OSError as error:
        complain(_no_port(arguments, error))
        return 1
    with listener, logging_to(sys.stderr, "WARNING" if arguments.quiet else arguments.log_level.upper()):
        application = LateApplication()
        server = create_server(
            application,
            sockets=[listener],
            threads=THREADS,
            channel_timeout=KEEP_ALIVE_SEC,
            connection_limit=CONNECTIONS_MAX,
            # Ours answers what is too large in JSON; waitress only what is out of all proportion.
            max_request_body_size=4 * limits.REQUEST_BYTES_MAX,
            ident=None,
        )
        try:
            options = _options(arguments, listener)
            with running(options) as service:
                gateway = Gateway(service.app, service.routes, service.shared)
                application.target = EventEndpoint(service.events, gateway)
                _stop_at_signals(service)
                host, port = listener.getsockname()[:2]
                print(f"ready at http://{host}:{port}/v2 (storage {arguments.storage})", flush=True)
                _show_logins(options, f"http://{host}:{port}")
                with _aws_door(arguments, host):
                    server.run()  # returns after a signal, when its running requests have ended
        finally:
            server.close()
    return 0


def _aws_door(arguments: argparse.Namespace, host: str) -> AbstractContextManager[object]:
    """The emulated cloud for other processes, if it was asked for."""
    if arguments.aws_port is None:
        return nullcontext()
    if arguments.storage != MOTO:
        raise LocalError(f"--aws-port shares the emulated AWS of this process: there is none with {arguments.storage}")
    # The emulator comes along, which the other ways of serving do not need.
    door: AbstractContextManager[object] = importlib.import_module("chalicelib.local.aws_door").aws_served(
        host, arguments.aws_port
    )
    return door


def _options(arguments: argparse.Namespace, listener: socket.socket) -> Options:
    auth = arguments.auth or os.environ.get("MISTRAL_AUTH") or NONE
    host, port = listener.getsockname()[:2]
    return Options(
        arguments.storage,
        workers=arguments.workers,
        admin=arguments.admin,
        executors=not arguments.no_executors,
        auth=auth,
        time_scale=arguments.time_scale,
        # Who listens everywhere has no one address: URLs are then made of the address that a request came to.
        public_url="" if ip_address(host).is_unspecified else f"http://{f'[{host}]' if ':' in host else host}:{port}",
    )


def _show_logins(options: Options, base_url: str) -> None:
    """Make API keys to try the service with, where nothing outlives the process that could have made them before."""
    schemes = AuthSettings(options.auth).schemes
    if not schemes & {API_KEY, KEYSTONE} or options.storage not in (MOTO, MEMORY):
        return
    keys = importlib.import_module("chalicelib.wiring").container().authentication.keys
    for project_id, roles in (("demo", frozenset[str]()), ("admin", frozenset({"admin"}))):
        key, secret = keys.create(project_id, roles=roles, description="made by serve")
        print(f"# project {project_id}:\n{login_of(key, secret, base_url, schemes)}", flush=True)


def login_of(key: ApiKey, secret: str, base_url: str, schemes: frozenset[str]) -> str:
    """What a user types to be that key at the service of an address without path."""
    if KEYSTONE in schemes:
        who = f"OS_PROJECT_NAME={key.project_id} OS_USERNAME={key.id} OS_PASSWORD={secret}"
        return f"export OS_AUTH_URL={base_url}/v3 {who}"
    scheme, _, place = base_url.partition("://")
    return f"export OS_MISTRAL_URL={scheme}://{key.id}:{secret}@{place}/v2"


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family)


def _stop_at_signals(service: Service) -> None:
    """The first signal lets running work end, the next one does not wait."""

    def first(_number: int, _frame: FrameType | None) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, _frame: os._exit(128 + number))
        service.stop()
        raise SystemExit(0)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, first)


def _no_port(arguments: argparse.Namespace, error: OSError) -> str:
    address = f"{arguments.host}:{arguments.port}"
    if error.errno == errno.EADDRINUSE:
        return f"{address} is in use by another program; stop it, or choose another port with --port"
    return f"cannot listen on {address}: {error.strerror or error}"
