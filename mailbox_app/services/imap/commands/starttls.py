"""STARTTLS: everything known before is forgotten, everything pipelined behind it ends the session. RFC 9051 6.2.1."""

from __future__ import annotations

from mailbox_app.services.imap.command import Command, Does, Request, State, no_arguments
from mailbox_app.services.imap.replies import Refusal
from mailbox_app.services.imap.session import Session


async def starttls(session: Session, request: Request, arguments: None) -> str | None:
    """Answer in clear, then shake hands."""
    if session.is_tls:
        raise Refusal("TLS is on already", status="BAD")
    session.write(request.tag, b" OK Begin TLS\r\n")
    await session.start_tls(session.service.deps.tls)
    session.login_failures = 0
    return None


STARTTLS = Command(
    "STARTTLS", State.NOT_AUTHENTICATED, Does.ANSWERS_ITSELF, "", "RFC 9051 6.2.1", starttls, no_arguments
)
