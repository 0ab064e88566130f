"""Crontabs become workflows and cron-triggers, line by line, and the command line works with them."""

import io
import json
import re
from typing import Any

import pytest
import requests
import yaml

from chalicelib.local.crontab_lines import Dialect, Translation, translate
from chalicelib.local.main import main
from tests.api.service_client import Client

NOW = 1_700_000_000.0
ON_MACHINE = Dialect(host="web1", username="deploy")


def translated(text: str, dialect: Dialect = ON_MACHINE) -> Translation:
    return translate(text, dialect, NOW)


def only(text: str, dialect: Dialect = ON_MACHINE) -> dict[str, Any]:
    """The trigger of the one line that there is."""
    made = translated(text, dialect)
    assert made.is_complete, made.remarks
    [job] = made.jobs
    return job.trigger


def reason(text: str, dialect: Dialect = ON_MACHINE) -> str:
    """Why the last line cannot be translated."""
    lost = [remark for remark in translated(text, dialect).remarks if remark.is_lost]
    assert lost, "it was translated"
    return lost[-1].text


def test_a_line_becomes_a_workflow_and_its_trigger():
    made = translated("# nightly\n\n30 2 * * 1-5 /usr/local/bin/back-up --full\n")
    [job] = made.jobs
    assert job.trigger == {
        "name": "cron_3_back_up",
        "workflow_name": "cron_3_back_up",
        "workflow_input": {"cmd": "/usr/local/bin/back-up --full", "host": "web1", "username": "deploy"},
        "pattern": "30 2 * * 1-5",
    }
    task = made.definition()["cron_3_back_up"]["tasks"]["run"]
    assert task == {
        "action": "std.ssh",
        "input": {"cmd": "<% $.cmd %>", "host": "<% $.host %>", "username": "<% $.username %>"},
    }
    assert made.remarks == []


def test_a_command_is_data_whatever_it_looks_like():
    command = "docker ps --format '{{.Names}}' # <% $.x %>"
    made = translated("0 0 * * * " + command.replace("%", "\\%"))
    assert made.jobs[0].trigger["workflow_input"]["cmd"] == command
    assert "Names" not in yaml.safe_dump(made.definition())


@pytest.mark.parametrize(
    ("line", "pattern"),
    [
        ("@daily x", "@daily"),
        ("@hourly\tx", "@hourly"),
        ("@every_minute x", "* * * * *"),
        ("*/5  1,2\t1-10/3 JAN-Mar Mon x", "*/5 1,2 1-10/3 jan-mar mon"),
        ("-0 0 * * * x", "0 0 * * *"),
        ("0 0 1 * mon x", "0 0 1 * mon"),
    ],
)
def test_the_times_of_a_line_are_its_pattern(line, pattern):
    assert only(line)["pattern"] == pattern


def test_settings_count_for_the_lines_below_them():
    text = """
0 1 * * * first
PATH = "/opt/bin:/usr/bin"
GREETING='it is'
CRON_TZ=europe/berlin
RANDOM_DELAY=10
0 2 * * * second
CRON_TZ=UTC
SHELL=/bin/bash
HOME=/srv
0 3 * * * third
"""
    first, second, third = (job.trigger for job in translated(text).jobs)
    assert "time_zone" not in first
    assert (second["time_zone"], second["jitter_sec"], third["time_zone"]) == ("Europe/Berlin", 600, "UTC")
    assert second["workflow_input"]["cmd"] == "export PATH=/opt/bin:/usr/bin; export GREETING='it is'; second"
    assert third["workflow_input"]["cmd"].endswith('export HOME=/srv; cd "$HOME"; /bin/bash -c third')


def test_percent_signs_are_lines_of_input():
    cmd = only("0 0 * * * mail -s '50\\% off' a@b%Dear A,%bye")["workflow_input"]["cmd"]
    assert cmd == "printf %s 'Dear A,\nbye' | { mail -s '50% off' a@b\n}"


def test_the_column_for_the_user_is_read_where_there_is_one():
    line = "0 0 * * *\troot\tapt-get update"
    assert only(line, Dialect(has_users=True, host="h"))["workflow_input"] == {
        "cmd": "apt-get update",
        "host": "h",
        "username": "root",
    }
    assert only(line, Dialect(has_users=True, host="h", username="me"))["workflow_input"]["username"] == "me"
    assert reason("0 0 * * * root", Dialect(has_users=True, host="h")) == "there is no command behind the user"


