"""How the work is shown."""

import io
import logging
import time

import pytest

from chalicelib.local.logs import LineFormatter, Painter, change_line, logging_to, one_line


def a_record(message: str = "", level: int = logging.INFO, **extra: object) -> logging.LogRecord:
    record = logging.LogRecord("mistral.engine", level, __file__, 1, message, (), None)
    record.created = time.mktime((2026, 11, 23, 12, 0, 1, 0, 0, -1))
    record.__dict__.update(extra)
    return record


CHANGE = {
    "workflow": "create_vm",
    "execution": "3f0c1b2a-0000-4000-8000-000000000000",
    "task": "wait_for_instance",
    "before": "RUNNING",
    "after": "SUCCESS",
}


def test_a_change_of_a_task_is_one_readable_line() -> None:
    line = LineFormatter(colours=False).format(a_record("ignored", mistral=CHANGE))
    assert line == "12:00:01 create_vm  3f0c1b2a…  task wait_for_instance  RUNNING -> SUCCESS"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"workflow": "w", "execution": "short", "after": "RUNNING"}, "w  short  execution  RUNNING"),
        (
            {"workflow": "w", "task": "t", "action": "std.http", "after": "ERROR", "info": "no\n  route"},
            "w  task t  action std.http  ERROR  no route",
        ),
        ({"action": "std.echo", "before": "RUNNING", "after": "SUCCESS"}, "action std.echo  RUNNING -> SUCCESS"),
    ],
)
def test_a_line_names_what_changed(change: dict[str, str], expected: str) -> None:
    assert change_line(change, Painter(colours=False)) == expected


def test_colours_are_for_terminals_only() -> None:
    assert "\x1b[32mSUCCESS\x1b[0m" in LineFormatter(colours=True).format(a_record(mistral=CHANGE))
    assert "\x1b" not in LineFormatter(colours=False).format(a_record(mistral=CHANGE))


def test_other_records_print_as_their_message_and_warnings_say_so() -> None:
    formatter = LineFormatter(colours=False)
    assert formatter.format(a_record("hello")) == "12:00:01 hello"
    assert formatter.format(a_record("careful", logging.WARNING)) == "12:00:01 WARNING  careful"


def test_a_long_text_is_cut() -> None:
    assert one_line("x" * 300) == "x" * 199 + "…"


def test_the_level_is_for_our_own_log_and_others_only_warn() -> None:
    stream = io.StringIO()
    with logging_to(stream, "INFO"):
        logging.getLogger("mistral.engine").info("of ours")
        logging.getLogger("mistral.engine").debug("too fine")
        logging.getLogger("botocore").info("noise")
    logging.getLogger("mistral.engine").warning("afterwards")
    assert [line[9:] for line in stream.getvalue().splitlines()] == ["of ours"]


def test_a_message_that_quotes_a_secret_is_masked() -> None:
    line = LineFormatter(colours=False).format(a_record("cannot send token=hunter2 to https://host.test/hunter2"))
    assert line == "12:00:01 cannot send token=*** to https://host.test/***"
