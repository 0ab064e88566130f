"""``mistral-local serve``: the service with its HTTP API on one port of this machine."""

from __future__ import annotations

import argparse
import errno
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any, Final

from waitress.server import create_server

from chalicelib import limits
from chalicelib.local.gateway import Gateway
from chalicelib.local.logs import complain, logging_to
from chalicelib.local.service import Options, Service, running

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
            with running(Options(arguments.storage, workers=arguments.workers)) as service:
                application.target = Gateway(service.app, service.routes)
                _stop_at_signals(service)
                host, port = listener.getsockname()[:2]
                print(f"ready at http://{host}:{port}/v2 (storage {arguments.storage})", flush=True)
                server.run()  # returns after a signal, when its running requests have ended
        finally:
            server.close()
    return 0


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