@pytest.mark.parametrize(
    ("command", "called"),
    [
        ("curl https://x.org/a", {"url": "https://x.org/a"}),
        ("/usr/bin/curl -fsS 'https://x.org/?a=1&b=2' >/dev/null 2>&1", {"url": "https://x.org/?a=1&b=2"}),
        ("curl -s -o /dev/null -X DELETE https://x.org", {"method": "DELETE", "url": "https://x.org"}),
        (
            'curl -H "X-Key: k" -d a=1 https://x.org',
            {
                "headers": {"X-Key": "k", "Content-Type": "application/x-www-form-urlencoded"},
                "body": "a=1",
                "url": "https://x.org",
                "method": "POST",
            },
        ),
        ("wget -qO- https://x.org", {"url": "https://x.org"}),
        ("wget --spider -q https://x.org > /dev/null", {"method": "HEAD", "url": "https://x.org"}),
    ],
)
def test_a_plain_call_of_a_web_address_needs_no_machine(command, called):
    made = translated(f"0 0 * * * {command}", Dialect())
    [job] = made.jobs
    assert (job.trigger["workflow_input"], job.action["name"]) == (called, "std.http")
    assert "becomes std.http" in made.remarks[0].text


@pytest.mark.parametrize(
    "command",
    [
        "curl https://x.org | sh",
        "curl https://x.org/?a=1&b=2",
        'curl "https://x.org/$HOME"',
        "curl -k https://x.org",
        "curl -o file https://x.org",
        "curl -d @file https://x.org",
        "curl ftp://x.org",
        "curl https://x.org https://y.org",
        "curl 'https://x.org",
        "wget https://x.org/file",
        "wget -r -O- https://x.org",
        "curl",
    ],
)
def test_any_other_call_needs_a_shell(command):
    assert translated(f"0 0 * * * {command}").jobs[0].action["name"] == "std.ssh"
    assert "needs a machine to run on" in reason(f"0 0 * * * {command}", Dialect())


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("@reboot x", "no machine here that boots"),
        ("@fortnightly x", "@fortnightly is not known; there are @yearly"),
        ("0 0 31 2 * x", "no moment in the next fifty years fits it"),
        ("0 25 * * * x", "is not valid: 0 25 \\* \\* \\*"),
        ("0~59 * * * * x", "a random time"),
        ("0 0 */2 * mon x", "cron wants both to fit, a cron trigger either"),
        ("0 0 * * *", "there is no command"),
        ("0 0 * * * %input", "there is no command"),
        ("hello", "neither a setting nor five columns"),
        ("CRON_TZ=Europe/Brelin\n0 0 * * * x", "did you mean Europe/Berlin"),
    ],
)
def test_what_cannot_be_translated_is_told_with_the_reason(text, why):
    made = translated(text)
    assert made.jobs == []
    assert not made.is_complete
    assert re.search(why, reason(text)), reason(text)


def test_what_is_not_needed_is_told_and_nothing_is_lost():
    made = translated("MAILTO=ops@x.org\nRANDOM_DELAY=soon\nUSER=x\nMAILTO=\n0 0 * * * y")
    assert [(remark.line, remark.text.split()[0]) for remark in made.remarks] == [
        (1, "MAILTO"),
        (2, "RANDOM_DELAY=soon"),
        (3, "USER"),
    ]
    assert made.is_complete


def test_a_crontab_has_an_end():
    with pytest.raises(ValueError, match="it has 1001 lines; the most is 1000"):
        translated("\n" * 1001)


# -- the commands


@pytest.fixture
def service(monkeypatch):
    """A service that answers at http://there/v2."""
    client = Client()

    def request(method, url, **options):
        path = url.removeprefix("http://there")
        query = "&".join(f"{name}={value}" for name, value in (options.get("params") or {}).items())
        body = options.get("data", options.get("json"))
        told = client.ask(method, f"{path}?{query}" if query else path, body)
        reply = requests.Response()
        reply.status_code = told.status
        reply._content = b"" if told.json is None else json.dumps(told.json).encode()
        return reply

    monkeypatch.setattr(requests, "request", request)
    return client


