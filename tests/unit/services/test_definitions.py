"""Definitions as executions and callers meet them: found, started from, isolated, replaced, removed."""

import random
import string
from dataclasses import replace

import pytest

from chalicelib import limits
from chalicelib.adapters.memory import ManualClock, MemoryPayloads, MemoryTable, SeededEntropy
from chalicelib.engine.invocations import WorkflowFacts
from chalicelib.errors import (
    DSLParsingException,
    DuplicateEntryException,
    InputException,
    InvalidModelException,
    NotAllowedException,
    NotFoundException,
    SizeLimitExceededException,
    UnknownFormatError,
)
from chalicelib.lang.specs import InputSpec
from chalicelib.services.definition_records import EnvironmentContent, Kind, Order, decode
from chalicelib.services.definitions import Access, Definitions, NobodyUses, Placement

MINE = Access("mine")
THEIRS = Access("theirs")
ADMIN = Access("theirs", is_admin=True)
PUBLIC = Placement(scope="public")


class CountingTable(MemoryTable):
    """Counts what is asked of it."""

    def __init__(self):
        super().__init__()
        self.reads = 0
        self.index_reads = 0

    def get_many(self, addresses, *, consistent=False):
        wanted = list(addresses)
        self.reads += len(wanted)
        return super().get_many(wanted, consistent=consistent)

    def list_index(self, *arguments, **options):
        self.index_reads += 1
        return super().list_index(*arguments, **options)


class Stage:
    """Definitions on a table in memory, and their short forms."""

    def __init__(self, **options):
        self.table, self.payloads, self.clock = CountingTable(), MemoryPayloads(), ManualClock()
        self.definitions = Definitions(self.table, self.payloads, self.clock, SeededEntropy(7), **options)

    def afresh(self):
        """Another process on the same table."""
        return Definitions(self.table, self.payloads, self.clock, SeededEntropy(8))

    def create(self, text, kind=Kind.WORKFLOW, access=MINE, placement=None):
        return self.definitions.create(kind, access, text.encode(), placement or Placement())

    def update(self, text, kind=Kind.WORKFLOW, access=MINE, placement=None, identifier=None):
        return self.definitions.update(kind, access, text.encode(), placement or Placement(), identifier)

    def names(self, kind=Kind.WORKFLOW, access=MINE, **options):
        return [record.name for record in self.definitions.browse(kind, access, **options)]


@pytest.fixture
def stage():
    return Stage()


def workflow(*names, output="a", head=""):
    bodies = "".join(f"{name}:\n  {head}\n  tasks:\n    t: {{action: std.echo output='{output}'}}\n" for name in names)
    return f"version: '2.0'\n{bodies}"


def action(*names, base="std.noop"):
    return "version: '2.0'\n" + "".join(f"{name}:\n  base: {base}\n" for name in names)


def workbook(name, workflows=("w",), actions=("a",), output="a"):
    text = f"version: '2.0'\nname: {name}\n"
    if actions:
        text += "actions:\n" + "".join(f"  {one}: {{base: std.noop}}\n" for one in actions)
    if workflows:
        body = f"{{tasks: {{t: {{action: std.echo output='{output}'}}}}}}"
        text += "workflows:\n" + "".join(f"  {one}: {body}\n" for one in workflows)
    return text


def noise(characters):
    return "".join(random.Random(3).choices(string.ascii_letters + string.digits, k=characters))


# -- starting


def test_a_start_by_name_reads_one_item(stage):
    [record] = stage.create(workflow("w", head="input: [x, {y: [1, null]}]"))
    definitions = stage.afresh()
    stage.table.reads = 0

    facts = definitions.workflow_for_start("mine", "w", "")

    assert stage.table.reads == 1
    assert stage.table.index_reads == 0
    assert facts == WorkflowFacts(
        record.id, "w", "", record.content.definition_hash, (InputSpec("x"), InputSpec("y", False, [1, None])), None
    )


