"""Cron triggers, event triggers and members through the client's commands."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.client.shell import Mistral

NEVER = "0 0 1 1 *"
NIL = "00000000-0000-0000-0000-000000000000"


@pytest.fixture(scope="module")
def workflow_id(url, tmp_path_factory):
    home = Mistral(url, tmp_path_factory.mktemp("triggers"))
    (row,) = home.upload("tr_greet:\n  input: [who]\n  tasks: {a: {action: std.noop}}\n")
    return row["ID"]


@pytest.fixture
def mistral(workflow_id, mistral):
    return mistral


# -- cron triggers


def test_a_cron_trigger_is_created_shown_listed_and_deleted(mistral):
    created = mistral.one(
        "cron-trigger-create", "tr_year", "tr_greet", '{"who": 1}', "--pattern", NEVER, "--params", "{}", "--count", "3"
    )
    assert (created["Name"], created["Workflow"], created["Pattern"]) == ("tr_year", "tr_greet", NEVER)
    assert (created["Remaining executions"], created["Next execution time"][4:]) == (3, "-01-01 00:00:00")
    assert mistral.one("cron-trigger-get", "tr_year")["Pattern"] == NEVER
    assert mistral.column("Name", "cron-trigger-list", "--filter", "name=tr_year") == ["tr_year"]
    mistral.text("cron-trigger-delete", "tr_year")
    assert "not found" in mistral.refused("cron-trigger-get", "tr_year")


def test_a_cron_trigger_may_have_only_a_first_time(mistral):
    later = (datetime.now(UTC) + timedelta(days=2)).strftime("%Y-%m-%d %H:%M")
    created = mistral.one("cron-trigger-create", "tr_once", "tr_greet", '{"who": 1}', "--first-time", later, "--utc")
    assert (created["Next execution time"], created["Remaining executions"]) == (f"{later}:00", 1)
    mistral.text("cron-trigger-delete", "tr_once")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["tr_greet", '{"who": 1}', "--pattern", "no pattern"], "pattern"),
        (["tr_greet", '{"who": 1}'], "Pattern or first_execution_time must be specified"),
        (["tr_greet", "--pattern", NEVER], "missing=['who']"),
        (["tr_absent", "--pattern", NEVER], "Workflow not found"),
        (["tr_greet", '{"who": 1}', "--pattern", NEVER, "--count", "0"], "0"),
        (["tr_greet", '{"who": 1}', "--first-time", "2001-01-01 00:00", "--utc"], "first_execution_time"),
        (["tr_greet", '{"who": 1}', "--pattern", NEVER, "--count", "many"], "invalid int value: 'many'"),
    ],
)
def test_a_cron_trigger_that_cannot_be_says_why(mistral, arguments, text):
    assert text in mistral.refused("cron-trigger-create", "tr_bad", *arguments)
    assert "not found" in mistral.refused("cron-trigger-get", "tr_bad")


# -- event triggers


def test_an_event_trigger_is_created_shown_listed_and_deleted(mistral, workflow_id):
    created = mistral.one(
        "event-trigger-create",
        "tr_event",
        workflow_id,
        "tr_exchange",
        "topic",
        "made",
        '{"who": 1}',
        "--params",
        '{"a": 1}',
    )
    assert (created["Workflow ID"], created["Params"]) == (workflow_id, '{"a": 1}')
    assert (created["Exchange"], created["Topic"], created["Event"]) == ("tr_exchange", "topic", "made")
    assert mistral.one("event-trigger-get", created["ID"]) == created
    assert mistral.column("ID", "event-trigger-list", "--filter", "exchange=tr_exchange") == [created["ID"]]
    mistral.text("event-trigger-delete", created["ID"])
    assert "not found" in mistral.refused("event-trigger-get", created["ID"])


@pytest.mark.parametrize(
    ("workflow", "text"), [("no id", "workflow_id"), (NIL, "Workflow not found"), ("tr_greet", "workflow_id")]
)
def test_an_event_trigger_needs_the_id_of_a_workflow(mistral, workflow, text):
    assert text in mistral.refused("event-trigger-create", "tr_bad", workflow, "exchange", "topic", "event")


def test_a_workflow_with_a_trigger_stays(mistral, workflow_id):
    event = mistral.one("event-trigger-create", "tr_held", workflow_id, "held", "topic", "event", '{"who": 1}')["ID"]
    assert "event triggers associated" in mistral.refused("workflow-delete", workflow_id)
    mistral.text("event-trigger-delete", event)
    mistral.one("cron-trigger-create", "tr_held", "tr_greet", '{"who": 1}', "--pattern", NEVER)
    assert "cron triggers associated" in mistral.refused("workflow-delete", workflow_id)
    mistral.text("cron-trigger-delete", "tr_held")


# -- members


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("member-create", ["other"]),
        ("member-list", []),
        ("member-get", ["-m", "other"]),
        ("member-update", ["-m", "other", "-s", "accepted"]),
        ("member-delete", ["other"]),
    ],
)
def test_nothing_is_shared_where_nobody_says_who_they_are(mistral, workflow_id, command, arguments):
    told = mistral.refused(command, workflow_id, "workflow", *arguments)
    assert "Resource sharing feature can only be supported with authentication enabled." in told