def test_import_prints_workflows_and_triggers_and_says_what_is_missing(tmp_path, capsys):
    path = tmp_path / "crontab"
    path.write_text("0 1 * * * curl https://x.org\n@reboot y\n0 2 * * * z\n", "utf-8")
    assert main(["crontab", "import", str(path), "--host", "h", "--user", "u", "--time-zone", "Europe/Berlin"]) == 1
    shown = capsys.readouterr()
    workflows, triggers = yaml.safe_load_all(shown.out)
    assert list(workflows) == ["version", "cron_1_curl", "cron_3_z"]
    assert [(trigger["name"], trigger["time_zone"]) for trigger in triggers] == [
        ("cron_1_curl", "Europe/Berlin"),
        ("cron_3_z", "Europe/Berlin"),
    ]
    assert f"{path}:2: not translated: @reboot" in shown.err


def test_import_uploads_what_it_can(service, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO("0 1 * * * curl https://x.org\n0 2 * * * wget -qO- https://y.org\n"))
    arguments = ["crontab", "import", "-", "--url", "http://there/v2", "--prefix", "web"]
    assert main(arguments) == 0
    assert "-:1: web_1_curl runs next at 2023-11-15 01:00:00 UTC" in capsys.readouterr().out
    assert len(service.get("/v2/cron_triggers").json["cron_triggers"]) == 2
    monkeypatch.setattr("sys.stdin", io.StringIO("0 1 * * * curl https://x.org\n"))
    assert main(arguments) == 1
    assert "-:1: refused: Duplicate entry" in capsys.readouterr().err


def test_import_refuses_what_it_cannot_read(tmp_path, capsys):
    path = tmp_path / "crontab"
    assert main(["crontab", "import", str(path)]) == 2
    path.write_bytes(b"0 0 * * * \xff")
    assert main(["crontab", "import", str(path)]) == 2
    path.write_text("0 0 * * * x", "utf-8")
    assert main(["crontab", "import", str(path), "--time-zone", "Berlin"]) == 2
    assert "did you mean Europe/Berlin" in capsys.readouterr().err


def test_preview_needs_no_service(capsys):
    assert main(["cron", "preview", "0 9 * * 1", "--time-zone", "asia/tokyo", "--count", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert all("T09:00:00+09:00" in line for line in lines)
    assert main(["cron", "preview", "0 0 31 2 *"]) == 2
    assert "fifty years" in capsys.readouterr().err


def test_a_trigger_is_paused_resumed_run_and_filled_from_the_command_line(service, capsys):
    def told(*words):
        status = main(["cron", words[0], *words[1:], "--url", "http://there/v2"])
        shown = capsys.readouterr()
        return status, (shown.out or shown.err).splitlines()

    service.upload("w:\n  tasks:\n    t: {action: std.noop}\n")
    service.post("/v2/cron_triggers", {"name": "nightly run", "workflow_name": "w", "pattern": "0 2 * * *"})
    assert told("times", "nightly run", "--count", "1") == (
        0,
        ["2023-11-15 02:00:00 UTC  for 2023-11-15T02:00:00+00:00"],
    )
    assert told("pause", "nightly run") == (0, ["nightly run: paused since 2023-11-14 22:13:20 UTC"])
    assert told("resume", "nightly run") == (0, ["nightly run: next 2023-11-15 02:00:00 UTC"])
    status, [execution_id] = told("run", "nightly run", "--key", "k")
    assert (status, service.get(f"/v2/executions/{execution_id}").status) == (0, 200)
    status, lines = told("backfill", "nightly run", "--from", "2023-11-10", "--to", "2023-11-12 03:00", "--dry-run")
    assert (status, [line[:19] for line in lines]) == (
        0,
        ["2023-11-10 02:00:00", "2023-11-11 02:00:00", "2023-11-12 02:00:00"],
    )
    assert told("times", "absent") == (2, ["mistral-local: Cron trigger not found [identifier=absent]"])


def test_without_a_service_a_command_says_so(capsys):
    assert main(["cron", "pause", "x", "--url", "http://127.0.0.1:9/v2"]) == 2
    assert "no service answers at http://127.0.0.1:9/v2" in capsys.readouterr().err