def test_a_start_by_id_reads_one_item_once_the_place_is_known(stage):
    [record] = stage.create(workflow("w"))
    definitions = stage.afresh()
    assert definitions.workflow_for_start("mine", record.id.upper(), "anything").name == "w"
    stage.table.reads = 0

    assert definitions.workflow_for_start("mine", record.id, "").id == record.id
    assert stage.table.reads == 1


def test_a_start_of_nothing_says_what_was_looked_for(stage):
    with pytest.raises(NotFoundException, match=r"Workflow not found \[workflow_identifier=w, namespace=n\]"):
        stage.definitions.workflow_for_start("mine", "w", "n")


@pytest.mark.parametrize("name", ["", "x" * 2000, "\ud800", "a" * 1025, "w\0"])
def test_names_that_cannot_exist_are_not_found(stage, name):
    assert stage.definitions.find_workflow("mine", name, "") is None
    assert stage.definitions.find_action("mine", "w", name * 2 or "n") is None
    assert stage.definitions.environment("mine", name) is None


def test_a_name_is_found_in_exactly_its_namespace(stage):
    stage.create(workflow("w"), placement=Placement("n"))
    assert stage.definitions.find_workflow("mine", "w", "") is None
    assert stage.definitions.find_workflow("mine", "w", "n").namespace == "n"


def test_the_own_workflow_comes_before_a_public_one(stage):
    [public] = stage.create(workflow("w", output="theirs"), access=ADMIN, placement=PUBLIC)
    assert stage.definitions.find_workflow("mine", "w", "").id == public.id
    [own] = stage.create(workflow("w", output="mine"))
    assert stage.definitions.find_workflow("mine", "w", "").id == own.id


def test_projects_with_confusable_names_share_nothing(stage):
    stage.create(workflow("w"), access=Access("a#b"))
    stage.create(workflow("v"), access=Access("a"), placement=Placement("b#"))
    for project, namespace in [("a", "b"), ("a%23b", ""), ("a", "#b"), ("a#b#workflow", ""), ("", "")]:
        assert stage.definitions.find_workflow(project, "w", namespace) is None
    assert stage.names(access=Access("a#b")) == ["w"]
    assert stage.names(access=Access("a")) == ["v"]
    assert stage.names(access=Access("public")) == []


def test_a_running_execution_keeps_the_plan_it_started_with(stage):
    [old] = stage.create(workflow("w", output="old"))
    [new] = stage.update(workflow("w", output="new"))
    stage.definitions.delete(Kind.WORKFLOW, MINE, "w")

    definitions = stage.afresh()
    plans = [definitions.plan(record.content.definition_hash) for record in (old, new)]

    assert [plan.spec.tasks["t"].input["output"] for plan in plans] == ["old", "new"]


def test_a_plan_is_compiled_once_in_a_process(stage):
    [record] = stage.create(workflow("w"))
    first = stage.definitions.plan(record.content.definition_hash)
    stage.table.reads = 0
    assert stage.definitions.plan(record.content.definition_hash) is first
    assert stage.table.reads == 0


def test_the_plans_kept_are_bounded(stage, monkeypatch):
    monkeypatch.setattr("chalicelib.services.definition_store.PLANS_CACHED_MAX", 2)
    hashes = [stage.create(workflow(f"w{n}"))[0].content.definition_hash for n in range(3)]
    plans = [stage.definitions.plan(one) for one in hashes]
    assert stage.definitions.plan(hashes[2]) is plans[2]
    assert stage.definitions.plan(hashes[0]) is not plans[0]


def test_an_unknown_hash_has_no_plan(stage):
    with pytest.raises(NotFoundException, match="no workflow definition with hash"):
        stage.definitions.plan("0" * 40)


def test_workflows_of_a_workbook_say_which_one(stage):
    stage.create(workbook("book"), Kind.WORKBOOK)
    facts = stage.definitions.find_workflow("mine", "book.w", "")
    assert facts.workbook_name == "book"
    assert stage.definitions.plan(facts.definition_hash).spec.name == "w"
    assert stage.definitions.find_action("mine", "book.a", "").base == "std.noop"


