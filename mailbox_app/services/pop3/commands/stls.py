"""STLS: everything known before is forgotten, everything pipelined behind it ends the session. RFC 2595 4."""

from __future__ import annotations

from mailbox_app.services.pop3.command import Command, State, Takes
from mailbox_app.services.pop3.replies import Refusal
from mailbox_app.services.pop3.session import Session


async def stls(session: Session, argument: bytes) -> None:
    """Answer in clear, then shake hands."""
    if session.is_tls:
        raise Refusal("TLS is on already")
    session.write(b"+OK Begin TLS\r\n")
    await session.start_tls(session.service.deps.tls)
    session.user_name = b""
    session.login_failures = 0


STLS = Command("STLS", State.AUTHORIZATION, Takes.NOTHING, "RFC 2595 4", stls)
