"""NOOP and CHECK: nothing but news. RFC 9051 6.1.2, RFC 3501 6.4.1."""

from __future__ import annotations

from mailbox_app.services.imap.command import Command, Does, Request, State, no_arguments
from mailbox_app.services.imap.session import Session


async def noop(session: Session, request: Request, arguments: None) -> None:
    """Do nothing: the dispatcher looks for news afterwards. Everything is durable already, so CHECK is the same."""


NOOP = Command("NOOP", State.ANY, Does.LOOKS, "", "RFC 9051 6.1.2", noop, no_arguments)
CHECK = Command("CHECK", State.SELECTED, Does.LOOKS, "", "RFC 3501 6.4.1", noop, no_arguments)
