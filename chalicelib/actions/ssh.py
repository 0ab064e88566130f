"""``std.ssh`` and ``std.ssh_proxied``: a command on other machines.

The keys of unknown hosts are accepted, as OpenStack Mistral does: whom a task talks to is decided by name and network.
The executor's own configuration, agent and keys are never used: only what the task names.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Final

from chalicelib.actions.action import ActionContext, action
from chalicelib.actions.inputs import host_and_port, need_text, need_texts
from chalicelib.errors import ActionException, UrlNotAllowedException
from chalicelib.limits import EXECUTOR_LONG_TIMEOUT_SEC, SSH_HOSTS_MAX
from chalicelib.vocabulary import Json, JsonObject

if TYPE_CHECKING:
    from chalicelib.actions.ssh_transport import Login, Ran

_logger: Final = logging.getLogger(__name__)
_SSH_PORT: Final = 22
_KEY_FOLDER: Final = Path("~/.ssh")
_KEY_BEGIN: Final = "-----BEGIN "


def _check(input: JsonObject) -> None:
    need_text(input, "cmd")
    need_text(input, "username", one_line=True)
    need_text(input, "password", "private_key", "private_key_filename", optional=True)
    filename = input.get("private_key_filename") or ""
    if not filename.startswith(_KEY_BEGIN) and ".." in Path(filename).parts:
        raise ValueError("private_key_filename may not contain '..'")


def _check_direct(input: JsonObject) -> None:
    _check(input)
    hosts = input.get("host")
    need_texts({"host": hosts if isinstance(hosts, list) else [hosts]}, "host", at_most=SSH_HOSTS_MAX)
    for host in _listed(hosts):
        host_and_port(host, name="host", port=_SSH_PORT)


def _check_proxied(input: JsonObject) -> None:
    _check_direct(input)
    need_text(input, "gateway_host", one_line=True)
    need_text(input, "gateway_username", optional=True, one_line=True)
    host_and_port(input["gateway_host"], name="gateway_host", port=_SSH_PORT)
    if input.get("proxy_command"):
        raise ValueError("proxy_command is not supported: it would run a program in the executor; use gateway_host")
    if not (input.get("private_key") or input.get("private_key_filename")):
        raise ValueError("private_key or private_key_filename is needed: a gateway is not entered by password")


def _listed(hosts: Json) -> list[str]:
    return hosts if isinstance(hosts, list) else [hosts]


@action("std.ssh", construct=_check_direct)
def ssh(
    context: ActionContext,
    cmd: str,
    host: Json,
    username: str,
    *,
    password: str | None = "",
    private_key_filename: str | None = None,
    private_key: str | None = None,
    return_result_on_error: bool = False,
) -> Json:
    """Run a command on one or several machines, one after the other.

    The result is what the command printed; of a list of several hosts, a list in their order. A command that ends with
    another status than 0 is an error.

    :param cmd: The command, as a shell there reads it.
    :param host: A host, as name or name:port, or a list of them.
    :param username: Who logs in.
    :param password: The password; also that of the private key.
    :param private_key_filename: The file of the private key; a relative path begins at .ssh of the executor's user.
    :param private_key: The private key itself, before that file.
    :param return_result_on_error: True makes each result an object (stdout, stderr, exit_code), whatever the status.
    """
    input = {
        "cmd": cmd, "host": host, "username": username, "password": password,
        "private_key_filename": private_key_filename, "private_key": private_key,
    }  # fmt: skip
    _check_direct(input)
    return _results(input, None, context, with_status=bool(return_result_on_error))


@action("std.ssh_proxied", construct=_check_proxied)
def ssh_proxied(  # noqa: PLR0917 - the order of OpenStack Mistral's parameters
    context: ActionContext,
    cmd: str,
    host: Json,
    username: str,
    private_key_filename: str | None,
    gateway_host: str,
    *,
    gateway_username: str | None = None,
    password: str | None = None,
    proxy_command: str | None = None,
    private_key: str | None = None,
) -> Json:
    """Run a command on machines that are reached through another one.

    The result is that of std.ssh. The gateway connects to the host; the key opens both.

    :param cmd: The command, as a shell there reads it.
    :param host: A host as the gateway knows it, or a list of them.
    :param username: Who logs in there.
    :param private_key_filename: The file of the private key; null if private_key is given.
    :param gateway_host: The gateway, as name or name:port.
    :param gateway_username: Who logs in at the gateway; username by default.
    :param password: The password of the private key.
    :param proxy_command: Not supported.
    :param private_key: The private key itself, before that file.
    """
    input = {
        "cmd": cmd, "host": host, "username": username, "private_key_filename": private_key_filename,
        "gateway_host": gateway_host, "gateway_username": gateway_username, "password": password,
        "proxy_command": proxy_command, "private_key": private_key,
    }  # fmt: skip
    _check_proxied(input)
    return _results(input, gateway_host, context, with_status=False)


def _results(input: JsonObject, gateway: str | None, context: ActionContext, *, with_status: bool) -> Json:
    from chalicelib.actions import ssh_transport

    login = _login(input)
    hosts = _listed(input["host"])
    failed = f"Failed to execute ssh cmd '{input['cmd']}' on {hosts}"
    by_way_of = None
    if gateway is not None:
        by_way_of = ssh_transport.Gateway(
            *host_and_port(gateway, name="gateway_host", port=_SSH_PORT),
            input.get("gateway_username") or login.username,
        )
    places = [host_and_port(host, name="host", port=_SSH_PORT) for host in hosts]
    deadline_sec = EXECUTOR_LONG_TIMEOUT_SEC if context.deadline_sec is None else context.deadline_sec
    results: list[Json] = []
    try:
        for ran in ssh_transport.run_on_each(
            places, input["cmd"], login, gateway=by_way_of, policy=context.egress, deadline_sec=deadline_sec
        ):
            if ran.exit_code != 0 and not with_status:
                raise ActionException(f"{failed}: the command ended with status {ran.exit_code}")
            results.append(_shown(ran, with_status=with_status))
    except ssh_transport.Failure as failure:
        # The text of the library may tell more than the caller should know.
        _logger.warning("An SSH command could not be run: %s", type(failure.__cause__ or failure).__name__)
        raise ActionException(f"{failed}: {failure}") from failure
    except UrlNotAllowedException as error:
        raise ActionException(f"{failed}: {error}") from error
    return results if len(results) > 1 else results[0] if results else []


def _shown(ran: Ran, *, with_status: bool) -> Json:
    if not with_status:
        return ran.stdout
    return {"stdout": ran.stdout, "stderr": ran.stderr, "exit_code": ran.exit_code}


def _login(input: JsonObject) -> Login:
    from chalicelib.actions import ssh_transport

    key = input.get("private_key") or ""
    filename = input.get("private_key_filename") or ""
    if not key and filename.startswith(_KEY_BEGIN):
        key = filename  # a secret in the place of a file
    if not key and filename:
        try:
            key = (_KEY_FOLDER.expanduser() / filename).read_text("utf-8")
        except (OSError, ValueError) as error:
            raise ActionException("private_key_filename: there is no such file that can be read") from error
    password = input.get("password") or None
    try:
        return ssh_transport.login(input["username"], password, key)
    except ssh_transport.Failure as error:
        raise ActionException(f"private_key cannot be used: {error}") from error
