"""CAPABILITY. RFC 9051 6.1.1."""

from __future__ import annotations

from mailbox_app.services.imap.command import Command, Does, Request, State, no_arguments
from mailbox_app.services.imap.session import Session


async def capability(session: Session, request: Request, arguments: None) -> None:
    """List what works now."""
    session.line(f"CAPABILITY {session.service.capabilities(session)}")


CAPABILITY = Command("CAPABILITY", State.ANY, Does.NOTHING, "", "RFC 9051 6.1.1", capability, no_arguments)