def test_an_ad_hoc_action_is_found_with_its_spec(stage):
    stage.create("version: '2.0'\na:\n  input: [x]\n  base: std.echo\n  base-input: {output: <% $.x %>}\n", Kind.ACTION)
    spec = stage.definitions.find_action("mine", "a", "")
    assert (spec.base, spec.base_input, spec.input) == ("std.echo", {"output": "<% $.x %>"}, (InputSpec("x"),))
    assert stage.definitions.find_action("mine", "a", "n") is None
    assert stage.definitions.find_action("theirs", "a", "") is None


def test_an_environment_gives_its_variables(stage):
    stage.definitions.create_environment(MINE, "e", EnvironmentContent("text", {"a": 1}))
    stage.definitions.create_environment(MINE, "nothing", EnvironmentContent())
    assert stage.definitions.environment("mine", "e") == {"a": 1}
    assert stage.definitions.environment("mine", "nothing") == {}
    assert stage.definitions.environment("theirs", "e") is None


# -- creating


def test_a_document_is_stored_as_a_whole_or_not_at_all(stage):
    stage.create(workflow("b"))
    with pytest.raises(DuplicateEntryException, match=r"Duplicate entry for WorkflowDefinition .*: b, , mine"):
        stage.create(workflow("a", "b", "c"))
    assert stage.names() == ["b"]


def test_the_same_name_fits_into_another_project_and_namespace(stage):
    stage.create(workflow("w"))
    stage.create(workflow("w"), placement=Placement("n"))
    stage.create(workflow("w"), access=THEIRS)
    assert stage.names() == ["w", "w"]


def test_several_workflows_are_stored_each_with_its_own_text(stage):
    records = stage.create(workflow("a", "b"))
    assert [record.name for record in records] == ["a", "b"]
    assert "b:" not in records[0].content.definition
    assert records[0].content.definition.startswith("version: '2.0'\na:\n")


def test_a_document_of_too_many_things_is_refused_with_the_number(stage):
    most = limits.DEFINITIONS_PER_DOCUMENT_MAX
    assert len(stage.create(workflow(*(f"w{n}" for n in range(most))))) == most
    assert len(stage.update(workflow(*(f"w{n}" for n in range(most))))) == most
    with pytest.raises(InvalidModelException, match=f"this one defines {most + 1}"):
        stage.create(workflow(*(f"v{n}" for n in range(most + 1))))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"\xff\xfe", "not UTF-8"),
        (b" " * (limits.DEFINITION_BYTES_MAX + 1), "the text has 1048577 bytes; the most is 1048576"),
    ],
)
def test_bytes_that_are_no_text_are_refused(stage, body, words):
    with pytest.raises(DSLParsingException, match=words):
        stage.definitions.create(Kind.WORKFLOW, MINE, body, Placement())


@pytest.mark.parametrize("name", ['""', "x" * 256, '"\\ud800"'])
def test_names_that_cannot_be_stored_are_refused(stage, name):
    with pytest.raises(InvalidModelException):
        stage.create(f"version: '2.0'\n{name}:\n  tasks: {{t: {{action: std.noop}}}}\n")


def test_the_longest_names_can_be_stored_listed_and_removed(stage):
    name, namespace = "\U0001f600" * 255, "\u20ac" * 255
    [record] = stage.create(workflow(name), placement=Placement(namespace))
    assert stage.names(order=Order.NAME, name=name) == [name]
    assert stage.definitions.get(Kind.WORKFLOW, MINE, record.id).name == name
    stage.definitions.delete(Kind.WORKFLOW, MINE, name, namespace)
    assert stage.names() == []


@pytest.mark.parametrize("namespace", ["n" * 256, "\ud800"])
def test_a_namespace_that_cannot_be_stored_is_refused(stage, namespace):
    with pytest.raises(InputException, match="namespace"):
        stage.create(workflow("w"), placement=Placement(namespace))


