"""EHLO, HELO, STARTTLS and the small commands: NOOP, VRFY, EXPN, HELP, QUIT."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mailbox_app.proto.smtp.replies import Refusal, Reply

if TYPE_CHECKING:
    from mailbox_app.services.smtp.session import SmtpSession

_HELO = re.compile(rb"[A-Za-z0-9._:\[\]-]{1,255}")
"""Names and address literals, also odd ones; nothing that could break out of a Received field."""


async def ehlo(session: SmtpSession, argument: bytes) -> bytes:
    """EHLO; begins anew like RSET. RFC 5321 4.1.4."""
    _not_in_lmtp(session)
    return extended(session, argument)


def extended(session: SmtpSession, argument: bytes) -> bytes:
    """The greeting that is answered with the extensions."""
    _greet(session, argument)
    session.is_extended = True
    return session.service.ehlo_reply(session)


async def helo(session: SmtpSession, argument: bytes) -> Reply:
    """HELO."""
    _not_in_lmtp(session)
    _greet(session, argument)
    session.is_extended = False
    return Reply(250, "", session.service.hostname)


def _not_in_lmtp(session: SmtpSession) -> None:
    if session.kind == "lmtp":  # RFC 2033 4.1
        raise Refusal(500, "5.5.1", "This is LMTP, say LHLO", reason="syntax")


async def starttls(session: SmtpSession, argument: bytes) -> Reply | None:
    """STARTTLS. Input in clear behind the command ends the session: somebody may have put it there."""
    if session.kind == "local":
        raise Refusal(502, "5.5.1", "STARTTLS is not offered here", reason="sequence")
    if session.tls is not None:
        raise Refusal(503, "5.5.1", "TLS is on already", reason="sequence")
    if argument:
        raise Refusal(501, "5.5.4", "STARTTLS takes no argument", reason="syntax")
    if session.has_input:
        session.ending = True
        raise Refusal(554, "5.5.0", "Nothing may follow STARTTLS in clear", reason="starttls_injection")
    session.reply(Reply(220, "2.0.0", "Go ahead"))
    await session.start_tls(session.service.tls.server_context())
    session.forget_all()
    return None


async def noop(_session: SmtpSession, _argument: bytes) -> Reply:
    """NOOP."""
    return Reply(250, "2.0.0", "OK")


async def vrfy(_session: SmtpSession, argument: bytes) -> Reply:
    """VRFY tells nothing about who exists. RFC 5321 7.3."""
    if not argument:
        raise Refusal(501, "5.5.4", "VRFY takes an address", reason="syntax")
    return Reply(252, "2.1.5", "Send a message and see")


async def expn(_session: SmtpSession, _argument: bytes) -> Reply:
    """EXPN is not here."""
    raise Refusal(502, "5.5.1", "EXPN is not offered", reason="syntax")


async def help_(session: SmtpSession, _argument: bytes) -> Reply:
    """HELP."""
    return Reply(214, "2.0.0", f"Commands: {session.service.help_text(session)}")


async def quit_(session: SmtpSession, _argument: bytes) -> Reply:
    """QUIT."""
    session.ending = True
    return Reply(221, "2.0.0", "Bye")


def _greet(session: SmtpSession, argument: bytes) -> None:
    if not _HELO.fullmatch(argument):
        raise Refusal(501, "5.5.4", "Say your domain name or address literal", reason="syntax")
    session.forget_transaction()
    session.helo = argument.decode("ascii")
