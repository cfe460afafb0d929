"""AUTH PLAIN and LOGIN: on submission, under TLS, and nowhere else."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

from mailbox_app.errors import MailboxError
from mailbox_app.proto.smtp.replies import Refusal, Reply

if TYPE_CHECKING:
    from mailbox_app.services.smtp.session import SmtpSession

MECHANISMS = ("PLAIN", "LOGIN")


async def auth(session: SmtpSession, argument: bytes) -> Reply:
    """AUTH, with or without an initial response. RFC 4954 4."""
    if session.kind == "smtp":
        raise Refusal(502, "5.5.1", "AUTH is not offered here", reason="sequence")
    if session.tls is None:
        raise Refusal(538, "5.7.11", "Say STARTTLS first", reason="auth_required")
    if session.account is not None or session.transaction.sender is not None:
        raise Refusal(503, "5.5.1", "AUTH comes once, before MAIL", reason="sequence")
    mechanism, _, initial = argument.partition(b" ")
    initial = initial.strip()
    match mechanism.upper():
        case b"PLAIN":
            address, password = _split_plain(await _response(session, b"", initial))
        case b"LOGIN":
            name = await _response(session, b"Username:", initial)
            address, password = name, await _response(session, b"Password:", b"")
        case _:
            raise Refusal(504, "5.5.4", "No such mechanism", reason="syntax")
    return await _login(session, address, password)


async def _login(session: SmtpSession, address: bytes, password: bytes) -> Reply:
    service = session.service
    try:
        account = await service.authenticator.login(
            address.decode(), password.decode(), protocol=session.kind, remote_ip=session.remote_ip
        )
    except UnicodeDecodeError:
        account = None
    except MailboxError as error:
        raise Refusal(454, "4.7.0", "Cannot check logins now, try again later", reason="auth_trouble") from error
    if account is not None:
        session.account = account
        return Reply(235, "2.7.0", "Welcome")
    session.failed_logins += 1
    await service.clock.sleep(service.limits.login_delay_seconds * session.failed_logins)
    if session.failed_logins >= service.limits.logins:
        session.reply(Reply(535, "5.7.8", "Address or password is wrong"))
        return Reply(421, "4.7.0", "Too many failed logins")
    raise Refusal(535, "5.7.8", "Address or password is wrong", reason="auth_failed")


async def _response(session: SmtpSession, challenge: bytes, initial: bytes) -> bytes:
    """The client's initial response, or its answer to the challenge."""
    if initial == b"=":  # RFC 4954 4: an empty initial response
        return b""
    if not initial:
        session.reply(b"334 " + base64.b64encode(challenge) + b"\r\n")
        line = await session.next_line()
        if line is None:
            raise ConnectionResetError("the peer went away inside AUTH")
        if not line.endswith(b"\r"):
            raise Refusal(500, "5.5.2", "Lines end with CR LF", reason="bad_line_ending")
        initial = line[:-1]
        if initial == b"*":
            raise Refusal(501, "5.7.0", "Cancelled", reason="auth_cancelled")
    try:
        return base64.b64decode(initial, validate=True)
    except binascii.Error as error:
        raise Refusal(501, "5.5.2", "This is not base64", reason="syntax") from error


def _split_plain(response: bytes) -> tuple[bytes, bytes]:
    """Address and password. RFC 4616 2; to act for somebody else is not offered."""
    parts = response.split(b"\0")
    if len(parts) != 3:
        raise Refusal(501, "5.5.2", "This is no PLAIN response", reason="syntax")
    acts_for, address, password = parts
    if acts_for and acts_for.lower() != address.lower():
        raise Refusal(535, "5.7.8", "You cannot act for somebody else", reason="auth_failed")
    return address, password