def test_only_admins_publish_and_only_two_scopes_exist(stage):
    with pytest.raises(NotAllowedException, match="insufficient permissions"):
        stage.create(workflow("w"), placement=PUBLIC)
    with pytest.raises(InputException, match="actual: secret"):
        stage.create(workflow("w"), placement=Placement(scope="secret"))
    with pytest.raises(NotAllowedException, match="insufficient permissions"):
        stage.definitions.create_environment(MINE, "e", EnvironmentContent(), "public")


def test_large_texts_leave_the_item_and_come_back_whole(stage):
    text = workflow("w") + "# " + noise(600_000) + "\n"
    [record] = stage.create(text)
    item = stage.table.get(record.partition, ["w"])["w"]
    assert len(item.body) < 2000
    assert stage.afresh().get(Kind.WORKFLOW, MINE, "w").content.definition == text


def test_large_specs_leave_the_item_too(stage):
    text = f"version: '2.0'\nw:\n  tasks:\n    t: {{action: std.echo, input: {{output: {noise(700_000)}}}}}\n"
    [record] = stage.create(text)
    assert len(stage.afresh().plan(record.content.definition_hash).spec.tasks["t"].input["output"]) == 700_000


def test_inputs_too_large_for_an_item_are_refused_in_words(stage):
    with pytest.raises(SizeLimitExceededException, match="give large defaults when the workflow is started"):
        stage.create(workflow("w", head=f"input: [{{x: {noise(700_000)}}}]"))


def test_actions_whose_answer_would_be_too_large_are_refused_before_they_are_stored(stage):
    text = action(*(f"a{n}" for n in range(40))) + "# " + noise(200_000)
    with pytest.raises(InvalidModelException, match="Each of the 40 actions keeps this whole text"):
        stage.create(text, Kind.ACTION)
    assert stage.names(Kind.ACTION) == []


def test_validation_is_skipped_only_where_the_service_allows_it():
    bad = "version: '2.0'\nw:\n  tasks:\n    t: {on-success: [nowhere]}\n"
    skip = Placement(skip_validation=True)
    for mode, placement, is_stored in [
        ("mandatory", skip, False),
        ("enabled", skip, True),
        ("enabled", Placement(), False),
        ("disabled", Placement(), True),
    ]:
        stage = Stage(validation_mode=mode)
        if is_stored:
            stage.create(bad, placement=placement)
        else:
            with pytest.raises(InvalidModelException, match="nowhere"):
                stage.create(bad, placement=placement)


# -- updating


def test_an_update_keeps_identity_and_moves_only_what_changed(stage):
    [old] = stage.create(workflow("w"))
    stage.clock.advance(60)
    [same] = stage.update(workflow("w"))
    assert (same.id, same.updated_at) == (old.id, None)
    [new] = stage.update(workflow("w", output="b"))
    assert (new.id, new.created_at, new.updated_at) == (old.id, old.created_at, old.created_at + 60)
    assert stage.definitions.get(Kind.WORKFLOW, MINE, old.id) == new


def test_an_update_of_what_is_not_there_changes_nothing(stage):
    stage.create(workflow("a"))
    with pytest.raises(NotFoundException, match="workflow_identifier=b"):
        stage.update(workflow("a", "b", output="new"))
    assert "new" not in stage.definitions.get(Kind.WORKFLOW, MINE, "a").content.definition


def test_an_update_without_scope_makes_private_again(stage):
    stage.create(workflow("w"), access=ADMIN, placement=PUBLIC)
    assert stage.names() == ["w"]
    stage.update(workflow("w"), access=ADMIN)
    assert stage.names() == []
    assert stage.definitions.find_workflow("mine", "w", "") is None


