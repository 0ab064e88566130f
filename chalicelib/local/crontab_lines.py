"""Lines of a crontab become cron-triggers; each line that cannot be translated is told of, with the reason. Pure.

The dialect is that of Vixie cron and cronie: settings, five columns or a nickname, ``%`` in commands, a column for the
user in the system's crontabs.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from chalicelib.errors import InvalidModelException
from chalicelib.limits import CRON_JITTER_MAX_SEC
from chalicelib.services.schedules import check_pattern
from chalicelib.services.time_zones import check_zone
from chalicelib.vocabulary import JsonObject

LINES_MAX: Final = 1000
_SETTING: Final = re.compile(r"""\s*(["']?)([A-Za-z_]\w*)\1\s*=\s*(.*?)\s*$""")
_NICKNAMES: Final = ("yearly", "annually", "monthly", "weekly", "daily", "midnight", "hourly")
_FREEBSD: Final = {"@every_minute": "* * * * *", "@every_second": "* * * * * *"}
# What a shell would do something about: such a command is not a plain call of a program.
_SHELL: Final = re.compile(r"[|;&<>$`*(){}\[\]~!\n\\]")
_QUOTED: Final = re.compile(r"""'[^']*'|"[^"$`\\]*\"""")
_SILENCE: Final = re.compile(r"\s*(>\s*/dev/null\s+2>&1|&>\s*/dev/null|>&\s*/dev/null|1?>\s*/dev/null)\s*$")
_CURL_FLAGS: Final = re.compile(r"-[sSfL]+|--silent|--show-error|--fail|--location")
_WGET_FLAGS: Final = frozenset({"-q", "--quiet", "-nv", "--no-verbose"})
_SHELLS: Final = ("/bin/sh", "sh", "/usr/bin/sh")


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """What the lines do not say: the machine that commands run on, the zone of the old machine's clock.

    ``has_users``: a sixth column names the user, as in /etc/crontab.
    """

    has_users: bool = False
    host: str | None = None
    username: str | None = None
    private_key_filename: str | None = None
    time_zone: str | None = None
    prefix: str = "cron"


@dataclass(frozen=True, slots=True)
class Job:
    """A line that has been translated: a workflow of this name with this task, and what its trigger asks for."""

    line: int
    name: str
    action: JsonObject
    inputs: tuple[str, ...]
    trigger: JsonObject


@dataclass(frozen=True, slots=True)
class Remark:
    """Something to know of a line. ``is_lost``: it has not been translated."""

    line: int
    text: str
    is_lost: bool


@dataclass(slots=True)
class Translation:
    """What has become of a crontab."""

    jobs: list[Job] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)

    @property
    def is_complete(self) -> bool:
        """Whether every line has been translated."""
        return not any(remark.is_lost for remark in self.remarks)

    def definition(self) -> JsonObject:
        """The workflows, as one document of the workflow language."""
        return {"version": "2.0", **{job.name: _workflow(job) for job in self.jobs}}


class _Lost(Exception):
    """A line cannot be translated; the argument says why."""


@dataclass(slots=True)
class _Settings:
    """The settings above a line."""

    exported: dict[str, str] = field(default_factory=dict)
    time_zone: str | None = None
    bad_zone: str | None = None
    jitter_sec: int = 0
    shell: str = "/bin/sh"


