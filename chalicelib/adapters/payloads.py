"""``Payloads`` on S3, and a cache to stand before any of them."""

from __future__ import annotations

import time
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
# What is shared for a short time; the bucket deletes it after a day (infra/resources.py).
SHARED_PREFIX: Final = "shared/"
# Where a service that gives it out itself does so.
SHARED_PATH: Final = "/shared/"
NOT_SHARED: Final = "There is nothing here, or its time is over; ask the API again."
JSON_TYPE: Final = "application/json"
_UNTIL: Final = "until"
DELETE_BATCH_MAX: Final = 1000
DIGESTS_KNOWN_MAX: Final = 8192
CACHE_BYTES_MAX: Final = 64 * 1024 * 1024
MISSING_CODES: Final = frozenset({"NoSuchKey", "404"})


class S3Payloads(Payloads):
    """Payloads in one bucket, one object each.

    What this process has stored or read lately is not uploaded again. So a digest must not be deleted while another
    execution may still store it: make the digest depend on its owner.
    """

    def __init__(
        self, aws: Aws, bucket: str, *, digests_known_max: int = DIGESTS_KNOWN_MAX, shared_path: str | None = None
    ) -> None:
        self._aws = aws
        self._bucket = bucket
        self._shared_path = shared_path
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

    def delete_all(self, owner: str) -> None:
        """See ``Payloads``; ListObjectsV2 and DeleteObjects by thousands. Raises ClientError as ``delete``."""
        prefix = f"{KEY_PREFIX}{owner}/"
        pages = self._aws.client("s3").get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
        for page in pages:
            self.delete(found["Key"].removeprefix(KEY_PREFIX) for found in page.get("Contents", ()))

    def share(self, token: str, data: bytes, lifetime_sec: int) -> str:
        """See ``Payloads``; one PutObject. The address is a signed one of the bucket, unless there is a path for it."""
        s3, place = self._aws.client("s3"), {"Bucket": self._bucket, "Key": SHARED_PREFIX + token}
        until = {_UNTIL: str(int(time.time()) + lifetime_sec)}
        s3.put_object(**place, Body=data, ContentType=JSON_TYPE, CacheControl="private, no-store", Metadata=until)
        if self._shared_path is not None:
            return self._shared_path + token
        signed: str = s3.generate_presigned_url("get_object", Params=place, ExpiresIn=lifetime_sec)
        return signed

    def shared(self, token: str) -> bytes:
        """See ``Payloads``; one GetObject."""
        try:
            answer = self._aws.client("s3").get_object(Bucket=self._bucket, Key=SHARED_PREFIX + token)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in MISSING_CODES:
                raise NotFoundException(NOT_SHARED) from error
            raise
        with answer["Body"] as body:
            if int(answer["Metadata"].get(_UNTIL, "0")) <= time.time():
                raise NotFoundException(NOT_SHARED)
            return bytes(body.read())

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

    def delete_all(self, owner: str) -> None:
        """See ``Payloads``."""
        with self._lock:
            for digest in [digest for digest in self._kept if digest.startswith(f"{owner}/")]:
                self._bytes -= len(self._kept.pop(digest))
        self._source.delete_all(owner)

    def share(self, token: str, data: bytes, lifetime_sec: int) -> str:
        """See ``Payloads``; not cached, since it is read from elsewhere."""
        return self._source.share(token, data, lifetime_sec)

    def shared(self, token: str) -> bytes:
        """See ``Payloads``."""
        return self._source.shared(token)

    def _keep(self, digest: str, data: bytes) -> None:
        if len(data) > self._bytes_max:
            return
        with self._lock:
            self._bytes += len(data) - len(self._kept.pop(digest, b""))
            self._kept[digest] = bytes(data)
            while self._bytes > self._bytes_max:
                _, dropped = self._kept.popitem(last=False)
                self._bytes -= len(dropped)
