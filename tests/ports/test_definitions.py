"""Definitions on every backend: what a table in memory allows, DynamoDB allows too."""

import pytest

from chalicelib import limits
from chalicelib.adapters.memory import ManualClock, MemoryPayloads, SeededEntropy
from chalicelib.errors import DuplicateEntryException, NotFoundException
from chalicelib.services.definition_records import EnvironmentContent, Kind, Order
from chalicelib.services.definitions import Access, Definitions, Placement

MINE = Access("<default-project>")
ADMIN = Access("ops", is_admin=True)


@pytest.fixture
def definitions(table):
    return Definitions(table, MemoryPayloads(), ManualClock(), SeededEntropy(5))


def text(*names, output="a"):
    bodies = "".join(f"{name}: {{tasks: {{t: {{action: std.echo output='{output}'}}}}}}\n" for name in names)
    return f"version: '2.0'\n{bodies}".encode()


def test_the_largest_document_is_created_and_updated_whole(definitions):
    names = [f"w{number:02}" for number in range(limits.DEFINITIONS_PER_DOCUMENT_MAX)]
    definitions.create(Kind.WORKFLOW, MINE, text(*names), Placement())
    definitions.update(Kind.WORKFLOW, MINE, text(*names, output="b"), Placement())
    with pytest.raises(DuplicateEntryException, match="w07"):
        definitions.create(Kind.WORKFLOW, MINE, text("new", "w07"), Placement())
    found = list(definitions.browse(Kind.WORKFLOW, MINE, Order.NAME, descending=True))
    assert [record.name for record in found] == names[::-1]
    assert all("b" in record.content.definition for record in found)
    behind = definitions.browse(Kind.WORKFLOW, MINE, Order.NAME, descending=True, after=found[10])
    assert list(behind) == found[11:]


def test_a_definition_lives_from_its_creation_to_its_deletion(definitions):
    name, namespace = "\U0001f600" * 255, "\u20ac" * 255
    [record] = definitions.create(Kind.WORKFLOW, ADMIN, text(name), Placement(namespace, "public"))
    assert definitions.find_workflow(MINE.project_id, name, namespace).id == record.id
    assert [one.id for one in definitions.browse(Kind.WORKFLOW, MINE, Order.NAME, name=name)] == [record.id]
    definitions.update(Kind.WORKFLOW, ADMIN, text("short"), Placement(), record.id)
    assert definitions.workflow_for_start("ops", record.id, "").name == "short"
    assert definitions.plan(record.content.definition_hash).spec.name == name
    assert list(definitions.browse(Kind.WORKFLOW, MINE)) == []
    assert [one.name for one in definitions.browse(Kind.WORKFLOW, ADMIN)] == ["short"]
    definitions.delete(Kind.WORKFLOW, ADMIN, record.id)
    with pytest.raises(NotFoundException):
        definitions.get(Kind.WORKFLOW, ADMIN, record.id)


def test_a_workbook_and_an_environment_are_stored_and_replaced(definitions):
    book = b"version: '2.0'\nname: book\nactions:\n  a: {base: std.noop}\nworkflows:\n  w: {tasks: {t: {action: a}}}\n"
    definitions.create(Kind.WORKBOOK, MINE, book, Placement())
    definitions.update(Kind.WORKBOOK, MINE, book + b"# more\n", Placement())
    assert definitions.find_action(MINE.project_id, "book.a", "").base == "std.noop"
    definitions.create_environment(MINE, "my env", EnvironmentContent(variables={"a": 1}))
    definitions.update_environment(MINE, "my env", EnvironmentContent(variables={"a": 2}))
    assert definitions.environment(MINE.project_id, "my env") == {"a": 2}
