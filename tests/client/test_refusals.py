"""What is wrong is said in words, whatever the command, and the exit status tells a script."""

import pytest

NIL = "00000000-0000-0000-0000-000000000000"
BROKEN = "version: '2.0'\nbroken:\n  tasks: 5\n"


@pytest.mark.parametrize(
    "command",
    ["workflow-create", "workflow-update", "workbook-create", "workbook-update", "action-create", "action-update"],
)
def test_a_definition_that_is_wrong_is_refused_with_the_place(mistral, command):
    told = mistral.refused(command, mistral.file("broken.yaml", BROKEN))
    assert told.startswith("ERROR (app) Invalid DSL: ")
    assert mistral.refused(command, mistral.file("open.yaml", "version: '2.0'\na: [")).startswith(
        "ERROR (app) Definition could not be parsed: "
    )


def test_one_wrong_workflow_keeps_the_others_of_its_document_away(mistral):
    text = "\nre_fine: {tasks: {a: {action: std.noop}}}\nre_wrong: {tasks: 5}\n"
    assert "re_wrong" in mistral.refused("workflow-create", mistral.file("both.yaml", f"version: '2.0'{text}"))
    assert mistral.rows("workflow-list", "--filter", "name=re_fine") == []


def test_an_empty_file_is_refused_by_the_client_itself(mistral):
    assert 'Workflow is missing field "definition"' in mistral.refused(
        "workflow-create", mistral.file("empty.yaml", "")
    )


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("workflow", "version: '2.0'\nre_twice: {tasks: {a: {action: std.noop}}}\n"),
        ("workbook", "version: '2.0'\nname: re_twice\nworkflows: {one: {tasks: {a: {action: std.noop}}}}\n"),
        ("action", "version: '2.0'\nre_twice: {base: std.noop}\n"),
        ("environment", '{"name": "re_twice", "variables": {"a": 1}}'),
    ],
)
def test_a_name_is_given_once(mistral, kind, text):
    path = mistral.file("twice.yaml", text)
    mistral.text(f"{kind}-create", path)
    assert mistral.refused(f"{kind}-create", path).startswith("ERROR (app) Duplicate entry for ")


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("workflow", "version: '2.0'\nre_public: {tasks: {a: {action: std.noop}}}\n"),
        ("workbook", "version: '2.0'\nname: re_public\nworkflows: {one: {tasks: {a: {action: std.noop}}}}\n"),
        ("action", "version: '2.0'\nre_public: {base: std.noop}\n"),
    ],
)
def test_only_administrators_publish_for_everybody(mistral, kind, text):
    path = mistral.file("public.yaml", text)
    assert "Operation forbidden (insufficient permissions)" in mistral.refused(f"{kind}-create", path, "--public")
    assert "not found" in mistral.refused(f"{kind}-get", "re_public")


@pytest.mark.parametrize(
    "arguments",
    [
        ("workflow-get", "re_absent"),
        ("workflow-get-definition", "re_absent"),
        ("workbook-get", "re_absent"),
        ("workbook-get-definition", "re_absent"),
        ("action-get", "re_absent"),
        ("action-get-definition", "re_absent"),
        ("environment-get", "re_absent"),
        ("cron-trigger-get", "re_absent"),
        ("event-trigger-get", NIL),
        ("action-execution-get", NIL),
        ("action-execution-update", NIL, "--state", "SUCCESS"),
        ("workflow-delete", "re_absent"),
        ("workbook-delete", "re_absent"),
        ("action-delete", "re_absent"),
        ("environment-delete", "re_absent"),
        ("cron-trigger-delete", "re_absent"),
        ("event-trigger-delete", NIL),
        ("execution-list", "--marker", NIL),
    ],
    ids=" ".join,
)
def test_what_is_not_there_is_not_found_and_named(mistral, arguments):
    told = mistral.refused(*arguments)
    assert "not found" in told
    assert next(word for word in arguments if word in ("re_absent", NIL)) in told


LISTS = [
    "workflow",
    "workbook",
    "action",
    "environment",
    "execution",
    "task",
    "action-execution",
    "cron-trigger",
    "event-trigger",
]


@pytest.mark.parametrize("kind", LISTS)
@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--filter", "re_colour=blue"), 'Unknown argument: "re_colour"'),
        (("--sort_keys", "re_colour"), "re_colour"),
        (("--sort_dirs", "up"), "Unknown sort direction"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_list_refuses_what_it_does_not_know(mistral, kind, arguments, text):
    assert text in mistral.refused(f"{kind}-list", *arguments)


def test_a_filter_or_limit_that_is_none_is_refused_by_the_client_itself(mistral):
    assert "Invalid filter: a=b=c" in mistral.refused("workflow-list", "--filter", "a=b=c")
    assert "invalid int value: 'few'" in mistral.refused("workflow-list", "--limit", "few")


@pytest.mark.parametrize("command", ["execution-get", "task-get", "action-execution-get", "event-trigger-get"])
def test_an_id_that_is_none_is_refused(mistral, command):
    assert "re_no_id" in mistral.refused(command, "re_no_id")


def test_an_environment_has_no_other_attributes(mistral):
    path = mistral.file("more.json", {"name": "re_more", "variables": {"a": 1}, "colour": "blue"})
    assert "colour" in mistral.refused("environment-create", path)
    assert "not found" in mistral.refused("environment-get", "re_more")


def test_an_environment_that_is_not_there_cannot_be_updated(mistral):
    assert "re_absent" in mistral.refused("environment-update", mistral.file("absent.json", {"name": "re_absent"}))


def test_a_built_in_action_stays(mistral):
    mistral.refused("action-delete", "std.echo")
    assert mistral.one("action-get", "std.echo")["Is system"] is True


@pytest.mark.parametrize(
    ("arguments", "status"),
    [(["workflow-frobnicate"], 2), (["workflow-get"], 2), (["workflow-create", "/no/such/file"], 2)],
)
def test_a_command_that_makes_no_sense_asks_for_nothing(mistral, arguments, status):
    ended = mistral.run(*arguments)
    assert (ended.status, ended.requests) == (status, ())
    assert ended.told


def test_a_service_that_does_not_answer_is_an_error(mistral, tmp_path):
    nowhere = type(mistral)("http://127.0.0.1:9/v2", tmp_path)
    assert "127.0.0.1" in nowhere.refused("workflow-list")
