"""ENABLE. RFC 5161."""

from __future__ import annotations

from mailbox_app.proto.imap.grammar import Cursor
from mailbox_app.services.imap.command import Command, Does, Request, State
from mailbox_app.services.imap.session import Session


def parse_enable(cursor: Cursor) -> list[bytes]:
    """One or more capability names."""
    names: list[bytes] = []
    while not cursor.at_end() or not names:
        cursor.space()
        names.append(cursor.word())
    return names


async def enable(session: Session, request: Request, names: list[bytes]) -> None:
    """Switch on what we know; what we do not know is passed over. RFC 5161 3.1."""
    enabled = []
    if b"CONDSTORE" in names and not session.condstore:
        session.enable_condstore()
        enabled.append("CONDSTORE")
    session.line(" ".join(["ENABLED", *enabled]))


ENABLE = Command("ENABLE", State.LOGGED_IN, Does.NOTHING, "ENABLE", "RFC 5161", enable, parse_enable)