def test_an_update_by_id_keeps_the_namespace_and_may_give_another_name(stage):
    [old] = stage.create(workflow("w"), placement=Placement("n"))
    [new] = stage.update(workflow("v"), identifier=old.id)
    assert (new.id, new.name, new.namespace) == (old.id, "v", "n")
    assert stage.definitions.find_workflow("mine", "w", "n") is None
    assert stage.definitions.workflow_for_start("mine", old.id, "").name == "v"
    assert stage.afresh().workflow_for_start("mine", old.id, "").name == "v"
    assert stage.names(order=Order.NAME) == ["v"]


def test_a_new_name_must_be_free(stage):
    [old] = stage.create(workflow("w"))
    stage.create(workflow("v"))
    with pytest.raises(DuplicateEntryException, match="v, , mine"):
        stage.update(workflow("v", output="b"), identifier=old.id)
    assert sorted(stage.names()) == ["v", "w"]


def test_an_update_by_identifier_takes_one_thing(stage):
    stage.create(workflow("a", "b"))
    with pytest.raises(InputException, match="More than one workflows are not supported"):
        stage.update(workflow("a", "b"), identifier="a")


def test_a_workbook_replaces_what_it_contains_and_drops_nothing(stage):
    stage.create(workflow("x"))
    [_, _, first] = stage.create(workbook("book"), Kind.WORKBOOK)
    stage.clock.advance(5)
    records = stage.update(workbook("book", workflows=("w", "more"), actions=(), output="b"), Kind.WORKBOOK)

    assert [record.name for record in records] == ["book", "book.w", "book.more"]
    assert records[1].id == first.id
    assert records[1].updated_at == first.created_at + 5
    assert sorted(stage.names()) == ["book.more", "book.w", "x"]
    assert stage.names(Kind.ACTION) == ["book.a"]

    stage.definitions.delete(Kind.WORKBOOK, MINE, "book")
    assert stage.names(Kind.WORKBOOK) == []
    assert sorted(stage.names()) == ["book.more", "book.w", "x"]
    stage.create(workbook("book", workflows=("w",)), Kind.WORKBOOK)
    assert stage.definitions.get(Kind.WORKFLOW, MINE, "book.w").id == first.id


def test_a_workbook_is_found_by_its_name_only(stage):
    [record, *_] = stage.create(workbook("book"), Kind.WORKBOOK)
    with pytest.raises(NotFoundException, match="Workbook not found"):
        stage.definitions.get(Kind.WORKBOOK, MINE, record.id)
    with pytest.raises(NotFoundException, match=r"Workbook not found \[name=other, namespace=\]"):
        stage.update(workbook("other"), Kind.WORKBOOK)


def test_an_environment_changes_only_in_what_is_given(stage):
    stage.definitions.create_environment(MINE, "e", EnvironmentContent("text", {"a": 1}))
    stage.clock.advance(1)
    new = stage.definitions.update_environment(MINE, "e", EnvironmentContent(variables={"b": 2}))
    assert new.content == EnvironmentContent("text", {"b": 2})
    assert new.updated_at == new.created_at + 1
    with pytest.raises(NotFoundException, match=r"Environment not found \[name=f\]"):
        stage.definitions.update_environment(MINE, "f", EnvironmentContent())
    with pytest.raises(SizeLimitExceededException, match="variables"):
        stage.definitions.update_environment(MINE, "e", EnvironmentContent(variables={"a": noise(1_100_000)}))


# -- who sees and changes what


@pytest.mark.parametrize("identified_by", ["name", "id"])
def test_a_private_definition_does_not_exist_for_other_projects(stage, identified_by):
    [record] = stage.create(workflow("w"))
    identifier = getattr(record, identified_by)
    for forbidden in (
        lambda: stage.definitions.get(Kind.WORKFLOW, THEIRS, identifier),
        lambda: stage.definitions.delete(Kind.WORKFLOW, THEIRS, identifier),
        lambda: stage.update(workflow("w"), access=THEIRS, identifier=identifier),
        lambda: stage.definitions.workflow_for_start("theirs", identifier, ""),
    ):
        with pytest.raises(NotFoundException):
            forbidden()
    assert stage.definitions.find_id(Kind.WORKFLOW, THEIRS, record.id) is None
    assert stage.names(access=THEIRS) == []


