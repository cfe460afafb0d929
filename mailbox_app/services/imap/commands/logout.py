"""LOGOUT. RFC 9051 6.1.3."""

from __future__ import annotations

from mailbox_app.services.imap.command import Command, Does, Request, State, no_arguments
from mailbox_app.services.imap.session import Session


async def logout(session: Session, request: Request, arguments: None) -> None:
    """BYE, then OK, then the end."""
    session.line("BYE Logging out")
    session.write(request.tag, b" OK LOGOUT done\r\n")
    session.unselect()
    session.close()


LOGOUT = Command("LOGOUT", State.ANY, Does.ANSWERS_ITSELF, "", "RFC 9051 6.1.3", logout, no_arguments)
