"""``std.email``: a message by SMTP, as text or as text and HTML."""

from __future__ import annotations

from typing import Final

from chalicelib.actions.action import ActionContext, action
from chalicelib.actions.inputs import host_and_port, need_text, need_texts
from chalicelib.limits import EMAIL_RECIPIENTS_MAX, EXECUTOR_LONG_TIMEOUT_SEC
from chalicelib.vocabulary import Json, JsonObject

_SMTP_PORT: Final = 25


def _check(input: JsonObject) -> None:
    need_text(input, "from_addr", "smtp_server", one_line=True)
    need_texts(input, "to_addrs", at_most=EMAIL_RECIPIENTS_MAX)
    need_texts(input, "reply_to", "cc_addrs", "bcc_addrs", optional=True, at_most=EMAIL_RECIPIENTS_MAX)
    need_text(input, "subject", optional=True, one_line=True)
    need_text(input, "smtp_password", "body", "html_body", optional=True)
    host_and_port(input["smtp_server"], name="smtp_server", port=_SMTP_PORT)


@action("std.email", construct=_check)
def email(
    context: ActionContext,
    from_addr: str,
    to_addrs: list[Json],
    smtp_server: str,
    *,
    reply_to: list[Json] | None = None,
    cc_addrs: list[Json] | None = None,
    bcc_addrs: list[Json] | None = None,
    smtp_password: str | None = None,
    subject: str | None = None,
    body: str | None = None,
    html_body: str | None = None,
) -> Json:
    """Send an email. The result is null.

    :param from_addr: The sender; with a password also the name to log in with.
    :param to_addrs: The recipients, a list of addresses.
    :param smtp_server: The mail server as host or host:port; port 25 by default.
    :param reply_to: Where answers go, a list of addresses.
    :param cc_addrs: Further recipients, a list of addresses.
    :param bcc_addrs: Further recipients whom the message does not name.
    :param smtp_password: The password; with one, the connection is encrypted (STARTTLS) before logging in.
    :param subject: The subject.
    :param body: The text.
    :param html_body: The same as HTML; the message then holds both.
    """
    _check(
        {
            "from_addr": from_addr, "to_addrs": to_addrs, "smtp_server": smtp_server, "reply_to": reply_to,
            "cc_addrs": cc_addrs, "bcc_addrs": bcc_addrs, "smtp_password": smtp_password, "subject": subject,
            "body": body, "html_body": html_body,
        }
    )  # fmt: skip
    from chalicelib.actions import email_transport

    message = email_transport.Mail(
        sender=from_addr,
        to=tuple(to_addrs),
        cc=tuple(cc_addrs or ()),
        bcc=tuple(bcc_addrs or ()),
        reply_to=tuple(reply_to or ()),
        subject=subject or "<No subject>",
        text=body or "<No body>",
        html=html_body or None,
        id=context.action_execution_id,
    )
    host, port = host_and_port(smtp_server, name="smtp_server", port=_SMTP_PORT)
    deadline_sec = EXECUTOR_LONG_TIMEOUT_SEC if context.deadline_sec is None else context.deadline_sec
    email_transport.send(message, host, port, smtp_password, policy=context.egress, deadline_sec=deadline_sec)
    return None
