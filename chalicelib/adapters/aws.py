"""Where AWS is, and its clients: each made once, on first use, whatever the number of threads.

The clients come from botocore itself: ``boto3`` would give the same objects for more import time, which every cold
start pays.
"""

from __future__ import annotations

from threading import Lock
from typing import Any, Final

import botocore.session
from botocore.config import Config
from pynamodb.connection import Connection

CONNECT_TIMEOUT_SEC: Final = 2
READ_TIMEOUT_SEC: Final = 10
# An attempt and its repetitions, with botocore's jittered backoff between them.
ATTEMPTS_MAX: Final = 4
# More than the threads of any process here (the local service's doors: 16).
CONNECTIONS_MAX: Final = 32


class Aws:
    """The way to one region of AWS, or to an emulator of it. One per process, shared by every adapter."""

    def __init__(self, region: str, *, endpoint_url: str | None = None) -> None:
        self.region = region
        self.endpoint_url = endpoint_url
        self._lock = Lock()
        self._session: Any | None = None
        self._clients: dict[str, Any] = {}
        self._dynamodb: Connection | None = None

    def client(self, service: str) -> Any:
        """The botocore client of a service, for example ``"sqs"``."""
        with self._lock:  # neither botocore's sessions nor the making of clients is thread-safe; the clients are
            if service not in self._clients:
                self._clients[service] = self._new_client(service)
            return self._clients[service]

    def dynamodb(self) -> Connection:
        """PynamoDB's connection; every table of the process shares it, and so its pool and its credentials."""
        with self._lock:
            if self._dynamodb is None:
                self._dynamodb = self._new_connection()
            return self._dynamodb

    def _new_client(self, service: str) -> Any:
        if self._session is None:
            self._session = botocore.session.Session()
        config = Config(
            connect_timeout=CONNECT_TIMEOUT_SEC,
            read_timeout=READ_TIMEOUT_SEC,
            max_pool_connections=CONNECTIONS_MAX,
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS_MAX},
            # Signed addresses would else be of a kind that newer buckets refuse.
            signature_version="s3v4" if service == "s3" else None,
        )
        return self._session.create_client(service, self.region, endpoint_url=self.endpoint_url, config=config)

    def _new_connection(self) -> Connection:
        connection = Connection(
            region=self.region,
            host=self.endpoint_url,
            connect_timeout_seconds=CONNECT_TIMEOUT_SEC,
            read_timeout_seconds=READ_TIMEOUT_SEC,
            max_retry_attempts=ATTEMPTS_MAX - 1,
            max_pool_connections=CONNECTIONS_MAX,
        )
        _ = connection.client  # made on first access: here, under the lock
        return connection
