"""What issuers of tokens publish, fetched over HTTPS: bounded in time and bytes, without redirects and proxies."""

from __future__ import annotations

import json
from threading import Lock
from urllib.parse import urlsplit

import urllib3

from chalicelib import limits
from chalicelib.errors import IdentityUnavailableException, NotFoundException
from chalicelib.vocabulary import Json


class JsonFetcher:
    """Calls with an address, gives the JSON that is there. ``allows_http``: for issuers on this machine."""

    def __init__(self, *, allows_http: bool = False) -> None:
        self._schemes = ("https", "http") if allows_http else ("https",)
        self._pool: urllib3.PoolManager | None = None
        self._lock = Lock()

    def __call__(self, address: str) -> Json:
        """The JSON at an address.

        Raises NotFoundException when there is none of that name, IdentityUnavailableException for all that may pass.
        """
        if urlsplit(address).scheme not in self._schemes:
            raise IdentityUnavailableException(f"{address} is not https.")
        try:
            response = self._connections().request(
                "GET",
                address,
                headers={"Accept": "application/json"},
                timeout=limits.KEY_SET_TIMEOUT_SEC,
                retries=False,
                redirect=False,
                preload_content=False,
            )
            try:
                data = response.read(limits.KEY_SET_BYTES_MAX + 1)
            finally:
                response.release_conn()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise IdentityUnavailableException(f"{address} cannot be reached: {error}") from error
        if response.status == 404:
            raise NotFoundException(f"There is nothing at {address}.")
        if response.status != 200 or len(data) > limits.KEY_SET_BYTES_MAX:
            raise IdentityUnavailableException(f"{address} answers {response.status} with {len(data)} bytes.")
        try:
            found: Json = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise IdentityUnavailableException(f"{address} answers no JSON.") from error
        return found

    def _connections(self) -> urllib3.PoolManager:
        with self._lock:
            if self._pool is None:
                self._pool = urllib3.PoolManager(num_pools=4, maxsize=2)
            return self._pool
