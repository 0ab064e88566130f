"""API keys: made once, told once, kept as hashes, gone when they are revoked."""

import json

import pytest

from chalicelib import limits
from chalicelib.adapters.memory import ManualClock, MemoryTable, SeededEntropy
from chalicelib.errors import InputException, NotFoundException, UnknownFormatError
from chalicelib.services.api_keys import ApiKeys
from chalicelib.services.ports import Put

DAY_SEC = 86_400


class Stage:
    def __init__(self):
        self.clock, self.table, self.entropy = ManualClock(), MemoryTable(), SeededEntropy(3)
        self.keys = self.process()

    def process(self):
        """Another process on the same table."""
        return ApiKeys(self.table, self.clock, self.entropy)

    def item(self, key):
        return self.table.get(f"api-key#{key.id}", ["key"])["key"]


@pytest.fixture
def stage():
    return Stage()


def test_a_key_is_found_by_every_process_with_what_it_was_given(stage):
    key, secret = stage.keys.create("alpha", roles=frozenset({"admin", "x"}), description="ci", days=2)

    found = stage.process().find(key.id)

    assert found == key
    assert (found.project_id, found.roles, found.description) == ("alpha", {"admin", "x"}, "ci")
    assert found.expires_at == stage.clock.now() + 2 * DAY_SEC
    assert stage.process().proves(found, secret)


def test_the_secret_is_nowhere_in_the_table(stage):
    key, secret = stage.keys.create("alpha")

    assert secret.encode() not in stage.item(key).body
    assert secret not in repr(key)
    assert len(secret) >= 43  # 256 bits


def test_keys_and_secrets_are_different_each_time(stage):
    made = [stage.keys.create("alpha") for _ in range(20)]

    assert len({key.id for key, _ in made}) == len({secret for _, secret in made}) == 20
    assert len({key.salt for key, _ in made}) == 20


def test_a_secret_can_stand_behind_an_option_of_a_shell(stage):
    tokens = [b"salt" * 4, b"\xfb" * 16, b"\xfb" * 16, b"a" * 16, b"b" * 16, b"id" * 8]
    stage.entropy.token = iter(tokens).__next__

    _, secret = stage.keys.create("alpha")

    assert not secret.startswith("-")


def test_another_secret_proves_nothing_even_after_the_right_one(stage):
    key, secret = stage.keys.create("alpha")
    other, other_secret = stage.keys.create("alpha")

    assert not stage.keys.proves(key, other_secret)
    assert stage.keys.proves(key, secret)
    assert stage.keys.proves(key, secret)
    for wrong in (other_secret, "", secret[:-1], secret + " ", "\ud800"):
        assert not stage.keys.proves(key, wrong)
    assert not stage.keys.proves(other, secret)


def test_the_right_secret_is_hashed_slowly_once_only(stage, monkeypatch):
    key, secret = stage.keys.create("alpha")
    assert stage.keys.proves(key, secret)

    monkeypatch.setattr(type(key), "has_secret", lambda *_arguments: pytest.fail("hashed again"))

    assert stage.keys.proves(key, secret)


def test_a_key_ends_at_its_time(stage):
    key, _ = stage.keys.create("alpha", days=1)
    assert stage.keys.find(key.id)

    stage.clock.advance(DAY_SEC)

    assert stage.keys.find(key.id) is None


def test_a_revoked_key_is_forgotten_at_once_here_and_soon_elsewhere(stage):
    key, _ = stage.keys.create("alpha")
    other = stage.process()
    assert stage.keys.find(key.id)
    assert other.find(key.id)

    stage.keys.revoke(key.id)

    assert stage.keys.find(key.id) is None
    stage.clock.advance(limits.API_KEY_CACHED_SEC)
    assert other.find(key.id) is None
    with pytest.raises(NotFoundException):
        stage.keys.revoke(key.id)


@pytest.mark.parametrize(
    "name", ["", "mk-", "x", "mk-" + "a" * 27, "mk-" + "A" * 26, "\ud800", "mk-" + "#" * 26, "x" * 5000]
)
def test_what_cannot_be_a_key_is_none(stage, name):
    assert stage.keys.find(name) is None
    with pytest.raises(NotFoundException):
        stage.keys.revoke(name)


def test_keys_are_listed_by_project_and_all_together(stage):
    made = []
    for project_id in ("alpha", "beta", "alpha", "a#b"):
        made.append(stage.keys.create(project_id)[0])
        stage.clock.advance(1)

    assert stage.keys.all_of("alpha") == [made[0], made[2]]
    assert stage.keys.all_of("a#b") == [made[3]]
    assert stage.keys.all_of() == made
    assert stage.keys.all_of("gamma") == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"project_id": ""}, {"project_id": "x" * 81}, {"project_id": "a\nb"},
        {"roles": frozenset({"a,b"})}, {"roles": frozenset({""})}, {"roles": frozenset({"ä"})},
        {"roles": frozenset(map(str, range(limits.ROLES_MAX + 1)))}, {"description": "x" * 256},
    ],
)  # fmt: skip
def test_a_key_that_cannot_be_is_refused(stage, wrong):
    with pytest.raises(InputException):
        stage.keys.create(**{"project_id": "alpha", **wrong})
    assert stage.keys.all_of() == []


def test_what_is_known_is_bounded(stage, monkeypatch):
    monkeypatch.setattr(limits, "API_KEYS_CACHED_MAX", 3)
    for _ in range(10):
        key, secret = stage.keys.create("alpha")
        assert stage.keys.proves(stage.keys.find(key.id), secret)

    assert len(stage.keys._known) <= 3
    assert len(stage.keys._proven) <= 3


def test_a_key_of_a_later_version_is_not_misread(stage):
    key, _ = stage.keys.create("alpha")
    item = stage.item(key)
    body = json.dumps({**json.loads(item.body), "v": 2}).encode()
    stage.table.write([Put(type(item)(item.partition, item.key, body, revision=2))])

    with pytest.raises(UnknownFormatError):
        stage.process().find(key.id)
