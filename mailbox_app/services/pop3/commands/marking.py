"""DELE, RSET and NOOP. RFC 1939 5."""

from __future__ import annotations

from mailbox_app.services.pop3.command import Command, State, Takes
from mailbox_app.services.pop3.commands.listing import message_index
from mailbox_app.services.pop3.session import Session


async def dele(session: Session, argument: bytes) -> str:
    """Mark one message; it goes at QUIT."""
    session.drop.mark(message_index(session, argument))
    return "Marked"


async def rset(session: Session, argument: bytes) -> str:
    """Take all marks back."""
    session.drop.unmark_all()
    return "No message is marked"


async def noop(session: Session, argument: bytes) -> str:
    """Stay."""
    return "Still here"


DELE = Command("DELE", State.TRANSACTION, Takes.SOMETHING, "RFC 1939 5", dele)
RSET = Command("RSET", State.TRANSACTION, Takes.NOTHING, "RFC 1939 5", rset)
NOOP = Command("NOOP", State.TRANSACTION, Takes.NOTHING, "RFC 1939 5", noop)
