"""``mistral-local serve``: the service with its HTTP API on one port of this machine."""

from __future__ import annotations

import argparse
import errno
import os
import signal
import sys
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any, Final

from waitress.server import create_server

from chalicelib import limits
from chalicelib.local.gateway import Gateway
from chalicelib.local.logs import complain, log_to
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
    log_to(sys.stderr, "WARNING" if arguments.quiet else arguments.log_level.upper())
    application = LateApplication()
    try:
        server = create_server(
            application,
            host=arguments.host,
            port=arguments.port,
            threads=THREADS,
            channel_timeout=KEEP_ALIVE_SEC,
            connection_limit=CONNECTIONS_MAX,
            # Ours answers what is too large in JSON; waitress only what is out of all proportion.
            max_request_body_size=4 * limits.REQUEST_BYTES_MAX,
            ident=None,
        )
    except OSError as error:
        complain(_no_port(arguments, error))
        return 1
    try:
        with running(Options(arguments.storage, workers=arguments.workers)) as service:
            application.target = Gateway(service.app, service.routes)
            _stop_at_signals(service)
            url = f"http://{arguments.host}:{server.effective_port}/v2"
            print(f"ready at {url} (storage {arguments.storage})", flush=True)
            server.run()  # returns after a signal, when its running requests have ended
    finally:
        server.close()
    return 0


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
