"""Several writers at once: one is the first, the others notice, and nothing is half done."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from chalicelib.adapters.memory import ManualClock, MemoryPayloads, MemoryTable, SeededEntropy
from chalicelib.errors import ConflictException, DuplicateEntryException, NotFoundException
from chalicelib.services.definition_records import EnvironmentContent, Kind
from chalicelib.services.definitions import Access, Definitions, Placement

MINE = Access("mine")
WRITERS = 8


class MeetingTable(MemoryTable):
    """Lets something happen between the reads of a writer and its write."""

    def __init__(self):
        super().__init__()
        self.before_write = []

    def write(self, writes):
        if self.before_write:
            self.before_write.pop(0)()
        super().write(writes)


@pytest.fixture
def table():
    return MeetingTable()


def process(table, seed=1):
    return Definitions(table, MemoryPayloads(), ManualClock(), SeededEntropy(seed))


def text(*names, output="a"):
    bodies = "".join(f"{name}: {{tasks: {{t: {{action: std.echo output='{output}'}}}}}}\n" for name in names)
    return f"version: '2.0'\n{bodies}".encode()


def create(definitions, *names, output="a"):
    return definitions.create(Kind.WORKFLOW, MINE, text(*names, output=output), Placement())


def all_at_once(work):
    barrier = Barrier(WRITERS)

    def run(number):
        barrier.wait()
        try:
            return work(number)
        except (DuplicateEntryException, ConflictException, NotFoundException) as error:
            return error

    with ThreadPoolExecutor(WRITERS) as pool:
        return list(pool.map(run, range(WRITERS)))


def test_of_many_creations_of_one_name_exactly_one_succeeds(table):
    for round_number in range(20):
        processes = [process(table, seed=round_number * WRITERS + number) for number in range(WRITERS)]
        name = f"w{round_number}"
        results = all_at_once(lambda number, name=name, processes=processes: create(processes[number], name))
        won = [result for result in results if isinstance(result, list)]
        lost = [result for result in results if isinstance(result, DuplicateEntryException)]
        assert (len(won), len(lost)) == (1, WRITERS - 1)
        assert process(table).get(Kind.WORKFLOW, MINE, name) == won[0][0]


def test_overlapping_documents_are_each_stored_whole_or_not_at_all(table):
    def work(number):
        return create(process(table, seed=number), f"own{number}", "shared", f"also{number}")

    results = all_at_once(work)
    assert sum(isinstance(result, list) for result in results) == 1
    names = {record.name for record in process(table).browse(Kind.WORKFLOW, MINE)}
    assert len(names) == 3
    assert "shared" in names


def test_of_many_updates_none_is_lost_or_mixed(table):
    create(process(table), "a", "b")
    begin = process(table).get(Kind.WORKFLOW, MINE, "a").revision

    def work(number):
        for turn in range(5):
            mark = f"{number}-{turn}"
            process(table, seed=number).update(Kind.WORKFLOW, MINE, text("a", "b", output=mark), Placement())
        return True

    results = all_at_once(work)
    a, b = (process(table).get(Kind.WORKFLOW, MINE, name) for name in ("a", "b"))
    assert a.revision - begin >= 5 * results.count(True)
    outputs = {process(table).plan(one.content.definition_hash).spec.tasks["t"].input["output"] for one in (a, b)}
    assert len(outputs) == 1


def test_an_update_does_not_bring_back_what_another_has_deleted(table):
    definitions = process(table)
    create(definitions, "w")
    table.before_write = [lambda: definitions.delete(Kind.WORKFLOW, MINE, "w")]
    with pytest.raises(NotFoundException):
        definitions.update(Kind.WORKFLOW, MINE, text("w", output="b"), Placement())
    assert list(definitions.browse(Kind.WORKFLOW, MINE)) == []


def test_an_update_by_id_does_not_touch_a_successor_of_the_same_name(table):
    definitions = process(table)
    [old] = create(definitions, "w")

    def replaced():
        definitions.delete(Kind.WORKFLOW, MINE, "w")
        create(definitions, "w", output="successor")

    table.before_write = [replaced]
    with pytest.raises(NotFoundException):
        definitions.update(Kind.WORKFLOW, MINE, text("w", output="late"), Placement(), old.id)
    found = definitions.get(Kind.WORKFLOW, MINE, "w")
    assert found.id != old.id
    assert "successor" in found.content.definition


def test_a_deletion_removes_what_it_has_seen(table):
    definitions = process(table)
    [record] = create(definitions, "w")

    def renamed():
        definitions.update(Kind.WORKFLOW, MINE, text("v"), Placement(), record.id)

    table.before_write = [renamed]
    definitions.delete(Kind.WORKFLOW, MINE, record.id)
    assert list(definitions.browse(Kind.WORKFLOW, MINE)) == []
    assert definitions.find_id(Kind.WORKFLOW, MINE, record.id) is None


def test_a_name_taken_meanwhile_is_a_duplicate(table):
    definitions = process(table)
    [record] = create(definitions, "w")
    table.before_write = [lambda: create(definitions, "v")]
    with pytest.raises(DuplicateEntryException):
        definitions.update(Kind.WORKFLOW, MINE, text("v", output="b"), Placement(), record.id)
    assert definitions.get(Kind.WORKFLOW, MINE, "w").id == record.id


def test_a_workbook_takes_over_a_workflow_that_came_meanwhile(table):
    definitions = process(table)
    book = b"version: '2.0'\nname: book\nworkflows:\n  w: {tasks: {t: {action: std.noop}}}\n"
    other = []
    table.before_write = [lambda: other.extend(create(definitions, "book.w"))]
    [_, child] = definitions.create(Kind.WORKBOOK, MINE, book, Placement())
    assert child.id == other[0].id
    assert definitions.find_workflow("mine", "book.w", "").workbook_name == "book"


def test_what_two_writers_give_an_environment_is_kept_of_both(table):
    definitions = process(table)
    definitions.create_environment(MINE, "e", EnvironmentContent("text", {"a": 1}))
    table.before_write = [
        lambda: definitions.update_environment(MINE, "e", EnvironmentContent(variables={"b": 2})),
    ]
    definitions.update_environment(MINE, "e", EnvironmentContent(description="new"))
    assert definitions.get(Kind.ENVIRONMENT, MINE, "e").content == EnvironmentContent("new", {"b": 2})


def test_who_never_wins_is_told_to_try_again(table):
    definitions = process(table)
    create(definitions, "w")
    outputs = iter(range(100))

    def changed():
        other = process(table)
        other.update(Kind.WORKFLOW, MINE, text("w", output=f"{next(outputs)}"), Placement())

    # Every write of ours is preceded by one of another's, which itself passes unhindered.
    table.before_write = [step for _ in range(20) for step in (changed, lambda: None)]
    with pytest.raises(ConflictException, match="The workflow 'w' is being changed by others"):
        definitions.update(Kind.WORKFLOW, MINE, text("w", output="ours"), Placement())
