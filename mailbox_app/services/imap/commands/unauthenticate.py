"""UNAUTHENTICATE: the connection stays, the login goes. RFC 8437."""

from __future__ import annotations

from mailbox_app.services.imap.command import Command, Does, Request, State, no_arguments
from mailbox_app.services.imap.session import Session


async def unauthenticate(session: Session, request: Request, arguments: None) -> None:
    """Everything that the login brought is forgotten: mailbox, enabled extensions, compression after the answer."""
    session.logged_out()
    session.write(
        request.tag, f" OK [CAPABILITY {session.service.capabilities(session)}] Logged out\r\n".encode("ascii")
    )
    session.stop_compression()
    await session.drain()


UNAUTHENTICATE = Command(
    "UNAUTHENTICATE", State.LOGGED_IN, Does.ANSWERS_ITSELF, "UNAUTHENTICATE", "RFC 8437", unauthenticate, no_arguments
)
