"""``std.email`` against a real mail server."""

from __future__ import annotations

import asyncio
import email
import email.policy
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from email.message import EmailMessage
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

from chalicelib.actions.registry import ActionContext
from chalicelib.errors import ActionConstructionError, InvalidActionException
from tests.unit.actions.calling import HANGS_SEC, LOCAL, OPEN, call, construct, signature
from tests.unit.actions.http_server import self_signed_certificate


class Mailbox:
    """What a mail server was given."""

    def __init__(self) -> None:
        self.envelopes: list[Any] = []
        self.logins: list[tuple[str, str]] = []

    async def handle_RCPT(self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any) -> str:
        if address.startswith("nobody@"):
            return "550 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
        self.envelopes.append(envelope)
        return "250 OK"

    def authenticate(self, _server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        self.logins.append((data.login.decode(), data.password.decode()))
        return AuthResult(success=data.password == b"opensesame", handled=False)

    def message(self) -> EmailMessage:
        """The last message, parsed."""
        parsed = email.message_from_bytes(self.envelopes[-1].content, policy=email.policy.default)
        assert isinstance(parsed, EmailMessage)
        return parsed


class Server(Controller):
    """A mail server on a free port of this machine."""

    box: Mailbox

    @property
    def address(self) -> str:
        """As the parameter ``smtp_server`` takes it."""
        return f"127.0.0.1:{self._port()}"

    def _trigger_server(self) -> None:
        """The library talks to the port it was told, which was any."""
        self.port = self._port()
        super()._trigger_server()

    def _port(self) -> int:
        assert isinstance(self.server, asyncio.Server)
        port: int = self.server.sockets[0].getsockname()[1]
        return port


@pytest.fixture
def server() -> Iterator[Server]:
    box = Mailbox()
    running = Server(box, hostname="127.0.0.1", port=0)
    running.box = box
    running.start()
    yield running
    running.stop()


@pytest.fixture
def secure_server(tmp_path, monkeypatch) -> Iterator[Server]:
    """One that wants STARTTLS and a login; its certificate is trusted, and made out to ``mail.example``."""
    certificate = self_signed_certificate("mail.example", tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    real = socket.getaddrinfo

    def resolve(host, port, *args, **options):
        return real("127.0.0.1" if host.endswith(".example") else host, port, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    box = Mailbox()
    running = Server(
        box, hostname="127.0.0.1", port=0, tls_context=context, require_starttls=True,
        authenticator=box.authenticate, auth_required=True,
    )  # fmt: skip
    running.box = box
    running.start()
    yield running
    running.stop()


def send(server: Server, **input: Any) -> Any:
    defaults = {"from_addr": "me@example.org", "to_addrs": ["you@example.org"], "smtp_server": server.address}
    return call("std.email", LOCAL, **{**defaults, **input})


def test_the_signature_is_that_of_mistral():
    assert signature("std.email") == (
        "from_addr, to_addrs, smtp_server, reply_to=null, cc_addrs=null, bcc_addrs=null, smtp_password=null, "
        "subject=null, body=null, html_body=null"
    )


def test_a_message_arrives_with_its_headers_and_its_text(server):
    result = send(
        server,
        to_addrs=["Ann <ann@example.org>", "bob@example.org"],
        cc_addrs=["carl@example.org"],
        bcc_addrs=["dora@example.org"],
        reply_to=["desk@example.org"],
        subject="Grüße",
        body="Es läuft.\n.\n",
    )
    assert (result.data, result.error) == (None, None)
    message = server.box.message()
    assert message["Subject"] == "Grüße"
    assert message["From"] == "me@example.org"
    assert message["To"] == "Ann <ann@example.org>, bob@example.org"
    assert message["Cc"] == "carl@example.org"
    assert message["Reply-To"] == "desk@example.org"
    assert message["Message-ID"] == "<an-id@example.org>"
    assert message.get_content_type() == "text/plain"
    assert message.get_content().splitlines() == ["Es läuft.", "."]


def test_blind_copies_are_in_the_envelope_and_not_in_the_message(server):
    send(server, bcc_addrs=["secretary@example.org"])
    envelope = server.box.envelopes[0]
    assert envelope.mail_from == "me@example.org"
    assert sorted(envelope.rcpt_tos) == ["secretary@example.org", "you@example.org"]
    assert b"secretary" not in envelope.content


def test_what_is_left_out_has_mistrals_defaults(server):
    send(server)
    assert server.box.message()["Subject"] == "<No subject>"
    assert server.box.message()["Reply-To"] == ""
    assert server.box.message().get_content().strip() == "<No body>"


def test_html_comes_beside_the_text(server):
    send(server, body="plain", html_body="<b>bold ü</b>")
    message = server.box.message()
    assert message.get_content_type() == "multipart/alternative"
    plain, bold = message.iter_parts()
    assert (plain.get_content_type(), plain.get_content().strip()) == ("text/plain", "plain")
    assert (bold.get_content_type(), bold.get_content().strip()) == ("text/html", "<b>bold ü</b>")


def test_with_a_password_the_connection_is_encrypted_before_the_login(secure_server):
    port = secure_server.address.partition(":")[2]
    assert send(secure_server, smtp_server=f"mail.example:{port}", smtp_password="opensesame").error is None
    assert secure_server.box.logins == [("me@example.org", "opensesame")]
    assert len(secure_server.box.envelopes) == 1


def test_a_wrong_password_is_an_error(secure_server):
    port = secure_server.address.partition(":")[2]
    error = send(secure_server, smtp_server=f"mail.example:{port}", smtp_password="wrong").error
    assert "Failed to send an email message: (535" in error
    assert secure_server.box.envelopes == []


def test_a_server_whose_certificate_is_of_another_name_never_learns_the_password(secure_server):
    port = secure_server.address.partition(":")[2]
    error = send(secure_server, smtp_server=f"other.example:{port}", smtp_password="opensesame").error
    assert "Failed to send an email message: " in error
    assert "certificate verify failed" in error
    assert secure_server.box.logins == []


def test_without_a_password_a_server_that_wants_one_refuses(secure_server):
    assert "Failed to send an email message: " in send(secure_server).error


def test_an_unknown_recipient_is_an_error_if_nobody_else_gets_the_message(server):
    error = send(server, to_addrs=["nobody@example.org"]).error
    assert "Failed to send an email message: " in error
    assert "no such mailbox" in error
    assert send(server, to_addrs=["nobody@example.org", "you@example.org"]).error is None
    assert server.box.envelopes[0].rcpt_tos == ["you@example.org"]


def test_a_server_that_is_not_there_is_an_error():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        error = call("std.email", from_addr="a@b.c", to_addrs=["d@e.f"], smtp_server=address).error
    assert error.startswith("The action raised an exception [action=std.email, action_ex_id=an-id, msg='Failed to send")
    assert "Connection refused" in error


def test_a_server_that_says_a_byte_now_and_then_does_not_hold_the_executor():
    gone = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip() -> None:
            talking, _ = listener.accept()
            with talking:
                while not gone.wait(0.02):
                    try:
                        talking.sendall(b"2")
                    except OSError:
                        return

        thread = threading.Thread(target=drip)
        thread.start()
        before = time.monotonic()
        context = ActionContext(egress=OPEN, deadline_sec=0.3)
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        error = call("std.email", context, from_addr="a@b.c", to_addrs=["d@e.f"], smtp_server=address).error
        gone.set()
        thread.join()
    assert "Failed to send an email message: " in error
    assert time.monotonic() - before < HANGS_SEC


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "[::ffff:127.0.0.1]"])
def test_mail_follows_the_egress_policy(server, host):
    port = server.address.partition(":")[2]
    error = call(
        "std.email", ActionContext(), from_addr="a@b.c", to_addrs=["d@e.f"], smtp_server=f"{host}:{port}"
    ).error
    assert "resolves to a blocked address" in error
    assert server.box.envelopes == []


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"to_addrs": "you@example.org"}, "to_addrs must be a list of texts, not text"),
        ({"to_addrs": ["a", 5]}, r"to_addrs\[1\] must be text, not a number"),
        ({"cc_addrs": {}}, "cc_addrs must be a list of texts, not an object"),
        ({"bcc_addrs": ["x"] * 101}, "bcc_addrs may have 100 items at most, not 101"),
        ({"reply_to": ["a\nBcc: b"]}, r"reply_to\[0\] may not contain line breaks"),
        ({"subject": "a\r\nBcc: b"}, "subject may not contain line breaks"),
        ({"from_addr": 5}, "from_addr must be text, not a number"),
        ({"body": ["x"]}, "body must be text, not a list"),
        ({"smtp_server": "mail:smtp"}, "smtp_server has no port from 1 to 65535"),
        ({"smtp_server": ":25"}, "smtp_server has no host"),
        ({"smtp_password": 7}, "smtp_password must be text"),
    ],
)
def test_a_wrong_value_is_told_by_the_parameters_name(wrong, reason):
    right = {"from_addr": "a@b.c", "to_addrs": ["d@e.f"], "smtp_server": "mail.example"}
    construct("std.email", **right)
    with pytest.raises(ActionConstructionError, match=reason):
        construct("std.email", **{**right, **wrong})


def test_a_missing_or_unknown_parameter_is_named():
    with pytest.raises(InvalidActionException, match=r"missing=\['smtp_server'\], unexpected=\['attachments'\]"):
        construct("std.email", from_addr="a", to_addrs=[], attachments=[])
