"""STATUS. RFC 9051 6.3.11, RFC 8438 (SIZE), RFC 7162 3.1.7 (HIGHESTMODSEQ)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mailbox_app.proto.imap import response
from mailbox_app.proto.imap.grammar import Cursor
from mailbox_app.services.imap.command import Command, Does, Request, State
from mailbox_app.services.imap.session import Session
from mailbox_app.store.model import MailboxInfo

ITEMS: Mapping[str, Callable[[MailboxInfo], int]] = {
    "MESSAGES": lambda info: info.message_count,
    "RECENT": lambda info: min(info.message_count, max(0, info.uidnext - info.first_recent_uid)),
    "UIDNEXT": lambda info: info.uidnext,
    "UIDVALIDITY": lambda info: info.uidvalidity,
    "UNSEEN": lambda info: info.unseen_count,
    "DELETED": lambda info: info.deleted_count,
    "SIZE": lambda info: info.size_bytes,
    "HIGHESTMODSEQ": lambda info: info.highest_modseq,
}


def parse_status(cursor: Cursor) -> tuple[str, list[str]]:
    """A mailbox and item names."""
    cursor.space()
    name = cursor.mailbox()
    cursor.space()
    cursor.expect(b"(")
    items: list[str] = []
    while True:
        item = cursor.word().decode("ascii")
        if item not in ITEMS:
            raise cursor.fail("a known status item")
        items.append(item)
        if cursor.accept(b")"):
            return name, list(dict.fromkeys(items))
        cursor.space()


async def status(session: Session, request: Request, arguments: tuple[str, list[str]]) -> None:
    """Counts, without selecting."""
    name, items = arguments
    if "HIGHESTMODSEQ" in items:
        session.enable_condstore()
    info = await session.offload(lambda: session.mail().mailbox(name))
    values = " ".join(f"{item} {ITEMS[item](info)}" for item in items)
    session.write(b"* STATUS %b (%b)\r\n" % (response.mailbox(name), values.encode("ascii")))


STATUS = Command("STATUS", State.LOGGED_IN, Does.NOTHING, "STATUS=SIZE", "RFC 9051 6.3.11", status, parse_status)
