"""``std.ssh`` and ``std.ssh_proxied`` against real SSH servers."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncssh
import pytest

from chalicelib.actions import ssh as ssh_module
from chalicelib.actions.egress import EgressPolicy, networks
from chalicelib.actions.registry import ActionContext
from chalicelib.errors import ActionConstructionError
from chalicelib.limits import SSH_OUTPUT_BYTES_MAX
from tests.unit.actions.calling import HANGS_SEC, OPEN, call, construct, signature
from tests.unit.actions.ssh_server import SshServer, ssh_server

KEYS = {kind: asyncssh.generate_private_key(kind) for kind in ("ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa")}
ED25519 = KEYS["ssh-ed25519"]


def text_of(key: asyncssh.SSHKey, passphrase: str | None = None) -> str:
    return key.export_private_key("openssh", passphrase=passphrase).decode()


@pytest.fixture
def server() -> Iterator[SshServer]:
    with ssh_server(SshServer(keys=list(KEYS.values()))) as running:
        yield running


def ssh(server: SshServer, cmd: str, seen: ActionContext | None = None, **input):
    defaults = {"host": server.address, "username": "ann", "password": "opensesame"}
    context = seen or ActionContext(egress=OPEN, action_execution_id="an-id")
    return call("std.ssh", context, cmd=cmd, **{**defaults, **input})


def test_the_signatures_are_those_of_mistral():
    assert signature("std.ssh") == (
        'cmd, host, username, password="", private_key_filename=null, private_key=null, return_result_on_error=false'
    )
    assert signature("std.ssh_proxied") == (
        "cmd, host, username, private_key_filename, gateway_host, gateway_username=null, password=null, "
        "proxy_command=null, private_key=null"
    )


def test_the_result_of_one_host_is_what_the_command_printed(server):
    assert ssh(server, "echo hello ü").data == "hello ü\n"
    assert server.commands == ["echo hello ü"]


def test_a_list_of_one_host_has_a_single_result_and_a_list_of_two_a_list(server):
    assert ssh(server, "echo x", host=[server.address]).data == "x\n"
    assert ssh(server, "echo x", host=[server.address] * 2).data == ["x\n", "x\n"]
    assert ssh(server, "echo x", host=[]).data == []


@pytest.mark.parametrize("kind", list(KEYS))
def test_a_key_is_enough(server, kind):
    assert ssh(server, "echo in", password="", private_key=text_of(KEYS[kind])).data == "in\n"
    assert server.passwords == []


def test_the_password_opens_the_key(server):
    locked = text_of(ED25519, "opensesame")
    assert ssh(server, "echo in", private_key=locked).data == "in\n"
    error = ssh(server, "echo in", private_key=locked, password="wrong").error
    assert "private_key cannot be used: it is no private key, or its password is another" in error


def test_a_key_may_stand_in_a_file(server, tmp_path, monkeypatch):
    (tmp_path / "id").write_text(text_of(ED25519))
    assert ssh(server, "echo in", password="", private_key_filename=str(tmp_path / "id")).data == "in\n"
    monkeypatch.setattr(ssh_module, "_KEY_FOLDER", Path(tmp_path))
    assert ssh(server, "echo in", password="", private_key_filename="id").data == "in\n"
    assert ssh(server, "echo in", password="", private_key_filename=text_of(ED25519)).data == "in\n"
    assert "private_key_filename: there is no such file" in ssh(server, "echo in", private_key_filename="other").error


def test_the_key_itself_comes_before_the_file(server):
    assert ssh(server, "echo in", private_key=text_of(ED25519), private_key_filename="absent").data == "in\n"


def test_a_status_other_than_zero_is_an_error_that_does_not_tell_the_output(server):
    error = ssh(server, "fail 3").error
    assert f"Failed to execute ssh cmd 'fail 3' on ['{server.address}']: the command ended with status 3" in error
    assert "broke" not in error
    assert "half done" not in error


def test_the_first_host_that_fails_ends_the_run(server):
    error = ssh(server, "fail 1", host=[server.address, server.address]).error
    assert "Failed to execute ssh cmd" in error
    assert len(server.commands) == 1


def test_on_request_the_status_is_part_of_the_result(server):
    assert ssh(server, "fail 3", return_result_on_error=True).data == {
        "stdout": "half done", "stderr": "it broke", "exit_code": 3,
    }  # fmt: skip
    assert ssh(server, "echo x", return_result_on_error=True).data == {"stdout": "x\n", "stderr": "", "exit_code": 0}
    assert ssh(server, "die", return_result_on_error=True).data["exit_code"] == -1


def test_a_login_that_fails_is_an_error_all_the_same(server):
    for wrong in ({"password": "wrong"}, {"username": "bob"}, {"private_key": text_of(generated())}):
        error = ssh(server, "echo x", None, return_result_on_error=True, **wrong).error
        assert "Failed to execute ssh cmd 'echo x'" in error
        assert "permission denied" in error
    assert server.commands == []


def generated() -> asyncssh.SSHKey:
    return asyncssh.generate_private_key("ssh-ed25519")


def test_much_output_on_both_streams_does_not_hang(server):
    result = ssh(server, "noise 3000000", return_result_on_error=True).data
    assert (len(result["stdout"]), len(result["stderr"])) == (3_000_000, 3_000_000)


def test_output_is_bounded(server):
    assert f"the output exceeds {SSH_OUTPUT_BYTES_MAX} bytes" in ssh(server, f"noise {SSH_OUTPUT_BYTES_MAX + 1}").error


def test_output_that_is_no_text_is_replaced_where_it_is_not(server):
    assert ssh(server, "bytes 61ff62").data == "a\ufffdb"


def test_a_command_that_reads_its_input_finds_its_end(server):
    assert ssh(server, "input").data == "got "


def test_the_deadline_ends_a_command_that_hangs(server):
    before = time.monotonic()
    error = ssh(server, "hang", ActionContext(egress=OPEN, deadline_sec=0.5)).error
    assert "the time is over" in error
    assert time.monotonic() - before < HANGS_SEC


def test_a_server_that_says_nothing_is_given_up():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        context = ActionContext(egress=OPEN, deadline_sec=0.3)
        error = call("std.ssh", context, cmd="echo x", host=address, username="ann").error
    assert "the time is over" in error


def test_a_host_that_is_not_there_is_an_error():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        error = call("std.ssh", cmd="echo x", host=address, username="ann").error
    assert error.startswith(
        "The action raised an exception [action=std.ssh, action_ex_id=an-id, msg='Failed to execute"
    )
    assert "no connection" in error


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0177.1", "[::1]", "[::ffff:7f00:1]"])
def test_connections_follow_the_egress_policy(server, host):
    error = ssh(server, "echo x", ActionContext(), host=f"{host}:{server.port}").error
    assert "resolves to a blocked address" in error
    assert server.entered == []


def test_hosts_may_be_restricted_to_a_list(server):
    policy = EgressPolicy(denied_networks=(), allowed_hosts=frozenset({"db.example.org"}))
    assert "not in the list of allowed hosts" in ssh(server, "echo x", ActionContext(egress=policy)).error


def test_the_executors_own_keys_and_configuration_are_not_used(server, tmp_path, monkeypatch):
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "id_ed25519").write_text(text_of(ED25519))
    (tmp_path / ".ssh" / "config").write_text(
        "Host *\n  User ann\n  ProxyCommand touch " + str(tmp_path / "ran") + "\n"
    )
    monkeypatch.setenv("HOME", str(tmp_path))
    assert "permission denied" in ssh(server, "echo x", password="").error
    assert not (tmp_path / "ran").exists()


def test_threads_do_not_disturb_each_other(server):
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda number: ssh(server, f"echo {number}").data, range(16)))
    assert results == [f"{number}\n" for number in range(16)]


# -- by way of a gateway


@pytest.fixture
def gateway() -> Iterator[SshServer]:
    with ssh_server(SshServer(user="gate", keys=[ED25519])) as running:
        yield running


def proxied(server: SshServer, gateway: SshServer, **input):
    defaults = {
        "cmd": "echo behind", "host": server.address, "username": "ann", "private_key_filename": None,
        "private_key": text_of(ED25519), "gateway_host": gateway.address, "gateway_username": "gate",
    }  # fmt: skip
    return call("std.ssh_proxied", **{**defaults, **input})


def test_the_gateway_leads_to_the_host(server, gateway):
    assert proxied(server, gateway).data == "behind\n"
    assert gateway.tunnels == [("127.0.0.1", server.port)]
    assert (gateway.commands, server.commands) == ([], ["echo behind"])


def test_the_gateway_is_entered_by_the_same_name_unless_another_is_given(server, gateway):
    assert "permission denied" in proxied(server, gateway, gateway_username=None).error
    gateway.user = "ann"
    assert proxied(server, gateway, gateway_username=None).data == "behind\n"


def test_no_password_is_ever_sent_by_way_of_a_gateway(server, gateway):
    server.keys = []
    assert "permission denied" in proxied(server, gateway, password="opensesame").error
    assert (server.passwords, gateway.passwords) == ([], [])


def test_a_gateway_that_cannot_reach_the_host_is_an_error(server, gateway):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        error = proxied(server, gateway, host=f"127.0.0.1:{unused.getsockname()[1]}").error
    assert "no connection" in error


def test_a_failing_command_behind_a_gateway_is_an_error(server, gateway):
    assert "the command ended with status 4" in proxied(server, gateway, cmd="fail 4").error


def test_the_egress_policy_judges_the_gateway_and_leaves_the_rest_to_it(server, gateway):
    policy = EgressPolicy(denied_networks=networks(["127.0.0.2/32"]))
    context = ActionContext(egress=policy)
    input = {
        "cmd": "echo x", "host": f"127.0.0.2:{server.port}", "username": "ann", "private_key_filename": None,
        "private_key": text_of(ED25519), "gateway_username": "gate",
    }  # fmt: skip
    assert "blocked" in call("std.ssh_proxied", context, gateway_host=f"127.0.0.2:{gateway.port}", **input).error
    assert "no connection" in call("std.ssh_proxied", context, gateway_host=gateway.address, **input).error
    assert gateway.tunnels == [("127.0.0.2", server.port)]


# -- wrong values


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"cmd": ["ls"]}, "cmd must be text, not a list"),
        ({"host": None}, r"host\[0\] must be text, not null"),
        ({"host": ["a", 5]}, r"host\[1\] must be text, not a number"),
        ({"host": "a\nb"}, r"host\[0\] may not contain line breaks"),
        ({"host": ["h"] * 101}, "host may have 100 items at most"),
        ({"host": "h:ssh"}, "host has no port from 1 to 65535"),
        ({"username": 5}, "username must be text"),
        ({"password": {}}, "password must be text, not an object"),
        ({"private_key": 1}, "private_key must be text"),
        ({"private_key_filename": "../../etc/key"}, r"private_key_filename may not contain '\.\.'"),
    ],
)
def test_a_wrong_value_is_told_by_the_parameters_name(wrong, reason):
    right = {"cmd": "ls", "host": "h", "username": "ann"}
    construct("std.ssh", **right)
    with pytest.raises(ActionConstructionError, match=reason):
        construct("std.ssh", **{**right, **wrong})


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"gateway_host": None}, "gateway_host must be text, not null"),
        ({"gateway_username": 5}, "gateway_username must be text"),
        ({"proxy_command": "nc h 22"}, "proxy_command is not supported"),
        ({"private_key_filename": None}, "private_key or private_key_filename is needed"),
    ],
)
def test_a_wrong_value_for_a_gateway_is_told_by_the_parameters_name(wrong, reason):
    right = {"cmd": "ls", "host": "h", "username": "ann", "private_key_filename": "id", "gateway_host": "g"}
    construct("std.ssh_proxied", **right)
    with pytest.raises(ActionConstructionError, match=reason):
        construct("std.ssh_proxied", **{**right, **wrong})


def test_a_text_that_is_no_key_is_told(server):
    assert "private_key cannot be used" in ssh(server, "echo x", private_key="not a key").error


def test_without_the_extra_the_action_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "asyncssh", None)
    monkeypatch.delitem(sys.modules, "chalicelib.actions.ssh_transport", raising=False)
    monkeypatch.delattr("chalicelib.actions.ssh_transport", raising=False)
    error = call("std.ssh", cmd="ls", host="h", username="ann").error
    assert "asyncssh is not installed here" in error
    assert "mistral-serverless[ssh]" in error
