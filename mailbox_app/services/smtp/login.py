"""AUTH: on submission, under TLS, and nowhere else; the mechanisms are those of `accounts/sasl.py`."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

from mailbox_app.accounts.sasl import LoggedIn, Refused, Why
from mailbox_app.errors import MailboxError, ProtocolError
from mailbox_app.proto.sasl.mechanism import Challenge
from mailbox_app.proto.smtp.replies import Refusal, Reply

if TYPE_CHECKING:
    from mailbox_app.accounts.sasl import Exchange
    from mailbox_app.services.smtp.session import SmtpSession


async def auth(session: SmtpSession, argument: bytes) -> Reply:
    """AUTH, with or without an initial response. RFC 4954 4."""
    if not session.needs_login:
        raise Refusal(502, "5.5.1", "AUTH is not offered here", reason="sequence")
    if session.tls is None:
        raise Refusal(538, "5.7.11", "Say STARTTLS first", reason="auth_required")
    if session.account is not None or session.transaction.sender is not None:
        raise Refusal(503, "5.5.1", "AUTH comes once, before MAIL", reason="sequence")
    mechanism, _, initial = argument.partition(b" ")
    exchange = session.service.sasl.begin(
        mechanism.decode("ascii", "replace"), session.channel, protocol=session.kind, remote_ip=session.remote_ip
    )
    if exchange is None:
        raise Refusal(504, "5.5.4", "No such mechanism", reason="syntax")
    ended = await _run(session, exchange, initial.strip())
    if isinstance(ended, LoggedIn):
        session.account = ended.account
        return Reply(235, "2.7.0", "Welcome")
    if ended.why is Why.IDENTITY:
        return await _refused(session, "You cannot act for somebody else")
    return await _refused(session, "Address or password is wrong")


async def _run(session: SmtpSession, exchange: Exchange, initial: bytes) -> LoggedIn | Refused:
    try:
        step = await exchange.start(_decoded(initial) if initial else None)
        while isinstance(step, Challenge):
            step = await exchange.step(await _answer(session, step.data))
    except Refusal:
        raise
    except ProtocolError as error:
        raise Refusal(
            501, "5.5.2", f"{error.public_text[:1].upper()}{error.public_text[1:]}", reason="syntax"
        ) from error
    except MailboxError as error:
        raise Refusal(454, "4.7.0", "Cannot check logins now, try again later", reason="auth_trouble") from error
    return step


async def _refused(session: SmtpSession, text: str) -> Reply:
    service = session.service
    session.failed_logins += 1
    await service.clock.sleep(service.limits.login_delay_seconds * session.failed_logins)
    if session.failed_logins >= service.limits.logins:
        session.reply(Reply(535, "5.7.8", text))
        return Reply(421, "4.7.0", "Too many failed logins")
    raise Refusal(535, "5.7.8", text, reason="auth_failed")


async def _answer(session: SmtpSession, challenge: bytes) -> bytes:
    """What the client says to a challenge."""
    session.reply(b"334 " + base64.b64encode(challenge) + b"\r\n")
    line = await session.next_line()
    if line is None:
        raise ConnectionResetError("the peer went away inside AUTH")
    if not line.endswith(b"\r"):
        raise Refusal(500, "5.5.2", "Lines end with CR LF", reason="bad_line_ending")
    if line == b"*\r":
        raise Refusal(501, "5.7.0", "Cancelled", reason="auth_cancelled")
    return _decoded(line[:-1])


def _decoded(text: bytes) -> bytes:
    """Base64; "=" is an empty initial response (RFC 4954 4)."""
    if text == b"=":
        return b""
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise Refusal(501, "5.5.2", "This is not base64", reason="syntax") from error
