"""SMTP for ``email``: a connection that the egress policy permits, bounded in time."""

from __future__ import annotations

import logging
import smtplib
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import formatdate, parseaddr
from typing import Final

from chalicelib.actions.egress import EgressPolicy
from chalicelib.data import dataclass
from chalicelib.errors import ActionException
from chalicelib.limits import EMAIL_SERVER_SILENCE_MAX_SEC

_logger: Final = logging.getLogger(__name__)
_READY: Final = 220


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """A message and its envelope; ``id`` is what it is recognised by when it is sent again."""

    sender: str
    to: tuple[str, ...]
    cc: tuple[str, ...] = ()
    bcc: tuple[str, ...] = ()
    reply_to: tuple[str, ...] = ()
    subject: str
    text: str
    html: str | None = None
    id: str | None = None


def send(mail: Mail, host: str, port: int, password: str | None, *, policy: EgressPolicy, deadline_sec: float) -> None:
    """Hand a message to a mail server, by an encrypted connection if there is a password to log in with.

    Raises ``UrlNotAllowedException``, and ``ActionException`` with the server's reason.
    """
    try:
        data = _message(mail).as_bytes()
        refused = _talk(mail, data, host, port, password, policy=policy, deadline_sec=deadline_sec)
    except (smtplib.SMTPException, OSError, ValueError) as error:
        raise ActionException(f"Failed to send an email message: {error}") from error
    if refused:
        _logger.warning("A mail server refused %d of the recipients", refused)


def _message(mail: Mail) -> EmailMessage:
    message = EmailMessage(policy=SMTP_POLICY)
    message["Subject"] = mail.subject
    message["From"] = mail.sender
    message["Reply-To"] = ", ".join(mail.reply_to)
    message["To"] = ", ".join(mail.to)
    if mail.cc:
        message["Cc"] = ", ".join(mail.cc)
    message["Date"] = formatdate()
    if mail.id:
        message["Message-ID"] = f"<{mail.id}@{parseaddr(mail.sender)[1].partition('@')[2] or 'mistral'}>"
    message.set_content(mail.text)
    if mail.html:
        message.add_alternative(mail.html, subtype="html")
    return message


def _talk(
    mail: Mail, data: bytes, host: str, port: int, password: str | None, *, policy: EgressPolicy, deadline_sec: float
) -> int:
    """How many recipients were refused, if not all: then it is an error."""
    silence_sec = min(max(deadline_sec, 0.001), EMAIL_SERVER_SILENCE_MAX_SEC)
    with _Connection(policy, host, silence_sec) as connection, _ended_after(deadline_sec, connection):
        code, answer = connection.connect(host, port)
        if code != _READY:
            raise smtplib.SMTPConnectError(code, answer)
        if password is not None:
            connection.starttls(context=ssl.create_default_context())
            connection.login(parseaddr(mail.sender)[1], password)
        return len(connection.sendmail(mail.sender, [*mail.cc, *mail.bcc, *mail.to], data))


class _Connection(smtplib.SMTP):
    """A conversation over a connection that the egress policy permits."""

    def __init__(self, policy: EgressPolicy, host: str, timeout_sec: float) -> None:
        self._policy = policy
        super().__init__(timeout=timeout_sec, local_hostname=socket.gethostname())
        # The library would connect at once if it were given the host; it needs it to check the certificate.
        self._host = host

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        return self._policy.connect(host, port, timeout_sec=timeout)


@contextmanager
def _ended_after(deadline_sec: float, connection: smtplib.SMTP) -> Iterator[None]:
    """Hang up when the time is over: a server that sends a byte now and then would otherwise hold us for ever."""

    def hang_up() -> None:
        if connection.sock is not None:
            try:
                connection.sock.shutdown(socket.SHUT_RDWR)
            except OSError:  # it hung up itself
                return

    timer = threading.Timer(deadline_sec, hang_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
