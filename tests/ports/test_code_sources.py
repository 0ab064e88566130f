"""Code sources and dynamic actions on every backend, also when several change them at once."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from chalicelib import limits
from chalicelib.adapters.clock import SystemEntropy
from chalicelib.adapters.memory import ManualClock, MemoryPayloads
from chalicelib.errors import DuplicateEntryException, MistralError, NotFoundException
from chalicelib.services.code_sources import ActionChange
from chalicelib.services.definition_records import Kind
from chalicelib.services.definitions import Access, Definitions, Placement

ADMIN = Access("ops", is_admin=True)
HERE = Placement("")
TEXT = b"class Greet:\n    def __init__(self, who): pass\n    def run(self, context): return 1\n"
AT_ONCE = 6


class NotedPayloads(MemoryPayloads):
    """Remembers what was put into it."""

    def __init__(self):
        super().__init__()
        self.kept = set()

    def put(self, digest, data):
        self.kept.add(digest)
        super().put(digest, data)


@pytest.fixture
def payloads():
    return NotedPayloads()


@pytest.fixture
def definitions(table, payloads):
    return Definitions(table, payloads, ManualClock(), SystemEntropy())


@pytest.fixture
def sources(definitions):
    return definitions.code_sources


def at_once(act):
    """What several threads get that do the same at the same moment; errors are among it."""

    def tried(number):
        try:
            return act(number)
        except MistralError as error:
            return error

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(tried, range(AT_ONCE)))


def test_they_live_from_their_creation_to_the_deletion_of_their_source(definitions, sources):
    source = sources.create_source(ADMIN, "lib", TEXT, HERE)
    made = sources.create_action(ADMIN, "lib.greet", "Greet", "lib", HERE)
    assert sources.find_action("ops", "lib.greet", "ns").signature_text == "who"
    other = sources.create_source(ADMIN, "other", TEXT, Placement("ns", "public"))
    sources.update_action(ADMIN, made.id, ActionChange("Greet", other.id, "public"))
    assert sources.find_action("elsewhere", "lib.greet", "").fault is None
    sources.delete_source(ADMIN, source.id)
    assert [record.id for record, _ in sources.usable_actions(ADMIN)] == [made.id]
    sources.delete_source(ADMIN, "other", "ns")
    assert sources.find_action("ops", "lib.greet", "") is None
    for kind, identifier in ((Kind.CODE_SOURCE, source.id), (Kind.DYNAMIC_ACTION, made.id)):
        with pytest.raises(NotFoundException):
            definitions.get(kind, ADMIN, identifier)
        assert list(definitions.browse(kind, ADMIN)) == []


def test_the_largest_text_is_kept_outside_of_the_table(definitions, sources, payloads):
    text = b"".join(b"# %x\n" % (number * 2_654_435_761) for number in range(20_000))[: limits.CODE_SOURCE_BYTES_MAX]
    made = sources.create_source(ADMIN, "large", text, HERE)
    assert definitions.get(Kind.CODE_SOURCE, ADMIN, made.id).content.content == text.decode()
    assert len(payloads.kept) == 1


def test_of_several_who_create_one_name_exactly_one_is_first(sources):
    found = at_once(lambda _: sources.create_source(ADMIN, "lib", TEXT, HERE))
    assert sum(isinstance(one, DuplicateEntryException) for one in found) == AT_ONCE - 1
    found = at_once(lambda _: sources.create_action(ADMIN, "lib.greet", "Greet", "lib", HERE))
    assert sum(isinstance(one, DuplicateEntryException) for one in found) == AT_ONCE - 1


def test_every_update_has_a_version_of_its_own(definitions, sources):
    sources.create_source(ADMIN, "lib", TEXT, HERE)
    done = at_once(lambda number: sources.update_source(ADMIN, "lib", b"x = %d" % number, HERE))
    versions = sorted(one.content.version for one in done if not isinstance(one, MistralError))
    assert versions == list(range(2, 2 + len(versions)))
    assert definitions.get(Kind.CODE_SOURCE, ADMIN, "lib").content.version == versions[-1]


def test_no_dynamic_action_is_left_of_a_source_that_is_deleted_meanwhile(definitions, sources):
    sources.create_source(ADMIN, "lib", TEXT, HERE)

    def act(number):
        if number == AT_ONCE // 2:
            return sources.delete_source(ADMIN, "lib")
        return sources.create_action(ADMIN, f"lib.{number}", "Greet", "lib", HERE)

    at_once(act)
    assert list(definitions.browse(Kind.DYNAMIC_ACTION, ADMIN)) == []
