"""``Payloads`` on S3, and a cache to stand before any of them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from threading import Lock
from typing import Final

from botocore.exceptions import ClientError

from chalicelib.adapters.aws import Aws
from chalicelib.adapters.bounds import chunks
from chalicelib.errors import NotFoundException
from chalicelib.services.ports import Payloads

KEY_PREFIX: Final = "payloads/"
DELETE_BATCH_MAX: Final = 1000
DIGESTS_KNOWN_MAX: Final = 8192
CACHE_BYTES_MAX: Final = 64 * 1024 * 1024
MISSING_CODES: Final = frozenset({"NoSuchKey", "404"})


class S3Payloads(Payloads):
    """Payloads in one bucket, one object each.

    What this process has stored or read lately is not uploaded again. So a digest must not be deleted while another
    execution may still store it: make the digest depend on its owner.
    """

    def __init__(self, aws: Aws, bucket: str, *, digests_known_max: int = DIGESTS_KNOWN_MAX) -> None:
        self._aws = aws
        self._bucket = bucket
        self._known: OrderedDict[str, None] = OrderedDict()
        self._known_max = digests_known_max
        self._lock = Lock()

    def put(self, digest: str, data: bytes) -> None:
        """See ``Payloads``; one PutObject, unless this process knows that the object is there."""
        with self._lock:
            if digest in self._known:
                self._known.move_to_end(digest)
                return
        self._aws.client("s3").put_object(Bucket=self._bucket, Key=KEY_PREFIX + digest, Body=data)
        self._remember(digest)

    def get(self, digest: str) -> bytes:
        """See ``Payloads``; one GetObject."""
        try:
            answer = self._aws.client("s3").get_object(Bucket=self._bucket, Key=KEY_PREFIX + digest)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in MISSING_CODES:
                raise NotFoundException(
                    f"There is no payload {digest}; it has been deleted or was never stored."
                ) from error
            raise
        with answer["Body"] as body:
            data = bytes(body.read())
        self._remember(digest)
        return data

    def delete(self, digests: Iterable[str]) -> None:
        """See ``Payloads``; DeleteObjects by thousands. Raises ClientError if S3 keeps any of them."""
        unwanted = list(dict.fromkeys(digests))
        with self._lock:
            for digest in unwanted:
                self._known.pop(digest, None)
        for batch in chunks(unwanted, DELETE_BATCH_MAX):
            objects = [{"Key": KEY_PREFIX + digest} for digest in batch]
            answer = self._aws.client("s3").delete_objects(
                Bucket=self._bucket, Delete={"Objects": objects, "Quiet": True}
            )
            if errors := answer.get("Errors"):
                raise ClientError({"Error": errors[0]}, "DeleteObjects")

    def _remember(self, digest: str) -> None:
        with self._lock:
            self._known[digest] = None
            self._known.move_to_end(digest)
            if len(self._known) > self._known_max:
                self._known.popitem(last=False)


class CachedPayloads(Payloads):
    """Keeps the latest payloads in memory, up to so many bytes; they are immutable, so a kept one is never wrong."""

    def __init__(self, source: Payloads, *, bytes_max: int = CACHE_BYTES_MAX) -> None:
        self._source = source
        self._bytes_max = bytes_max
        self._bytes = 0
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._lock = Lock()

    def put(self, digest: str, data: bytes) -> None:
        """See ``Payloads``; what is written is likely to be read soon, and is kept."""
        self._source.put(digest, data)
        self._keep(digest, data)

    def get(self, digest: str) -> bytes:
        """See ``Payloads``."""
        with self._lock:
            if digest in self._kept:
                self._kept.move_to_end(digest)
                return self._kept[digest]
        data = self._source.get(digest)
        self._keep(digest, data)
        return data

    def delete(self, digests: Iterable[str]) -> None:
        """See ``Payloads``."""
        unwanted = list(digests)
        with self._lock:
            for digest in unwanted:
                self._bytes -= len(self._kept.pop(digest, b""))
        self._source.delete(unwanted)

    def _keep(self, digest: str, data: bytes) -> None:
        if len(data) > self._bytes_max:
            return
        with self._lock:
            self._bytes += len(data) - len(self._kept.pop(digest, b""))
            self._kept[digest] = bytes(data)
            while self._bytes > self._bytes_max:
                _, dropped = self._kept.popitem(last=False)
                self._bytes -= len(dropped)