@pytest.mark.parametrize(
    ("kind", "text", "name"),
    [(Kind.WORKFLOW, workflow("x"), "x"), (Kind.ACTION, action("x"), "x"), (Kind.WORKBOOK, workbook("x"), "x")],
)
def test_what_others_have_published_may_be_read_but_not_changed(stage, kind, text, name):
    [record, *_] = stage.create(text, kind, ADMIN, PUBLIC)
    assert stage.definitions.get(kind, MINE, name).id == record.id
    with pytest.raises(NotAllowedException, match=f"resource of other projects, ID: {record.id}"):
        stage.definitions.delete(kind, MINE, name)
    with pytest.raises(NotAllowedException, match="resource of other projects"):
        stage.update(text, kind, MINE)


def test_public_environments_of_others_may_be_read_but_not_changed(stage):
    stage.definitions.create_environment(ADMIN, "e", EnvironmentContent(variables={"a": 1}), "public")
    assert stage.definitions.environment("mine", "e") == {"a": 1}
    with pytest.raises(NotAllowedException, match="resource of other projects"):
        stage.definitions.update_environment(MINE, "e", EnvironmentContent("mine now"))
    with pytest.raises(NotAllowedException, match="resource of other projects"):
        stage.definitions.delete(Kind.ENVIRONMENT, MINE, "e")


def test_an_admin_reads_and_changes_by_id_and_lists_everything(stage):
    [record] = stage.create(workflow("w"))
    stage.create(workflow("v"), access=Access("third"))
    admin = Access("ops", is_admin=True)
    assert sorted(stage.names(access=admin)) == ["v", "w"]
    [changed] = stage.update(workflow("w", output="b"), access=admin, identifier=record.id)
    assert changed.project_id == "mine"
    stage.definitions.delete(Kind.WORKFLOW, admin, record.id)
    assert stage.names() == []


# -- deleting


def test_what_is_deleted_is_gone_by_name_and_by_id_and_its_name_is_free(stage):
    [record] = stage.create(workflow("w"))
    stage.definitions.delete(Kind.WORKFLOW, MINE, "w")
    for identifier in ("w", record.id):
        with pytest.raises(NotFoundException):
            stage.definitions.get(Kind.WORKFLOW, MINE, identifier)
    [again] = stage.create(workflow("w"))
    assert again.id != record.id
    assert stage.definitions.find_id(Kind.WORKFLOW, MINE, record.id) is None
    assert stage.afresh().find_id(Kind.WORKFLOW, MINE, again.id).name == "w"


class Triggers(NobodyUses):
    """A workflow with a trigger."""

    def check_delete(self, workflow):
        raise InputException(f"Can't delete workflow that has cron triggers associated: {workflow.name}")

    def check_hide(self, workflow):
        raise NotAllowedException(f"Other projects use {workflow.name}")


def test_what_uses_a_workflow_can_refuse_to_let_it_go():
    stage = Stage(users=Triggers())
    stage.create(workflow("w") + "# more\n", access=ADMIN, placement=PUBLIC)
    with pytest.raises(InputException, match="has cron triggers associated: w"):
        stage.definitions.delete(Kind.WORKFLOW, ADMIN, "w")
    with pytest.raises(NotAllowedException, match="Other projects use w"):
        stage.update(workflow("w"), access=ADMIN)
    stage.update(workflow("w"), access=ADMIN, placement=PUBLIC)
    stage.create(action("w"), Kind.ACTION)
    stage.definitions.delete(Kind.ACTION, MINE, "w")


# -- lists


