"""CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE. RFC 9051 6.3.4 to 6.3.8. Names are judged by the store."""

from __future__ import annotations

from mailbox_app.proto.imap.grammar import Cursor
from mailbox_app.services.imap.command import Command, Does, Request, State
from mailbox_app.services.imap.replies import Refusal
from mailbox_app.services.imap.session import Session


def parse_name(cursor: Cursor) -> str:
    """One mailbox name."""
    cursor.space()
    return cursor.mailbox()


def parse_names(cursor: Cursor) -> tuple[str, str]:
    """Two mailbox names."""
    return parse_name(cursor), parse_name(cursor)


async def create(session: Session, request: Request, name: str) -> None:
    """Make it; a trailing delimiter only says that children will follow. RFC 9051 6.3.4."""
    await session.offload(lambda: session.mail().create(name[:-1] if name.endswith("/") else name))


async def delete(session: Session, request: Request, name: str) -> None:
    """Remove it; its children stay."""
    if name == "INBOX":
        raise Refusal("INBOX stays", "CANNOT")
    await session.offload(lambda: session.mail().delete(name))
    if session.selected is not None and session.selected.name == name:
        session.unselect()


async def rename(session: Session, request: Request, names: tuple[str, str]) -> None:
    """Move it with its children."""
    await session.offload(lambda: session.mail().rename(*names))


async def subscribe(session: Session, request: Request, name: str) -> None:
    """Remember or forget a name, whether or not it exists."""
    wanted = request.verb == "SUBSCRIBE"
    await session.offload(lambda: session.mail().subscribe(name, wanted))


CREATE = Command("CREATE", State.LOGGED_IN, Does.NOTHING, "", "RFC 9051 6.3.4", create, parse_name)
DELETE = Command("DELETE", State.LOGGED_IN, Does.NOTHING, "", "RFC 9051 6.3.5", delete, parse_name)
RENAME = Command("RENAME", State.LOGGED_IN, Does.NOTHING, "", "RFC 9051 6.3.6", rename, parse_names)
SUBSCRIBE = Command("SUBSCRIBE", State.LOGGED_IN, Does.NOTHING, "", "RFC 9051 6.3.7", subscribe, parse_name)
UNSUBSCRIBE = Command("UNSUBSCRIBE", State.LOGGED_IN, Does.NOTHING, "", "RFC 9051 6.3.8", subscribe, parse_name)