def translate(text: str, dialect: Dialect, now: float) -> Translation:
    """Translate a crontab; ``now`` is for patterns that name years. Raises ValueError for one that is too long."""
    lines = text.splitlines()
    if len(lines) > LINES_MAX:
        raise ValueError(f"it has {len(lines)} lines; the most is {LINES_MAX}")
    made = Translation()
    settings = _Settings(time_zone=dialect.time_zone)
    for number, line in enumerate(lines, start=1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        found = _SETTING.match(line)
        if found:
            told = _set(settings, found.group(2), _unquoted(found.group(3)), dialect)
            made.remarks += [Remark(number, text, is_lost=False) for text in told]
            continue
        try:
            job, remarks = _job(number, stripped, settings, dialect, now)
        except _Lost as why:
            made.remarks.append(Remark(number, str(why), is_lost=True))
            continue
        made.jobs.append(job)
        made.remarks += [Remark(number, remark, is_lost=False) for remark in remarks]
    return made


def _workflow(job: Job) -> JsonObject:
    return {
        "description": f"Line {job.line} of a crontab.",
        "input": list(job.inputs),
        "tasks": {"run": {"action": job.action["name"], "input": {name: f"<% $.{name} %>" for name in job.inputs}}},
    }


# -- settings


def _set(settings: _Settings, name: str, value: str, dialect: Dialect) -> Iterator[str]:
    match name:
        case "CRON_TZ":
            try:
                settings.time_zone, settings.bad_zone = check_zone(value), None
            except InvalidModelException as error:
                settings.bad_zone = error.message
        case "RANDOM_DELAY":
            minutes = int(value) if value.isdecimal() else -1
            if not 0 <= minutes * 60 <= CRON_JITTER_MAX_SEC:
                yield f"RANDOM_DELAY={value} is ignored: it must be a number of minutes, a day of them at most"
                return
            settings.jitter_sec = minutes * 60
        case "MAILTO" | "MAILFROM" | "CONTENT_TYPE" | "CONTENT_TRANSFER_ENCODING":
            if value:
                yield f"{name} is ignored: output is not mailed, it is the result of the task"
        case "SHELL":
            settings.shell = value
        case "LOGNAME" | "USER":
            yield f"{name} is ignored: commands run as the user that logs in ({dialect.username or 'none is given'})"
        case _:
            settings.exported[name] = value


def _unquoted(value: str) -> str:
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'" else value


# -- jobs


def _job(number: int, line: str, settings: _Settings, dialect: Dialect, now: float) -> tuple[Job, list[str]]:
    if settings.bad_zone is not None:
        raise _Lost(f"its CRON_TZ cannot be used: {settings.bad_zone}")
    pattern, rest = _pattern(line.lstrip("-"), now, settings.time_zone)
    username = dialect.username
    if dialect.has_users:
        named, rest = (*rest.split(None, 1), "", "")[:2]
        username = dialect.username or named
    command, given = _command(rest)
    if not command:
        raise _Lost("there is no command" + (" behind the user" if dialect.has_users else ""))
    remarks: list[str] = []
    has_proxy = any(each.lower().endswith("_proxy") for each in settings.exported)
    called = None if given or has_proxy else _call(command, remarks)
    if called is None:
        called = _on_machine(command, given, settings, dialect, username)
        name = "std.ssh"
    else:
        name = "std.http"
    trigger_name = f"{dialect.prefix}_{number}_{_slug(command)}"
    trigger: JsonObject = {
        "name": trigger_name,
        "workflow_name": trigger_name,
        "workflow_input": called,
        "pattern": pattern,
    }
    if settings.time_zone is not None:
        trigger["time_zone"] = settings.time_zone
    if settings.jitter_sec:
        trigger["jitter_sec"] = settings.jitter_sec
    return Job(number, trigger_name, {"name": name}, tuple(called), trigger), remarks


def _pattern(line: str, now: float, zone: str | None) -> tuple[str, str]:
    """The pattern at the beginning of a line, and what follows."""
    if line.startswith("@"):
        nickname, rest = (*line.split(None, 1), "")[:2]
        if nickname == "@reboot":
            raise _Lost("@reboot: there is no machine here that boots; start the workflow where that happens")
        if nickname.removeprefix("@") not in _NICKNAMES and nickname not in _FREEBSD:
            raise _Lost(f"{nickname} is not known; there are @{', @'.join(_NICKNAMES)}")
        return _FREEBSD.get(nickname, nickname), rest.strip()
    columns = line.split(None, 5)
    if len(columns) < 5:
        raise _Lost("this is neither a setting nor five columns and a command")
    pattern, rest = " ".join(columns[:5]).lower(), columns[5] if len(columns) > 5 else ""
    if "~" in pattern:
        raise _Lost("a random time (~) has no counterpart; choose a time, and spread runs with jitter_sec")
    day, weekday = columns[2], columns[4]
    restricted = [column not in ("*", "?") for column in (day, weekday)]
    if all(restricted) and (day.startswith("*") or weekday.startswith("*")):
        raise _Lost(
            "of its two columns for days one begins with a star: cron wants both to fit, a cron trigger either; "
            "write the days out"
        )
    try:
        check_pattern(pattern, now, zone)
    except InvalidModelException as error:
        raise _Lost(error.message) from error
    return pattern, rest.strip()


def _command(text: str) -> tuple[str, str | None]:
    """The command, and what it is given to read: behind the first % that has no backslash, each further one a line."""
    parts = re.split(r"(?<!\\)%", text)
    command, *given = (part.replace("\\%", "%") for part in parts)
    return command.strip(), "\n".join(given) if given else None


def _slug(command: str) -> str:
    words = [word for word in command.split() if "=" not in word] or ["command"]
    program = words[0].rpartition("/")[2]
    return re.sub(r"\W+", "_", program).strip("_")[:40] or "command"


def _on_machine(
    command: str, given: str | None, settings: _Settings, dialect: Dialect, username: str | None
) -> JsonObject:
    """The input of ``std.ssh``."""
    if dialect.host is None or username is None:
        missing = "--host" if dialect.host is None else "--user"
        raise _Lost(f"a command needs a machine to run on, which a cron trigger is not: say which with {missing}")
    exports = "".join(f"export {name}={shlex.quote(value)}; " for name, value in settings.exported.items())
    exports += 'cd "$HOME"; ' if "HOME" in settings.exported else ""
    text = command if settings.shell in _SHELLS else f"{shlex.quote(settings.shell)} -c {shlex.quote(command)}"
    if given is not None:
        text = f"printf %s {shlex.quote(given)} | {{ {text}\n}}"
    called: JsonObject = {"cmd": f"{exports}{text}", "host": dialect.host, "username": username}
    if dialect.private_key_filename is not None:
        called["private_key_filename"] = dialect.private_key_filename
    return called


def _call(command: str, remarks: list[str]) -> JsonObject | None:
    """The input of ``std.http``, when a command is a plain call of ``curl`` or ``wget``."""
    plain = command
    while found := _SILENCE.search(plain):
        plain = plain[: found.start()]
    if _SHELL.search(_QUOTED.sub("", plain)):
        return None
    try:
        program, *words = shlex.split(plain)
    except ValueError:
        return None
    program = program.rpartition("/")[2]
    called = _curl(words) if program == "curl" else _wget(words) if program == "wget" else None
    if called is None or urlsplit(str(called.get("url"))).scheme not in ("http", "https"):
        return None
    remarks.append(f"{program} becomes std.http: a status of 307 or more fails the task, and redirects are followed")
    return called


def _curl(words: list[str]) -> JsonObject | None:
    called: dict[str, Any] = {}
    left = iter(words)
    for word in left:
        if _CURL_FLAGS.fullmatch(word):
            continue
        if word in ("-o", "--output"):
            if next(left, "") != "/dev/null":
                return None
        elif word in ("-X", "--request"):
            called["method"] = next(left, "GET")
        elif word in ("-H", "--header"):
            name, _, value = next(left, "").partition(":")
            called.setdefault("headers", {})[name.strip()] = value.strip()
        elif word in ("-d", "--data", "--data-raw"):
            data = next(left, "")
            if data.startswith("@") or "body" in called:
                return None
            called["body"] = data
        elif word.startswith("-") or "url" in called:
            return None
        else:
            called["url"] = word
    if "body" in called:
        called.setdefault("method", "POST")
        called.setdefault("headers", {}).setdefault("Content-Type", "application/x-www-form-urlencoded")
    return called


def _wget(words: list[str]) -> JsonObject | None:
    called: JsonObject = {}
    left = iter(words)
    is_saved = True
    for word in left:
        if word in _WGET_FLAGS:
            continue
        if word in ("-O", "--output-document"):
            is_saved = next(left, "") not in ("/dev/null", "-")
        elif word in ("-qO-", "-O-", "-qO/dev/null", "-O/dev/null", "--spider"):
            is_saved = False
            called |= {"method": "HEAD"} if word == "--spider" else {}
        elif word.startswith("-") or "url" in called:
            return None
        else:
            called["url"] = word
    return None if is_saved else called