@pytest.mark.parametrize("order", list(Order))
@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("access", [MINE, ADMIN])
def test_a_list_goes_on_behind_any_of_its_items(stage, order, descending, access):
    for number in range(12):
        stage.clock.advance(number % 2)
        stage.create(workflow(f"w{number % 5}"), placement=Placement(f"n{number}"))
        if number % 3 == 0:
            stage.create(workflow(f"w{number % 5}"), access=ADMIN, placement=Placement(f"n{number}", "public"))
    stage.create(workflow("hidden"), access=THEIRS)

    everything = list(stage.definitions.browse(Kind.WORKFLOW, access, order, descending=descending))

    assert len(everything) == (17 if access.is_admin else 16)
    in_id_order = sorted(everything, key=lambda record: record.id)
    expected = sorted(in_id_order, key=lambda record: getattr(record, order), reverse=descending)
    assert [record.id for record in everything] == [record.id for record in expected]
    for at, record in enumerate(everything):
        rest = stage.definitions.browse(Kind.WORKFLOW, access, order, descending=descending, after=record)
        assert list(rest) == everything[at + 1 :]


@pytest.mark.parametrize("descending", [False, True])
def test_a_list_of_one_name_reads_only_that(stage, descending):
    for number in range(30):
        stage.create(workflow("a", "ab", f"b{number}"), placement=Placement(f"n{number}"))
    stage.table.reads = 0
    found = stage.names(order=Order.NAME, name="a", descending=descending)
    assert found == ["a"] * 30
    assert stage.table.reads == 30


def test_a_short_page_of_a_long_list_costs_a_short_read(stage):
    for number in range(300):
        stage.create(workflow(f"w{number:03}"))
    stage.table.reads = stage.table.index_reads = 0
    browsed = stage.definitions.browse(Kind.WORKFLOW, MINE)
    assert next(browsed).name.startswith("w")
    assert stage.table.reads <= 50
    assert stage.table.index_reads <= 3
    assert len(stage.names()) == 300


# -- what is stored


def test_a_record_of_an_unknown_format_is_named(stage, monkeypatch):
    monkeypatch.setattr("chalicelib.services.definition_records.FORMAT_VERSION", 2)
    stage.create(workflow("w"))
    monkeypatch.undo()
    with pytest.raises(UnknownFormatError, match="The definition 'w' is stored in format 2"):
        stage.definitions.find_workflow("mine", "w", "")


def test_every_kind_is_read_as_it_was_written(stage):
    records = [
        *stage.create(workflow("w", head="input: [x, {y: null}]\n  output: {r: 1}\n  tags: [a]")),
        *stage.create(workbook("book"), Kind.WORKBOOK),
        *stage.create("version: '2.0'\na:\n  description: d\n  tags: [t]\n  base: std.noop\n", Kind.ACTION),
        stage.definitions.create_environment(MINE, "e", EnvironmentContent("text", {"a": {"b": [1, None, "\ud800"]}})),
    ]
    for record in records:
        item = stage.table.get(record.partition, [record.name])[record.name]
        assert decode(item, stage.payloads) == record
        assert decode(replace(item), stage.payloads).partition == item.partition


# -- validation


def test_a_verdict_tells_every_fault_or_the_pitfalls(stage):
    judge = stage.definitions.judge
    assert judge(Kind.WORKFLOW, workflow("w").encode()).is_valid
    bad = judge(Kind.WORKFLOW, b"version: '2.0'\nw:\n  tasks:\n    t: {actoin: x, on-success: [nowhere]}\n")
    assert not bad.is_valid
    assert "actoin" in bad.error
    assert "nowhere" in bad.error
    [pitfall] = judge(Kind.WORKFLOW, workflow("w", head="outputs: {a: 1}").encode()).warnings
    assert "did you mean 'output'" in str(pitfall)
    for body in (b"", b"\xff", b"[", b"- a", b"1", b" " * 2_000_000, b"version: '2.0'\n"):
        for kind in (Kind.WORKFLOW, Kind.ACTION, Kind.WORKBOOK):
            assert not judge(kind, body).is_valid
