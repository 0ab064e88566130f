"""What every ``Payloads`` promises, with and without the cache; and what the cache and the bucket add."""

from __future__ import annotations

from collections import Counter
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import pytest

from chalicelib.adapters.aws import Aws
from chalicelib.adapters.memory import MemoryPayloads
from chalicelib.adapters.payloads import CachedPayloads, S3Payloads
from chalicelib.errors import NotFoundException
from chalicelib.services.ports import Payloads

DIGEST = "ab" * 32


def a_bucket(aws: Aws) -> S3Payloads:
    bucket = f"payloads-{uuid4()}"
    aws.client("s3").create_bucket(Bucket=bucket)
    return S3Payloads(aws, bucket, digests_known_max=2)


@pytest.fixture(params=["memory", "moto", "cached memory", "cached moto"])
def payloads(request: pytest.FixtureRequest) -> Payloads:
    store = MemoryPayloads() if "memory" in request.param else a_bucket(request.getfixturevalue("moto"))
    return CachedPayloads(store) if "cached" in request.param else store


def test_a_payload_comes_back_byte_for_byte(payloads: Payloads):
    data = bytes(range(256)) * 5000
    payloads.put(DIGEST, data)
    payloads.put("empty", b"")
    assert payloads.get(DIGEST) == data
    assert payloads.get("empty") == b""


def test_storing_one_twice_is_harmless(payloads: Payloads):
    payloads.put(DIGEST, b"data")
    payloads.put(DIGEST, b"data")
    assert payloads.get(DIGEST) == b"data"


def test_an_unknown_payload_is_not_found(payloads: Payloads):
    with pytest.raises(NotFoundException, match=DIGEST):
        payloads.get(DIGEST)


def test_all_payloads_of_an_owner_are_deleted_and_no_others(payloads: Payloads):
    for number in range(1010 if isinstance(payloads, MemoryPayloads) else 12):
        payloads.put(f"owner/{number}/{DIGEST}", b"data")
    payloads.put(f"owner2/{DIGEST}", b"more")
    payloads.put(DIGEST, b"other")
    payloads.delete_all("owner")
    payloads.delete_all("nobody")
    for digest in (f"owner/0/{DIGEST}", f"owner/11/{DIGEST}"):
        with pytest.raises(NotFoundException):
            payloads.get(digest)
    assert payloads.get(f"owner2/{DIGEST}") == b"more"
    assert payloads.get(DIGEST) == b"other"


def test_a_deleted_payload_is_not_found_and_can_be_stored_again(payloads: Payloads):
    payloads.put(DIGEST, b"data")
    payloads.put("other", b"more")
    payloads.delete([DIGEST, DIGEST, "never"])
    with pytest.raises(NotFoundException):
        payloads.get(DIGEST)
    assert payloads.get("other") == b"more"
    payloads.put(DIGEST, b"data")
    assert payloads.get(DIGEST) == b"data"


def test_deleting_nothing_is_no_error(payloads: Payloads):
    payloads.delete([])


def test_what_is_shared_can_be_read_under_its_token_alone(payloads: Payloads):
    address = payloads.share("a-token", b'{"a": 1}', 60)
    assert "a-token" in address
    assert payloads.shared("a-token") == b'{"a": 1}'
    for unknown in (DIGEST, "another-token"):
        with pytest.raises(NotFoundException):
            payloads.shared(unknown)
    with pytest.raises(NotFoundException):
        payloads.get("a-token")


def test_what_is_shared_has_its_time(payloads: Payloads):
    payloads.share("a-token", b"{}", 0)
    with pytest.raises(NotFoundException, match="its time is over"):
        payloads.shared("a-token")


def test_the_bucket_gives_a_signed_address_unless_the_service_gives_it_out_itself(moto: Aws):
    address = urlsplit(a_bucket(moto).share("a-token", b"{}", 60))
    query = parse_qs(address.query)
    assert (address.scheme, address.path.endswith("/shared/a-token")) == ("https", True)
    assert query["X-Amz-Expires"] == ["60"]
    assert query["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]
    assert S3Payloads(moto, "payloads", shared_path="/here/")._shared_path == "/here/"


def test_more_payloads_than_one_request_holds_are_deleted(moto: Aws):
    payloads = a_bucket(moto)
    for number in range(3):
        payloads.put(f"{number:04}", b"x")
    payloads.delete(f"{number:04}" for number in range(1, 1500))
    assert payloads.get("0000") == b"x"
    with pytest.raises(NotFoundException):
        payloads.get("0002")


def test_a_bucket_is_not_sent_what_it_is_known_to_hold(moto: Aws):
    payloads = a_bucket(moto)
    requests: Counter[str] = Counter()
    moto.client("s3").meta.events.register("before-call.s3", lambda model, **_: requests.update([model.name]))
    for digest in ("a", "a", "b", "a", "c", "a"):  # c drives out b; a was used last
        payloads.put(digest, b"data")
    assert requests["PutObject"] == 3
    payloads.put("b", b"data")
    assert requests["PutObject"] == 4


class Counting(MemoryPayloads):
    """Counts how often each payload is fetched."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: Counter[str] = Counter()

    def get(self, digest: str) -> bytes:
        self.fetched[digest] += 1
        return super().get(digest)


def test_the_cache_fetches_a_payload_once():
    source = Counting()
    source.put("a", b"data")
    cached = CachedPayloads(source)
    assert [cached.get("a") for _ in range(3)] == [b"data"] * 3
    cached.put("b", b"written here")
    assert cached.get("b") == b"written here"
    assert source.fetched == {"a": 1}


def test_the_cache_holds_so_many_bytes_and_forgets_the_longest_unused():
    source = Counting()
    cached = CachedPayloads(source, bytes_max=100)
    for digest in "abc":
        cached.put(digest, bytes(40))  # c drives out a
    cached.get("b")
    cached.get("a")  # a drives out c
    cached.get("b")
    cached.get("c")
    assert source.fetched == {"a": 1, "c": 1}


def test_a_payload_larger_than_the_cache_passes_it_by():
    source = Counting()
    cached = CachedPayloads(source, bytes_max=100)
    cached.put("small", bytes(90))
    cached.put("large", bytes(101))
    assert len(cached.get("large")) == 101
    assert len(cached.get("small")) == 90
    assert source.fetched == {"large": 1}
