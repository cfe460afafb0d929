"""CANCELUPDATE: no more news of these results. RFC 5267 4.3.5."""

from __future__ import annotations

from mailbox_app.proto.imap.grammar import Cursor
from mailbox_app.services.imap.command import Command, Does, Request, State
from mailbox_app.services.imap.session import Session


def parse_cancel_update(cursor: Cursor) -> list[bytes]:
    """One or more tags."""
    tags: list[bytes] = []
    while not cursor.at_end() or not tags:
        cursor.space()
        tags.append(cursor.astring())
    return tags


async def cancel_update(session: Session, request: Request, tags: list[bytes]) -> None:
    """Forget them; a tag that stands for nothing has no updates already."""
    for tag in tags:
        session.view.contexts.pop(tag, None)


CANCELUPDATE = Command(
    "CANCELUPDATE",
    State.SELECTED,
    Does.NOTHING,
    "CONTEXT=SEARCH",
    "RFC 5267 4.3.5",
    cancel_update,
    parse_cancel_update,
)
